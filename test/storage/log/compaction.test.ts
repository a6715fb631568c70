import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import type { Log, LogRecord, StreamOptions } from '../../../storage/model.ts';
import {
  hourMs,
  openTestStore,
  seededRandom,
  streamOptions,
  type TestStore,
} from '../support/open.ts';

interface Opened extends TestStore {
  readonly shardId: number;
}

async function withStream(
  context: TestContext,
  change: Partial<StreamOptions> = {},
): Promise<Opened> {
  const opened = await openTestStore(context);
  const { shards } = await opened.store.log.createStream(streamOptions(change));
  return Object.assign(opened, { shardId: shards[0]!.id });
}

/** Appends records one by one, each a batch of its own, `everyMs` apart. */
async function trickle(opened: Opened, count: number, everyMs: number, bytes = 100): Promise<void> {
  const { log } = opened.store;
  for (let index = 0; index < count; index += 1) {
    const { nextSequence } = log.shard(opened.shardId);
    const data = Buffer.alloc(bytes, `${nextSequence} `);
    await log.append('readings', [{ partitionKey: `key-${nextSequence % 7}`, data }]);
    opened.clock.advance(everyMs);
  }
}

interface Row {
  readonly first: number;
  readonly count: number;
  readonly bytes: number;
}

const turn = (): Promise<void> => new Promise(setImmediate);

function rowsOf({ store }: TestStore): Promise<Row[]> {
  return store.queries.all<Row>(
    `SELECT first_sequence AS first, record_count AS count, length(body) AS bytes FROM batch
      ORDER BY shard_id, first_sequence`,
  );
}

const everyRecord = { fromSequence: 0, maxRecords: 1e6, maxBytes: 1e9 };

async function everything(log: Log, shardId: number): Promise<readonly LogRecord[]> {
  return (await log.read({ ...everyRecord, shardId })).records;
}

async function assertSound(opened: Opened): Promise<void> {
  const rows = await rowsOf(opened);
  assert.equal(
    opened.store.log.stream('readings').storedBytes,
    rows.reduce((sum, { bytes }) => sum + bytes, 0),
  );
  for await (const finding of checkStore({ folder: opened.folder })) {
    assert.fail(JSON.stringify(finding));
  }
}

test('small batches become large ones, and nobody who reads can tell', async (t) => {
  const opened = await withStream(t);
  const { shardId } = opened;
  await trickle(opened, 300, 100, 1000);
  const before = await everything(opened.store.log, shardId);
  const places = await Promise.all(
    before.map(({ arrivalMs }) => opened.store.log.sequenceAt(shardId, arrivalMs)),
  );
  const backlog = await opened.store.log.backlog(shardId, 77);
  await opened.store.compaction.run();

  const rows = await rowsOf(opened);
  assert.ok(rows[0]!.bytes >= 128 * 1024, `the first batch has ${rows[0]!.bytes} bytes`);
  const joined = opened.metrics.values.get(
    'headgate_log_compacted_batches_total{stream="readings"}',
  );
  assert.equal(joined, rows[0]!.count + rows[1]!.count);
  for (const reopened of [false, true]) {
    const store = reopened ? await opened.reopen() : opened.store;
    assert.deepEqual(await everything(store.log, shardId), before);
    assert.deepEqual(
      await Promise.all(before.map(({ arrivalMs }) => store.log.sequenceAt(shardId, arrivalMs))),
      places,
    );
    const middle = { shardId, fromSequence: 145, maxRecords: 3, maxBytes: 1e6 };
    assert.deepEqual((await store.log.read(middle)).records, before.slice(145, 148));
    assert.equal((await store.log.backlog(shardId, 77)).records, backlog.records);
    assert.equal((await store.log.backlog(shardId, 77)).oldestArrivalMs, backlog.oldestArrivalMs);
  }
  await assertSound(opened);
});

