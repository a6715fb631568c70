/**
 * Deletes footage: by age, by each camera's budget in bytes, and to keep the disk's free space
 * above its floor. Whole media files go, oldest first.
 *
 * Rules
 * - By age the times of footage count. Where room is wanted, what was recorded first goes first,
 *   whatever its date: after a clock that was ahead, what is recorded now is not the newest by date,
 *   and would be deleted as soon as it is stored.
 * - A file that a required application has not read, or that a saved plan contains, is not deleted
 *   by age. Past the camera's budget or below the floor it goes after all (a camera can't be made
 *   to wait); that is counted and logged.
 * - What an event holds (`kept.ts`) goes neither by age nor for the camera's budget, in which it does
 *   not count. Below the floor it goes last of all; that is counted and logged.
 * - What a camera does not keep at all goes a minute after it was recorded, whoever waits for it.
 * - A run that has lost a piece out of its middle becomes two: within a run there are no gaps.
 * - While the media folder is not there (`media-disk.ts`) nothing is deleted.
 * - The file that is being written and files that are being read stay.
 * - Order on disk: the rows go and the path is noted as garbage in one commit; then the file is
 *   unlinked; then the note goes. So no row is ever without a file, and no file is forgotten.
 */
import { rmdir, statfs, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type ClockGuard, clockStepMaxMs } from '../clock-guard.ts';
import { StorageError } from '../errors.ts';
import type { Transaction } from '../writer.ts';
import type { CameraState, VideoContext } from './context.ts';
import { mediaFilePath } from './media-files.ts';
import { decidedUs, heldSql, keptSqlOf } from './kept.ts';
import { numbersOf } from './rows.ts';

export interface RetentionOptions {
  /** Space to keep free on the disk of the media folder; 0: none. */
  readonly minFreeBytes: number;
  /** Free bytes on that disk. */
  readonly freeBytes?: () => Promise<number>;
}

export interface RetentionPass {
  readonly files: number;
  readonly bytes: number;
}

interface ClosedFile {
  readonly id: number;
  readonly run_id: number;
  readonly path: string;
  readonly bytes: number;
  readonly end_us: number;
}

/** Files deleted in one transaction: it must not hold up the commits of others for long. */
const step = 16;

/**
 * Which files may go: those that no required application waits for; those too; those too that an event
 * holds. `unkept`: those that were never to be kept, whoever waits.
 */
type Reach = 'spare' | 'drop' | 'drop-held' | 'unkept';

/** The next files to delete, oldest first, at most a step of them. */
type FindDue = () => Promise<readonly ClosedFile[]>;

/** How often one call may make room by the last resort. */
const sacrificesMax = 64;

/**
 * One pass over all cameras. On a disk so full that not even a deletion can be committed, the
 * oldest file is unlinked first, and the index follows as soon as it can be written, before
 * anything else is deleted. Should the process die in between, `headgate check` names the file.
 */
export async function retain(
  context: VideoContext,
  options: RetentionOptions,
  clockGuard: ClockGuard,
): Promise<RetentionPass> {
  try {
    await context.disk.check();
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'media-missing')) throw error;
    return { files: 0, bytes: 0 };
  }
  for (let sacrifices = 0; ; sacrifices += 1) {
    try {
      return await pass(context, options, clockGuard);
    } catch (error) {
      if (!isDiskFull(error) || sacrifices >= sacrificesMax) throw error;
      if (!(await sacrifice(context))) throw error;
    }
  }
}

function isDiskFull(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'disk-full';
}

