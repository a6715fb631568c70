import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import type { Log, LogRecord, ReadResult, StreamOptions } from '../../../storage/model.ts';
import { hourMs, openTestStore, streamOptions, type TestStore } from '../support/open.ts';

function code(expected: StorageErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === expected;
}

async function withStream(
  context: TestContext,
  change: Partial<StreamOptions> = {},
): Promise<TestStore & { log: Log; shardId: number }> {
  const opened = await openTestStore(context);
  const { shards } = await opened.store.log.createStream(streamOptions(change));
  return Object.assign(opened, { log: opened.store.log, shardId: shards[0]!.id });
}

const input = (text: string, partitionKey = 'key'): { partitionKey: string; data: Buffer } => ({
  partitionKey,
  data: Buffer.from(text),
});

function readAll(log: Log, shardId: number, fromSequence = 0): Promise<ReadResult> {
  return log.read({ shardId, fromSequence, maxRecords: 1_000_000, maxBytes: 1e9 });
}

const texts = (records: readonly LogRecord[]): string[] =>
  records.map(({ data }) => data.toString());

test('records are read back in order, with their keys, bytes and arrival times', async (t) => {
  const { log, shardId, clock } = await withStream(t);
  const startMs = clock.nowMs();
  await log.append('readings', [input('a', 'häuser/🏠'), input('', 'empty')]);
  clock.advance(1500);
  const places = await log.append('readings', [input('c')]);
  assert.deepEqual(places, [{ shardId, shardIndex: 0, sequence: 2, arrivalMs: clock.nowMs() }]);
  const result = await readAll(log, shardId);
  assert.deepEqual(
    result.records.map(({ sequence, partitionKey, data, arrivalMs }) => [
      sequence,
      partitionKey,
      data.toString(),
      arrivalMs - startMs,
    ]),
    [
      [0, 'häuser/🏠', 'a', 0],
      [1, 'empty', '', 0],
      [2, 'key', 'c', 1500],
    ],
  );
  assert.equal(result.nextSequence, 3);
  assert.equal(result.recordsBehind, 0);
  assert.equal(result.millisBehind, 0);
  assert.equal(result.endOfShard, false);
});

test('a key always goes to the shard that owns its MD5; an explicit hash key overrides it', async (t) => {
  const { log } = await withStream(t, { shardCount: 4 });
  // MD5("a") = 0cc1…, MD5("c") = 4a8a…, MD5("b") = 92eb….
  const places = await log.append('readings', [
    input('1', 'a'),
    input('2', 'c'),
    input('3', 'b'),
    { ...input('4', 'a'), explicitHashKey: (1n << 128n) - 1n },
    { ...input('5', 'a'), explicitHashKey: 0n },
    input('6', 'a'),
  ]);
  assert.deepEqual(
    places.map(({ shardIndex, sequence }) => [shardIndex, sequence]),
    [
      [0, 0],
      [1, 0],
      [2, 0],
      [3, 0],
      [0, 1],
      [0, 2],
    ],
  );
  const { shards } = log.stream('readings');
  assert.equal(shards[0]!.firstHashKey, 0n);
  assert.equal(shards[3]!.lastHashKey, (1n << 128n) - 1n);
  for (const [index, shard] of shards.slice(1).entries()) {
    assert.equal(shard.firstHashKey, shards[index]!.lastHashKey + 1n);
  }
});

test('many appends at once keep the order of their calls, and no record is lost', async (t) => {
  const { log, shardId, metrics } = await withStream(t);
  const places = await Promise.all(
    Array.from({ length: 3000 }, (_, index) => log.append('readings', [input(String(index))])),
  );
  assert.deepEqual(
    places.map(([place]) => place!.sequence),
    places.map((_, index) => index),
  );
  const { records } = await readAll(log, shardId);
  assert.deepEqual(
    texts(records),
    places.map((_, index) => String(index)),
  );
  const commits = metrics.values.get('headgate_store_commits_total') ?? 0;
  assert.ok(commits < 100, `${commits} commits for 3000 appends: they do not share commits`);
});

