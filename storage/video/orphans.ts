/** Files in the media folder that the index does not know, for `check` and `repair`. */
import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { StorageError } from '../errors.ts';
import type { Database } from '../sqlite.ts';
import { mediaIdFile } from './media-disk.ts';

export interface Orphan {
  /** Below the media folder. */
  readonly path: string;
  /** By its name; null: it says none. */
  readonly id: number | null;
  /** Another file has that number. */
  readonly isTaken: boolean;
}

export interface OrphansOptions {
  readonly queries: Pick<Database, 'get'>;
  readonly mediaFolder: string;
  /** What becomes of a folder that can't be read. */
  readonly unreadable: 'refused' | 'passed-over';
}

/**
 * A file's name holds its number, so each is looked up by itself and no list is held.
 * @throws StorageError `corrupt` for a folder that is refused
 */
export async function* orphans(
  options: OrphansOptions,
  folder: string = options.mediaFolder,
): AsyncGenerator<Orphan, void> {
  const { queries, mediaFolder } = options;
  for (const entry of await entriesOf(folder, options)) {
    const full = join(folder, entry.name);
    if (entry.isDirectory()) {
      yield* orphans(options, full);
      continue;
    }
    const path = relative(mediaFolder, full);
    if (path === mediaIdFile) continue;
    const digits = /\.(\d{1,15})\.mp4$/.exec(entry.name)?.[1];
    const id = digits === undefined ? null : Number(digits);
    const known = await queries.get<{ path: string }>(
      `SELECT path FROM media_file WHERE id = ?1
       UNION ALL SELECT path FROM media_garbage WHERE id = ?1`,
      id,
    );
    if (known?.path !== path) yield { path, id, isTaken: known !== undefined };
  }
}

async function entriesOf(
  folder: string,
  { unreadable }: OrphansOptions,
): Promise<readonly Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (unreadable === 'passed-over') return [];
    // Retention may have taken the folder of a day away, and a new store has none at all.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw new StorageError('corrupt', `${folder} can't be read`, { cause: error });
  }
}
