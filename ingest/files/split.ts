/**
 * Takes what lies in a piece of a file apart into lines, or into records of several lines.
 *
 * - A line ends with LF or CR LF, which do not belong to it. What has no end yet stays where it is.
 * - Empty lines are left out, but within a record of several lines.
 * - NUL bytes before a line are left out: a writer whose file was truncated under it goes on where
 *   it was, and the hole reads as NULs. Any other byte is taken as it is.
 * - A record longer than `maxLineBytes` is cut there (not within a character of UTF-8), and the rest
 *   is passed over; both are counted.
 */

/** What is being passed over: nothing; the rest of a line; all lines until a record begins. */
export type Skipping = 'nothing' | 'line' | 'record';

export interface SplitOptions {
  readonly maxLineBytes: number;
  /** Tells the lines that begin a record; null: every line is one. */
  readonly starts: ((lines: readonly string[]) => readonly boolean[]) | null;
  /** At most so many are taken; the next call takes further ones. */
  readonly recordsMax: number;
  /** Nothing more comes for now: the last record is complete. */
  readonly endRecord: boolean;
  /** Nothing more comes at all: the last line is complete too. */
  readonly endLine: boolean;
}

export interface Split {
  readonly records: readonly Buffer[];
  /** Bytes of the piece that are done with. */
  readonly consumed: number;
  readonly skipping: Skipping;
  /** Records that were cut, and the bytes left out. */
  readonly cut: { readonly count: number; readonly bytes: number };
}

/** A piece has to be at least this much longer than a line, so that each call gets on. */
export const pieceSlackBytes = 2;

const lf = 0x0a;
const cr = 0x0d;

interface Line {
  readonly begin: number;
  readonly data: Buffer;
  /** Bytes of it that were left out. */
  readonly cutBytes: number;
}

export function split(piece: Buffer, skipping: Skipping, options: SplitOptions): Split {
  if (skipping === 'line') return skipLine(piece, options);
  const found = findLines(piece, options);
  return options.starts === null
    ? singleLines(found, skipping)
    : manyLines(piece, found, skipping, options, options.starts);
}

/** Passes over the rest of a line that was cut. */
function skipLine(piece: Buffer, options: SplitOptions): Split {
  const end = piece.indexOf(lf);
  const after = options.starts === null ? 'nothing' : 'record';
  const ended = end !== -1 || options.endLine;
  const consumed = end === -1 ? piece.length : end + 1;
  const bytes = end === -1 ? piece.length : end;
  return { records: [], consumed, skipping: ended ? after : 'line', cut: { count: 0, bytes } };
}

interface FoundLines {
  readonly lines: readonly Line[];
  /** Where what is left begins. */
  readonly end: number;
  /** The last line has no end yet, and is too long already. */
  readonly openLine: boolean;
}

function findLines(piece: Buffer, options: SplitOptions): FoundLines {
  const { maxLineBytes, recordsMax, starts, endLine } = options;
  const lines: Line[] = [];
  let at = 0;
  while (at < piece.length && (starts !== null || lines.length < recordsMax)) {
    while (piece[at] === 0) at += 1;
    const newline = piece.indexOf(lf, at);
    if (newline === -1) {
      const rest = piece.length - at;
      const tooLong = rest >= maxLineBytes + pieceSlackBytes;
      if (rest === 0 || (!tooLong && !endLine)) break;
      lines.push(lineOf(piece, at, piece.length, maxLineBytes));
      return { lines, end: piece.length, openLine: tooLong && !endLine };
    }
    const line = lineOf(piece, at, newline, maxLineBytes);
    if (line.data.length > 0 || starts !== null) lines.push(line);
    at = newline + 1;
  }
  return { lines, end: at, openLine: false };
}

/** @param end where its bytes end, a CR among them */
function lineOf(piece: Buffer, begin: number, end: number, max: number): Line {
  const content = piece.subarray(begin, end > begin && piece[end - 1] === cr ? end - 1 : end);
  const data = cutTo(content, max);
  return { begin, data, cutBytes: content.length > max ? end - begin - data.length : 0 };
}

/** At most `max` bytes, not ending within a character of UTF-8. */
function cutTo(data: Buffer, max: number): Buffer {
  if (data.length <= max) return data;
  let end = max;
  // A character has at most three bytes that continue it; rubbish may have more.
  while (end > max - 3 && ((data[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return data.subarray(0, ((data[end] ?? 0) & 0xc0) === 0x80 ? max : end);
}

function singleLines({ lines, end, openLine }: FoundLines, skipping: Skipping): Split {
  const cutLines = lines.filter(({ cutBytes }) => cutBytes > 0);
  return {
    records: lines.map(({ data }) => data),
    consumed: end,
    // What was being passed over were lines of a record, and now every line is one.
    skipping: openLine ? 'line' : skipping === 'record' ? 'nothing' : skipping,
    cut: { count: cutLines.length, bytes: sumOf(cutLines) },
  };
}

function manyLines(
  piece: Buffer,
  { lines, end, openLine }: FoundLines,
  skipping: Skipping,
  options: SplitOptions,
  starts: NonNullable<SplitOptions['starts']>,
): Split {
  const begins = starts(lines.map(({ data }) => data.toString()));
  const records: Buffer[] = [];
  const cut = { count: 0, bytes: 0 };
  let passing = skipping === 'record';
  let group: Line[] = [];
  const finish = (): void => {
    const record = joined(group, options.maxLineBytes);
    if (record.data.length > 0) records.push(record.data);
    if (record.cutBytes > 0) cut.count += 1;
    cut.bytes += record.cutBytes;
    group = [];
  };
  for (const [index, line] of lines.entries()) {
    if (begins[index] === true) {
      if (group.length > 0) finish();
      passing = false;
      if (records.length >= options.recordsMax) {
        return { records, consumed: line.begin, skipping: 'nothing', cut };
      }
    }
    if (passing) cut.bytes += line.data.length + line.cutBytes;
    else group.push(line);
  }
  const first = group[0];
  const isLong =
    first !== undefined && piece.length - first.begin >= options.maxLineBytes + pieceSlackBytes;
  const ended = options.endRecord || options.endLine;
  if (first !== undefined && (ended || openLine || isLong)) {
    const cutBefore = cut.count;
    finish();
    // What follows belongs to what was cut, unless that was complete.
    passing = !ended;
    if (passing && cut.count === cutBefore) cut.count += 1;
  }
  return {
    records,
    consumed: group[0]?.begin ?? end,
    skipping: openLine ? 'line' : passing ? 'record' : 'nothing',
    cut,
  };
}

function joined(lines: readonly Line[], max: number): { data: Buffer; cutBytes: number } {
  let count = lines.length;
  while (count > 0 && lines[count - 1]?.data.length === 0) count -= 1;
  const kept = lines.slice(0, count);
  const parts = kept.flatMap(({ data }, index) => (index === 0 ? [data] : [newline, data]));
  const whole = kept.length === 1 ? (kept[0]?.data ?? empty) : Buffer.concat(parts);
  const data = cutTo(whole, max);
  return { data, cutBytes: whole.length - data.length + sumOf(kept) };
}

const newline = Buffer.from('\n');
const empty = Buffer.alloc(0);

function sumOf(lines: readonly Line[]): number {
  return lines.reduce((sum, { cutBytes }) => sum + cutBytes, 0);
}
