/**
 * What a camera sent from its beginning, held until its recorder has stored something of it.
 *
 * It is at most `heldBytesMax` and `heldMsMax` (footage that old would be given the wrong time).
 * Past either all of it is let go, and nothing is held any more.
 */
import type { Clock } from '../../storage/ports.ts';

export interface HeldLimits {
  readonly heldBytesMax: number;
  readonly heldMsMax: number;
}

export interface HeldPacket {
  readonly track: number;
  readonly isRtcp: boolean;
  /** With its four header bytes. */
  readonly frame: Buffer;
}

/** What a held or queued packet costs beside its bytes, so that tiny ones are limited too. */
export const packetOverheadBytes = 128;

export class HeldPackets {
  readonly #limits: HeldLimits;
  readonly #clock: Clock;
  #packets: HeldPacket[] | null = [];
  #bytes = 0;
  #sinceMs: number | null = null;
  #lost = 0;
  #isTaken = false;

  constructor(limits: HeldLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Whether anything is held. */
  get isAny(): boolean {
    return this.#packets !== null && this.#packets.length > 0;
  }

  /** Packets that were let go before any recorder took them. */
  get lost(): number {
    return this.#lost;
  }

  /** Holds a packet, unless all were let go before. */
  hold(packet: HeldPacket): void {
    if (this.#packets === null) return;
    const nowMs = this.#clock.monotonicMs();
    this.#sinceMs ??= nowMs;
    this.#bytes += packet.frame.length + packetOverheadBytes;
    const { heldBytesMax, heldMsMax } = this.#limits;
    if (this.#bytes > heldBytesMax || nowMs - this.#sinceMs > heldMsMax) {
      if (!this.#isTaken) this.#lost += 1;
      this.letGo();
      return;
    }
    // Copied: where it lies, the next one will.
    this.#packets.push({ ...packet, frame: Buffer.from(packet.frame) });
  }

  /** All that is held, oldest first, for a recorder; it stays held for the next one. */
  take(): readonly HeldPacket[] {
    this.#isTaken = true;
    return this.#packets ?? [];
  }

  /** From here on nothing is held. Twice is harmless. */
  letGo(): void {
    if (!this.#isTaken) this.#lost += this.#packets?.length ?? 0;
    this.#packets = null;
    this.#bytes = 0;
  }
}
