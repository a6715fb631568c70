import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { ReadBudget } from '../../../storage/log/read-budget.ts';
import { loadStreams } from '../../../storage/log/streams.ts';
import { ReadCache } from '../../../storage/log/read-cache.ts';
import type { LogRecord, ReadResult, StreamOptions } from '../../../storage/model.ts';
import type { StoreOptions } from '../../../storage/store.ts';
import { openTestStore, streamOptions, type TestStore } from '../support/open.ts';

interface Opened extends TestStore {
  readonly shardId: number;
}

async function withStream(
  context: TestContext,
  store: Partial<StoreOptions> = {},
  stream: Partial<StreamOptions> = {},
): Promise<Opened> {
  const opened = await openTestStore(context, store);
  const { shards } = await opened.store.log.createStream(streamOptions(stream));
  return Object.assign(opened, { shardId: shards[0]!.id });
}

const fromDisk = ({ metrics }: TestStore): number =>
  metrics.values.get('headgate_log_read_batches_total{from="disk"}') ?? 0;
const fromMemory = ({ metrics }: TestStore): number =>
  metrics.values.get('headgate_log_read_batches_total{from="memory"}') ?? 0;

async function append({ store }: Opened, count: number, bytes = 20): Promise<void> {
  const { nextSequence } = store.log.stream('readings').shards[0]!;
  const records = Array.from({ length: count }, (_, index) => {
    const data = Buffer.alloc(bytes, `${nextSequence + index} `);
    return { partitionKey: `key-${index}`, data };
  });
  await store.log.append('readings', records);
}

function read({ store, shardId }: Opened, fromSequence: number): Promise<ReadResult> {
  return store.log.read({ shardId, fromSequence, maxRecords: 100_000, maxBytes: 64 * 2 ** 20 });
}

/** Reads as an application does, from where it was. */
async function follow(opened: Opened, reader: { at: number }): Promise<void> {
  const { records, nextSequence, skipped } = await read(opened, reader.at);
  assert.deepEqual(skipped, { trimmed: 0, corrupt: 0 });
  for (const record of records) {
    assert.equal(record.sequence, reader.at);
    assert.ok(record.data.toString().startsWith(`${reader.at} `), 'another record');
    reader.at += 1;
  }
  assert.equal(nextSequence, reader.at);
}

test('a hundred readers at the head are served from memory', async (t) => {
  const opened = await withStream(t);
  const readers = Array.from({ length: 100 }, () => ({ at: 0 }));
  await append(opened, 5);
  await Promise.all(readers.map((reader) => follow(opened, reader)));
  const before = fromDisk(opened);
  const beforeFromMemory = fromMemory(opened);
  for (let round = 0; round < 30; round += 1) {
    await append(opened, 7);
    await Promise.all(readers.map((reader) => follow(opened, reader)));
  }
  for (const { at } of readers) assert.equal(at, 5 + 30 * 7);
  assert.equal(fromDisk(opened), before, 'nobody went to the disk');
  assert.equal(fromMemory(opened) - beforeFromMemory, 100 * 30);
});

test('a reader that falls behind what is in memory reads on from the disk, and catches up', async (t) => {
  const opened = await withStream(t, { tailCacheBytes: 200_000 });
  const quick = { at: 0 };
  const slow = { at: 0 };
  await append(opened, 5);
  await Promise.all([follow(opened, quick), follow(opened, slow)]);
  for (let round = 0; round < 100; round += 1) {
    await append(opened, 5, 2000);
    await follow(opened, quick);
  }
  const disk = fromDisk(opened);
  await follow(opened, slow);
  assert.ok(fromDisk(opened) > disk, 'what is no longer in memory is on the disk');
  assert.equal(slow.at, quick.at);
  const caughtUp = fromDisk(opened);
  await append(opened, 5);
  await Promise.all([follow(opened, quick), follow(opened, slow)]);
  assert.equal(fromDisk(opened), caughtUp);
});

test('those who go through a backlog side by side read it from the disk once', async (t) => {
  const opened = await withStream(t, { tailCacheBytes: 0 });
  for (let batch = 0; batch < 300; batch += 1) await append(opened, 4, 1000);
  const through = async (maxRecords: number): Promise<void> => {
    const { store, shardId } = opened;
    const numbers: number[] = [];
    for (let fromSequence = 0; fromSequence < 1200;) {
      const read = { shardId, fromSequence, maxRecords, maxBytes: 2 ** 20 };
      const { records, nextSequence } = await store.log.read(read);
      for (const { sequence, data } of records) {
        assert.ok(data.toString().startsWith(`${sequence} `), 'another record');
        numbers.push(sequence);
      }
      fromSequence = nextSequence;
    }
    assert.deepEqual(
      numbers,
      Array.from({ length: 1200 }, (_, sequence) => sequence),
    );
  };
  await Promise.all([100, 100, 100, 7, 1000].map(through));
  assert.ok(fromDisk(opened) < 2 * 300, `${fromDisk(opened)} batches were loaded`);
  const before = fromDisk(opened);
  await through(33);
  assert.equal(fromDisk(opened), before, 'nor by who comes a moment later');
});

