import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { backupStore } from '../../../storage/backup.ts';
import { checkStore } from '../../../storage/check.ts';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import { LogReader } from '../../../storage/log/reading.ts';
import { loadStreams } from '../../../storage/log/streams.ts';
import { Sealing } from '../../../storage/log/sealing.ts';
import { ReadCache } from '../../../storage/log/read-cache.ts';
import { TailCache } from '../../../storage/log/tail-cache.ts';
import type { Log, ShardDescription, StreamOptions } from '../../../storage/model.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { hourMs, openTestStore, streamOptions, type TestStore } from '../support/open.ts';

const space = 1n << 128n;
const half = space / 2n;

function code(expected: StorageErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === expected;
}

async function withStream(
  context: TestContext,
  change: Partial<StreamOptions> = {},
): Promise<TestStore & { log: Log }> {
  const opened = await openTestStore(context);
  // On demand it would be merged again by itself.
  await opened.store.log.createStream(streamOptions({ mode: 'provisioned', ...change }));
  return Object.assign(opened, { log: opened.store.log });
}

const at = (explicitHashKey: bigint, text = 'x', partitionKey = 'key') => ({
  partitionKey,
  data: Buffer.from(text),
  explicitHashKey,
});

async function texts(log: Log, { id }: { readonly id: number }): Promise<string[]> {
  const all = { shardId: id, fromSequence: 0, maxRecords: 1e6, maxBytes: 1e9 };
  return (await log.read(all)).records.map(({ data }) => data.toString());
}

const open = (shards: readonly ShardDescription[]): ShardDescription[] =>
  shards
    .filter(({ closedMs }) => closedMs === null)
    .sort((a, b) => (a.firstHashKey < b.firstHashKey ? -1 : 1));

async function assertSound(folder: string): Promise<void> {
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
}

test('a split closes the parent and divides its keys between two children', async (t) => {
  const { log, clock, folder, reopen } = await withStream(t);
  await log.append('readings', [at(0n, 'a'), at(space - 1n, 'b')]);
  const { shards } = await log.splitShard('readings', 0, half);
  const places = await log.append('readings', [at(half - 1n, 'c'), at(half, 'd'), at(0n, 'e')]);
  assert.deepEqual(
    places.map(({ shardIndex, sequence }) => [shardIndex, sequence]),
    [
      [1, 0],
      [2, 0],
      [1, 1],
    ],
  );
  const secondLater = (Math.floor(clock.nowMs() / 1000) + 1) * 1000;
  assert.deepEqual(
    shards.map(({ index, firstHashKey, lastHashKey, parents, createdMs, closedMs }) => [
      ...[index, firstHashKey, lastHashKey, parents, createdMs, closedMs],
    ]),
    [
      [0, 0n, space - 1n, [], clock.nowMs(), secondLater],
      [1, 0n, half - 1n, [0], secondLater, null],
      [2, half, space - 1n, [0], secondLater, null],
    ],
  );
  const before = log.stream('readings');
  const reopened = (await reopen()).log;
  assert.deepEqual(reopened.stream('readings'), before);
  const read = await Promise.all(shards.map((shard) => texts(reopened, shard)));
  assert.deepEqual(read, [['a', 'b'], ['c', 'e'], ['d']]);
  const end = { shardId: shards[0]!.id, fromSequence: 0, maxRecords: 9, maxBytes: 9 };
  assert.equal((await reopened.read(end)).endOfShard, true);
  await assertSound(folder);
});

test('what was appended before a split lies in the parent, what comes after in the children, in one commit too', async (t) => {
  const { log, metrics, store } = await withStream(t);
  const commits = (): number => metrics.values.get('headgate_store_commits_total') ?? 0;
  const before = commits();
  const [first, , second, , third] = await Promise.all([
    log.append('readings', [at(0n, 'parent')]),
    log.splitShard('readings', 0, half),
    log.append('readings', [at(0n, 'left'), at(half, 'right')]),
    log.mergeShards('readings', 2, 1),
    log.append('readings', [at(0n, 'merged'), at(half, 'merged too')]),
  ]);
  assert.equal(commits() - before, 1, 'one group');
  const indexes = [first, second, third].map((places) => places.map((place) => place.shardIndex));
  assert.deepEqual(indexes, [[0], [1, 2], [3, 3]]);
  const { shards } = log.stream('readings');
  assert.deepEqual(shards[3]!.parents, [2, 1]);
  assert.deepEqual(await Promise.all(shards.map((shard) => texts(log, shard))), [
    ['parent'],
    ['left'],
    ['right'],
    ['merged', 'merged too'],
  ]);
  await store.close();
});

