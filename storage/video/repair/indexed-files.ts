/** Media files that the index speaks of, against what it says of them. */
import type { FileHandle } from 'node:fs/promises';
import { inTransaction } from '../../log/repair.ts';
import type { Fragment } from '../../model.ts';
import type { InitSegment } from '../boxes.ts';
import { boxProblem, checkRows } from '../check.ts';
import { mediaFilePath, openMediaFile } from '../media-files.ts';
import { bodyOf, damageOf, readStored } from '../media-reader.ts';
import {
  fragmentColumns,
  readableFragments,
  lostFragments,
  numbersOf,
  type FragmentRow,
} from '../rows.ts';
import {
  forget,
  moveAway,
  lose,
  initOf,
  setTailAside,
  lostKeyOf,
  type VideoMending,
} from './mending.ts';

export interface FileRow {
  readonly id: number;
  readonly camera_id: number;
  readonly camera: string | null;
  readonly run_id: number;
  readonly run_known: number;
  readonly path: string;
  readonly start_us: number;
  readonly end_us: number | null;
  readonly bytes: number | null;
  readonly init_bytes: Buffer | null;
}

export async function* repairFile(
  mending: VideoMending,
  file: FileRow,
): AsyncGenerator<string, void> {
  const { mediaFolder } = mending;
  const init = file.init_bytes === null ? null : initOf(file.init_bytes);
  if (file.camera === null || file.run_known === 0 || file.init_bytes === null || init === null) {
    await forget(mending, file.id);
    yield `${file.path}: its camera, run or init is lost: its rows were deleted`;
    return;
  }
  let isDamaged = false;
  const fragments = await fragmentsOf(mending, file.id, () => {
    isDamaged = true;
  });
  const handle = await openMediaFile(mediaFilePath(mediaFolder, file.path), 'change');
  if (handle === null) {
    await forget(mending, file.id);
    await lose(mending, file.camera, fragments.length, file.bytes ?? 0);
    yield `${file.path} is missing: its ${fragments.length} fragments were deleted from the index`;
    return;
  }
  try {
    yield* repairHead(handle, file.path, file.init_bytes);
    isDamaged ||= [...checkRows(file, file.init_bytes.length, fragments, new Map())].length > 0;
    if (isDamaged) {
      await forget(mending, file.id);
      yield `${file.path}: its rows are damaged: they are made again from the file`;
      return;
    }
    const kept = yield* cutShort(mending, handle, file, file.camera, fragments);
    yield* markDamaged(mending, handle, file, init, kept);
  } finally {
    await handle.close();
  }
}

async function* repairHead(
  handle: FileHandle,
  path: string,
  initBytes: Buffer,
): AsyncGenerator<string, void> {
  const head = Buffer.alloc(initBytes.length);
  const { bytesRead } = await handle.read(head, 0, head.length, 0);
  if (bytesRead < head.length || head.equals(initBytes)) return;
  await handle.write(initBytes, 0, initBytes.length, 0);
  await handle.sync();
  yield `${path}: the init at its beginning was written again`;
}

/** Deletes rows whose bytes the file lacks; takes away bytes that no row speaks of. */
async function* cutShort(
  mending: VideoMending,
  handle: FileHandle,
  file: FileRow,
  camera: string,
  fragments: readonly Fragment[],
): AsyncGenerator<string, readonly Fragment[]> {
  const { database, mediaFolder } = mending;
  const { size } = await handle.stat();
  const kept = fragments.filter(({ offset, storedBytes }) => offset + storedBytes <= size);
  const last = kept.at(-1);
  const lost = fragments.length - kept.length;
  if (lost > 0) {
    await lose(mending, camera, lost, (file.bytes ?? size) - size);
    yield `${file.path} is too short: ${lost} fragments were deleted from the index`;
  }
  if (last === undefined) {
    await forget(mending, file.id);
    yield `${file.path} holds nothing that the index speaks of: ${await moveAway(mending, mediaFilePath(mediaFolder, file.path))}`;
    return [];
  }
  const bytes = last.offset + last.storedBytes;
  if (lost > 0) {
    await inTransaction(database, async () => {
      await database.run(
        'DELETE FROM fragment WHERE number > ? AND number <= ?',
        ...[last.number, numbersOf(file.id)[1]],
      );
      await database.run(
        'UPDATE media_file SET end_us = ?, bytes = ? WHERE id = ?',
        ...[last.startUs + last.durationUs, bytes, file.id],
      );
    });
  }
  if (size > bytes && (file.end_us !== null || lost > 0)) {
    yield await setTailAside(mending, handle, file, bytes, size);
  }
  return kept;
}

async function* markDamaged(
  mending: VideoMending,
  handle: FileHandle,
  file: FileRow,
  init: InitSegment,
  fragments: readonly Fragment[],
): AsyncGenerator<string, void> {
  const { database } = mending;
  const lost = await lostFragments(database, file.id);
  for (const fragment of fragments) {
    if (lost.has(fragment.number)) continue;
    const stored = await readStored(handle, fragment);
    const problem =
      damageOf(stored, fragment) ??
      boxProblem(init, stored, fragment) ??
      lostKeyOf(mending, bodyOf(stored));
    if (problem === null) continue;
    const saved = await mending.setAside(`fragment-${fragment.number}`, stored);
    await database.run('UPDATE fragment SET damaged = 2 WHERE number = ?', fragment.number);
    await lose(mending, fragment.camera, 1, fragment.storedBytes);
    yield `${file.path}: fragment ${fragment.number} is lost (${problem}); its bytes are in ${saved}`;
  }
}

async function fragmentsOf(
  { database }: VideoMending,
  id: number,
  tellDamaged: () => void,
): Promise<readonly Fragment[]> {
  const rows = await database.all<FragmentRow>(
    `SELECT ${fragmentColumns} FROM fragment f
     CROSS JOIN media_file m ON m.id = ?1 CROSS JOIN camera c ON c.id = m.camera_id
     WHERE f.number BETWEEN ?2 AND ?3 ORDER BY f.number`,
    ...[id, ...numbersOf(id)],
  );
  return readableFragments(rows, tellDamaged);
}
