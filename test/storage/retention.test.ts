import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { checkStore } from '../../storage/check.ts';
import { StorageError } from '../../storage/errors.ts';
import type { Lease, Log, StreamOptions } from '../../storage/model.ts';
import { hourMs, openTestStore, streamOptions, type TestStore } from './support/open.ts';

const full = (error: unknown): boolean =>
  error instanceof StorageError && error.code === 'stream-full' && error.retryable;

async function withStream(
  context: TestContext,
  change: Partial<StreamOptions> = {},
): Promise<TestStore & { log: Log; shardId: number }> {
  const opened = await openTestStore(context);
  const { shards } = await opened.store.log.createStream(streamOptions(change));
  return Object.assign(opened, { log: opened.store.log, shardId: shards[0]!.id });
}

/** Appends one record of `bytes`, a batch of its own. */
async function append(log: Log, bytes = 10, partitionKey = 'key'): Promise<number> {
  const [place] = await log.append('readings', [{ partitionKey, data: Buffer.alloc(bytes, 1) }]);
  return place!.sequence;
}

async function reader(log: Log, shardId: number, required: boolean): Promise<Lease> {
  const name = required ? 'required' : 'outside';
  await log.applications.ensure({ name, required });
  return log.applications.acquire(name, { kind: 'shard', id: shardId }, 'me', 1e9, 0);
}

async function sound(folder: string): Promise<void> {
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
}

test('what is older than the retention goes, the rest stays, numbering goes on', async (t) => {
  const { log, shardId, clock, store, folder, reopen } = await withStream(t);
  await append(log);
  await append(log);
  clock.advance(23 * hourMs);
  await append(log);
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 0);
  clock.advance(2 * hourMs);
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 2);
  const read = await log.read({ shardId, fromSequence: 0, maxRecords: 9, maxBytes: 999 });
  assert.deepEqual(
    read.records.map(({ sequence }) => sequence),
    [2],
  );
  assert.deepEqual(read.skipped, { trimmed: 2, corrupt: 0 });
  clock.advance(24 * hourMs);
  await store.retention.run();
  assert.equal(log.stream('readings').storedBytes, 0);
  assert.equal(await log.sequenceAt(shardId, 0), 3);
  const reopened = (await reopen()).log;
  assert.equal(reopened.shard(shardId).nextSequence, 3);
  assert.equal(await append(reopened), 3, 'a number is never used twice');
  await sound(folder);
});

test('retention runs by itself, as time goes by', async (t) => {
  const { log, shardId, clock } = await withStream(t);
  await append(log);
  clock.advance(25 * hourMs);
  // No event tells of it: commits follow one another until it was in one, or plainly never will be.
  for (let commit = 0; commit < 100 && log.shard(shardId).trimSequence === 0; commit += 1) {
    await append(log);
  }
  assert.equal(log.shard(shardId).trimSequence, 1);
});

test('a required application pins what it has not read; an outside one does not', async (t) => {
  const { log, shardId, clock, store } = await withStream(t);
  const required = await reader(log, shardId, true);
  await reader(log, shardId, false);
  for (let index = 0; index < 4; index += 1) await append(log);
  clock.advance(100 * hourMs);
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 0);
  await log.applications.checkpoint(required, 3);
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 3);
  await log.applications.remove('required');
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 4);
});

test('a saved plan pins its range, even for an application that is not required', async (t) => {
  const { log, shardId, clock, store } = await withStream(t);
  const lease = await reader(log, shardId, false);
  for (let index = 0; index < 4; index += 1) await append(log);
  await log.applications.savePlan(lease, { from: 1, to: 3, detail: null, createdMs: 0 });
  clock.advance(100 * hourMs);
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 1);
  await log.applications.completePlan(lease);
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 4);
});

test('without a pin a full stream forgets its oldest, whatever its policy', async (t) => {
  const { log, shardId, folder } = await withStream(t, { maxBytes: 10_000, shardCount: 1 });
  for (let index = 0; index < 100; index += 1) {
    await append(log, 500);
    assert.ok(log.stream('readings').storedBytes <= 10_000);
  }
  const { trimSequence, nextSequence } = log.shard(shardId);
  assert.equal(nextSequence, 100);
  assert.ok(nextSequence - trimSequence >= 15, `only ${nextSequence - trimSequence} are left`);
  await sound(folder);
});

test('refuse: a full stream takes nothing until the required application has read on', async (t) => {
  const { log, shardId } = await withStream(t, { maxBytes: 10_000 });
  const lease = await reader(log, shardId, true);
  let held = 0;
  for (;;) {
    try {
      await append(log, 500);
      held += 1;
    } catch (error) {
      assert.ok(full(error));
      break;
    }
  }
  assert.ok(held >= 15);
  await assert.rejects(append(log, 500), full);
  assert.equal(log.shard(shardId).trimSequence, 0, 'nothing was dropped');
  await log.applications.checkpoint(lease, 5);
  assert.equal(await append(log, 500), held);
});

