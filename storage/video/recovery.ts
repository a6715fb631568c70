/**
 * Puts in order what a run left behind that was never closed: the writer died, or the disk refused.
 *
 * For each media file whose row is open: the tail is cut after the last whole chunk, a
 * fragment that is there but has no row is sealed and gets one, and file and run are closed. Rows
 * whose bytes are not in the file (a disk that lied about an fsync) are deleted and said loudly.
 * Only open files are looked at, never the whole tree. Encrypted footage is recovered without its key.
 */
import { type FileHandle, unlink } from 'node:fs/promises';
import type { Fragment, FreeTime } from '../model.ts';
import type { Transaction } from '../writer.ts';
import { readInit } from './boxes.ts';
import { announcement, type CameraState, type VideoContext } from './context.ts';
import { FragmentBuilder, storedAs } from './fragment-builder.ts';
import { decodeFragmentHeader, fragmentHeaderBytes } from './fragment-header.ts';
import { diskErrors } from '../disk-errors.ts';
import { freeTime } from './free-time.ts';
import { storedChunks } from './stored-chunks.ts';
import { mediaFilePath, openMediaFile } from './media-files.ts';
import {
  fragmentColumns,
  fragmentFrom,
  fragmentNumber,
  type FragmentRow,
  fragmentValues,
  insertFragmentSql,
  isInitWhole,
  type MediaFileRow,
  numbersOf,
} from './rows.ts';

interface OpenFileRow extends MediaFileRow {
  readonly init_bytes: Buffer;
  readonly init_hash: string;
}

/** More than the largest fragment that the recorder makes: what is behind it is given up. */
const tailBytesMax = 100 * 1024 * 1024;

const sectorBytes = 4096;
const zeroSector = Buffer.alloc(sectorBytes);

/**
 * Recovers every open file and run of a camera.
 * @throws StorageError `write-failed`, `disk-full`
 */
export async function recover(
  context: VideoContext,
  camera: CameraState,
  reason = 'gateway crashed',
): Promise<void> {
  const files = await context.reader.all<OpenFileRow>(
    `SELECT m.id, ? AS camera, m.run_id, m.init_id, m.path, m.start_us, m.end_us, m.bytes,
            i.bytes AS init_bytes, i.hash AS init_hash
     FROM media_file m JOIN init i ON i.id = m.init_id
     WHERE m.camera_id = ? AND m.end_us IS NULL ORDER BY m.id`,
    ...[camera.options.name, camera.id],
  );
  for (const file of files) {
    if (isInitWhole({ bytes: file.init_bytes, hash: file.init_hash })) {
      await recoverFile(context, camera, file);
      continue;
    }
    // Nothing of it can be told from its bytes, and nothing of it is thrown away.
    context.logger.error(
      { camera: camera.options.name, path: file.path },
      'A media file can\'t be recovered: its init is damaged in the index. "headgate check --repair" indexes it again.',
    );
  }
  await context.writer.transact(async (tx) => {
    await tx.run(
      `DELETE FROM run WHERE camera_id = ?1 AND end_us IS NULL AND NOT EXISTS (
         SELECT 1 FROM media_file m WHERE m.camera_id = ?1 AND m.run_id = run.id)`,
      camera.id,
    );
    await tx.run(
      `UPDATE run SET end_reason = ?2, end_us = (
         SELECT max(m.end_us) FROM media_file m WHERE m.camera_id = ?1 AND m.run_id = run.id)
       WHERE camera_id = ?1 AND end_us IS NULL`,
      ...[camera.id, reason],
    );
  });
  camera.unclosed = false;
}

async function recoverFile(
  context: VideoContext,
  camera: CameraState,
  file: OpenFileRow,
): Promise<void> {
  const rows = await committed(context, file);
  const path = mediaFilePath(context.folder, file.path);
  const handle = await diskErrors('open a media file', () => openMediaFile(path, 'change'));
  const logger = context.logger.child({ camera: camera.options.name, path: file.path });
  const { kept, bytes, recovered } =
    handle === null
      ? { kept: [], bytes: 0, recovered: null }
      : await repair(context, handle, camera, file, rows).finally(() => handle.close());
  const lost = rows.length - kept.length;
  if (lost > 0) {
    logger.error({ fragments: lost }, 'Stored fragments are missing from their media file.');
    context.losses.add('fragments-corrupt', camera.options.name, { count: lost });
  }
  const all = recovered === null ? kept : [...kept, recovered];
  const last = all.at(-1);
  const endUs = last === undefined ? file.start_us : last.startUs + last.durationUs;
  await context.writer.transact(async (tx) => {
    const [, lastNumber] = numbersOf(file.id);
    await tx.run(
      'DELETE FROM fragment WHERE number BETWEEN ? AND ?',
      ...[fragmentNumber(file.id, kept.length), lastNumber],
    );
    if (recovered !== null)
      await insertRecovered(context, camera, file, recovered, kept.length, tx);
    if (last === undefined) await tx.run('DELETE FROM media_file WHERE id = ?', file.id);
    else {
      await tx.run(
        'UPDATE media_file SET end_us = ?, bytes = ? WHERE id = ?',
        ...[endUs, bytes, file.id],
      );
    }
  });
  if (last === undefined) {
    await unlink(path).catch(() => undefined);
    return;
  }
  camera.closedBytes += bytes;
  camera.lastClosedFileId = Math.max(camera.lastClosedFileId, file.id);
  camera.firstStartUs = Math.min(camera.firstStartUs ?? Infinity, all[0]?.startUs ?? Infinity);
  camera.lastEndUs = Math.max(camera.lastEndUs ?? endUs, endUs);
  logger.info(
    { recoveredFragments: recovered === null ? 0 : 1, bytes },
    'A media file that was not closed has been recovered.',
  );
}

