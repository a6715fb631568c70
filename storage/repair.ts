/**
 * Mends a store that `check.ts` complains of, so that a second check is clean and all that is whole
 * is served. Nothing is thrown away: what is taken out of the store is in `damaged/<time>/` of the
 * data folder, and a database file with damaged pages stays beside the new one.
 *
 * The caller holds the store's lock; nobody has the database open. What is done to the log is
 * written in `log/repair.ts`, to footage in `video/repair/repair.ts`, to the file itself in
 * `salvage.ts`.
 */
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { diskErrors } from './disk-errors.ts';
import { dropReserve } from './disk-reserve.ts';
import { StorageError } from './errors.ts';
import { repairLog } from './log/repair.ts';
import { lostDatabase } from './lost-database.ts';
import { finishSalvage, salvageDatabase } from './salvage.ts';
import { migrate, schemaDamage, schemaVersion } from './schema/migrate.ts';
import { migrations } from './schema/migrations.ts';
import { Database } from './sqlite.ts';
import { databaseFileName } from './store.ts';
import { repairVideo } from './video/repair/repair.ts';

export interface RepairOptions {
  readonly folder: string;
  readonly mediaFolder: string;
  readonly nowMs: number;
}

/**
 * Yields what it does, a sentence each, as it does it. Killed at any moment, it can be begun again.
 * @throws StorageError `disk-full`, `write-failed`; `invalid-argument` for a database that is not
 *   ours, or footage that is out of reach
 */
export async function* repairStore(options: RepairOptions): AsyncGenerator<string, void> {
  const path = join(options.folder, databaseFileName);
  // A repair takes room. The gateway makes the reserve again.
  await dropReserve(options.folder);
  if (await finishSalvage(path, options.nowMs)) {
    yield `${path} was made anew by a repair that was interrupted: the new file has its place now`;
  }
  let camerasLost = false;
  const lost = await lostDatabase(path, options.mediaFolder, true);
  if (lost !== null || !(await isWhole(path))) {
    const { rows, gaps, keptAs } = await salvageDatabase(path, options.nowMs);
    const copied = Object.values(rows).reduce((sum, count) => sum + count, 0);
    const old = keptAs === null ? '' : `, the old one is ${keptAs}`;
    yield `${path} ${lost === null ? 'has damaged pages' : `is lost (${lost})`}: ${copied} rows were copied into a new file${old}`;
    camerasLost = rows['camera'] === undefined || gaps.some((gap) => gap.startsWith('camera:'));
    for (const gap of gaps) yield `lost with its pages: ${gap}`;
  }
  const database = await Database.open(path);
  const damageFolder = join(options.folder, 'damaged', String(options.nowMs));
  try {
    await migrate(database);
    const mending = {
      database,
      nowMs: options.nowMs,
      setAside: (name: string, bytes: Buffer) =>
        diskErrors('set aside what is damaged', () => setAside(damageFolder, name, bytes)),
    };
    yield* repairLog(mending);
    yield* repairVideo({ ...mending, mediaFolder: options.mediaFolder, damageFolder, camerasLost });
    await database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } finally {
    await database.close();
  }
}

async function isWhole(path: string): Promise<boolean> {
  let database: Database | null = null;
  try {
    database = await Database.open(path);
    const rows = await database.all<{ integrity_check: string }>('PRAGMA integrity_check(1)');
    if (!rows.every((row) => row.integrity_check === 'ok')) return false;
    const version = await schemaVersion(database);
    if (version === 0) return false;
    return version !== migrations.at(-1)?.version || (await schemaDamage(database)) === null;
  } catch (error) {
    if (error instanceof StorageError && error.code === 'corrupt') return false;
    throw error;
  } finally {
    await database?.close();
  }
}

/** Keeps bytes in a file of their own, on disk before they leave the store. */
async function setAside(folder: string, name: string, bytes: Buffer): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, name);
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  return path;
}
