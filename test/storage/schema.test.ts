import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { StorageError } from '../../storage/errors.ts';
import { migrate, schemaVersion } from '../../storage/schema/migrate.ts';
import { migrations } from '../../storage/schema/migrations.ts';
import { Database } from '../../storage/sqlite.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const newest = migrations.length;

async function newDatabase(context: TestContext): Promise<Database> {
  const database = await Database.open(join(await temporaryFolder(context), 'test.db'));
  context.after(() => database.close());
  return database;
}

async function tablesOf(database: Database): Promise<unknown> {
  return database.all('SELECT type, name, sql FROM sqlite_schema ORDER BY type, name');
}

test('migrations are numbered 1, 2, 3 … without a gap', () => {
  assert.deepEqual(
    migrations.map(({ version }) => version),
    migrations.map((_, index) => index + 1),
  );
});

test('a new file has small pages, gives free ones back, and syncs every commit', async (t) => {
  const database = await newDatabase(t);
  await migrate(database);
  const pragma = async (name: string): Promise<unknown> =>
    Object.values((await database.get<Record<string, unknown>>(`PRAGMA ${name}`)) ?? {})[0];
  assert.equal(await pragma('page_size'), 4096);
  assert.equal(await pragma('auto_vacuum'), 2, 'incremental');
  assert.equal(await pragma('journal_mode'), 'wal');
  assert.equal(await pragma('synchronous'), 2, 'full');
  assert.equal(await pragma('user_version'), newest);
});

for (let version = 0; version < newest; version += 1) {
  test(`a file of version ${version} becomes what a new one is, and keeps its data`, async (t) => {
    const database = await newDatabase(t);
    await migrate(database, migrations.slice(0, version));
    if (version >= 1) {
      await database.run(
        `INSERT INTO stream (name, shard_count, mode, retention_ms, max_bytes, when_full, created_ms)
           VALUES ('kept', 1, 'on-demand', 3600000, NULL, 'refuse', 1)`,
      );
    }
    await migrate(database);
    assert.equal(await schemaVersion(database), newest);
    const fresh = await newDatabase(t);
    await migrate(fresh);
    assert.deepEqual(await tablesOf(database), await tablesOf(fresh));
    const names = await database.all<{ name: string }>('SELECT name FROM stream');
    assert.deepEqual(names, version >= 1 ? [{ name: 'kept' }] : []);
  });
}

test('a migration that fails leaves the version before it', async (t) => {
  const database = await newDatabase(t);
  await migrate(database);
  const broken = {
    version: newest + 1,
    name: 'broken',
    sql: 'CREATE TABLE half (id INTEGER); CREATE TABLE stream (id INTEGER);',
  };
  await assert.rejects(migrate(database, [...migrations, broken]));
  assert.equal(await schemaVersion(database), newest);
  assert.deepEqual(await database.all("SELECT * FROM sqlite_schema WHERE name = 'half'"), []);
  await migrate(database);
});

test('a file of a later release is left alone', async (t) => {
  const database = await newDatabase(t);
  await migrate(database);
  await database.exec(`PRAGMA user_version = ${newest + 1}`);
  await assert.rejects(
    migrate(database),
    (error) => error instanceof StorageError && error.code === 'version-too-new',
  );
});

test('a database of another program is left alone', async (t) => {
  const database = await newDatabase(t);
  await database.exec('CREATE TABLE theirs (id INTEGER)');
  await assert.rejects(
    migrate(database),
    (error) => error instanceof StorageError && error.code === 'invalid-argument',
  );
  assert.equal((await database.all('SELECT * FROM sqlite_schema')).length, 1);
});
