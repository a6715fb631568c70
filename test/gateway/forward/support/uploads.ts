import { createHash } from 'node:crypto';
import type { ObjectUpload } from '../../../../gateway/forward/sink.ts';

/** An upload of these bytes, in pieces. */
export function uploadOf(key: string, content: Buffer, pieceBytes = 64 * 1024): ObjectUpload {
  return {
    key,
    contentType: 'application/octet-stream',
    sizeBytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    // eslint-disable-next-line @typescript-eslint/require-await
    read: async function* () {
      for (let at = 0; at < content.length; at += pieceBytes) {
        yield content.subarray(at, at + pieceBytes);
      }
    },
  };
}
