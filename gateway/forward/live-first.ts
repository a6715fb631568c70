/** When a shard's, or a camera's, lane is so far behind that what is new goes first (`lanes.ts`). */
import type { Log, VideoStore } from '../../storage/model.ts';
import type { LiveFirst } from './lanes.ts';

/** What is older than this, beyond the time that it is gathered for, is a backlog. */
const backlogAfterMs = 30_000;
const filesAtOnce = 1000;

/** @param gatheredMs how long records wait for others before they are sent */
export function liveFirstOfShard(log: Log, shardId: number, gatheredMs: number): LiveFirst {
  return {
    afterMs: backlogAfterMs + gatheredMs,
    head: () => Promise.resolve(log.shard(shardId).nextSequence),
    oldestMs: async (position) => (await log.backlog(shardId, position)).oldestArrivalMs,
  };
}

export function liveFirstOfCamera(video: VideoStore, cameraId: number): LiveFirst {
  return {
    afterMs: backlogAfterMs,
    head: () => nextMediaFile(video, cameraId),
    oldestMs: async (position) => {
      const [file] = await video.closedMediaFiles(cameraId, position, 1);
      return file === undefined ? null : Math.floor(file.endUs / 1000);
    },
  };
}

/** The position after the newest media file. */
export async function nextMediaFile(video: VideoStore, cameraId: number): Promise<number> {
  for (let next = 0; ;) {
    const files = await video.closedMediaFiles(cameraId, next, filesAtOnce);
    const last = files.at(-1);
    if (last === undefined) return next;
    next = last.id + 1;
  }
}
