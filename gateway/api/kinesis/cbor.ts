/**
 * CBOR (RFC 8949) as AWS' Java clients speak it under `application/x-amz-cbor-1.1`: maps with text
 * keys, byte strings for blobs, and instants under tag 1 in *milliseconds*, where the RFC has seconds
 * (aws-sdk-java-v2 #4661). That last point is why no library does it for us.
 *
 * Decoding takes exactly one well-formed item of limited depth; work and memory are linear in the
 * bytes. Byte strings share the memory of the input.
 */
import { isUtf8 } from 'node:buffer';

const depthMax = 32;
const timestampTag = 1;

const bytesByValue = Array.from({ length: 256 }, (_, byte) => Buffer.from([byte]));
const knownKeysMax = 256;
const knownKeys = new Map<string, Buffer>();

/** The bytes are not one well-formed item. */
export class CborError extends Error {
  override readonly name = 'CborError';
}

/**
 * Maps become objects without a prototype, byte strings Buffers, tag 1 a Date.
 * @throws CborError
 */
export function decodeCbor(bytes: Buffer): unknown {
  const reader = new Reader(bytes);
  const value = reader.item(0);
  if (!reader.atEnd) throw new CborError('bytes follow the item');
  return value;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  item(depth: number): unknown {
    if (depth > depthMax) throw new CborError('nested too deep');
    const first = this.#byte();
    const major = first >> 5;
    const info = first & 0x1f;
    switch (major) {
      case 0:
        return this.#argument(info);
      case 1:
        return -1 - this.#argument(info);
      case 2:
        return info === 31 ? Buffer.concat(this.#chunks(2)) : this.#take(this.#argument(info));
      case 3:
        return this.#text(info);
      case 4:
        return this.#array(info, depth);
      case 5:
        return this.#map(info, depth);
      case 6:
        return this.#tagged(this.#argument(info), depth);
      default:
        return this.#simple(info);
    }
  }

  #array(info: number, depth: number): unknown[] {
    const items: unknown[] = [];
    for (const more = this.#counter(info, 1); more();) items.push(this.item(depth + 1));
    return items;
  }

  #map(info: number, depth: number): Record<string, unknown> {
    const entries = Object.create(null) as Record<string, unknown>;
    for (const more = this.#counter(info, 2); more();) {
      const key = this.item(depth + 1);
      if (typeof key !== 'string') throw new CborError('a key that is no text');
      entries[key] = this.item(depth + 1);
    }
    return entries;
  }

  #tagged(tag: number, depth: number): unknown {
    const content = this.item(depth + 1);
    if (tag !== timestampTag) return content;
    if (typeof content !== 'number') throw new CborError('an instant that is no number');
    return new Date(content);
  }

  /** Says before each element whether there is one more. */
  #counter(info: number, leastBytesEach: number): () => boolean {
    if (info === 31) return () => !this.#takeBreak();
    let left = this.#argument(info);
    // What can't be there is not waited for.
    if (left * leastBytesEach > this.#bytes.length - this.#at) throw new CborError('cut off');
    return () => left-- > 0;
  }

  #text(info: number): string {
    const bytes = info === 31 ? Buffer.concat(this.#chunks(3)) : this.#take(this.#argument(info));
    if (!isUtf8(bytes)) throw new CborError('a text that is not UTF-8');
    return bytes.toString('utf8');
  }

  /** Of a string of open length. */
  #chunks(major: number): Buffer[] {
    const chunks: Buffer[] = [];
    while (!this.#takeBreak()) {
      const first = this.#byte();
      if (first >> 5 !== major) throw new CborError('a string with other things in it');
      chunks.push(this.#take(this.#argument(first & 0x1f)));
    }
    return chunks;
  }

  #simple(info: number): unknown {
    switch (info) {
      case 20:
        return false;
      case 21:
        return true;
      case 22:
      case 23:
        return null;
      case 25:
        return halfFloat(this.#take(2).readUInt16BE());
      case 26:
        return this.#take(4).readFloatBE();
      case 27:
        return this.#take(8).readDoubleBE();
      default:
        throw new CborError('an unknown simple value');
    }
  }

  #argument(info: number): number {
    if (info < 24) return info;
    if (info === 24) return this.#byte();
    if (info === 25) return this.#take(2).readUInt16BE();
    if (info === 26) return this.#take(4).readUInt32BE();
    if (info === 27) return Number(this.#take(8).readBigUInt64BE());
    throw new CborError('a malformed length');
  }

  #takeBreak(): boolean {
    if (this.#bytes[this.#at] !== 0xff) return false;
    this.#at += 1;
    return true;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new CborError('cut off');
    this.#at += 1;
    return byte;
  }

  #take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new CborError('cut off');
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }
}

