/**
 * A consistent copy of a store, taken while it is in use or not.
 *
 * Layout of a backup: `headgate.db`; `media/` as in the store; the small files of the data folder
 * that the caller names; `backup.json`, the manifest, which lists every file with its size and
 * SHA-256.
 *
 * Rules
 * - The database is a snapshot of one instant after the call began (SQLite's VACUUM INTO on a
 *   connection of its own): all that was acknowledged before the call is in it.
 * - Footage is copied after the snapshot, up to what the snapshot says of each file: media files
 *   only grow. What retention deletes in between is taken out of the copied index, and counted. So
 *   the copy's index never speaks of footage that the copy lacks.
 * - Everything is fsynced; the manifest comes last, under its name only when it is whole. A folder
 *   without `backup.json` is a backup that was interrupted.
 * - While the snapshot is made the write-ahead log can't be cut. When it has grown by more than
 *   `walBytesMax` the backup is given up, rather than the disk filled.
 *
 * How a backup becomes a store again: `restore.ts`.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { diskErrors } from './disk-errors.ts';
import { StorageError } from './errors.ts';
import type { Clock } from './ports.ts';
import { Database } from './sqlite.ts';
import { databaseFileName, mediaFolderName } from './store.ts';

export const manifestName = 'backup.json';
const copyBytes = 1024 * 1024;
const walBytesMax = 1024 * 1024 * 1024;
const walLookEveryMs = 1000;
/** Media files looked up at a time. */
const page = 200;

export interface BackupFile {
  /** Relative to the backup, with `/`. */
  readonly path: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export interface BackupManifest {
  readonly format: 1;
  readonly createdMs: number;
  /** Who made it, e.g. the version of the program. */
  readonly madeBy: string;
  readonly logOnly: boolean;
  readonly files: readonly BackupFile[];
}

export interface BackupOptions {
  readonly folder: string;
  readonly mediaFolder: string;
  /** Where the copy goes: a folder that is empty or not there yet. */
  readonly target: string;
  /** Leaves footage out, and its index with it. */
  readonly logOnly: boolean;
  /** Small files of the data folder to take along, relative to it; folders whole. */
  readonly extras: readonly string[];
  /** What of them to leave out. */
  readonly except?: readonly string[];
  readonly madeBy: string;
  readonly clock: Clock;
  /** Told after every file. */
  readonly onProgress?: (progress: BackupProgress) => void;
}

export interface BackupProgress {
  readonly files: number;
  readonly bytes: number;
}

export interface BackupResult extends BackupProgress {
  /** Media files that retention deleted before they were copied; the copy knows nothing of them. */
  readonly goneFiles: number;
}

/**
 * Makes a backup. Does not take the store's lock: the caller holds it, or the store is the caller's.
 * @throws StorageError `already-exists` for a target that is not empty, `not-found` when there is
 *   no store, `disk-full`, `write-failed`, `corrupt`
 */
export function backupStore(options: BackupOptions): Promise<BackupResult> {
  return diskErrors(`make a backup in ${options.target}`, () => copyStore(options));
}

async function copyStore(options: BackupOptions): Promise<BackupResult> {
  const source = join(options.folder, databaseFileName);
  const { size } = await stat(source).catch((error: unknown) => {
    throw new StorageError('not-found', `there is no store in ${options.folder}`, { cause: error });
  });
  // SQLite would delete the write-ahead log beside it.
  if (size === 0) throw new StorageError('corrupt', `${source} is empty`);
  await prepareTarget(options);
  const copy = new Copy(options);
  const snapshot = join(options.target, databaseFileName);
  await takeSnapshot(source, snapshot, options);
  const database = await Database.open(snapshot);
  let goneFiles = 0;
  try {
    if (options.logOnly) await forgetFootage(database);
    else goneFiles = await copyFootage(database, copy, options.mediaFolder);
    // Notes of files to unlink, which the copy does not have; and what sources may still repeat now:
    // once the copy is a store again they have gone on, and use the same numbers for other messages.
    await database.exec('DELETE FROM media_garbage; DELETE FROM received');
  } finally {
    await database.close();
  }
  for (const extra of options.extras) await copyExtra(copy, options, extra);
  await copy.add(databaseFileName);
  await copy.finish();
  return { ...copy.progress, goneFiles };
}

async function prepareTarget({ target, folder, mediaFolder }: BackupOptions): Promise<void> {
  for (const inside of [folder, mediaFolder]) {
    const path = relative(inside, target);
    if (path !== '' && (path.startsWith('..') || path.startsWith('/'))) continue;
    throw new StorageError('invalid-argument', `a backup can't be inside the store (${inside})`);
  }
  await mkdir(target, { recursive: true, mode: 0o700 });
  if ((await readdir(target)).length === 0) return;
  throw new StorageError(
    'already-exists',
    `${target} is not empty: a backup needs an empty folder`,
  );
}

async function takeSnapshot(
  source: string,
  snapshot: string,
  { clock }: BackupOptions,
): Promise<void> {
  const database = await Database.open(source, { readOnly: true });
  const walBytes = async (): Promise<number> =>
    stat(`${source}-wal`).then(
      ({ size }) => size,
      () => 0,
    );
  const before = await walBytes();
  let cancel = (): void => undefined;
  const watch = (): void => {
    cancel = clock.setTimer(walLookEveryMs, () => {
      void walBytes().then((now) => {
        if (now - before > walBytesMax) database.interrupt();
        else watch();
      });
    });
  };
  watch();
  try {
    await database.exec(`VACUUM INTO '${snapshot.replaceAll("'", "''")}'`);
  } finally {
    cancel();
    await database.close();
  }
}

async function forgetFootage(database: Database): Promise<void> {
  // Numbers go on where they were: sqlite_sequence stays.
  await database.exec(
    `BEGIN; DELETE FROM fragment; DELETE FROM media_file; DELETE FROM run; DELETE FROM init;
     DELETE FROM plan WHERE source_kind = 'camera'; COMMIT; PRAGMA incremental_vacuum;`,
  );
}

/** Copies what the snapshot speaks of. Returns how many files were gone already. */
async function copyFootage(database: Database, copy: Copy, mediaFolder: string): Promise<number> {
  let gone = 0;
  for (let from = 0; ;) {
    const files = await database.all<{ id: number; path: string; bytes: number | null }>(
      `SELECT id, path, coalesce(bytes, (
          SELECT file_offset + stored_bytes FROM fragment
          WHERE number BETWEEN media_file.id * 4096 AND media_file.id * 4096 + 4095
          ORDER BY number DESC LIMIT 1)) AS bytes
       FROM media_file WHERE id >= ? ORDER BY id LIMIT ?`,
      ...[from, page],
    );
    const last = files.at(-1);
    if (last === undefined) return gone;
    for (const { id, path, bytes } of files) {
      const name = `${mediaFolderName}/${path}`;
      if (bytes !== null && (await copy.copyFile(join(mediaFolder, path), name, bytes))) continue;
      if (bytes !== null) gone += 1;
      await database.run('DELETE FROM media_file WHERE id = ?', id);
      await database.run(
        'DELETE FROM fragment WHERE number BETWEEN ? AND ?',
        ...[id * 4096, id * 4096 + 4095],
      );
    }
    from = last.id + 1;
  }
}

async function copyExtra(copy: Copy, options: BackupOptions, path: string): Promise<void> {
  if (options.except?.includes(path) === true) return;
  const full = join(options.folder, path);
  const found = await stat(full).catch(() => null);
  if (found === null) return;
  if (!found.isDirectory()) {
    await copy.copyFile(full, path, null);
    return;
  }
  for (const entry of await readdir(full)) await copyExtra(copy, options, `${path}/${entry}`);
}

/** The copy being made: files, their checksums, and in the end the manifest. */
class Copy {
  readonly #options: BackupOptions;
  readonly #files: BackupFile[] = [];
  readonly #folders = new Set<string>();
  #bytes = 0;