test('a read stops at its limits and says where to go on and how far it is behind', async (t) => {
  const { log, shardId, clock } = await withStream(t);
  for (let index = 0; index < 10; index += 1) {
    await log.append('readings', [input('x'.repeat(100))]);
    clock.advance(1000);
  }
  const three = await log.read({ shardId, fromSequence: 0, maxRecords: 3, maxBytes: 1e6 });
  assert.equal(three.records.length, 3);
  assert.equal(three.nextSequence, 3);
  assert.equal(three.recordsBehind, 7);
  assert.equal(three.millisBehind, 7000);
  const bytes = await log.read({ shardId, fromSequence: 3, maxRecords: 100, maxBytes: 250 });
  assert.equal(bytes.records.length, 2);
  const one = await log.read({ shardId, fromSequence: 5, maxRecords: 100, maxBytes: 1 });
  assert.equal(one.records.length, 1, 'at least one record, however large');
  const none = await log.read({ shardId, fromSequence: 10, maxRecords: 100, maxBytes: 250 });
  assert.deepEqual(none.records, []);
  assert.equal(none.nextSequence, 10);
});

test('batches larger than a slice, and hundreds of small ones, are read whole', async (t) => {
  const { log, shardId } = await withStream(t);
  const expected: number[] = [];
  for (let index = 0; index < 12; index += 1) {
    const bytes = index % 3 === 0 ? 3_000_000 : 1000;
    await log.append('readings', [{ partitionKey: 'key', data: Buffer.alloc(bytes, index) }]);
    expected.push(bytes);
  }
  for (let round = 0; round < 150; round += 1) {
    await log.append('readings', [input('small'), input('small')]);
    expected.push(5, 5);
  }
  const { records } = await readAll(log, shardId);
  assert.deepEqual(
    records.map(({ data }) => data.length),
    expected,
  );
});

test('what was never right is refused with what is wrong', async (t) => {
  const { log, shardId } = await withStream(t);
  const refused = code('invalid-argument');
  await assert.rejects(log.append('readings', [input('x', '')]), refused);
  await assert.rejects(log.append('readings', [input('x', 'k'.repeat(257))]), refused);
  await assert.rejects(log.append('readings', [input('x', 'half a pair: \ud83c')]), refused);
  await assert.rejects(
    log.append('readings', [{ ...input('x'), explicitHashKey: 1n << 128n }]),
    refused,
  );
  const huge = { partitionKey: 'key', data: Buffer.alloc(10 * 1024 * 1024 + 1) };
  await assert.rejects(log.append('readings', [input('fine'), huge]), refused);
  await assert.rejects(log.append('nowhere', [input('x')]), code('not-found'));
  await assert.rejects(readAll(log, 999), code('not-found'));
  for (const change of [{ fromSequence: -1 }, { maxRecords: 0 }, { maxBytes: NaN }]) {
    const options = { shardId, fromSequence: 0, maxRecords: 1, maxBytes: 1, ...change };
    await assert.rejects(log.read(options), refused);
  }
  for (const change of [
    { name: '' },
    { name: 'a b' },
    { name: 'x'.repeat(129) },
    { shardCount: 0 },
    { shardCount: 10_001 },
    { retentionMs: hourMs - 1 },
    { maxBytes: 0 },
  ]) {
    await assert.rejects(log.createStream(streamOptions({ name: 'other', ...change })), refused);
  }
  assert.deepEqual((await readAll(log, shardId)).records, [], 'all or none');
  assert.deepEqual(await log.append('readings', []), []);
});

test('by time: the first record whose arrival is at or after it, however the clock stepped', async (t) => {
  const { log, shardId, clock } = await withStream(t);
  const startMs = clock.nowMs();
  // Arrivals 0, 10, 20 s; the clock steps back by 15 s; 5, 15, 25, 35 s.
  for (const stepMs of [0, 0, 0, -25_000, 0, 0, 0]) {
    clock.stepWall(stepMs);
    await log.append('readings', [input('x')]);
    clock.advance(10_000);
  }
  const at = (seconds: number): Promise<number> =>
    log.sequenceAt(shardId, startMs + seconds * 1000);
  assert.equal(await at(-100), 0);
  assert.equal(await at(0), 0);
  assert.equal(await at(0.001), 1);
  assert.equal(await at(10), 1);
  assert.equal(await at(15), 2);
  assert.equal(await at(20), 2);
  assert.equal(await at(21), 5);
  assert.equal(await at(35), 6);
  assert.equal(await at(36), 7);
});