/** Truncates the file to what is whole; seals the fragment that has no row. */
async function repair(
  context: VideoContext,
  handle: FileHandle,
  camera: CameraState,
  file: OpenFileRow,
  rows: readonly Fragment[],
): Promise<{ kept: readonly Fragment[]; bytes: number; recovered: Fragment | null }> {
  const { size } = await handle.stat();
  const kept = rows.filter((row) => row.offset + row.storedBytes <= size);
  const last = kept.at(-1);
  const from = last === undefined ? file.init_bytes.length : last.offset + last.storedBytes;
  // A tail can only be trusted behind all that was committed.
  const tail =
    kept.length === rows.length && size >= from
      ? arrivedPart(await readRange(handle, from, size), from)
      : null;
  const recovered =
    tail === null
      ? null
      : await recoverTail(file, tail, from, last ?? null, kept.length, (atUs) =>
          freeTime(context.reader, camera.id, atUs, 1),
        );
  const bytes = recovered === null ? from : from + recovered.fragment.storedBytes;
  await diskErrors('recover a media file', async () => {
    // Before the first commit of a file nothing was synced, so a power cut may have torn its head.
    if (recovered !== null && last === undefined) {
      await handle.write(file.init_bytes, 0, file.init_bytes.length, 0);
    }
    if (recovered !== null) await handle.write(recovered.header, 0, fragmentHeaderBytes, from);
    if (size > bytes) await handle.truncate(bytes);
    await handle.datasync();
  });
  return { kept, bytes, recovered: recovered?.fragment ?? null };
}

/**
 * The tail up to the first sector that never arrived: after a power cut a file may be longer than
 * what was written to it, and the rest reads as zeros. Coded pictures hold no such run of them.
 */
function arrivedPart(tail: Buffer, offset: number): Buffer {
  const firstSector = (sectorBytes - (offset % sectorBytes)) % sectorBytes;
  for (let at = firstSector; at + sectorBytes <= tail.length; at += sectorBytes) {
    if (tail.subarray(at, at + sectorBytes).equals(zeroSector)) return tail.subarray(0, at);
  }
  return tail;
}

/**
 * Reads what stands behind the last committed fragment; null when no whole chunk is there, or its
 * time is taken.
 * @param freeAt the free time in which an instant lies, or else the first after it
 */
async function recoverTail(
  file: OpenFileRow,
  tail: Buffer,
  offset: number,
  before: Fragment | null,
  position: number,
  freeAt: (atUs: number) => Promise<FreeTime>,
): Promise<{ fragment: Fragment; header: Buffer } | null> {
  if (tail.length <= fragmentHeaderBytes) return null;
  const init = readInit(file.init_bytes);
  // A torn header is replaced by what is known without it: a run has no gaps.
  const header = decodeFragmentHeader(tail.subarray(0, fragmentHeaderBytes));
  const startUs =
    before === null ? (header?.startUs ?? file.start_us) : before.startUs + before.durationUs;
  const builder = new FragmentBuilder({
    number: fragmentNumber(file.id, position),
    camera: file.camera,
    runId: file.run_id,
    initId: file.init_id,
    mediaFileId: file.id,
    offset,
    startUs,
    producerMs: header?.producerMs ?? null,
    serverMs: header?.serverMs ?? Math.floor(startUs / 1000),
  });
  for (const { facts, bytes } of storedChunks(init, tail.subarray(fragmentHeaderBytes))) {
    builder.add(facts, storedAs(bytes));
  }
  if (builder.chunkCount === 0) return null;
  const sealed = header?.sealed === true && header.bodyBytes === builder.bodyBytes;
  const end = {
    startUs: sealed ? header.startUs : startUs,
    durationUs: sealed ? header.durationUs : Math.max(1, builder.mediaUs),
    damaged: sealed ? header.damaged : false,
  };
  const free = await freeAt(end.startUs);
  if (end.startUs < free.fromUs) return null;
  // Footage that is dated later ends it, as it would have ended the run.
  end.durationUs = Math.min(end.durationUs, (free.untilUs ?? Infinity) - end.startUs);
  return { fragment: builder.build(end), header: builder.sealedHeader(end) };
}

async function insertRecovered(
  context: VideoContext,
  camera: CameraState,
  file: OpenFileRow,
  fragment: Fragment,
  position: number,
  tx: Transaction,
): Promise<void> {
  const fileStartUs = position === 0 ? fragment.startUs : file.start_us;
  if (position === 0) {
    await tx.run('UPDATE media_file SET start_us = ? WHERE id = ?', fileStartUs, file.id);
  }
  await tx.run(insertFragmentSql, ...fragmentValues(fragment, fileStartUs));
  const { events } = camera.options;
  if (events === null) return;
  const data = announcement(fragment, file.path);
  await tx.append(events, [{ partitionKey: fragment.camera, data }]).catch((error: unknown) => {
    context.metrics.lostAnnouncements.add(1, { camera: fragment.camera });
    context.losses.add('announcements-lost', fragment.camera);
    context.logger.warn({ error, camera: fragment.camera }, 'A fragment was not announced.');
  });
}

async function committed(context: VideoContext, file: OpenFileRow): Promise<readonly Fragment[]> {
  const rows = await context.reader.all<FragmentRow>(
    `SELECT ${fragmentColumns} FROM fragment f
     JOIN media_file m ON m.id = ? JOIN camera c ON c.id = m.camera_id
     WHERE f.number BETWEEN ? AND ? ORDER BY f.number`,
    ...[file.id, ...numbersOf(file.id)],
  );
  return rows.map(fragmentFrom);
}

async function readRange(handle: FileHandle, from: number, to: number): Promise<Buffer> {
  const length = Math.min(to - from, tailBytesMax);
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, from + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}
