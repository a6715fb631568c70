/**
 * What stands before and behind the only file of a zip (APPNOTE 6.3.10): deflated, its checksum and
 * sizes behind it, its time the first that a zip can have, so that the same content is the same zip.
 */
import { fields } from '../../media/zip.ts';

const version = 20;
/** The checksum and the sizes come behind the file. */
const sizesFollow = 0x0008;
const deflated = 8;
/** 1980-01-01, midnight. */
const time = 0;
const date = 0x0021;

/** @param name ASCII */
export function zipHead(name: string): Buffer {
  // 4.3.7
  const header = fields(
    ...([
      [4, 0x0403_4b50],
      [2, version],
      [2, sizesFollow],
      [2, deflated],
      [2, time],
      [2, date],
    ] as const),
    ...([
      [4, 0],
      [4, 0],
      [4, 0],
      [2, name.length],
      [2, 0],
    ] as const),
  );
  return Buffer.concat([header, Buffer.from(name, 'latin1')]);
}

/** @param file less than 4 GiB, before compression and after */
export function zipTail(file: {
  readonly name: string;
  readonly sizeBytes: number;
  readonly compressedBytes: number;
  readonly checksum: number;
}): Buffer {
  const { name, sizeBytes, compressedBytes, checksum } = file;
  // 4.3.9
  const descriptor = fields([4, 0x0807_4b50], [4, checksum], [4, compressedBytes], [4, sizeBytes]);
  // 4.3.12
  const entry = fields(
    ...([
      [4, 0x0201_4b50],
      [2, version],
      [2, version],
      [2, sizesFollow],
      [2, deflated],
      [2, time],
      [2, date],
    ] as const),
    ...([
      [4, checksum],
      [4, compressedBytes],
      [4, sizeBytes],
      [2, name.length],
      [2, 0],
      [2, 0],
    ] as const),
    ...([
      [2, 0],
      [2, 0],
      [4, 0],
      [4, 0],
    ] as const),
  );
  const directoryAt = zipHead(name).length + compressedBytes + descriptor.length;
  // 4.3.16
  const end = fields(
    ...([
      [4, 0x0605_4b50],
      [2, 0],
      [2, 0],
      [2, 1],
      [2, 1],
      [4, entry.length + name.length],
      [4, directoryAt],
      [2, 0],
    ] as const),
  );
  return Buffer.concat([descriptor, entry, Buffer.from(name, 'latin1'), end]);
}
