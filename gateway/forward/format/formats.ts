/**
 * The formats that a delivery can have, by their options:
 *
 * - `ndjson`: a line for each record (`ndjson.ts`), gzipped unless something else is said.
 * - `raw`: the data of the records, one behind the other, each with the delimiter behind it.
 */
import { gzipCompressor, noCompressor, zipCompressor } from './compressor.ts';
import type { Format } from './encoder.ts';
import { recordLine, type RecordFormat } from './ndjson.ts';
import { StreamEncoder, type StreamEncoderOptions } from './stream-encoder.ts';

export type FormatType = 'ndjson' | 'raw';
export type Compression = 'none' | 'gzip' | 'zip';

/** As `deliveries.*.format` has them. */
export interface FormatOptions {
  readonly type: FormatType;
  /** null or left out: gzip. */
  readonly compression?: Compression | null;
  /** `raw`: what stands behind each record; null or left out: nothing. */
  readonly delimiter?: string | null;
}

/** What a format has to know beside its options. */
export interface FormatSource {
  /** Default `data`; of `raw` it has to be. */
  readonly record?: RecordFormat;
  /** Of the shard whose records they are; envelopes name it. */
  readonly shardIndex: number;
}

export const defaultFormat: FormatOptions = { type: 'ndjson' };

const compressions: Readonly<
  Record<
    Compression,
    {
      readonly extension: string;
      /** null: that of what is compressed. */
      readonly contentType: string | null;
    }
  >
> = {
  none: { extension: '', contentType: null },
  gzip: { extension: '.gz', contentType: 'application/gzip' },
  zip: { extension: '.zip', contentType: 'application/zip' },
};

const plain: Readonly<
  Record<FormatType, { readonly extension: string; readonly contentType: string }>
> = {
  ndjson: { extension: '.ndjson', contentType: 'application/x-ndjson' },
  raw: { extension: '', contentType: 'application/octet-stream' },
};

/** @throws Error for what does not go together: the configuration refuses it earlier */
export function formatOf(options: FormatOptions, source: FormatSource): Format {
  const { type } = options;
  const compression = options.compression ?? 'gzip';
  const { extension, contentType } = compressions[compression];
  const stream: StreamEncoderOptions = {
    piecesOf: piecesOf(options, source),
    compressor: (onPiece) => {
      if (compression === 'none') return noCompressor(onPiece);
      if (compression === 'gzip') return gzipCompressor(onPiece);
      return zipCompressor(onPiece, `records${plain[type].extension}`);
    },
  };
  return {
    contentType: contentType ?? plain[type].contentType,
    extension: `${plain[type].extension}${extension}`,
    encoder: () => new StreamEncoder(stream),
  };
}

function piecesOf(
  { type, delimiter }: FormatOptions,
  { record: recordFormat = 'data', shardIndex }: FormatSource,
): StreamEncoderOptions['piecesOf'] {
  if (type === 'ndjson') return (record) => recordLine(record, recordFormat, shardIndex);
  if (recordFormat !== 'data') throw new Error('raw records have no envelope');
  const behind = Buffer.from(delimiter ?? '');
  return ({ data }) => [data, behind];
}
