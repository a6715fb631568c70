import type { Migration } from './migration.ts';

/**
 * The keys that records and footage are encrypted with, each wrapped by a master key that is not
 * here (`../keys.ts`).
 *
 * - `scope` is what has a key of its own, such as `stream/12`; the one with the highest id is in
 *   use, the others are for what was sealed with them.
 * - `uses` counts ahead: a key was used at most that often.
 * - `checksum` tells a row that a damaged page made another of (`../key-table.ts`).
 * - `data_key_copy` repeats the rows on other pages: without its key a stream is lost.
 * - Ids are never used twice (AUTOINCREMENT): what is sealed names its key.
 */
export const dataKeysMigration: Migration = {
  version: 10,
  name: 'data keys',
  sql: `
    CREATE TABLE data_key (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      scope TEXT NOT NULL,
      master_key_id TEXT NOT NULL,
      wrapped BLOB NOT NULL,
      created_ms INTEGER NOT NULL,
      uses INTEGER NOT NULL,
      checksum INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX data_key_scope ON data_key (scope);

    CREATE TABLE data_key_copy (
      id INTEGER PRIMARY KEY,
      scope TEXT NOT NULL,
      master_key_id TEXT NOT NULL,
      wrapped BLOB NOT NULL,
      created_ms INTEGER NOT NULL,
      checksum INTEGER NOT NULL
    ) STRICT;
  `,
};
