/**
 * The table of a fragment's chunks as the index keeps it: sizes and durations, about 4 bytes each.
 *
 * Layout: for each chunk its bytes, then its duration in microseconds less that of the chunk before
 * it (the first: less 0) in zigzag; both as LEB128 of up to 8 bytes.
 */
import { StorageError } from '../errors.ts';

export interface ChunkSize {
  readonly bytes: number;
  readonly durationUs: number;
}

export function encodeChunkTable(chunks: readonly ChunkSize[]): Buffer {
  const out: number[] = [];
  let previousUs = 0;
  for (const { bytes, durationUs } of chunks) {
    put(out, bytes);
    const change = durationUs - previousUs;
    put(out, change < 0 ? -2 * change - 1 : 2 * change);
    previousUs = durationUs;
  }
  return Buffer.from(out);
}

/** @throws StorageError `corrupt` */
export function decodeChunkTable(table: Buffer): readonly ChunkSize[] {
  const chunks: ChunkSize[] = [];
  let at = 0;
  let previousUs = 0;
  const take = (): number => {
    let value = 0;
    for (let index = 0; index < 8; index += 1) {
      const byte = table[at];
      if (byte === undefined) break;
      at += 1;
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    throw new StorageError('corrupt', 'a chunk table that ends in the middle of a number');
  };
  while (at < table.length) {
    const bytes = take();
    const change = take();
    previousUs += change % 2 === 1 ? -(change + 1) / 2 : change / 2;
    chunks.push({ bytes, durationUs: previousUs });
  }
  return chunks;
}

function put(out: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
}
