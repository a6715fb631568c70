/**
 * A bounded buffer between a stream of bytes and a reader that sometimes has to wait for the disk.
 *
 * Every piece keeps the time at which it came in, however long it waits. When the limit is reached
 * the stream is not read any more until half of the buffer is free: its writer then waits, and
 * nothing is lost here.
 *
 * Pieces are copied. While the reader keeps up, all of them to the same place: garbage of this size
 * is dear.
 */
import type { Readable } from 'node:stream';
import type { Clock } from '../../storage/ports.ts';

export interface TimedBytes {
  /** Good until the next piece is asked for. */
  readonly bytes: Buffer;
  readonly arrivalMs: number;
}

/** 16 MiB hold half a minute of 4 Mb/s video. */
const defaultBytesMax = 16 * 1024 * 1024;
const blockBytes = 131_072;

export class ByteQueue {
  readonly #source: Readable;
  readonly #bytesMax: number;
  readonly #block = Buffer.allocUnsafeSlow(blockBytes);
  /** The piece that lies in the block, if any. */
  #inBlock: Buffer | null = null;
  #given: Buffer | null = null;
  #isFull = false;
  #waiting: TimedBytes[] = [];
  #bytes = 0;
  #discarding = false;
  #ended = false;
  #failure: Error | null = null;
  #wake: () => void = () => undefined;

  /** @param taken called after each piece, unless no more is taken now */
  constructor(
    source: Readable,
    clock: Clock,
    taken: (bytes: number) => void = () => undefined,
    bytesMax = defaultBytesMax,
  ) {
    this.#source = source;
    this.#bytesMax = bytesMax;
    source.on('data', (bytes: Buffer) => {
      if (this.#discarding) return;
      this.#waiting.push({ bytes: this.#copied(bytes), arrivalMs: clock.nowMs() });
      this.#bytes += bytes.length;
      this.#isFull = this.#bytes >= this.#bytesMax;
      if (this.#isFull) source.pause();
      else taken(bytes.length);
      this.#wake();
    });
    source.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
    source.once('error', (error: Error) => {
      this.#failure = error;
      this.#wake();
    });
  }

  /** Bytes waiting for the reader. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The next piece; null at the end. Rejects when the stream fails. One reader at a time. */
  async next(): Promise<TimedBytes | null> {
    if (this.#given === this.#inBlock) this.#inBlock = null;
    for (;;) {
      const piece = this.#waiting.shift();
      if (piece !== undefined) {
        this.#given = piece.bytes;
        this.#bytes -= piece.bytes.length;
        if (this.#isFull && this.#bytes <= this.#bytesMax / 2) {
          this.#isFull = false;
          this.#source.resume();
        }
        return piece;
      }
      if (this.#failure !== null) throw this.#failure;
      if (this.#ended || this.#discarding) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #copied(bytes: Buffer): Buffer {
    if (this.#inBlock !== null || bytes.length > blockBytes) return Buffer.from(bytes);
    bytes.copy(this.#block);
    this.#inBlock = this.#block.subarray(0, bytes.length);
    return this.#inBlock;
  }

  /** Drops what waits and all that comes, so that the writer at the other end can finish. */
  discard(): void {
    this.#discarding = true;
    this.#waiting = [];
    this.#bytes = 0;
    this.#source.resume();
    this.#wake();
  }
}
