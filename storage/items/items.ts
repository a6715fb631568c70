/**
 * Small tables of items, changed on conditions: where programs that are made for DynamoDB keep
 * their leases. What an item and its keys mean is the business of gateway/api/dynamodb.
 *
 * Invariants
 * - An item is looked at and changed inside one transaction of the one writer, so nothing comes in
 *   between a condition and the change that depends on it; what is answered is on disk.
 * - A table's index entries change with its items, in the same transaction.
 * - `#tables` mirrors `item_table`: it changes at once, in the transaction, so that the work queued
 *   behind sees it, and is put back when that is rolled back.
 * - A full disk refuses new items only: a lease that is there can be renewed and given up.
 *
 * Limits are in counts.ts.
 */
import { StorageError } from '../errors.ts';
import { refuseWhenFull, type DiskGuard, type Transaction } from '../group-commit.ts';
import type { Clock, Logger } from '../ports.ts';
import type { ReadPool } from '../read-pool.ts';
import type { Writer } from '../writer.ts';
import { addCounts, itemLimits } from './counts.ts';
import { entriesOf, readPage, type IndexEntry, type ItemRow, type Page } from './rows.ts';

export interface ItemKey {
  readonly hash: Buffer;
  /** Empty in a table without. */
  readonly range: Buffer;
}

export interface ItemTable {
  readonly id: number;
  readonly name: string;
  readonly createdMs: number;
  /** As it was given: JSON. */
  readonly definition: unknown;
}

export interface Decision<T> {
  /** What becomes of the item: its JSON; null: it goes; undefined: nothing. */
  readonly body: string | null | undefined;
  /** What counts against the limits. */
  readonly bytes: number;
  /** The indexes that it is in from now on; null: the table has none. */
  readonly entries: readonly IndexEntry[] | null;
  readonly result: T;
}

/** Looks at an item as it is in the transaction; what it throws undoes the change. */
export type Decide<T> = (current: string | null, table: ItemTable) => Decision<T>;

export interface ItemsOptions {
  readonly writer: Pick<Writer, 'transact'>;
  readonly queries: Pick<ReadPool, 'all' | 'get'>;
  readonly diskGuard: DiskGuard;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Rows deleted in one step. */
const rowsAtOnce = 500;
/** Items given index entries in one step: they may be large. */
const itemsAtOnce = 16;

export class Items {
  readonly #options: ItemsOptions;
  readonly #tables = new Map<string, ItemTable>();
  #sweeping: Promise<void> = Promise.resolve();

  private constructor(options: ItemsOptions) {
    this.#options = options;
  }

  static async open(options: ItemsOptions): Promise<Items> {
    const items = new Items(options);
    const rows = await options.queries.all<{
      id: number;
      name: string;
      definition: string;
      created_ms: number;
    }>('SELECT id, name, definition, created_ms FROM item_table');
    for (const { id, name, definition, created_ms: createdMs } of rows) {
      items.#tables.set(name, { id, name, createdMs, definition: parse(definition) });
    }
    const left = await options.queries.get(
      'SELECT 1 FROM item WHERE table_id NOT IN (SELECT id FROM item_table) LIMIT 1',
    );
    if (left !== undefined) items.#sweep();
    return items;
  }