test('an invalid reshard says why and changes nothing', async (t) => {
  const { log } = await withStream(t, { shardCount: 4 });
  await log.splitShard('readings', 1, (space * 3n) / 8n);
  const before = log.stream('readings');
  const refused: [() => Promise<unknown>, StorageErrorCode][] = [
    [() => log.splitShard('nowhere', 0, 1n), 'not-found'],
    [() => log.splitShard('readings', 99, 1n), 'not-found'],
    [() => log.splitShard('readings', -1, 1n), 'not-found'],
    [() => log.splitShard('readings', NaN, 1n), 'not-found'],
    [() => log.splitShard('readings', 1, (space * 3n) / 8n), 'invalid-argument'],
    [() => log.splitShard('readings', 0, 0n), 'invalid-argument'],
    [() => log.splitShard('readings', 0, half), 'invalid-argument'],
    [() => log.splitShard('readings', 3, space), 'invalid-argument'],
    [() => log.splitShard('readings', 3, -5n), 'invalid-argument'],
    [() => log.mergeShards('readings', 0, 2), 'invalid-argument'],
    [() => log.mergeShards('readings', 0, 0), 'invalid-argument'],
    [() => log.mergeShards('readings', 0, 1), 'invalid-argument'],
    [() => log.mergeShards('readings', 0, 77), 'not-found'],
    [() => log.resizeStream('readings', 0), 'invalid-argument'],
    [() => log.resizeStream('readings', 2.5), 'invalid-argument'],
    [() => log.resizeStream('readings', 10_001), 'invalid-argument'],
    [() => log.resizeStream('nowhere', 2), 'not-found'],
  ];
  for (const [call, expected] of refused) await assert.rejects(call, code(expected));
  assert.deepEqual(log.stream('readings'), before);
});

test('a shard of a single key can not be split', async (t) => {
  const { log } = await withStream(t);
  await log.splitShard('readings', 0, 1n);
  await assert.rejects(log.splitShard('readings', 1, 0n), code('invalid-argument'));
  await assert.rejects(log.splitShard('readings', 1, 1n), code('invalid-argument'));
});

for (const [from, to] of [
  [1, 4],
  [2, 4],
  [4, 2],
  [4, 3],
  [3, 4],
  [5, 2],
  [2, 7],
  [64, 1],
  [3, 3],
] as const) {
  test(`from ${from} shards to ${to}: even, in steps of two`, async (t) => {
    const { log, folder } = await withStream(t, { shardCount: from });
    const records = Array.from({ length: 200 }, (_, index) => ({
      partitionKey: `key-${index % 40}`,
      data: Buffer.from(String(index)),
    }));
    await log.append('readings', records.slice(0, 100));
    const { shards } = await log.resizeStream('readings', to);
    await log.append('readings', records.slice(100));
    const now = open(shards);
    assert.deepEqual(
      now.map(({ firstHashKey }) => firstHashKey),
      Array.from({ length: to }, (_, index) => (space * BigInt(index)) / BigInt(to)),
    );
    if (from === to) assert.equal(shards.length, from, 'nothing to do');
    const children = new Map<number, number>();
    for (const { index, parents, createdMs } of shards) {
      assert.ok(parents.length <= 2);
      for (const parent of parents) {
        const { closedMs, createdMs: parentMs } = shards[parent]!;
        assert.ok(parent < index && closedMs === createdMs);
        assert.ok(Math.floor(parentMs / 1000) < Math.floor(createdMs / 1000), 'a later second');
        children.set(parent, (children.get(parent) ?? 0) + 1);
      }
    }
    assert.ok([...children.values()].every((count) => count <= 2));
    const read = new Map<string, string[]>();
    for (const shard of log.stream('readings').shards) {
      for (const text of await texts(log, shard)) {
        const key = `key-${Number(text) % 40}`;
        read.set(key, [...(read.get(key) ?? []), text]);
      }
    }
    for (let key = 0; key < 40; key += 1) {
      const expected = Array.from({ length: 5 }, (_, round) => String(key + 40 * round));
      assert.deepEqual(read.get(`key-${key}`), expected, 'parents first, all in order');
    }
    await assertSound(folder);
  });
}

