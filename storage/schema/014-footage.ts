import type { Migration } from './migration.ts';

/**
 * What a camera keeps, how, and what is noted of it.
 *
 * - `camera.encryption`: of what is recorded from now on; each chunk says how it is itself
 *   (`../video/encrypted-chunk.ts`).
 * - `camera.record`, `pre_roll_ms`, `post_roll_ms`: what of it is kept, and how much around an event.
 * - `fragment.tags`: names and texts, as JSON; NULL: none.
 * - `media_place`: the id of the media folder, which it holds as well (`../video/media-disk.ts`).
 * - `video_event`: what happened when; one with `hold` keeps its footage from being deleted.
 */
export const footageMigration: Migration = {
  version: 14,
  name: 'footage',
  sql: `
    ALTER TABLE camera ADD COLUMN encryption TEXT NOT NULL DEFAULT 'none'
      CHECK (encryption IN ('none', 'aes-256-gcm'));
    ALTER TABLE camera ADD COLUMN record TEXT NOT NULL DEFAULT 'continuous'
      CHECK (record IN ('continuous', 'events', 'off'));
    ALTER TABLE camera ADD COLUMN pre_roll_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE camera ADD COLUMN post_roll_ms INTEGER NOT NULL DEFAULT 0;

    ALTER TABLE fragment ADD COLUMN tags TEXT;

    CREATE TABLE media_place (
      id TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE video_event (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      camera_id INTEGER NOT NULL,
      kind TEXT NOT NULL,
      start_us INTEGER NOT NULL,
      end_us INTEGER NOT NULL,
      data TEXT,
      hold INTEGER NOT NULL,
      created_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX video_event_time ON video_event (camera_id, start_us);
    CREATE INDEX video_event_hold ON video_event (camera_id, start_us) WHERE hold = 1;
  `,
};
