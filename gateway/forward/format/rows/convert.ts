/**
 * From JSON to the values of a column, as leniently as the OpenX deserializer that Firehose uses:
 * numbers may stand in strings, anything may become a string. What does not fit is a `Misfit`.
 */
import type { ColumnType, ScalarKind, StructField } from './column-type.ts';
import { decimalOf, integerOf } from './numbers.ts';
import { ExactNumber, jsonText } from './parse.ts';
import { dateOf, timestampOf } from './times.ts';

/** Why a value has no place in its column, in words that go behind the column's name. */
export class Misfit extends Error {
  override readonly name = 'Misfit';
}

/**
 * Takes a value of JSON, null included. Gives null, or what Parquet is written from: booleans,
 * strings, numbers of up to 32 bits and doubles, `bigint` for what has 64 (timestamps are in
 * microseconds, decimals without their point), days for dates; arrays, maps and objects of these.
 * @throws Misfit
 */
export type Converter = (value: unknown) => unknown;

/** What a key of JSON is compared by. */
export type NameRule = (name: string) => string;

const bits: Partial<Record<ScalarKind, number>> = { tinyint: 8, smallint: 16, int: 32 };

export function converterOf(type: ColumnType, rule: NameRule): Converter {
  const convert = notNull(type, rule);
  return (value) => (value === null || value === undefined ? null : convert(value));
}

function notNull(type: ColumnType, rule: NameRule): Converter {
  switch (type.kind) {
    case 'boolean':
      return booleanOf;
    case 'tinyint':
    case 'smallint':
    case 'int':
      return (value) => smallInteger(value, bits[type.kind] ?? 32);
    case 'bigint':
      return bigInteger;
    case 'float':
    case 'double':
      return doubleOf;
    case 'string':
      return textOf;
    case 'date':
      return (value) => fitting(dateOf(value), value, 'date');
    case 'timestamp':
      return (value) => fitting(timestampOf(value), value, 'time');
    case 'json':
      return jsonText;
    case 'decimal':
      return (value) =>
        fitting(decimalOf(value, type), value, `decimal(${type.precision},${type.scale})`);
    case 'array':
      return arrayConverter(type.element, rule);
    case 'map':
      return mapConverter(type.value, rule);
    case 'struct':
      return structConverter(type.fields, rule);
  }
}

function fitting<T>(converted: T | null, value: unknown, what: string): T {
  if (converted === null) throw new Misfit(`is no ${what}: ${shown(value)}`);
  return converted;
}

function booleanOf(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string' && /^(?:true|false)$/i.test(value)) {
    return value.toLowerCase() === 'true';
  }
  throw new Misfit(`is neither true nor false: ${shown(value)}`);
}

function smallInteger(value: unknown, size: number): number {
  const limit = 2 ** (size - 1);
  const integer = typeof value === 'number' ? value : Number(integerOf(value) ?? Number.NaN);
  if (Number.isInteger(integer) && integer >= -limit && integer < limit) return integer + 0;
  throw new Misfit(`is no integer of ${size} bits: ${shown(value)}`);
}

function bigInteger(value: unknown): bigint {
  const integer = Number.isSafeInteger(value) ? BigInt(value as number) : integerOf(value);
  if (integer !== null && BigInt.asIntN(64, integer) === integer) return integer;
  throw new Misfit(`is no integer of 64 bits: ${shown(value)}`);
}

function doubleOf(value: unknown): number {
  if (typeof value === 'number') return value;
  if (value instanceof ExactNumber) return Number(value.text);
  if (typeof value === 'string' && /^[\s+-]*[\d.]/.test(value)) {
    const number = Number(value);
    if (!Number.isNaN(number)) return number;
  }
  throw new Misfit(`is no number: ${shown(value)}`);
}

/** Of a string, itself; of anything else its JSON. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' ? String(value) : jsonText(value);
}

function arrayConverter(element: ColumnType, rule: NameRule): Converter {
  const convert = converterOf(element, rule);
  return (value) => {
    if (Array.isArray(value)) return value.map(convert);
    throw new Misfit(`is no array: ${shown(value)}`);
  };
}

function mapConverter(inner: ColumnType, rule: NameRule): Converter {
  const convert = converterOf(inner, rule);
  return (value) => {
    const entries = Object.entries(objectOf(value));
    return new Map(entries.map(([key, item]) => [key, convert(item)]));
  };
}

function structConverter(fields: readonly StructField[], rule: NameRule): Converter {
  const converters = new Map(
    fields.map(({ name, type }) => [rule(name), { name, convert: converterOf(type, rule) }]),
  );
  return (value) => {
    const result = Object.create(null) as Record<string, unknown>;
    for (const [key, item] of Object.entries(objectOf(value))) {
      const field = converters.get(rule(key));
      if (field !== undefined) result[field.name] = field.convert(item);
    }
    return result;
  };
}

function objectOf(value: unknown): object {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (isObject && !(value instanceof ExactNumber)) return value;
  throw new Misfit(`is no object: ${shown(value)}`);
}

function shown(value: unknown): string {
  const text = jsonText(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
