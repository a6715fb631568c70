/**
 * Rewinding: a delivery begins anew somewhere else in its source, forwards or back.
 *
 * What it knew is forgotten in one transaction: the checkpoints of all its lanes, of which one is
 * left, and the plans. A plan in flight may have arrived, or not; what it held goes again if it lies
 * behind the new place. What goes again is gathered anew, so records come in other objects than the
 * first time, and these have the next version in their names: they are told apart, and never take
 * each other's place. Footage has the same cuts again, so its objects are replaced by the same.
 * Where a record has an id of its own (batch sinks) it keeps that.
 */
import type { Log, SourceKey, StreamDescription, VideoStore } from '../../../storage/model.ts';
import { nextMediaFile } from '../live-first.ts';
import type { Reader } from './kept.ts';

/** All that is stored; what comes next; what came at a time, or after it. */
export type RewindTo = 'earliest' | 'latest' | { readonly timeMs: number };

export interface Start {
  readonly source: SourceKey;
  readonly position: number;
}

const filesAtOnce = 1000;

/** Where a reader of a stream or a camera begins. @throws StorageError `not-found` */
export async function startsOf(
  { log, video }: { readonly log: Log; readonly video: VideoStore },
  from: Reader['from'],
  to: RewindTo,
): Promise<readonly Start[]> {
  if ('stream' in from) return startsOfStream(log, log.stream(from.stream), to);
  return [await startOfCamera(video, (await video.camera(from.camera)).id, to)];
}

async function startsOfStream(
  log: Log,
  { shards }: StreamDescription,
  to: RewindTo,
): Promise<readonly Start[]> {
  return Promise.all(
    shards.map(async ({ id, trimSequence, nextSequence }): Promise<Start> => {
      const source: SourceKey = { kind: 'shard', id };
      if (to === 'earliest') return { source, position: trimSequence };
      if (to === 'latest') return { source, position: nextSequence };
      return { source, position: await log.sequenceAt(id, to.timeMs) };
    }),
  );
}

/** With the first media file, in the order of recording, that has footage of the time or after it. */
async function startOfCamera(video: VideoStore, cameraId: number, to: RewindTo): Promise<Start> {
  const source: SourceKey = { kind: 'camera', id: cameraId };
  if (to === 'earliest') return { source, position: 0 };
  if (to === 'latest') return { source, position: await nextMediaFile(video, cameraId) };
  for (let next = 0; ;) {
    const files = await video.closedMediaFiles(cameraId, next, filesAtOnce);
    const first = files.find(({ endUs }) => endUs / 1000 > to.timeMs);
    if (first !== undefined) return { source, position: first.id };
    const last = files.at(-1);
    if (last === undefined) return { source, position: next };
    next = last.id + 1;
  }
}
