/**
 * Tells when one of a few files may have changed: written in place, replaced by renaming as
 * editors do, or led elsewhere by a symbolic link as Kubernetes does. What it says is a hint:
 * whether the content really differs is for the reader to find out (gateway/reload.ts).
 *
 * Folders are watched, not files: a watch on a file dies with it when it is replaced. Several
 * changes in a row are told of once, when nothing has happened for `quietMs`, since an editor
 * writes in several steps. A folder that can't be watched is logged, and SIGHUP is left.
 */
import { realpathSync, watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { CancelTimer, Clock, Logger } from '../../storage/ports.ts';

export const quietMs = 250;

export interface FileWatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly changed: () => void;
}

export class FileWatch {
  readonly #options: FileWatchOptions;
  #paths: readonly string[] = [];
  #watchers: readonly FSWatcher[] = [];
  /** Folders of which it was said that they can't be watched. */
  readonly #unwatchable = new Set<string>();
  #cancel: CancelTimer = () => undefined;
  #closed = false;

  constructor(options: FileWatchOptions) {
    this.#options = options;
  }

  /** Watches these files, and no others any more. @param paths absolute */
  follow(paths: readonly string[]): void {
    if (this.#closed) return;
    for (const watcher of this.#watchers) watcher.close();
    this.#paths = paths;
    const watchers: FSWatcher[] = [];
    for (const [folder, names] of foldersOf(paths)) {
      const watcher = this.#watch(folder, names);
      if (watcher !== null) watchers.push(watcher);
    }
    this.#watchers = watchers;
  }

  /** Twice is harmless. */
  close(): void {
    this.#closed = true;
    this.#cancel();
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }

  #watch(folder: string, names: ReadonlySet<string> | null): FSWatcher | null {
    try {
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        if (name === null || names === null || names.has(name)) this.#happened();
      });
      watcher.on('error', (error) => {
        this.#complain(folder, error);
      });
      this.#unwatchable.delete(folder);
      return watcher;
    } catch (error) {
      this.#complain(folder, error);
      return null;
    }
  }

  #happened(): void {
    const { clock, changed } = this.#options;
    this.#cancel();
    this.#cancel = clock.setTimer(quietMs, () => {
      // A link may lead elsewhere now, and a folder may be another one.
      this.follow(this.#paths);
      changed();
    });
  }

  #complain(folder: string, error: unknown): void {
    if (this.#unwatchable.has(folder)) return;
    this.#unwatchable.add(folder);
    this.#options.logger.warn(
      { folder, error },
      'changes of the configuration in this folder go unnoticed: use SIGHUP or "headgate reload"',
    );
  }
}

/** By folder the names in it that count; null: all of them, for links lead through it. */
function foldersOf(paths: readonly string[]): ReadonlyMap<string, ReadonlySet<string> | null> {
  const folders = new Map<string, Set<string> | null>();
  const add = (path: string): void => {
    const names = folders.get(dirname(path));
    if (names === undefined) folders.set(dirname(path), new Set([basename(path)]));
    else names?.add(basename(path));
  };
  for (const path of paths) {
    add(path);
    const target = targetOf(path);
    if (target === path) continue;
    folders.set(dirname(path), null);
    add(target);
  }
  return folders;
}

function targetOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // It is not there just now; its folder will tell when it comes.
    return path;
  }
}
