/** Kinesis as plans see it: the promises of batch sinks, and the order within a key. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { inBatches } from '../../../../gateway/forward/in-batches.ts';
import {
  recordBytes,
  SinkError,
  type BatchItem,
  type BatchSink,
  type OutgoingRecord,
  type RecordSink,
} from '../../../../gateway/forward/sink.ts';
import { kinesisSink } from '../../../../gateway/forward/sinks/kinesis/kinesis-sink.ts';
import { seededRandom } from '../../../storage/support/open.ts';
import { insideOf } from '../../../support/aws-kinesis-agg.ts';
import { batchOf, itemsOf } from '../support/batches.ts';
import { MemoryRecordSink } from '../support/memory-record-sink.ts';
import {
  startHeadgate,
  startKinesalite,
  type KinesisUpstream,
} from '../support/kinesis-upstream.ts';
import { breaksOff, lies, losesAnswer, type Behaviour } from '../support/stub-server.ts';
import { batchSinkContract, failureOf, type BatchPlace } from './batch-sink-contract.ts';

const never = new AbortController().signal;

function sinkOf(
  context: TestContext,
  { stub, credentials }: KinesisUpstream,
  aggregate: 'none' | 'kpl',
): BatchSink {
  const sink = inBatches(
    kinesisSink({ stream: 'upstream', endpoint: stub.url, credentials, aggregate }),
  );
  context.after(() => sink.close());
  return sink;
}

/** Behind the question for the shards, where there is one. */
const askedBefore: Behaviour = (request, serve) => serve(request);

for (const [name, start] of Object.entries({
  kinesalite: startKinesalite,
  headgate: startHeadgate,
}))
  for (const aggregate of ['none', 'kpl'] as const) {
    batchSinkContract(`kinesis (${name}), aggregate: ${aggregate}`, async (context) => {
      const upstream = await start(context, 2);
      const { stub } = upstream;
      const place: BatchPlace = {
        sink: sinkOf(context, upstream, aggregate),
        // Of each key only.
        ...{ isOrdered: false, deduplicates: false },
        ...{ down: () => stub.down(), up: () => stub.up() },
        loseNextAnswer: () => {
          stub.next.push(...(aggregate === 'kpl' ? [askedBefore] : []), losesAnswer);
        },
        taken: async () =>
          (await upstream.read())
            .flatMap(({ key, data }) => insideOf(key, data))
            .map(({ data }) => ({ id: null, value: JSON.parse(data.toString()) as unknown })),
      };
      return place;
    });
  }

test('what Kinesis says of it: lies, and answers that break off, acknowledge nothing', async (context) => {
  const upstream = await startKinesalite(context, 1);
  const sink = sinkOf(context, upstream, 'none');
  const items = itemsOf(3);
  const untrue = [
    lies((answer) => ({ ...answer, Records: [] })),
    lies((answer) => ({ ...answer, Records: null })),
    lies(({ Records: records, ...answer }) => ({
      ...answer,
      Records: [...(records as unknown[]), ...(records as unknown[])],
    })),
    lies((answer) => ({ ...answer, Records: items.map(() => ({ ShardId: 'shardId-0' })) })),
    lies(() => 'rubbish'),
    breaksOff,
  ];
  for (const behaviour of untrue) {
    upstream.stub.next.push(behaviour);
    const failure = await failureOf(sink.deliver(batchOf(items), never));
    assert.equal(failure.retryable, true, `${failure.code}: ${failure.message}`);
  }
  assert.equal((await upstream.read()).length, items.length * untrue.length, 'it took them all');
});

const limits = { records: 20, bytes: 2_000, recordBytes: 300 };

function numberOf({ data }: OutgoingRecord): number {
  return (JSON.parse(data.toString()) as { number: number }).number;
}

/** What failed, again and again, until nothing does. */
async function deliverAll(sink: BatchSink, all: readonly BatchItem[]): Promise<BatchItem[]> {
  const refused: BatchItem[] = [];
  for (let items = all; items.length > 0;) {
    const sent = items;
    const outcomes = await sink.deliver(batchOf(sent), never);
    const isRefused = (index: number): boolean => outcomes[index]?.code === 'rejected';
    refused.push(...sent.filter((_item, index) => isRefused(index)));
    items = sent.filter((_item, index) => outcomes[index] !== null && !isRefused(index));
  }
  return refused;
}

test('within a key all arrive in order, once, whatever is left of the calls', async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = seededRandom(seed);
    const records = new MemoryRecordSink(limits);
    records.answer = (record) => {
      const number = numberOf(record);
      if (number % 50 === 13) return new SinkError('rejected', 'not this one');
      return random() < 0.3 ? new SinkError('throttled', 'less') : null;
    };
    const items = itemsOf(200);
    const refused = await deliverAll(inBatches(records), items);
    assert.deepEqual(
      refused.map((item) => numberOf(item)).sort((a, b) => a - b),
      [13, 63, 113, 163],
    );
    const taken = records.taken.map((record) => numberOf(record));
    assert.equal(taken.length, 196);
    for (let key = 0; key < 10; key += 1) {
      const own = taken.filter((number) => number % 10 === key);
      assert.deepEqual(
        own,
        own.toSorted((a, b) => a - b),
        `seed ${seed}, key ${key}`,
      );
    }
    for (const call of records.calls) {
      assert.ok(
        call.length <= 20 && new Set(call.map((one) => one.partitionKey)).size === call.length,
      );
      assert.ok(call.reduce((sum, record) => sum + recordBytes(record), 0) <= 2_000);
    }
  }
});

