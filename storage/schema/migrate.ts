/**
 * Brings a database file to the newest schema, forward only.
 *
 * What SQLite fixes with the first table (page size, auto_vacuum) is set here, before it, so that
 * retention can give pages back to the file system later. The tables themselves are in the numbered
 * files beside this one.
 */
import { StorageError } from '../errors.ts';
import { Database } from '../sqlite.ts';
import type { Migration } from './migration.ts';
import { migrations as allMigrations } from './migrations.ts';

/** "HGDB": tells our files from other SQLite files. */
const applicationId = 0x48474442;

/**
 * Sets the connection up for writing and runs the migrations that are missing, each in a
 * transaction of its own.
 * @throws StorageError `version-too-new` for a file of a later release, `invalid-argument` for a
 *   SQLite file that is not ours
 */
export async function migrate(
  database: Database,
  migrations: readonly Migration[] = allMigrations,
): Promise<void> {
  const version = await schemaVersion(database);
  const newest = migrations.at(-1)?.version ?? 0;
  if (version > newest) {
    throw new StorageError(
      'version-too-new',
      `${database.path} has schema version ${version}; this release knows versions up to ${newest}`,
    );
  }
  if (version === 0) {
    await database.exec('PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;');
  }
  await database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
  for (const migration of migrations) {
    if (migration.version <= version) continue;
    await apply(database, migration);
  }
}

/**
 * The schema version of a file; 0 when it is new.
 * @throws StorageError `invalid-argument` for a SQLite file that is not ours
 */
export async function schemaVersion(database: Database): Promise<number> {
  const row = await database.get<{ version: number; application: number; tables: number }>(
    `SELECT (SELECT user_version FROM pragma_user_version) AS version,
            (SELECT application_id FROM pragma_application_id) AS application,
            (SELECT count(*) FROM sqlite_schema) AS tables`,
  );
  if (row === undefined) return 0;
  if (row.tables > 0 && row.application !== applicationId) {
    throw new StorageError(
      'invalid-argument',
      `${database.path} is not a database of this program`,
    );
  }
  return row.version;
}

/**
 * Whether the tables of a file of the newest version are those that the migrations make. A damaged
 * page can hold a schema that SQLite is content with, with other names in it.
 * @returns what differs, in words; null when nothing does
 */
export async function schemaDamage(database: Database): Promise<string | null> {
  const there = await schemaOf(database);
  for (const [name, sql] of await (expectedSchema ??= makeSchema())) {
    if (there.get(name) !== sql) return `the definition of ${name} is damaged`;
  }
  return null;
}

let expectedSchema: Promise<ReadonlyMap<string, string | null>> | null = null;

async function makeSchema(): Promise<ReadonlyMap<string, string | null>> {
  const database = await Database.open(':memory:');
  try {
    await migrate(database);
    return await schemaOf(database);
  } finally {
    await database.close();
  }
}

async function schemaOf(database: Database): Promise<ReadonlyMap<string, string | null>> {
  const rows = await database.all<{ name: string; sql: string | null }>(
    'SELECT name, sql FROM sqlite_schema',
  );
  return new Map(rows.map(({ name, sql }) => [name, sql]));
}

async function apply(database: Database, migration: Migration): Promise<void> {
  await database.exec('BEGIN IMMEDIATE');
  try {
    await database.exec(migration.sql);
    await database.exec(
      `PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${migration.version};`,
    );
    await database.exec('COMMIT');
  } catch (error) {
    await database.exec('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
