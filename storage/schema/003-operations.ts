import type { Migration } from './migration.ts';

/**
 * What the store knows of its own operation: the clock that it last believed, and what was lost.
 *
 * - `clock_state` has one row, JSON (`clock-guard.ts`).
 * - `loss` has a row per kind of loss and stream or camera (`losses.ts`).
 * - Footage refers to inits: the index finds those that nothing refers to any more.
 */
export const operationsMigration: Migration = {
  version: 3,
  name: 'operations',
  sql: `
    CREATE TABLE clock_state (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      state TEXT NOT NULL
    ) STRICT;

    CREATE TABLE loss (
      kind TEXT NOT NULL,
      subject TEXT NOT NULL,
      count INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      first_ms INTEGER NOT NULL,
      last_ms INTEGER NOT NULL,
      PRIMARY KEY (kind, subject)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX media_file_init ON media_file (init_id);
  `,
};
