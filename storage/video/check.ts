/**
 * Holds the video index against the media files: every row's file is there and long enough, every
 * fragment has its checksum, its boxes are whole and say what the row says, and no file is without
 * a row. Of what is encrypted no key is needed for that, but its data keys have to be there. Changes
 * nothing. Works beside a gateway that is recording, and on what a crash left (an
 * open file may have a tail that has no row: recovery takes care of that).
 */
import type { FileHandle } from 'node:fs/promises';
import { StorageError } from '../errors.ts';
import type { Finding, FindingCode } from '../finding.ts';
import type { KeyTable } from '../key-table.ts';
import type { Fragment } from '../model.ts';
import { type InitSegment, Mp4Error, readInit } from './boxes.ts';
import type { Reader } from './context.ts';
import type { ChunkFacts } from './chunk-facts.ts';
import { readChunk } from './fragment-builder.ts';
import { mediaFilePath, openMediaFile } from './media-files.ts';
import { dataKeysOf, isEncryptedBody, storedChunks } from './stored-chunks.ts';
import { bodyOf, damageOf, readStored } from './media-reader.ts';
import { orphans } from './orphans.ts';
import {
  fragmentColumns,
  initFrom,
  type InitRow,
  readableFragments,
  type FragmentRow,
  lostFragments,
  numbersOf,
  gapWithinRunUsMax,
} from './rows.ts';

interface FileRow {
  readonly id: number;
  readonly camera_id: number;
  readonly camera: string | null;
  readonly run_id: number;
  readonly run_known: number;
  readonly path: string;
  readonly end_us: number | null;
  readonly bytes: number | null;
  readonly init_id: number;
  readonly init_bytes: Buffer | null;
}

/** Files looked up at a time. */
const page = 200;

/**
 * Yields what is wrong with the footage, as it is found.
 * @param keys the data keys there are
 */
export async function* checkVideo(
  reader: Reader,
  mediaFolder: string,
  { keys }: Pick<KeyTable, 'keys'>,
): AsyncGenerator<Finding, void> {
  const keyIds = new Set(keys.map(({ id }) => id));
  yield* checkOrphanedRows(reader);
  const damagedInits = await damagedInitsOf(reader);
  for (const id of damagedInits) {
    yield finding('index-damaged', `init ${id}`, 'it is not what was written');
  }
  const lastEnd = new Map<number, { runId: number; endUs: number }>();
  let from = 0;
  for (;;) {
    const files = await filesFrom(reader, from);
    const last = files.at(-1);
    if (last === undefined) break;
    for (const file of files) {
      // Without its init nothing of a file can be looked at.
      if (damagedInits.has(file.init_id)) continue;
      yield* checkFile(reader, mediaFolder, file, lastEnd, keyIds);
    }
    from = last.id + 1;
  }
  for await (const { path } of orphans({ queries: reader, mediaFolder, unreadable: 'refused' })) {
    yield {
      severity: 'warning',
      code: 'media-orphaned',
      where: path,
      what: 'the index does not know this file',
      advice: 'it takes space and nothing needs it: look at it, then delete it',
    };
  }
}

/** Inits whose rows are damaged; files of theirs can be indexed again by what they begin with. */
export async function damagedInitsOf(reader: Reader): Promise<ReadonlySet<number>> {
  const damaged = new Set<number>();
  for (let from = 0; ;) {
    const rows = await reader.all<InitRow>(
      'SELECT id, hash, tracks, bytes FROM init WHERE id >= ? ORDER BY id LIMIT ?',
      ...[from, page],
    );
    const last = rows.at(-1);
    if (last === undefined) return damaged;
    for (const row of rows) {
      try {
        initFrom(row);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        damaged.add(row.id);
      }
    }
    from = last.id + 1;
  }
}

function filesFrom(reader: Reader, from: number): Promise<FileRow[]> {
  return reader.all<FileRow>(
    `SELECT m.id, m.camera_id, c.name AS camera, m.run_id, r.id IS NOT NULL AS run_known, m.path,
            m.end_us, m.bytes, m.init_id, i.bytes AS init_bytes
     FROM media_file m LEFT JOIN camera c ON c.id = m.camera_id
       LEFT JOIN run r ON r.id = m.run_id LEFT JOIN init i ON i.id = m.init_id
     WHERE m.id >= ? ORDER BY m.id LIMIT ?`,
    from,
    page,
  );
}

