/**
 * The batch: the records that one group commit appends to one shard, as one BLOB.
 *
 * Layout, version 1; all integers little-endian:
 *
 * | at | bytes | header                                                                  |
 * |----|-------|-------------------------------------------------------------------------|
 * |  0 |     4 | "HGBA"                                                                  |
 * |  4 |     1 | version, 1                                                              |
 * |  5 |     1 | flags: bit 0 the body is compressed (deflate, RFC 1951); bit 1 it is    |
 * |    |       | encrypted, after that (AES-256-GCM); the others are reserved and 0      |
 * |  6 |     2 | length of the header, 56: the body begins there                         |
 * |  8 |     4 | number of records, at least 1                                           |
 * | 12 |     4 | length of the body as stored                                            |
 * | 16 |     4 | length of the body before compression and encryption                    |
 * | 20 |     4 | id of the data key when encrypted, else 0                               |
 * | 24 |     8 | sequence number of the first record                                     |
 * | 32 |     8 | lowest arrival time, ms since the epoch                                 |
 * | 40 |     8 | highest arrival time                                                    |
 * | 48 |     4 | reserved, 0                                                             |
 * | 52 |     4 | CRC-32 (ISO 3309, as zlib) of bytes 0–51 and then of the stored body    |
 *
 * | at | bytes | record, `count` times, without a gap                                    |
 * |----|-------|-------------------------------------------------------------------------|
 * |  0 |     4 | length of the data, D                                                   |
 * |  4 |     4 | arrival time minus the batch's lowest, ms                               |
 * |  8 |     2 | bits 0–11 length of the key in bytes, K; bits 12–15 reserved, 0         |
 * | 10 |     K | partition key, UTF-8                                                    |
 * |10+K|     D | data                                                                    |
 *
 * Invariants: the records fill the body exactly; the checksum is looked at before anything else is
 * believed, and the lengths are checked all the same, so nothing that is read here can make it read
 * outside the BLOB or allocate more than that, or than `plainBytesMax` where it is compressed.
 *
 * An encrypted body is nonce (12 bytes) · ciphertext · tag (16 bytes). Its associated data is the id of
 * the shard (8 bytes) and bytes 0–51 of the header with key id 0; what `../keys.ts` adds names the
 * stream and the key. The checksum is that of what is stored: damage is found without any key.
 *
 * Compressing and decompressing is the business of `compressed-batch.ts`, encrypting and decrypting
 * of `sealed-batch.ts`.
 * Which row a batch is in and what surrounds it is the business of `batch-table.ts`.
 */
import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import { StorageError } from '../errors.ts';
import { sealedOverheadBytes } from '../keys.ts';
import type { LogRecord } from '../model.ts';

const magic = Buffer.from('HGBA', 'latin1');
const version = 1;
const compressedFlag = 1;
const encryptedFlag = 2;
const checksumAt = 52;
export const batchHeaderBytes = 56;
export const recordOverheadBytes = 10;
const keyLengthMax = 0xfff;
/** No compressed body has more when it is plain: a record of the largest size has less. */
export const plainBytesMax = 16 * 1024 * 1024;
/** Two records further apart in arrival time than this can't be in one batch. */
export const arrivalSpanMaxMs = 0xffffffff;

/** A record with its key measured, ready to be encoded. */
export interface TimedRecord {
  readonly partitionKey: string;
  /** UTF-8 length of the key. */
  readonly keyBytes: number;
  readonly data: Buffer;
  readonly arrivalMs: number;
}

export interface BatchHeader {
  readonly compressed: boolean;
  /** The data key that it is encrypted with; null: it is not. */
  readonly keyId: number | null;
  /** Bytes of the records. */
  readonly plainBytes: number;
  readonly count: number;
  readonly firstSequence: number;
  readonly lowArrivalMs: number;
  readonly highArrivalMs: number;
}

/** What a record takes in the body of a batch. */
export function encodedBytes(record: TimedRecord): number {
  return recordOverheadBytes + record.keyBytes + record.data.length;
}

/**
 * Encodes at least one record into a BLOB of its own. Arrival times lie within `arrivalSpanMaxMs`
 * of each other.
 */
