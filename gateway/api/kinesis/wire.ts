/**
 * The two encodings of requests and answers: AWS JSON 1.1 and CBOR 1.1. A request is answered in
 * its own.
 *
 * Answers are plain objects with Buffers for blobs and Dates for instants; what is `undefined` is
 * left out. They are encoded piece by piece, so that nobody holds the event loop while ten
 * megabytes become base64: a list is written element by element, a large blob slice by slice.
 */
import { isAscii } from 'node:buffer';
import { decodeCbor, encodeCbor, cborHead } from './cbor.ts';

export type Encoding = 'json' | 'cbor';

export interface Format {
  readonly encoding: Encoding;
  readonly contentType: string;
}

const formats: readonly Format[] = [
  { encoding: 'json', contentType: 'application/x-amz-json-1.1' },
  { encoding: 'json', contentType: 'application/json' },
  { encoding: 'cbor', contentType: 'application/x-amz-cbor-1.1' },
];

/** A piece has about this many bytes. */
const pieceBytes = 128 * 1024;
/** Bytes of a blob that become base64 at once; a multiple of three. */
const blobSliceBytes = 192 * 1024;

/** A list whose elements are made while it is written: of ten thousand few are there at a time. */
export interface MadeList {
  readonly length: number;
  readonly make: (index: number) => unknown;
  /** Of the blobs in it. */
  readonly dataBytes: number;
}

/** What a content type says, null when it is none of ours. Parameters do not count. */
export function formatOf(header: string): Format | null {
  const type = header.split(';', 1)[0]?.trim().toLowerCase();
  return formats.find(({ contentType }) => contentType === type) ?? null;
}

/**
 * The value of a request's body. Rejects when it is not well-formed.
 * @param turn waited for between two steps
 */
export async function decodeBody(
  encoding: Encoding,
  body: Buffer,
  turn: () => Promise<void>,
): Promise<unknown> {
  if (encoding === 'cbor') return decodeCbor(body);
  // Most bodies are ASCII, which becomes a text in a fraction of the time.
  const text = body.toString(isAscii(body) ? 'latin1' : 'utf8');
  await turn();
  return JSON.parse(text) as unknown;
}

/**
 * An answer in pieces of about 128 KiB; the work of each is done when it is asked for.
 *
 * @example
 * for (const piece of encodeAnswer('json', { Records: records })) outgoing.write(piece);
 */
export function encodeAnswer(encoding: Encoding, answer: object): Generator<Buffer, void> {
  return encoding === 'json' ? jsonPieces(answer) : cborPieces(answer);
}

/** A small answer at once. */
export function encodeWhole(encoding: Encoding, answer: object): Buffer {
  return Buffer.concat([...encodeAnswer(encoding, answer)]);
}

/**
 * The text is ASCII throughout (`quoted`), so it is copied into bytes instead of encoded; and it is
 * gathered as a list, because joining one is quicker than a text that grows.
 */
function* jsonPieces(answer: object): Generator<Buffer, void> {
  let texts: string[] = ['{'];
  let length = 0;
  const piece = (): Buffer => {
    const bytes = Buffer.from(texts.join(''), 'latin1');
    texts = [];
    length = 0;
    return bytes;
  };
  let isFirst = true;
  for (const [key, value] of Object.entries(answer)) {
    if (value === undefined) continue;
    texts.push(isFirst ? '"' : ',"', key, '":');
    isFirst = false;
    const list = listOf(value);
    if (list === null) {
      texts.push(jsonOf(value));
      continue;
    }
    texts.push('[');
    for (let index = 0; index < list.length; index += 1) {
      const element = list.make(index);
      if (index > 0) texts.push(',');
      if (hasLargeBlob(element)) {
        yield piece();
        texts.push(yield* largeElement(element));
        continue;
      }
      const text = elementText(element);
      texts.push(text);
      length += text.length;
      if (length >= pieceBytes) yield piece();
    }
    texts.push(']');
  }
  texts.push('}');
  yield piece();
}

/** null: it is no list. */
function listOf(value: unknown): Pick<MadeList, 'length' | 'make'> | null {
  if (Array.isArray(value)) {
    return { length: value.length, make: (index) => (value as unknown[])[index] };
  }
  return isMadeList(value) ? value : null;
}

