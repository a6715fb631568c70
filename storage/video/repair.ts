/**
 * Mends the index of footage against the media files, as `check.ts` finds them damaged.
 *
 * - A fragment whose bytes are damaged keeps its place and is marked lost (`damaged = 2`): players
 *   go past it. Its bytes are copied to the damage folder. What a file that is too short lacks, and
 *   files that are missing, go from the index.
 * - Rows that contradict each other are made again from the headers in the file.
 * - A file without rows is indexed from its headers, if its camera is known and its time is free;
 *   else it is moved to the damage folder. So are bytes behind the end of a closed file. A camera
 *   whose row was lost is made again from the name of its folder.
 * - Where a run has a gap now, it becomes two.
 *
 * - None of it needs a master key: what is encrypted stays so. A fragment whose data key is lost is as
 *   good as one that is damaged.
 *
 * Files that are still open in the index are left to `recovery.ts`, but for what is committed.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { StorageError } from '../errors.ts';
import type { Mending } from '../log/repair.ts';
import { inTransaction } from '../log/repair.ts';
import { loadKeys } from '../key-table.ts';
import { saveLoss } from '../losses.ts';
import type { Fragment } from '../model.ts';
import { describeTrack, type InitSegment, Mp4Error, readBoxHeader, readInit } from './boxes.ts';
import { boxProblem, checkRows, damagedInitsOf } from './check.ts';
import { FragmentBuilder, storedAs } from './fragment-builder.ts';
import { decodeFragmentHeader, fragmentHeaderBytes } from './fragment-header.ts';
import { mediaFilePath, openMediaFile } from './media-files.ts';
import { bodyOf, damageOf, readStored } from './media-reader.ts';
import { orphans } from './orphans.ts';
import { dataKeysOf, storedChunks } from './stored-chunks.ts';
import {
  fragmentColumns,
  readableFragments,
  fragmentNumber,
  type FragmentRow,
  fragmentValues,
  insertFragmentSql,
  lostFragments,
  numbersOf,
  gapWithinRunUsMax,
} from './rows.ts';

export interface VideoMendingOptions extends Mending {
  readonly mediaFolder: string;
  /** Where files are moved to. */
  readonly damageFolder: string;
  /** Rows of cameras may have been lost with their pages. */
  readonly camerasLost: boolean;
}

interface VideoMending extends VideoMendingOptions {
  /** The data keys there are. */
  readonly keyIds: ReadonlySet<number>;
}

