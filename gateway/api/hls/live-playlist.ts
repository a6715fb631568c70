/**
 * The live playlist of cameras, at once or when it has come to what a player asks for
 * (`_HLS_msn`, `_HLS_part`: draft-pantos-hls-rfc8216bis, section 6.2.5.2).
 *
 * Limits: nobody waits longer than three target durations; the windows of 1,000 cameras are kept.
 */
import type { Fragment, VideoStore } from '../../../storage/model.ts';
import type { CancelTimer, Clock } from '../../../storage/ports.ts';
import { HttpError } from '../../http/errors.ts';
import { Inits } from './inits.ts';
import { liveRows } from './live.ts';
import type { CameraParts, LiveParts, OpenParts } from './live-parts.ts';
import { LiveWindow, type LowLatency, playlistText } from './playlist.ts';
import { fragmentFile, initFile, partFile } from './urls.ts';

/** What a player has and wants more than. */
export interface Wanted {
  readonly segment: number;
  /** null: the whole segment. */
  readonly part: number | null;
}

interface State {
  readonly playlist: LiveWindow['playlist'];
  readonly inits: Inits;
  /** null: nothing is announced before it has ended. */
  readonly open: OpenParts | null;
}

const windowsMax = 1_000;
const waitedDurations = 3;
/** Further ahead than a player that follows can be. */
const aheadMax = 2;

export class LivePlaylists {
  readonly #video: VideoStore;
  readonly #clock: Clock;
  readonly #parts: LiveParts;
  readonly #windows = new Map<number, LiveWindow>();

  constructor(video: VideoStore, clock: Clock, parts: LiveParts) {
    this.#video = video;
    this.#clock = clock;
    this.#parts = parts;
  }

  /**
   * @param wanted null: as it is now
   * @param signal nobody waits any more
   * @throws HttpError `not-found`: nothing is live; `bad-request`: it is too far ahead;
   *   `busy`: it did not come
   */
  async text(camera: string, wanted: Wanted | null, signal: AbortSignal): Promise<string> {
    const { id } = await this.#video.camera(camera);
    const parts = this.#parts.of(camera);
    const state = await this.#reached(id, camera, parts, wanted, signal);
    const { playlist, inits, open } = state;
    return playlistText({
      ...playlist,
      ended: false,
      startOffsetS: 0,
      segmentUri: fragmentFile,
      initUri: (initId) => initFile(inits.get(initId)),
      ...(parts === null ? {} : { lowLatency: lowLatency(parts, open) }),
    });
  }

  async #reached(
    id: number,
    camera: string,
    parts: CameraParts | null,
    wanted: Wanted | null,
    signal: AbortSignal,
  ): Promise<State> {
    const timeout = new AbortController();
    const until = AbortSignal.any([signal, timeout.signal]);
    let cancel: CancelTimer | null = null;
    let rows: readonly Fragment[] = [];
    let inits = await Inits.of(this.#video, rows);
    let endings: number | null = null;
    try {
      for (;;) {
        const version = parts?.version ?? 0;
        if (parts === null || parts.endings !== endings) {
          endings = parts?.endings ?? null;
          rows = await liveRows(this.#video, this.#clock, camera);
        }
        const window = this.#windowOf(id);
        window.update(rows);
        if (!inits.covers(window.rows)) {
          inits = await Inits.of(this.#video, window.rows);
          continue;
        }
        const state = stateOf(window, inits, parts);
        if (wanted === null || parts === null || isReached(state, wanted, parts)) return state;
        const { segments, mediaSequence, targetDurationS } = state.playlist;
        if (wanted.segment >= mediaSequence + segments.length + aheadMax) {
          throw new HttpError('bad-request', 'What _HLS_msn asks for is too far ahead.');
        }
        if (until.aborted) throw new HttpError('busy', `${camera} has sent nothing more.`);
        cancel ??= this.#clock.setTimer(waitedDurations * targetDurationS * 1_000, () => {
          timeout.abort();
        });
        await parts.changedSince(version, until);
      }
    } finally {
      cancel?.();
    }
  }

  #windowOf(cameraId: number): LiveWindow {
    const known = this.#windows.get(cameraId);
    if (known !== undefined) return known;
    const oldest = this.#windows.keys().next();
    if (this.#windows.size >= windowsMax && oldest.done !== true) {
      this.#windows.delete(oldest.value);
    }
    const window = new LiveWindow();
    this.#windows.set(cameraId, window);
    return window;
  }
}

/** All of it of one moment. */
function stateOf(window: LiveWindow, inits: Inits, parts: CameraParts | null): State {
  const { playlist } = window;
  const last = playlist.segments.at(-1)?.row;
  const tracks = last === undefined ? 0 : inits.get(last.initId).tracks.length;
  const open = parts?.open(tracks) ?? null;
  const goesOn =
    open !== null &&
    open.after === last?.number &&
    open.runId === last.runId &&
    open.fragment.initId === last.initId;
  return { playlist, inits, open: goesOn ? open : null };
}

function isReached(
  { playlist, open }: State,
  { segment, part }: Wanted,
  parts: CameraParts,
): boolean {
  const { segments, mediaSequence } = playlist;
  const next = mediaSequence + segments.length;
  const has = (wanted: number): boolean => open !== null && open.parts.length > wanted;
  if (segment === next) return part !== null && has(part);
  if (segment > next) return false;
  const last = segments.at(-1)?.row.number ?? 0;
  const count = parts.closed(last)?.length ?? Infinity;
  // A part after the last of its segment is the first one of the next.
  return segment < next - 1 || part === null || part < count || has(0);
}

function lowLatency(parts: CameraParts, open: OpenParts | null): LowLatency {
  return {
    partsOf: ({ number }) => parts.closed(number),
    open: open === null ? null : { row: open.fragment, parts: open.parts },
    partTargetUs: parts.targetUs,
    partUri: partFile,
  };
}