test('what was compacted is not looked at again, after a restart neither', async (t) => {
  const opened = await withStream(t);
  await trickle(opened, 300, 100, 1000);
  await opened.store.compaction.run();
  const rows = await rowsOf(opened);
  const place = 'SELECT compacted_sequence AS at FROM shard';
  assert.deepEqual(await opened.store.queries.get(place), { at: rows[2]!.first });
  await opened.reopen();
  await opened.store.compaction.run();
  assert.deepEqual(await rowsOf(opened), rows);
  await trickle(opened, 200, 100, 1000);
  await opened.store.compaction.run();
  const later = await rowsOf(opened);
  assert.deepEqual(later.slice(0, 2), rows.slice(0, 2));
  assert.ok(later[2]!.bytes >= 128 * 1024, 'the next ones were joined in their turn');
  await assertSound(opened);
});

test('a slow stream gets a batch an hour, so that retention takes hours and not days', async (t) => {
  const opened = await withStream(t, { retentionMs: 48 * hourMs });
  await trickle(opened, 6 * 60, 60_000);
  await opened.store.compaction.run();
  const rows = await rowsOf(opened);
  for (const { count, first } of rows.slice(0, 5)) {
    assert.ok(
      count >= 55 && count <= 61,
      `the batch at ${first} has the records of ${count} minutes`,
    );
  }
  opened.clock.advance(45 * hourMs);
  await opened.store.retention.run();
  const { trimSequence } = opened.store.log.shard(opened.shardId);
  assert.ok(trimSequence <= 180 && trimSequence > 180 - 2 * 61, `trimmed to ${trimSequence}`);
  await assertSound(opened);
});

test('with a short retention a batch spans a sixteenth of it', async (t) => {
  const opened = await withStream(t, { retentionMs: 4 * hourMs });
  await trickle(opened, 3 * 60, 60_000);
  await opened.store.compaction.run();
  const rows = await rowsOf(opened);
  const { count } = rows[0]!;
  assert.ok(count >= 14 && count <= 16, `it has the records of ${count} minutes`);
  await assertSound(opened);
});

test('in a small budget batches stay small, and the oldest go one by one', async (t) => {
  const maxBytes = 100_000;
  const opened = await withStream(t, { maxBytes, whenFull: 'drop-oldest' });
  const { log, compaction } = opened.store;
  for (let round = 0; round < 40; round += 1) {
    await trickle(opened, 25, 1000);
    await compaction.run();
    const { storedBytes } = log.stream('readings');
    assert.ok(storedBytes <= maxBytes, `${storedBytes} bytes`);
    if (round > 30) assert.ok(storedBytes > maxBytes * 0.85, `only ${storedBytes} bytes are kept`);
  }
  for (const { bytes } of await rowsOf(opened))
    assert.ok(bytes < (maxBytes / 16) * 1.5, `${bytes}`);
  await assertSound(opened);
});

test('batches that are corrupt, or that a later release wrote, stay as they are', async (t) => {
  const opened = await withStream(t);
  await trickle(opened, 40, 1000);
  await opened.store.writer.transact(async (transaction) => {
    for (const [first, body] of [
      [0, Buffer.from('rubbish')],
      [7, Buffer.alloc(0)],
      [20, Buffer.alloc(200)],
      [21, Buffer.alloc(200)],
    ] as const) {
      await transaction.run('UPDATE batch SET body = ? WHERE first_sequence = ?', body, first);
    }
  });
  const read = { shardId: opened.shardId, fromSequence: 0, maxRecords: 1e6, maxBytes: 1e9 };
  const before = await opened.store.log.read(read);
  assert.equal(before.skipped.corrupt, 4);
  opened.clock.advance(2 * hourMs);
  await opened.store.compaction.run();
  assert.deepEqual(
    (await rowsOf(opened)).map(({ first, count }) => [first, count]),
    [
      [0, 1],
      [1, 6],
      [7, 1],
      [8, 12],
      [20, 1],
      [21, 1],
      [22, 17],
      [39, 1],
    ],
  );
  assert.deepEqual(await opened.store.log.read(read), before);
});

test('it waits while the writer is busy', async (t) => {
  const opened = await withStream(t);
  await trickle(opened, 300, 1, 1000);
  const { store, clock } = opened;
  const before = await rowsOf(opened);
  let letGo = (): void => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  const busy = store.writer.transact(() => held, { bytes: 1024 * 1024 });
  for (let second = 0; second < 20; second += 1) {
    clock.advance(1000);
    await turn();
  }
  assert.deepEqual(await rowsOf(opened), before);
  letGo();
  await busy;
  await store.compaction.run();
  assert.ok((await rowsOf(opened)).length < 200, 'then it goes on');
});