export function encodeBatch(firstSequence: number, records: readonly TimedRecord[]): Buffer {
  let bodyBytes = 0;
  let low = Infinity;
  let high = -Infinity;
  for (const record of records) {
    bodyBytes += encodedBytes(record);
    if (record.arrivalMs < low) low = record.arrivalMs;
    if (record.arrivalMs > high) high = record.arrivalMs;
  }
  assert(records.length > 0 && high - low <= arrivalSpanMaxMs);

  const blob = Buffer.allocUnsafeSlow(batchHeaderBytes + bodyBytes);
  let at = batchHeaderBytes;
  for (const record of records) {
    blob.writeUInt32LE(record.data.length, at);
    blob.writeUInt32LE(record.arrivalMs - low, at + 4);
    blob.writeUInt16LE(record.keyBytes, at + 8);
    at += recordOverheadBytes;
    blob.write(record.partitionKey, at, 'utf8');
    at += record.keyBytes;
    record.data.copy(blob, at);
    at += record.data.length;
  }
  assert.equal(at, blob.length, 'keyBytes is not the length of the key');

  magic.copy(blob, 0);
  blob.writeUInt8(version, 4);
  blob.writeUInt8(0, 5);
  blob.writeUInt16LE(batchHeaderBytes, 6);
  blob.writeUInt32LE(records.length, 8);
  blob.writeUInt32LE(bodyBytes, 12);
  blob.writeUInt32LE(bodyBytes, 16);
  blob.writeUInt32LE(0, 20);
  writeUint53(blob, firstSequence, 24);
  writeUint53(blob, low, 32);
  writeUint53(blob, high, 40);
  blob.writeUInt32LE(0, 48);
  blob.writeUInt32LE(checksum(blob), checksumAt);
  return blob;
}

/**
 * Reads and verifies the header and the checksum of the whole BLOB.
 * @throws StorageError `corrupt`; `version-too-new` for a sound batch of a later release
 */
export function verifyBatch(blob: Buffer): BatchHeader {
  if (blob.length < batchHeaderBytes || !blob.subarray(0, 4).equals(magic)) {
    throw corrupt('it does not begin with a batch header');
  }
  if (blob.readUInt32LE(checksumAt) !== checksum(blob)) throw corrupt('its checksum is wrong');
  const flags = blob.readUInt8(5);
  if (blob.readUInt8(4) > version || flags > (compressedFlag | encryptedFlag)) {
    throw new StorageError('version-too-new', 'a batch was written by a later release');
  }
  const compressed = (flags & compressedFlag) !== 0;
  const encrypted = (flags & encryptedFlag) !== 0;
  const bodyBytes = blob.readUInt32LE(12);
  const plainBytes = blob.readUInt32LE(16);
  const keyId = blob.readUInt32LE(20);
  const openBytes = bodyBytes - (encrypted ? sealedOverheadBytes : 0);
  const header = {
    compressed,
    keyId: encrypted ? keyId : null,
    plainBytes,
    count: blob.readUInt32LE(8),
    firstSequence: readUint53(blob, 24),
    lowArrivalMs: readUint53(blob, 32),
    highArrivalMs: readUint53(blob, 40),
  };
  if (
    blob.readUInt16LE(6) !== batchHeaderBytes ||
    blob.length !== batchHeaderBytes + bodyBytes ||
    encrypted !== keyId > 0 ||
    openBytes < 0 ||
    (compressed ? plainBytes > plainBytesMax : plainBytes !== openBytes) ||
    header.count === 0 ||
    header.count > plainBytes / recordOverheadBytes ||
    header.lowArrivalMs > header.highArrivalMs
  ) {
    throw corrupt('its header contradicts itself');
  }
  return header;
}

/** Whether a BLOB says of itself that its body is compressed; nothing of it is verified. */
export function isCompressed(blob: Buffer): boolean {
  return (flagsOf(blob) & compressedFlag) !== 0;
}

/** Whether a BLOB says of itself that its body is encrypted; nothing of it is verified. */
export function isEncrypted(blob: Buffer): boolean {
  return (flagsOf(blob) & encryptedFlag) !== 0;
}

function flagsOf(blob: Buffer): number {
  return blob.length >= batchHeaderBytes ? blob.readUInt8(5) : 0;
}

/** What a batch counts at least where bytes are accounted: it may have been sealed afterwards. */
export function accountedBytes(blob: Buffer): number {
  return blob.length - (isEncrypted(blob) ? sealedOverheadBytes : 0);
}

/** The body as it is stored. */
export function batchBody(blob: Buffer): Buffer {
  return blob.subarray(batchHeaderBytes);
}

/** A plain batch with its body replaced by its compressed form. */
export function withCompressedBody(blob: Buffer, body: Buffer): Buffer {
  return withBody(withFlag(headerOf(blob), compressedFlag, true), body);
}

/** A compressed batch with its body replaced by its plain form. */
export function withPlainBody(blob: Buffer, body: Buffer): Buffer {
  return withBody(withFlag(headerOf(blob), compressedFlag, false), body);
}

/**
 * A batch with its body encrypted.
 * @param seal encrypts under the associated data it is given, which is 52 bytes of the header
 */
export function withSealedBody(
  blob: Buffer,
  seal: (body: Buffer, header: Buffer) => { readonly keyId: number; readonly bytes: Buffer },
): Buffer {
  const header = withFlag(headerOf(blob), encryptedFlag, true);
  const body = batchBody(blob);
  header.writeUInt32LE(body.length + sealedOverheadBytes, 12);
  const { keyId, bytes } = seal(body, header.subarray(0, checksumAt));
  header.writeUInt32LE(keyId, 20);
  return withBody(header, bytes);
}