test('a waiting reader is woken by a record, not before, and lets go for its signal', async (t) => {
  const { log, shardId } = await withStream(t);
  const never = new AbortController();
  await log.append('readings', [input('one')]);
  await log.waitForRecords(shardId, 0, never.signal);
  let woken = false;
  const waiting = log.waitForRecords(shardId, 2, never.signal).then(() => (woken = true));
  await log.append('readings', [input('two')]);
  await readAll(log, shardId);
  assert.equal(woken, false);
  await log.append('readings', [input('three')]);
  await waiting;
  const aborting = new AbortController();
  const aborted = log.waitForRecords(shardId, 99, aborting.signal);
  aborting.abort();
  await aborted;
  await log.waitForRecords(shardId, 99, aborting.signal);
});

test('readers that wait are let go when the stream is deleted and when the store closes', async (t) => {
  const { log, shardId, store } = await withStream(t);
  const { shards } = await log.createStream(streamOptions({ name: 'other' }));
  const { signal } = new AbortController();
  const ofDeleted = log.waitForRecords(shardId, 0, signal);
  const ofClosed = log.waitForRecords(shards[0]!.id, 0, signal);
  await log.deleteStream('readings');
  await ofDeleted;
  await assert.rejects(readAll(log, shardId), code('not-found'));
  await store.close();
  await ofClosed;
  await assert.rejects(readAll(log, shards[0]!.id), code('closed'));
});

test('the backlog behind a position is exact in records and bytes, and knows its oldest', async (t) => {
  const { log, shardId, clock } = await withStream(t);
  const startMs = clock.nowMs();
  await log.append('readings', [input('aa'), input('bbb')]);
  clock.advance(5000);
  await log.append('readings', [input('c')]);
  const all = await log.backlog(shardId, 0);
  assert.equal(all.records, 3);
  assert.equal(all.oldestArrivalMs, startMs);
  const rest = await log.backlog(shardId, 1);
  assert.equal(rest.records, 2);
  assert.equal(all.bytes - rest.bytes >= 2 + 'key'.length, true);
  const last = await log.backlog(shardId, 2);
  assert.equal(last.oldestArrivalMs, startMs + 5000);
  assert.deepEqual(await log.backlog(shardId, 3), { records: 0, bytes: 0, oldestArrivalMs: null });
  assert.ok(all.bytes <= log.stream('readings').storedBytes);
});

test('ensureStream creates, then changes what may be changed, and keeps the shards', async (t) => {
  const { log, reopen } = await withStream(t);
  const first = await log.ensureStream(streamOptions({ name: 'kept', shardCount: 2 }));
  await log.append('kept', [input('x')]);
  const change = { name: 'kept', shardCount: 5, retentionMs: 2 * hourMs, maxBytes: 1_000_000 };
  const second = await log.ensureStream(streamOptions({ ...change, whenFull: 'drop-oldest' }));
  assert.equal(second.id, first.id);
  assert.equal(second.shards.length, 2);
  assert.equal(second.retentionMs, 2 * hourMs);
  assert.equal(second.whenFull, 'drop-oldest');
  await assert.rejects(log.createStream(streamOptions({ name: 'kept' })), code('already-exists'));
  const reopened = await reopen();
  assert.deepEqual(reopened.log.stream('kept'), second);
});

test('two creations of one name at once: one wins, the other is told', async (t) => {
  const { log } = await withStream(t);
  const results = await Promise.allSettled([
    log.createStream(streamOptions({ name: 'twice' })),
    log.createStream(streamOptions({ name: 'twice' })),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
});

test('a stream created again under its old name is empty, with shards of its own', async (t) => {
  const { log, shardId, store } = await withStream(t);
  await log.append('readings', [input('old')]);
  await log.deleteStream('readings');
  await assert.rejects(log.append('readings', [input('x')]), code('not-found'));
  const { shards } = await log.createStream(streamOptions());
  assert.notEqual(shards[0]!.id, shardId);
  assert.deepEqual((await readAll(log, shards[0]!.id)).records, []);
  await store.retention.run();
  const rows = await store.queries.all('SELECT id FROM stream');
  assert.equal(rows.length, 1);
});

test('ten thousand shards are created, written and opened again', async (t) => {
  const { log, reopen } = await withStream(t);
  await log.createStream(streamOptions({ name: 'wide', shardCount: 10_000 }));
  const places = await log.append(
    'wide',
    Array.from({ length: 500 }, (_, index) => input('x', `key-${index}`)),
  );
  assert.ok(new Set(places.map(({ shardId }) => shardId)).size > 400);
  const reopened = await reopen();
  const held = reopened.log.stream('wide').shards.filter((shard) => shard.nextSequence > 0);
  assert.equal(held.length, new Set(places.map(({ shardId }) => shardId)).size);
});
