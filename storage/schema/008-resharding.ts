import type { Migration } from './migration.ts';

/**
 * What resharding and the API keep of a stream.
 *
 * - `next_shard_index`: the index of the next shard; none is used twice, also after shards that
 *   expired have lost their rows.
 * - `first_shard_id`: the id of shard 0. Those that the stream began with follow each other.
 * - `shard_birth` repeats what a reshard wrote into `shard`, on other pages: if a row there is
 *   damaged, the shard can be made again (`../log/lost-shards.ts`). It goes with the shard.
 * - `stream_attribute`: small facts under a key, JSON (`../log/attributes.ts`).
 */
export const reshardingMigration: Migration = {
  version: 8,
  name: 'resharding',
  sql: `
    ALTER TABLE stream ADD COLUMN next_shard_index INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE stream ADD COLUMN first_shard_id INTEGER;
    UPDATE stream SET next_shard_index = shard_count,
      first_shard_id = (SELECT min(id - shard_index) FROM shard WHERE stream_id = stream.id);

    CREATE TABLE shard_birth (
      shard_id INTEGER PRIMARY KEY,
      stream_id INTEGER NOT NULL,
      shard_index INTEGER NOT NULL,
      first_hash_key TEXT NOT NULL,
      last_hash_key TEXT NOT NULL,
      parents TEXT NOT NULL,
      created_ms INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE stream_attribute (
      stream_id INTEGER NOT NULL,
      key TEXT NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (stream_id, key)
    ) STRICT, WITHOUT ROWID;
  `,
};
