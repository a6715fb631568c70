/**
 * What becomes of runs when media files of theirs are deleted. A run that has lost a piece out of its
 * middle becomes two: within a run there are no gaps.
 */
import type { Transaction } from '../writer.ts';
import type { ClosedFile } from './deletion.ts';

/**
 * After a file is gone: what is left of its run before it becomes a run of its own. The later part
 * keeps the number, because it may go on.
 */
export async function splitRun(tx: Transaction, cameraId: number, file: ClosedFile): Promise<void> {
  const before = await tx.get<{ id: number; run_id: number; end_us: number }>(
    `SELECT id, run_id, end_us FROM media_file WHERE camera_id = ? AND id < ?
     ORDER BY id DESC LIMIT 1`,
    ...[cameraId, file.id],
  );
  if (before?.run_id !== file.run_id) return;
  const after = await tx.get<{ start_us: number }>(
    `SELECT start_us FROM media_file WHERE camera_id = ? AND id > ? AND run_id = ?
     ORDER BY id LIMIT 1`,
    ...[cameraId, file.id, file.run_id],
  );
  if (after === undefined) {
    await tx.run(
      'UPDATE run SET end_us = ? WHERE id = ? AND end_us IS NOT NULL',
      ...[before.end_us, file.run_id],
    );
    return;
  }
  const { lastId } = await tx.run(
    `INSERT INTO run (camera_id, start_us, end_us, end_reason)
     SELECT camera_id, start_us, ?, 'not kept' FROM run WHERE id = ?`,
    ...[before.end_us, file.run_id],
  );
  await tx.run(
    'UPDATE media_file SET run_id = ? WHERE camera_id = ? AND run_id = ? AND id <= ?',
    ...[lastId, cameraId, file.run_id, before.id],
  );
  await tx.run('UPDATE run SET start_us = ? WHERE id = ?', after.start_us, file.run_id);
}

/** A run dated ahead may lose its last footage while there is earlier footage of other runs. */
export async function deleteEmptiedRuns(
  tx: Transaction,
  cameraId: number,
  files: readonly ClosedFile[],
): Promise<void> {
  for (const runId of new Set(files.map(({ run_id }) => run_id))) {
    await tx.run(
      `DELETE FROM run WHERE id = ?2 AND end_us IS NOT NULL AND NOT EXISTS (
         SELECT 1 FROM media_file m WHERE m.camera_id = ?1 AND m.start_us >= run.start_us
           AND m.start_us < run.end_us)`,
      ...[cameraId, runId],
    );
  }
}

/** Runs that ended before the oldest footage have none left. */
export async function deleteOldRuns(
  tx: Transaction,
  cameraId: number,
  firstStartUs: number | null,
): Promise<void> {
  await tx.run(
    'DELETE FROM run WHERE camera_id = ? AND end_us IS NOT NULL AND start_us < ? AND end_us <= ?',
    ...[cameraId, firstStartUs ?? Number.MAX_SAFE_INTEGER],
    firstStartUs ?? Number.MAX_SAFE_INTEGER,
  );
}
