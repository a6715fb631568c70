/** Media files that the index does not speak of: taken in by their headers, or moved away. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { inTransaction } from '../../log/repair.ts';
import type { Fragment } from '../../model.ts';
import { describeTrack, Mp4Error, readBoxHeader, type InitSegment } from '../boxes.ts';
import { boxProblem } from '../check.ts';
import { FragmentBuilder, storedAs } from '../fragment-builder.ts';
import { decodeFragmentHeader, fragmentHeaderBytes } from '../fragment-header.ts';
import { openMediaFile } from '../media-files.ts';
import { bodyOf, damageOf } from '../media-reader.ts';
import { orphans } from '../orphans.ts';
import { fragmentNumber, fragmentValues, insertFragmentSql } from '../rows.ts';
import { storedChunks } from '../stored-chunks.ts';
import {
  cameraFolder,
  moveAway,
  initOf,
  setTailAside,
  lostKeyOf,
  type VideoMending,
} from './mending.ts';

/** A media file has about a minute; one beyond this is none of ours. */
const fileBytesMax = 2 ** 31 - 1;

export async function* takeInOrphans(mending: VideoMending): AsyncGenerator<string, void> {
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
