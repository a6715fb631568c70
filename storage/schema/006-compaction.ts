import type { Migration } from './migration.ts';

/**
 * What compaction keeps of a shard.
 *
 * - `saved_bytes`: `end_bytes` goes on counting what was appended, so that it only rises; a shard
 *   takes up that less than `trim_bytes` and less than this.
 * - `compacted_sequence`: everything before it has been looked at.
 */
export const compactionMigration: Migration = {
  version: 6,
  name: 'compaction',
  sql: `
    ALTER TABLE shard ADD COLUMN saved_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE shard ADD COLUMN compacted_sequence INTEGER NOT NULL DEFAULT 0;
  `,
};
