/**
 * CBOR to JSON, by the rules of RFC 8949, section 6.1: byte strings and bignums become base64url
 * (tags 21 to 23 choose another base), other tags are left away, what JSON can't say becomes null.
 *
 * Written out rather than decoded into objects and back: 64-bit integers keep every digit, strings in
 * chunks (which cbor-x refuses) are taken, no tag makes an object of its own, and the work is linear
 * in the payload. The result is at most six times as long as what came in.
 */
import { isUtf8 } from 'node:buffer';
import { UndecodableError } from './errors.ts';

const DEPTH_MAX = 64;
const INDEFINITE = -1;

type ByteBase = 'base64url' | 'base64' | 'hex';

/** @throws UndecodableError when the bytes are not exactly one well-formed data item. */
export function cborToJson(bytes: Buffer): string {
  const reader = new Reader(bytes);
  const json = reader.item(0, 'base64url');
  reader.expectEnd();
  return json;
}

interface Head {
  readonly major: number;
  /** The five low bits of the first byte. */
  readonly info: number;
  /** The argument, exact; INDEFINITE for an open length. */
  readonly argument: number | bigint;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  expectEnd(): void {
    if (this.#at !== this.#bytes.length) throw new UndecodableError('bytes follow the CBOR item');
  }

  item(depth: number, base: ByteBase): string {
    if (depth > DEPTH_MAX) throw new UndecodableError(`CBOR nested over ${DEPTH_MAX} deep`);
    const head = this.#head();
    switch (head.major) {
      case 0:
        return String(this.#integer(head));
      case 1:
        return String(-1n - BigInt(this.#integer(head)));
      case 2:
        return `"${this.#string(head).toString(base)}"`;
      case 3:
        return JSON.stringify(this.#string(head).toString('utf8'));
      case 4:
        return this.#array(head, depth, base);
      case 5:
        return this.#map(head, depth, base);
      case 6:
        return this.#tagged(head, depth, base);
      default:
        return simple(head, this.#bytes.subarray(0, this.#at));
    }
  }

  #integer(head: Head): number | bigint {
    if (head.argument === INDEFINITE) throw new UndecodableError('a malformed CBOR integer');
    return head.argument;
  }

  #array(head: Head, depth: number, base: ByteBase): string {
    const items: string[] = [];
    for (const more = this.#counter(head, 1); more();) items.push(this.item(depth + 1, base));
    return `[${items.join(',')}]`;
  }

  #map(head: Head, depth: number, base: ByteBase): string {
    const entries: string[] = [];
    for (const more = this.#counter(head, 2); more();) {
      const key = this.item(depth + 1, base);
      const name = key.startsWith('"') ? key : JSON.stringify(key);
      entries.push(`${name}:${this.item(depth + 1, base)}`);
    }
    return `{${entries.join(',')}}`;
  }

  #tagged(head: Head, depth: number, base: ByteBase): string {
    const tag = this.#integer(head);
    if (tag === 21) return this.item(depth + 1, 'base64url');
    if (tag === 22) return this.item(depth + 1, 'base64');
    if (tag === 23) return this.item(depth + 1, 'hex');
    const content = this.item(depth + 1, base);
    // A negative bignum is marked by a tilde (6.1).
    return tag === 3 && content.startsWith('"') ? `"~${content.slice(1)}` : content;
  }

  /** Says before each element whether there is one more. */
  #counter(head: Head, leastBytesEach: number): () => boolean {
    if (head.argument === INDEFINITE) return () => !this.#takeBreak();
    let left = this.#lengthOf(head, leastBytesEach);
    return () => left-- > 0;
  }

  /** A count of things that take at least so many bytes each, so it can't exceed what is left. */
  #lengthOf(head: Head, leastBytesEach: number): number {
    const count = Number(head.argument);
    if (count * leastBytesEach > this.#bytes.length - this.#at) {
      throw new UndecodableError('truncated CBOR');
    }
    return count;
  }

  #string(head: Head): Buffer {
    if (head.argument !== INDEFINITE) return this.#take(head);
    const chunks: Buffer[] = [];
    while (!this.#takeBreak()) {
      const chunk = this.#head();
      if (chunk.major !== head.major || chunk.argument === INDEFINITE) {
        throw new UndecodableError('a malformed CBOR string in chunks');
      }
      chunks.push(this.#take(chunk));
    }
    return Buffer.concat(chunks);
  }

  #take(head: Head): Buffer {
    const length = this.#lengthOf(head, 1);
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    if (head.major === 3 && !isUtf8(bytes)) {
      throw new UndecodableError('a CBOR text that is not UTF-8');
    }
    return bytes;
  }

  #takeBreak(): boolean {
    if (this.#bytes[this.#at] !== 0xff) return false;
    this.#at += 1;
    return true;
  }

  #head(): Head {
    const first = this.#bytes[this.#at];
    if (first === undefined) throw new UndecodableError('truncated CBOR');
    const major = first >> 5;
    const info = first & 0x1f;
    this.#at += 1;
    if (info < 24) return { major, info, argument: info };
    if (info === 31 && major >= 2 && major <= 5) return { major, info, argument: INDEFINITE };
    const length = [1, 2, 4, 8][info - 24];
    if (length === undefined) throw new UndecodableError('malformed CBOR');
    if (this.#bytes.length - this.#at < length) throw new UndecodableError('truncated CBOR');
    const argument =
      length === 8
        ? this.#bytes.readBigUInt64BE(this.#at)
        : this.#bytes.readUIntBE(this.#at, length);
    this.#at += length;
    return { major, info, argument };
  }
}

/** Major type 7: booleans, null and floats; `read` ends with the item's own bytes. */
function simple(head: Head, read: Buffer): string {
  switch (head.info) {
    case 20:
      return 'false';
    case 21:
      return 'true';
    case 25:
      return jsonNumber(halfFloat(read.readUInt16BE(read.length - 2)));
    case 26:
      return jsonNumber(read.readFloatBE(read.length - 4));
    case 27:
      return jsonNumber(read.readDoubleBE(read.length - 8));
    default:
      return 'null';
  }
}

function jsonNumber(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  return Object.is(value, -0) ? '-0' : String(value);
}

/** IEEE 754 binary16 (RFC 8949, appendix D). */
function halfFloat(bits: number): number {
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  let value: number;
  if (exponent === 0) value = fraction * 2 ** -24;
  else if (exponent === 31) value = fraction === 0 ? Infinity : NaN;
  else value = (1 + fraction / 1024) * 2 ** (exponent - 15);
  return (bits & 0x8000) === 0 ? value : -value;
}
