/** What lies under the names of files, now. */
import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FileKey } from './content.ts';
import { isGone } from './errors.ts';
import { pathsMax } from './glob.ts';
import { isAlike } from './rotation.ts';

/** A file as it was seen under a name. */
export interface Sighting {
  readonly key: FileKey;
  readonly path: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** null: there is nothing, or no file. @throws what the system says */
export async function sight(path: string): Promise<Sighting | null> {
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) return null;
    return {
      path,
      key: `${stats.dev}:${stats.ino}`,
      bytes: Number(stats.size),
      modifiedMs: Number(stats.mtimeMs),
    };
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

/** How often a folder is looked at whose files get other names meanwhile. */
const looksMax = 5;

/** What lies in folders, each of them looked at once. */
export class FolderCache {
  readonly #folders = new Map<string, Promise<ReadonlyMap<FileKey, Sighting>>>();

  /** A file beside the one of this path. */
  async find(path: string, key: FileKey): Promise<Sighting | null> {
    return (await this.#filesBeside(path)).get(key) ?? null;
  }

  /** The files that may be rotated ones of this path. */
  async alike(path: string): Promise<readonly Sighting[]> {
    return [...(await this.#filesBeside(path)).values()].filter((one) => isAlike(one.path, path));
  }

  #filesBeside(path: string): Promise<ReadonlyMap<FileKey, Sighting>> {
    const folder = dirname(path);
    const known = this.#folders.get(folder) ?? lookInto(folder);
    this.#folders.set(folder, known);
    return known;
  }
}

/** Until two looks are the same: a file that is renamed during one may be missed. */
async function lookInto(folder: string): Promise<ReadonlyMap<FileKey, Sighting>> {
  let seen = await lookOnce(folder);
  for (let looks = 1; looks < looksMax; looks += 1) {
    const before = seen;
    seen = await lookOnce(folder);
    const isSame =
      seen.size === before.size &&
      [...seen].every(([key, { path }]) => before.get(key)?.path === path);
    if (isSame) break;
  }
  return seen;
}

/** Nothing where it can't be read. */
async function lookOnce(folder: string): Promise<ReadonlyMap<FileKey, Sighting>> {
  const names = await readdir(folder).catch(() => []);
  const seen = new Map<FileKey, Sighting>();
  for (const name of names.slice(0, pathsMax)) {
    const sighting = await sight(join(folder, name)).catch(() => null);
    if (sighting !== null) seen.set(sighting.key, sighting);
  }
  return seen;
}
