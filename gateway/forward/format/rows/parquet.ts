/**
 * Rows as Parquet. All columns may be null. Times are INT64 microseconds in UTC, decimals take the
 * smallest type that has their digits, arrays, maps and structs are the three-level groups of the
 * format's own description (LogicalTypes.md).
 *
 * A row group is closed once its records took so many bytes or its cells are so many: what is held
 * at a time does not grow with the object.
 */
import { gzipSync } from 'node:zlib';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { Column } from './columns.ts';
import type { ColumnType } from './column-type.ts';
import type { RowWriter } from './table.ts';

export interface ParquetOptions {
  readonly compression: 'none' | 'gzip' | 'snappy' | 'zstd';
  /** Of the records of a row group, as JSON. */
  readonly rowGroupBytes: number;
  /** Of a page, before compression. */
  readonly pageBytes: number;
}

const codecs = {
  none: 'UNCOMPRESSED',
  gzip: 'GZIP',
  snappy: 'SNAPPY',
  zstd: 'ZSTD',
} as const;

/** Of a row group: null or not, each takes its place in memory. */
const cellsMax = 4_000_000;

export class ParquetRowWriter implements RowWriter {
  readonly #options: ParquetOptions;
  readonly #onPiece: (piece: Uint8Array) => void;
  readonly #zstd: (bytes: Uint8Array) => Uint8Array;
  readonly #bytes = new ByteWriter();
  #columns: readonly Column[] = [];
  #writer: ParquetWriter | null = null;
  /** Of the row group, by column. */
  #values: unknown[][] = [];
  #rows = 0;
  #groupBytes = 0;

  constructor(
    options: ParquetOptions,
    zstd: (bytes: Uint8Array) => Uint8Array,
    onPiece: (piece: Uint8Array) => void,
  ) {
    this.#options = options;
    this.#zstd = zstd;
    this.#onPiece = onPiece;
  }

  begin(columns: readonly Column[]): void {
    this.#columns = columns;
    this.#values = columns.map(() => []);
    this.#writer = new ParquetWriter({
      writer: this.#bytes,
      schema: schemaOf(columns),
      codec: codecs[this.#options.compression],
      compressors: { GZIP: (bytes) => gzipSync(bytes), ZSTD: this.#zstd },
      createdBy: 'headgate',
    });
  }

  row(values: readonly unknown[], sizeBytes: number): void {
    this.#values.forEach((column, at) => column.push(values[at]));
    this.#rows += 1;
    this.#groupBytes += sizeBytes;
    const cells = (this.#rows + 1) * this.#columns.length;
    if (this.#groupBytes >= this.#options.rowGroupBytes || cells > cellsMax) this.#closeGroup();
  }

  end(): void {
    if (this.#rows > 0) this.#closeGroup();
    if (this.#writer !== null) {
      this.#writer.schema = schemaOf(this.#columns).map(withOlderWord);
      // Nothing that it writes to makes it wait.
      void this.#writer.finish();
    }
    this.#giveOut();
  }

  #closeGroup(): void {
    void this.#writer?.write({
      columnData: this.#columns.map(({ name }, at) => ({ name, data: this.#values[at] ?? [] })),
      rowGroupSize: this.#rows,
      pageSize: this.#options.pageBytes,
    });
    this.#values = this.#columns.map(() => []);
    this.#rows = 0;
    this.#groupBytes = 0;
    this.#giveOut();
  }

  #giveOut(): void {
    this.#onPiece(this.#bytes.getBytes().slice());
    // What is behind it goes on counting from the beginning of the file.
    this.#bytes.index = 0;
  }
}

function schemaOf(columns: readonly Column[]): SchemaElement[] {
  return [
    { name: 'root', num_children: columns.length },
    ...columns.flatMap(({ name, type }) => elementsOf(name, type)),
  ];
}

/** The element, and those within it behind it. */
function elementsOf(name: string, type: ColumnType): SchemaElement[] {
  const optional = { name, repetition_type: 'OPTIONAL' } as const;
  if (type.kind === 'array') {
    return [
      { ...optional, converted_type: 'LIST', logical_type: { type: 'LIST' }, num_children: 1 },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      ...elementsOf('element', type.element),
    ];
  }
  if (type.kind === 'map') {
    return [
      { ...optional, converted_type: 'MAP', logical_type: { type: 'MAP' }, num_children: 1 },
      { name: 'key_value', repetition_type: 'REPEATED', num_children: 2 },
      { name: 'key', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
      ...elementsOf('value', type.value),
    ];
  }
  if (type.kind === 'struct') {
    return [
      { ...optional, num_children: type.fields.length },
      ...type.fields.flatMap((field) => elementsOf(field.name, field.type)),
    ];
  }
  return [{ ...optional, ...leafOf(type) }];
}

type Leaf = Omit<SchemaElement, 'name' | 'repetition_type'>;

function leafOf(type: Exclude<ColumnType, { kind: 'array' | 'map' | 'struct' }>): Leaf {
  switch (type.kind) {
    case 'boolean':
      return { type: 'BOOLEAN' };
    case 'tinyint':
      return { type: 'INT32', converted_type: 'INT_8' };
    case 'smallint':
      return { type: 'INT32', converted_type: 'INT_16' };
    case 'int':
      return { type: 'INT32' };
    case 'bigint':
      return { type: 'INT64' };
    case 'float':
      return { type: 'FLOAT' };
    case 'double':
      return { type: 'DOUBLE' };
    case 'string':
      return { type: 'BYTE_ARRAY', converted_type: 'UTF8' };
    case 'json':
      return { type: 'BYTE_ARRAY', logical_type: { type: 'JSON' } };
    case 'date':
      return { type: 'INT32', converted_type: 'DATE' };
    case 'timestamp':
      return {
        type: 'INT64',
        converted_type: 'TIMESTAMP_MICROS',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
      };
    case 'decimal':
      return decimalLeaf(type.precision, type.scale);
  }
}

/**
 * Many readers know JSON by the older word alone. The writer takes what is called so for values to
 * be printed as JSON, and ours are printed, so it is told when it writes down the schema.
 */
function withOlderWord(element: SchemaElement): SchemaElement {
  return element.logical_type?.type === 'JSON' ? { ...element, converted_type: 'JSON' } : element;
}

function decimalLeaf(precision: number, scale: number): Leaf {
  const digits = {
    converted_type: 'DECIMAL',
    logical_type: { type: 'DECIMAL', precision, scale },
    precision,
    scale,
  } as const;
  if (precision <= 9) return { ...digits, type: 'INT32' };
  if (precision <= 18) return { ...digits, type: 'INT64' };
  return { ...digits, type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16 };
}
