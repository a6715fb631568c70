/**
 * How media files are deleted, whoever chose them: a step of them in one transaction, with their
 * fragments and what is left of their runs. Which of them go is the business of `retention.ts`.
 *
 * Rules
 * - Order on disk: the rows go and the path is noted as garbage in one commit; then the file is
 *   unlinked; then the note goes. So no row is ever without a file, and no file is forgotten.
 * - The file that is being written and files that are being read stay.
 */
import { rmdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Transaction } from '../writer.ts';
import type { CameraState, VideoContext } from './context.ts';
import { heldSql, keptSqlOf } from './kept.ts';
import { mediaFilePath } from './media-files.ts';
import { numbersOf } from './rows.ts';
import { deleteEmptiedRuns, deleteOldRuns, splitRun } from './run-deletion.ts';

export interface RetentionPass {
  readonly files: number;
  readonly bytes: number;
}

export interface ClosedFile {
  readonly id: number;
  readonly run_id: number;
  readonly path: string;
  readonly bytes: number;
  readonly end_us: number;
}

/** Files deleted in one transaction: it must not hold up the commits of others for long. */
export const step = 16;

/**
 * Which files may go: those that no required application waits for; those too; those too that an event
 * holds. `unkept`: those that were never to be kept, whoever waits.
 */
export type Reach = 'spare' | 'drop' | 'drop-held' | 'unkept';

/** The next files to delete, oldest first, at most a step of them. */
type FindDue = () => Promise<readonly ClosedFile[]>;

/** Deletes a camera's closed files, oldest first, as long as they are due. */
export async function deleteWhile(
  context: VideoContext,
  camera: CameraState,
  reach: Reach,
  findDue: FindDue,
): Promise<RetentionPass> {
  let files = 0;
  let bytes = 0;
  for (;;) {
    const deleted = await deleteStep(context, camera, reach, findDue);
    if (deleted.length === 0) return { files, bytes };
    files += deleted.length;
    bytes += sizeOf(deleted);
    await collectGarbage(context);
  }
}

export async function deleteStep(
  context: VideoContext,
  camera: CameraState,
  reach: Reach,
  findDue: FindDue,
): Promise<readonly ClosedFile[]> {
  const due = await findDue();
  if (due.length === 0) return [];
  return context.writer.transact(async (tx) => {
    const pinned = await firstPinned(tx, camera.id);
    const files: ClosedFile[] = [];
    const held: ClosedFile[] = [];
    for (const file of due) {
      if (context.reading.has(file.id) || (file.id >= pinned && reach === 'spare')) continue;
      // An event may have come since.
      const isHeld = await isFile(tx, file.id, heldSql);
      if (isHeld && reach !== 'drop-held') continue;
      if (reach === 'unkept' && (await isFile(tx, file.id, keptSqlOf(camera) ?? '1'))) continue;
      if (!(await deleteRows(tx, file))) continue;
      await splitRun(tx, camera.id, file);
      files.push(file);
      if (isHeld) held.push(file);
    }
    const dropped = reach === 'unkept' ? [] : files.filter(({ id }) => id >= pinned);
    await context.losses.addIn(tx, 'held-footage-dropped', camera.options.name, {
      count: held.length,
      bytes: sizeOf(held),
    });
    await context.losses.addIn(tx, 'footage-dropped', camera.options.name, {
      count: dropped.length,
      bytes: sizeOf(dropped),
    });
    const firstStartUs = await firstStart(tx, camera.id);
    const closedEndUs = await lastClosedEnd(tx, camera.id);
    await deleteOldRuns(tx, camera.id, firstStartUs);
    await deleteEmptiedRuns(tx, camera.id, files);
    tx.onCommit(() => {
      camera.closedBytes -= sizeOf(files);
      camera.firstStartUs = firstStartUs;
      camera.lastEndUs = latest(closedEndUs, camera.runEndUs);
      for (const file of files) reportDeletion(context, camera, file, dropped.includes(file));
    });
    return files;
  });
}

