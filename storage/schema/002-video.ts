import type { Migration } from './migration.ts';

/**
 * Cameras, runs, inits, media files and fragments.
 *
 * - A fragment's number is its media file's id times 4096 plus its position in that file. So the
 *   fragments of a file lie side by side, one needs neither a camera nor a file column, and the
 *   table no second index: looking up by time goes through `media_file_time`, then through at most
 *   a few dozen rows. Measured: 180 KB per camera-hour at a fragment per 2 s.
 * - What repeats is stored relative to something: a fragment's start to its file's, its producer
 *   and server times to its own start. `chunks` is the table of its chunks (`chunk-table.ts`).
 * - `end_us` and `bytes` of a media file are NULL while it is being written; its fragments' rows
 *   say how far it got.
 * - Media file ids are never used twice (AUTOINCREMENT): checkpoints and fragment numbers outside
 *   refer to them. So are camera ids, which name folders.
 * - `media_garbage` holds files whose rows are gone and which are not unlinked yet.
 */
export const videoMigration: Migration = {
  version: 2,
  name: 'video',
  sql: `
    CREATE TABLE camera (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      name TEXT NOT NULL UNIQUE,
      retention_ms INTEGER,
      max_bytes INTEGER,
      events TEXT
    ) STRICT;

    CREATE TABLE init (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      hash TEXT NOT NULL UNIQUE,
      tracks TEXT NOT NULL,
      bytes BLOB NOT NULL
    ) STRICT;

    CREATE TABLE run (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      camera_id INTEGER NOT NULL,
      start_us INTEGER NOT NULL,
      end_us INTEGER,
      end_reason TEXT
    ) STRICT;
    CREATE INDEX run_time ON run (camera_id, start_us);
    CREATE INDEX run_open ON run (id) WHERE end_us IS NULL;

    CREATE TABLE media_file (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      camera_id INTEGER NOT NULL,
      run_id INTEGER NOT NULL,
      init_id INTEGER NOT NULL,
      start_us INTEGER NOT NULL,
      end_us INTEGER,
      bytes INTEGER,
      path TEXT NOT NULL
    ) STRICT;
    CREATE INDEX media_file_time ON media_file (camera_id, start_us);
    CREATE INDEX media_file_order ON media_file (camera_id, id);
    CREATE INDEX media_file_open ON media_file (id) WHERE end_us IS NULL;

    CREATE TABLE fragment (
      number INTEGER PRIMARY KEY,
      start_offset_us INTEGER NOT NULL,
      duration_us INTEGER NOT NULL,
      producer_offset_ms INTEGER,
      server_offset_ms INTEGER NOT NULL,
      decode_time INTEGER NOT NULL,
      file_offset INTEGER NOT NULL,
      stored_bytes INTEGER NOT NULL,
      plain_bytes INTEGER NOT NULL,
      damaged INTEGER NOT NULL,
      activity INTEGER NOT NULL,
      chunks BLOB NOT NULL
    ) STRICT;

    CREATE TABLE media_garbage (
      id INTEGER PRIMARY KEY,
      path TEXT NOT NULL
    ) STRICT;
  `,
};
