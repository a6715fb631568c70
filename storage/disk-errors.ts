/** What the file system says, as an error of the storage layer. */
import { StorageError } from './errors.ts';

/**
 * Runs file system work, its errors in the store's words.
 * @throws StorageError `disk-full`, `write-failed`, with the system's own error as its cause
 */
export async function diskErrors<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    throw new StorageError(
      full ? 'disk-full' : 'write-failed',
      `it was not possible to ${what}${code === '' ? '' : ` (${code})`}`,
      { cause: error },
    );
  }
}
