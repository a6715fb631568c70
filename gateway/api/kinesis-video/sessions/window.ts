/**
 * What the playlist of a session lists now.
 *
 * - ON_DEMAND: the fragments of its range, always the same.
 * - LIVE: the newest ones. Between two looks the sequence rises by exactly what left the window; it
 *   begins at the number of the first fragment, which rises too, so that it goes on above where it
 *   was after a restart.
 * - LIVE_REPLAY: the first ones of its range, and then one more each time a fragment's duration has
 *   gone by, as if they were recorded now. That follows from when the session began, so nothing has
 *   to be kept.
 */
import type { Fragment, VideoStore } from '../../../../storage/model.ts';
import { endOfTimeMs, selectFragments } from '../selection.ts';
import type { Session } from './tokens.ts';

export interface Listed {
  readonly fragment: Fragment;
  /** Its media does not continue that of the one before it. */
  readonly isCut: boolean;
}

export interface Listing {
  readonly listed: readonly Listed[];
  readonly mediaSequence: number;
  readonly cutSequence: number;
  readonly longestUs: number;
  readonly ended: boolean;
}

const rowsAtOnce = 500;
const toleratedGapUs = 50_000;

export class SessionWindow {
  readonly #session: Session;
  readonly #video: VideoStore;
  #listed: Listed[] = [];
  #last: Fragment | null = null;
  #mediaSequence = 0;
  #cutSequence = 0;
  #longestUs = 0;
  #ended = false;
  /** Of LIVE_REPLAY: those to come, where more are read from, and when the next one is due. */
  #waiting: Fragment[] = [];
  #nextUs: number | null = null;
  #dueMs: number;

  constructor(session: Session, video: VideoStore) {
    this.#session = session;
    this.#video = video;
    this.#dueMs = session.createdMs;
  }

  /** To be called one after the other. @throws StorageError */
  async update(nowMs: number): Promise<Listing> {
    const { mode } = this.#session;
    if (mode === 'ON_DEMAND') await this.#fill();
    else if (mode === 'LIVE') await this.#follow();
    else await this.#replay(nowMs);
    return {
      listed: this.#listed,
      mediaSequence: this.#mediaSequence,
      cutSequence: this.#cutSequence,
      longestUs: this.#longestUs,
      ended: this.#ended,
    };
  }

  async #fill(): Promise<void> {
    if (this.#ended) return;
    for (const fragment of await this.#select(this.#session.listed)) this.#add(fragment);
    this.#ended = true;
  }

  async #follow(): Promise<void> {
    const { camera, listed } = this.#session;
    const latest = await this.#video.latestFragments(camera, listed);
    const [first] = latest;
    if (first === undefined) return;
    const last = this.#last;
    if (last === null || first.number > last.number) {
      this.#mediaSequence = Math.max(this.#mediaSequence + this.#listed.length, first.number);
      this.#cutSequence = Math.max(this.#cutSequence + this.#listed.length, first.runId);
      this.#listed = [];
      this.#last = null;
    }
    for (const fragment of latest) {
      if (this.#last === null || fragment.number > this.#last.number) this.#add(fragment);
    }
  }

  async #replay(nowMs: number): Promise<void> {
    const { toMs, listed } = this.#session;
    while (!this.#ended) {
      if (this.#waiting.length === 0) this.#waiting.push(...(await this.#select(rowsAtOnce)));
      const [next] = this.#waiting;
      if (next === undefined) {
        // It has caught up with what is recorded.
        this.#dueMs = Math.max(this.#dueMs, nowMs);
        this.#ended = toMs !== null && toMs < nowMs;
        return;
      }
      const isFirst = this.#listed.length < listed && this.#mediaSequence === 0;
      const dueMs = this.#dueMs + (isFirst ? 0 : next.durationUs / 1000);
      if (dueMs > nowMs) return;
      this.#dueMs = dueMs;
      this.#waiting.shift();
      this.#add(next);
    }
  }

  async #select(limit: number): Promise<readonly Fragment[]> {
    const { camera, origin, fromMs, toMs } = this.#session;
    const selection = { origin, fromMs: fromMs ?? 0, toMs: toMs ?? endOfTimeMs };
    const { fragments } = await selectFragments(
      this.#video,
      camera,
      selection,
      limit,
      this.#nextUs,
    );
    const last = fragments.at(-1);
    if (last !== undefined) this.#nextUs = last.startUs + 1;
    return fragments;
  }

  #add(fragment: Fragment): void {
    const isCut = this.#last !== null && this.#cuts(this.#last, fragment);
    this.#listed.push({ fragment, isCut });
    this.#last = fragment;
    this.#longestUs = Math.max(this.#longestUs, fragment.durationUs);
    if (this.#listed.length <= this.#session.listed) return;
    const gone = this.#listed.shift();
    this.#mediaSequence += 1;
    // A cut counts once it is not listed any more: that before the first fragment goes with it.
    if (gone?.isCut === true) this.#cutSequence += 1;
  }

  #cuts(before: Fragment, after: Fragment): boolean {
    const { discontinuity } = this.#session;
    if (discontinuity !== 'ON_DISCONTINUITY') return discontinuity === 'ALWAYS';
    const gapUs = after.startUs - before.startUs - before.durationUs;
    return before.initId !== after.initId || Math.abs(gapUs) > toleratedGapUs;
  }
}
