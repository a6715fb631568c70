/** What an event source gives up: that it goes on, and that it is counted, told and kept apart. */
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { MemoryLogger } from '../../support/memory-logger.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { numbered } from '../forward/support/rig.ts';
import { ImpatientClock } from '../functions/support/functions.ts';
import { noting, openSources, until } from './support/sources.ts';

const linesOf = ({ lines }: MemoryLogger, message: string | RegExp) =>
  lines.filter((line) =>
    typeof message === 'string' ? line.message === message : message.test(line.message),
  );

const none = { batches: 0, records: 0 };

describe('an event source that gives up a batch', () => {
  it('runs again, with its last reason kept apart', async (t) => {
    const sources = await openSources(t, { clock: new ManualClock(Date.UTC(2026, 0, 1)) });
    const { target } = await noting(t, `throw new Error('never');`);
    await sources.store.log.append('readings', numbered(0, 3));
    const options = { function: target, retries: 0, deadLetter: { stream: 'letters' } };
    const source = sources.begin(options);
    const status = await until(source, ({ backlog }) => backlog.records === 0);
    assert.deepEqual([status.state, status.trouble, status.advice], ['running', null, null]);
    assert.deepEqual(status.givenUp, {
      kept: { batches: 1, records: 3 },
      gone: none,
      newest: { atMs: Date.UTC(2026, 0, 1), reason: 'it threw Error: never' },
    });
    assert.equal(status.sinceMs, Date.UTC(2026, 0, 1));
    await source.close();
    const again = await until(sources.begin(options), ({ failed }) => failed?.batches === 1);
    assert.deepEqual(again.givenUp, { kept: none, gone: none, newest: null });
  });

  it('counts what is kept nowhere by itself, in the metrics too', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target, notes } = await noting(
      t,
      `if (texts.some((text) => JSON.parse(text).id === 3)) throw new Error('three'); note(texts);`,
    );
    await sources.store.log.append('readings', numbered(0, 8));
    const source = sources.begin({ function: target, batchSize: 2, retries: 1 });
    const { givenUp, metrics, state } = await until(source, ({ records }) => records === 8);
    assert.deepEqual([givenUp.kept, givenUp.gone], [none, { batches: 1, records: 2 }]);
    assert.equal(givenUp.newest?.reason, 'it threw Error: three');
    assert.deepEqual([metrics.DroppedEventCount, state, notes().length], [2, 'running', 3]);
    const labels = '{function="f",kept="no"}';
    const { values } = sources.metrics;
    assert.equal(values.get(`headgate_function_dropped_records_total${labels}`), 2);
    assert.equal(values.get(`headgate_function_dropped_batches_total${labels}`), 1);
    const [line, ...others] = linesOf(sources.logger, /given up/);
    assert.deepEqual(others, []);
    assert.equal(line?.message, 'batches were given up and are kept nowhere');
    const { records, batches, kept, condition } = line.fields;
    assert.deepEqual([records, batches, kept, condition], [2, 1, null, 'RetryAttemptsExhausted']);
  });

  it('says so in the log once a minute, and what led to it once until it works', async (t) => {
    const clock = new ManualClock(Date.UTC(2026, 0, 1));
    const sources = await openSources(t, { clock });
    const { target } = await noting(t, `throw new Error('never');`);
    const source = sources.begin({ function: target, batchSize: 1, retries: 0 });
    await sources.store.log.append('readings', numbered(0, 50));
    await until(source, ({ records }) => records === 50);
    clock.advance(60_000);
    await sources.store.log.append('readings', numbered(50, 1));
    await until(source, ({ records }) => records === 51);
    const lines = linesOf(sources.logger, /given up/);
    assert.deepEqual(
      lines.map(({ fields }) => [fields.batches, fields.records]),
      [
        [1, 1],
        [50, 50],
      ],
    );
    const [failed, ...others] = linesOf(sources.logger, 'a function fails');
    assert.deepEqual(others, []);
    const { error, records, advice } = failed!.fields;
    assert.ok(error instanceof Error);
    assert.match(error.stack ?? '', /Error: never\n +at .*\.mjs:\d+/);
    assert.equal(records, 1);
    assert.match(String(advice), /kept nowhere: functions\.f\.deadLetter would keep it/);
    assert.deepEqual(linesOf(sources.logger, 'a function works again'), []);
  });

  it('that fails every other batch floods the log neither with that nor with its stack', async (t) => {
    const clock = new ManualClock(Date.UTC(2026, 0, 1));
    const sources = await openSources(t, { clock });
    const { target } = await noting(t, `if (calls % 2 === 1) throw new Error('odd');`);
    const source = sources.begin({ function: target, batchSize: 1, retries: 0 });
    await sources.store.log.append('readings', numbered(0, 40));
    await until(source, ({ records }) => records === 40);
    clock.advance(60_000);
    await sources.store.log.append('readings', numbered(40, 2));
    const { givenUp } = await until(source, ({ records }) => records === 42);
    assert.equal(givenUp.gone.records, 21);
    const told = sources.logger.lines.filter(({ message }) => /function|given up/.test(message));
    const once = [
      'a function fails',
      'batches were given up and are kept nowhere',
      'a function works again',
    ];
    assert.deepEqual(
      told.filter(({ level }) => level !== 'debug').map(({ message }) => message),
      [...once, ...once],
    );
  });

  it('waits with its reason while the dead letter takes nothing, and runs once it does', async (t) => {
    const letters = join(await temporaryFolder(t), 'letters');
    await writeFile(letters, 'in the way');
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target } = await noting(t, `throw new Error('never');`);
    await sources.store.log.append('readings', numbered(0, 1));
    const source = sources.begin({
      ...{ function: target, retries: 0, deadLetter: { folder: letters } },
    });
    const stuck = await until(source, ({ metrics }) => metrics.DeadLetterErrors >= 2);
    assert.equal(stuck.state, 'backing-off');
    assert.deepEqual([stuck.givenUp.kept, stuck.givenUp.gone], [none, none]);
    await rm(letters);
    await mkdir(letters);
    const { givenUp } = await until(source, ({ state }) => state === 'running');
    assert.deepEqual(givenUp.kept, { batches: 1, records: 1 });
  });
});

