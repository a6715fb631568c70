/**
 * A zip of files whose sizes are known and whose bytes are not at hand (APPNOTE 6.3.10): stored, not
 * compressed, for media is already; in 64 bits throughout; with the checksum of a file behind it. So
 * the size of the whole is known beforehand.
 */
import { crc32 } from 'node:zlib';

export interface ZipEntry {
  /** ASCII, without a slash. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** As many bytes as were said. */
  readonly read: () => AsyncIterable<Buffer>;
}

const version = 45;
/** The checksum comes behind the file. */
const checksumFollows = 0x0008;
const localHeaderBytes = 30 + 20;
const descriptorBytes = 24;
const directoryEntryBytes = 46 + 28;
const endBytes = 56 + 20 + 22;
const far = 0xffff_ffff;

export function zipBytes(entries: readonly ZipEntry[]): number {
  return entries.reduce(
    (sum, { name, sizeBytes }) =>
      sum + localHeaderBytes + descriptorBytes + directoryEntryBytes + 2 * name.length + sizeBytes,
    endBytes,
  );
}

/** The zip, piece by piece. @throws Error when a file has another size than was said */
export async function* zip(entries: readonly ZipEntry[]): AsyncGenerator<Buffer, void> {
  const directory: Buffer[] = [];
  let at = 0;
  for (const entry of entries) {
    const header = localHeader(entry);
    yield header;
    let crc = 0;
    let bytes = 0;
    for await (const piece of entry.read()) {
      crc = crc32(piece, crc);
      bytes += piece.length;
      yield piece;
    }
    if (bytes !== entry.sizeBytes) throw new Error(`${entry.name} has ${bytes} bytes`);
    yield fields([4, 0x0807_4b50], [4, crc], [8, bytes], [8, bytes]);
    directory.push(directoryEntry(entry, crc, at));
    at += header.length + bytes + descriptorBytes;
  }
  const list = Buffer.concat(directory);
  yield list;
  yield end(entries.length, list.length, at);
}

type Field = readonly [bytes: 2 | 4 | 8, value: number];

/** Little-endian. */
export function fields(...values: readonly Field[]): Buffer {
  const bytes = Buffer.alloc(values.reduce((sum, [size]) => sum + size, 0));
  let at = 0;
  for (const [size, value] of values) {
    if (size === 8) bytes.writeBigUInt64LE(BigInt(value), at);
    else bytes.writeUIntLE(value, at, size);
    at += size;
  }
  return bytes;
}

/** 4.3.7 */
function localHeader({ name, sizeBytes, modifiedMs }: ZipEntry): Buffer {
  const header = fields(
    ...([
      [4, 0x0403_4b50],
      [2, version],
      [2, checksumFollows],
      [2, 0],
    ] as const),
    ...dosTime(modifiedMs),
    ...([
      [4, 0],
      [4, far],
      [4, far],
      [2, name.length],
      [2, 20],
    ] as const),
  );
  const sizes = fields([2, 0x0001], [2, 16], [8, sizeBytes], [8, sizeBytes]);
  return Buffer.concat([header, Buffer.from(name, 'latin1'), sizes]);
}

/** 4.3.12 */
function directoryEntry(entry: ZipEntry, crc: number, at: number): Buffer {
  const { name, sizeBytes, modifiedMs } = entry;
  const header = fields(
    ...([
      [4, 0x0201_4b50],
      [2, version],
      [2, version],
      [2, checksumFollows],
      [2, 0],
    ] as const),
    ...dosTime(modifiedMs),
    ...([
      [4, crc],
      [4, far],
      [4, far],
      [2, name.length],
      [2, 28],
    ] as const),
    ...([
      [2, 0],
      [2, 0],
      [2, 0],
      [4, 0],
      [4, far],
    ] as const),
  );
  const places = fields([2, 0x0001], [2, 24], [8, sizeBytes], [8, sizeBytes], [8, at]);
  return Buffer.concat([header, Buffer.from(name, 'latin1'), places]);
}

/** 4.3.14 to 4.3.16 */
function end(count: number, listBytes: number, listAt: number): Buffer {
  return fields(
    ...([
      [4, 0x0606_4b50],
      [8, 44],
      [2, version],
      [2, version],
      [4, 0],
      [4, 0],
    ] as const),
    ...([
      [8, count],
      [8, count],
      [8, listBytes],
      [8, listAt],
    ] as const),
    ...([
      [4, 0x0706_4b50],
      [4, 0],
      [8, listAt + listBytes],
      [4, 1],
    ] as const),
    ...([
      [4, 0x0605_4b50],
      [2, 0],
      [2, 0],
      [2, 0xffff],
      [2, 0xffff],
    ] as const),
    ...([
      [4, far],
      [4, far],
      [2, 0],
    ] as const),
  );
}

/** The time and the date, in UTC: zip knows no time zones, and 1980 at the earliest. */
function dosTime(timeMs: number): readonly [Field, Field] {
  const date = new Date(Math.max(timeMs, Date.UTC(1980, 0, 1)));
  const seconds = Math.floor(date.getUTCSeconds() / 2);
  const time = (date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | seconds;
  const year = Math.min(127, date.getUTCFullYear() - 1980);
  const day = (year << 9) | ((date.getUTCMonth() + 1) << 5) | date.getUTCDate();
  return [
    [2, time],
    [2, day],
  ];
}
