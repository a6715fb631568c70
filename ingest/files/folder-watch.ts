/**
 * Tells at once when something happens in some folders, where the system can: on network file
 * systems, and past its limit of watches, it can't, and files are looked at by time alone.
 */
import { watch, type FSWatcher } from 'node:fs';
import { basename, join } from 'node:path';
import type { Logger } from '../../storage/ports.ts';

const foldersMax = 1000;

export class FolderWatch {
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #changed: (path: string | null, named: boolean) => void;
  readonly #logger: Logger;
  #coversAll = true;

  /**
   * @param changed called with what changed, or null where that is not known, and whether a name came
   *   or went
   */
  constructor(changed: (path: string | null, named: boolean) => void, logger: Logger) {
    this.#changed = changed;
    this.#logger = logger;
  }

  /** Every folder that was asked for is watched. */
  get coversAll(): boolean {
    return this.#coversAll;
  }

  /**
   * Watches these from now on, and no others.
   * @returns whether there are new ones among them: something may have happened there before
   */
  follow(folders: ReadonlySet<string>): boolean {
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    this.#coversAll = true;
    let added = false;
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue;
      if (this.#watch(folder)) added = true;
      else this.#coversAll = false;
    }
    return added;
  }

  #watch(folder: string): boolean {
    if (this.#watchers.size >= foldersMax) return false;
    try {
      const watcher = watch(folder, { persistent: false }, (event, name) => {
        // So is the folder itself called when it is moved or deleted: it is watched anew.
        if (name === basename(folder)) this.#drop(folder, watcher);
        this.#changed(name === null ? null : join(folder, name), event === 'rename');
      });
      watcher.on('error', (error) => {
        this.#logger.debug({ folder, error }, 'a folder is no longer watched');
        this.#drop(folder, watcher);
        this.#coversAll = false;
      });
      this.#watchers.set(folder, watcher);
      return true;
    } catch (error) {
      this.#logger.debug({ folder, error }, 'a folder can not be watched');
      return false;
    }
  }

  #drop(folder: string, watcher: FSWatcher): void {
    watcher.close();
    if (this.#watchers.get(folder) === watcher) this.#watchers.delete(folder);
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }
}