/** IEEE 754 binary16 (RFC 8949, appendix D). */
function halfFloat(bits: number): number {
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * Appends an item's bytes, in pieces; what is `undefined` in an object is left out.
 * Takes null, booleans, finite numbers, strings, Buffers, Dates, arrays and plain objects.
 */
export function encodeCbor(value: unknown, pieces: Buffer[]): void {
  if (value === null) pieces.push(byteOf(0xf6));
  else if (typeof value === 'boolean') pieces.push(byteOf(value ? 0xf5 : 0xf4));
  else if (typeof value === 'number') pieces.push(encodeNumber(value));
  else if (typeof value === 'string') {
    const bytes = Buffer.from(value, 'utf8');
    pieces.push(head(3, bytes.length), bytes);
  } else if (Buffer.isBuffer(value)) pieces.push(head(2, value.length), value);
  else if (value instanceof Date) {
    pieces.push(head(6, timestampTag), encodeNumber(value.getTime()));
  } else if (Array.isArray(value)) {
    pieces.push(head(4, value.length));
    for (const item of value as unknown[]) encodeCbor(item, pieces);
  } else if (typeof value === 'object') {
    const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
    pieces.push(head(5, entries.length));
    for (const [key, entry] of entries) {
      pieces.push(keyBytes(key));
      encodeCbor(entry, pieces);
    }
  } else throw new TypeError(`CBOR has no ${typeof value} here`);
}

/** The members of the service are few and come again with each record. */
function keyBytes(key: string): Buffer {
  const known = knownKeys.get(key);
  if (known !== undefined) return known;
  const bytes = Buffer.from(key, 'utf8');
  const written = Buffer.concat([head(3, bytes.length), bytes]);
  if (knownKeys.size < knownKeysMax) knownKeys.set(key, written);
  return written;
}

/** The head of a map or array with so many entries, for those who write the entries themselves. */
export function cborHead(kind: 'map' | 'array', count: number): Buffer {
  return head(kind === 'map' ? 5 : 4, count);
}

function encodeNumber(value: number): Buffer {
  if (Number.isSafeInteger(value)) return value >= 0 ? head(0, value) : head(1, -1 - value);
  const bytes = Buffer.allocUnsafe(9);
  bytes[0] = 0xfb;
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function head(major: number, argument: number): Buffer {
  const type = major << 5;
  if (argument < 24) return byteOf(type | argument);
  if (argument < 0x100) return Buffer.from([type | 24, argument]);
  if (argument < 0x10000) return Buffer.from([type | 25, argument >> 8, argument & 0xff]);
  if (argument < 0x1_0000_0000) {
    const bytes = Buffer.allocUnsafe(5);
    bytes[0] = type | 26;
    bytes.writeUInt32BE(argument, 1);
    return bytes;
  }
  const bytes = Buffer.allocUnsafe(9);
  bytes[0] = type | 27;
  bytes.writeBigUInt64BE(BigInt(argument), 1);
  return bytes;
}

function byteOf(byte: number): Buffer {
  return bytesByValue[byte] ?? Buffer.from([byte]);
}
