/**
 * Objects as files below a folder: the layout a bucket would have, on a local or mounted disk.
 *
 * A file appears under its name only when it is whole: it is written beside it, fsynced, renamed,
 * and the folder fsynced. What a crash leaves behind is `.<name>.part`, which the next attempt at
 * the same key overwrites. A full disk, a read-only one and a missing right are told apart.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, rename, rm, rmdir, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { SinkError, type ObjectSink, type ObjectUpload, type SinkErrorCode } from '../../sink.ts';

export interface FolderSinkOptions {
  /** Made, with its parents, when it is not there. */
  readonly path: string;
}

export function folderSink(options: FolderSinkOptions): ObjectSink {
  const root = resolve(options.path);
  return {
    kind: 'folder',
    description: root,
    put: async (upload, signal) => {
      const file = placeOf(root, upload.key);
      try {
        await makeFolder(dirname(file));
        await writeWhole(file, upload, signal);
      } catch (error) {
        throw asSinkError(error, `could not keep ${upload.key}`);
      }
    },
    close: () => Promise.resolve(),
  };
}

/**
 * Whether objects could be kept in a folder, tried without leaving anything; of one that is not
 * there yet, the nearest above it counts.
 * @returns whether it is there
 * @throws SinkError
 */
export async function tryFolder(path: string): Promise<boolean> {
  const root = resolve(path);
  let folder = root;
  try {
    while (!(await isThere(folder))) folder = dirname(folder);
    await rmdir(await mkdtemp(join(folder, '.headgate-')));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw noFolders(folder);
    throw asSinkError(error, `nothing can be written in ${folder}`);
  }
  return folder === root;
}

async function isThere(folder: string): Promise<boolean> {
  try {
    await stat(folder);
    return true;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || folder === dirname(folder)) throw error;
    return false;
  }
}

/** Keys come from configuration and names; none of them may lead out of the root. */
function placeOf(root: string, key: string): string {
  const parts = key.split('/');
  const bad = parts.some((part) => part === '..' || part === '.' || part.includes('\0'));
  const file = join(root, ...parts);
  if (bad || !file.startsWith(root === sep ? root : root + sep) || key.endsWith('/')) {
    throw new SinkError('rejected', `the key is not a place below the folder: ${key}`);
  }
  return file;
}

async function writeWhole(file: string, upload: ObjectUpload, signal: AbortSignal): Promise<void> {
  const part = join(dirname(file), `.${basename(file)}.part`);
  try {
    const handle = await open(part, 'w');
    try {
      await fill(handle, upload, signal);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(part, file);
  } catch (error) {
    // Frees the space of a disk that ran full; an error here would hide the real one.
    await rm(part, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(file));
}

async function fill(handle: FileHandle, upload: ObjectUpload, signal: AbortSignal): Promise<void> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of upload.read()) {
    if (signal.aborted) throw new SinkError('aborted', 'called off');
    sizeBytes += piece.length;
    hash.update(piece);
    for (let at = 0; at < piece.length;) {
      at += (await handle.write(piece, at)).bytesWritten;
    }
  }
  if (sizeBytes !== upload.sizeBytes || hash.digest('hex') !== upload.sha256) {
    throw new SinkError('unavailable', `the content changed while it was read: ${upload.key}`);
  }
}

/**
 * Makes the folder and its missing parents, durably. Level by level: where a file system answers
 * ENOENT to any `mkdir`, as /proc does, Node's recursive one goes round for ever.
 */
async function makeFolder(folder: string): Promise<void> {
  if (await makeOne(folder)) return;
  await makeFolder(dirname(folder));
  if (!(await makeOne(folder))) throw noFolders(dirname(folder));
}

/** False: the folder above it is missing. */
async function makeOne(folder: string): Promise<boolean> {
  try {
    await mkdir(folder);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return true;
    if (codeOf(error) === 'ENOENT' && folder !== dirname(folder)) return false;
    throw error;
  }
  await syncFolder(dirname(folder));
  return true;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const byErrno: Readonly<Record<string, SinkErrorCode>> = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  EROFS: 'denied',
  EACCES: 'denied',
  EPERM: 'denied',
  EFBIG: 'too-large',
  ENAMETOOLONG: 'rejected',
  ENOTDIR: 'rejected',
  EISDIR: 'rejected',
  EEXIST: 'rejected',
};

const denied = 'Let the user that the gateway runs as write in to.folder.path.';
const full = 'Make room on the disk of to.folder.path; sending resumes by itself.';
const notFolder =
  'A file lies where to.folder.path needs a folder: move it away, or choose another.';

const adviceByErrno: Readonly<Record<string, string>> = {
  ENOSPC: full,
  EDQUOT: full,
  EROFS: 'The disk of to.folder.path is mounted read-only: check it, and mount it writable.',
  EACCES: denied,
  EPERM: denied,
  ENOTDIR: notFolder,
  EEXIST: notFolder,
  EIO: 'The disk of to.folder.path fails: check it, and the system log.',
};

function noFolders(folder: string): SinkError {
  return new SinkError('rejected', `ENOENT: no folder can be made in ${folder}`, {
    advice: 'Choose another to.folder.path.',
  });
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && 'code' in error ? String(error.code) : null;
}

/**
 * Errors of the file system become the sink's own, the reason first; errors of the content pass as
 * they are.
 */
function asSinkError(error: unknown, failed: string): unknown {
  const errno = codeOf(error);
  if (!(error instanceof Error) || errno === null || !('syscall' in error)) return error;
  const code = byErrno[errno] ?? 'unavailable';
  const advice = adviceByErrno[errno] ?? null;
  // `ENOSPC: no space left on device, write`
  const reason = error.message.split(', ', 1)[0] ?? errno;
  return new SinkError(code, `${reason}; ${failed}`, { cause: error, advice });
}
