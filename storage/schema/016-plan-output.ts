import type { Migration } from './migration.ts';

/**
 * What a plan was made into, where making it again may give something else (`../log/plan-output.ts`).
 *
 * - `plan_output`: its bytes, cut into pieces from 0 on. `key_id`: the data key that `body` is sealed
 *   with; 0: none. `checksum`: CRC-32 of `body` as it lies here.
 *   They go with their plan, whatever deletes it.
 * - `plan.output_pieces`: how many of them there are; NULL: not all yet, so none counts.
 * - `plan.appended_to`: below it, what the plan has to append elsewhere is appended.
 */
export const planOutputMigration: Migration = {
  version: 16,
  name: 'plan output',
  sql: `
    ALTER TABLE plan ADD COLUMN output_pieces INTEGER;
    ALTER TABLE plan ADD COLUMN appended_to INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE plan_output (
      id INTEGER PRIMARY KEY,
      application_id INTEGER NOT NULL,
      source_kind TEXT NOT NULL,
      source_id INTEGER NOT NULL,
      piece INTEGER NOT NULL,
      key_id INTEGER NOT NULL,
      checksum INTEGER NOT NULL,
      body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX plan_output_position
      ON plan_output (application_id, source_kind, source_id, piece);
    CREATE TRIGGER plan_gone AFTER DELETE ON plan BEGIN
      DELETE FROM plan_output WHERE application_id = OLD.application_id
        AND source_kind = OLD.source_kind AND source_id = OLD.source_id;
    END;
  `,
};
