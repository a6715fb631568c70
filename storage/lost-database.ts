/**
 * Tells a database that was lost from one that was not made yet. SQLite makes a new one of a file
 * that is missing or empty without a word, and deletes the write-ahead log beside it: so this is
 * asked before the file is opened.
 */
import { readdir, stat } from 'node:fs/promises';
import { repairedPath } from './salvage.ts';

/** As `video/open-file.ts` names the folders of cameras. */
const cameraFolder = /^.+\.\d{1,12}$/;

/**
 * Why the database at `path` can't be one that was not made yet, in words; null when it is there,
 * or may be new.
 * @param wasMade whether the store was ever opened with a database in it, as its lock remembers
 */
export async function lostDatabase(
  path: string,
  mediaFolder: string,
  wasMade: boolean,
): Promise<string | null> {
  if (await isFile(repairedPath(path))) return 'a repair was interrupted while it was exchanged';
  const found = await stat(path).catch(() => null);
  if (found !== null && !found.isFile()) return 'it is not a file';
  if (found !== null && found.size > 0) return null;
  const state = found === null ? 'it is gone' : 'it is empty';
  if (await isFile(`${path}-wal`)) return `${state}, and its write-ahead log is there`;
  const trace = await traceOfStore(mediaFolder, wasMade);
  return trace === null ? null : `${state}, and ${trace}`;
}

/** For a database without tables: what says that it had some, in words; null when nothing does. */
export async function traceOfStore(mediaFolder: string, wasMade: boolean): Promise<string | null> {
  if (wasMade) return 'there was one';
  const entries = await readdir(mediaFolder, { withFileTypes: true }).catch(() => []);
  const hasFootage = entries.some((entry) => entry.isDirectory() && cameraFolder.test(entry.name));
  return hasFootage ? 'there is footage' : null;
}

/** A file with something in it. */
async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() === true && found.size > 0;
}
