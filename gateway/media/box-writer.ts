/**
 * Writes MP4 boxes (ISO/IEC 14496-12, 4.2) as pieces that are never joined: the tables of a day of
 * footage are tens of megabytes, and each box within a box would copy them once more.
 */

/** Bytes in pieces. */
export type Pieces = readonly Uint8Array[];

export function bytesOf(pieces: Pieces): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

/** @param type four characters */
export function box(type: string, ...parts: readonly (Uint8Array | Pieces)[]): Pieces {
  const pieces = parts.flat() as Uint8Array[];
  return [u32(8 + bytesOf(pieces)), Buffer.from(type, 'latin1'), ...pieces];
}

export function fullBox(
  type: string,
  version: number,
  flags: number,
  ...parts: readonly (Uint8Array | Pieces)[]
): Pieces {
  return box(type, u32(version * 2 ** 24 + flags), ...parts);
}

export function u16(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  values.forEach((value, index) => bytes.writeUInt16BE(value, 2 * index));
  return bytes;
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index));
  return bytes;
}

export function u64(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length);
  values.forEach((value, index) => bytes.writeBigUInt64BE(BigInt(value), 8 * index));
  return bytes;
}

const firstWords = 256;

/** A table of big-endian 32-bit numbers that grows: the body of a sample table. */
export class WordTable {
  #bytes = Buffer.allocUnsafe(4 * firstWords);
  #end = 0;

  get words(): number {
    return this.#end / 4;
  }

  /** What it holds, not copied. Not to be used after the next `push`. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#end);
  }

  /** Each of 32 bits; negative ones as two's complement. */
  push(...values: readonly number[]): void {
    const needed = this.#end + 4 * values.length;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(2 * needed);
      this.bytes.copy(grown);
      this.#bytes = grown;
    }
    for (const value of values) this.#end = this.#bytes.writeUInt32BE(value >>> 0, this.#end);
  }
}