async function* checkFile(
  reader: Reader,
  mediaFolder: string,
  file: FileRow,
  lastEnd: Map<number, { runId: number; endUs: number }>,
  keyIds: ReadonlySet<number>,
): AsyncGenerator<Finding, void> {
  if (file.camera === null || file.run_known === 0 || file.init_bytes === null) {
    yield mismatch(file.path, 'its camera, run or init is not in the index');
    return;
  }
  const damagedRows: number[] = [];
  const fragments = await fragmentsOf(reader, file, damagedRows);
  for (const number of damagedRows) {
    yield finding('index-damaged', file.path, `the row of fragment ${number} is damaged`);
  }
  yield* checkRows(file, file.init_bytes.length, fragments, lastEnd);
  yield* checkTime(reader, file, fragments);
  const handle = await openMediaFile(mediaFilePath(mediaFolder, file.path), 'read').catch(
    () => null,
  );
  if (handle === null) {
    if (fragments.length > 0 && (await isStillThere(reader, file.id))) {
      yield finding('media-missing', file.path, `${fragments.length} fragments are gone with it`);
    }
    return;
  }
  try {
    const { size } = await handle.stat();
    const needed = file.bytes ?? endOf(fragments);
    if (size < needed) {
      yield finding('media-short', file.path, `${size} bytes, where the index has ${needed}`);
    }
    if (file.end_us !== null && size > needed) {
      yield finding('media-long', file.path, `${size} bytes, where the index has ${needed}`);
    }
    const lost = await lostFragments(reader, file.id);
    const looked = fragments.filter(({ number }) => !lost.has(number));
    yield* checkContents(handle, file, file.init_bytes, looked, keyIds);
  } finally {
    await handle.close();
  }
}

/** What rows must agree on among themselves. */
export function* checkRows(
  file: Pick<FileRow, 'camera_id' | 'run_id' | 'path' | 'end_us' | 'bytes'>,
  initBytes: number,
  fragments: readonly Fragment[],
  lastEnd: Map<number, { runId: number; endUs: number }>,
): Generator<Finding, void> {
  let offset = initBytes;
  for (const fragment of fragments) {
    if (fragment.offset !== offset) {
      yield mismatch(file.path, `fragment ${fragment.number} is not where the one before it ends`);
    }
    offset = fragment.offset + fragment.storedBytes;
    const before = lastEnd.get(file.camera_id);
    if (before?.runId === file.run_id && fragment.startUs < before.endUs) {
      yield mismatch(file.path, `fragment ${fragment.number} overlaps the one before it`);
    }
    if (before?.runId === file.run_id && fragment.startUs > before.endUs + gapWithinRunUsMax) {
      yield mismatch(file.path, `a gap within a run before fragment ${fragment.number}`);
    }
    const endUs = fragment.startUs + fragment.durationUs;
    lastEnd.set(file.camera_id, { runId: file.run_id, endUs });
  }
  if (file.end_us === null) return;
  const last = fragments.at(-1);
  const endUs = last === undefined ? null : last.startUs + last.durationUs;
  if (endUs !== file.end_us || file.bytes !== offset) {
    yield mismatch(file.path, 'its end is not that of its last fragment');
  }
}

/** Runs follow each other in the order of recording, which need not be that of time. */
async function* checkTime(
  reader: Reader,
  file: FileRow,
  fragments: readonly Fragment[],
): AsyncGenerator<Finding, void> {
  const [first] = fragments;
  if (first === undefined) return;
  const before = await reader.get<{ path: string; run_id: number; end_us: number | null }>(
    `SELECT m.path, m.run_id, coalesce(m.end_us, (
       SELECT m.start_us + start_offset_us + duration_us FROM fragment
       WHERE number BETWEEN m.id * 4096 AND m.id * 4096 + 4095 ORDER BY number DESC LIMIT 1)
     ) AS end_us
     FROM media_file m WHERE m.camera_id = ? AND m.id <> ? AND m.start_us <= ?
     ORDER BY m.start_us DESC LIMIT 1`,
    ...[file.camera_id, file.id, first.startUs],
  );
  if (before === undefined || before.run_id === file.run_id) return;
  if (before.end_us === null || before.end_us <= first.startUs) return;
  yield mismatch(file.path, `its time is also that of ${before.path}`);
}

async function* checkContents(
  handle: FileHandle,
  file: FileRow,
  initBytes: Buffer,
  fragments: readonly Fragment[],
  keyIds: ReadonlySet<number>,
): AsyncGenerator<Finding, void> {
  const init = readInit(initBytes);
  const missingKeys = new Map<number, number>();
  const head = Buffer.alloc(initBytes.length);
  await handle.read(head, 0, head.length, 0);
  if (!head.equals(initBytes)) {
    yield finding('fragment-corrupt', file.path, 'the init at its beginning is damaged');
  }
  for (const fragment of fragments) {
    const stored = await readStored(handle, fragment);
    const problem = damageOf(stored, fragment) ?? boxProblem(init, stored, fragment);
    if (problem !== null) {
      yield finding('fragment-corrupt', file.path, `fragment ${fragment.number}: ${problem}`);
      continue;
    }
    for (const keyId of dataKeysOf(bodyOf(stored))) {
      if (!keyIds.has(keyId)) missingKeys.set(keyId, (missingKeys.get(keyId) ?? 0) + 1);
    }
  }
  for (const [keyId, count] of missingKeys) {
    const what = `${count} of its fragments are encrypted with the data key ${keyId}, which is lost`;
    yield finding('key-trouble', file.path, what);
  }
}

