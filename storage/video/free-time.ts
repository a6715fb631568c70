/**
 * The time of a camera in which nothing is recorded.
 *
 * Footage lies where the clock put it, and a clock that was ahead leaves footage later than what
 * comes after it: so the order of recording (ids) is not that of time. No two fragments of a camera
 * claim the same instant all the same: a run lies in one stretch of free time, and what would reach
 * out of it is refused (`recording.ts`). Media files leave out nothing between their ends, so they
 * say what is taken; a run's row says less once retention has taken footage from it.
 */
import type { FreeTime } from '../model.ts';
import type { Transaction } from '../writer.ts';
import type { Reader } from './context.ts';

/**
 * The free time in which an instant lies, or else the first after it.
 * @param roomUsMin from the instant on; shorter gaps between footage are passed over
 * @param files closed ones count: what is open is to be recovered before
 */
export async function freeTime(
  reader: Reader,
  cameraId: number,
  atUs: number,
  roomUsMin: number,
): Promise<FreeTime> {
  const row = await reader.get<{ from_us: number; until_us: number | null }>(
    `WITH taken AS (
       SELECT ?3 AS start_us, ?3 AS end_us
       UNION ALL SELECT start_us, end_us FROM media_file
       WHERE camera_id = ?1 AND end_us IS NOT NULL AND start_us >= coalesce(
         (SELECT max(start_us) FROM media_file
          WHERE camera_id = ?1 AND end_us IS NOT NULL AND start_us <= ?2), ?3))
     SELECT from_us, until_us FROM (
       SELECT end_us AS from_us, lead(start_us) OVER (ORDER BY start_us) AS until_us FROM taken)
     WHERE until_us IS NULL OR until_us - max(from_us, ?2) >= ?4
     ORDER BY from_us LIMIT 1`,
    ...[cameraId, atUs, Number.MIN_SAFE_INTEGER, roomUsMin],
  );
  return { fromUs: row?.from_us ?? Number.MIN_SAFE_INTEGER, untilUs: row?.until_us ?? null };
}

/**
 * Takes the runs that reach into free time back to what is left of their footage, so that no two
 * runs claim the same instant either.
 */
export async function clearRuns(tx: Transaction, cameraId: number, free: FreeTime): Promise<void> {
  const runs = await tx.all<{ id: number; start_us: number | null; end_us: number | null }>(
    `SELECT r.id, min(m.start_us) AS start_us, max(m.end_us) AS end_us
     FROM run r LEFT JOIN media_file m ON m.camera_id = ?1 AND m.run_id = r.id
     WHERE r.camera_id = ?1 AND r.start_us < ?3 AND r.end_us > ?2 AND r.start_us >= coalesce(
       (SELECT max(start_us) FROM run WHERE camera_id = ?1 AND start_us <= ?2), ?2)
     GROUP BY r.id`,
    ...[cameraId, free.fromUs, free.untilUs ?? Number.MAX_SAFE_INTEGER],
  );
  for (const { id, start_us, end_us } of runs) {
    if (start_us === null || end_us === null) await tx.run('DELETE FROM run WHERE id = ?', id);
    else {
      await tx.run('UPDATE run SET start_us = ?, end_us = ? WHERE id = ?', start_us, end_us, id);
    }
  }
}
