/**
 * Writes lines to a file descriptor, and is never in the way.
 *
 * Writing happens on libuv's pool, so a reader that stalls blocks no one; past 8 MiB of waiting
 * lines new ones are dropped, and so are those that a full disk refuses; they are counted in a line
 * of their own once lines get through again. A reader that went away (EPIPE) ends the output.
 * pino's own destination is not used: its `flushSync` repeats a failed write for ever, so that the
 * process could not end.
 */
import { write, writeSync } from 'node:fs';

const waitingMaxCharacters = 8 * 2 ** 20;
const retryMs = 50;
const flushMaxMs = 500;
const lineEnd = 10;

export class LineWriter {
  readonly #fd: number;
  /** What is said about lines that were dropped. */
  readonly #describeDropped: (count: number) => string;
  #waiting: string[] = [];
  #waitingCharacters = 0;
  /** Being written on the pool. */
  #underWay: Buffer | null = null;
  #dropped = 0;
  #gone = false;
  #idleListeners: (() => void)[] = [];

  constructor(fd: number, describeDropped: (count: number) => string) {
    this.#fd = fd;
    this.#describeDropped = describeDropped;
  }

  /** Takes a line with its line end. */
  write(line: string): void {
    if (this.#gone) return;
    if (this.#waitingCharacters + line.length > waitingMaxCharacters) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(line);
    this.#waitingCharacters += line.length;
    this.#next();
  }

  /** Resolves when nothing is waiting any more. */
  drained(): Promise<void> {
    if (this.#underWay === null) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleListeners.push(resolve);
    });
  }

  /**
   * Writes what is waiting before it returns, for a process that ends at once: for half a second
   * at most, and without what is being written on the pool just now.
   */
  flush(): void {
    let rest = this.#take();
    let leftMs = flushMaxMs;
    while (rest.length > 0 && leftMs > 0) {
      try {
        rest = rest.subarray(writeSync(this.#fd, rest));
      } catch (error) {
        if (!isBusy(error)) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
        leftMs -= retryMs;
      }
    }
  }

  #next(): void {
    if (this.#underWay !== null || this.#gone) return;
    if (this.#waiting.length === 0) {
      this.#tellIdle();
      return;
    }
    this.#writeSome(this.#take());
  }

  #take(): Buffer {
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#waitingCharacters = 0;
    return bytes;
  }

  #writeSome(bytes: Buffer): void {
    this.#underWay = bytes;
    write(this.#fd, bytes, (error, written) => {
      if (error === null) {
        if (written < bytes.length) this.#writeSome(bytes.subarray(written));
        else this.#wrote();
      } else if (isBusy(error)) {
        setTimeout(() => {
          this.#writeSome(bytes);
        }, retryMs);
      } else if (error.code === 'EPIPE') {
        this.#end();
      } else {
        this.#failed(bytes);
      }
    });
  }

  #wrote(): void {
    this.#underWay = null;
    if (this.#dropped > 0) {
      this.#waiting.unshift(this.#describeDropped(this.#dropped));
      this.#dropped = 0;
    }
    this.#next();
  }

  #failed(bytes: Buffer): void {
    this.#underWay = null;
    this.#dropped += bytes.filter((byte) => byte === lineEnd).length;
    // What waits is tried with the next line: trying at once would be a busy loop.
    this.#tellIdle();
  }

  #end(): void {
    this.#gone = true;
    this.#underWay = null;
    this.#take();
    this.#tellIdle();
  }

  #tellIdle(): void {
    for (const listener of this.#idleListeners.splice(0)) listener();
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN';
}