/** Deletes the rows of files that were unlinked before them, as far as the disk takes that. */
export async function forgetSacrificed(context: VideoContext): Promise<RetentionPass> {
  let files = 0;
  let bytes = 0;
  try {
    for (const camera of context.cameras.values()) {
      if (context.sacrificed.size === 0) break;
      const forgotten = await deleteWhile(context, camera, 'drop', () =>
        context.reader.all<ClosedFile>(
          `SELECT id, run_id, path, bytes, end_us FROM media_file
           WHERE camera_id = ? AND id IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?`,
          ...[camera.id, JSON.stringify([...context.sacrificed]), step],
        ),
      );
      files += forgotten.files;
      bytes += forgotten.bytes;
    }
    // What is being read is still there for its readers; its rows go with a later pass.
    for (const id of context.sacrificed) {
      if (!context.reading.has(id)) context.sacrificed.delete(id);
    }
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
  return { files, bytes };
}

/** Unlinks the oldest media file, one that nobody waits for if there is one. */
async function sacrifice(context: VideoContext): Promise<boolean> {
  const files = await context.reader.all<{ id: number; path: string; bytes: number }>(
    `SELECT id, path, bytes FROM media_file m WHERE end_us IS NOT NULL
       AND id NOT IN (SELECT value FROM json_each(?1))
     ORDER BY ${heldSql}, coalesce(id >= (
       SELECT min(id) FROM (
         SELECT l.checkpoint AS id, l.source_id FROM lease l
           JOIN application a ON a.id = l.application_id
           WHERE a.required = 1 AND l.source_kind = 'camera'
         UNION ALL SELECT from_position, source_id FROM plan WHERE source_kind = 'camera')
       WHERE source_id = m.camera_id), 0), id LIMIT 1`,
    JSON.stringify([...context.sacrificed, ...context.reading.keys()]),
  );
  const [file] = files;
  if (file === undefined) return false;
  context.sacrificed.add(file.id);
  await unlinkMedia(context.folder, file.path);
  context.logger.warn(
    { path: file.path, bytes: file.bytes },
    'The disk is so full that nothing can be deleted in order: the oldest footage was unlinked.',
  );
  return true;
}

async function pass(
  context: VideoContext,
  options: RetentionOptions,
  clockGuard: ClockGuard,
): Promise<RetentionPass> {
  let files = 0;
  let bytes = 0;
  const count = (pass: RetentionPass): void => {
    files += pass.files;
    bytes += pass.bytes;
  };
  await collectGarbage(context);
  count(await forgetSacrificed(context));
  for (const camera of context.cameras.values()) {
    const { retentionMs } = camera.options;
    if (retentionMs !== null && clockGuard.allowsAge(retentionMs)) {
      count(await retainByAge(context, camera, retentionMs));
    }
    count(await retainByBudget(context, camera));
    count(await retainKept(context, camera));
    await deleteOldEvents(context, camera);
  }
  count(await keepFree(context, options));
  if (files > 0) await deleteUnusedInits(context);
  return { files, bytes };
}

async function retainByAge(
  context: VideoContext,
  camera: CameraState,
  retentionMs: number,
): Promise<RetentionPass> {
  const horizonUs = (context.clock.nowMs() - retentionMs) * 1000;
  return deleteWhile(context, camera, 'spare', () => expiredFiles(context, camera, horizonUs));
}

async function retainByBudget(context: VideoContext, camera: CameraState): Promise<RetentionPass> {
  const { maxBytes } = camera.options;
  if (maxBytes === null) return { files: 0, bytes: 0 };
  const heldBytes = await heldBytesOf(context, camera);
  return deleteWhile(context, camera, 'drop', () =>
    oldestFiles(context, camera, 'drop', (freedBytes) => {
      const storedBytes = camera.closedBytes + camera.openBytes;
      return storedBytes - heldBytes - freedBytes > maxBytes;
    }),
  );
}

async function heldBytesOf(context: VideoContext, camera: CameraState): Promise<number> {
  const row = await context.reader.get<{ bytes: number | null }>(
    `SELECT sum(bytes) AS bytes FROM media_file m
     WHERE EXISTS (SELECT 1 FROM video_event WHERE camera_id = ?1 AND hold = 1)
       AND camera_id = ?1 AND end_us IS NOT NULL AND ${heldSql}`,
    camera.id,
  );
  return row?.bytes ?? 0;
}

/** Of a camera that does not keep everything: what it does not. */
async function retainKept(context: VideoContext, camera: CameraState): Promise<RetentionPass> {
  const keptSql = keptSqlOf(camera);
  if (keptSql === null) return { files: 0, bytes: 0 };
  const horizonUs = decidedUs(camera, context.clock.nowMs());
  return deleteWhile(context, camera, 'unkept', () =>
    expiredFiles(context, camera, horizonUs, `NOT ${keptSql}`),
  );
}

/** Those whose time has no footage any more; what they hold has never been deleted before. */
async function deleteOldEvents(context: VideoContext, camera: CameraState): Promise<void> {
  const { id, firstStartUs } = camera;
  if (firstStartUs === null) return;
  const old = 'camera_id = ? AND hold = 0 AND end_us < ?';
  const some = await context.reader.get(
    `SELECT 1 FROM video_event WHERE ${old} LIMIT 1`,
    ...[id, firstStartUs],
  );
  if (some === undefined) return;
  await context.writer.transact((tx) =>
    tx.run(`DELETE FROM video_event WHERE ${old}`, ...[id, firstStartUs]),
  );
}

/** Below the floor the oldest footage of all cameras goes; what nobody waits for or holds goes first. */
async function keepFree(
  context: VideoContext,
  { minFreeBytes, freeBytes = () => freeBytesOf(context.folder) }: RetentionOptions,
): Promise<RetentionPass> {
  let files = 0;
  let bytes = 0;
  if (minFreeBytes === 0) return { files, bytes };
  for (const reach of ['spare', 'drop', 'drop-held'] as const) {
    const exhausted = new Set<CameraState>();
    while ((await freeBytes()) < minFreeBytes) {
      const camera = await oldestCamera(context, exhausted);
      if (camera === null) break;
      const deleted = await deleteStep(context, camera, reach, () =>
        oldestFiles(context, camera, reach, (freed) => freed === 0),
      );
      if (deleted.length === 0) exhausted.add(camera);
      await collectGarbage(context);
      files += deleted.length;
      bytes += sizeOf(deleted);
    }
  }
  return { files, bytes };
}

/** The one whose closed footage goes back the furthest. */
async function oldestCamera(
  context: VideoContext,
  exhausted: ReadonlySet<CameraState>,
): Promise<CameraState | null> {
  const left = [...context.cameras.values()].filter((camera) => !exhausted.has(camera));
  const oldest = await context.reader.get<{ camera_id: number }>(
    `SELECT camera_id FROM (
       SELECT value AS camera_id, (SELECT min(id) FROM media_file
         WHERE camera_id = value AND end_us IS NOT NULL) AS first_id FROM json_each(?))
     WHERE first_id IS NOT NULL ORDER BY first_id LIMIT 1`,
    JSON.stringify(left.map(({ id }) => id)),
  );
  return left.find(({ id }) => id === oldest?.camera_id) ?? null;
}

/** Deletes a camera's closed files, oldest first, as long as they are due. */
async function deleteWhile(
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

async function deleteStep(
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

/**
 * The closed files that ended before `horizonUs`. One dated in the future, by a clock that stepped
 * back since, goes with those that were recorded after it.
 */
async function expiredFiles(
  context: VideoContext,
  camera: CameraState,
  horizonUs: number,
  condition = `NOT ${heldSql}`,
): Promise<readonly ClosedFile[]> {
  const futureUs = (context.clock.nowMs() + clockStepMaxMs) * 1000;
  const files = await context.reader.all<ClosedFile>(
    `SELECT id, run_id, path, bytes, end_us FROM media_file m
     WHERE camera_id = ?1 AND end_us IS NOT NULL AND (end_us <= ?2 OR start_us > ?3)
       AND ${condition} AND id <= (SELECT max(id) FROM media_file
                  WHERE camera_id = ?1 AND start_us < ?2 AND end_us <= ?2)
     ORDER BY id LIMIT ?4`,
    ...[camera.id, horizonUs, futureUs, step],
  );
  return files.filter(({ id }) => !context.reading.has(id));
}

/** @param isWanted whether another one has to go, after those of `freedBytes`. */
async function oldestFiles(
  context: VideoContext,
  camera: CameraState,
  reach: Reach,
  isWanted: (freedBytes: number) => boolean,
): Promise<readonly ClosedFile[]> {
  const oldest = await context.reader.all<ClosedFile>(
    `SELECT id, run_id, path, bytes, end_us FROM media_file m
     WHERE camera_id = ? AND end_us IS NOT NULL ${reach === 'drop-held' ? '' : `AND NOT ${heldSql}`}
     ORDER BY id LIMIT ?`,
    ...[camera.id, step],
  );
  const due: ClosedFile[] = [];
  let freedBytes = 0;
  for (const file of oldest) {
    if (context.reading.has(file.id)) continue;
    if (!isWanted(freedBytes)) break;
    due.push(file);
    freedBytes += file.bytes;
  }
  return due;
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

/**
 * After a file is gone: what is left of its run before it becomes a run of its own. The later part
 * keeps the number, because it may go on.
 */
async function splitRun(tx: Transaction, cameraId: number, file: ClosedFile): Promise<void> {
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

/** A run dated ahead may lose its last footage while there is earlier footage of other runs. */
async function deleteEmptiedRuns(
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
async function deleteOldRuns(
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

async function unlinkMedia(folder: string, path: string): Promise<void> {
  const file = mediaFilePath(folder, path);
  try {
    await unlink(file);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  // The day's folder goes with its last file; while it has others this fails, as it should.
  await rmdir(dirname(file)).catch(() => undefined);
}

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

function sizeOf(files: readonly ClosedFile[]): number {
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
