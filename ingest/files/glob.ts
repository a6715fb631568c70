/**
 * Which files a path of the configuration means: one file, all files of a folder, or a pattern.
 *
 *     *        any part of a name, but no leading dot
 *     ?        one character
 *     [a-z]    one of these; [!a-z] none of these
 *     {a,b}    one of these texts
 *     **       any folders, none too; those that are symbolic links are not gone into
 *
 * Only names are looked at here; whether they are files is seen when they are opened.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dirent } from 'node:fs';
import { codeOf } from './errors.ts';

/** More are not looked at: a pattern as wide as that is a mistake. */
export const pathsMax = 10_000;
const foldersMax = 10_000;

export interface Listing {
  /** Sorted, at most `pathsMax`. */
  readonly paths: readonly string[];
  /** Where further ones would appear. */
  readonly folders: readonly string[];
  /** Some were left out. */
  readonly tooMany: boolean;
  /** Folders that may not be read, and why. */
  readonly unreadable: readonly string[];
}

/** @param pattern absolute */
export async function listPaths(pattern: string): Promise<Listing> {
  const segments = pattern.split('/').filter((segment) => segment !== '');
  const found = new Found();
  if (!segments.some(isWild)) {
    const path = join('/', ...segments);
    const isFolder = await stat(path).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    if (!isFolder) {
      found.folders.add(join('/', ...segments.slice(0, -1)));
      found.add(path);
      return found.listing();
    }
    segments.push('*');
  }
  await walk('/', segments, found);
  return found.listing();
}

/** Whether a name of a path is a pattern. */
function isWild(segment: string): boolean {
  return /[*?[{]/.test(segment);
}

class Found {
  readonly folders = new Set<string>();
  readonly unreadable: string[] = [];
  readonly #paths = new Set<string>();
  #tooMany = false;

  get isFull(): boolean {
    return this.#tooMany;
  }

  add(path: string): void {
    if (this.#paths.size >= pathsMax) this.#tooMany = true;
    else this.#paths.add(path);
  }

  enter(folder: string): boolean {
    if (this.folders.size >= foldersMax) this.#tooMany = true;
    if (this.#tooMany) return false;
    this.folders.add(folder);
    return true;
  }

  listing(): Listing {
    return {
      paths: [...this.#paths].sort(),
      folders: [...this.folders],
      tooMany: this.#tooMany,
      unreadable: this.unreadable,
    };
  }
}

async function walk(folder: string, segments: readonly string[], found: Found): Promise<void> {
  const [segment, ...rest] = segments;
  if (segment === undefined || found.isFull) return;
  if (!isWild(segment)) {
    const path = join(folder, segment);
    if (rest.length > 0) await walk(path, rest, found);
    else found.add(path);
    return;
  }
  const entries = await entriesOf(folder, found);
  if (segment === '**') {
    await walk(folder, rest.length === 0 ? ['*'] : rest, found);
    for (const entry of entries) {
      if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
      await walk(join(folder, entry.name), segments, found);
    }
    return;
  }
  const matches = nameMatcher(segment);
  for (const { name } of entries) {
    if (!matches(name)) continue;
    if (rest.length > 0) await walk(join(folder, name), rest, found);
    else found.add(join(folder, name));
  }
}

async function entriesOf(folder: string, found: Found): Promise<readonly Dirent[]> {
  if (!found.enter(folder)) return [];
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    // A folder that is not there yet is watched for by the one above it, and by time.
    const code = codeOf(error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') found.unreadable.push(`${folder} (${code})`);
    return [];
  }
}

/** Whether names match one segment of a pattern. */
export function nameMatcher(segment: string): (name: string) => boolean {
  let source = '';
  const parts = /\*+|\?|\[(!?)([^\]]+)\]|\{([^{}]*)\}|[^*?]/gsu;
  for (const [text, not, set, choices] of segment.matchAll(parts)) {
    if (text.startsWith('*')) source += '.*';
    else if (text === '?') source += '.';
    else if (set !== undefined) source += `[${not === '!' ? '^' : ''}${escapeSet(set)}]`;
    else if (choices !== undefined) source += `(?:${choices.split(',').map(escape).join('|')})`;
    else source += escape(text);
  }
  const pattern = new RegExp(`^(?:${source})$`, 'su');
  const takesHidden = segment.startsWith('.');
  return (name) => (takesHidden || !name.startsWith('.')) && pattern.test(name);
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

/** The inside of a set: everything but a range's dash stands for itself. */
function escapeSet(text: string): string {
  return text.replace(/[\\^\][]/g, '\\$&');
}