  constructor(options: BackupOptions) {
    this.#options = options;
  }

  get progress(): BackupProgress {
    return { files: this.#files.length, bytes: this.#bytes };
  }

  /**
   * Copies a file, or its first `bytes`; answers false when it is not there.
   * @throws StorageError `corrupt` when it is shorter
   */
  async copyFile(from: string, path: string, bytes: number | null): Promise<boolean> {
    const source = await openIfThere(from);
    if (source === null) return false;
    try {
      const to = join(this.#options.target, path);
      await this.#makeFolders(dirname(path));
      const file = await hashInto(source, to, bytes);
      this.#note(path, file);
      return true;
    } finally {
      await source.close();
    }
  }

  /** Takes in a file that is in the target already. */
  async add(path: string): Promise<void> {
    const handle = await open(join(this.#options.target, path), 'r+');
    try {
      this.#note(path, await hashOf(handle));
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async finish(): Promise<void> {
    const { target, clock, madeBy, logOnly } = this.#options;
    for (const folder of [...this.#folders].reverse()) await syncFolder(join(target, folder));
    const manifest: BackupManifest = {
      ...{ format: 1, createdMs: clock.nowMs(), madeBy, logOnly },
      files: this.#files,
    };
    const path = join(target, manifestName);
    await writeWhole(path, JSON.stringify(manifest, null, 1));
    await syncFolder(target);
    await syncFolder(dirname(target));
  }

  async #makeFolders(path: string): Promise<void> {
    if (path === '.' || this.#folders.has(path)) return;
    await this.#makeFolders(dirname(path));
    await mkdir(join(this.#options.target, path), { recursive: true, mode: 0o700 });
    this.#folders.add(path);
  }

  #note(path: string, file: { bytes: number; sha256: string }): void {
    this.#files.push({ path, ...file });
    this.#bytes += file.bytes;
    this.#options.onProgress?.(this.progress);
  }
}

/** Copies the first `bytes`, or all, into a new file; both are read once. @throws `corrupt` */
export async function hashInto(
  source: FileHandle,
  to: string,
  bytes: number | null,
): Promise<{ bytes: number; sha256: string }> {
  const target = await open(to, 'wx', 0o600);
  try {
    const done = await hashOf(source, bytes ?? Infinity, async (part) => {
      // Not write(): it may write less than it is given, and says so quietly.
      await target.appendFile(part);
    });
    if (bytes !== null && done.bytes < bytes) {
      throw new StorageError('corrupt', `${to}: ${done.bytes} bytes, where the index has ${bytes}`);
    }
    await target.sync();
    return done;
  } finally {
    await target.close();
  }
}

export async function hashOf(
  source: FileHandle,
  bytesMax = Infinity,
  take: (part: Buffer) => Promise<void> = () => Promise.resolve(),
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(copyBytes);
  let bytes = 0;
  while (bytes < bytesMax) {
    const length = Math.min(buffer.length, bytesMax - bytes);
    const { bytesRead } = await source.read(buffer, 0, length, bytes);
    if (bytesRead === 0) break;
    const part = buffer.subarray(0, bytesRead);
    hash.update(part);
    await take(part);
    bytes += bytesRead;
  }
  return { bytes, sha256: hash.digest('hex') };
}

export async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

/** Writes a file so that it is there whole or not at all. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}