test('what was read from the disk is kept within bounds, the last that was asked for longest', async (t) => {
  const { metrics, store } = await withStream(t, {}, { shardCount: 2 });
  const [shard, other] = (await loadStreams(store.queries)).get('readings').shards;
  const cache = new ReadCache(40_000, metrics);
  const bytes = (): number => metrics.values.get('headgate_log_read_cache_bytes') ?? 0;
  const batch = (from: number, count: number): LogRecord[] =>
    Array.from({ length: count }, (_, index) => ({
      ...{ sequence: from + index, partitionKey: 'k', arrivalMs: 1, data: Buffer.alloc(1) },
    }));
  const at = (sequence: number): number | undefined => cache.find(shard!, sequence)?.[0]?.sequence;
  for (const from of [20, 0, 10, 30]) cache.add(shard!, batch(from, 10), 1000);
  cache.add(other!, batch(5, 5), 1000);
  assert.deepEqual([0, 9, 10, 25, 39, 40].map(at), [0, 9, 10, 25, 39, undefined]);
  assert.equal(cache.find(shard!, 25)?.length, 5);
  for (let from = 100; bytes() < 36_000; from += 10) cache.add(shard!, batch(from, 10), 1000);
  assert.equal(at(12), 12);
  for (let from = 1000; from < 1060; from += 10) cache.add(shard!, batch(from, 10), 1000);
  assert.ok(bytes() <= 40_000, `${bytes()} bytes are kept`);
  assert.deepEqual([at(20), at(12)], [undefined, 12], 'what was asked for last stays');
  cache.add(shard!, batch(10, 10), 1000);
  cache.add(shard!, batch(2000, 10), 6_000);
  assert.deepEqual([at(12), at(2000)], [12, undefined], 'too much at once is not kept');
  cache.forget(shard!);
  assert.equal(at(12), undefined);
  cache.forget(other!);
  assert.equal(bytes(), 0);
  cache.add(other!, batch(5, 5), 1000);
  assert.equal(cache.find(other!, 5), null, 'what was still being loaded is not kept');
  assert.equal(bytes(), 0);
});

test('memory is bounded over all streams, and what nobody reads takes none', async (t) => {
  const tailCacheBytes = 1_000_000;
  const opened = await withStream(t, { tailCacheBytes }, { shardCount: 1 });
  const { log } = opened.store;
  const others = ['a', 'b', 'c'];
  for (const name of others) await log.createStream(streamOptions({ name }));
  await append(opened, 1);
  await follow(opened, { at: 0 });
  for (let round = 0; round < 30; round += 1) {
    await append(opened, 10, 8000);
    for (const name of others) {
      await log.append(name, [{ partitionKey: 'k', data: Buffer.alloc(8000) }]);
    }
  }
  // Nobody came back: what was kept for the one who was here has been let go of.
  const disk = fromDisk(opened);
  assert.equal((await read(opened, 0)).records.length, 301);
  assert.ok(fromDisk(opened) - disk >= 30, 'all of it came from the disk');
  const gauge = opened.metrics.values.get('headgate_log_tail_cache_bytes') ?? 0;
  assert.ok(gauge <= tailCacheBytes, `${gauge} bytes`);
});

test('with no room for the cache everything comes from the disk', async (t) => {
  const opened = await withStream(t, { tailCacheBytes: 0 });
  const reader = { at: 0 };
  for (let round = 0; round < 10; round += 1) {
    await append(opened, 5);
    await follow(opened, reader);
  }
  assert.equal(fromMemory(opened), 0);
});

test('a record larger than the cache is read all the same', async (t) => {
  const opened = await withStream(t, { tailCacheBytes: 10_000 });
  const reader = { at: 0 };
  for (const bytes of [20, 1_000_000, 20, 20]) {
    await append(opened, 1, bytes);
    await follow(opened, reader);
  }
  assert.equal(reader.at, 4);
});

test('what was trimmed is not served from memory', async (t) => {
  const opened = await withStream(t, {}, { maxBytes: 20_000, whenFull: 'drop-oldest' });
  await append(opened, 1, 500);
  await follow(opened, { at: 0 });
  for (let round = 0; round < 100; round += 1) await append(opened, 1, 500);
  const { trimSequence } = opened.store.log.shard(opened.shardId);
  assert.ok(trimSequence > 10, 'retention was at work');
  const { records, skipped } = await read(opened, 0);
  assert.equal(skipped.trimmed, trimSequence);
  assert.equal(records[0]?.sequence, trimSequence);
});

test('a deleted stream of the same name begins without the records of the old one', async (t) => {
  const opened = await withStream(t);
  await append(opened, 3);
  await follow(opened, { at: 0 });
  await append(opened, 3);
  await opened.store.log.deleteStream('readings');
  const { shards } = await opened.store.log.createStream(streamOptions());
  const again = Object.assign(opened, { shardId: shards[0]!.id });
  await append(again, 2);
  const reader = { at: 0 };
  await follow(again, reader);
  assert.equal(reader.at, 2);
});

test('reads of old data wait for each other rather than hold more than is allowed', async () => {
  const budget = new ReadBudget(100);
  const order: string[] = [];
  const taken = async (name: string, bytes: number): Promise<() => void> => {
    const release = await budget.take(bytes);
    order.push(name);
    return release;
  };
  const first = await taken('first', 60);
  const second = taken('second', 60);
  const huge = taken('huge', 1e9);
  const small = taken('small', 10);
  await new Promise(setImmediate);
  assert.deepEqual(order, ['first'], 'who comes later does not overtake');
  first();
  (await second)();
  const releaseHuge = await huge;
  assert.deepEqual(order, ['first', 'second', 'huge']);
  releaseHuge();
  (await small)();
  assert.deepEqual(order, ['first', 'second', 'huge', 'small']);
});

test('two hundred readers of old data at once each get all of it', async (t) => {
  const opened = await withStream(t, { tailCacheBytes: 0 });
  for (let round = 0; round < 12; round += 1) await append(opened, 40, 10_000);
  const readers = Array.from({ length: 200 }, () => ({ at: 0 }));
  await Promise.all(readers.map((reader) => follow(opened, reader)));
  for (const { at } of readers) assert.equal(at, 12 * 40);
});
