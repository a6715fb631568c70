/** What the file system says, as an error of the storage layer. */
import { statfs } from 'node:fs/promises';
import { StorageError } from './errors.ts';

/** SQLite says no more than "disk I/O error" where it finds no room for a file beside its own. */
const fullBytes = 64 * 1024;

/**
 * Runs file system work, its errors in the store's words; what has them already passes.
 * @throws StorageError `disk-full`, `write-failed`, with the system's own error as its cause
 */
export async function diskErrors<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StorageError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    throw new StorageError(
      full ? 'disk-full' : 'write-failed',
      `it was not possible to ${what}${code === '' ? '' : ` (${code})`}`,
      { cause: error },
    );
  }
}

/** What to throw for an error of opening a store: plain words where a full disk is the reason. */
export async function explainFullDisk(error: unknown, folder: string): Promise<unknown> {
  const mayBe =
    error instanceof StorageError && (error.code === 'write-failed' || error.code === 'disk-full');
  if (!mayBe) return error;
  const free = await statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => null,
  );
  if (free === null || free >= fullBytes) return error;
  return new StorageError(
    'disk-full',
    `the disk of ${folder} is full, so the store can't be opened: make room on it, then try again`,
    { cause: error },
  );
}
