/** A program that logs numbered lines, and whoever rotates its file meanwhile; as a seed says. */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import assert from 'node:assert/strict';

export class LogWriter {
  written = 0;
  /** The highest number of a line that is known to be stored. */
  stored = -1;
  readonly #path: string;
  readonly #random: () => number;
  readonly #takesRotated: boolean;
  /** The first line of the file as it is now. */
  #first = 0;

  /** @param takesRotated whether the pattern takes rotated files that were never seen before */
  constructor(folder: string, random: () => number, takesRotated: boolean) {
    this.#path = join(folder, 'app.log');
    this.#random = random;
    this.#takesRotated = takesRotated;
  }

  /** Lines, the last one in two halves, and sometimes a rotation. */
  step(): void {
    const count = 1 + Math.floor(this.#random() * 300);
    let text = '';
    for (let index = 0; index < count; index += 1) {
      text += `${this.written} ${'x'.repeat(Math.floor(this.#random() * 60))}\n`;
      this.written += 1;
    }
    const cut = Math.floor(this.#random() * text.length);
    appendFileSync(this.#path, text.slice(0, cut));
    appendFileSync(this.#path, text.slice(cut));
    const kind = Math.floor(this.#random() * 9);
    if (kind === 0) this.#compress();
    if (kind > 2 || (!this.#takesRotated && this.stored < this.#first)) return;
    if (kind === 1) this.#rename();
    if (kind === 2) this.#copyAndTruncate();
    if (kind > 0) this.#first = this.written;
  }

  #shift(): void {
    for (let number = 99; number >= 1; number -= 1) {
      for (const suffix of ['', '.gz']) {
        const from = `${this.#path}.${number}${suffix}`;
        if (existsSync(from)) renameSync(from, `${this.#path}.${number + 1}${suffix}`);
      }
    }
  }

  #rename(): void {
    this.#shift();
    renameSync(this.#path, `${this.#path}.1`);
    writeFileSync(this.#path, '');
  }

  #copyAndTruncate(): void {
    this.#shift();
    copyFileSync(this.#path, `${this.#path}.1`);
    truncateSync(this.#path, 0);
  }

  #compress(): void {
    const path = `${this.#path}.1`;
    if (!existsSync(path)) return;
    writeFileSync(`${path}.gz`, gzipSync(readFileSync(path)));
    rmSync(path);
  }
}

/** The number that a line begins with. */
export function numberOf(line: Buffer): number {
  return Number.parseInt(line.toString(), 10);
}

/** Fails unless all lines that were written are there, once each. */
export function assertAllOnce(writer: LogWriter, lines: readonly Buffer[]): void {
  const numbers = lines.map(numberOf).toSorted((a, b) => a - b);
  const wrong = numbers.findIndex((number, index) => number !== index);
  assert.equal(wrong, -1, `line ${wrong} is lost, or another one is there twice`);
  assert.equal(numbers.length, writer.written);
}

/** mulberry32: small, and the same numbers for the same seed everywhere. */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
