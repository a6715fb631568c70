/**
 * Blocks of memory in which packets wait to be written together. They are used again and again:
 * what is read from cameras all day, kept for a moment and thrown away, would be the most of the
 * engine's garbage. A few are kept; more are made when more is waiting, and then let go.
 */

/** More than the largest packet with its four header bytes. */
export const blockBytes = 131_072;
const keptMax = 64;

export class WriteBlocks {
  readonly #free: Buffer[] = [];

  /** A block of `blockBytes`, with anything in it. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
  }

  /** Nobody reads it any more. */
  giveBack(block: Buffer): void {
    if (this.#free.length < keptMax) this.#free.push(block);
  }
}
