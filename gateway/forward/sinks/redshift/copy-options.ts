/**
 * What COPY is told of the objects that it loads: what a delivery's format says of them, with what is
 * configured on top. What contradicts the format is refused, and so is what would lose records
 * without a word.
 *
 * Sources: Amazon Redshift Database Developer Guide (COPY: data format, file compression, data
 * conversion and load parameters; COPY from columnar data formats).
 */
import { suggest } from '../../../config/suggest.ts';
import type { FormatOptions, FormatType } from '../../format/formats.ts';
import { SinkError, type TableReading } from '../../sink.ts';
import { literal } from './sql.ts';

/** What does not go together. */
export interface CopyProblem {
  /** Of the delivery; with dots between its parts. */
  readonly key: string;
  readonly message: string;
  readonly allowed?: string;
}

/** Words that begin the description of a format. */
const formatWords = ['JSON', 'CSV', 'AVRO', 'FIXEDWIDTH', 'SHAPEFILE', 'PARQUET', 'ORC'];
const compressionWords = ['GZIP', 'ZSTD', 'BZIP2', 'LZOP'];

/** The word of a format; of raw records, nothing is known. */
const wordOf = { ndjson: 'JSON', csv: 'CSV', parquet: 'PARQUET', raw: null } as const;

/** What is said elsewhere, and where. */
const saidElsewhere: Readonly<Record<string, string>> = {
  MANIFEST: 'every load has one',
  IAM_ROLE: 'to.redshift.iamRole says it',
  CREDENTIALS: 'to.redshift.iamRole or staging says them',
  ACCESS_KEY_ID: 'to.redshift.staging.accessKeyId says it',
  SECRET_ACCESS_KEY: 'to.redshift.staging.secretAccessKey says it',
  SESSION_TOKEN: 'the keys of to.redshift.staging have none',
  REGION: 'to.redshift.staging.region says it',
};

/** What loads less than there is, and says nothing of it. */
const losing: Readonly<Record<string, string>> = {
  NOLOAD: 'loads nothing, and what was sent would be lost',
  MAXERROR:
    'leaves rows out without a word; those that do not fit are put aside instead; leave it out',
  IGNOREALLERRORS:
    'leaves rows out without a word; those that do not fit are put aside instead; leave it out',
};

/** All that COPY takes of Parquet, and what stands behind it. */
const parquetWords: ReadonlySet<string> = new Set([
  ...['FORMAT', 'AS', 'PARQUET', 'SERIALIZETOJSON', 'ACCEPTINVCHARS', 'FILLRECORD'],
  ...['EXPLICIT_IDS', 'STATUPDATE', 'ON', 'OFF', 'TRUE', 'FALSE'],
]);

/** What else COPY takes of objects in S3, and what stands behind it without quotes. */
const otherWords = [
  ...['QUOTE', 'DELIMITER', 'SIMPLIFY', 'ACCEPTANYDATE', 'BLANKSASNULL', 'DATEFORMAT'],
  ...['EMPTYASNULL', 'ENCODING', 'UTF8', 'UTF16', 'UTF16LE', 'UTF16BE', 'ISO88591', 'ESCAPE'],
  ...['IGNOREBLANKLINES', 'IGNOREHEADER', 'NULL', 'REMOVEQUOTES', 'ROUNDEC', 'TIMEFORMAT'],
  ...['TRIMBLANKS', 'TRUNCATECOLUMNS', 'COMPROWS', 'COMPUPDATE', 'PRESET'],
];

