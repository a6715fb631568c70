/**
 * The bytes of a stream that are not yet read as something whole, side by side in memory that is
 * used again; it grows with what waits, and shrinks between.
 */
const initialCapacity = 64 * 1024;
/** What is kept allocated while nothing waits. */
const idleCapacity = 1024 * 1024;

export class GatheredBytes {
  #buffer: Buffer = Buffer.allocUnsafe(initialCapacity);
  #start = 0;
  #end = 0;

  /** What waits lies in it from `start` to `end`; all three are good until the next `append`. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  get start(): number {
    return this.#start;
  }

  get end(): number {
    return this.#end;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** The first so many bytes are read. */
  advance(bytes: number): void {
    this.#start += bytes;
  }

  append(piece: Buffer): void {
    const needed = this.length + piece.length;
    if (this.length === 0 && this.#buffer.length > idleCapacity) {
      this.#move(Buffer.allocUnsafe(Math.max(initialCapacity, needed)));
    } else if (needed > this.#buffer.length) {
      this.#move(Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2)));
    } else if (this.#end + piece.length > this.#buffer.length) {
      this.#move(this.#buffer);
    }
    piece.copy(this.#buffer, this.#end);
    this.#end += piece.length;
  }

  #move(to: Buffer): void {
    this.#buffer.copy(to, 0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    this.#buffer = to;
  }
}