test('a record that is too large with its key is refused alone, and its key goes on', async () => {
  const records = new MemoryRecordSink(limits);
  const [first, ...others] = itemsOf(30);
  const large = { ...first!, partitionKey: 'k'.repeat(250) };
  const behind = itemsOf(1).map((item) => ({
    ...item,
    partitionKey: 'k'.repeat(250),
    data: Buffer.from('{"number":99}'),
  }));
  assert.ok(large.data.length < limits.recordBytes);
  const padded = { ...large, data: Buffer.from(JSON.stringify({ number: 0, x: 'x'.repeat(60) })) };
  const outcomes = await inBatches(records).deliver(batchOf([padded, ...others, ...behind]), never);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? null),
    ['too-large', ...others.map(() => null), null],
  );
  assert.ok(records.taken.some((record) => numberOf(record) === 99));
});

test('a call that fails as a whole leaves taken what was taken before it', async () => {
  for (const code of ['unreachable', 'rejected', 'too-large', 'aborted'] as const) {
    const records = new MemoryRecordSink(limits);
    records.before = () => {
      if (records.calls.length === 3) throw new SinkError(code, 'the third');
    };
    const items = itemsOf(50);
    const outcomes = await inBatches(records).deliver(batchOf(items), never);
    assert.equal(records.calls.length, 3, 'nothing is tried behind it');
    const failed = items.filter((_item, index) => outcomes[index] !== null);
    assert.deepEqual(
      failed.map((item) => numberOf(item)),
      Array.from({ length: 30 }, (_none, index) => 20 + index),
    );
    // Which record is meant is not known yet.
    assert.ok(outcomes.every((outcome) => outcome === null || outcome.retryable));
    const first = new MemoryRecordSink(limits);
    first.before = () => {
      throw new SinkError(code, 'the first');
    };
    await assert.rejects(inBatches(first).deliver(batchOf(items), never), { code });
  }
});

test('packed: what is moved ends the batch, and packing is learnt anew', async () => {
  const records = new MemoryRecordSink(limits);
  let learnt = 0;
  const packs: RecordSink = Object.assign(records, {
    learnPacking: () => {
      learnt += 1;
      return Promise.resolve({
        groupOf: (record: OutgoingRecord) => (numberOf(record) % 2 === 0 ? 'even' : 'odd'),
        pack: (group: string, all: readonly OutgoingRecord[], maxBytes: number) => {
          const count = maxBytes === 0 ? 1 : Math.min(5, all.length);
          return { count, record: { ...all[0]!, group } };
        },
      });
    },
  });
  let isMoved = true;
  records.answer = (record) =>
    isMoved && numberOf(record) === 10 ? new SinkError('moved', 'resharded') : null;
  const sink = inBatches(packs);
  const items = itemsOf(40);
  const outcomes = await sink.deliver(batchOf(items), never);
  assert.equal(records.calls.length, 2);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? 'taken'),
    items.map((_item, number) => (number < (number % 2 === 0 ? 10 : 20) ? 'taken' : 'moved')),
  );
  isMoved = false;
  await sink.deliver(batchOf(items.slice(10)), never);
  await sink.deliver(batchOf(items), never);
  assert.equal(learnt, 2);
});

test('packed: of an aggregate that is refused, only the record that is meant is', async () => {
  const records = new MemoryRecordSink(limits);
  const packs: RecordSink = Object.assign(records, {
    learnPacking: () =>
      Promise.resolve({
        groupOf: () => 'one',
        pack: (_group: string, all: readonly OutgoingRecord[], maxBytes: number) => {
          const count = maxBytes === 0 ? 1 : Math.min(6, all.length);
          const numbers = all.slice(0, count).map((record) => numberOf(record));
          const data = Buffer.from(JSON.stringify({ number: numbers[0], numbers }));
          return { count, record: { partitionKey: 'p', data } };
        },
      }),
  });
  const arrived: number[] = [];
  records.answer = ({ data }) => {
    const { numbers } = JSON.parse(data.toString()) as { numbers: number[] };
    if (numbers.includes(8)) return new SinkError('rejected', 'not with 8');
    arrived.push(...numbers);
    return null;
  };
  const outcomes = await inBatches(packs).deliver(batchOf(itemsOf(20)), never);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? null),
    itemsOf(20).map((_item, index) => (index === 8 ? 'rejected' : null)),
  );
  assert.deepEqual(
    arrived,
    Array.from({ length: 20 }, (_none, index) => index).filter((number) => number !== 8),
  );
});
