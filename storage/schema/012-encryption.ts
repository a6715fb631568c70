import type { Migration } from './migration.ts';

/**
 * How the batches of a stream are encrypted from now on; each batch says how it is itself.
 *
 * - `stream.sealing_key_id`: the data key that older batches are being sealed with, or all are; 0:
 *   none. When another one is in use, it is their turn again (`../log/sealing.ts`).
 * - `shard.reseal_from`, `reseal_to`: the sequence numbers whose batches are still to be looked at
 *   for it. Both the same: that is done, but the write-ahead log may hold what they were. Both 0: done.
 */
export const encryptionMigration: Migration = {
  version: 12,
  name: 'encryption',
  sql: `
    ALTER TABLE stream ADD COLUMN encryption TEXT NOT NULL DEFAULT 'none'
      CHECK (encryption IN ('none', 'aes-256-gcm'));
    ALTER TABLE stream ADD COLUMN sealing_key_id INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE shard ADD COLUMN reseal_from INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE shard ADD COLUMN reseal_to INTEGER NOT NULL DEFAULT 0;
  `,
};
