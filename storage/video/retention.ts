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
 * - While the media folder is not there (`media-disk.ts`) nothing is deleted.
 *
 * How files are deleted is in `deletion.ts`, and what becomes of their runs in `run-deletion.ts`.
 */
import { statfs } from 'node:fs/promises';
import { type ClockGuard, clockStepMaxMs } from '../clock-guard.ts';
import { StorageError } from '../errors.ts';
import type { CameraState, VideoContext } from './context.ts';
import {
  collectGarbage,
  deleteStep,
  deleteUnusedInits,
  deleteWhile,
  sizeOf,
  step,
  unlinkMedia,
  type ClosedFile,
  type Reach,
  type RetentionPass,
} from './deletion.ts';
import { decidedUs, heldSql, keptSqlOf } from './kept.ts';

export interface RetentionOptions {
  /** Space to keep free on the disk of the media folder; 0: none. */
  readonly minFreeBytes: number;
  /** Free bytes on that disk. */
  readonly freeBytes?: () => Promise<number>;
}

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

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
