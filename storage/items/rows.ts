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
  /** With the item that goes past so many bytes it ends. */
  readonly bytes: number;
}

export interface ItemRow {
  /** Its own keys, in an index too. */
  readonly hash: Buffer;
  readonly range: Buffer;
  readonly bytes: number;
  readonly body: string;
}

const none = Buffer.alloc(0);

/** Sizes come first: what is large is read only as far as it fits. */
export async function readPage(
  queries: Pick<ReadPool, 'all'>,
  tableId: number,
  page: Page,
): Promise<readonly ItemRow[]> {
  const { source, params } = page.index === null ? ofTable(tableId, page) : ofIndex(tableId, page);
  const sizes = await queries.all<{ bytes: number }>(
    `SELECT item.bytes ${source}`,
    ...[...params, page.limit],
  );
  let count = 0;
  for (let bytes = 0; count < sizes.length && bytes < page.bytes; count += 1) {
    bytes += sizes[count]?.bytes ?? 0;
  }
  if (count === 0) return [];
  return queries.all<ItemRow>(
    `SELECT item.hash_key AS hash, item.range_key AS range, item.bytes, item.body ${source}`,
    ...[...params, count],
  );
}

interface Source {
  /** Ends with a limit that is not in `params`. */
  readonly source: string;
  readonly params: readonly (Buffer | string | number)[];
}

function ofTable(tableId: number, { from, to, forward }: Page): Source {
  const order = forward ? 'ASC' : 'DESC';
  const source = `FROM item WHERE table_id = ? AND (hash_key, range_key) >= (?, ?)
      ${to === null ? '' : 'AND (hash_key, range_key) < (?, ?)'}
    ORDER BY hash_key ${order}, range_key ${order} LIMIT ?`;
  const end = to === null ? [] : [to.hash, to.range];
  return { source, params: [tableId, from.hash, from.range, ...end] };
}

function ofIndex(tableId: number, { index, from, to, forward }: Page): Source {
  const order = forward ? 'ASC' : 'DESC';
  const keys = '(entry.hash_key, entry.range_key, item.hash_key, item.range_key)';
  const itemOf = ({ item }: Position): Buffer[] => [item?.hash ?? none, item?.range ?? none];
  const source = `FROM item_entry AS entry JOIN item ON item.id = entry.item_id
    WHERE entry.table_id = ? AND entry.index_name = ? AND entry.hash_key >= ?
      AND ${keys} >= (?, ?, ?, ?)
      ${to === null ? '' : `AND entry.hash_key <= ? AND ${keys} < (?, ?, ?, ?)`}
    ORDER BY entry.hash_key ${order}, entry.range_key ${order},
             item.hash_key ${order}, item.range_key ${order} LIMIT ?`;
  const end = to === null ? [] : [to.hash, to.hash, to.range, ...itemOf(to)];
  const start = [from.hash, from.hash, from.range, ...itemOf(from)];
  return { source, params: [tableId, index ?? '', ...start, ...end] };
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