interface FileRow {
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

/** `<name>.<id>/`, as in `open-file.ts`. */
const cameraFolder = /^([^/]+)\.(\d{1,12})\//;
const page = 200;
/** A media file has about a minute; one beyond this is none of ours. */
const fileBytesMax = 2 ** 31 - 1;
const tailBytesMax = 64 * 1024 * 1024;

/**
 * Yields what was done, a sentence each.
 * @throws StorageError `invalid-argument` when there is no media folder for the footage of the index
 */
export async function* repairVideo(options: VideoMendingOptions): AsyncGenerator<string, void> {
  const { database, mediaFolder } = options;
  const keyIds = new Set((await loadKeys(database)).keys.map(({ id }) => id));
  const mending = { ...options, keyIds };
  const folder = await stat(mediaFolder).catch(() => null);
  const hasFiles = (await database.get('SELECT 1 FROM media_file LIMIT 1')) !== undefined;
  if (folder?.isDirectory() !== true && (folder !== null || hasFiles)) {
    throw new StorageError(
      'invalid-argument',
      `${mediaFolder} is not a folder: is its disk mounted? The index of footage was left as it is`,
    );
  }
  yield* restoreCameras(mending);
  const { changes } = await database.run(
    'DELETE FROM fragment WHERE number / 4096 NOT IN (SELECT id FROM media_file)',
  );
  if (changes > 0) yield `${changes} fragments of files that the index lacks were deleted`;
  // Their files are indexed again, by what they begin with.
  for (const id of await damagedInitsOf(database)) {
    await database.run('DELETE FROM init WHERE id = ?', id);
    yield `init ${id} was damaged and was deleted`;
  }
  for (let from = 0; ;) {
    const files = await filesFrom(mending, from);
    const last = files.at(-1);
    if (last === undefined) break;
    for (const file of files) yield* repairFile(mending, file);
    from = last.id + 1;
  }
  yield* takeInOrphans(mending);
  yield* splitRuns(mending);
}

/**
 * Makes cameras again whose rows were lost, from the names of their folders. Where no row was lost,
 * a folder that no camera has is that of one that was deleted, or none of ours.
 */
async function* restoreCameras(mending: VideoMending): AsyncGenerator<string, void> {
  const { database, mediaFolder, camerasLost } = mending;
  const hadCameras = await database.get(
    "SELECT 1 FROM sqlite_sequence WHERE name = 'camera' AND seq > 0",
  );
  if (hadCameras !== undefined && !camerasLost) return;
  const entries = await readdir(mediaFolder, { withFileTypes: true }).catch(() => []);
  const restored: string[] = [];
  // At once: a second repair, after a kill between them, would take the rest for deleted.
  await inTransaction(database, async () => {
    for (const entry of entries) {
      const [, name, id] = cameraFolder.exec(`${entry.name}/`) ?? [];
      if (name === undefined || !entry.isDirectory()) continue;
      const { changes } = await database.run(
        // What it records until it is configured again is not to lie in the open.
        "INSERT OR IGNORE INTO camera (id, name, encryption) VALUES (?, ?, 'aes-256-gcm')",
        ...[Number(id), name],
      );
      if (changes > 0) restored.push(name);
    }
  });
  for (const name of restored) yield `camera ${name} was made again from the name of its folder`;
}

function filesFrom({ database }: VideoMending, from: number): Promise<FileRow[]> {
  return database.all<FileRow>(
    `SELECT m.id, m.camera_id, c.name AS camera, m.run_id, r.id IS NOT NULL AS run_known, m.path,
            m.start_us, m.end_us, m.bytes, i.bytes AS init_bytes
     FROM media_file m LEFT JOIN camera c ON c.id = m.camera_id
       LEFT JOIN run r ON r.id = m.run_id LEFT JOIN init i ON i.id = m.init_id
     WHERE m.id >= ? ORDER BY m.id LIMIT ?`,
    ...[from, page],
  );
}

async function* repairFile(mending: VideoMending, file: FileRow): AsyncGenerator<string, void> {
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

// ---------------------------------------------------------------- files without rows

async function* takeInOrphans(mending: VideoMending): AsyncGenerator<string, void> {
  const { database, mediaFolder } = mending;
  const found = orphans({ queries: database, mediaFolder, unreadable: 'passed-over' });
  for await (const { path, id, isTaken } of found) {
    const taken = id === null || id === 0 || isTaken ? null : await indexFile(mending, path, id);
    if (id === null || taken === null) {
      const full = join(mediaFolder, path);
      yield `${path} is not in the index and can't be: ${await moveAway(mending, full)}`;
      continue;
    }
    yield `${path} was not in the index: its ${taken.fragments} fragments are now`;
    yield* cutTail(mending, path, id, taken.bytes);
  }
}

/** What of a file behind its last fragment could not be indexed goes to the damage folder. */
async function* cutTail(
  mending: VideoMending,
  path: string,
  id: number,
  bytes: number,
): AsyncGenerator<string, void> {
  const handle = await openMediaFile(join(mending.mediaFolder, path), 'change');
  if (handle === null) return;
  try {
    const { size } = await handle.stat();
    if (size > bytes) yield await setTailAside(mending, handle, { id, path }, bytes, size);
  } finally {
    await handle.close();
  }
}

async function setTailAside(
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

/** Indexes a file by its headers; null when it can't be. Answers what it holds, and up to where. */
async function indexFile(
  mending: VideoMending,
  path: string,
  id: number,
): Promise<{ readonly fragments: number; readonly bytes: number } | null> {
  const { database, mediaFolder } = mending;
  const [, name = '', cameraId = ''] = cameraFolder.exec(path) ?? [];
  const camera = await database.get<{ id: number; name: string }>(
    'SELECT id, name FROM camera WHERE id = ? AND name = ?',
    ...[Number(cameraId), name],
  );
  if (camera === undefined) return null;
  const bytes = await readAll(join(mediaFolder, path));
  const file = { id, camera: camera.name };
  const read = bytes === null ? null : readFragments(mending, bytes, file);
  const first = read?.fragments[0];
  const last = read?.fragments.at(-1);
  if (read === null || first === undefined || last === undefined) return null;
  const endUs = last.startUs + last.durationUs;
  const taken = await database.get(
    `SELECT 1 FROM media_file m WHERE camera_id = ?1 AND start_us < ?3 AND coalesce(end_us, (
       SELECT m.start_us + start_offset_us + duration_us FROM fragment
       WHERE number BETWEEN m.id * 4096 AND m.id * 4096 + 4095 ORDER BY number DESC LIMIT 1)) > ?2`,
    ...[camera.id, first.startUs, endUs],
  );
  if (taken !== undefined) return null;
  await inTransaction(database, async () => {
    const initId = await initRow(mending, read.initBytes, read.init);
    await database.run(
      `INSERT INTO run (id, camera_id, start_us, end_us, end_reason) VALUES (?1, ?2, ?3, ?4, 'repaired')
       ON CONFLICT (id) DO UPDATE SET start_us = min(start_us, ?3), end_us = max(end_us, ?4)`,
      ...[first.runId, camera.id, first.startUs, endUs],
    );
    await database.run(
      `INSERT INTO media_file (id, camera_id, run_id, init_id, start_us, end_us, bytes, path)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[id, camera.id, first.runId, initId, first.startUs, endUs],
      ...[last.offset + last.storedBytes, path],
    );
    for (const fragment of read.fragments) {
      await database.run(insertFragmentSql, ...fragmentValues(fragment, first.startUs));
    }
  });
  return { fragments: read.fragments.length, bytes: last.offset + last.storedBytes };
}

interface ReadFile {
  readonly init: InitSegment;
  readonly initBytes: Buffer;
  readonly fragments: readonly Fragment[];
}

/** The fragments of a media file, from its headers, up to the first that is damaged. */
function readFragments(
  mending: VideoMending,
  bytes: Buffer,
  { id, camera }: { readonly id: number; readonly camera: string },
): ReadFile | null {
  const initLength = lengthOfInit(bytes);
  if (initLength === null) return null;
  const initBytes = bytes.subarray(0, initLength);
  const init = initOf(initBytes);
  if (init === null) return null;
  const fragments: Fragment[] = [];
  for (let at = initLength; at < bytes.length;) {
    const header = decodeFragmentHeader(bytes.subarray(at, at + fragmentHeaderBytes));
    const number = fragmentNumber(id, fragments.length);
    if (header?.sealed !== true || header.number !== number) break;
    const end = at + fragmentHeaderBytes + header.bodyBytes;
    const stored = bytes.subarray(at, end);
    const { runId, startUs, producerMs, serverMs, durationUs, damaged } = header;
    const builder = new FragmentBuilder({
      number,
      camera,
      runId,
      initId: header.initId,
      mediaFileId: id,
      offset: at,
      startUs,
      producerMs,
      serverMs,
    });
    const body = bodyOf(stored);
    for (const chunk of storedChunks(init, body)) builder.add(chunk.facts, storedAs(chunk.bytes));
    if (builder.chunkCount === 0) break;
    const built = builder.build({ startUs, durationUs, damaged });
    // A copy in the open may have a box behind its chunks.
    const fragment = { ...built, storedBytes: end - at };
    if ((damageOf(stored, fragment) ?? boxProblem(init, stored, fragment)) !== null) break;
    if (lostKeyOf(mending, body) !== null) break;
    fragments.push(fragment);
    at = end;
  }
  return { init, initBytes, fragments };
}

function lostKeyOf({ keyIds }: VideoMending, body: Buffer): string | null {
  const lost = [...dataKeysOf(body)].find((id) => !keyIds.has(id));
  return lost === undefined ? null : `its data key ${lost} is lost`;
}

/** Where the first fragment's header begins. */
function lengthOfInit(bytes: Buffer): number | null {
  try {
    for (let at = 0; ;) {
      const header = readBoxHeader(bytes, at);
      if (header === null || header.sizeBytes > bytes.length - at) return null;
      if (header.type === 'uuid') return at;
      at += header.sizeBytes;
    }
  } catch (error) {
    if (error instanceof Mp4Error) return null;
    throw error;
  }
}

async function initRow(
  { database }: VideoMending,
  bytes: Buffer,
  init: InitSegment,
): Promise<number> {
  const hash = createHash('sha256').update(bytes).digest('hex');
  const known = await database.get<{ id: number }>('SELECT id FROM init WHERE hash = ?', hash);
  if (known !== undefined) return known.id;
  const { lastId } = await database.run(
    'INSERT INTO init (hash, tracks, bytes) VALUES (?, ?, ?)',
    ...[hash, JSON.stringify(init.tracks.map(describeTrack)), bytes],
  );
  return lastId;
}

// ---------------------------------------------------------------- runs

/** A gap within a run that is too long: what comes after it becomes a run of its own. */
async function* splitRuns({ database }: VideoMending): AsyncGenerator<string, void> {
  for (;;) {
    const gap = await database.get<{
      id: number;
      run_id: number;
      camera_id: number;
      start_us: number;
      before_us: number;
    }>(
      `SELECT id, run_id, camera_id, start_us, before_us FROM (
         SELECT id, run_id, camera_id, start_us,
                lag(end_us) OVER (PARTITION BY run_id ORDER BY id) AS before_us FROM media_file)
       WHERE before_us IS NOT NULL AND start_us > before_us + ? ORDER BY id LIMIT 1`,
      gapWithinRunUsMax,
    );
    if (gap === undefined) return;
    await inTransaction(database, async () => {
      const { lastId } = await database.run(
        `INSERT INTO run (camera_id, start_us, end_us, end_reason)
         SELECT camera_id, ?, end_us, end_reason FROM run WHERE id = ?`,
        ...[gap.start_us, gap.run_id],
      );
      await database.run(
        'UPDATE media_file SET run_id = ? WHERE run_id = ? AND id >= ?',
        ...[lastId, gap.run_id, gap.id],
      );
      await database.run(
        "UPDATE run SET end_us = ?, end_reason = 'repaired' WHERE id = ?",
        ...[gap.before_us, gap.run_id],
      );
    });
    yield `run ${gap.run_id} has a gap before media file ${gap.id}: it became two runs`;
  }
}

// ---------------------------------------------------------------- common

async function forget({ database }: VideoMending, id: number): Promise<void> {
  await inTransaction(database, async () => {
    await database.run('DELETE FROM fragment WHERE number BETWEEN ? AND ?', ...numbersOf(id));
    await database.run('DELETE FROM media_file WHERE id = ?', id);
  });
}

/** Moves a file to the damage folder; answers that it did, in words. */
async function moveAway(
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

function lose(
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

function initOf(bytes: Buffer): InitSegment | null {
  try {
    return readInit(bytes);
  } catch (error) {
    if (error instanceof Mp4Error) return null;
    throw error;
  }
}

async function readAll(path: string): Promise<Buffer | null> {
  const handle = await openMediaFile(path, 'read');
  if (handle === null) return null;
  try {
    const { size } = await handle.stat();
    return size > fileBytesMax ? null : await handle.readFile();
  } finally {
    await handle.close();
  }
}
