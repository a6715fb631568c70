import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { StorageError, type StorageErrorCode } from '../../storage/errors.ts';
import { Database } from '../../storage/sqlite.ts';
import { openTestStore, streamOptions, type TestStore } from './support/open.ts';

function code(expected: StorageErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === expected;
}

async function withNotes(context: TestContext, options = {}): Promise<TestStore> {
  const opened = await openTestStore(context, options);
  await opened.store.writer.transact((transaction) =>
    transaction.run('CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)'),
  );
  await opened.store.log.createStream(streamOptions());
  return opened;
}

async function notes({ store }: TestStore): Promise<number[]> {
  const rows = await store.queries.all<{ id: number }>('SELECT id FROM note ORDER BY id');
  return rows.map(({ id }) => id);
}

const record = (text: string): { partitionKey: string; data: Buffer } => ({
  partitionKey: 'key',
  data: Buffer.from(text),
});

test('what a work item does is there for others once its promise resolves', async (t) => {
  const opened = await withNotes(t);
  const result = await opened.store.writer.transact(async (transaction) => {
    await transaction.run('INSERT INTO note (id) VALUES (1)');
    return transaction.get<{ n: number }>('SELECT count(*) AS n FROM note');
  });
  assert.deepEqual(result, { n: 1 });
  assert.deepEqual(await notes(opened), [1]);
});

test('one item that fails is undone alone; the others of its group commit', async (t) => {
  const opened = await withNotes(t);
  const { store, metrics } = opened;
  const commitsBefore = metrics.values.get('headgate_store_commits_total') ?? 0;
  const rolledBack: string[] = [];
  const insert = (id: number, failure?: Error): Promise<void> =>
    store.writer.transact(async (transaction) => {
      transaction.onRollback(() => rolledBack.push(`first of ${id}`));
      await transaction.run('INSERT INTO note (id) VALUES (?)', id);
      await transaction.append('readings', [record(`note ${id}`)]);
      transaction.onRollback(() => rolledBack.push(`second of ${id}`));
      if (failure !== undefined) throw failure;
    });
  const refusal = new StorageError('lease-lost', 'not yours');
  const results = await Promise.allSettled([
    insert(1),
    insert(2, refusal),
    store.log.append('readings', [record('plain')]),
    insert(3, new Error('a bug')),
    insert(1),
    insert(4),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'rejected', 'fulfilled'],
  );
  assert.equal(results[1].status === 'rejected' && results[1].reason, refusal);
  assert.deepEqual(await notes(opened), [1, 4]);
  assert.deepEqual(rolledBack, [
    'second of 2',
    'first of 2',
    'second of 3',
    'first of 3',
    'first of 1',
  ]);
  assert.equal(metrics.values.get('headgate_store_commits_total'), commitsBefore + 1);
  const { records } = await store.log.read({
    shardId: store.log.stream('readings').shards[0]!.id,
    fromSequence: 0,
    maxRecords: 10,
    maxBytes: 1000,
  });
  assert.deepEqual(
    records.map(({ sequence, data }) => [sequence, data.toString()]),
    [
      [0, 'note 1'],
      [1, 'plain'],
      [2, 'note 4'],
    ],
  );
});

test('the places that append tells within an item are those of the records', async (t) => {
  const { store } = await withNotes(t);
  const told = await Promise.all(
    [1, 2, 3].map((id) =>
      store.writer.transact(async (transaction) => {
        const [place] = await transaction.append('readings', [record(`note ${id}`)]);
        await transaction.run(
          'INSERT INTO note (id, text) VALUES (?, ?)',
          id,
          `at ${place!.sequence}`,
        );
        return place!.sequence;
      }),
    ),
  );
  assert.deepEqual(told, [0, 1, 2]);
  const rows = await store.queries.all<{ text: string }>('SELECT text FROM note ORDER BY id');
  assert.deepEqual(
    rows.map(({ text }) => text),
    ['at 0', 'at 1', 'at 2'],
  );
});

