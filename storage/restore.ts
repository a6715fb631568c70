/**
 * Makes a store of a backup (`backup.ts`): verifies every file against the manifest while copying
 * it, footage first and the database last, under its name only when all else is there. So a folder
 * in which a restore was interrupted holds no store, and says so itself by `restore-incomplete`.
 *
 * Whoever restores holds what comes out against itself with `check.ts`.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import {
  type BackupManifest,
  hashInto,
  manifestName,
  openIfThere,
  syncFolder,
  writeWhole,
} from './backup.ts';
import { diskErrors } from './disk-errors.ts';
import { StorageError } from './errors.ts';
import { databaseFileName, mediaFolderName } from './store.ts';

const incompleteName = 'restore-incomplete';
/** 100 bytes a file: half a million media files are a year of one camera. */
const manifestBytesMax = 512 * 1024 * 1024;

export interface RestoreOptions {
  /** The backup. */
  readonly source: string;
  /** The data folder: empty, or not there yet. */
  readonly folder: string;
  /** Where the media files go: empty, or not there yet. */
  readonly mediaFolder: string;
}

export interface RestoreResult {
  readonly manifest: BackupManifest;
  readonly bytes: number;
}

/**
 * @throws StorageError `not-found` for a folder that holds no whole backup, `corrupt` for a file
 *   that is not what the manifest says, `already-exists` for a data folder that is not empty;
 *   `disk-full`, `write-failed`
 */
export function restoreStore(options: RestoreOptions): Promise<RestoreResult> {
  return diskErrors(`restore into ${options.folder}`, () => copyBack(options));
}

async function copyBack(options: RestoreOptions): Promise<RestoreResult> {
  const manifest = await readManifest(options.source);
  await claim(options.folder);
  await claim(options.mediaFolder);
  const marker = join(options.folder, incompleteName);
  await writeWhole(marker, 'A restore was begun here and not finished. Empty the folder.\n');
  const folders = new Set([options.folder, options.mediaFolder]);
  let bytes = 0;
  const databaseLast = [...manifest.files].sort(
    (a, b) => Number(a.path === databaseFileName) - Number(b.path === databaseFileName),
  );
  for (const file of databaseLast) {
    const to = placeOf(file.path, options);
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    folders.add(dirname(to));
    const source = await openIfThere(join(options.source, file.path));
    if (source === null) throw damaged(options.source, file.path, 'is missing');
    const isDatabase = file.path === databaseFileName;
    const copied = await hashInto(source, isDatabase ? `${to}.new` : to, null).finally(() =>
      source.close(),
    );
    if (copied.bytes !== file.bytes || copied.sha256 !== file.sha256) {
      throw damaged(options.source, file.path, 'is not what it was when the backup was made');
    }
    bytes += copied.bytes;
  }
  for (const folder of folders) await syncFolder(folder);
  const database = join(options.folder, databaseFileName);
  await rename(`${database}.new`, database);
  await rm(marker);
  await syncFolder(options.folder);
  return { manifest, bytes };
}

async function readManifest(source: string): Promise<BackupManifest> {
  const path = join(source, manifestName);
  const handle = await open(path, 'r').catch((error: unknown) => {
    const message = `${source} holds no whole backup: ${manifestName} is missing, so it is none, or it was interrupted`;
    throw new StorageError('not-found', message, { cause: error });
  });
  try {
    const { size } = await handle.stat();
    if (size > manifestBytesMax) throw damaged(source, manifestName, 'is too large');
  } finally {
    await handle.close();
  }
  try {
    const manifest = JSON.parse(await readFile(path, 'utf8')) as BackupManifest;
    if ((manifest.format as number) !== 1 || !manifest.files.every(isSound))
      throw new Error('not its format');
    if (!manifest.files.some((file) => file.path === databaseFileName)) throw new Error('no store');
    return manifest;
  } catch (cause) {
    throw new StorageError('corrupt', `${path} is damaged`, { cause });
  }
}

/** No path may lead out of the folder. */
function isSound({ path, bytes, sha256 }: BackupManifest['files'][number]): boolean {
  return (
    typeof path === 'string' &&
    path.length > 0 &&
    !isAbsolute(path) &&
    normalize(path) === path &&
    !path.startsWith('..') &&
    Number.isSafeInteger(bytes) &&
    typeof sha256 === 'string'
  );
}

/** Makes the folder; refuses one that holds anything. */
async function claim(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if ((await readdir(folder)).length === 0) return;
  throw new StorageError('already-exists', `${folder} is not empty: a restore needs an empty one`);
}

function placeOf(path: string, { folder, mediaFolder }: RestoreOptions): string {
  const inMedia = `${mediaFolderName}/`;
  return path.startsWith(inMedia)
    ? join(mediaFolder, path.slice(inMedia.length))
    : join(folder, path);
}

function damaged(source: string, path: string, what: string): StorageError {
  return new StorageError('corrupt', `${join(source, path)} ${what}: the backup is damaged`);
}
