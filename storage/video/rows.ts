/**
 * The rows of the video index and the types they fill.
 *
 * The tables are in `schema/002-video.ts`. A fragment's number holds its media file:
 * `number = mediaFileId * 4096 + position`.
 */
import { createHash } from 'node:crypto';
import { StorageError } from '../errors.ts';
import type { Fragment, FragmentSpan, Init, MediaFile, Run, TrackDescription } from '../model.ts';
import type { Reader } from './context.ts';
import { tagsFrom, tagsText } from './tags.ts';
import { decodeChunkTable, encodeChunkTable } from './chunk-table.ts';
import { encryptedOverheadBytes } from './encrypted-chunk.ts';
import { fragmentHeaderBytes } from './fragment-header.ts';

const positionsPerFile = 4096;
export const fragmentsPerFileMax = positionsPerFile - 1;
/** A producer may leave out so much between two fragments of a run; more begins another run. */
export const gapWithinRunUsMax = 1_000_000;

export function fragmentNumber(mediaFileId: number, position: number): number {
  return mediaFileId * positionsPerFile + position;
}

export function mediaFileOf(number: number): number {
  return Math.floor(number / positionsPerFile);
}

/** First and last number that fragments of a media file may have. */
export function numbersOf(mediaFileId: number): readonly [number, number] {
  return [fragmentNumber(mediaFileId, 0), fragmentNumber(mediaFileId, fragmentsPerFileMax)];
}

/** A fragment joined with its media file and camera. */
export interface FragmentRow {
  readonly number: number;
  readonly camera: string;
  readonly run_id: number;
  readonly init_id: number;
  readonly file_start_us: number;
  readonly start_offset_us: number;
  readonly duration_us: number;
  readonly producer_offset_ms: number | null;
  readonly server_offset_ms: number;
  readonly decode_time: number;
  readonly file_offset: number;
  readonly stored_bytes: number;
  readonly plain_bytes: number;
  /** 1: something of it was lost on its way in. 2: repair found its bytes lost. */
  readonly damaged: number;
  readonly activity: number;
  readonly chunks: Buffer;
  readonly tags: string | null;
}

/** The columns of `FragmentRow`, of tables named `f`, `m` and `c`. */
export const fragmentColumns = `
  f.number, c.name AS camera, m.run_id, m.init_id, m.start_us AS file_start_us,
  f.start_offset_us, f.duration_us, f.producer_offset_ms, f.server_offset_ms, f.decode_time,
  f.file_offset, f.stored_bytes, f.plain_bytes, f.damaged, f.activity, f.chunks, f.tags`;

/** The fragments of rows; a damaged row is left out and told. */
export function readableFragments(
  rows: readonly FragmentRow[],
  tell: (row: FragmentRow, error: StorageError) => void,
): Fragment[] {
  return readable(rows, fragmentFrom, tell);
}

/**
 * What a span is read from, of tables named `f` and `m`. One text for all of a query's rows: values
 * by name, as the driver gives them, take five times as long on the event loop.
 */
export const spanText = `concat_ws(' ', f.number, m.run_id, m.init_id,
  m.start_us + f.start_offset_us, f.duration_us, f.plain_bytes, f.damaged)`;

/** The spans of lines of `spanText`; a damaged one is left out and told. */
export function readableSpans(
  lines: readonly string[],
  tell: (line: string, error: StorageError) => void,
): FragmentSpan[] {
  return readable(lines, spanFrom, tell);
}

function readable<Row, Read>(
  rows: readonly Row[],
  read: (row: Row) => Read,
  tell: (row: Row, error: StorageError) => void,
): Read[] {
  const all: Read[] = [];
  for (const row of rows) {
    try {
      all.push(read(row));
    } catch (error) {
      if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
      tell(row, error);
    }
  }
  return all;
}

function spanFrom(line: string): FragmentSpan {
  const values = line.split(' ').map(Number);
  const [number = -1, runId = -1, initId = -1, startUs = -1] = values;
  const [durationUs = -1, plainBytes = -1, damaged = -1] = values.slice(4);
  const isSound =
    values.every(Number.isSafeInteger) && durationUs >= 0 && plainBytes >= 0 && damaged >= 0;
  if (!isSound) throw damagedRow();
  return { number, runId, initId, startUs, durationUs, plainBytes, damaged: damaged !== 0 };
}

function damagedRow(): StorageError {
  return new StorageError('corrupt', 'its row in the index is damaged');
}

/** A flipped bit makes a number a text, or a fragment as large as the disk. */
function assertSound(row: FragmentRow, chunks: Fragment['chunks']): void {
  const numbers = [
    ...[row.number, row.run_id, row.init_id, row.file_start_us, row.start_offset_us],
    ...[row.duration_us, row.server_offset_ms, row.decode_time, row.file_offset],
    ...[row.stored_bytes, row.plain_bytes, row.damaged, row.activity, row.producer_offset_ms ?? 0],
  ];
  const plainBytes = chunks.reduce((sum, { bytes }) => sum + bytes, 0);
  const overheadBytes = row.stored_bytes - row.plain_bytes;
  const isSound =
    numbers.every(Number.isSafeInteger) &&
    row.plain_bytes === plainBytes &&
    overheadBytes >= 0 &&
    overheadBytes <= fragmentHeaderBytes + chunks.length * encryptedOverheadBytes &&
    row.file_offset >= 0 &&
    row.duration_us >= 0;
  if (!isSound) throw damagedRow();
}

