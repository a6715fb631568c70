/**
 * The one writer: everything that changes the database goes through here.
 *
 * Invariants
 * - One connection, one transaction per group commit. While a commit runs the next group gathers,
 *   so one fsync carries all that was queued meanwhile.
 * - A promise resolves only after the COMMIT that holds its work has returned: with
 *   synchronous=FULL that is after the fsync of the write-ahead log.
 * - A general work item runs under its own savepoint: when it throws, its changes alone are undone.
 *   A full disk rejects the whole group; the next may succeed. A failed write or fsync poisons the
 *   writer: everything is refused with `write-failed` until a restart, for nobody knows what the
 *   disk holds after that.
 * - State in memory that mirrors the tables changes in `onCommit` callbacks, or changes at once and
 *   is put back by an `onRollback` callback.
 * - At most `maxQueuedBytes` wait; past that callers get `overloaded`.
 *
 * What an append turns into is the business of `log/` (the `Appender`), when the write-ahead log is
 * copied back of `checkpointer.ts`.
 */
import assert from 'node:assert/strict';
import { StorageError } from './errors.ts';
import type { RecordInput, RecordPlace } from './model.ts';
import type { Clock, Counter, Histogram, Logger, Metrics } from './ports.ts';
import { SqliteError } from './sqlite.ts';
import type { Database, SqlValue } from './sqlite.ts';

/**
 * What a work item may do. It is over when the item's promise settles. An item awaits nothing but
 * these methods: the whole store waits for it.
 */
export interface Transaction {
  run(sql: string, ...params: readonly SqlValue[]): Promise<{ changes: number; lastId: number }>;
  /** The first row of a query that changes nothing. */
  get<T>(sql: string, ...params: readonly SqlValue[]): Promise<T | undefined>;
  /** All rows, also of a change (`… RETURNING`). */
  all<T>(sql: string, ...params: readonly SqlValue[]): Promise<T[]>;
  /**
   * Appends records to a stream in this transaction. The places are theirs if it commits. The
   * batches are written at the end of the group, so a later `get` of this item can't see them.
   * @throws StorageError `not-found`, `invalid-argument`, `stream-full`, `disk-full`
   */
  append(stream: string, records: readonly RecordInput[]): Promise<readonly RecordPlace[]>;
  /** Called after the commit, before the item's promise resolves, in the order of registration. */
  onCommit(callback: () => void): void;
  /** Called, in reverse order, when the item or its group is rolled back. */
  onRollback(callback: () => void): void;
}

/** An append that was checked and timed when it was called, waiting for its group. */
export interface PreparedAppend {
  readonly stream: string;
  readonly bytes: number;
}

/** The log's part in a group commit. */
export interface Appender<P extends PreparedAppend = PreparedAppend> {
  /** @throws StorageError `invalid-argument` */
  prepare(stream: string, records: readonly RecordInput[]): P;
  beginGroup(): AppendGroup<P>;
}

export interface AppendGroup<P extends PreparedAppend = PreparedAppend> {
  /** Whether `stage` would exceed the stream's budget unless `makeRoom` frees something first. */
  lacksRoom(append: P): boolean;
  makeRoom(append: P, transaction: Transaction): Promise<void>;
  /** Gives the records their places. @throws StorageError `not-found`, `stream-full` */
  stage(append: P): readonly RecordPlace[];
  /** Remembers the state to which `undo` goes back. */
  mark(): void;
  undo(): void;
  /** Writes what was staged. */
  write(transaction: Transaction): Promise<void>;
  /** Called after the commit. */
  apply(): void;
}

/** Keeps the write-ahead log short: see `checkpointer.ts`. */
export interface WalKeeper {
  /** Resolves when the write-ahead log has room for another group. */
  admit(): Promise<void>;
  committed(bytes: number): void;
}

/** What happens when the disk is full: see `disk-reserve.ts`. */
export interface DiskGuard {
  /** Nothing is appended, while checkpoints and deletions still go on. */
  readonly full: boolean;
  release(): void;
}

