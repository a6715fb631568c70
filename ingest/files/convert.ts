/**
 * What becomes of the text of a record before it is stored.
 *
 *     none         stored as it is
 *     single-line  line breaks, with the space around them, become one space
 *     csv          a JSON object; the names are given, or those of the file's first line
 *     json         checked, and written on one line
 *     regex        a JSON object of what the groups of a pattern match
 *
 * What does not fit (no JSON, another number of fields, no match) is stored as it is and counted:
 * nothing that was read is thrown away.
 */
import { isUtf8 } from 'node:buffer';
import { parseRow } from './csv.ts';
import { FilesError } from './errors.ts';
import { LinePattern } from './pattern.ts';

export type Conversion = 'none' | 'single-line' | 'csv' | 'json' | 'regex';

export interface ConversionOptions {
  readonly convert: Conversion;
  readonly csv: {
    /** One character. */
    readonly delimiter: string;
    /** Empty: the first line of each file names them. */
    readonly fields: readonly string[];
  };
  readonly regex: {
    readonly pattern: string | null;
    /** Names of the groups, in their order. Empty: the pattern names them itself. */
    readonly fields: readonly string[];
  };
}

export interface Converted {
  readonly data: Buffer;
  /** What the record is, for its partition key; undefined where it is only text. */
  readonly value: unknown;
  /** false: it did not fit, and is stored as it was. */
  readonly fits: boolean;
}

export interface Converter {
  /** The first line of a file names its fields. */
  readonly needsHeader: boolean;
  /** @param header the names, where they are needed */
  convert(texts: readonly Buffer[], header: readonly string[]): readonly Converted[];
}

/** JSON may take more room than the text it was made of: past this the text is stored. */
const convertedBytesMax = 10 * 1024 * 1024;

/** @throws FilesError `invalid-options` for a pattern that is none */
export function compileConverter(options: ConversionOptions): Converter {
  const { csv, regex } = options;
  switch (options.convert) {
    case 'none':
      return each((data) => ({ data, value: undefined, fits: true }));
    case 'single-line':
      return each((data) => {
        if (!isUtf8(data)) return asItIs(data);
        const text = data
          .toString()
          .trim()
          .replace(/\s*\r?\n\s*/g, ' ');
        return { data: Buffer.from(text), value: undefined, fits: true };
      });
    case 'json':
      return each((data) => written(data, parseJson(data)));
    case 'csv':
      return {
        needsHeader: csv.fields.length === 0,
        convert: (texts, header) => {
          const names = csv.fields.length === 0 ? header : csv.fields;
          return texts.map((data) => {
            const row = isUtf8(data) ? parseRow(data.toString(), csv.delimiter) : null;
            return written(data, row === null ? undefined : named(names, row));
          });
        },
      };
    case 'regex':
      return regexConverter(regex.pattern ?? '', regex.fields);
  }
}

/** The names in the first line of a file; null when it is no row. */
export function parseHeader(line: Buffer, delimiter: string): readonly string[] | null {
  const row = parseRow(withoutMark(line).toString(), delimiter);
  return row === null ? null : row.map((name, index) => name.trim() || `field${index + 1}`);
}

/** Without the mark that some put before UTF-8. */
export function withoutMark(line: Buffer): Buffer {
  return line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? line.subarray(3) : line;
}

function each(convert: (data: Buffer) => Converted): Converter {
  return { needsHeader: false, convert: (texts) => texts.map(convert) };
}

function regexConverter(source: string, fields: readonly string[]): Converter {
  const pattern = compilePattern(source);
  return {
    needsHeader: false,
    convert: (texts) => {
      const matches = pattern.match(texts.map((data) => (isUtf8(data) ? data.toString() : '')));
      return texts.map((data, index) => {
        const match = matches?.[index] ?? null;
        if (match === null || !isUtf8(data)) return asItIs(data);
        const value =
          fields.length === 0
            ? Object.fromEntries(Object.entries(match.groups ?? {}))
            : named(fields, match.slice(1));
        return written(data, value);
      });
    },
  };
}

/** @throws FilesError `invalid-options` */
export function compilePattern(source: string): LinePattern {
  try {
    return new LinePattern(source);
  } catch (error) {
    throw new FilesError('invalid-options', `${source} is not a regular expression`, error);
  }
}

/** undefined: another number of values than names. A group that took no part has no value. */
function named(
  names: readonly string[],
  values: readonly (string | undefined)[],
): Record<string, string> | undefined {
  if (names.length !== values.length) return undefined;
  return Object.fromEntries(
    names.flatMap((name, index) => {
      const value = values[index];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function parseJson(data: Buffer): unknown {
  try {
    return isUtf8(data) ? (JSON.parse(data.toString()) as unknown) : undefined;
  } catch {
    return undefined;
  }
}

function written(text: Buffer, value: unknown): Converted {
  if (value === undefined) return asItIs(text);
  const data = Buffer.from(JSON.stringify(value));
  return data.length > convertedBytesMax ? asItIs(text) : { data, value, fits: true };
}

function asItIs(data: Buffer): Converted {
  return { data, value: undefined, fits: false };
}
