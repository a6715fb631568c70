/** One turn at one file: what is new in it, as records, and the place behind them. */
import { isGone } from './errors.ts';
import { parseHeader, withoutMark, type Converter } from './convert.ts';
import { compressionOf, type Content } from './content.ts';
import type { FollowedFile } from './followed-file.ts';
import { placeAt, placeBehind, type Place } from './place.ts';
import { pieceSlackBytes, split, type Split, type SplitOptions } from './split.ts';

/** What is read at a time; more where a record is longer. */
const pieceBytes = 256 * 1024;
/** Each row gets all names: they must not outweigh it beyond measure. */
const headerBytesMax = 16 * 1024;

export interface ReadingOptions {
  readonly maxLineBytes: number;
  readonly starts: SplitOptions['starts'];
  readonly converter: Pick<Converter, 'needsHeader'>;
  readonly csvDelimiter: string;
}

export type Turn =
  /** Its name leads nowhere, or to another file. */
  | { readonly kind: 'gone' }
  /** What was read is no longer what it begins with. */
  | { readonly kind: 'changed' }
  | {
      readonly kind: 'read';
      readonly texts: readonly Buffer[];
      readonly cut: Split['cut'];
      readonly next: Place;
      readonly atEnd: boolean;
      /** Nothing was read, as what is left is no whole record yet. */
      readonly unfinished: boolean;
    };

/**
 * Reads on in a file, as much as one append takes.
 * @param end how its end is to be taken, if this comes to it
 * @throws UnfitFile; what the system says
 */
export async function readTurn(
  file: FollowedFile,
  end: Pick<SplitOptions, 'endRecord' | 'endLine'>,
  options: ReadingOptions,
): Promise<Turn> {
  const content = await file.open().catch((error: unknown) => {
    if (isGone(error)) return null;
    throw error;
  });
  if (content === null) return { kind: 'gone' };
  const { place } = file;
  if (content.compressed && !(await file.holdsPlace())) return { kind: 'changed' };
  let skipped = 0;
  if (options.converter.needsHeader) {
    const header = await headerOf(file, content, end.endLine, options);
    if (header === null) return nothingNew(place, true);
    skipped = Math.max(0, header.end - place.offset);
  }
  const { piece, parts, atEnd } = await readPiece(content, file, skipped, end, options);
  if (place.offset === 0 && !content.compressed && compressionOf(piece) !== null) {
    // It was empty when it was opened.
    await file.close();
    return readTurn(file, end, options);
  }
  const { records, consumed, skipping, cut } = parts;
  const used = piece.subarray(0, skipped + consumed);
  const next = await placeBehind(content, place, used);
  // After reading, so that what was read is known to follow what was read before.
  if (!(await file.holdsPlace())) return { kind: 'changed' };
  if (consumed === 0) return nothingNew(place, atEnd && piece.length > skipped, atEnd);
  const [first, ...others] = records;
  const isFirst = place.offset === 0 && skipped === 0 && first !== undefined;
  const texts = isFirst ? [withoutMark(first), ...others] : records;
  return {
    kind: 'read',
    texts: texts.filter(({ length }) => length > 0),
    cut,
    next: { ...next, skipping },
    atEnd: atEnd && used.length === piece.length,
    unfinished: false,
  };
}

function nothingNew(place: Place, unfinished: boolean, atEnd = true): Turn {
  const cut = { count: 0, bytes: 0 };
  return { kind: 'read', texts: [], cut, next: place, atEnd, unfinished };
}

async function readPiece(
  content: Content,
  { place: { offset, skipping }, recordsMax }: FollowedFile,
  skipped: number,
  end: Pick<SplitOptions, 'endRecord' | 'endLine'>,
  { maxLineBytes, starts }: ReadingOptions,
): Promise<{ piece: Buffer; parts: Split; atEnd: boolean }> {
  const lengthMax = Math.max(pieceBytes, headerBytesMax + maxLineBytes + pieceSlackBytes);
  for (let length = pieceBytes; ; length = Math.min(2 * length, lengthMax)) {
    const piece = await content.read(offset, length);
    const atEnd = piece.length < length;
    const parts = split(piece.subarray(skipped), skipping, {
      maxLineBytes,
      starts,
      recordsMax,
      endRecord: atEnd && end.endRecord,
      endLine: atEnd && end.endLine,
    });
    if (parts.consumed > 0 || atEnd || length === lengthMax) return { piece, parts, atEnd };
  }
}

/** The names of the fields, from the first line; null: that is not whole yet. */
async function headerOf(
  file: FollowedFile,
  content: Content,
  isWhole: boolean,
  { csvDelimiter }: ReadingOptions,
): Promise<{ readonly names: readonly string[]; readonly end: number } | null> {
  if (file.header !== null) return file.header;
  const head = await content.read(0, headerBytesMax);
  const newline = head.indexOf('\n');
  if (newline === -1 && head.length < headerBytesMax && !isWhole) return null;
  const line = head.subarray(0, head[newline - 1] === 0x0d ? newline - 1 : newline);
  const names = newline === -1 ? null : parseHeader(line, csvDelimiter);
  // Without names every line is stored as it is, the first one too.
  file.header = names === null ? { names: [], end: 0 } : { names, end: newline + 1 };
  return file.header;
}

/** The place to begin at where only what is new counts: behind the last line that has an end. */
export async function endOf(content: Content, place: Place, maxLineBytes: number): Promise<Place> {
  const { bytes } = await content.stat();
  if (bytes === null) return place;
  const length = Math.min(bytes, maxLineBytes);
  const last = await content.read(bytes - length, length);
  const newline = last.lastIndexOf('\n');
  if (newline !== -1) return placeAt(content, place, bytes - last.length + newline + 1);
  if (last.length === bytes) return place;
  return { ...(await placeAt(content, place, bytes)), skipping: 'line' };
}
