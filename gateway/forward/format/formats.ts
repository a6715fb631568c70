/**
 * The formats that a delivery can have, by their options:
 *
 * - `ndjson`: a line for each record (`ndjson.ts`).
 * - `raw`: the data of the records, one behind the other, each with the delimiter behind it.
 * - `csv` and `parquet`: a row for each record, which has to be an object of JSON (`rows/`). Others
 *   fail as `format-conversion-failed`, with Firehose's error codes. With envelopes, the row is the
 *   envelope.
 *
 * All but Parquet, which compresses within, are compressed as a whole. What would hold up the event
 * loop is done in threads (`thread/`).
 */
import {
  gzipCompressor,
  noCompressor,
  threadCompressor,
  zipCompressor,
  type Compressor,
  type OnPiece,
} from './compressor.ts';
import type { Format } from './encoder.ts';
import { recordLine, type RecordFormat } from './ndjson.ts';
import type { ColumnsOptions, DeclaredColumn } from './rows/columns.ts';
import { StreamEncoder } from './stream-encoder.ts';
import { TableEncoder } from './table-encoder.ts';
import type { Work } from './thread/protocol.ts';
import { sharedThreads, type EncoderThreads } from './thread/threads.ts';

export type FormatType = 'ndjson' | 'raw' | 'csv' | 'parquet';
export type Compression = 'none' | 'gzip' | 'zip' | 'snappy' | 'hadoop-snappy' | 'zstd';

/** As `deliveries.*.format` has them. */
export interface FormatOptions {
  readonly type: FormatType;
  /** null or left out: gzip; of Parquet, snappy. */
  readonly compression?: Compression | null;
  /**
   * `raw`: what stands behind each record; null or left out: nothing. `csv`: what stands between
   * columns, one character; null or left out: a comma.
   */
  readonly delimiter?: string | null;
  /** `csv`: whether the first line has the names. Default true. */
  readonly header?: boolean;
  /** `csv`, `parquet`: none, or left out: a column for every key there is in an object. */
  readonly columns?: readonly DeclaredColumn[];
  /** Of keys, when they are compared. Default true. */
  readonly ignoreCase?: boolean;
  /** The key `a.b` is the column `a_b`. Default false. */
  readonly dotsToUnderscores?: boolean;
  /** `parquet`: of the records of a row group, as JSON. Default 16 MiB. */
  readonly rowGroupBytes?: number;
  /** `parquet`: of a page, before compression. Default 1 MiB. */
  readonly pageBytes?: number;
}

/** What a format has to know beside its options. */
export interface FormatSource {
  /** Default `data`; of `raw` it has to be. */
  readonly record?: RecordFormat;
  /** Of the shard whose records they are; envelopes name it. */
  readonly shardIndex: number;
}

export const parquetDefaults = { rowGroupBytes: 16 * 2 ** 20, pageBytes: 2 ** 20 } as const;

interface Naming {
  readonly extension: string;
  /** null: that of what is compressed. */
  readonly contentType: string | null;
}

const compressions: Readonly<Record<Compression, Naming>> = {
  none: { extension: '', contentType: null },
  gzip: { extension: '.gz', contentType: 'application/gzip' },
  zip: { extension: '.zip', contentType: 'application/zip' },
  snappy: { extension: '.snappy', contentType: 'application/octet-stream' },
  'hadoop-snappy': { extension: '.hsnappy', contentType: 'application/octet-stream' },
  zstd: { extension: '.zst', contentType: 'application/zstd' },
};

const types: Readonly<Record<FormatType, { extension: string; contentType: string }>> = {
  ndjson: { extension: '.ndjson', contentType: 'application/x-ndjson' },
  raw: { extension: '', contentType: 'application/octet-stream' },
  csv: { extension: '.csv', contentType: 'text/csv' },
  parquet: { extension: '.parquet', contentType: 'application/vnd.apache.parquet' },
};

/**
 * @param threads left out: those that all deliveries share
 * @throws Error for what does not go together: the configuration refuses it earlier
 */
export function formatOf(
  options: FormatOptions,
  source: FormatSource,
  threads: EncoderThreads = sharedThreads(),
): Format {
  const { type } = options;
  const { record = 'data', shardIndex } = source;
  const work = workOf(options);
  const compression = type === 'parquet' ? 'none' : (options.compression ?? 'gzip');
  const naming = compressions[compression];
  const names = {
    contentType: naming.contentType ?? types[type].contentType,
    extension: `${types[type].extension}${naming.extension}`,
  };
  const compressor = (onPiece: OnPiece): Compressor => {
    if (compression === 'none') return noCompressor(onPiece);
    if (compression === 'gzip') return gzipCompressor(onPiece);
    if (compression === 'zip') return zipCompressor(onPiece, `records${types[type].extension}`);
    return threadCompressor(compression, threads, onPiece);
  };
  const lineOf = (line: Parameters<typeof recordLine>[0]) => recordLine(line, record, shardIndex);
  if (work !== null) {
    const jsonOf = record === 'envelope' ? lineOf : ({ data }: { readonly data: Buffer }) => [data];
    return {
      ...names,
      encoder: () => new TableEncoder({ work, threads, jsonOf, compressor }),
    };
  }
  if (type === 'ndjson') {
    return { ...names, encoder: () => new StreamEncoder({ piecesOf: lineOf, compressor }) };
  }
  if (record !== 'data') throw new Error('raw records have no envelope');
  const behind = Buffer.from(options.delimiter ?? '');
  const piecesOf = ({ data }: { readonly data: Buffer }) => [data, behind];
  return { ...names, encoder: () => new StreamEncoder({ piecesOf, compressor }) };
}

/** null: it needs no thread. */
function workOf(options: FormatOptions): Work | null {
  const columns: ColumnsOptions = {
    columns: options.columns ?? [],
    ignoreCase: options.ignoreCase ?? true,
    dotsToUnderscores: options.dotsToUnderscores ?? false,
    learnsTypes: options.type === 'parquet',
  };
  if (options.type === 'csv') {
    const csv = { delimiter: options.delimiter ?? ',', header: options.header ?? true };
    return { kind: 'csv', columns, csv };
  }
  if (options.type !== 'parquet') return null;
  const compression = options.compression ?? 'snappy';
  if (compression === 'zip' || compression === 'hadoop-snappy') {
    throw new Error(`Parquet is not compressed with ${compression}`);
  }
  const { rowGroupBytes, pageBytes } = { ...parquetDefaults, ...options };
  return { kind: 'parquet', columns, parquet: { compression, rowGroupBytes, pageBytes } };
}
