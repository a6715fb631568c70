/**
 * Takes apart what producers have aggregated; the format is at the head of `aggregate.ts`.
 *
 * Any bytes may come under its magic number. What is no whole aggregate (the checksum is wrong, the
 * message is cut, a key is missing or none that a record could have) is a plain record that only
 * looks like one, as it is for the KCL. So is an aggregate of nothing.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { hashKeyMax } from '../../storage/log/hash-keys.ts';
import type { RecordInput } from '../../storage/model.ts';
import { checksumBytes, magic } from './aggregate.ts';

const partitionKeyCharactersMax = 256;
/** How protobuf writes a value, in the last three bits of its tag. */
const wire = { varint: 0, eightBytes: 1, bytes: 2, fourBytes: 5 } as const;

/**
 * The records in an aggregate, in their order.
 * @returns null: it is a plain record, or holds more than `recordsMax`
 */
export function deaggregate(data: Buffer, recordsMax: number): readonly RecordInput[] | null {
  const end = data.length - checksumBytes;
  if (end < magic.length || !data.subarray(0, magic.length).equals(magic)) return null;
  const message = data.subarray(magic.length, end);
  if (!createHash('md5').update(message).digest().equals(data.subarray(end))) return null;
  try {
    const records = decode(message, recordsMax);
    return records.length === 0 ? null : records;
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

class Malformed extends Error {}

interface Entry {
  keyIndex: number;
  hashKeyIndex: number | null;
  data: Buffer | null;
}

function decode(message: Buffer, recordsMax: number): RecordInput[] {
  const keys: string[] = [];
  const hashKeys: bigint[] = [];
  const entries: Entry[] = [];
  const reader = new Reader(message);
  while (!reader.isAtEnd) {
    const field = reader.field();
    if (field === 1) keys.push(partitionKeyOf(reader.bytes()));
    else if (field === 2) hashKeys.push(hashKeyOf(reader.bytes()));
    else if (field === 3) entries.push(decodeEntry(reader.bytes()));
    else reader.skip();
    if (entries.length > recordsMax) return [];
  }
  // The tables come first from every producer known, but need not: so they are looked up at the end.
  return entries.map(({ keyIndex, hashKeyIndex, data }) => {
    const partitionKey = keys[keyIndex];
    if (partitionKey === undefined || data === null) throw new Malformed();
    if (hashKeyIndex === null) return { partitionKey, data };
    const explicitHashKey = hashKeys[hashKeyIndex];
    if (explicitHashKey === undefined) throw new Malformed();
    return { partitionKey, data, explicitHashKey };
  });
}

function decodeEntry(message: Buffer): Entry {
  const entry: Entry = { keyIndex: -1, hashKeyIndex: null, data: null };
  const reader = new Reader(message);
  while (!reader.isAtEnd) {
    const field = reader.field();
    if (field === 1) entry.keyIndex = reader.number();
    else if (field === 2) entry.hashKeyIndex = reader.number();
    else if (field === 3) entry.data = reader.bytes();
    else reader.skip();
  }
  return entry;
}

function partitionKeyOf(bytes: Buffer): string {
  const key = bytes.toString();
  if (!isUtf8(bytes) || key.length === 0 || key.length > partitionKeyCharactersMax) {
    throw new Malformed();
  }
  return key;
}

function hashKeyOf(bytes: Buffer): bigint {
  const text = bytes.toString('latin1');
  if (!/^\d{1,39}$/.test(text)) throw new Malformed();
  const hashKey = BigInt(text);
  if (hashKey > hashKeyMax) throw new Malformed();
  return hashKey;
}

/** Reads protobuf; everything throws `Malformed` where there is no such thing. */
class Reader {
  readonly #message: Buffer;
  #at = 0;
  #wireType = 0;

  constructor(message: Buffer) {
    this.#message = message;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#message.length;
  }

  /** The number of the next field; its value is to be read, or skipped, next. */
  field(): number {
    const tag = this.#varint();
    this.#wireType = tag % 8;
    return Math.floor(tag / 8);
  }

  number(): number {
    if (this.#wireType !== wire.varint) throw new Malformed();
    return this.#varint();
  }

  bytes(): Buffer {
    if (this.#wireType !== wire.bytes) throw new Malformed();
    return this.#take(this.#varint());
  }

  skip(): void {
    if (this.#wireType === wire.varint) this.#varint();
    else if (this.#wireType === wire.bytes) this.#take(this.#varint());
    else if (this.#wireType === wire.eightBytes) this.#take(8);
    else if (this.#wireType === wire.fourBytes) this.#take(4);
    else throw new Malformed();
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#message.length) throw new Malformed();
    const taken = this.#message.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  #varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 53; scale *= 128) {
      const byte = this.#message[this.#at];
      if (byte === undefined) throw new Malformed();
      this.#at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    // No index and no length is as large as that.
    throw new Malformed();
  }
}
