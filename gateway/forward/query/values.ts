/** What both query languages ask of JSON values. */
import type { Json } from './query.ts';
import type { Steps } from './steps.ts';

/** The query can't be compiled, or a record gives it no answer. Its message is a sentence's end. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
}

/** Characters of a query. */
export const queryLengthMax = 4096;
/** Of expressions in one another. */
export const queryDepthMax = 64;

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

/** The names of an object's fields. */
export function namesOf(object: { readonly [name: string]: Json }, steps: Steps): string[] {
  const names = Object.keys(object);
  steps.takeFields(names.length);
  return names;
}

/** The values of a list or of an object's fields. */
export function itemsOf(
  whole: readonly Json[] | { readonly [name: string]: Json },
  steps: Steps,
): readonly Json[] {
  if (isArray(whole)) {
    steps.take(whole.length);
    return whole;
  }
  const values = Object.values(whole);
  steps.takeFields(values.length);
  return values;
}

/** An object with just these fields, whatever their names are. */
export function objectOf(entries: readonly (readonly [string, Json])[], steps: Steps): Json {
  steps.takeFields(entries.length);
  return Object.fromEntries(entries);
}

/** The characters of a text, as Unicode counts them. */
export function charactersOf(text: string, steps: Steps): readonly string[] {
  steps.take(text.length / 2);
  return surrogate.test(text) ? Array.from(text) : text.split('');
}

/** How many there are. */
export function charactersIn(text: string): number {
  let pairs = 0;
  for (let at = 1; at < text.length; at += 1) {
    const isPair =
      (text.charCodeAt(at) & 0xfc00) === 0xdc00 && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800;
    if (isPair) pairs += 1;
  }
  return text.length - pairs;
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
  const names = namesOf(a, steps);
  return (
    names.length === namesOf(b, steps).length &&
    names.every(
      (name) => Object.hasOwn(b, name) && equals(fieldOf(a, name), fieldOf(b, name), steps),
    )
  );
}

/** For two buffers. */
const copySteps = 10;

const surrogate = /[\ud800-\udfff]/;

/** By code points, as both languages order texts. */
export function compareTexts(a: string, b: string, steps: Steps): number {
  steps.takeCharacters(a.length + b.length);
  if (a === b) return 0;
  // JavaScript compares halves of surrogate pairs.
  const isSimple = !surrogate.test(a) && !surrogate.test(b);
  if (isSimple) return a < b ? -1 : 1;
  steps.take(copySteps);
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** For printing a list or an object, in which JavaScript looks for itself, in so many others. */
const depthPerStep = 50;

/** As JSON. It is measured first: what refers to one value many times over prints long. */
export function print(value: Json, steps: Steps): string {
  measure(value, 0, steps);
  return JSON.stringify(value);
}

function measure(value: Json, depth: number, steps: Steps): void {
  steps.take(0.5);
  if (typeof value === 'string') steps.takeCharacters(value.length);
  else if (isArray(value)) {
    steps.take(depth / depthPerStep);
    for (const item of value) measure(item, depth + 1, steps);
  } else if (isObject(value)) {
    steps.take(depth / depthPerStep);
    for (const name of namesOf(value, steps)) {
      steps.takeCharacters(name.length);
      measure(fieldOf(value, name), depth + 1, steps);
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
