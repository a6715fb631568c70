import type { Migration } from './migration.ts';

/**
 * Streams, shards and batches; applications with leases, checkpoints and plans.
 *
 * - `stream` and `shard` ids are never used twice (AUTOINCREMENT): leases and sequence numbers
 *   outside refer to them. A deleted stream keeps its row, with `deleted_ms`, until its batches are
 *   gone; its name is free at once.
 * - Hash keys are 32 lowercase hexadecimal digits, so text order is number order.
 * - `shard.trim_*` is where the shard begins: the sequence number, the stored bytes ever appended
 *   before it, and the highest arrival time before it. With no batch left they are also where it
 *   ends, so nothing is ever numbered twice.
 * - `batch` is a rowid table with its BLOB last: measured twice as fast as WITHOUT ROWID, and the
 *   columns before the BLOB are read without touching it. `high_arrival_ms` is the highest arrival
 *   in the batch, `running_arrival_ms` the highest in the shard up to its end, `end_bytes` the
 *   bytes of BLOBs ever appended to the shard up to its end: both only rise, so time and bytes are
 *   found by binary search.
 * - A lease is held by the objects of one tenure: counters from `taken_counter` to `counter`. Its
 *   time runs on the monotonic clock of the process and is not stored.
 */
export const logMigration: Migration = {
  version: 1,
  name: 'log',
  sql: `
    CREATE TABLE stream (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      name TEXT NOT NULL,
      shard_count INTEGER NOT NULL,
      mode TEXT NOT NULL CHECK (mode IN ('on-demand', 'provisioned')),
      retention_ms INTEGER NOT NULL,
      max_bytes INTEGER,
      when_full TEXT NOT NULL CHECK (when_full IN ('refuse', 'drop-oldest')),
      created_ms INTEGER NOT NULL,
      deleted_ms INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX stream_name ON stream (name) WHERE deleted_ms IS NULL;

    CREATE TABLE shard (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      stream_id INTEGER NOT NULL,
      shard_index INTEGER NOT NULL,
      first_hash_key TEXT NOT NULL CHECK (length(first_hash_key) = 32),
      last_hash_key TEXT NOT NULL CHECK (length(last_hash_key) = 32),
      parents TEXT NOT NULL,
      created_ms INTEGER NOT NULL,
      closed_ms INTEGER,
      trim_sequence INTEGER NOT NULL,
      trim_bytes INTEGER NOT NULL,
      trim_arrival_ms INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX shard_position ON shard (stream_id, shard_index);

    CREATE TABLE batch (
      id INTEGER PRIMARY KEY,
      shard_id INTEGER NOT NULL,
      first_sequence INTEGER NOT NULL,
      record_count INTEGER NOT NULL,
      high_arrival_ms INTEGER NOT NULL,
      running_arrival_ms INTEGER NOT NULL,
      end_bytes INTEGER NOT NULL,
      body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX batch_position ON batch (shard_id, first_sequence);

    CREATE TABLE application (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      name TEXT NOT NULL UNIQUE,
      required INTEGER NOT NULL CHECK (required IN (0, 1))
    ) STRICT;

    CREATE TABLE lease (
      application_id INTEGER NOT NULL,
      source_kind TEXT NOT NULL CHECK (source_kind IN ('shard', 'camera')),
      source_id INTEGER NOT NULL,
      owner TEXT,
      counter INTEGER NOT NULL,
      taken_counter INTEGER NOT NULL,
      checkpoint INTEGER NOT NULL,
      PRIMARY KEY (application_id, source_kind, source_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE plan (
      application_id INTEGER NOT NULL,
      source_kind TEXT NOT NULL,
      source_id INTEGER NOT NULL,
      from_position INTEGER NOT NULL,
      to_position INTEGER NOT NULL,
      detail TEXT NOT NULL,
      created_ms INTEGER NOT NULL,
      PRIMARY KEY (application_id, source_kind, source_id)
    ) STRICT, WITHOUT ROWID;
  `,
};
