/**
 * A few read-only connections, so that a long read does not hold up the others.
 *
 * Each runs one statement at a time and sees the last commit. Nothing is kept open between calls:
 * no reader pins the write-ahead log.
 */
import { Database } from './sqlite.ts';
import type { SqlValue } from './sqlite.ts';

/** libuv's pool has four threads by default: one for the writer, one for the checkpointer. */
const connections = 2;
const pageCacheKib = 8_192;

export class ReadPool {
  readonly #members: { readonly database: Database; running: number }[];

  private constructor(databases: readonly Database[]) {
    this.#members = databases.map((database) => ({ database, running: 0 }));
  }

  static async open(path: string): Promise<ReadPool> {
    const databases: Database[] = [];
    try {
      for (let index = 0; index < connections; index += 1) {
        const database = await Database.open(path, { readOnly: true });
        databases.push(database);
        await database.exec(`PRAGMA cache_size = -${pageCacheKib}`);
      }
    } catch (error) {
      for (const database of databases) await database.close();
      throw error;
    }
    return new ReadPool(databases);
  }

  all<T>(sql: string, ...params: readonly SqlValue[]): Promise<T[]> {
    return this.#withLeastBusy((database) => database.all<T>(sql, ...params));
  }

  get<T>(sql: string, ...params: readonly SqlValue[]): Promise<T | undefined> {
    return this.#withLeastBusy((database) => database.get<T>(sql, ...params));
  }

  /** Waits for the reads under way. Closing twice is harmless. */
  async close(): Promise<void> {
    for (const { database } of this.#members) await database.close();
  }

  async #withLeastBusy<T>(work: (database: Database) => Promise<T>): Promise<T> {
    const [first, ...others] = this.#members;
    if (first === undefined) throw new Error('a pool without connections');
    let chosen = first;
    for (const member of others) if (member.running < chosen.running) chosen = member;
    chosen.running += 1;
    try {
      return await work(chosen.database);
    } finally {
      chosen.running -= 1;
    }
  }
}
