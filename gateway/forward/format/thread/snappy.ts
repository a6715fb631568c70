/**
 * Snappy as streams, block by block, in the two ways that Firehose knows:
 *
 * - `snappy`: that of snappy-java, a header, then blocks with their compressed lengths before them.
 * - `hadoop-snappy`: that of Hadoop's BlockCompressorStream, blocks with both lengths before them.
 *
 * Numbers are big-endian.
 */
import { snappyCompress } from 'hyparquet-writer/src/snappy.js';

/** Its name, and the versions that it is and can be read by: 1. */
export function snappyHead(): Buffer {
  return Buffer.from('82534e41505059000000000100000001', 'hex');
}

export function snappyBlock(block: Uint8Array): Buffer {
  const compressed = snappyCompress(block);
  return Buffer.concat([lengths(compressed.length), compressed]);
}

export function hadoopSnappyBlock(block: Uint8Array): Buffer {
  const compressed = snappyCompress(block);
  return Buffer.concat([lengths(block.length, compressed.length), compressed]);
}

function lengths(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, at) => bytes.writeUInt32BE(value, 4 * at));
  return bytes;
}
