import type { Migration } from './migration.ts';

/** How far ways in have come with what they read (`../places.ts`): a row per file or the like. */
export const placesMigration: Migration = {
  version: 11,
  name: 'places',
  sql: `
    CREATE TABLE source_place (
      source TEXT NOT NULL,
      key TEXT NOT NULL,
      place TEXT NOT NULL,
      PRIMARY KEY (source, key)
    ) STRICT, WITHOUT ROWID;
  `,
};
