/**
 * The media file that a run is writing: its place, and what its recording commits about it.
 */
import type { Fragment, Run } from '../model.ts';
import type { Transaction } from '../writer.ts';
import { announcement, type CameraState } from './context.ts';
import type { FileOrigin } from './fragment-builder.ts';
import type { MediaWriter } from './media-writer.ts';
import { fragmentValues, insertFragmentSql } from './rows.ts';

export interface OpenFile {
  readonly id: number;
  readonly path: string;
  readonly writer: MediaWriter;
  readonly initId: number;
  startUs: number;
  origin: FileOrigin | null;
  /** Fragments committed. */
  fragments: number;
  /** Bytes up to the end of the last committed fragment. */
  committedBytes: number;
}

export async function insertFragment(
  tx: Transaction,
  beginningRun: Run | null,
  file: OpenFile,
  fragment: Fragment,
  events: string | null,
): Promise<void> {
  if (beginningRun !== null && beginningRun.startUs !== fragment.startUs) {
    await tx.run('UPDATE run SET start_us = ? WHERE id = ?', fragment.startUs, beginningRun.id);
  }
  const fileStartUs = file.fragments === 0 ? fragment.startUs : file.startUs;
  if (fileStartUs !== file.startUs) {
    await tx.run('UPDATE media_file SET start_us = ? WHERE id = ?', fileStartUs, file.id);
  }
  await tx.run(insertFragmentSql, ...fragmentValues(fragment, fileStartUs));
  if (events === null) return;
  const data = announcement(fragment, file.path);
  await tx.append(events, [{ partitionKey: fragment.camera, data }]);
}

export async function closeFileRow(tx: Transaction, file: OpenFile, endUs: number): Promise<void> {
  if (file.fragments === 0) {
    await tx.run('DELETE FROM media_file WHERE id = ?', file.id);
    return;
  }
  await tx.run(
    'UPDATE media_file SET end_us = ?, bytes = ? WHERE id = ?',
    ...[endUs, file.committedBytes, file.id],
  );
}

/**
 * `<camera>.<id>/<day>/<time>.<file>.mp4`. The ids keep apart what has had the same name, and make
 * a harmless folder of a camera called `..`.
 */
export function mediaPath(camera: CameraState, fileId: number, startUs: number): string {
  const [day = '', time = ''] = new Date(startUs / 1000).toISOString().split('T');
  const clock = time.slice(0, 8).replaceAll(':', '-');
  return `${camera.options.name}.${camera.id}/${day}/${clock}.${fileId}.mp4`;
}
