/**
 * Which files there are, and which of them are which: names come and go, files stay.
 *
 * Invariants
 * - A file is known by device and inode, and by what of it was read (`place.ts`). A name is only
 *   where it was seen last.
 * - Content is followed, not names: a file that was renamed is read to its end under its new name,
 *   also one that the pattern does not take. One that is open is read to its end without a name.
 * - What was read is not read again from a copy. A file that is named like a rotated one of a known
 *   file (app.log.1, app.log.1.gz) and begins with what was read of that one is its copy: it waits
 *   while the original is there, and is read on with once the original is truncated, changed or
 *   gone. What was not read before is read from it.
 * - Nothing is decided on while names change: then all is looked at again.
 * - A place is let go of a day after its file was seen last.
 */
import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Places } from '../../storage/places.ts';
import type { Clock, Logger } from '../../storage/ports.ts';
import { findCopy, mayBeCopy } from './copies.ts';
import { openContent, UnfitFile, type Content, type FileKey } from './content.ts';
import { codeOf, isGone } from './errors.ts';
import { FollowedFile } from './followed-file.ts';
import { listPaths, type Listing } from './glob.ts';
import { firstPlace, holds, parsePlace, type Place } from './place.ts';
import { endOf } from './reading.ts';
import { isAlike } from './rotation.ts';
import { FolderCache, sight, type Sighting } from './sighting.ts';

/** A place of a file that nobody has seen for this long is let go of. */
const keptMs = 24 * 3_600_000;
/** Files that are open at a time, but for those that are being read. */
const openMax = 256;
/** A file that nothing came to for this long is closed; it is opened again when something comes. */
const openQuietMs = 60_000;
/** Tells a source that has looked once already, whatever it found. */
const begunKey = 'begun';

