/** One part of low-latency HLS: of the fragment that is being sent, or of one that has ended. */
import { StorageError } from '../../../storage/errors.ts';
import type { VideoStore } from '../../../storage/model.ts';
import type { ByteBudget } from '../../http/byte-budget.ts';
import type { LiveParts } from './live-parts.ts';
import { servedChunk } from './served-fragment.ts';
import type { parsePartFile } from './urls.ts';

/**
 * Waits for a part that a player was told to expect (EXT-X-PRELOAD-HINT).
 * @returns null: there is no such part; the fragment may have ended without
 * @throws StorageError, Mp4Error, HttpError `busy`
 */
export async function livePart(
  video: VideoStore,
  live: LiveParts,
  camera: string,
  { fragment: name, index }: NonNullable<ReturnType<typeof parsePartFile>>,
  { budget, signal }: { readonly budget: ByteBudget; readonly signal: AbortSignal },
): Promise<Buffer | null> {
  const parts = live.known(camera);
  while (parts?.isNext(name.number, index) === true && !signal.aborted) {
    await parts.changedSince(parts.version, signal);
  }
  const held = parts?.held(name.number, index) ?? null;
  if (held !== null) {
    const { fragment, runId, bytes } = held;
    if (fragment.startUs !== name.startUs) return null;
    const decodeTime = fragment.decodeTime ?? 0;
    return servedChunk(video, { ...fragment, camera, runId, decodeTime }, bytes);
  }
  return storedPart(video, camera, name, index, budget);
}

async function storedPart(
  video: VideoStore,
  camera: string,
  name: { readonly number: number; readonly startUs: number },
  index: number,
  budget: ByteBudget,
): Promise<Buffer | null> {
  const fragment = await video.fragment(name.number).catch((error: unknown) => {
    if (error instanceof StorageError && error.code === 'not-found') return null;
    throw error;
  });
  const chunk = fragment?.chunks[index];
  if (fragment === null || chunk === undefined) return null;
  if (fragment.camera !== camera || fragment.startUs !== name.startUs) return null;
  const from = fragment.chunks.slice(0, index).reduce((sum, { bytes }) => sum + bytes, 0);
  const release = budget.take(fragment.plainBytes);
  try {
    const bytes = await video.readFragment(fragment);
    return await servedChunk(video, fragment, bytes.subarray(from, from + chunk.bytes));
  } finally {
    release();
  }
}
