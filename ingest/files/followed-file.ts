/** One file that is followed: which it is, how far it was read, and what is known of it meanwhile. */
import { openContent, type Content, type FileKey } from './content.ts';
import { holds, type Place } from './place.ts';
import type { Sighting } from './sighting.ts';

/** As many records go into one append. */
export const recordsMaxDefault = 1000;

export class FollowedFile {
  key: FileKey;
  place: Place;
  /** Where it is now; null: nowhere that we look. */
  path: string | null;
  /** The last name it had. */
  lastPath: string;
  /** null: not open. */
  content: Content | null = null;
  /** There may be something new in it. */
  dirty = true;
  /** Something is left at its end that is no whole record yet. */
  unfinished = false;
  /** Since when it has not grown; monotonic. */
  quietSinceMs: number;
  /** What was done about its end since then. */
  ended: 'nothing' | 'record' | 'line' = 'nothing';
  /** Records taken at a time; fewer where they grow much when they are converted. */
  recordsMax = recordsMaxDefault;
  /** The names of its fields, once they were read, and where the line with them ends. */
  header: { readonly names: readonly string[]; readonly end: number } | null = null;
  /** Bytes at the last look; null: not known, as it is compressed. */
  bytes: number | null = null;
  /** When it was seen last; the wall clock. */
  seenMs: number;
  /** The name that is left when all symbolic links of `path` are followed. */
  realPath: string | null = null;
  /** What is open was found to have what was read before. */
  #verified = false;
  /** Compressed content has changed since it was opened. */
  #stale = false;
  #modifiedMs = Number.NaN;

  constructor(key: FileKey, place: Place, path: string | null, monotonicMs: number) {
    this.key = key;
    this.place = place;
    this.path = path;
    this.lastPath = path ?? place.path;
    this.quietSinceMs = monotonicMs;
    this.seenMs = place.seenMs;
  }

  /** It has another name than it was found under, or none: something else is written to by now. */
  get isRotated(): boolean {
    return this.path !== this.place.path;
  }

  /** Nothing is known of it but its place. */
  get isLost(): boolean {
    return this.path === null && this.content === null;
  }

  /** Bytes that are not stored yet; 0 where that can't be told. */
  get backlogBytes(): number {
    return Math.max(0, (this.bytes ?? 0) - this.place.offset);
  }

  /** Takes over what it looks like from outside. */
  see(sighting: Sighting, nowMs: number, monotonicMs: number): void {
    const { path, bytes, modifiedMs } = sighting;
    if (path !== this.path) this.realPath = null;
    this.path = path;
    this.lastPath = path;
    this.seenMs = nowMs;
    if (bytes === this.bytes && modifiedMs === this.#modifiedMs) return;
    this.#modifiedMs = modifiedMs;
    this.grow(bytes, monotonicMs);
  }

  grow(bytes: number | null, monotonicMs: number): void {
    this.bytes = bytes;
    this.dirty = true;
    this.#stale = true;
    this.quietSinceMs = monotonicMs;
    this.ended = 'nothing';
  }

  /**
   * The open content; null: its name leads nowhere, or to another file by now.
   * @throws UnfitFile; what the system says
   */
  async open(): Promise<Content | null> {
    if (this.content?.compressed === true && this.#stale && this.path !== null) await this.close();
    if (this.content !== null) return this.content;
    if (this.path === null) return null;
    this.#stale = false;
    const content = await openContent(this.path);
    if (content.key === this.key) {
      this.content = content;
      return content;
    }
    await content.close();
    return null;
  }

  /**
   * Whether it begins with what was read of it; true, too, where that can't be told.
   * @throws UnfitFile; what the system says
   */
  async holdsPlace(): Promise<boolean> {
    const content = await this.open();
    // What is compressed is read from its beginning to get anywhere: once is enough.
    if (content === null || (content.compressed && this.#verified)) return true;
    this.#verified = await holds(content, this.place);
    return this.#verified;
  }

  async close(): Promise<void> {
    const { content } = this;
    this.content = null;
    this.header = null;
    this.#verified = false;
    await content?.close();
  }
}