  /** In the order of their names. */
  tables(): readonly ItemTable[] {
    return [...this.#tables.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  table(name: string): ItemTable | null {
    return this.#tables.get(name) ?? null;
  }

  /** @throws StorageError `already-exists`, `stream-full` when there are too many */
  createTable(name: string, definition: unknown): Promise<ItemTable> {
    const { writer, clock, diskGuard } = this.#options;
    return writer.transact(async (transaction) => {
      if (this.#tables.has(name)) throw new StorageError('already-exists', `table ${name}`);
      refuseWhenFull(diskGuard);
      if (this.#tables.size >= itemLimits.tables) {
        throw new StorageError('stream-full', `there may be ${itemLimits.tables} tables`);
      }
      const createdMs = clock.nowMs();
      const { lastId: id } = await transaction.run(
        `INSERT INTO item_table (name, definition, created_ms, items, bytes) VALUES (?, ?, ?, 0, 0)`,
        ...[name, JSON.stringify(definition), createdMs],
      );
      const table = { id, name, createdMs, definition };
      this.#replace(transaction, name, table);
      return table;
    });
  }

  /**
   * @param change gives the definition that is from now on
   * @param indexed when the indexes change: which of them go, and the entries of an item in the rest
   * @throws StorageError `not-found`; what `change` throws
   */
  updateTable(
    name: string,
    change: (table: ItemTable) => {
      readonly definition: unknown;
      readonly goneIndexes?: readonly string[];
      readonly newEntries?: (body: string) => readonly IndexEntry[];
    },
  ): Promise<ItemTable> {
    return this.#options.writer.transact(async (transaction) => {
      const table = this.#known(name);
      const { definition, goneIndexes = [], newEntries } = change(table);
      await transaction.run(
        'UPDATE item_table SET definition = ? WHERE id = ?',
        ...[JSON.stringify(definition), table.id],
      );
      for (const index of goneIndexes) {
        await transaction.run(
          'DELETE FROM item_entry WHERE table_id = ? AND index_name = ?',
          ...[table.id, index],
        );
      }
      if (newEntries !== undefined) await index(transaction, table.id, newEntries);
      const changed = { ...table, definition };
      this.#replace(transaction, name, changed);
      return changed;
    });
  }

  /** @param check what it throws leaves the table as it is @throws StorageError `not-found` */
  async deleteTable(name: string, check: (table: ItemTable) => void): Promise<ItemTable> {
    const deleted = await this.#options.writer.transact(async (transaction) => {
      const table = this.#known(name);
      check(table);
      await transaction.run('DELETE FROM item_table WHERE id = ?', table.id);
      this.#replace(transaction, name, null);
      return table;
    });
    this.#sweep();
    return deleted;
  }

  async counts(table: ItemTable): Promise<{ readonly items: number; readonly bytes: number }> {
    const counts = await this.#options.queries.get<{ items: number; bytes: number }>(
      'SELECT items, bytes FROM item_table WHERE id = ?',
      table.id,
    );
    return counts ?? { items: 0, bytes: 0 };
  }

  /** The JSON of an item; null: there is none. */
  async get(table: ItemTable, { hash, range }: ItemKey): Promise<string | null> {
    const row = await this.#options.queries.get<{ body: string }>(
      'SELECT body FROM item WHERE table_id = ? AND hash_key = ? AND range_key = ?',
      ...[table.id, hash, range],
    );
    return row?.body ?? null;
  }

  /** At most `page.limit` items, in the order of the table or of one of its indexes. */
  read(table: ItemTable, page: Page): Promise<readonly ItemRow[]> {
    return readPage(this.#options.queries, table.id, page);
  }

  /**
   * Changes one item on what it is.
   * @throws StorageError `not-found` for the table, `stream-full`, `disk-full` for a new item; what
   *   `decide` throws
   */
  change<T>(name: string, key: ItemKey, decide: Decide<T>, bodyBytes: number): Promise<T> {
    const { writer, diskGuard } = this.#options;
    return writer.transact(
      async (transaction) => {
        const table = this.#known(name);
        const current = await transaction.get<Current>(
          `SELECT id, bytes, body FROM item
            WHERE table_id = ? AND hash_key = ? AND range_key = ?`,
          ...[table.id, key.hash, key.range],
        );
        const decision = decide(current?.body ?? null, table);
        if (decision.body === null) await remove(transaction, table.id, current);
        else if (decision.body !== undefined) {
          if (current === undefined) refuseWhenFull(diskGuard);
          await write(transaction, table.id, key, current, { ...decision, body: decision.body });
        }
        return decision.result;
      },
      { bytes: 1024 + bodyBytes },
    );
  }

  #known(name: string): ItemTable {
    const table = this.#tables.get(name);
    if (table === undefined) throw new StorageError('not-found', `there is no table ${name}`);
    return table;
  }

  #replace(transaction: Transaction, name: string, table: ItemTable | null): void {
    const before = this.#tables.get(name) ?? null;
    this.#set(name, table);
    transaction.onRollback(() => {
      this.#set(name, before);
    });
  }

  #set(name: string, table: ItemTable | null): void {
    if (table === null) this.#tables.delete(name);
    else this.#tables.set(name, table);
  }

  /** Deletes what deleted tables have left, a little at a time: the writer is everybody's. */
  #sweep(): void {
    const { writer, logger } = this.#options;
    const step = (): Promise<number> =>
      writer.transact(async (transaction) => {
        let changes = 0;
        for (const table of ['item_entry', 'item']) {
          const deleted = await transaction.run(
            `DELETE FROM ${table} WHERE id IN
               (SELECT id FROM ${table}
                 WHERE table_id NOT IN (SELECT id FROM item_table) LIMIT ${rowsAtOnce})`,
          );
          changes += deleted.changes;
        }
        return changes;
      });
    this.#sweeping = this.#sweeping.then(async () => {
      try {
        while ((await step()) > 0);
      } catch (error) {
        // The next deletion or start goes on with it.
        if (error instanceof StorageError && error.code === 'closed') return;
        logger.warn({ error }, 'What deleted tables have left was not deleted yet');
      }
    });
  }
}

