import type { Migration } from './migration.ts';

/**
 * What sources that repeat themselves have delivered and may still repeat (`../received.ts`): a row
 * per source, its own number for the message, and the stream that it went to.
 */
export const receivedMigration: Migration = {
  version: 4,
  name: 'received',
  sql: `
    CREATE TABLE received (
      source TEXT NOT NULL,
      number INTEGER NOT NULL,
      stream_name TEXT NOT NULL,
      digest TEXT NOT NULL,
      received_ms INTEGER NOT NULL,
      PRIMARY KEY (source, number, stream_name)
    ) STRICT, WITHOUT ROWID;
  `,
};