describe('an event source with several lanes', () => {
  it('is backing off while one of them is, whatever the others do', async (t) => {
    const sources = await openSources(t, { clock: new ManualClock(Date.UTC(2026, 0, 1)) });
    const { log } = sources.store;
    const { target } = await noting(t, `if (texts.includes('bad')) throw new Error('bad');`);
    const source = sources.begin({ function: target, batchSize: 1, parallelization: 4 });
    await log.append('readings', [{ partitionKey: 'k', data: Buffer.from('bad') }]);
    await until(source, ({ trouble }) => trouble !== null);
    const others = Array.from({ length: 20 }, (_, index) => ({
      partitionKey: `k${index}`,
      data: Buffer.from('good'),
    }));
    await log.append('readings', others);
    const { state, trouble } = await until(source, ({ records }) => records >= 5);
    assert.equal(state, 'backing-off');
    assert.match(trouble ?? '', /it threw Error: bad/);
    await source.close();
    assert.equal((await source.status()).trouble, null);
  });
});

describe('the advice on a function that fails', () => {
  for (const { body, more, advice } of [
    {
      body: `throw new Error('never');`,
      more: {},
      advice: /^Correct the function\. The batch goes again until .*functions\.f\.retries/,
    },
    {
      body: `throw new Error('never');`,
      more: { retries: 1_000, deadLetter: { stream: 'letters' } },
      advice: /given up after 1000 retries\. What is given up is kept in deadLetter\.$/,
    },
    {
      body: `throw new Error('never');`,
      more: { retries: 1_000 },
      advice: /kept nowhere: functions\.f\.deadLetter/,
    },
    {
      body: `await new Promise(() => {});`,
      more: { timeoutSeconds: 1 },
      advice: /^Raise functions\.f\.timeoutSeconds/,
    },
    {
      body: `} throw new Error('as it loads'); {`,
      more: {},
      advice: /^Correct the module, or its path: it is read anew with the next attempt/,
    },
  ]) {
    it(`is ${advice.source}`, async (t) => {
      const sources = await openSources(t, { clock: new ImpatientClock() });
      const { target } = await noting(t, body);
      await sources.store.log.append('readings', numbered(0, 1));
      const source = sources.begin({ function: target, ...more });
      const status = await until(source, ({ trouble }) => trouble !== null);
      assert.match(status.advice ?? '', advice);
      assert.equal(status.state, 'backing-off');
    });
  }
});
