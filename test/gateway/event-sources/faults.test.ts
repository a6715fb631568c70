/** What no record is to blame for, and what no call can hold. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { unpinRemoved } from '../../../gateway/event-sources/applications.ts';
import { ImpatientClock } from '../functions/support/functions.ts';
import { numbered } from '../forward/support/rig.ts';
import { noting, openSources, until } from './support/sources.ts';

describe('an event source', () => {
  it('waits for an endpoint that is not there, without counting that', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    let calls = 0;
    const server = createServer((request, response) => {
      calls += 1;
      request.resume().on('end', () => response.end('null'));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await sources.store.log.append('readings', numbered(0, 3));
    const source = sources.begin({
      function: { http: { url: `http://127.0.0.1:${port}/`, authorization: null } },
      ...{ retries: 0, bisectOnError: true, deadLetter: { stream: 'letters' } },
    });
    const { state, trouble, advice } = await until(source, ({ metrics }) => metrics.Throttles >= 3);
    assert.equal(state, 'backing-off');
    assert.notEqual(trouble, null);
    assert.match(advice ?? '', /look at the address in functions\.f\.function/);
    server.listen(port, '127.0.0.1');
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const after = await until(source, ({ records }) => records === 3);
    assert.deepEqual([after.trouble, after.metrics.DroppedEventCount, calls], [null, 0, 1]);
    assert.deepEqual(await sources.texts('letters'), []);
  });

  it('keeps a record that no call can hold, in parts, and hands over what is beside it', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target, notes } = await noting(t, 'note(texts);');
    const large = Buffer.alloc(10_000_000, 'x');
    for (const data of [Buffer.from('before'), large, Buffer.from('after')]) {
      await sources.store.log.append('readings', [{ partitionKey: 'k', data }]);
    }
    const source = sources.begin({ function: target, deadLetter: { stream: 'letters' } });
    await until(source, ({ records }) => records === 3);
    assert.deepEqual((notes() as string[][]).flat(), ['before', 'after']);
    const letters = (await sources.texts('letters')).map(
      (text) =>
        JSON.parse(text) as {
          requestContext: { condition: string };
          part: [number, number];
          payload: string;
        },
    );
    assert.ok(letters.length > 1);
    assert.deepEqual(
      letters.map(({ part }) => part),
      letters.map((_, index) => [index, letters.length]),
    );
    assert.equal(letters[0]?.requestContext.condition, 'PayloadTooLarge');
    const event = JSON.parse(letters.map(({ payload }) => payload).join('')) as {
      Records: { kinesis: { data: string } }[];
    };
    assert.ok(Buffer.from(event.Records[0]!.kinesis.data, 'base64').equals(large));
  });

  it('passes over what fits no pattern, and its checkpoint does too', async (t) => {
    const sources = await openSources(t);
    const { target, notes } = await noting(t, 'note(texts);');
    await sources.store.log.append('readings', numbered(0, 100));
    const filter = ['{"data":{"id":[{"numeric":[">=",40,"<",42]}]}}'];
    const { metrics } = await until(
      sources.begin({ function: target, filter }),
      ({ records, backlog }) => records === 2 && backlog.records === 0,
    );
    assert.equal(metrics.FilteredOutEventCount, 98);
    assert.equal((notes() as string[][]).flat().length, 2);
  });

  it('does nothing while it is paused, and keeps what comes', async (t) => {
    const sources = await openSources(t);
    const { target, notes } = await noting(t, 'note(texts);');
    const source = sources.begin({ function: target, paused: true });
    await sources.store.log.append('readings', numbered(0, 5));
    const { state, metrics } = await until(source, ({ backlog }) => backlog.records === 5);
    assert.deepEqual([state, metrics.Invocations], ['waiting', 0]);
    await source.close();
    await until(sources.begin({ function: target }), ({ records }) => records === 5);
    assert.equal((notes() as string[][]).flat().length, 5);
  });

  it('holds back nothing any more when it is removed', async (t) => {
    const sources = await openSources(t);
    const { target } = await noting(t, 'return { state: {} };');
    await sources.store.log.append('readings', numbered(0, 5));
    const source = sources.begin({ function: target, tumblingWindowSeconds: 900 });
    await until(source, ({ records }) => records === 5);
    await source.close();
    const { log } = sources.store;
    assert.equal(log.applications.list().length, 3);
    await unpinRemoved(log, [{ name: 'f' }], sources.logger);
    assert.equal(log.applications.list().length, 3);
    await unpinRemoved(log, [], sources.logger);
    const left = log.applications.list().map(({ name, required }) => ({ name, required }));
    assert.deepEqual(left, [{ name: 'function:f', required: false }]);
  });
});
