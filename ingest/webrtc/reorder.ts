/**
 * Puts the packets of one RTP stream back in order. What is missing is waited for as long as its
 * retransmission may take; what comes later than that is left out, and the gap stays to be seen.
 *
 * At most `packetsMax` wait, so the wait ends early where much comes.
 */
import type { CancelTimer, Clock } from '../../storage/ports.ts';

export interface ReorderOptions {
  readonly clock: Clock;
  /** Default 250 ms. */
  readonly waitMs?: number;
  /** Default 512. */
  readonly packetsMax?: number;
  /** Takes the packets in order. */
  readonly deliver: (packet: Buffer) => void;
}

/** Further ahead than this is another stream, not a gap. */
const aheadMax = 3_000;

export class ReorderBuffer {
  readonly #clock: Clock;
  readonly #waitMs: number;
  readonly #packetsMax: number;
  readonly #deliver: (packet: Buffer) => void;
  readonly #waiting = new Map<number, Buffer>();
  #next: number | null = null;
  #cancel: CancelTimer | null = null;
  #late = 0;

  constructor({ clock, waitMs = 250, packetsMax = 512, deliver }: ReorderOptions) {
    this.#clock = clock;
    this.#waitMs = waitMs;
    this.#packetsMax = packetsMax;
    this.#deliver = deliver;
  }

  /** Packets that came twice, or when nobody waited for them any more. */
  get late(): number {
    return this.#late;
  }

  /** @param sequence the packet's own, 16 bits */
  push(sequence: number, packet: Buffer): void {
    this.#next ??= sequence;
    const ahead = (sequence - this.#next) & 0xffff;
    if (ahead >= 0x8000) {
      // A step far back is another stream as well: its sender began again.
      if (0x10000 - ahead <= aheadMax) this.#late += 1;
      else this.#startAt(sequence, packet);
      return;
    }
    if (ahead > aheadMax) {
      this.#startAt(sequence, packet);
      return;
    }
    if (this.#waiting.has(sequence)) {
      this.#late += 1;
      return;
    }
    this.#waiting.set(sequence, packet);
    this.#drain();
    if (this.#waiting.size > this.#packetsMax) this.#skip();
    this.#wait();
  }

  /** Delivers what waits, gaps or not: nothing more comes. */
  end(): void {
    while (this.#waiting.size > 0) this.#skip();
    this.#cancel?.();
    this.#cancel = null;
  }

  #startAt(sequence: number, packet: Buffer): void {
    this.end();
    this.#next = (sequence + 1) & 0xffff;
    this.#deliver(packet);
  }

  #drain(): void {
    if (this.#next === null) return;
    for (;;) {
      const packet = this.#waiting.get(this.#next);
      if (packet === undefined) return;
      this.#waiting.delete(this.#next);
      this.#next = (this.#next + 1) & 0xffff;
      this.#deliver(packet);
    }
  }

  /** Gives up what is missing before the first packet that waits. */
  #skip(): void {
    const next = this.#next ?? 0;
    let nearest = 0x10000;
    for (const sequence of this.#waiting.keys()) {
      nearest = Math.min(nearest, (sequence - next) & 0xffff);
    }
    this.#next = (next + nearest) & 0xffff;
    this.#drain();
  }

  #wait(): void {
    if (this.#waiting.size === 0) {
      this.#cancel?.();
      this.#cancel = null;
      return;
    }
    this.#cancel ??= this.#clock.setTimer(this.#waitMs, () => {
      this.#cancel = null;
      this.#skip();
      this.#wait();
    });
  }
}
