import type { Migration } from './migration.ts';

/**
 * When a camera was made, and small facts that belong to it: JSON under a key
 * (`../video/attributes.ts`). A camera from before is as old as its first run.
 */
export const cameraFactsMigration: Migration = {
  version: 15,
  name: 'camera facts',
  sql: `
    ALTER TABLE camera ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE camera SET created_ms =
      coalesce((SELECT min(start_us) / 1000 FROM run WHERE camera_id = camera.id), 0);

    CREATE TABLE camera_attribute (
      camera_id INTEGER NOT NULL,
      key TEXT NOT NULL,
      value TEXT NOT NULL CHECK (json_valid(value)),
      PRIMARY KEY (camera_id, key)
    ) STRICT, WITHOUT ROWID;
  `,
};
