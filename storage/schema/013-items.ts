import type { Migration } from './migration.ts';

/**
 * Small tables of items, for programs that keep their leases in one (`../items/items.ts`).
 *
 * - `item_table.definition` and `item.body` are JSON that is not understood here. `items` and `bytes`
 *   are the sums over the table's items, kept so that limits cost no counting.
 * - Keys are BLOBs that sort as what they were made of does; `range_key` is empty where there is none.
 * - `item_entry` has a row per item and index of its table that the item is in.
 * - Ids are never used twice: the items of a deleted table go in the background.
 */
export const itemsMigration: Migration = {
  version: 13,
  name: 'items',
  sql: `
    CREATE TABLE item_table (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      name TEXT NOT NULL UNIQUE,
      definition TEXT NOT NULL,
      created_ms INTEGER NOT NULL,
      items INTEGER NOT NULL,
      bytes INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE item (
      id INTEGER PRIMARY KEY,
      table_id INTEGER NOT NULL,
      hash_key BLOB NOT NULL,
      range_key BLOB NOT NULL,
      bytes INTEGER NOT NULL,
      body TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX item_key ON item (table_id, hash_key, range_key);

    CREATE TABLE item_entry (
      id INTEGER PRIMARY KEY,
      table_id INTEGER NOT NULL,
      index_name TEXT NOT NULL,
      hash_key BLOB NOT NULL,
      range_key BLOB NOT NULL,
      item_id INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX item_entry_key
      ON item_entry (table_id, index_name, hash_key, range_key, item_id);
    CREATE INDEX item_entry_item ON item_entry (item_id);
  `,
};
