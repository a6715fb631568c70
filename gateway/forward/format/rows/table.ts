/**
 * Records as the rows of a table, CSV or Parquet. Runs in a thread of its own: see `../thread`.
 *
 * While the columns are not known before the records are, the records are kept as they came, and
 * parsed again once all are there; as objects, which need many times the memory, only few are kept.
 */
import { isUtf8 } from 'node:buffer';
import { Columns, parseRow, RowError, type Column, type ColumnsOptions } from './columns.ts';

/** Records one behind the other, and how long each is. */
export interface RecordChunk {
  readonly bytes: Uint8Array;
  readonly lengths: Uint32Array;
}

/** What became of a record of a chunk. */
export interface RowFailure {
  /** In the chunk. */
  readonly index: number;
  readonly code: string;
  readonly message: string;
}

/** Writes a table's rows. */
export interface RowWriter {
  /** Called once, before all rows. */
  begin(columns: readonly Column[]): void;
  /** @param values by column @param sizeBytes about what they take */
  row(values: readonly unknown[], sizeBytes: number): void;
  /** Called once, after at least one row. */
  end(): void;
}

type Row = Record<string, unknown>;

/** Of the records that are kept as objects too. */
const parsedBytesMax = 8 * 2 ** 20;

export class Table {
  readonly #columns: Columns;
  readonly #writer: RowWriter;
  #toValues: ((row: Row) => unknown[]) | null = null;
  /** Those to be written once the columns are known, without what failed. */
  readonly #kept: RecordChunk[] = [];
  #keptBytes = 0;
  /** The same, parsed; null: they are too many. */
  #parsed: Row[] | null = [];
  #rows = 0;

  constructor(options: ColumnsOptions, writer: RowWriter) {
    this.#columns = new Columns(options);
    this.#writer = writer;
    if (this.#columns.areKnown) this.#begin();
  }

  /** Written so far. */
  get rows(): number {
    return this.#rows;
  }

  /** @returns those that are no rows */
  add(chunk: RecordChunk): RowFailure[] {
    const failures: RowFailure[] = [];
    const toValues = this.#toValues;
    forEachRecord(chunk, (bytes, index) => {
      try {
        if (!isUtf8(bytes)) {
          throw new RowError('DataFormatConversion.ParseError', 'The record is not UTF-8');
        }
        const row = parseRow(textOf(bytes));
        if (toValues === null) this.#learn(row, bytes.length);
        else this.#write(toValues(row), bytes.length);
      } catch (error) {
        if (!(error instanceof RowError)) throw error;
        failures.push({ index, code: error.code, message: error.message });
      }
    });
    if (toValues === null) {
      const { bytes, lengths } = chunk;
      const failed = new Set(failures.map(({ index }) => index));
      if (failed.size < lengths.length) this.#kept.push(without(failed, { bytes, lengths }));
    }
    return failures;
  }

  end(): void {
    if (this.#toValues === null && this.#kept.length > 0) {
      const toValues = this.#begin();
      const parsed = this.#parsed;
      let at = 0;
      for (let chunk = this.#kept.shift(); chunk !== undefined; chunk = this.#kept.shift()) {
        forEachRecord(chunk, (bytes) => {
          this.#write(toValues(parsed?.[at] ?? parseRow(textOf(bytes))), bytes.length);
          at += 1;
        });
      }
    }
    if (this.#rows > 0) this.#writer.end();
  }

  #learn(row: Row, sizeBytes: number): void {
    this.#columns.learn(row);
    this.#keptBytes += sizeBytes;
    if (this.#keptBytes > parsedBytesMax) this.#parsed = null;
    this.#parsed?.push(row);
  }

  #begin(): (row: Row) => unknown[] {
    this.#writer.begin(this.#columns.known());
    this.#toValues = this.#columns.reader();
    return this.#toValues;
  }

  #write(values: readonly unknown[], sizeBytes: number): void {
    this.#writer.row(values, sizeBytes);
    this.#rows += 1;
  }
}

function forEachRecord(
  { bytes, lengths }: RecordChunk,
  visit: (record: Buffer, index: number) => void,
): void {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  lengths.forEach((length, index) => {
    visit(all.subarray(at, at + length), index);
    at += length;
  });
}

function textOf(bytes: Buffer): string {
  return bytes.toString('utf8');
}

function without(failed: ReadonlySet<number>, chunk: RecordChunk): RecordChunk {
  if (failed.size === 0) return chunk;
  const kept: Buffer[] = [];
  forEachRecord(chunk, (record, index) => {
    if (!failed.has(index)) kept.push(record);
  });
  return { bytes: Buffer.concat(kept), lengths: Uint32Array.from(kept, ({ length }) => length) };
}