/** Between quotes, or not; as `isCopyOptions` takes them apart. */
const piecePattern = /'(?:[^'\\]|\\[^'])*'|[^\s']+/g;

/** @returns what stands at the end of COPY; '' for nothing @throws SinkError for what contradicts itself */
export function copyOptions(format: FormatOptions, options: string): string {
  const problem = problemOf(format, options);
  if (problem !== null) {
    const advice = 'Correct the format of the delivery, and to.redshift.copyOptions.';
    throw new SinkError('missing', `${problem.key} ${problem.message}`, { advice });
  }
  const words = wordsOf(options);
  const derived = derivedOptions(format).filter(([word]) => !words.includes(word));
  return [...derived.map(([, text]) => text), ...(options.trim() === '' ? [] : [options.trim()])]
    .join(' ')
    .trim();
}

/** @returns null: they go together */
export function copyProblem(
  format: FormatOptions,
  { columns, options }: TableReading,
): CopyProblem | null {
  const problem = problemOf(format, options);
  if (problem !== null || !isByPlace(format.type)) return problem;
  const declared = format.columns?.length ?? 0;
  if (declared === 0) {
    return {
      key: 'format.columns',
      message: 'are needed: COPY fills the columns of a table by their place',
    };
  }
  if (columns === null || columns.length === declared) return null;
  return {
    key: 'to.redshift.columns',
    message: `are ${columns.length}, and the objects have ${declared}`,
    allowed: 'as many as format.columns has, in their order; or none',
  };
}

/** A word of which the cluster would tell at the first load; null: COPY takes all of them. */
export function wordProblem(options: string): CopyProblem | null {
  const taken = [...new Set([...formatWords, ...compressionWords, ...otherWords, ...parquetWords])];
  const known = new Set([...taken, ...Object.keys(saidElsewhere), ...Object.keys(losing)]);
  const words = wordsOf(options);
  const unknown = words.find((word, at) => {
    if (known.has(word) || /^\d+(\.\d+)?$/.test(word)) return false;
    return word !== 'AUTO' || words[at - 1] !== 'SIMPLIFY';
  });
  if (unknown === undefined) return null;
  const meant = suggest(unknown, known);
  const message = `has ${unknown}, which COPY does not take here`;
  const key = 'to.redshift.copyOptions';
  if (meant !== null) return { key, message: `${message}; ${meant}, perhaps` };
  return { key, message, allowed: `${taken.join(', ')}, numbers, and texts between '` };
}

/** COPY finds columns by where they are, and not by their names. */
function isByPlace(type: FormatType): boolean {
  return type === 'csv' || type === 'parquet';
}

function problemOf(format: FormatOptions, options: string): CopyProblem | null {
  return formatProblem(format) ?? optionsProblem(format, options);
}

/** What COPY does not read, whatever it is told. */
function formatProblem({ type, compression, delimiter }: FormatOptions): CopyProblem | null {
  if (type !== 'parquet' && compressionOf({ type, compression: compression ?? null }) === null) {
    return {
      key: 'format.compression',
      message: 'is one that COPY does not read',
      allowed: 'none, gzip or zstd',
    };
  }
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (type !== 'csv' || /^[\u0000-\u007f]?$/.test(delimiter ?? '')) return null;
  return {
    key: 'format.delimiter',
    message: 'is one that COPY does not read',
    allowed: 'a character of ASCII',
  };
}

function optionsProblem(format: FormatOptions, options: string): CopyProblem | null {
  const words = wordsOf(options);
  const key = 'to.redshift.copyOptions';
  for (const [at, word] of words.entries()) {
    const elsewhere = saidElsewhere[word];
    if (elsewhere !== undefined) return { key, message: `has ${word}: ${elsewhere}` };
    const loses = losing[word];
    if (loses !== undefined) return { key, message: `has ${word}, which ${loses}` };
    const contradiction = contradictionOf(format, word, words.slice(at + 1));
    if (contradiction !== null) return { key, message: `has ${word}, ${contradiction}` };
  }
  return null;
}

/** @param behind the words behind it @returns null: the word goes with the format */
function contradictionOf(
  format: FormatOptions,
  word: string,
  behind: readonly string[],
): string | null {
  const { type } = format;
  const own = wordOf[type];
  if (formatWords.includes(word)) {
    const isColumnar = word === 'PARQUET' || word === 'ORC';
    if (own === null ? !isColumnar : word === own) return null;
    return `and the delivery's format.type is ${type}`;
  }
  if (compressionWords.includes(word)) {
    if (type === 'parquet') return 'and Parquet is compressed within';
    if (compressionOf(format) === word) return null;
    return `and the delivery's format.compression is ${format.compression ?? 'gzip'}`;
  }
  if (type === 'parquet' && !parquetWords.has(word) && !/^\d/.test(word)) {
    return 'which COPY does not take with format.type: parquet; leave it out';
  }
  if (word === 'DELIMITER' && own !== null) {
    if (own !== 'CSV') return `and the delivery's format.type is ${type}`;
    return 'which format.delimiter says';
  }
  if (word === 'IGNOREHEADER') {
    const lines = behind.find((next) => next !== 'AS');
    if (type === 'csv' && (format.header ?? true) && lines === '1') return null;
    return 'and leaves out records: the objects have no such lines';
  }
  return null;
}

/** By the word that stands for it; where there is such a word, what is configured stands alone. */
function derivedOptions(format: FormatOptions): readonly (readonly [string, string])[] {
  const { type } = format;
  const compression = compressionOf(format);
  const compressed =
    compression === null || compression === '' ? [] : ([[compression, compression]] as const);
  if (type === 'parquet') return [['PARQUET', 'FORMAT AS PARQUET']];
  if (type === 'raw') return compressed;
  // Devices write times as ISO 8601, and so do our own tables; COPY alone takes those with a space.
  const times = ['TIMEFORMAT', "TIMEFORMAT 'auto'"] as const;
  if (type === 'ndjson') return [['JSON', "JSON 'auto'"], times, ...compressed];
  const delimiter = format.delimiter ?? ',';
  return [
    ['CSV', 'CSV'],
    ...(delimiter === ',' ? [] : [['DELIMITER', `DELIMITER ${delimiterText(delimiter)}`] as const]),
    ...((format.header ?? true) ? [['IGNOREHEADER', 'IGNOREHEADER 1'] as const] : []),
    times,
    ...compressed,
  ];
}

/** In octal where a quoted text may not have it. */
function delimiterText(delimiter: string): string {
  const code = delimiter.charCodeAt(0);
  if (code >= 0x20 && code < 0x7f && delimiter !== '\\') return literal(delimiter);
  return `'\\${code.toString(8).padStart(3, '0')}'`;
}

/** The word for it; '': not compressed, or within; null: COPY has no word for it. */
function compressionOf({ type, compression }: FormatOptions): string | null {
  if (type === 'parquet') return '';
  const words = { none: '', gzip: 'GZIP', zstd: 'ZSTD' } as const;
  const used = compression ?? 'gzip';
  return used in words ? words[used as keyof typeof words] : null;
}

function wordsOf(options: string): readonly string[] {
  return (options.match(piecePattern) ?? [])
    .filter((piece) => !piece.startsWith("'"))
    .map((piece) => piece.toUpperCase());
}
