/** How far behind a delivery is: what lies between its checkpoints and the newest. */
import type { Log, VideoStore } from '../../storage/model.ts';
import type { Clock } from '../../storage/ports.ts';

export interface Backlog {
  /** Records, or media files. */
  readonly records: number;
  /** As stored. */
  readonly bytes: number;
  /** Age of the oldest thing not yet sent; 0 when there is none. */
  readonly seconds: number;
}

const filesAtOnce = 1000;

/**
 * @param positions checkpoints by shard id; a shard without one counts from its beginning
 * @returns nothing behind when the stream is not there
 */
export async function shardsBacklog(
  log: Log,
  stream: string,
  positions: ReadonlyMap<number, number>,
  clock: Clock,
): Promise<Backlog> {
  const description = log.streams().find(({ name }) => name === stream);
  let records = 0;
  let bytes = 0;
  let oldestMs: number | null = null;
  for (const shard of description?.shards ?? []) {
    const from = positions.get(shard.id) ?? shard.trimSequence;
    if (from >= shard.nextSequence) continue;
    const backlog = await log.backlog(shard.id, from);
    records += backlog.records;
    bytes += backlog.bytes;
    if (backlog.oldestArrivalMs !== null) {
      oldestMs = Math.min(oldestMs ?? Infinity, backlog.oldestArrivalMs);
    }
  }
  return { records, bytes, seconds: ageSeconds(oldestMs, clock) };
}

/** @param positions the next media file, by camera id */
export async function cameraBacklog(
  video: VideoStore,
  camera: string,
  positions: ReadonlyMap<number, number>,
  clock: Clock,
): Promise<Backlog> {
  const description = (await video.cameras()).find(({ name }) => name === camera);
  let records = 0;
  let bytes = 0;
  let oldestMs: number | null = null;
  if (description !== undefined) {
    for (let next = positions.get(description.id) ?? 0; ;) {
      const files = await video.closedMediaFiles(description.id, next, filesAtOnce);
      for (const file of files) {
        bytes += file.bytes;
        oldestMs ??= Math.floor(file.endUs / 1000);
        next = file.id + 1;
      }
      records += files.length;
      if (files.length < filesAtOnce) break;
    }
  }
  return { records, bytes, seconds: ageSeconds(oldestMs, clock) };
}

function ageSeconds(oldestMs: number | null, clock: Clock): number {
  return oldestMs === null ? 0 : Math.max(0, (clock.nowMs() - oldestMs) / 1000);
}