export interface RegistryOptions {
  /** The name of the source. */
  readonly source: string;
  /** Absolute; see glob.ts. */
  readonly pattern: string;
  /** Where to begin with files that are there when the source runs for the first time ever. */
  readonly from: 'beginning' | 'end';
  readonly maxLineBytes: number;
  readonly places: Pick<Places, 'of' | 'move'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Registry {
  readonly files = new Map<FileKey, FollowedFile>();
  /** Files that were truncated or written anew, since the start. */
  truncations = 0;
  readonly #options: RegistryOptions;
  readonly #byPath = new Map<string, FollowedFile>();
  #troubles = new Map<string, string>();
  /** As of the scan before. */
  #before: ReadonlyMap<string, string> = new Map();
  /** Files that this scan may still open. */
  #mayOpen = 0;
  #begun = false;
  #unsettled = false;
  #listing: Listing = { paths: [], folders: [], tooMany: false, unreadable: [] };

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** Why files are not read, by path: as of the last scan and since. */
  get troubles(): ReadonlyMap<string, string> {
    return this.#troubles;
  }

  /** Reads the places. */
  async load(): Promise<void> {
    const { source, places, clock } = this.#options;
    for (const [key, value] of await places.of(source)) {
      if (key === begunKey) this.#begun = true;
      const place = parsePlace(value);
      if (place === null) continue;
      const file = new FollowedFile(key as FileKey, place, null, clock.monotonicMs());
      this.files.set(file.key, file);
    }
  }

  /** Where something may happen to the files. */
  get folders(): ReadonlySet<string> {
    const folders = new Set(this.#listing.folders);
    for (const { path, realPath } of this.files.values()) {
      if (path !== null) folders.add(dirname(path));
      if (realPath !== null) folders.add(dirname(realPath));
    }
    return folders;
  }

  /** More match than are followed. */
  get tooMany(): boolean {
    return this.#listing.tooMany;
  }

  /** Names were being changed during the last scan: another one will know more. */
  get isUnsettled(): boolean {
    return this.#unsettled;
  }

  /** Looks at everything: what is new, what has another name, what is gone. @throws StorageError */
  async scan(): Promise<void> {
    this.#listing = await listPaths(this.#options.pattern);
    this.#before = this.#troubles;
    this.#troubles = new Map();
    for (const folder of this.#listing.unreadable) this.note(folder, 'may not be read');
    this.#unsettled = false;
    this.#mayOpen = openMax - this.#openCount();
    const seen = await this.#look(this.#listing.paths);
    const folders = new FolderCache();
    const homeless: FollowedFile[] = [];
    for (const file of this.files.values()) {
      const sighting = seen.get(file.key) ?? (await elsewhere(file, folders));
      if (!(await this.#find(file, sighting))) homeless.push(file);
    }
    await this.#rehouse(homeless);
    for (const [key, sighting] of seen) {
      if (!this.files.has(key)) await this.#meet(sighting);
    }
    await this.#letGo();
    await this.#begin();
    await this.#closeSome();
    this.#byPath.clear();
    for (const file of this.files.values()) {
      if (file.path === null) continue;
      file.realPath ??= await realpath(file.path).catch(() => null);
      this.#byPath.set(file.path, file);
      if (file.realPath !== null) this.#byPath.set(file.realPath, file);
    }
  }

  /**
   * Looks at one file that something may have happened to.
   * @returns false: it is not the file that was known under the name; a scan has to tell
   */
  async glance(path: string): Promise<boolean> {
    const file = this.#byPath.get(path);
    if (file?.path == null) return false;
    const found = await this.#sight(file.path);
    if (found?.key !== file.key) return false;
    this.#see(file, found);
    return true;
  }

  /** Something is not read; said once, as long as it stays so. */
  note(path: string, reason: string): void {
    if (this.#before.get(path) !== reason && this.#troubles.get(path) !== reason) {
      this.#options.logger.warn({ path, reason }, 'a file is not read');
    }
    this.#troubles.set(path, reason);
  }

  async close(): Promise<void> {
    for (const file of this.files.values()) await file.close();
  }

  #see(file: FollowedFile, sighting: Sighting): void {
    const { clock } = this.#options;
    file.see(sighting, clock.nowMs(), clock.monotonicMs());
  }

  async #look(paths: readonly string[]): Promise<Map<FileKey, Sighting>> {
    const seen = new Map<FileKey, Sighting>();
    for (let at = 0; at < paths.length; at += 64) {
      const found = await Promise.all(paths.slice(at, at + 64).map((path) => this.#sight(path)));
      for (const one of found) if (one !== null && !seen.has(one.key)) seen.set(one.key, one);
    }
    return seen;
  }

  async #sight(path: string): Promise<Sighting | null> {
    try {
      return await sight(path);
    } catch (error) {
      this.note(path, codeOf(error));
      return null;
    }
  }

  /** Takes over where a known file is now; whether what was read of it is still there. */
  async #find(file: FollowedFile, sighting: Sighting | null): Promise<boolean> {
    if (sighting === null) {
      file.path = null;
      if (file.content === null) return false;
      const { bytes } = await file.content.stat();
      if (bytes !== file.bytes) file.grow(bytes, this.#options.clock.monotonicMs());
      return true;
    }
    this.#see(file, sighting);
    // What could not be read is tried again.
    if (this.#before.has(sighting.path)) file.dirty = true;
    if (!file.dirty) return true;
    const wasOpen = file.content !== null;
    const holds = await file.holdsPlace().catch(() => true);
    if (!wasOpen && file.content !== null) {
      // What is open can be read even when it loses its name before its turn comes.
      if (this.#mayOpen > 0) this.#mayOpen -= 1;
      else await file.close();
    }
    return holds;
  }

  /**
   * Finds the copies of what was read and is gone, or has something else in its place by now: there
   * it goes on. What is in its place is then a file that is not known yet.
   */
  async #rehouse(homeless: readonly FollowedFile[]): Promise<void> {
    if (homeless.length === 0) return;
    // Whatever was begun elsewhere is not what was read here.
    const taken = new Set<FileKey>();
    for (const { key, place } of this.files.values()) if (place.offset > 0) taken.add(key);
    for (const { key } of homeless) taken.delete(key);
    const folders = new FolderCache();
    const copies = new Map<FollowedFile, Sighting>();
    for (const file of homeless) {
      const candidates = await folders.alike(file.place.path);
      const copy = await findCopy(
        file,
        candidates.filter(({ key }) => !taken.has(key) && key !== file.key),
      );
      if (copy === 'moved') {
        this.#unsettled = true;
        return;
      }
      if (copy === null) continue;
      taken.add(copy.key);
      copies.set(file, copy);
    }
    const replaced = homeless.filter(({ isLost }) => !isLost);
    if (copies.size === 0 && replaced.length === 0) return;
    const changes = new Map<FileKey, Place | undefined>();
    for (const { key } of [...copies.keys(), ...replaced]) changes.set(key, undefined);
    for (const [{ place }, { key }] of copies) changes.set(key, place);
    await this.#commit(changes);

    for (const { key } of [...copies.keys(), ...replaced]) this.files.delete(key);
    for (const file of replaced) {
      this.truncations += 1;
      const copy = copies.get(file)?.path ?? null;
      const { path, place } = file;
      const fields = { path, offset: place.offset, copy };
      this.#options.logger.info(fields, 'a file was truncated or written anew');
      await file.close();
    }
    for (const [file, sighting] of copies) {
      await this.files.get(sighting.key)?.close();
      file.key = sighting.key;
      this.files.set(file.key, file);
      this.#see(file, sighting);
      file.dirty = true;
    }
  }

  #openCount(): number {
    let count = 0;
    for (const { content } of this.files.values()) if (content !== null) count += 1;
    return count;
  }

  /** Decides what a file is that was not known. */
  async #meet(sighting: Sighting): Promise<void> {
    const { clock } = this.#options;
    const { key } = sighting;
    const content = await this.#open(sighting.path);
    if (content === null) return;
    if (content.key !== key) {
      this.#unsettled = true;
      await content.close();
      return;
    }
    try {
      // At the very first there is nothing that could have been copied.
      if (this.#begun && (this.#unsettled || (await this.#isCopy(content, sighting)))) return;
      const place = firstPlace(sighting.path, clock.nowMs());
      const file = new FollowedFile(key, await this.#start(content, place), null, 0);
      this.#see(file, sighting);
      this.files.set(key, file);
    } finally {
      await content.close();
    }
  }

  async #open(path: string): Promise<Content | null> {
    try {
      return await openContent(path);
    } catch (error) {
      if (!isGone(error)) {
        this.note(path, error instanceof UnfitFile ? error.message : codeOf(error));
      }
      return null;
    }
  }

  async #start(content: Content, place: Place): Promise<Place> {
    const { from, maxLineBytes } = this.#options;
    if (this.#begun || from === 'beginning') return place;
    return endOf(content, place, maxLineBytes);
  }

  /** Whether a new file is a copy of one that is still there, or may become one: it waits. */
  async #isCopy(content: Content, { path }: Sighting): Promise<boolean> {
    for (const file of this.#originals(path)) {
      const original = await file.open().catch(() => null);
      if (original !== null) {
        const waits = await mayBeCopy(content, path, original, file.place);
        // In this order: it may have been truncated while the two were compared.
        if (await holds(original, file.place)) {
          if (waits) return true;
          continue;
        }
      }
      this.#unsettled = true;
      return true;
    }
    return false;
  }

  /** The known files that one of this name may be a copy of. */
  #originals(path: string): readonly FollowedFile[] {
    return [...this.files.values()].filter((file) => {
      if (file.isLost || !isAlike(file.place.path, path)) return false;
      return file.path === null || (path !== file.path && path.startsWith(file.path));
    });
  }

  async #letGo(): Promise<void> {
    const horizonMs = this.#options.clock.nowMs() - keptMs;
    const old = [...this.files.values()].filter(
      (file) => file.isLost && (file.seenMs < horizonMs || file.place.offset === 0),
    );
    if (old.length === 0) return;
    await this.#commit(new Map(old.map(({ key }) => [key, undefined])));
    for (const { key } of old) this.files.delete(key);
  }

  /** The first scan ever is over: what comes from now on is new. */
  async #begin(): Promise<void> {
    if (this.#begun) return;
    const places = [...this.files.values()].map(({ key, place }) => [key, place] as const);
    await this.#commit(new Map<string, unknown>([...places, [begunKey, {}]]));
    this.#begun = true;
  }

  /** Files that nothing comes to, and more than may be open. */
  async #closeSome(): Promise<void> {
    const quietMs = this.#options.clock.monotonicMs() - openQuietMs;
    const open = [...this.files.values()]
      .filter(({ content, dirty, path }) => content !== null && !dirty && path !== null)
      .sort((a, b) => a.quietSinceMs - b.quietSinceMs);
    const surplus = this.#openCount() - openMax;
    for (const [index, file] of open.entries()) {
      if (index < surplus || file.quietSinceMs < quietMs) await file.close();
    }
  }

  #commit(changes: ReadonlyMap<string, unknown>): Promise<void> {
    return this.#options.places.move(this.#options.source, changes, null);
  }
}

/** Where a file went that is no longer among those of the pattern: it was renamed, as logs are. */
async function elsewhere(
  { key, place }: FollowedFile,
  folders: FolderCache,
): Promise<Sighting | null> {
  const found = await folders.find(place.path, key);
  // Nothing that was read tells that it is not just another one with the same inode.
  return found === null || (place.offset === 0 && !isAlike(found.path, place.path)) ? null : found;
}
