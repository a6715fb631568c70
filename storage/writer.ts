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
 * What happens inside a group is in `group-commit.ts`, what an append turns into in `log/`, when the
 * write-ahead log is copied back in `checkpointer.ts`.
 */
import { StorageError, type StorageErrorCode } from './errors.ts';
import { Group, refuseWhenFull } from './group-commit.ts';
import type { Appender, DiskGuard, Item, Transaction } from './group-commit.ts';
import type { RecordInput, RecordPlace } from './model.ts';
import type { Clock, Counter, Histogram, Logger, Metrics } from './ports.ts';
import { SqliteError } from './sqlite.ts';
import type { Database } from './sqlite.ts';

export type { Transaction } from './group-commit.ts';

/** Keeps the write-ahead log short: see `checkpointer.ts`. */
export interface WalKeeper {
  /** Resolves when the write-ahead log has room for another group. */
  admit(): Promise<void>;
  committed(bytes: number): void;
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

const defaultMaxQueuedBytes = 64 * 1024 * 1024;
/** A group holds no more than this: it bounds the memory and the time of one commit. */
const groupBytesMax = 2 * 1024 * 1024;
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
  /** The last group was refused: said once, until one is taken again. */
  #refusing = false;

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

  /** Bytes that wait for a commit, or are in the one under way. */
  get queuedBytes(): number {
    return this.#queuedBytes;
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
    this.#refusing = false;
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
      if (!this.#refusing) logger.warn({ error }, 'A group of writes was refused.');
      this.#refusing = true;
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

const refusals: ReadonlySet<StorageErrorCode> = new Set<StorageErrorCode>([
  ...(['disk-full', 'corrupt'] as const),
  // What was to be encrypted could not be: nothing was written of it.
  ...(['key-unavailable', 'overloaded'] as const),
]);

/** The error of a group that left the database as it was, so that the next one may succeed. */
function refusalOf(error: unknown): StorageError | null {
  if (error instanceof StorageError && refusals.has(error.code)) return error;
  if (error instanceof SqliteError && error.code === 'SQLITE_BUSY') {
    return new StorageError('overloaded', 'another program holds the database', { cause: error });
  }
  return null;
}