/** @throws StorageError `corrupt` */
export function fragmentFrom(row: FragmentRow): Fragment {
  const chunks = Buffer.isBuffer(row.chunks) ? decodeChunkTable(row.chunks) : [];
  assertSound(row, chunks);
  const startUs = row.file_start_us + row.start_offset_us;
  const startMs = Math.floor(startUs / 1000);
  return {
    number: row.number,
    camera: row.camera,
    runId: row.run_id,
    initId: row.init_id,
    mediaFileId: mediaFileOf(row.number),
    startUs,
    durationUs: row.duration_us,
    producerMs: row.producer_offset_ms === null ? null : startMs + row.producer_offset_ms,
    serverMs: startMs + row.server_offset_ms,
    decodeTime: row.decode_time,
    offset: row.file_offset,
    storedBytes: row.stored_bytes,
    plainBytes: row.plain_bytes,
    chunks,
    damaged: row.damaged !== 0,
    activity: row.activity,
    tags: tagsFrom(row.tags),
  };
}

export const insertFragmentSql = `
  INSERT INTO fragment (number, start_offset_us, duration_us, producer_offset_ms, server_offset_ms,
    decode_time, file_offset, stored_bytes, plain_bytes, damaged, activity, chunks,
    tags)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** What `insertFragmentSql` binds. */
export function fragmentValues(
  fragment: Fragment,
  fileStartUs: number,
): (number | string | Buffer | null)[] {
  const startMs = Math.floor(fragment.startUs / 1000);
  return [
    fragment.number,
    fragment.startUs - fileStartUs,
    fragment.durationUs,
    fragment.producerMs === null ? null : fragment.producerMs - startMs,
    fragment.serverMs - startMs,
    fragment.decodeTime,
    fragment.offset,
    fragment.storedBytes,
    fragment.plainBytes,
    fragment.damaged ? 1 : 0,
    fragment.activity,
    encodeChunkTable(fragment.chunks),
    tagsText(fragment.tags),
  ];
}

export interface RunRow {
  readonly id: number;
  readonly camera: string;
  readonly start_us: number;
  readonly kept_from_us: number;
  readonly end_us: number | null;
  readonly end_reason: string | null;
}

export function runFrom(row: RunRow): Run {
  return {
    id: row.id,
    camera: row.camera,
    startUs: row.start_us,
    keptFromUs: row.kept_from_us,
    endUs: row.end_us,
    endReason: row.end_reason,
  };
}

export interface MediaFileRow {
  readonly id: number;
  readonly camera: string;
  readonly run_id: number;
  readonly init_id: number;
  readonly path: string;
  readonly start_us: number;
  /** NULL while the file is written. */
  readonly end_us: number | null;
  readonly bytes: number | null;
}

/** A closed file. An open one is known to its recording. */
export function mediaFileFrom(row: MediaFileRow): MediaFile {
  return {
    id: row.id,
    camera: row.camera,
    runId: row.run_id,
    initId: row.init_id,
    path: row.path,
    startUs: row.start_us,
    endUs: row.end_us ?? row.start_us,
    bytes: row.bytes ?? 0,
    closed: row.end_us !== null,
  };
}

export interface InitRow {
  readonly id: number;
  readonly hash: string;
  readonly tracks: string;
  readonly bytes: Buffer;
}

/** Whether it is what was written; in a damaged row it may not even be bytes. */
export function isInitWhole({ bytes, hash }: { bytes: unknown; hash: unknown }): boolean {
  return Buffer.isBuffer(bytes) && createHash('sha256').update(bytes).digest('hex') === hash;
}

/** @throws StorageError `corrupt` when the row is not what was written */
export function initFrom(row: InitRow): Init {
  if (!isInitWhole(row)) throw new StorageError('corrupt', `init ${row.id} is damaged`);
  return {
    id: row.id,
    hash: row.hash,
    tracks: parseTracks(row.tracks),
    bytes: row.bytes,
  };
}

function parseTracks(text: string): readonly TrackDescription[] {
  let tracks: unknown;
  try {
    tracks = JSON.parse(text);
  } catch (error) {
    throw new StorageError('corrupt', 'the tracks of an init are damaged', { cause: error });
  }
  if (!Array.isArray(tracks)) throw new StorageError('corrupt', 'an init without tracks');
  return tracks as TrackDescription[];
}

/** Fragments of a file that repair found lost: their place is kept, their bytes are not looked at. */
export async function lostFragments(
  queries: Reader,
  mediaFileId: number,
): Promise<ReadonlySet<number>> {
  const rows = await queries.all<{ number: number }>(
    'SELECT number FROM fragment WHERE number BETWEEN ? AND ? AND damaged = 2',
    ...numbersOf(mediaFileId),
  );
  return new Set(rows.map(({ number }) => number));
}
