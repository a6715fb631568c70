/** What is older than its retention by the wall clock: what deletion by age would take now. */
import type { Queries } from './log/batch-table.ts';
import type { Log, VideoStore } from './model.ts';

export interface Expiring {
  readonly kind: 'stream' | 'camera';
  readonly name: string;
  /** Records, or media files. */
  readonly count: number;
}

/**
 * Streams and cameras of which something is expired, with how much. What a required delivery still
 * needs is counted too, although it stays.
 */
export async function expiring(
  { log, video, queries }: { log: Log; video: VideoStore; queries: Queries },
  nowMs: number,
): Promise<readonly Expiring[]> {
  const found: Expiring[] = [];
  for (const { name, shards, retentionMs } of log.streams()) {
    let count = 0;
    for (const { id, trimSequence } of shards) {
      count += (await log.sequenceAt(id, nowMs - retentionMs)) - trimSequence;
    }
    if (count > 0) found.push({ kind: 'stream', name, count });
  }
  for (const { id, name, retentionMs } of await video.cameras()) {
    if (retentionMs === null) continue;
    const horizonUs = (nowMs - retentionMs) * 1000;
    const row = await queries.get<{ count: number }>(
      `SELECT count(*) AS count FROM media_file
       WHERE camera_id = ?1 AND start_us < ?2 AND end_us <= ?2`,
      ...[id, horizonUs],
    );
    if (row !== undefined && row.count > 0) found.push({ kind: 'camera', name, count: row.count });
  }
  return found;
}
