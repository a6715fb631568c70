/**
 * Which column a value of a record goes to, and what the columns are where that was not said.
 *
 * A type that is not declared is learnt from all the records of an object, in a way that seldom
 * changes from one object to the next: whole numbers are `bigint` however small they are, other
 * numbers and mixtures of both `double`, texts `string` whatever they look like, arrays and objects
 * `json`, and so is what is sometimes one of these; any other mixture is `string`. A column of nulls
 * alone is `string`.
 */
import { parseColumnType, type ColumnType } from './column-type.ts';
import { converterOf, Misfit, type Converter, type NameRule } from './convert.ts';
import { integerOf } from './numbers.ts';
import { ExactNumber, parseExactly } from './parse.ts';

/** As `deliveries.*.format.columns` has them. */
export interface DeclaredColumn {
  readonly name: string;
  /** null or left out: learnt from the records. */
  readonly type?: string | null;
  /** The key in JSON; null or left out: the name. */
  readonly from?: string | null;
}

export interface ColumnsOptions {
  /** None: a column for every key there is. */
  readonly columns: readonly DeclaredColumn[];
  /** `Temp` and `temp` are one key. */
  readonly ignoreCase: boolean;
  /** The key `a.b` is the column `a_b`. */
  readonly dotsToUnderscores: boolean;
  /** Otherwise what has no type is `string`: as it is. */
  readonly learnsTypes: boolean;
}

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
}

/** A record that can't be a row; the codes are those that Firehose uses. */
export class RowError extends Error {
  override readonly name = 'RowError';
  readonly code: 'DataFormatConversion.ParseError' | 'DataFormatConversion.MalformedData';

