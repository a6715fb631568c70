import type { Migration } from './migration.ts';

/** How the batches of a stream are compressed from now on; each batch says how it is itself. */
export const compressionMigration: Migration = {
  version: 7,
  name: 'compression',
  sql: `
    ALTER TABLE stream ADD COLUMN compression TEXT NOT NULL DEFAULT 'none'
      CHECK (compression IN ('none', 'deflate'));
  `,
};
