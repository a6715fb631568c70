/**
 * Notices that the clock of a camera's video was set back. ffmpeg makes times rise whatever comes:
 * it would give every picture a single tick until the old time is reached again.
 *
 * Pictures that are reordered (B-frames) go back as well, but not far, and not many in a row.
 */
import { ticksBetween, timestampOf } from './rtp.ts';

const frameHeaderBytes = 4;
/** No decoder has room for more pictures (H.264, annex A; H.265, annex A). */
const reorderedMax = 16;
const reorderedSecondsMax = 5;

export class BackwardLeap {
  readonly #backTicksMax: number;
  #latest: number | null = null;
  #last: number | null = null;
  /** Pictures in a row that are dated before the latest one. */
  #behind = 0;
  #isSeen = false;

  /** @param clockRate ticks per second of the timestamps */
  constructor(clockRate: number) {
    this.#backTicksMax = clockRate * reorderedSecondsMax;
  }

  /** Whether there was one so far. */
  get isSeen(): boolean {
    return this.#isSeen;
  }

  /** @param frame an RTP packet of the video with its four header bytes */
  look(frame: Buffer): void {
    const timestamp = timestampOf(frame, frameHeaderBytes);
    if (timestamp === null || timestamp === this.#last) return;
    this.#last = timestamp;
    const ticks = this.#latest === null ? 1 : ticksBetween(this.#latest, timestamp);
    if (ticks > 0) {
      this.#latest = timestamp;
      this.#behind = 0;
      return;
    }
    this.#behind += 1;
    if (this.#behind > reorderedMax || ticks < -this.#backTicksMax) this.#isSeen = true;
  }
}
