/**
 * A chunk as it lies in the media file of an encrypted camera.
 *
 * Layout (big-endian), an MP4 `uuid` box:
 *
 *      0  u32  size                  4  'uuid'            8  16 bytes  user type
 *     24  u8   version: 1           25  3 bytes 0
 *     28  u32  CRC-32 of all that follows
 *     32  u32  flags: bit 0 its first video frame is a keyframe
 *     36  u32  video frames that are no keyframes         40  u64  their bytes
 *     48  i64  decode time of the first video frame on the media file's clock, ticks; -1: none
 *     56  u64  duration, µs
 *     64  u64  data key
 *     72  what `../keys.ts` makes of the chunk's moof and mdat: 28 bytes more than they have
 *
 * Associated data: the number of the fragment (u64), the position of the chunk in it (u32), and the
 * bytes 32 to 63.
 *
 * So it needs no key to tell whether a chunk is whole, nor to make the row of a fragment again: what
 * stands outside of the encryption is in the index as well.
 */
import { crc32 } from 'node:zlib';
import { joinedCrc32 } from '../crc.ts';
import { StorageError } from '../errors.ts';
import { type Keyring, sealedOverheadBytes } from '../keys.ts';
import type { ChunkFacts } from './chunk-facts.ts';
import type { StoredChunk } from './fragment-builder.ts';

const chunkHeaderBytes = 72;
/** What encryption adds to a chunk. */
export const encryptedOverheadBytes = chunkHeaderBytes + sealedOverheadBytes;

const userType = Buffer.from('6864677463686e6b9c1f64d07ab3e815', 'hex');
const version = 1;
const checkedFrom = 32;
const factsEnd = 64;

/** Where a chunk belongs: it opens nowhere else. */
export interface ChunkPlace {
  /** The number of its fragment. */
  readonly fragment: number;
  /** Counted from 0. */
  readonly position: number;
}

export interface EncryptedChunk {
  readonly facts: ChunkFacts;
  readonly keyId: number;
}

/** What has a data key of its own. */
export function scopeOf(cameraId: number): string {
  return `camera/${cameraId}`;
}

/**
 * The box.
 * @throws StorageError `key-unavailable`, `overloaded`
 */
export function encryptChunk(
  keyring: Keyring,
  cameraId: number,
  place: ChunkPlace,
  { bytes: plain, facts }: { readonly bytes: Buffer; readonly facts: ChunkFacts },
): StoredChunk {
  const header = Buffer.alloc(chunkHeaderBytes);
  header.writeUInt32BE(encryptedOverheadBytes + plain.length, 0);
  header.write('uuid', 4, 'latin1');
  userType.copy(header, 8);
  header.writeUInt8(version, 24);
  header.writeUInt32BE(facts.keyframe ? 1 : 0, 32);
  header.writeUInt32BE(facts.frames, 36);
  header.writeBigUInt64BE(BigInt(facts.frameBytes), 40);
  header.writeBigInt64BE(BigInt(facts.decodeTime ?? -1), 48);
  header.writeBigUInt64BE(BigInt(facts.durationUs), 56);
  const { keyId, pieces } = keyring.sealPieces(scopeOf(cameraId), plain, bindingOf(place, header));
  header.writeBigUInt64BE(BigInt(keyId), 64);
  const bodyBytes = sealedOverheadBytes + plain.length;
  const bodyCrc = pieces.reduce((crc, piece) => crc32(piece, crc), 0);
  const headerCrc = crc32(header.subarray(checkedFrom));
  header.writeUInt32BE(joinedCrc32(headerCrc, bodyCrc, bodyBytes), 28);
  return {
    pieces: [header, ...pieces],
    bytes: chunkHeaderBytes + bodyBytes,
    crc: joinedCrc32(crc32(header), bodyCrc, bodyBytes),
  };
}

/** Whether an encrypted chunk begins there, whole or not. */
export function isEncryptedChunk(bytes: Buffer, at: number): boolean {
  return bytes.subarray(at + 8, at + 24).equals(userType);
}

/** Bytes of the box that begins at `at`; null: it is not all there, or not what was written. */
export function wholeEncryptedChunk(bytes: Buffer, at: number): Buffer | null {
  if (bytes.length - at < encryptedOverheadBytes || !isEncryptedChunk(bytes, at)) return null;
  const sizeBytes = bytes.readUInt32BE(at);
  if (sizeBytes < encryptedOverheadBytes || sizeBytes > bytes.length - at) return null;
  const box = bytes.subarray(at, at + sizeBytes);
  if (box.readUInt8(24) !== version) return null;
  return crc32(box.subarray(checkedFrom)) === box.readUInt32BE(28) ? box : null;
}

/** What stands outside of the encryption. @param box as `wholeEncryptedChunk` answers */
export function readEncryptedChunk(box: Buffer): EncryptedChunk {
  const decodeTime = Number(box.readBigInt64BE(48));
  return {
    facts: {
      plainBytes: box.length - encryptedOverheadBytes,
      durationUs: Number(box.readBigUInt64BE(56)),
      decodeTime: decodeTime === -1 ? null : decodeTime,
      keyframe: (box.readUInt32BE(32) & 1) === 1,
      frames: box.readUInt32BE(36),
      frameBytes: Number(box.readBigUInt64BE(40)),
    },
    keyId: Number(box.readBigUInt64BE(64)),
  };
}

/**
 * The moof and mdat.
 * @param box as `wholeEncryptedChunk` answers
 * @throws StorageError `corrupt`, `wrong-key`, `key-unavailable`
 */
export async function decryptChunk(
  keyring: Keyring | null,
  place: ChunkPlace,
  box: Buffer,
): Promise<Buffer> {
  if (keyring === null) {
    throw new StorageError('key-unavailable', 'there is no master key for encrypted footage');
  }
  const { keyId } = readEncryptedChunk(box);
  return keyring.open(keyId, box.subarray(chunkHeaderBytes), bindingOf(place, box));
}

function bindingOf({ fragment, position }: ChunkPlace, box: Buffer): Buffer {
  const binding = Buffer.alloc(12 + factsEnd - checkedFrom);
  binding.writeBigUInt64BE(BigInt(fragment), 0);
  binding.writeUInt32BE(position, 8);
  box.copy(binding, 12, checkedFrom, factsEnd);
  return binding;
}
