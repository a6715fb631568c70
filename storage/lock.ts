/**
 * One process at a time writes to a store.
 *
 * The lock is SQLite's own lock on a small database of its own beside the store's: the operating
 * system drops it with the process, however that ends, so there is nothing stale to clean up. Who
 * holds it stands in that database and can be read while it is held. So does whether there was ever a
 * store: a database file that has gone since was lost, and is no reason to begin a new one.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from './errors.ts';
import { Database, SqliteError } from './sqlite.ts';

/** A database of more than this has tables in it. */
const pageBytes = 4096;
const holderId = 1;
const storeId = 2;

export class StoreLock {
  /** A store was in the folder when this lock, or one before it, was taken. */
  readonly wasMade: boolean;
  readonly #database: Database;
  #released: Promise<void> | null = null;

  private constructor(database: Database, wasMade: boolean) {
    this.#database = database;
    this.wasMade = wasMade;
  }

  /**
   * @param holder who takes it, in words for whom it is refused, e.g. `headgate, process 4711`
   * @throws StorageError `already-exists` while another process holds it, naming it; `corrupt`
   */
  static async take(folder: string, holder: string, nowMs: number): Promise<StoreLock> {
    const database = await Database.open(join(folder, 'lock.db'));
    let wasMade: boolean;
    try {
      database.setBusyTimeout(0);
      await database.exec('BEGIN IMMEDIATE');
      wasMade = await note(database, folder, holder, nowMs);
      // A reserved lock keeps other writers out and lets readers see what was committed before it.
      await database.exec('BEGIN IMMEDIATE');
    } catch (error) {
      const refusal = await refusalOf(error, database, folder);
      await database.close();
      throw refusal;
    }
    return new StoreLock(database, wasMade);
  }

  /** Gives the lock back. Twice is harmless. */
  release(): Promise<void> {
    this.#released ??= this.#database.exec('ROLLBACK').then(() => this.#database.close());
    return this.#released;
  }
}

/**
 * Commits who holds it, and that there is a store, if there is one; on a full disk it is held all the
 * same, by nobody knows whom. Answers whether there is or was a store.
 */
async function note(
  database: Database,
  folder: string,
  holder: string,
  nowMs: number,
): Promise<boolean> {
  const { size } = await stat(join(folder, 'headgate.db')).catch(() => ({ size: 0 }));
  let wasMade = size > pageBytes;
  try {
    await database.exec(
      'CREATE TABLE IF NOT EXISTS holder (id INTEGER PRIMARY KEY, name TEXT, since_ms INTEGER)',
    );
    wasMade ||= (await database.get('SELECT 1 FROM holder WHERE id = ?', storeId)) !== undefined;
    const sql = 'INSERT OR REPLACE INTO holder VALUES (?, ?, ?)';
    await database.run(sql, holderId, holder, nowMs);
    if (wasMade) await database.run(sql, storeId, 'a store', nowMs);
    await database.exec('COMMIT');
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'disk-full')) throw error;
    await database.exec('ROLLBACK').catch(() => undefined);
  }
  return wasMade;
}

async function refusalOf(error: unknown, database: Database, folder: string): Promise<unknown> {
  if (error instanceof StorageError && error.code === 'corrupt') {
    return new StorageError(
      'corrupt',
      `${database.path} is damaged; it holds nothing but a lock: make sure that no other gateway uses ${folder}, then delete it`,
      { cause: error },
    );
  }
  if (!(error instanceof SqliteError && error.code === 'SQLITE_BUSY')) return error;
  const row = await database
    .get<{ name: string; since_ms: number }>(
      'SELECT name, since_ms FROM holder WHERE id = ?',
      holderId,
    )
    .catch(() => undefined);
  const who =
    row === undefined
      ? 'another process'
      : `${row.name} (since ${new Date(row.since_ms).toISOString()})`;
  return new StorageError('already-exists', `the store in ${folder} is in use by ${who}`, {
    cause: error,
  });
}
