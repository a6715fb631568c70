/** Reading items in order: of their table, or of one of its indexes. */
import type { Transaction } from '../group-commit.ts';
import type { ReadPool } from '../read-pool.ts';

export interface IndexEntry {
  readonly index: string;
  readonly hash: Buffer;
  /** Empty in an index without. */
  readonly range: Buffer;
}

/** Where an item is in the order. In an index, items of equal keys are in the order of their own. */
export interface Position {
  readonly hash: Buffer;
  readonly range: Buffer;
  /** The item's own keys, in an index; left out: before all with these keys. */
  readonly item?: { readonly hash: Buffer; readonly range: Buffer };
}

export interface Page {
  /** null: in the order of the table. */
  readonly index: string | null;
  /** The first that may be in it. */
  readonly from: Position;
  /** The first that is not in it any more; null: to the end. */
  readonly to: Position | null;
  readonly forward: boolean;
  readonly limit: number;
}

export interface ItemRow {
  /** Its own keys, in an index too. */
  readonly hash: Buffer;
  readonly range: Buffer;
  readonly bytes: number;
  readonly body: string;
}

const none = Buffer.alloc(0);

export function readPage(
  queries: Pick<ReadPool, 'all'>,
  tableId: number,
  { index, from, to, forward, limit }: Page,
): Promise<readonly ItemRow[]> {
  const order = forward ? 'ASC' : 'DESC';
  if (index === null) {
    return queries.all<ItemRow>(
      `SELECT hash_key AS hash, range_key AS range, bytes, body FROM item
        WHERE table_id = ? AND (hash_key, range_key) >= (?, ?)
          ${to === null ? '' : 'AND (hash_key, range_key) < (?, ?)'}
        ORDER BY hash_key ${order}, range_key ${order} LIMIT ?`,
      ...[tableId, from.hash, from.range],
      ...(to === null ? [] : [to.hash, to.range]),
      limit,
    );
  }
  const keys = '(entry.hash_key, entry.range_key, item.hash_key, item.range_key)';
  const itemOf = ({ item }: Position): Buffer[] => [item?.hash ?? none, item?.range ?? none];
  return queries.all<ItemRow>(
    `SELECT item.hash_key AS hash, item.range_key AS range, item.bytes, item.body
       FROM item_entry AS entry JOIN item ON item.id = entry.item_id
      WHERE entry.table_id = ? AND entry.index_name = ? AND entry.hash_key >= ?
        AND ${keys} >= (?, ?, ?, ?)
        ${to === null ? '' : `AND entry.hash_key <= ? AND ${keys} < (?, ?, ?, ?)`}
      ORDER BY entry.hash_key ${order}, entry.range_key ${order},
               item.hash_key ${order}, item.range_key ${order} LIMIT ?`,
    ...[tableId, index, from.hash],
    ...[from.hash, from.range, ...itemOf(from)],
    ...(to === null ? [] : [to.hash, to.hash, to.range, ...itemOf(to)]),
    limit,
  );
}

/** The index entries of an item. */
export function entriesOf(
  transaction: Transaction,
  itemId: number,
): Promise<readonly IndexEntry[]> {
  return transaction.all<IndexEntry>(
    `SELECT index_name AS "index", hash_key AS hash, range_key AS range
       FROM item_entry WHERE item_id = ?`,
    itemId,
  );
}
