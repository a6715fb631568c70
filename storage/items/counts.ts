/** How much there is of items, and how much there may be: this is for leases, not for data. */
import { StorageError } from '../errors.ts';
import type { Transaction } from '../group-commit.ts';
import type { Database } from '../sqlite.ts';

export const itemLimits = {
  tables: 64,
  /** Of all tables together. */
  items: 100_000,
  /** Of all items together. */
  bytes: 256 * 2 ** 20,
} as const;

/** Adds to what a table holds. @throws StorageError `stream-full` past the limits of all tables */
export async function addCounts(
  transaction: Transaction,
  tableId: number,
  items: number,
  bytes: number,
): Promise<void> {
  if (items === 0 && bytes === 0) return;
  await transaction.run(
    'UPDATE item_table SET items = items + ?, bytes = bytes + ? WHERE id = ?',
    ...[items, bytes, tableId],
  );
  if (items <= 0 && bytes <= 0) return;
  const sums = await transaction.get<{ items: number; bytes: number }>(
    'SELECT sum(items) AS items, sum(bytes) AS bytes FROM item_table',
  );
  if (items > 0 && (sums?.items ?? 0) > itemLimits.items) {
    throw new StorageError('stream-full', `there may be ${itemLimits.items} items in all tables`);
  }
  if (bytes > 0 && (sums?.bytes ?? 0) > itemLimits.bytes) {
    throw new StorageError('stream-full', `all items may have ${itemLimits.bytes} bytes`);
  }
}

/** Counts anew, where items may have been lost. */
export async function recountItems(database: Database): Promise<void> {
  await database.run(
    `UPDATE item_table SET
       items = (SELECT count(*) FROM item WHERE table_id = item_table.id),
       bytes = (SELECT coalesce(sum(bytes), 0) FROM item WHERE table_id = item_table.id)`,
  );
}