/** What the body of an encrypted batch is bound to: its header as it was sealed with. */
export function sealedHeader(blob: Buffer): Buffer {
  const header = headerOf(blob).subarray(0, checksumAt);
  header.writeUInt32LE(0, 20);
  return header;
}

/** An encrypted batch with its body replaced by what was encrypted. */
export function withOpenedBody(blob: Buffer, body: Buffer): Buffer {
  const header = withFlag(headerOf(blob), encryptedFlag, false);
  header.writeUInt32LE(0, 20);
  return withBody(header, body);
}

/** A copy. */
function headerOf(blob: Buffer): Buffer {
  return Buffer.from(blob.subarray(0, batchHeaderBytes));
}

function withFlag(header: Buffer, flag: number, isSet: boolean): Buffer {
  const others = header.readUInt8(5) & ~flag;
  header.writeUInt8(isSet ? others | flag : others, 5);
  return header;
}

function withBody(header: Buffer, body: Buffer): Buffer {
  header.writeUInt32LE(body.length, 12);
  const made = Buffer.concat([header, body]);
  made.writeUInt32LE(checksum(made), checksumAt);
  return made;
}

/** A batch that was verified, with its body as it was before compression and encryption. */
export interface PlainBatch {
  readonly header: BatchHeader;
  readonly body: Buffer;
}

/** @throws StorageError `corrupt` also for a batch that is not plain; `version-too-new` */
export function plainOf(blob: Buffer): PlainBatch {
  const header = verifyBatch(blob);
  if (header.keyId !== null) throw corrupt('its records were not decrypted');
  if (header.compressed) throw corrupt('its records were not decompressed');
  return { header, body: batchBody(blob) };
}

/**
 * Decodes a plain batch, leaving out the first `skip` records; see `recordsOf`.
 * @throws StorageError `corrupt`, `version-too-new`
 */
export function decodeBatch(blob: Buffer, skip = 0): LogRecord[] {
  return recordsOf(plainOf(blob), skip);
}

/**
 * The records of a batch but for the first `skip`. `data` is a slice of the body, not a copy: the
 * body was allocated for this read alone and nobody writes to it, but whoever keeps one record for
 * long keeps the whole batch in memory, and copies it instead.
 * @throws StorageError `corrupt`
 */
export function recordsOf({ header, body }: PlainBatch, skip = 0): LogRecord[] {
  const records: LogRecord[] = [];
  let at = 0;
  for (let index = 0; index < header.count; index += 1) {
    if (at + recordOverheadBytes > body.length) throw corrupt('its records do not fit');
    const dataBytes = body.readUInt32LE(at);
    const arrivalMs = header.lowArrivalMs + body.readUInt32LE(at + 4);
    const keyBytes = body.readUInt16LE(at + 8);
    const keyAt = at + recordOverheadBytes;
    const dataAt = keyAt + keyBytes;
    at = dataAt + dataBytes;
    if (at > body.length || keyBytes > keyLengthMax || arrivalMs > header.highArrivalMs) {
      throw corrupt('its records do not fit');
    }
    if (index < skip) continue;
    records.push({
      sequence: header.firstSequence + index,
      partitionKey: body.toString('utf8', keyAt, dataAt),
      data: body.subarray(dataAt, at),
      arrivalMs,
    });
  }
  if (at !== body.length) throw corrupt('its records do not fill it');
  return records;
}

/**
 * The sequence number of the first record of a batch that arrived at or after a time; null if none
 * did. Makes no records: of a batch of many small ones that takes several milliseconds.
 * @throws StorageError `corrupt`
 */
export function firstArrivalAt({ header, body }: PlainBatch, timestampMs: number): number | null {
  const { count, firstSequence, lowArrivalMs } = header;
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    if (at + recordOverheadBytes > body.length) throw corrupt('its records do not fit');
    if (lowArrivalMs + body.readUInt32LE(at + 4) >= timestampMs) return firstSequence + index;
    at += recordOverheadBytes + body.readUInt16LE(at + 8) + body.readUInt32LE(at);
  }
  return null;
}

function checksum(blob: Buffer): number {
  return crc32(blob.subarray(batchHeaderBytes), crc32(blob.subarray(0, checksumAt)));
}

function corrupt(why: string): StorageError {
  return new StorageError('corrupt', `a batch is corrupt: ${why}`);
}

/** Times and sequence numbers fit 53 bits: two halves are quicker than a BigInt. */
function writeUint53(blob: Buffer, value: number, at: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, `not an unsigned integer: ${value}`);
  blob.writeUInt32LE(value % 0x100000000, at);
  blob.writeUInt32LE(Math.floor(value / 0x100000000), at + 4);
}

function readUint53(blob: Buffer, at: number): number {
  const value = blob.readUInt32LE(at) + blob.readUInt32LE(at + 4) * 0x100000000;
  if (!Number.isSafeInteger(value)) throw corrupt('a number in its header is too large');
  return value;
}
