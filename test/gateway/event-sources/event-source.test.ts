import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { numbered, streamOptions } from '../forward/support/rig.ts';
import { functionOf, ImpatientClock, kinds } from '../functions/support/functions.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { noting, openSources, until } from './support/sources.ts';

interface Letter {
  readonly requestContext: { readonly condition: string; readonly approximateInvokeCount: number };
  readonly responseContext: { readonly errorMessage: string; readonly errorCode: string } | null;
  readonly KinesisBatchInfo: { readonly batchSize: number; readonly startSequenceNumber: string };
  readonly payload: {
    readonly Records: readonly { readonly kinesis: { readonly data: string } }[];
  };
}

const dataOf = ({ payload }: Letter): readonly string[] =>
  payload.Records.map(({ kinesis }) => Buffer.from(kinesis.data, 'base64').toString());

const ids = (texts: readonly string[]): readonly number[] =>
  texts.map((text) => (JSON.parse(text) as { id: number }).id);

describe('an event source', () => {
  for (const kind of kinds) {
    it(`isolates one poison record in ten thousand (${kind})`, async (t) => {
      const sources = await openSources(t, { clock: new ImpatientClock() });
      const { source, notes } = await noting(
        t,
        `if (texts.some((text) => JSON.parse(text).id === 6_789)) throw new Error('poison');
         note(texts);`,
      );
      for (let first = 0; first < 10_000; first += 1_000) {
        await sources.store.log.append('readings', numbered(first, 1_000));
      }
      const running = sources.begin({
        ...{ function: await functionOf(t, kind, source), batchSize: 1_000 },
        ...{ bisectOnError: true, retries: 2, deadLetter: { stream: 'letters' } },
      });
      const status = await until(running, ({ records }) => records >= 10_000);
      const done = (notes() as string[][]).flatMap(ids);
      const wanted = Array.from({ length: 10_000 }, (_, id) => id).filter((id) => id !== 6_789);
      assert.deepEqual(done, wanted);
      const letters = (await sources.texts('letters')).map((text) => JSON.parse(text) as Letter);
      assert.equal(letters.length, 1);
      const [letter] = letters;
      assert.deepEqual(ids(dataOf(letter!)), [6_789]);
      assert.equal(letter!.requestContext.condition, 'RetryAttemptsExhausted');
      assert.equal(letter!.requestContext.approximateInvokeCount, 3);
      assert.equal(letter!.KinesisBatchInfo.batchSize, 1);
      if (kind !== 'http') assert.match(letter!.responseContext!.errorMessage, /poison/);
      assert.equal(status.metrics.DroppedEventCount, 1);
      assert.equal(status.backlog.records, 0);
    });
  }

  it('gives functions the event of Lambda', async (t) => {
    const sources = await openSources(t);
    const { target, notes } = await noting(t, 'note(event);');
    const [place] = await sources.store.log.append('readings', [
      { partitionKey: 'k', data: Buffer.from('hello') },
    ]);
    await until(sources.begin({ function: target }), ({ records }) => records === 1);
    const [event] = notes() as { Records: { kinesis: { sequenceNumber: string } }[] }[];
    const sequenceNumber = event!.Records[0]!.kinesis.sequenceNumber;
    assert.match(sequenceNumber, /^\d{56}$/);
    assert.deepEqual(event, {
      Records: [
        {
          kinesis: {
            ...{ kinesisSchemaVersion: '1.0', partitionKey: 'k', sequenceNumber },
            data: 'aGVsbG8=',
            approximateArrivalTimestamp: place!.arrivalMs / 1000,
          },
          ...{ eventSource: 'aws:kinesis', eventVersion: '1.0' },
          eventID: `shardId-000000000000:${sequenceNumber}`,
          eventName: 'aws:kinesis:record',
          invokeIdentityArn: 'arn:aws:iam::123456789012:role/headgate',
          awsRegion: 'eu-central-1',
          eventSourceARN: 'arn:aws:kinesis:eu-central-1:123456789012:stream/readings',
        },
      ],
    });
  });

  it('tries a batch again until it is done, in order, when nothing limits that', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target, notes } = await noting(
      t,
      `if (calls < 6) throw new Error('not yet'); note(texts);`,
    );
    await sources.store.log.append('readings', numbered(0, 20));
    const source = sources.begin({ function: target, batchSize: 7 });
    const { metrics } = await until(source, ({ records }) => records === 20);
    assert.deepEqual(
      (notes() as string[][]).map((texts) => texts.length),
      [7, 7, 6],
    );
    assert.deepEqual(
      (notes() as string[][]).flatMap(ids),
      Array.from({ length: 20 }, (_, id) => id),
    );
    assert.equal(metrics.Errors, 5);
    assert.equal(metrics.Invocations, 8);
  });

  it('keeps a whole batch in a folder when it may not be halved', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target } = await noting(t, `throw new Error('never');`);
    const folder = await temporaryFolder(t);
    await sources.store.log.append('readings', numbered(0, 5));
    const source = sources.begin({ function: target, retries: 0, deadLetter: { folder } });
    await until(source, ({ metrics }) => metrics.DroppedEventCount === 5);
    const below = join(folder, 'f', 'readings', 'shardId-000000000000');
    const files = await readdir(below);
    assert.equal(files.length, 1);
    const letter = JSON.parse(await readFile(join(below, files[0]!), 'utf8')) as Letter;
    assert.deepEqual(ids(dataOf(letter)), [0, 1, 2, 3, 4]);
    assert.match(letter.responseContext!.errorMessage, /never/);
  });

  const troubles = {
    hangs: { body: 'await new Promise(() => {});', errorCode: 'timeout' },
    loops: { body: 'for (;;);', errorCode: 'timeout' },
    'needs too much memory': {
      body: 'const all = []; for (;;) all.push(new Array(1e5).fill(calls));',
      errorCode: 'out-of-memory',
    },
    exits: { body: 'process.exit(1);', errorCode: 'failed' },
  };
  for (const [name, { body, errorCode }] of Object.entries(troubles)) {
    it(`goes on behind a batch with which the function ${name}`, async (t) => {
      const sources = await openSources(t);
      const { target, notes } = await noting(t, `if (texts[0] === 'bad') { ${body} } note(texts);`);
      for (const text of ['bad', 'good']) {
        await sources.store.log.append('readings', [
          { partitionKey: 'k', data: Buffer.from(text) },
        ]);
      }
      const source = sources.begin({
        ...{ function: target, batchSize: 1, retries: 0, timeoutSeconds: 1.5 },
        deadLetter: { stream: 'letters' },
      });
      await until(source, ({ records }) => records === 2);
      assert.deepEqual(notes(), [['good']]);
      const [letter] = (await sources.texts('letters')).map((text) => JSON.parse(text) as Letter);
      assert.equal(letter!.responseContext!.errorCode, errorCode);
    });
  }

  it('goes on where it was, and takes the children of a shard after it', async (t) => {
    const folder = await temporaryFolder(t);
    const first = await openSources(t, { folder });
    const { target, notes } = await noting(t, 'note(texts);');
    await first.store.log.append('readings', numbered(0, 50));
    await until(first.begin({ function: target }), ({ records }) => records === 50);
    await first.close();
    const second = await openSources(t, { folder });
    await second.store.log.append('readings', numbered(50, 50));
    await second.store.log.splitShard('readings', 0, 2n ** 127n);
    await second.store.log.append('readings', numbered(100, 50));
    await until(second.begin({ function: target }), ({ records }) => records === 100);
    const done = (notes() as string[][]).flatMap(ids);
    assert.deepEqual(
      done.slice(0, 100),
      Array.from({ length: 100 }, (_, id) => id),
    );
    assert.deepEqual(
      done.slice(100).sort((a, b) => a - b),
      Array.from({ length: 50 }, (_, index) => 100 + index),
    );
  });

  it('waits for a dead letter to be kept before it goes on', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target } = await noting(t, `throw new Error('never');`);
    await sources.store.log.deleteStream('letters');
    await sources.store.log.append('readings', numbered(0, 1));
    const source = sources.begin({
      ...{ function: target, retries: 0, deadLetter: { stream: 'letters' } },
    });
    const waiting = await until(source, ({ metrics }) => metrics.DeadLetterErrors >= 2);
    assert.equal(waiting.backlog.records, 1);
    assert.match(waiting.trouble ?? '', /letters/);
    await sources.store.log.ensureStream(streamOptions('letters'));
    await until(source, ({ backlog }) => backlog.records === 0);
    assert.equal((await sources.texts('letters')).length, 1);
  });
});
