/**
 * Mends a store that `check.ts` complains of, so that a second check is clean and all that is whole
 * is served. Nothing is thrown away: what is taken out of the store is in `damaged/<time>/` of the
 * data folder, and a database file with damaged pages stays beside the new one.
 *
 * The caller holds the store's lock; nobody has the database open. What is done to the log is
 * written in `log/repair.ts`, to footage in `video/repair.ts`, to the file itself in `salvage.ts`.
 */
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from './errors.ts';
import { repairLog } from './log/repair.ts';
import { salvageDatabase } from './salvage.ts';
import { migrate, schemaDamage, schemaVersion } from './schema/migrate.ts';
import { migrations } from './schema/migrations.ts';
import { Database } from './sqlite.ts';
import { databaseFileName } from './store.ts';
import { repairVideo } from './video/repair.ts';

export interface RepairOptions {
  readonly folder: string;
  readonly mediaFolder: string;
  readonly nowMs: number;
}

/**
 * Yields what it does, a sentence each, as it does it.
 * @throws StorageError `corrupt` when nothing of the database can be read
 */
export async function* repairStore(options: RepairOptions): AsyncGenerator<string, void> {
  const path = join(options.folder, databaseFileName);
  if (!(await isWhole(path))) {
    const { rows, gaps, keptAs } = await salvageDatabase(path, options.nowMs);
    const copied = Object.values(rows).reduce((sum, count) => sum + count, 0);
    yield `${path} has damaged pages: ${copied} rows were copied into a new file, the old one is ${keptAs}`;
    for (const gap of gaps) yield `lost with its pages: ${gap}`;
  }
  const database = await Database.open(path);
  const damageFolder = join(options.folder, 'damaged', String(options.nowMs));
  try {
    await migrate(database);
    const mending = {
      database,
      nowMs: options.nowMs,
      setAside: (name: string, bytes: Buffer) => setAside(damageFolder, name, bytes),
    };
    yield* repairLog(mending);
    yield* repairVideo({ ...mending, mediaFolder: options.mediaFolder, damageFolder });
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
    const isNewest = (await schemaVersion(database)) === migrations.at(-1)?.version;
    return !isNewest || (await schemaDamage(database)) === null;
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
