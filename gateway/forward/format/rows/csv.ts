/**
 * Rows as CSV (RFC 4180): lines end with CRLF, quotes only where they are needed. null is nothing
 * at all, an empty text is two quotes. Times are ISO 8601 in UTC, arrays and objects JSON.
 */
import type { Column } from './columns.ts';
import type { ColumnType } from './column-type.ts';
import { ExactNumber, jsonText, parseExactly } from './parse.ts';
import type { RowWriter } from './table.ts';
import { printDate, printTimestamp } from './times.ts';

export interface CsvOptions {
  /** One character, neither a quote nor of a line's end. */
  readonly delimiter: string;
  /** Whether the first line has the names. */
  readonly header: boolean;
}

const textChars = 64 * 1024;

export class CsvWriter implements RowWriter {
  readonly #options: CsvOptions;
  readonly #onPiece: (piece: Uint8Array) => void;
  readonly #special: RegExp;
  #printers: readonly ((value: unknown) => string)[] = [];
  #text = '';

  constructor(options: CsvOptions, onPiece: (piece: Uint8Array) => void) {
    this.#options = options;
    this.#onPiece = onPiece;
    const escaped = options.delimiter.replace(/[\\\]^-]/, '\\$&');
    this.#special = new RegExp(`["\\r\\n${escaped}]|^\\s|\\s$|^$`);
  }

  begin(columns: readonly Column[]): void {
    this.#printers = columns.map(({ type }) => printerOf(type));
    if (this.#options.header) this.#line(columns.map(({ name }) => this.#field(name)));
  }

  row(values: readonly unknown[]): void {
    // Of one column, nothing would be an empty line, which readers leave out.
    const nothing = values.length === 1 ? '""' : '';
    this.#line(
      values.map((value, at) =>
        value === null ? nothing : this.#field(this.#printers[at]?.(value) ?? ''),
      ),
    );
  }

  end(): void {
    this.#flush();
  }

  #field(text: string): string {
    return this.#special.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  #line(fields: readonly string[]): void {
    this.#text += `${fields.join(this.#options.delimiter)}\r\n`;
    if (this.#text.length >= textChars) this.#flush();
  }

  #flush(): void {
    const text = this.#text;
    this.#text = '';
    this.#onPiece(new TextEncoder().encode(text));
  }
}

/** Of a value that a converter gave. */
function printerOf(type: ColumnType): (value: unknown) => string {
  if (type.kind === 'timestamp') return (value) => printTimestamp(value as bigint);
  if (type.kind === 'date') return (value) => printDate(value as number);
  if (type.kind === 'decimal') return (value) => printDecimal(value as bigint, type.scale);
  if (type.kind === 'array' || type.kind === 'map' || type.kind === 'struct') {
    return (value) => jsonText(plainOf(value, type));
  }
  return String;
}

function printDecimal(unscaled: bigint, scale: number): string {
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0');
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return unscaled < 0n ? `-${text}` : text;
}

/** As JSON has it. */
function plainOf(value: unknown, type: ColumnType): unknown {
  if (value === null || value === undefined) return null;
  const { kind } = type;
  if (kind === 'array') {
    return (value as readonly unknown[]).map((item) => plainOf(item, type.element));
  }
  if (kind === 'map') {
    const entries = [...(value as ReadonlyMap<string, unknown>)];
    return Object.fromEntries(entries.map(([key, item]) => [key, plainOf(item, type.value)]));
  }
  if (kind === 'struct') {
    const fields = value as Readonly<Record<string, unknown>>;
    return Object.fromEntries(
      type.fields.map((field) => [field.name, plainOf(fields[field.name], field.type)]),
    );
  }
  if (kind === 'json') return parseExactly(value as string);
  if (kind === 'bigint' || kind === 'decimal') return new ExactNumber(printerOf(type)(value));
  return kind === 'date' || kind === 'timestamp' ? printerOf(type)(value) : value;
}
