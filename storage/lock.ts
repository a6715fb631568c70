/**
 * One process at a time writes to a store.
 *
 * The lock is SQLite's own lock on a small database of its own beside the store's: the operating
 * system drops it with the process, however that ends, so there is nothing stale to clean up. Who
 * holds it stands in that database and can be read while it is held.
 */
import { join } from 'node:path';
import { StorageError } from './errors.ts';
import { Database, SqliteError } from './sqlite.ts';

export class StoreLock {
  readonly #database: Database;
  #released: Promise<void> | null = null;

  private constructor(database: Database) {
    this.#database = database;
  }

  /**
   * @param holder who takes it, in words for whom it is refused, e.g. `headgate, process 4711`
   * @throws StorageError `already-exists` while another process holds it, naming it; `corrupt`
   */
  static async take(folder: string, holder: string, nowMs: number): Promise<StoreLock> {
    const database = await Database.open(join(folder, 'lock.db'));
    try {
      database.setBusyTimeout(0);
      await database.exec('BEGIN IMMEDIATE');
      await note(database, holder, nowMs);
      // A reserved lock keeps other writers out and lets readers see what was committed before it.
      await database.exec('BEGIN IMMEDIATE');
    } catch (error) {
      const refusal = await refusalOf(error, database, folder);
      await database.close();
      throw refusal;
    }
    return new StoreLock(database);
  }

  /** Gives the lock back. Twice is harmless. */
  release(): Promise<void> {
    this.#released ??= this.#database.exec('ROLLBACK').then(() => this.#database.close());
    return this.#released;
  }
}

/** Commits who holds it; on a full disk it is held all the same, by nobody knows whom. */
async function note(database: Database, holder: string, nowMs: number): Promise<void> {
  try {
    await database.exec(
      'CREATE TABLE IF NOT EXISTS holder (id INTEGER PRIMARY KEY, name TEXT, since_ms INTEGER)',
    );
    await database.run('INSERT OR REPLACE INTO holder VALUES (1, ?, ?)', holder, nowMs);
    await database.exec('COMMIT');
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'disk-full')) throw error;
    await database.exec('ROLLBACK').catch(() => undefined);
  }
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
    .get<{ name: string; since_ms: number }>('SELECT name, since_ms FROM holder')
    .catch(() => undefined);
  const who =
    row === undefined
      ? 'another process'
      : `${row.name} (since ${new Date(row.since_ms).toISOString()})`;
  return new StorageError('already-exists', `the store in ${folder} is in use by ${who}`, {
    cause: error,
  });
}
