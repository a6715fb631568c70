import type { Migration } from './migration.ts';

/**
 * How long a lease stands after a restart without being renewed, in milliseconds: the duration it
 * was taken or renewed for last. 0: its worker ended with the process, and the first to ask gets it.
 */
export const outlivingLeasesMigration: Migration = {
  version: 9,
  name: 'outliving leases',
  sql: `
    ALTER TABLE lease ADD COLUMN outlives_ms INTEGER NOT NULL DEFAULT 0;
  `,
};
