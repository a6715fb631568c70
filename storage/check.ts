/**
 * Verifies a store without changing it: SQLite's own check, then the log, then footage against its
 * index. It may be one that a crash left behind, or one in use.
 *
 * SQLite alone is not enough: its quick_check passes most files with a flipped byte, so every batch
 * is held against its own checksum. What belongs to the log is checked in `log/check.ts`.
 */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { explainFullDisk } from './disk-errors.ts';
import { StorageError } from './errors.ts';
import type { Finding } from './finding.ts';
import { checkKeys, type MasterKeyAtHand } from './key-check.ts';
import { checkLog } from './log/check.ts';
import { lostDatabase, traceOfStore } from './lost-database.ts';
import { schemaDamage, schemaVersion } from './schema/migrate.ts';
import { migrations } from './schema/migrations.ts';
import { Database } from './sqlite.ts';
import { databaseFileName, mediaFolderName } from './store.ts';
import { checkVideo } from './video/check.ts';

/** Complaints of SQLite that are passed on. */
const complaintsMax = 100;

export interface CheckOptions {
  readonly folder: string;
  /** Where the media files are; `media` in the folder when left out. */
  readonly mediaFolder?: string;
  /**
   * The master key that is configured, to be held against what is encrypted; when left out, nobody
   * asks. Damage is found without it.
   */
  readonly masterKey?: MasterKeyAtHand;
}

/**
 * Yields what is wrong, as it is found; nothing when the store is sound. Not one byte of the
 * database or of its write-ahead log is changed (SQLite may write its `-shm`, which is a cache).
 * @throws StorageError `not-found` when the folder holds no store, `invalid-argument` when its
 *   database is not ours, `version-too-new`, `disk-full` when there is no room to read it
 */
export async function* checkStore(options: CheckOptions): AsyncGenerator<Finding, void> {
  const path = join(options.folder, databaseFileName);
  const mediaFolder = options.mediaFolder ?? join(options.folder, mediaFolderName);
  const lost = await lostDatabase(path, mediaFolder, false);
  if (lost !== null) {
    yield damaged(path, `it is lost: ${lost}`);
    return;
  }
  try {
    await access(path);
  } catch (error) {
    throw new StorageError('not-found', `there is no store in ${options.folder}`, { cause: error });
  }
  const database = await Database.open(path, { readOnly: true });
  try {
    yield* checkDatabase(database);
    yield* checkContents(database, mediaFolder, options.masterKey ?? null);
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'corrupt')) {
      throw await explainFullDisk(error, options.folder);
    }
    yield damaged(path, `the store can't be checked any further: ${error.message}`);
  } finally {
    await database.close();
  }
}

async function* checkContents(
  database: Database,
  mediaFolder: string,
  masterKey: MasterKeyAtHand | null,
): AsyncGenerator<Finding, void> {
  const version = await schemaVersion(database);
  const newest = migrations.at(-1)?.version ?? 0;
  if (version > newest) {
    throw new StorageError('version-too-new', `${database.path} was written by a later release`);
  }
  const trace = version === 0 ? await traceOfStore(mediaFolder, false) : null;
  if (trace !== null) {
    yield damaged(database.path, `it is lost: it has no tables, and ${trace}`);
    return;
  }
  if (version < newest) {
    yield {
      severity: 'warning',
      code: 'schema-outdated',
      where: database.path,
      what: `its tables have version ${version}; this release has ${newest}`,
      advice: 'start the gateway once, which brings them up to date, then check again',
    };
    return;
  }
  const damage = await schemaDamage(database);
  if (damage !== null) {
    yield damaged(database.path, damage);
    return;
  }
  const keys = yield* checkKeys(database, masterKey);
  yield* checkLog(database, keys);
  yield* checkVideo(database, mediaFolder, keys);
}

async function* checkDatabase(database: Database): AsyncGenerator<Finding, void> {
  let complaints: string[];
  try {
    const rows = await database.all<{ quick_check: string }>(
      `PRAGMA quick_check(${complaintsMax})`,
    );
    complaints = rows.map((row) => row.quick_check).filter((text) => text !== 'ok');
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
    complaints = [error.message];
  }
  for (const what of complaints) yield damaged(database.path, what);
}

function damaged(where: string, what: string): Finding {
  return {
    severity: 'error',
    code: 'database-damaged',
    where,
    what,
    advice:
      'the file was damaged on its disk: check the disk; "headgate check --repair" saves what can be read',
  };
}
