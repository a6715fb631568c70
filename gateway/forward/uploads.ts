/** What those who send objects share. */
import { createHash } from 'node:crypto';
import { StorageError } from '../../storage/errors.ts';
import type { Worker } from './attempts.ts';
import type { ObjectUpload } from './sink.ts';

/** Counts what is gone or can't be read. @throws whatever else it was */
export function reportLoss(worker: Worker, error: unknown): void {
  if (!(error instanceof StorageError)) throw error;
  if (error.code !== 'not-found' && error.code !== 'corrupt') throw error;
  worker.progress.lost(worker.name, 1, error.code === 'corrupt' ? 'corrupt' : 'deleted');
}

/** An upload of what is in memory. */
export function uploadOf(key: string, contentType: string, content: Buffer): ObjectUpload {
  return {
    ...{ key, contentType, sizeBytes: content.length },
    sha256: createHash('sha256').update(content).digest('hex'),
    read: () => inOrder([content]),
  };
}

// An async generator, because that is what an upload's content is.
// eslint-disable-next-line @typescript-eslint/require-await
export async function* inOrder(pieces: readonly Buffer[]): AsyncGenerator<Buffer, void> {
  yield* pieces;
}
