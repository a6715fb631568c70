/** What both query languages ask of JSON values. */
import type { Json } from './query.ts';

/** The query can't be compiled, or a record gives it no answer. Its message is a sentence's end. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
}

/** Characters of a query. */
export const queryLengthMax = 4096;
/** Of expressions in one another. */
export const queryDepthMax = 64;
/** Of one run over one record: a fraction of a second, whatever the query and the record. */
const stepsMax = 250_000;
/** What costs as much as a step of a query. */
const itemsPerStep = 4;
const charactersPerStep = 16;

/** Counts what a run costs. */
export class Steps {
  readonly #most: number;
  #left: number;

  constructor(most = stepsMax) {
    this.#most = most;
    this.#left = most;
  }

  /** @throws QueryError once it is too much */
  take(count: number): void {
    this.#left -= count;
    if (this.#left < 0) throw new QueryError(`it takes more than ${this.#most} steps`);
  }

  /** For items that are gone through without a query being asked of each. */
  takeItems(count: number): void {
    this.take(count / itemsPerStep);
  }

  takeCharacters(count: number): void {
    this.take(count / charactersPerStep);
  }

  /** For going through a text, or the items of a list or an object. */
  takeWhole(value: Json): void {
    if (typeof value === 'string') this.takeCharacters(value.length);
    else if (isArray(value)) this.takeItems(value.length);
    else if (isObject(value)) this.takeItems(Object.keys(value).length);
  }
}

export function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

export function isObject(value: Json): value is { readonly [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The field of an object; null: it has none. */
export function fieldOf(value: { readonly [name: string]: Json }, name: string): Json {
  // Objects that were parsed still inherit `constructor` and the like.
  return Object.hasOwn(value, name) ? (value[name] ?? null) : null;
}

/** An object with just these fields, whatever their names are. */
export function objectOf(entries: Iterable<readonly [string, Json]>): Json {
  return Object.fromEntries(entries);
}

/** The characters of a text, as Unicode counts them. */
export function charactersOf(text: string): readonly string[] {
  return surrogate.test(text) ? Array.from(text) : text.split('');
}

/** How many there are. */
export function charactersIn(text: string): number {
  return surrogate.test(text) ? Array.from(text).length : text.length;
}

export function typeOf(value: Json): 'null' | 'boolean' | 'number' | 'string' | 'array' | 'object' {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value as 'boolean' | 'number' | 'string' | 'object';
}

/** Whether they are the same, the order of fields aside. */
export function equals(a: Json, b: Json, steps: Steps): boolean {
  steps.take(1);
  if (typeof a === 'string' && typeof b === 'string' && a.length === b.length) {
    steps.takeCharacters(a.length);
  }
  if (a === b) return true;
  if (isArray(a) && isArray(b)) {
    return a.length === b.length && a.every((item, index) => equals(item, b[index] ?? null, steps));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every(
      (name) => Object.hasOwn(b, name) && equals(fieldOf(a, name), fieldOf(b, name), steps),
    )
  );
}

const surrogate = /[\ud800-\udfff]/;

/** By code points, as both languages order texts. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  // JavaScript compares halves of surrogate pairs.
  const isSimple = !surrogate.test(a) && !surrogate.test(b);
  return isSimple ? (a < b ? -1 : 1) : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** As JSON. It is measured first: what refers to one value many times over prints long. */
export function print(value: Json, steps: Steps): string {
  measure(value, steps);
  return JSON.stringify(value);
}

function measure(value: Json, steps: Steps): void {
  steps.takeItems(1);
  if (typeof value === 'string') steps.takeCharacters(value.length);
  else if (isArray(value)) for (const item of value) measure(item, steps);
  else if (isObject(value)) {
    for (const [name, field] of Object.entries(value)) {
      steps.takeCharacters(name.length);
      measure(field, steps);
    }
  }
}

/**
 * Does what goes as deep as its input is nested.
 * @throws QueryError where that is deeper than the stack
 */
export function withinStack<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new QueryError('it is nested too deeply', { cause: error });
  }
}