/** What the boxes of a fragment say that its row does not. */
export function boxProblem(init: InitSegment, stored: Buffer, fragment: Fragment): string | null {
  const body = bodyOf(stored);
  let chunks: readonly ChunkFacts[];
  if (isEncryptedBody(body)) {
    chunks = [...storedChunks(init, body)].map(({ facts }) => facts);
    const isAll = chunks.every(({ plainBytes }, at) => plainBytes === fragment.chunks[at]?.bytes);
    if (!isAll || chunks.length !== fragment.chunks.length) return 'its chunks are not all of it';
  } else {
    try {
      chunks = openChunks(init, body, fragment);
    } catch (error) {
      if (error instanceof Mp4Error) return `its boxes are not whole (${error.message})`;
      throw error;
    }
    if (!isFree(body.subarray(fragment.plainBytes))) return 'its chunks are not all of it';
  }
  const video = chunks.find(({ decodeTime }) => decodeTime !== null);
  if (video?.keyframe !== true) return 'it does not begin with a keyframe';
  return video.decodeTime === fragment.decodeTime ? null : 'its time differs from the index';
}

/** @throws Mp4Error */
function openChunks(init: InitSegment, body: Buffer, fragment: Fragment): readonly ChunkFacts[] {
  let at = 0;
  return fragment.chunks.map(({ bytes }) => {
    const { facts } = readChunk(init, body.subarray(at, at + bytes));
    at += bytes;
    return facts;
  });
}

/** Nothing, or the box that makes up for encryption in a copy in the open. */
function isFree(rest: Buffer): boolean {
  if (rest.length === 0) return true;
  return (
    rest.length >= 8 &&
    rest.readUInt32BE(0) === rest.length &&
    rest.toString('latin1', 4, 8) === 'free'
  );
}

async function* checkOrphanedRows(reader: Reader): AsyncGenerator<Finding, void> {
  const rows = await reader.all<{ id: number; fragments: number }>(
    `SELECT f.number / 4096 AS id, count(*) AS fragments FROM fragment f
     LEFT JOIN media_file m ON m.id = f.number / 4096
     WHERE m.id IS NULL GROUP BY 1 LIMIT 100`,
  );
  for (const { id, fragments } of rows) {
    yield mismatch(`media file ${id}`, `${fragments} fragments of a file that the index lacks`);
  }
}

async function fragmentsOf(
  reader: Reader,
  file: FileRow,
  damaged: number[],
): Promise<readonly Fragment[]> {
  const rows = await reader.all<FragmentRow>(
    `SELECT ${fragmentColumns} FROM fragment f
     CROSS JOIN media_file m ON m.id = ?1 CROSS JOIN camera c ON c.id = m.camera_id
     WHERE f.number BETWEEN ?2 AND ?3 ORDER BY f.number`,
    ...[file.id, ...numbersOf(file.id)],
  );
  return readableFragments(rows, ({ number }) => damaged.push(number));
}

async function isStillThere(reader: Reader, id: number): Promise<boolean> {
  return (await reader.get('SELECT 1 FROM media_file WHERE id = ?', id)) !== undefined;
}

function endOf(fragments: readonly Fragment[]): number {
  const last = fragments.at(-1);
  return last === undefined ? 0 : last.offset + last.storedBytes;
}

function mismatch(where: string, what: string): Finding {
  return finding('index-mismatch', where, what);
}

const advice: Readonly<Partial<Record<FindingCode, string>>> = {
  'media-missing': 'restore the file from a copy; else its footage is lost, and the rest is served',
  'media-short': 'restore the file from a copy; what is there is served',
  'media-long': 'nothing is lost: what is behind the end is not served; repair takes it away',
  'fragment-corrupt': 'check the disk; this fragment is left out, the rest is served',
  'key-trouble':
    'a backup from before has the key: restore that; "headgate check --repair" marks these fragments as lost',
  'index-damaged': '"headgate check --repair" makes its rows again from the file',
  'index-mismatch': 'keep a copy of the store and report this: it should not happen',
};

function finding(code: FindingCode, where: string, what: string): Finding {
  const severity = code === 'media-long' ? 'warning' : 'error';
  return { severity, code, where, what, advice: advice[code] ?? '' };
}