function isMadeList(value: unknown): value is MadeList {
  return typeof value === 'object' && value !== null && 'make' in value;
}

interface RecordView {
  readonly SequenceNumber: string;
  readonly ApproximateArrivalTimestamp: Date;
  readonly Data: Buffer;
  readonly PartitionKey: string;
  readonly EncryptionType?: string;
}

/** Where a record was put. */
export interface PlaceView {
  readonly SequenceNumber: string;
  readonly ShardId: string;
}

/** `jsonOf`, in half the time for what an answer has hundreds or thousands of. */
function elementText(element: unknown): string {
  if (typeof element === 'object' && element !== null) {
    if ('ApproximateArrivalTimestamp' in element) return recordText(element as RecordView);
    if ('ShardId' in element && 'SequenceNumber' in element) return placeText(element as PlaceView);
  }
  return jsonOf(element);
}

function recordText(record: RecordView): string {
  const { EncryptionType: encryption } = record;
  return (
    `{"SequenceNumber":"${record.SequenceNumber}",` +
    `"ApproximateArrivalTimestamp":${record.ApproximateArrivalTimestamp.getTime() / 1000},` +
    `"Data":"${record.Data.toString('base64')}","PartitionKey":${quoted(record.PartitionKey)}` +
    (encryption === undefined ? '}' : `,"EncryptionType":"${encryption}"}`)
  );
}

function placeText({ SequenceNumber: number, ShardId: shard }: PlaceView): string {
  return `{"SequenceNumber":"${number}","ShardId":"${shard}"}`;
}

interface WithBlob {
  readonly Data: Buffer;
}

/** The service's only blobs are called Data. */
function hasLargeBlob(element: unknown): element is WithBlob {
  if (typeof element !== 'object' || element === null || !('Data' in element)) return false;
  return Buffer.isBuffer(element.Data) && element.Data.length > blobSliceBytes;
}

/** Returns what is still to be written. */
function* largeElement(element: WithBlob): Generator<Buffer, string> {
  const { Data: data, ...others } = element;
  yield Buffer.from(
    `${jsonOf(others).slice(0, -1)}${Object.keys(others).length > 0 ? ',' : ''}"Data":"`,
  );
  for (let at = 0; at < data.length; at += blobSliceBytes) {
    yield Buffer.from(data.toString('base64', at, at + blobSliceBytes), 'latin1');
  }
  return '"}';
}

function jsonOf(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Buffer.isBuffer(value)) return `"${value.toString('base64')}"`;
  if (value instanceof Date) return String(value.getTime() / 1000);
  if (Array.isArray(value)) return `[${value.map(jsonOf).join(',')}]`;
  let text = '';
  for (const key in value) {
    const entry = (value as Record<string, unknown>)[key];
    if (entry === undefined) continue;
    text += `${text === '' ? '{' : ','}"${key}":${jsonOf(entry)}`;
  }
  return text === '' ? '{}' : `${text}}`;
}

const isPlain = /^[ !#-[\]-~]*$/;

/** A string in ASCII, with everything else escaped. */
function quoted(text: string): string {
  if (isPlain.test(text)) return `"${text}"`;
  return JSON.stringify(text).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function* cborPieces(answer: object): Generator<Buffer, void> {
  const entries = Object.entries(answer).filter(([, value]) => value !== undefined);
  let pieces: Buffer[] = [cborHead('map', entries.length)];
  let from = 0;
  let bytes = 0;
  for (const [key, value] of entries as [string, unknown][]) {
    encodeCbor(key, pieces);
    const list = listOf(value);
    if (list === null) {
      encodeCbor(value, pieces);
      continue;
    }
    pieces.push(cborHead('array', list.length));
    for (let index = 0; index < list.length; index += 1) {
      encodeCbor(list.make(index), pieces);
      for (; from < pieces.length; from += 1) bytes += pieces[from]?.length ?? 0;
      if (bytes < pieceBytes) continue;
      yield Buffer.concat(pieces);
      pieces = [];
      from = 0;
      bytes = 0;
    }
  }
  yield Buffer.concat(pieces);
}

/** About how much an answer holds in memory while it is being sent. */
export function answerBytes(answer: object): number {
  let bytes = 0;
  for (const value of Object.values(answer)) {
    if (isMadeList(value)) bytes += value.dataBytes;
  }
  return bytes;
}