  constructor(code: RowError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Learnt ones, of one object. */
const columnsMax = 1_000;
/** What is nested deeper can't be printed again everywhere. */
const depthMax = 500;

/** @throws RowError when it is no object of JSON */
export function parseRow(text: string): Record<string, unknown> {
  let row: unknown;
  try {
    row = parseExactly(text);
  } catch (error) {
    if (error instanceof RangeError) throw tooDeep();
    const { message } = error as Error;
    throw new RowError('DataFormatConversion.ParseError', `The record is no JSON: ${message}`);
  }
  // Each level takes two characters at least.
  if (text.length > 2 * depthMax && isDeeper(row, depthMax)) throw tooDeep();
  if (typeof row === 'object' && row !== null && !Array.isArray(row)) {
    if (!(row instanceof ExactNumber)) return row as Record<string, unknown>;
  }
  throw new RowError('DataFormatConversion.MalformedData', 'The record is no JSON object');
}

function tooDeep(): RowError {
  return new RowError(
    'DataFormatConversion.MalformedData',
    `The record is nested deeper than ${depthMax}`,
  );
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  return Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

interface Slot {
  readonly name: string;
  readonly declared: ColumnType | null;
  readonly convert: Converter | null;
  seen: number;
}

const saw = { boolean: 1, integer: 2, number: 4, text: 8, nested: 16 } as const;

export class Columns {
  readonly #slots: Slot[] = [];
  /** By what `rule` makes of the key in JSON. */
  readonly #byRule = new Map<string, number>();
  /** By the key as it stands; -1: it is not wanted. */
  readonly #byKey = new Map<string, number>();
  readonly #rule: NameRule;
  readonly #isOpen: boolean;
  readonly #dots: boolean;
  readonly #learnsTypes: boolean;

  constructor({ columns, ignoreCase, dotsToUnderscores, learnsTypes }: ColumnsOptions) {
    this.#rule = (name) => {
      const text = ignoreCase ? name.toLowerCase() : name;
      return dotsToUnderscores ? text.replaceAll('.', '_') : text;
    };
    this.#isOpen = columns.length === 0;
    this.#dots = dotsToUnderscores;
    this.#learnsTypes = learnsTypes;
    for (const { name, type, from } of columns) {
      const declared = typeof type === 'string' ? parseColumnType(type) : null;
      const convert = declared === null ? null : converterOf(declared, this.#rule);
      this.#byRule.set(this.#rule(from ?? name), this.#slots.length);
      this.#slots.push({ name, declared, convert, seen: 0 });
    }
  }

  /** Whether the columns are known before any record is. */
  get areKnown(): boolean {
    if (this.#isOpen) return false;
    return !this.#learnsTypes || this.#slots.every(({ declared }) => declared !== null);
  }

  /** @throws RowError when a row has no place; nothing is learnt from it then */
  learn(row: Readonly<Record<string, unknown>>): void {
    const keys = Object.keys(row);
    const added = this.#isOpen ? this.#namesToAdd(keys) : [];
    for (const key of keys) {
      const slot = this.#slots[this.#slotOf(key)];
      if (slot?.convert) checked(slot.name, () => slot.convert?.(row[key]));
    }
    for (const key of added) this.#addSlot(key);
    for (const key of keys) {
      const slot = this.#slots[this.#slotOf(key)];
      if (slot !== undefined) slot.seen |= kindOf(row[key]);
    }
  }

  /** What they are, for all that was learnt. Of nothing but empty objects, one of nulls. */
  known(): readonly Column[] {
    if (this.#slots.length === 0) return [{ name: '_', type: { kind: 'string' } }];
    return this.#slots.map(({ name, declared, seen }) => ({
      name,
      type: declared ?? (this.#learnsTypes ? typeOf(seen) : { kind: 'string' }),
    }));
  }

  /**
   * Gives a row's values by column, once these are known.
   * @throws RowError when one does not fit: of rows that were learnt, none
   */
  reader(): (row: Readonly<Record<string, unknown>>) => unknown[] {
    const columns = this.known();
    const converters = columns.map(({ type }) => converterOf(type, this.#rule));
    return (row) => {
      const values = new Array<unknown>(columns.length).fill(null);
      for (const key in row) {
        const at = this.#slotOf(key);
        const convert = converters[at];
        if (convert === undefined) continue;
        try {
          values[at] = convert(row[key]);
        } catch (error) {
          throw asRowError(columns[at]?.name ?? key, error);
        }
      }
      return values;
    };
  }

  #slotOf(key: string): number {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const at = this.#byRule.get(this.#rule(key)) ?? -1;
    // Keys without end are not remembered without end.
    if (this.#byKey.size < 10 * columnsMax && (at >= 0 || !this.#isOpen)) this.#byKey.set(key, at);
    return at;
  }

  #namesToAdd(keys: readonly string[]): string[] {
    const added = new Map<string, string>();
    for (const key of keys) {
      if (this.#slotOf(key) >= 0) continue;
      const rule = this.#rule(key);
      if (!added.has(rule)) added.set(rule, key);
    }
    if (added.size > 0 && this.#slots.length + added.size > columnsMax) {
      throw new RowError(
        'DataFormatConversion.MalformedData',
        `The record brings the columns of the object to more than ${columnsMax}`,
      );
    }
    return [...added.values()];
  }

  #addSlot(key: string): void {
    this.#byRule.set(this.#rule(key), this.#slots.length);
    const name = this.#dots ? key.replaceAll('.', '_') : key;
    this.#slots.push({ name, declared: null, convert: null, seen: 0 });
  }
}

function checked(column: string, check: () => unknown): void {
  try {
    check();
  } catch (error) {
    throw asRowError(column, error);
  }
}

/** @throws what is not of the value's making */
function asRowError(column: string, error: unknown): RowError {
  if (!(error instanceof Misfit)) throw error;
  return new RowError('DataFormatConversion.MalformedData', `"${column}" ${error.message}`);
}

function kindOf(value: unknown): number {
  if (value === null) return 0;
  if (typeof value === 'string') return saw.text;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? saw.integer : saw.number;
  if (typeof value === 'boolean') return saw.boolean;
  if (!(value instanceof ExactNumber)) return saw.nested;
  return isBigInteger(value) ? saw.integer : saw.number;
}

function isBigInteger(value: ExactNumber): boolean {
  const integer = integerOf(value);
  return integer !== null && BigInt.asIntN(64, integer) === integer;
}

function typeOf(seen: number): ColumnType {
  if ((seen & saw.nested) !== 0) return { kind: 'json' };
  switch (seen) {
    case saw.boolean:
      return { kind: 'boolean' };
    case saw.integer:
      return { kind: 'bigint' };
    case saw.number:
    case saw.number | saw.integer:
      return { kind: 'double' };
    default:
      return { kind: 'string' };
  }
}