interface Current {
  readonly id: number;
  readonly bytes: number;
  readonly body: string;
}

async function remove(
  transaction: Transaction,
  tableId: number,
  current: Current | undefined,
): Promise<void> {
  if (current === undefined) return;
  await transaction.run('DELETE FROM item_entry WHERE item_id = ?', current.id);
  await transaction.run('DELETE FROM item WHERE id = ?', current.id);
  await addCounts(transaction, tableId, -1, -current.bytes);
}

async function write(
  transaction: Transaction,
  tableId: number,
  { hash, range }: ItemKey,
  current: Current | undefined,
  { body, bytes, entries }: Decision<unknown> & { readonly body: string },
): Promise<void> {
  let id = current?.id;
  if (id === undefined) {
    const inserted = await transaction.run(
      'INSERT INTO item (table_id, hash_key, range_key, bytes, body) VALUES (?, ?, ?, ?, ?)',
      ...[tableId, hash, range, bytes, body],
    );
    id = inserted.lastId;
  } else if (body !== current?.body) {
    await transaction.run('UPDATE item SET bytes = ?, body = ? WHERE id = ?', bytes, body, id);
  }
  await addCounts(
    transaction,
    tableId,
    current === undefined ? 1 : 0,
    bytes - (current?.bytes ?? 0),
  );
  if (entries === null) return;
  const before = await entriesOf(transaction, id);
  if (areSame(before, entries)) return;
  await transaction.run('DELETE FROM item_entry WHERE item_id = ?', id);
  await addEntries(transaction, tableId, id, entries);
}

async function addEntries(
  transaction: Transaction,
  tableId: number,
  itemId: number,
  entries: readonly IndexEntry[],
): Promise<void> {
  for (const { index, hash, range } of entries) {
    await transaction.run(
      `INSERT INTO item_entry (table_id, index_name, hash_key, range_key, item_id)
       VALUES (?, ?, ?, ?, ?)`,
      ...[tableId, index, hash, range, itemId],
    );
  }
}

/** Gives the items that are there the entries of a new index. */
async function index(
  transaction: Transaction,
  tableId: number,
  newEntries: (body: string) => readonly IndexEntry[],
): Promise<void> {
  for (let after = 0; ;) {
    const rows = await transaction.all<Current>(
      `SELECT id, bytes, body FROM item WHERE table_id = ? AND id > ? ORDER BY id LIMIT ${itemsAtOnce}`,
      ...[tableId, after],
    );
    for (const { id, body } of rows) await addEntries(transaction, tableId, id, newEntries(body));
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.id;
  }
}

function areSame(before: readonly IndexEntry[], entries: readonly IndexEntry[]): boolean {
  return (
    before.length === entries.length &&
    entries.every(({ index, hash, range }) =>
      before.some((one) => one.index === index && one.hash.equals(hash) && one.range.equals(range)),
    )
  );
}

function parse(definition: string): unknown {
  return JSON.parse(definition) as unknown;
}
