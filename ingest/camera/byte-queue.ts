/**
 * A bounded buffer between a stream of bytes and a reader that sometimes has to wait for the disk.
 *
 * Every piece keeps the time at which it came in, however long it waits. When the limit is reached
 * the stream is not read any more until half of the buffer is free: its writer then waits, and
 * nothing is lost here.
 */
import type { Readable } from 'node:stream';
import type { Clock } from '../../storage/ports.ts';

export interface TimedBytes {
  readonly bytes: Buffer;
  readonly arrivalMs: number;
}

/** 16 MiB hold half a minute of 4 Mb/s video. */
const defaultBytesMax = 16 * 1024 * 1024;

export class ByteQueue {
  readonly #source: Readable;
  readonly #bytesMax: number;
  #waiting: TimedBytes[] = [];
  #bytes = 0;
  #discarding = false;
  #ended = false;
  #failure: Error | null = null;
  #wake: () => void = () => undefined;

  constructor(source: Readable, clock: Clock, bytesMax = defaultBytesMax) {
    this.#source = source;
    this.#bytesMax = bytesMax;
    source.on('data', (bytes: Buffer) => {
      if (this.#discarding) return;
      this.#waiting.push({ bytes, arrivalMs: clock.nowMs() });
      this.#bytes += bytes.length;
      if (this.#bytes >= this.#bytesMax) source.pause();
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
    for (;;) {
      const piece = this.#waiting.shift();
      if (piece !== undefined) {
        this.#bytes -= piece.bytes.length;
        if (this.#source.isPaused() && this.#bytes <= this.#bytesMax / 2) this.#source.resume();
        return piece;
      }
      if (this.#failure !== null) throw this.#failure;
      if (this.#ended || this.#discarding) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
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
