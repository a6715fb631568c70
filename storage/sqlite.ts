/**
 * One connection to one SQLite file: the only import of the `sqlite3` driver.
 *
 * Invariants
 * - Statements of a connection run one after the other, in the order of the calls. The driver's own
 *   `serialize()` does not order prepared statements, and statements of one connection that run at
 *   once only block each other on threads of the pool.
 * - Every statement is stepped to its end, so none stays open: an unreset one keeps its snapshot,
 *   and the write-ahead log grows without a limit behind it.
 * - A bound number is a safe integer. The driver binds a BigInt, `undefined` and NaN as NULL
 *   without a word, and reads integers above 2^53 inexactly.
 *
 * Transactions, retries and the order of writers live in `writer.ts`, the tables in `schema/`.
 */
import assert from 'node:assert/strict';
import sqlite3 from 'sqlite3';
import { StorageError } from './errors.ts';
import type { StorageErrorCode } from './errors.ts';

export type SqlValue = string | number | Buffer | null;

/** A refusal that is no fault of the disk: a constraint, a lock held elsewhere, wrong SQL. */
export class SqliteError extends Error {
  override readonly name = 'SqliteError';
  /** SQLite's primary result code, e.g. `SQLITE_BUSY`. */
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

const storageCodes: Readonly<Partial<Record<string, StorageErrorCode>>> = {
  SQLITE_FULL: 'disk-full',
  SQLITE_IOERR: 'write-failed',
  SQLITE_READONLY: 'write-failed',
  SQLITE_CANTOPEN: 'write-failed',
  SQLITE_CORRUPT: 'corrupt',
  SQLITE_NOTADB: 'corrupt',
};

/** Prepared statements kept per connection; the one unused for longest goes first. */
const statementsMax = 96;
const busyTimeoutMs = 2_000;

export class Database {
  readonly path: string;
  readonly #handle: sqlite3.Database;
  readonly #statements = new Map<string, sqlite3.Statement>();
  readonly #waiting: (() => void)[] = [];
  #busy = false;
  #closed: Promise<void> | null = null;

  private constructor(path: string, handle: sqlite3.Database) {
    this.path = path;
    this.#handle = handle;
  }

  /**
   * Opens a database file; unless `readOnly`, creates it when it is not there.
   * @throws StorageError `corrupt`, `write-failed`; SqliteError when it can't be opened
   */
  static async open(path: string, options: { readOnly?: boolean } = {}): Promise<Database> {
    const mode =
      options.readOnly === true
        ? sqlite3.OPEN_READONLY
        : sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE;
    const handle = await new Promise<sqlite3.Database>((resolve, reject) => {
      const opening = new sqlite3.Database(path, mode | sqlite3.OPEN_FULLMUTEX, (error) => {
        if (error === null) resolve(opening);
        else reject(translate(error, path));
      });
    });
    handle.configure('busyTimeout', busyTimeoutMs);
    return new Database(path, handle);
  }

  /** How long a statement waits for a lock that another connection holds before `SQLITE_BUSY`. */
  setBusyTimeout(timeoutMs: number): void {
    this.#handle.configure('busyTimeout', timeoutMs);
  }