/** The first media file of a camera that a required application or any saved plan still needs. */
async function firstPinned(tx: Transaction, cameraId: number): Promise<number> {
  const row = await tx.get<{ id: number | null }>(
    `SELECT min(id) AS id FROM (
       SELECT l.checkpoint AS id FROM lease l JOIN application a ON a.id = l.application_id
       WHERE a.required = 1 AND l.source_kind = 'camera' AND l.source_id = ?1
       UNION ALL
       SELECT p.from_position FROM plan p
       WHERE p.source_kind = 'camera' AND p.source_id = ?1)`,
    cameraId,
  );
  return row?.id ?? Infinity;
}

/** Deletes a file's rows and notes its path as garbage; false when they were gone already. */
export async function deleteRows(
  tx: Transaction,
  file: { readonly id: number; readonly path: string },
): Promise<boolean> {
  const { changes } = await tx.run('DELETE FROM media_file WHERE id = ?', file.id);
  if (changes === 0) return false;
  await tx.run('DELETE FROM fragment WHERE number BETWEEN ? AND ?', ...numbersOf(file.id));
  await tx.run('INSERT INTO media_garbage (id, path) VALUES (?, ?)', file.id, file.path);
  return true;
}

async function isFile(tx: Transaction, id: number, condition: string): Promise<boolean> {
  const found = await tx.get(`SELECT 1 FROM media_file m WHERE id = ? AND ${condition}`, id);
  return found !== undefined;
}

async function firstStart(tx: Transaction, cameraId: number): Promise<number | null> {
  const row = await tx.get<{ start_us: number | null }>(
    'SELECT min(start_us) AS start_us FROM media_file WHERE camera_id = ?',
    cameraId,
  );
  return row?.start_us ?? null;
}

async function lastClosedEnd(tx: Transaction, cameraId: number): Promise<number | null> {
  const row = await tx.get<{ end_us: number }>(
    `SELECT end_us FROM media_file WHERE camera_id = ? AND end_us IS NOT NULL
     ORDER BY start_us DESC LIMIT 1`,
    cameraId,
  );
  return row?.end_us ?? null;
}

function latest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}

/**
 * Inits that no media file refers to any more, but for those of runs that go on. The transaction
 * runs between those of the recordings, so none is taken away while it is being put to use.
 */
export async function deleteUnusedInits(context: VideoContext): Promise<void> {
  const unused = `NOT EXISTS (SELECT 1 FROM media_file m WHERE m.init_id = init.id)
    AND id NOT IN (SELECT value FROM json_each(?))`;
  const inUse = (): string =>
    JSON.stringify([...context.cameras.values()].flatMap(({ initId }) => initId ?? []));
  const some = await context.reader.get(`SELECT 1 FROM init WHERE ${unused} LIMIT 1`, inUse());
  if (some === undefined) return;
  await context.writer.transact((tx) => tx.run(`DELETE FROM init WHERE ${unused}`, inUse()));
}

/** Unlinks what was noted as garbage, also what a crash left noted. */
export async function collectGarbage(context: VideoContext): Promise<void> {
  while (context.disk.trouble === null) {
    const garbage = await context.reader.all<{ id: number; path: string }>(
      'SELECT id, path FROM media_garbage ORDER BY id LIMIT ?',
      step,
    );
    if (garbage.length === 0) return;
    for (const { path } of garbage) await unlinkMedia(context.folder, path);
    await context.writer.transact(async (tx) => {
      for (const { id } of garbage) await tx.run('DELETE FROM media_garbage WHERE id = ?', id);
    });
  }
}

export async function unlinkMedia(folder: string, path: string): Promise<void> {
  const file = mediaFilePath(folder, path);
  try {
    await unlink(file);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  // The day's folder goes with its last file; while it has others this fails, as it should.
  await rmdir(dirname(file)).catch(() => undefined);
}

export function sizeOf(files: readonly ClosedFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

function reportDeletion(
  context: VideoContext,
  camera: CameraState,
  file: ClosedFile,
  required: boolean,
): void {
  const labels = { camera: camera.options.name };
  context.metrics.deletedBytes.add(file.bytes, labels);
  if (required) context.metrics.droppedRequiredBytes.add(file.bytes, labels);
}
