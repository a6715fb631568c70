import type { Migration } from './migration.ts';

/**
 * Where an application began with a source. Applications that share a source between them (the
 * lanes of a delivery) tell by it where the one's part ends and the other's begins.
 */
export const lanesMigration: Migration = {
  version: 5,
  name: 'lanes',
  sql: `
    ALTER TABLE lease ADD COLUMN start_position INTEGER NOT NULL DEFAULT 0;
  `,
};