  /** Runs one or more statements without parameters, each to its end; rows are dropped. */
  exec(sql: string): Promise<void> {
    return this.#inTurn(
      () =>
        new Promise((resolve, reject) => {
          this.#handle.exec(sql, (error) => {
            if (error === null) resolve();
            else reject(translate(error, sql));
          });
        }),
    );
  }

  /**
   * Runs a statement that returns no rows (one that does, such as `… RETURNING`, goes to `all`).
   * `lastId` is the rowid of the newest insert of this connection.
   * @throws StorageError `disk-full`, `write-failed`, `corrupt`; SqliteError
   */
  run(sql: string, ...params: readonly SqlValue[]): Promise<{ changes: number; lastId: number }> {
    return this.#inTurn(async () => {
      const statement = await this.#prepared(sql, params);
      return new Promise((resolve, reject) => {
        statement.run(params, function (this: sqlite3.RunResult, error: Error | null) {
          if (error === null) resolve({ changes: this.changes, lastId: this.lastID });
          else reject(translate(error, sql));
        });
      });
    });
  }

  /** The first row, or undefined. The statement runs to its end: say LIMIT 1 where it matters. */
  async get<T>(sql: string, ...params: readonly SqlValue[]): Promise<T | undefined> {
    return (await this.all<T>(sql, ...params))[0];
  }

  /** All rows. What limits their bytes is the query. */
  all<T>(sql: string, ...params: readonly SqlValue[]): Promise<T[]> {
    return this.#inTurn(async () => {
      const statement = await this.#prepared(sql, params);
      return new Promise((resolve, reject) => {
        statement.all(params, (error: Error | null, rows: T[]) => {
          if (error === null) resolve(rows);
          else reject(translate(error, sql));
        });
      });
    });
  }

  /** Ends the statement under way, which fails with `SQLITE_INTERRUPT`. */
  interrupt(): void {
    this.#handle.interrupt();
  }

  /** Waits for what is under way, then closes. Closing twice is harmless. */
  close(): Promise<void> {
    this.#closed ??= this.#inTurn(async () => {
      for (const statement of this.#statements.values()) await finalize(statement);
      this.#statements.clear();
      await new Promise<void>((resolve, reject) => {
        this.#handle.close((error) => {
          if (error === null) resolve();
          else reject(translate(error, 'close'));
        });
      });
    });
    return this.#closed;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed !== null) throw new StorageError('closed', `${this.path} is closed`);
    if (this.#busy) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#busy = true;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy = false;
      else next();
    }
  }

  async #prepared(sql: string, params: readonly SqlValue[]): Promise<sqlite3.Statement> {
    for (const value of params) assertBindable(value, sql);
    const known = this.#statements.get(sql);
    if (known !== undefined) {
      this.#statements.delete(sql);
      this.#statements.set(sql, known);
      return known;
    }
    if (this.#statements.size >= statementsMax) {
      for (const [oldest, statement] of this.#statements) {
        this.#statements.delete(oldest);
        await finalize(statement);
        break;
      }
    }
    const statement = await new Promise<sqlite3.Statement>((resolve, reject) => {
      const preparing = this.#handle.prepare(sql, (error: Error | null) => {
        if (error === null) resolve(preparing);
        else reject(translate(error, sql));
      });
    });
    this.#statements.set(sql, statement);
    return statement;
  }
}

function assertBindable(value: SqlValue, sql: string): void {
  // The messages are made for what is wrong only: thousands of values are bound in a commit.
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return;
    assert.fail(`bound number is not a safe integer: ${value} in ${sql}`);
  }
  if (value === null || typeof value === 'string' || Buffer.isBuffer(value)) return;
  assert.fail(`a ${typeof value} cannot be bound in ${sql}`);
}

function finalize(statement: sqlite3.Statement): Promise<void> {
  return new Promise((resolve) => {
    statement.finalize(() => {
      resolve();
    });
  });
}

/** Whether an error is SQLite's own word that a file is damaged, with its SQL in the message. */
export function isRawDamage(error: unknown): error is StorageError {
  return (
    error instanceof StorageError &&
    error.code === 'corrupt' &&
    error.cause instanceof Error &&
    'code' in error.cause &&
    String(error.cause.code).startsWith('SQLITE_')
  );
}

function translate(error: Error, what: string): Error {
  const sqliteCode = 'code' in error ? String(error.code) : 'SQLITE_ERROR';
  const code = storageCodes[sqliteCode];
  const message = `${error.message} (${what.length > 200 ? `${what.slice(0, 200)}…` : what})`;
  return code === undefined
    ? new SqliteError(sqliteCode, message, { cause: error })
    : new StorageError(code, message, { cause: error });
}
