import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { StorageError } from '../../storage/errors.ts';
import { Database, SqliteError, type SqlValue } from '../../storage/sqlite.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

async function open(context: TestContext): Promise<Database> {
  const database = await Database.open(join(await temporaryFolder(context), 'test.db'));
  context.after(() => database.close());
  await database.exec('CREATE TABLE item (id INTEGER PRIMARY KEY, value)');
  return database;
}

test('what is bound comes back: text, blobs, null, integers up to 2^53', async (t) => {
  const database = await open(t);
  const values: SqlValue[] = ['', 'häuser 🏠', Buffer.from([0, 1, 255]), Buffer.alloc(0), null];
  for (const value of [...values, 0, -1, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
    await database.run('INSERT INTO item (value) VALUES (?)', value);
    const row = await database.get<{ value: SqlValue }>(
      'SELECT value FROM item ORDER BY id DESC LIMIT 1',
    );
    assert.deepEqual(row?.value, value);
  }
});

test('what the driver would store as something else is refused before it gets there', async (t) => {
  const database = await open(t);
  for (const value of [1n, undefined, NaN, 1.5, 2 ** 53, true, new Date()]) {
    await assert.rejects(
      database.run('INSERT INTO item (value) VALUES (?)', value as unknown as SqlValue),
      { name: 'AssertionError' },
      String(value),
    );
  }
  assert.deepEqual(await database.all('SELECT * FROM item'), []);
});

test('statements run in the order of the calls', async (t) => {
  const database = await open(t);
  const work: Promise<unknown>[] = [database.exec('BEGIN')];
  for (let id = 1; id <= 200; id += 1) {
    work.push(database.run('INSERT INTO item (id, value) VALUES (?, ?)', id, id));
    work.push(database.run(`UPDATE item SET value = value * 2 WHERE id = ${id}`));
  }
  await Promise.all([...work, database.exec('COMMIT')]);
  const row = await database.get<{ sum: number }>('SELECT sum(value) AS sum FROM item');
  assert.equal(row?.sum, 200 * 201);
});

test('a query that found more than it was asked for does not pin the write-ahead log', async (t) => {
  const database = await open(t);
  await database.exec('PRAGMA journal_mode = WAL');
  const reader = await Database.open(database.path, { readOnly: true });
  t.after(() => reader.close());
  for (let id = 1; id <= 50; id += 1) await database.run('INSERT INTO item (id) VALUES (?)', id);
  await reader.get('SELECT id FROM item');
  await database.run('INSERT INTO item (id) VALUES (51)');
  const checkpoint = await database.get<{ busy: number }>('PRAGMA wal_checkpoint(TRUNCATE)');
  assert.equal(checkpoint?.busy, 0);
});

test('a constraint is a SqliteError with its code, and the connection goes on', async (t) => {
  const database = await open(t);
  await database.run('INSERT INTO item (id) VALUES (1)');
  await assert.rejects(
    database.run('INSERT INTO item (id) VALUES (1)'),
    (error) => error instanceof SqliteError && error.code === 'SQLITE_CONSTRAINT',
  );
  await database.run('INSERT INTO item (id) VALUES (2)');
});

test('a file that is no database is corrupt, with the cause kept', async (t) => {
  const path = join(await temporaryFolder(t), 'rubbish.db');
  await writeFile(path, Buffer.alloc(8192, 'rubbish'));
  const database = await Database.open(path);
  t.after(() => database.close());
  await assert.rejects(
    database.all('SELECT * FROM sqlite_schema'),
    (error) =>
      error instanceof StorageError && error.code === 'corrupt' && error.cause instanceof Error,
  );
});

test('a full database says disk-full', async (t) => {
  const database = await open(t);
  await database.exec('PRAGMA max_page_count = 20');
  await assert.rejects(
    database.run('INSERT INTO item (value) VALUES (?)', Buffer.alloc(1_000_000)),
    (error) => error instanceof StorageError && error.code === 'disk-full' && error.retryable,
  );
});

test('closing waits for what is under way, refuses what comes later, and may be repeated', async (t) => {
  const database = await open(t);
  const before = database.run('INSERT INTO item (id) VALUES (1)');
  await Promise.all([database.close(), database.close()]);
  assert.equal((await before).changes, 1);
  await assert.rejects(
    database.run('INSERT INTO item (id) VALUES (2)'),
    (error) => error instanceof StorageError && error.code === 'closed',
  );
});

test('more statements than are kept prepared still work', async (t) => {
  const database = await open(t);
  for (let round = 0; round < 2; round += 1) {
    for (let index = 0; index < 150; index += 1) {
      const row = await database.get<{ n: number }>(`SELECT ${index} AS n`);
      assert.equal(row?.n, index);
    }
  }
});