test('refuse: of many appends at once exactly those that fit are taken', async (t) => {
  const { log, shardId, store } = await withStream(t, { maxBytes: 10_000 });
  await reader(log, shardId, true);
  const results = await Promise.allSettled(Array.from({ length: 40 }, () => append(log, 500)));
  const taken = results.filter(({ status }) => status === 'fulfilled').length;
  assert.ok(taken >= 15 && taken <= 20, `${taken} were taken`);
  assert.equal(log.shard(shardId).nextSequence, taken);
  const announced = store.writer.transact((transaction) =>
    transaction.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(500) }]),
  );
  await assert.rejects(announced, full);
});

test('what can never fit is refused under either policy, and costs nothing that is there', async (t) => {
  for (const whenFull of ['refuse', 'drop-oldest'] as const) {
    const { log, shardId } = await withStream(t, { maxBytes: 10_000, whenFull });
    await append(log, 500);
    await assert.rejects(append(log, 10_000), full);
    assert.equal(log.shard(shardId).trimSequence, 0);
  }
});

test('drop-oldest: new data is taken, what was still needed is counted and said once', async (t) => {
  const { log, shardId, metrics, logger } = await withStream(t, {
    maxBytes: 10_000,
    whenFull: 'drop-oldest',
  });
  await reader(log, shardId, true);
  for (let index = 0; index < 60; index += 1) await append(log, 500);
  const { trimSequence, nextSequence } = log.shard(shardId);
  assert.equal(nextSequence, 60);
  assert.ok(log.stream('readings').storedBytes <= 10_000);
  assert.equal(
    metrics.values.get('headgate_log_dropped_records_total{stream="readings"}'),
    trimSequence,
  );
  const said = logger.lines.filter(({ message }) => message.includes('dropped'));
  assert.equal(said.length, 1);
  assert.equal(said[0]!.level, 'warn');
});

test('the budget is of the stream: the oldest of all its shards goes first', async (t) => {
  const { log, clock } = await withStream(t, { maxBytes: 20_000, shardCount: 4 });
  for (let index = 0; index < 200; index += 1) {
    await append(log, 500, `key-${index}`);
    clock.advance(1000);
  }
  const { shards, storedBytes } = log.stream('readings');
  assert.ok(storedBytes <= 20_000 && storedBytes > 15_000, `${storedBytes} bytes`);
  const oldest = await Promise.all(
    shards.map(
      async ({ id, trimSequence }) => (await log.backlog(id, trimSequence)).oldestArrivalMs,
    ),
  );
  for (const arrivalMs of oldest) {
    assert.ok(arrivalMs !== null && clock.nowMs() - arrivalMs < 60_000, 'a shard kept older data');
  }
});

test('a budget made smaller is kept to without another append', async (t) => {
  const { log, store } = await withStream(t);
  for (let index = 0; index < 40; index += 1) await append(log, 500);
  await log.ensureStream(streamOptions({ maxBytes: 5000 }));
  await store.retention.run();
  assert.ok(log.stream('readings').storedBytes <= 5000);
});

test('a clock that jumps ahead expires nothing until that is confirmed', async (t) => {
  const { log, shardId, clock, store, logger } = await withStream(t);
  await append(log);
  clock.stepWall(10 * 365 * 24 * hourMs);
  clock.advance(60_000);
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 0);
  assert.equal(store.clockGuard.suspended, true);
  assert.equal(
    logger.lines.filter(({ message }) => message.includes('The clock stepped')).length,
    1,
  );
  await store.clockGuard.confirm();
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 1);
});

test('records dated in the future go once later ones have expired', async (t) => {
  const { log, shardId, clock, store } = await withStream(t);
  clock.stepWall(1000 * hourMs);
  await append(log);
  clock.stepWall(-1000 * hourMs);
  await append(log);
  await store.retention.run();
  await store.clockGuard.confirm();
  clock.advance(25 * hourMs);
  await store.retention.run();
  assert.equal(log.shard(shardId).trimSequence, 2);
});

test('a deleted stream leaves nothing behind, and the file shrinks', async (t) => {
  const { log, store, folder, reopen } = await withStream(t);
  for (let index = 0; index < 10; index += 1) await append(log, 2_000_000);
  await log.createStream(streamOptions({ name: 'kept' }));
  await reopen();
  const path = join(folder, 'headgate.db');
  const before = (await stat(path)).size;
  assert.ok(before > 20_000_000);
  const reopened = await reopen();
  await reopened.log.deleteStream('readings');
  await reopened.retention.run();
  for (const table of ['batch', 'shard', 'stream']) {
    const rows = await reopened.queries.all(`SELECT id FROM ${table}`);
    assert.equal(rows.length, table === 'batch' ? 0 : 1, table);
  }
  await reopened.close();
  assert.ok((await stat(path)).size < before / 10);
  assert.notEqual(store, reopened);
  await sound(folder);
});

test('the deletion of a stream that a restart interrupted is finished afterwards', async (t) => {
  const { log, store, reopen } = await withStream(t);
  await append(log);
  await log.deleteStream('readings');
  await store.close();
  const reopened = await reopen();
  assert.deepEqual(reopened.log.streams(), []);
  await reopened.retention.run();
  assert.deepEqual(await reopened.queries.all('SELECT id FROM batch'), []);
});