test('a reader that waits at the end of a shard is told when it is closed', async (t) => {
  const { log } = await withStream(t);
  const { id } = log.stream('readings').shards[0]!;
  const waiting = log.waitForRecords(id, 0, new AbortController().signal);
  await log.splitShard('readings', 0, half);
  await waiting;
  const read = { shardId: id, fromSequence: 0, maxRecords: 1, maxBytes: 1 };
  const { endOfShard, records } = await log.read(read);
  assert.deepEqual([endOfShard, records.length], [true, 0]);
});

test('a read that was under way when its shard was closed does not take its own end for the end of the shard', async (t) => {
  const { log, store, logger, metrics } = await withStream(t);
  await log.append('readings', [at(0n), at(1n)]);
  const shard = (await loadStreams(store.queries)).get('readings').shards[0]!;
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  const queries: Pick<typeof store.queries, 'all' | 'get'> = {
    all: (...call) => gate.then(() => store.queries.all(...call)),
    get: (...call) => gate.then(() => store.queries.get(...call)),
  };
  const parts = { losses: store.losses, sealing: new Sealing(), logger, metrics };
  const caches = { tail: new TailCache(0, metrics), readCache: new ReadCache(0, metrics) };
  const reader = new LogReader({ queries, ...caches, ...parts });
  const reading = reader.read(shard, { shardId: 1, fromSequence: 0, maxRecords: 9, maxBytes: 99 });
  await log.append('readings', [at(2n)]);
  shard.position = { ...shard.position, nextSequence: 3 };
  shard.closedMs = 1;
  release();
  const { nextSequence, endOfShard } = await reading;
  assert.deepEqual([nextSequence, endOfShard], [2, false]);
});

test('a group commit that fails leaves the shards as they were, in memory and on disk', async (t) => {
  const { log, store, folder } = await withStream(t);
  await log.append('readings', [at(0n, 'before')]);
  const before = log.stream('readings');
  const fill = store.writer.transact(async (transaction) => {
    const [pages] = await transaction.all<{ page_count: number }>('PRAGMA page_count');
    await transaction.all(`PRAGMA max_page_count = ${pages!.page_count}`);
    await transaction.run(
      `INSERT INTO stream_attribute (stream_id, key, value) VALUES (1, 'big', hex(zeroblob(450000)))`,
    );
  });
  const outcomes = await Promise.allSettled([
    log.splitShard('readings', 0, half),
    log.append('readings', [at(0n, 'lost')]),
    fill,
  ]);
  for (const outcome of outcomes) assert.equal(outcome.status, 'rejected');
  assert.deepEqual(log.stream('readings'), before);
  await store.writer.transact((transaction) => transaction.all('PRAGMA max_page_count = 1000000'));
  await store.retention.run();
  await log.splitShard('readings', 0, half);
  const [place] = await log.append('readings', [at(0n, 'after')]);
  assert.deepEqual([place!.shardIndex, place!.sequence], [1, 0]);
  assert.deepEqual(await texts(log, before.shards[0]!), ['before']);
  await assertSound(folder);
});

test('what a required application has not read of the children is kept from the first record on', async (t) => {
  const options = { maxBytes: 20_000, whenFull: 'refuse' } as const;
  const { log, store, folder } = await withStream(t, { ...options, shardCount: 2 });
  const { applications } = log;
  for (const [name, required] of [
    ['needed', true],
    ['other', false],
  ] as const) {
    await applications.ensure({ name, required });
    for (const { id } of log.stream('readings').shards) {
      const source = { kind: 'shard', id } as const;
      await applications.release(await applications.acquire(name, source, 'me', 1e6, 0));
    }
  }
  await log.splitShard('readings', 0, half / 2n);
  await log.mergeShards('readings', 3, 1);
  let taken = 0;
  const fill = async (): Promise<void> => {
    for (;;) {
      const big = { ...at(space - 1n), data: Buffer.alloc(1000) };
      taken += (await log.append('readings', [big])).length;
    }
  };
  await assert.rejects(fill(), code('stream-full'));
  await store.retention.run();
  const merged = log.stream('readings').shards[4]!;
  assert.deepEqual([merged.trimSequence, merged.nextSequence], [0, taken]);
  const leasesOf = (name: string): (readonly [number, number])[] =>
    applications
      .list()
      .filter((application) => application.name === name)
      .flatMap(({ leases }) => leases.map(({ source, checkpoint }) => [source.id, checkpoint]));
  const expected = log.stream('readings').shards.map(({ id }) => [id, 0]);
  assert.deepEqual(leasesOf('needed').sort(), expected);
  assert.equal(leasesOf('other').length, 2);
  await assertSound(folder);
});

