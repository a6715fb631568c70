/**
 * One group commit: a transaction that carries appends and work items, each item under its own
 * savepoint. What a work item and the log may do in it is defined here.
 *
 * It goes from BEGIN to COMMIT, but for the common group of nothing but appends that are written by
 * one statement: that is a transaction by itself, in a third of the trips to the database's thread.
 *
 * When groups are formed, and what happens after one has failed, is the business of `writer.ts`.
 */
import assert from 'node:assert/strict';
import { StorageError } from './errors.ts';
import type { RecordInput, RecordPlace } from './model.ts';
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
  /** Whether `write` is a single statement, or none. */
  readonly isOneStatement: boolean;
  /** Writes what was staged. */
  write(transaction: Transaction): Promise<void>;
  /** Called after the commit. */
  apply(): void;
}

/** What happens when the disk is full: see `disk-reserve.ts`. */
export interface DiskGuard {
  /** Nothing is appended, while checkpoints and deletions still go on. */
  readonly full: boolean;
  /** Why, in words. */
  readonly reason?: string;
  release(): void;
}

export interface GroupOptions {
  readonly database: Database;
  readonly appender: Appender;
  readonly diskGuard: DiskGuard;
}

export type Item = {
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

/** What happens before a transaction is used at all, and before it changes something. */
interface Guard {
  use(): void;
  change(): Promise<void>;
}

const unguarded: Guard = { use: () => undefined, change: () => Promise.resolve() };

/** One transaction. */
export class Group {
  readonly #database: Database;
  readonly #appends: AppendGroup;
  readonly #appender: Appender;
  readonly #diskGuard: DiskGuard;
  readonly #onCommit: (() => void)[] = [];
  readonly #onRollback: (() => void)[] = [];
  #begun = false;
  #savepointOpen = false;
  /** Set by an error after which the transaction can't be trusted, even if the work swallows it. */
  #fatal: Error | null = null;

  constructor(options: GroupOptions) {
    this.#database = options.database;
    this.#appender = options.appender;
    this.#diskGuard = options.diskGuard;
    this.#appends = options.appender.beginGroup();
  }

  /** Commits; returns what settles the items' promises. Throws when the group as a whole failed. */
  async run(items: readonly Item[]): Promise<readonly (() => void)[]> {
    const outcomes: (() => void)[] = [];
    try {
      for (const item of items) {
        outcomes.push(
          item.kind === 'append' ? await this.#append(item) : await this.#runWork(item),
        );
        if (this.#fatal !== null) throw this.#fatal;
      }
      if (!this.#appends.isOneStatement) await this.#begin();
      await this.#appends.write(this.#transaction(unguarded));
      if (this.#begun) await this.#database.run('COMMIT');
    } catch (error) {
      for (const callback of this.#onRollback.reverse()) callback();
      throw error;
    }
    this.#appends.apply();
    for (const callback of this.#onCommit) callback();
    return outcomes;
  }

  async #begin(): Promise<void> {
    if (this.#begun) return;
    await this.#database.run('BEGIN IMMEDIATE');
    this.#begun = true;
  }

  async #append(item: Extract<Item, { kind: 'append' }>): Promise<() => void> {
    try {
      if (this.#appends.lacksRoom(item.append)) {
        await this.#begin();
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
    await this.#begin();
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
export function refuseWhenFull(guard: DiskGuard): void {
  if (!guard.full) return;
  throw new StorageError('disk-full', guard.reason ?? 'the disk is full: nothing is appended');
}

/** After these SQLite may have rolled back the whole transaction on its own. */
function isFatal(error: unknown): error is StorageError {
  return (
    error instanceof StorageError && (error.code === 'disk-full' || error.code === 'write-failed')
  );
}
