/** Reads objects as COPY would, by what stands at the end of its statement, and no better. */
import { gunzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import { decompress } from 'fzstd';
import { parquetReadObjects } from 'hyparquet';

/** What is to be loaded; null: it can't be read. */
export interface CopyRow {
  readonly line: number;
  readonly values: readonly unknown[] | null;
}

const optionsPattern =
  /^(?:(JSON) 'auto'|(CSV)(?: DELIMITER '(.|\\\d{3})')?( IGNOREHEADER 1)?|FORMAT AS (PARQUET))(?: TIMEFORMAT 'auto')?(?: (GZIP|ZSTD))?$/;

/** How objects are read, with these columns of the table; null: the options are no such thing. */
export function copyReader(
  options: string,
  columns: readonly string[],
): ((object: Buffer) => Promise<readonly CopyRow[]>) | null {
  const match = optionsPattern.exec(options);
  if (match === null) return null;
  const [, isJson, isCsv, delimiter = ',', header, isParquet, compression] = match;
  if (isParquet !== undefined) return (object) => parquetRows(object, columns.length);
  return (object) => {
    const text = plain(object, compression).toString();
    if (isJson !== undefined) return Promise.resolve(jsonRows(text, columns));
    if (isCsv === undefined) throw new Error('no format');
    const code = Number.parseInt(delimiter.slice(1), 8);
    const between = delimiter.length === 1 ? delimiter : String.fromCharCode(code);
    return Promise.resolve(csvRows(text, between, header === undefined ? 1 : 2));
  };
}

function plain(object: Buffer, compression: string | undefined): Buffer {
  if (compression === 'GZIP') return gunzipSync(object);
  return compression === 'ZSTD' ? Buffer.from(decompress(object)) : object;
}

function jsonRows(text: string, columns: readonly string[]): readonly CopyRow[] {
  return text.split('\n').flatMap((line, index) => {
    if (line === '') return [];
    const value = objectOf(line);
    return [{ line: index + 1, values: value && columns.map((name) => value[name]) }];
  });
}

function objectOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : null;
  } catch {
    return null;
  }
}

/** Nothing between two delimiters is nothing for PostgreSQL too. */
function csvRows(text: string, delimiter: string, fromLine: number): readonly CopyRow[] {
  const rows: string[][] = parse(text, { delimiter, from_line: fromLine });
  return rows.map((values, index) => ({
    line: fromLine + index,
    values: values.map((value) => (value === '' ? null : value)),
  }));
}

/** In the order of the file; their number has to be that of the table. */
async function parquetRows(object: Buffer, columns: number): Promise<readonly CopyRow[]> {
  const rows = await parquetReadObjects({ file: new Uint8Array(object).buffer });
  return rows.map((row, index) => {
    const values = Object.values(row).map((value: unknown) =>
      value instanceof Date ? value.toISOString() : value,
    );
    return { line: index + 1, values: values.length === columns ? values : null };
  });
}
