/**
 * Batches with a compressed body (RFC 1951, without a wrapper: the batch has a checksum), made of
 * plain ones and back. Both run on a thread of libuv's pool. The layout is in `batch.ts`.
 *
 * Nothing that a damaged batch says makes it take more memory than `plainBytesMax`.
 */
import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import { StorageError } from '../errors.ts';
import {
  batchBody,
  isCompressed,
  plainBytesMax,
  verifyBatch,
  withCompressedBody,
  withPlainBody,
} from './batch.ts';

const deflate = promisify(deflateRaw);
const inflate = promisify<Buffer, { maxOutputLength: number }, Buffer>(inflateRaw);

/** The compressed form of a plain batch; the batch itself when that is hardly smaller. */
export async function compressBatch(blob: Buffer): Promise<Buffer> {
  const body = batchBody(blob);
  if (body.length > plainBytesMax) return blob;
  const compressed = await deflate(body);
  // An eighth saved is not worth the time that every reader spends on it.
  return compressed.length > body.length * 0.875 ? blob : withCompressedBody(blob, compressed);
}

/**
 * The plain form of a batch; the batch itself, unlooked at, when it is not compressed.
 * @throws StorageError `corrupt`, `version-too-new`
 */
export async function plainBatch(blob: Buffer): Promise<Buffer> {
  if (!isCompressed(blob)) return blob;
  const { plainBytes } = verifyBatch(blob);
  return withPlainBody(blob, await plainBody(batchBody(blob), plainBytes));
}

/**
 * The plain form of a compressed body.
 * @param plainBytes what it has then, by its header
 * @throws StorageError `corrupt`
 */
export async function plainBody(compressed: Buffer, plainBytes: number): Promise<Buffer> {
  try {
    const body = await inflate(compressed, { maxOutputLength: plainBytes });
    if (body.length === plainBytes) return body;
  } catch (error) {
    throw new StorageError('corrupt', 'a batch is corrupt: its body can not be decompressed', {
      cause: error,
    });
  }
  throw new StorageError('corrupt', 'a batch is corrupt: its body is shorter than it says');
}
