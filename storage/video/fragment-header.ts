/**
 * The box that stands before each fragment in a media file and says what it is, so that crash
 * recovery and `check` rebuild a row from the file alone.
 *
 * Layout (big-endian), an MP4 `uuid` box that every player passes over:
 *
 *      0  u32  size: 112            4  'uuid'            8  16 bytes  user type
 *     24  u8   version: 1          25  u8   state: 0 open, 1 sealed
 *     26  u16  flags: bit 0 damaged
 *     28  u32  CRC-32 of the fragment's body, as it lies on disk (sealed)
 *     32  u64  fragment number     40  u64  run            48  u64  init
 *     56  i64  start, µs           64  u64  duration, µs (sealed)
 *     72  i64  producer time, ms; -1: none
 *     80  i64  server time, ms
 *     88  u64  bytes of the body, which follows (sealed)
 *     96  12 bytes reserved, 0
 *    108  u32  CRC-32 of bytes 0 to 107
 *
 * The body is in `stored-chunks.ts`. What the header says is in the index too, so it stands in the
 * open before encrypted footage as well.
 *
 * It is written open with the fragment's first chunk and overwritten in place, sealed, when the
 * fragment closes, before the fsync that comes before the row. So behind a row there is always a
 * sealed header; an open or torn one means that the writer died.
 */
import { crc32 } from 'node:zlib';

export const fragmentHeaderBytes = 112;

export interface FragmentHeader {
  readonly sealed: boolean;
  readonly damaged: boolean;
  /** Of the body; 0 while open. */
  readonly crc: number;
  readonly number: number;
  readonly runId: number;
  readonly initId: number;
  readonly startUs: number;
  readonly durationUs: number;
  readonly producerMs: number | null;
  readonly serverMs: number;
  readonly bodyBytes: number;
}

const userType = Buffer.from('6864677466726167b1a59ad2c5f04e02', 'hex');
const version = 1;
const checkedBytes = fragmentHeaderBytes - 4;

export function encodeFragmentHeader(header: FragmentHeader): Buffer {
  const bytes = Buffer.alloc(fragmentHeaderBytes);
  bytes.writeUInt32BE(fragmentHeaderBytes, 0);
  bytes.write('uuid', 4, 'latin1');
  userType.copy(bytes, 8);
  bytes.writeUInt8(version, 24);
  bytes.writeUInt8(header.sealed ? 1 : 0, 25);
  bytes.writeUInt16BE(header.damaged ? 1 : 0, 26);
  bytes.writeUInt32BE(header.crc, 28);
  bytes.writeBigUInt64BE(BigInt(header.number), 32);
  bytes.writeBigUInt64BE(BigInt(header.runId), 40);
  bytes.writeBigUInt64BE(BigInt(header.initId), 48);
  bytes.writeBigInt64BE(BigInt(header.startUs), 56);
  bytes.writeBigUInt64BE(BigInt(header.durationUs), 64);
  bytes.writeBigInt64BE(BigInt(header.producerMs ?? -1), 72);
  bytes.writeBigInt64BE(BigInt(header.serverMs), 80);
  bytes.writeBigUInt64BE(BigInt(header.bodyBytes), 88);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, checkedBytes)), checkedBytes);
  return bytes;
}

/** Answers null for bytes that are no whole, undamaged header of a known version. */
export function decodeFragmentHeader(bytes: Buffer): FragmentHeader | null {
  if (bytes.length < fragmentHeaderBytes) return null;
  if (crc32(bytes.subarray(0, checkedBytes)) !== bytes.readUInt32BE(checkedBytes)) return null;
  if (!bytes.subarray(8, 24).equals(userType) || bytes.readUInt8(24) !== version) return null;
  const producerMs = Number(bytes.readBigInt64BE(72));
  return {
    sealed: bytes.readUInt8(25) === 1,
    damaged: (bytes.readUInt16BE(26) & 1) === 1,
    crc: bytes.readUInt32BE(28),
    number: Number(bytes.readBigUInt64BE(32)),
    runId: Number(bytes.readBigUInt64BE(40)),
    initId: Number(bytes.readBigUInt64BE(48)),
    startUs: Number(bytes.readBigInt64BE(56)),
    durationUs: Number(bytes.readBigUInt64BE(64)),
    producerMs: producerMs === -1 ? null : producerMs,
    serverMs: Number(bytes.readBigInt64BE(80)),
    bodyBytes: Number(bytes.readBigUInt64BE(88)),
  };
}
