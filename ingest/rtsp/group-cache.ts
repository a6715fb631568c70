/**
 * The newest group of pictures of a camera's H.264, from its keyframe on: with it a player has a
 * picture at once. The memory is kept and written over, so that it costs a copy and no garbage.
 * Noticed on the way is whether pictures come in another order than they are shown (B-frames).
 *
 * A group that grows past `bytesMax` is let go, until the next keyframe.
 */
import { beginsKeyframe, payloadStart } from './h264-packets.ts';
import { ticksBetween, timestampOf } from './rtp.ts';

const frameHeaderBytes = 4;
const firstBytes = 256 * 1024;
/** A clock that was set goes back once. */
const reorderedMin = 3;
const reorderTicksMax = 5 * 90_000;

export class GroupCache {
  readonly #bytesMax: number;
  #memory = Buffer.alloc(0);
  /** Where each packet ends. */
  #ends: number[] = [];
  #timestamp: number | null = null;
  #isOpen = false;
  #lastTimestamp: number | null = null;
  #reordered = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Whether pictures come in another order than they are shown. */
  get hasReorderedPictures(): boolean {
    return this.#reordered >= reorderedMin;
  }

  /** @param frame an RTP packet of the video with its four header bytes */
  keep(frame: Buffer): void {
    const start = payloadStart(frame, frameHeaderBytes);
    if (start === null) return;
    const timestamp = timestampOf(frame, frameHeaderBytes);
    if (timestamp !== null) this.#lookAtOrder(timestamp);
    if (timestamp !== this.#timestamp && beginsKeyframe(frame, start)) {
      this.#timestamp = timestamp;
      this.#isOpen = true;
      this.#ends = [];
    }
    if (this.#isOpen) this.#add(frame);
  }

  /** The packets since the last keyframe, without the header bytes; none where there was none. */
  packets(): readonly Buffer[] {
    return this.#ends.map((end, index) =>
      Buffer.from(this.#memory.subarray(this.#ends[index - 1] ?? 0, end)),
    );
  }

  #lookAtOrder(timestamp: number): void {
    const ticks = this.#lastTimestamp === null ? 0 : ticksBetween(this.#lastTimestamp, timestamp);
    if (ticks < 0 && ticks > -reorderTicksMax) this.#reordered += 1;
    this.#lastTimestamp = timestamp;
  }

  #add(frame: Buffer): void {
    const from = this.#ends.at(-1) ?? 0;
    const end = from + frame.length - frameHeaderBytes;
    if (end > this.#bytesMax) {
      this.#isOpen = false;
      this.#ends = [];
      return;
    }
    if (end > this.#memory.length) {
      const grown = Buffer.alloc(
        Math.min(this.#bytesMax, Math.max(firstBytes, this.#memory.length * 2, end)),
      );
      this.#memory.copy(grown, 0, 0, from);
      this.#memory = grown;
    }
    frame.copy(this.#memory, from, frameHeaderBytes);
    this.#ends.push(end);
  }
}