export interface WriterOptions {
  readonly database: Database;
  readonly appender: Appender;
  readonly walKeeper: WalKeeper;
  readonly diskGuard: DiskGuard;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** How long a group waits for company before it commits; 0: not at all. */
  readonly lingerMs?: number;
  /** Bytes that may wait for a commit; 64 MiB when left out. */
  readonly maxQueuedBytes?: number;
}

type Item = {
  readonly bytes: number;
  readonly reject: (error: unknown) => void;
} & (
  | {
      readonly kind: 'append';
      readonly append: PreparedAppend;
      readonly resolve: (places: readonly RecordPlace[]) => void;
    }
  | {
      readonly kind: 'work';
      /** Runs the work and returns what settles its promise after the commit. */
      readonly run: (transaction: Transaction) => Promise<() => void>;
    }
);

const defaultMaxQueuedBytes = 64 * 1024 * 1024;
/** A group holds no more than this: it bounds the memory and the time of one commit. */
const groupBytesMax = 4 * 1024 * 1024;
const groupItemsMax = 4096;
/** What a general work item counts in the queue unless it says otherwise. */
const workBytesDefault = 1024;

export class Writer {
  readonly #options: WriterOptions;
  readonly #maxQueuedBytes: number;
  readonly #commits: Counter;
  readonly #commitSeconds: Histogram;
  #queue: Item[] = [];
  #queuedBytes = 0;
  #running: Promise<void> | null = null;
  #endLinger: (() => void) | null = null;
  #closing = false;
  #poison: StorageError | null = null;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? defaultMaxQueuedBytes;
    this.#commits = options.metrics.counter('headgate_store_commits_total', 'Group commits.');
    this.#commitSeconds = options.metrics.histogram(
      'headgate_store_commit_seconds',
      'Time of a group commit, from BEGIN to the end of COMMIT.',
      [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5],
    );
  }

  /** Why nothing can be written any more, if so. */
  get failure(): StorageError | null {
    return this.#poison;
  }

  /**
   * Runs `work` in the next group commit and resolves with its result once that is on disk. When
   * it throws, its own changes are undone, others in the group are not.
   * @param options.bytes what the work holds in memory while it waits; 1 KiB when left out
   * @throws what `work` throws; StorageError `overloaded`, `disk-full`, `write-failed`, `closed`
   */
  transact<T>(
    work: (transaction: Transaction) => Promise<T>,
    options: { bytes?: number } = {},
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#enqueue({
        kind: 'work',
        bytes: options.bytes ?? workBytesDefault,
        reject,
        run: async (transaction) => {
          const result = await work(transaction);
          return () => {
            resolve(result);
          };
        },
      });
    });
  }

  /** `Log.append`, without a savepoint of its own: the common case is the quick one. */
  append(stream: string, records: readonly RecordInput[]): Promise<readonly RecordPlace[]> {
    return new Promise((resolve, reject) => {
      refuseWhenFull(this.#options.diskGuard);
      const append = this.#options.appender.prepare(stream, records);
      this.#enqueue({ kind: 'append', bytes: append.bytes, append, resolve, reject });
    });
  }

  /** Commits what is queued, then refuses everything. Closing twice is harmless. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#endLinger?.();
    await this.#running;
  }

  #enqueue(item: Item): void {
    if (this.#poison !== null) throw this.#poison;
    if (this.#closing) throw new StorageError('closed', 'the store is closed');
    if (this.#queuedBytes + item.bytes > this.#maxQueuedBytes) {
      throw new StorageError(
        'overloaded',
        `${this.#queuedBytes} bytes wait for the disk; the limit is ${this.#maxQueuedBytes}`,
      );
    }
    this.#queue.push(item);
    this.#queuedBytes += item.bytes;
    if (this.#queuedBytes >= groupBytesMax) this.#endLinger?.();
    this.#running ??= this.#drain();
  }

  async #drain(): Promise<void> {
    // What one turn of the event loop brings goes into one group.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      await this.#linger();
      await this.#options.walKeeper.admit();
      const items = this.#takeGroup();
      if (this.#poison === null) await this.#commitGroup(items);
      else for (const item of items) item.reject(this.#poison);
      for (const item of items) this.#queuedBytes -= item.bytes;
    }
    // In the same step as the check above: what comes after it starts the next drain.
    this.#running = null;
  }

  async #linger(): Promise<void> {
    const { lingerMs = 0, clock } = this.#options;
    if (lingerMs === 0 || this.#closing || this.#queuedBytes >= groupBytesMax) return;
    await new Promise<void>((resolve) => {
      const cancel = clock.setTimer(lingerMs, resolve);
      this.#endLinger = () => {
        cancel();
        resolve();
      };
    });
    this.#endLinger = null;
  }

  #takeGroup(): Item[] {
    let bytes = 0;
    let count = 0;
    for (const item of this.#queue) {
      if (count > 0 && (bytes + item.bytes > groupBytesMax || count >= groupItemsMax)) break;
      bytes += item.bytes;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #commitGroup(items: readonly Item[]): Promise<void> {
    const startedMs = this.#options.clock.monotonicMs();
    const group = new Group(this.#options);
    let outcomes: readonly (() => void)[];
    try {
      outcomes = await group.run(items);
    } catch (error) {
      await this.#failGroup(items, error);
      return;
    }
    this.#commits.add();
    this.#commitSeconds.observe((this.#options.clock.monotonicMs() - startedMs) / 1000);
    this.#options.walKeeper.committed(items.reduce((sum, item) => sum + item.bytes, 0));
    for (const settle of outcomes) settle();
  }

  async #failGroup(items: readonly Item[], error: unknown): Promise<void> {
    const { database, logger } = this.#options;
    const rolledBack = await database.exec('ROLLBACK').then(
      () => true,
      // SQLite rolls back by itself on some failures, and then says that there is nothing to undo.
      (failure: unknown) => String(failure).includes('no transaction is active'),
    );
    const refusal = refusalOf(error);
    if (rolledBack && refusal !== null) {
      if (refusal.code === 'disk-full') this.#options.diskGuard.release();
      logger.warn({ error }, 'A group of writes was refused.');
      for (const item of items) item.reject(refusal);
      return;
    }
    this.#poison =
      error instanceof StorageError && error.code === 'write-failed'
        ? error
        : new StorageError('write-failed', 'a commit failed', { cause: error });
    logger.error({ error }, 'A commit failed: nothing is written any more until a restart.');
    for (const item of items) item.reject(this.#poison);
  }
}

/** What happens before a transaction is used at all, and before it changes something. */
interface Guard {
  use(): void;
  change(): Promise<void>;
}

const unguarded: Guard = { use: () => undefined, change: () => Promise.resolve() };

/** One transaction from BEGIN to COMMIT. */
class Group {
  readonly #database: Database;
  readonly #appends: AppendGroup;
  readonly #appender: Appender;
  readonly #diskGuard: DiskGuard;
  readonly #onCommit: (() => void)[] = [];
  readonly #onRollback: (() => void)[] = [];
  #savepointOpen = false;
  /** Set by an error after which the transaction can't be trusted, even if the work swallows it. */
  #fatal: Error | null = null;

  constructor(options: WriterOptions) {
    this.#database = options.database;
    this.#appender = options.appender;
    this.#diskGuard = options.diskGuard;
    this.#appends = options.appender.beginGroup();
  }

  /** Commits; returns what settles the items' promises. Throws when the group as a whole failed. */
  async run(items: readonly Item[]): Promise<readonly (() => void)[]> {
    const outcomes: (() => void)[] = [];
    try {
      await this.#database.run('BEGIN IMMEDIATE');
      for (const item of items) {
        outcomes.push(
          item.kind === 'append' ? await this.#append(item) : await this.#runWork(item),
        );
        if (this.#fatal !== null) throw this.#fatal;
      }
      await this.#appends.write(this.#transaction(unguarded));
      await this.#database.run('COMMIT');
    } catch (error) {
      for (const callback of this.#onRollback.reverse()) callback();
      throw error;
    }
    this.#appends.apply();
    for (const callback of this.#onCommit) callback();
    return outcomes;
  }

  async #append(item: Extract<Item, { kind: 'append' }>): Promise<() => void> {
    try {
      if (this.#appends.lacksRoom(item.append)) {
        await this.#endSavepoint();
        await this.#appends.makeRoom(item.append, this.#transaction(unguarded));
      }
      const places = this.#appends.stage(item.append);
      return () => {
        item.resolve(places);
      };
    } catch (error) {
      if (!(error instanceof StorageError) || isFatal(error)) throw error;
      return () => {
        item.reject(error);
      };
    }
  }

  async #runWork(item: Extract<Item, { kind: 'work' }>): Promise<() => void> {
    const commits = this.#onCommit.length;
    const rollbacks = this.#onRollback.length;
    const state = { written: false, over: false };
    this.#appends.mark();
    const transaction = this.#transaction({
      use: () => {
        assert(!state.over, 'a transaction was used after its work had ended');
      },
      change: async () => {
        if (state.written) return;
        state.written = true;
        await this.#beginSavepoint();
      },
    });
    try {
      return await item.run(transaction);
    } catch (error) {
      if (this.#fatal !== null) throw this.#fatal;
      if (state.written) await this.#database.run('ROLLBACK TO item');
      this.#appends.undo();
      this.#onCommit.length = commits;
      for (const callback of this.#onRollback.splice(rollbacks).reverse()) callback();
      return () => {
        item.reject(error);
      };
    } finally {
      state.over = true;
    }
  }

  /** The savepoint of the item before is released by the same statement that opens the next. */
  async #beginSavepoint(): Promise<void> {
    await this.#database.exec(
      this.#savepointOpen ? 'RELEASE item; SAVEPOINT item' : 'SAVEPOINT item',
    );
    this.#savepointOpen = true;
  }

  async #endSavepoint(): Promise<void> {
    if (!this.#savepointOpen) return;
    await this.#database.run('RELEASE item');
    this.#savepointOpen = false;
  }

  #transaction(guard: Guard): Transaction {
    const watched = async <T>(operation: Promise<T>): Promise<T> => {
      try {
        return await operation;
      } catch (error) {
        if (isFatal(error)) this.#fatal ??= error;
        throw error;
      }
    };
    const transaction: Transaction = {
      run: async (sql, ...params) => {
        guard.use();
        await guard.change();
        return watched(this.#database.run(sql, ...params));
      },
      get: (sql, ...params) => {
        guard.use();
        return watched(this.#database.get(sql, ...params));
      },
      all: async (sql, ...params) => {
        guard.use();
        // A statement that returns rows may change them too (… RETURNING).
        await guard.change();
        return watched(this.#database.all(sql, ...params));
      },
      append: async (stream, records) => {
        guard.use();
        refuseWhenFull(this.#diskGuard);
        const append = this.#appender.prepare(stream, records);
        if (this.#appends.lacksRoom(append)) await this.#appends.makeRoom(append, transaction);
        return this.#appends.stage(append);
      },
      onCommit: (callback) => this.#onCommit.push(callback),
      onRollback: (callback) => this.#onRollback.push(callback),
    };
    return transaction;
  }
}

/** What is left of the disk is for deleting and for checkpoints. */
function refuseWhenFull(guard: DiskGuard): void {
  if (guard.full) throw new StorageError('disk-full', 'the disk is full: nothing is appended');
}

/** After these SQLite may have rolled back the whole transaction on its own. */
function isFatal(error: unknown): error is StorageError {
  return (
    error instanceof StorageError && (error.code === 'disk-full' || error.code === 'write-failed')
  );
}

/** The error of a group that left the database as it was, so that the next one may succeed. */
function refusalOf(error: unknown): StorageError | null {
  if (error instanceof StorageError && (error.code === 'disk-full' || error.code === 'corrupt')) {
    return error;
  }
  if (error instanceof SqliteError && error.code === 'SQLITE_BUSY') {
    return new StorageError('overloaded', 'another program holds the database', { cause: error });
  }
  return null;
}
