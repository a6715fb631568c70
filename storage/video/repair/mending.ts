/** What every part of the repair of footage works with. */
import { mkdir, rename, type FileHandle } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { inTransaction, type Mending } from '../../log/repair.ts';
import { saveLoss } from '../../losses.ts';
import { Mp4Error, readInit, type InitSegment } from '../boxes.ts';
import { numbersOf } from '../rows.ts';
import { dataKeysOf } from '../stored-chunks.ts';

export interface VideoMendingOptions extends Mending {
  readonly mediaFolder: string;
  /** Where files are moved to. */
  readonly damageFolder: string;
  /** Rows of cameras may have been lost with their pages. */
  readonly camerasLost: boolean;
}

export interface VideoMending extends VideoMendingOptions {
  /** The data keys there are. */
  readonly keyIds: ReadonlySet<number>;
}

/** `<name>.<id>/`, as in `../open-file.ts`. */
export const cameraFolder = /^([^/]+)\.(\d{1,12})\//;
const tailBytesMax = 64 * 1024 * 1024;

export async function forget({ database }: VideoMending, id: number): Promise<void> {
  await inTransaction(database, async () => {
    await database.run('DELETE FROM fragment WHERE number BETWEEN ? AND ?', ...numbersOf(id));
    await database.run('DELETE FROM media_file WHERE id = ?', id);
  });
}

/** Moves a file to the damage folder; answers that it did, in words. */
export async function moveAway(
  { mediaFolder, damageFolder }: VideoMending,
  full: string,
): Promise<string> {
  const to = join(damageFolder, 'media', relative(mediaFolder, full));
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  try {
    await rename(full, to);
    return `it was moved to ${to}`;
  } catch (error) {
    return `it could not be moved to ${to} (${error instanceof Error ? error.message : String(error)})`;
  }
}

export function lose(
  { database, nowMs }: Mending,
  camera: string,
  count: number,
  bytes: number,
): Promise<void> {
  if (count === 0) return Promise.resolve();
  return saveLoss(
    database,
    { kind: 'fragments-corrupt', subject: camera, count, bytes: Math.max(0, bytes) },
    nowMs,
  );
}

export function initOf(bytes: Buffer): InitSegment | null {
  try {
    return readInit(bytes);
  } catch (error) {
    if (error instanceof Mp4Error) return null;
    throw error;
  }
}

export async function setTailAside(
  mending: VideoMending,
  handle: FileHandle,
  { id, path }: { readonly id: number; readonly path: string },
  bytes: number,
  size: number,
): Promise<string> {
  const tail = Buffer.alloc(Math.min(size - bytes, tailBytesMax));
  await handle.read(tail, 0, tail.length, bytes);
  const saved = await mending.setAside(`${id}-tail.mp4`, tail);
  await handle.truncate(bytes);
  await handle.sync();
  return `${path}: ${size - bytes} bytes behind its end were moved to ${saved}`;
}

export function lostKeyOf({ keyIds }: VideoMending, body: Buffer): string | null {
  const lost = [...dataKeysOf(body)].find((id) => !keyIds.has(id));
  return lost === undefined ? null : `its data key ${lost} is lost`;
}
