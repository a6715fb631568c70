/**
 * Cuts what is written into blocks of one size, however it is divided: what a compressor gives
 * depends on what it is fed at a time, and the same records have to become the same bytes.
 */
export const blockBytes = 64 * 1024;

export class Blocks {
  #block = Buffer.alloc(0);
  #used = 0;
  #full: Buffer[] = [];

  /** The bytes are copied. */
  add(piece: Buffer): void {
    for (let at = 0; at < piece.length;) {
      if (this.#block.length === 0) this.#block = Buffer.allocUnsafeSlow(blockBytes);
      const copied = piece.copy(this.#block, this.#used, at);
      at += copied;
      this.#used += copied;
      if (this.#used < blockBytes) return;
      this.#full.push(this.#block);
      this.#block = Buffer.alloc(0);
      this.#used = 0;
    }
  }

  /** Those that have become full since the last time. */
  takeFull(): readonly Buffer[] {
    const full = this.#full;
    if (full.length > 0) this.#full = [];
    return full;
  }

  /** What is left once all full ones are taken. */
  rest(): Buffer {
    return this.#block.subarray(0, this.#used);
  }
}