test('callbacks of a commit come after it, before the promise, in order', async (t) => {
  const { store } = await withNotes(t);
  const seen: string[] = [];
  await store.writer
    .transact(async (transaction) => {
      transaction.onCommit(() => seen.push('first'));
      await transaction.run('INSERT INTO note (id) VALUES (1)');
      transaction.onCommit(() => seen.push('second'));
      seen.push('work');
    })
    .then(() => seen.push('resolved'));
  assert.deepEqual(seen, ['work', 'first', 'second', 'resolved']);
});

test('a transaction that is kept for later is refused', async (t) => {
  const { store } = await withNotes(t);
  const kept = await store.writer.transact((transaction) => Promise.resolve({ transaction }));
  await assert.rejects(kept.transaction.run('INSERT INTO note (id) VALUES (1)'), {
    name: 'AssertionError',
  });
});

test('past its limit in bytes the writer says overloaded, and recovers', async (t) => {
  const { store } = await withNotes(t, { maxQueuedBytes: 100_000 });
  const large = { partitionKey: 'key', data: Buffer.alloc(40_000) };
  const results = await Promise.allSettled(
    Array.from({ length: 4 }, () => store.log.append('readings', [large])),
  );
  assert.deepEqual(
    results.map((result) => (result.status === 'rejected' ? 'rejected' : 'done')),
    ['done', 'done', 'rejected', 'rejected'],
  );
  for (const result of results) {
    if (result.status === 'rejected') assert.ok(code('overloaded')(result.reason));
  }
  await store.log.append('readings', [large]);
});

test('with lingering, what comes within the time shares one commit', async (t) => {
  const opened = await openTestStore(t, { lingerMs: 0 });
  await opened.store.log.createStream(streamOptions());
  await opened.store.close();
  const lingering = await openTestStore(t, { folder: opened.folder, lingerMs: 50 });
  const { store, clock, metrics } = lingering;
  const first = store.log.append('readings', [record('one')]);
  // Once the timer is set, a whole turn of the event loop later another append arrives.
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(49);
  const second = store.log.append('readings', [record('two')]);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(metrics.values.get('headgate_store_commits_total') ?? 0, 0);
  clock.advance(1);
  await Promise.all([first, second]);
  assert.equal(metrics.values.get('headgate_store_commits_total'), 1);
});

test('closing ends the lingering, commits what is queued and refuses the rest', async (t) => {
  const opened = await openTestStore(t);
  await opened.store.log.createStream(streamOptions());
  await opened.store.close();
  const { store } = await openTestStore(t, { folder: opened.folder, lingerMs: 1_000_000 });
  const queued = store.log.append('readings', [record('last')]);
  await Promise.all([store.close(), store.close()]);
  assert.equal((await queued)[0]?.sequence, 0);
  await assert.rejects(store.log.append('readings', [record('late')]), code('closed'));
});

test('a full disk refuses its group; when there is room again writing goes on', async (t) => {
  const opened = await withNotes(t);
  const { store } = opened;
  await store.log.append('readings', [record('before')]);
  const limit = (pages: number): Promise<unknown> =>
    store.writer.transact((transaction) => transaction.all(`PRAGMA max_page_count = ${pages}`));
  await limit(1);
  const big = { partitionKey: 'key', data: Buffer.alloc(200_000) };
  const results = await Promise.allSettled([
    store.log.append('readings', [big]),
    store.writer.transact((transaction) => transaction.run('INSERT INTO note (id) VALUES (1)')),
  ]);
  assert.ok(results.every((r) => r.status === 'rejected' && code('disk-full')(r.reason)));
  await limit(1_000_000);
  await store.retention.run();
  const [place] = await store.log.append('readings', [big]);
  assert.equal(place?.sequence, 1, 'the refused records took no sequence number');
  assert.deepEqual(await notes(opened), []);
});

test('a lock held by another program is passed on as overloaded and does no harm', async (t) => {
  const opened = await withNotes(t);
  const intruder = await Database.open(`${opened.folder}/headgate.db`);
  t.after(() => intruder.close());
  await intruder.exec('BEGIN IMMEDIATE');
  await assert.rejects(opened.store.log.append('readings', [record('waits')]), code('overloaded'));
  await intruder.exec('ROLLBACK');
  await opened.store.log.append('readings', [record('goes on')]);
});