test('closed shards go when their retention is over, parents first, and no index comes again', async (t) => {
  const { log, store, clock, folder, reopen } = await withStream(t);
  const indexes = (): number[] => log.stream('readings').shards.map(({ index }) => index);
  await log.splitShard('readings', 0, half);
  clock.advance(2000);
  await log.append('readings', [at(0n, 'held')]);
  await log.mergeShards('readings', 1, 2);
  clock.advance(hourMs);
  await log.splitShard('readings', 3, half);
  clock.advance(23 * hourMs);
  await store.retention.run();
  assert.deepEqual(indexes(), [1, 2, 3, 4, 5], 'only the first is old enough');
  await log.applications.ensure({ name: 'needed', required: true });
  const source = { kind: 'shard', id: log.stream('readings').shards[0]!.id } as const;
  const lease = await log.applications.acquire('needed', source, 'me', 5000, 0);
  clock.advance(2 * hourMs);
  await store.retention.run();
  assert.deepEqual(indexes(), [1, 3, 4, 5], 'shard 3 waits for its parent, which is needed');
  await log.applications.checkpoint(lease, 1);
  await log.applications.renew(lease, 5000);
  await store.retention.run();
  assert.deepEqual(indexes(), [1, 3, 4, 5], 'a worker is at it');
  clock.advance(5000);
  await store.retention.run();
  assert.deepEqual(indexes(), [4, 5]);
  assert.deepEqual(log.applications.list()[0]!.leases, []);
  await assert.rejects(log.applications.acquire('needed', source, 'me', 1, 0), code('not-found'));
  assert.throws(() => log.shard(source.id), code('not-found'));
  const reopened = (await reopen()).log;
  await reopened.mergeShards('readings', 4, 5);
  assert.deepEqual(
    reopened.stream('readings').shards.map(({ index }) => index),
    [4, 5, 6],
  );
  await assertSound(folder);
});

test('AT_TIMESTAMP finds the first record of a child that was written by a clock that stepped back', async (t) => {
  const { log, clock } = await withStream(t);
  await log.append('readings', [at(0n)]);
  const startMs = clock.nowMs();
  const { shards } = await log.splitShard('readings', 0, half);
  clock.stepWall(-10_000);
  await log.append('readings', [at(0n)]);
  clock.advance(20_000);
  await log.append('readings', [at(0n)]);
  const child = shards[1]!.id;
  assert.equal(await log.sequenceAt(child, startMs), 0);
  assert.equal(await log.sequenceAt(child, startMs + 1), 1);
  assert.equal(await log.sequenceAt(child, startMs + 10_001), 2);
});

test('a backup of a stream that was split and merged is whole', async (t) => {
  const { log, folder, clock } = await withStream(t);
  await log.append('readings', [at(0n, 'parent')]);
  await log.splitShard('readings', 0, half);
  await log.append('readings', [at(0n, 'child')]);
  await log.setAttribute('readings', 'tags', ['kept']);
  const target = join(await temporaryFolder(t), 'backup');
  const paths = { folder, mediaFolder: join(folder, 'media'), target };
  await backupStore({ ...paths, logOnly: true, extras: [], madeBy: 'a test', clock });
  await assertSound(target);
  const { store: copy } = await openTestStore(t, { folder: target });
  assert.deepEqual(copy.log.stream('readings'), log.stream('readings'));
  const { shards } = await copy.log.mergeShards('readings', 1, 2);
  assert.deepEqual(await Promise.all(shards.map((shard) => texts(copy.log, shard))), [
    ['parent'],
    ['child'],
    [],
    [],
  ]);
});
