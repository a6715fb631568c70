/**
 * Decides where fragments begin and end: they start with a keyframe and close at the first keyframe
 * at or after 2 s of media.
 *
 * A camera with "smart codec" may send a keyframe every 20 s only; a fragment is then as long,
 * because it can't be decoded from anywhere else. What never sends one hits a limit: 120 s or
 * 64 MiB, whichever comes first, before the first keyframe as well as after. The run then ends
 * with an error, and the next session begins with a keyframe as cameras do.
 */
import { Mp4Error } from '../../storage/video/boxes.ts';
import type { MediaChunk } from './chunk-reader.ts';

export interface FragmenterOptions {
  /** Ticks per second of the video track. */
  readonly timescale: number;
  readonly targetSeconds?: number;
  readonly secondsMax?: number;
  readonly bytesMax?: number;
}

/** What to do with a chunk. */
export type Placement =
  /** It comes before the first keyframe: nothing can show it. */
  | 'drop'
  /** It begins a fragment; the one before it, if any, closes. */
  | 'begin'
  /** It continues the fragment. */
  | 'append';

/** RTP clocks jitter: a group of pictures meant to last 2 s may be a few ticks short of it. */
const toleranceSeconds = 0.02;

export class Fragmenter {
  readonly #targetTicks: number;
  readonly #ticksMax: number;
  readonly #bytesMax: number;
  readonly #secondsMax: number;
  #begun = false;
  #startTicks: number | null = null;
  #bytes = 0;

  constructor({
    timescale,
    targetSeconds = 2,
    secondsMax = 120,
    bytesMax = 64 * 1024 * 1024,
  }: FragmenterOptions) {
    this.#targetTicks = (targetSeconds - toleranceSeconds) * timescale;
    this.#ticksMax = secondsMax * timescale;
    this.#bytesMax = bytesMax;
    this.#secondsMax = secondsMax;
  }

  /**
   * Places the next chunk.
   * @param cut begin a new fragment here if it can be begun, whatever its age.
   * @throws Mp4Error `too-large` when no keyframe came within the limits
   */
  place(chunk: MediaChunk, cut = false): Placement {
    const ticks = chunk.video?.decodeTime ?? null;
    const elapsed = ticks === null || this.#startTicks === null ? 0 : ticks - this.#startTicks;
    if (chunk.keyframe && (!this.#begun || cut || elapsed >= this.#targetTicks)) {
      this.#begun = true;
      this.#startTicks = ticks;
      this.#bytes = chunk.bytes.length;
      return 'begin';
    }
    this.#startTicks ??= ticks;
    this.#bytes += chunk.bytes.length;
    if (elapsed > this.#ticksMax || this.#bytes > this.#bytesMax) {
      throw new Mp4Error(
        'too-large',
        `no keyframe within ${this.#secondsMax} s and ${this.#bytesMax} bytes of video`,
      );
    }
    return this.#begun ? 'append' : 'drop';
  }
}
