/** What the threads that encode are asked for, and what they answer. */
import type { ColumnsOptions } from '../rows/columns.ts';
import type { CsvOptions } from '../rows/csv.ts';
import type { ParquetOptions } from '../rows/parquet.ts';
import type { RecordChunk, RowFailure } from '../rows/table.ts';

/** What a session makes of what it is given. */
export type Work =
  | { readonly kind: 'snappy' | 'hadoop-snappy' | 'zstd' }
  | { readonly kind: 'csv'; readonly columns: ColumnsOptions; readonly csv: CsvOptions }
  | {
      readonly kind: 'parquet';
      readonly columns: ColumnsOptions;
      readonly parquet: ParquetOptions;
    };

/** Each is answered, but for `close`. */
export type Request =
  | { readonly type: 'open'; readonly work: Work }
  /** Of a compression, a block: one record. */
  | ({ readonly type: 'add' } & RecordChunk)
  | { readonly type: 'end' }
  | { readonly type: 'close' };

export interface Result {
  readonly pieces: readonly Uint8Array[];
  readonly failures: readonly RowFailure[];
}

export type Answer = { readonly session: number } & (
  | Result
  /** It could not be done, and would not be again. */
  | { readonly error: string }
);