test('readers get exactly what was appended while all of it is compacted and trimmed', async (t) => {
  const opened = await withStream(t, { retentionMs: 2 * hourMs });
  const { store, shardId, clock } = opened;
  const random = seededRandom(41);
  const appended: string[] = [];
  let done = false;
  let seen = 0;
  const appending = async (): Promise<void> => {
    for (let round = 0; round < 300; round += 1) {
      const batch = Array.from({ length: 1 + Math.floor(random() * 5) }, (_, index) => {
        const text = `${appended.length + index} ${'x'.repeat(Math.floor(random() * 300))}`;
        return { partitionKey: `key ${text.length}`, data: Buffer.from(text) };
      });
      appended.push(...batch.map(({ data }) => data.toString()));
      await store.log.append('readings', batch);
      clock.advance(60_000);
    }
    done = true;
  };
  const reading = async (): Promise<void> => {
    while (!done) {
      await turn();
      const shard = store.log.shard(shardId);
      const span = shard.nextSequence - shard.trimSequence;
      let next = shard.trimSequence + Math.floor(random() * span);
      for (let reads = 0; reads < 4; reads += 1) {
        const options = { shardId, fromSequence: next, maxRecords: 70, maxBytes: 9000 };
        const { records, skipped, nextSequence } = await store.log.read(options);
        assert.equal(skipped.corrupt, 0);
        next += skipped.trimmed;
        for (const record of records) {
          assert.equal(record.sequence, next);
          assert.equal(record.data.toString(), appended[next]);
          assert.equal(record.partitionKey, `key ${record.data.length}`);
          next += 1;
          seen += 1;
        }
        assert.equal(nextSequence, next);
      }
    }
  };
  const housekeeping = async (): Promise<void> => {
    while (!done) {
      await turn();
      await store.compaction.run();
      await store.retention.run();
    }
  };
  await Promise.all([appending(), reading(), reading(), housekeeping(), housekeeping()]);
  assert.ok(seen > 1000, `${seen} records were read`);
  assert.ok(store.log.shard(shardId).trimSequence > 200, 'retention was at work');
  const joined = opened.metrics.values.get(
    'headgate_log_compacted_batches_total{stream="readings"}',
  );
  assert.ok((joined ?? 0) > 100, 'compaction was at work');
  await assertSound(opened);
});

test('retention that chose before batches were joined takes no more than has expired', async (t) => {
  const opened = await withStream(t);
  const { store, shardId, clock } = opened;
  await trickle(opened, 50, 60_000);
  const { records } = await store.log.read({ ...everyRecord, shardId });
  let letGo = (): void => undefined;
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  const held = store.writer.transact(() => gate);
  const queued = async (bytes: number): Promise<void> => {
    for (let turns = 0; turns < 50_000 && store.writer.queuedBytes < bytes; turns += 1)
      await turn();
    assert.ok(store.writer.queuedBytes >= bytes, `${store.writer.queuedBytes} bytes wait`);
  };
  // Nothing has expired yet, but the batches are old enough to be joined.
  clock.advance(23 * hourMs - 10 * 60_000);
  const compacted = store.compaction.run();
  await queued(8000);
  // Now the first half has: what is still in the table is looked at, and deleted after it is joined.
  clock.stepWall(45 * 60_000);
  const { queuedBytes } = store.writer;
  const retained = store.retention.run();
  await queued(queuedBytes + 1024);
  letGo();
  await Promise.all([held, compacted, retained]);
  const read = await store.log.read({ ...everyRecord, shardId });
  assert.equal(read.skipped.corrupt, 0);
  assert.deepEqual(read.records, records.slice(read.skipped.trimmed));
  await assertSound(opened);
});

test('a stream that is deleted meanwhile leaves nothing behind', async (t) => {
  const opened = await withStream(t);
  await trickle(opened, 200, 1, 1000);
  const { store } = opened;
  await Promise.all([store.compaction.run(), store.log.deleteStream('readings')]);
  await store.retention.run();
  assert.deepEqual(await rowsOf(opened), []);
  assert.deepEqual(await store.queries.all('SELECT id FROM shard'), []);
});
