/** What jq's operators do with two values; jq 1.6 is followed where it is odd. */
import type { Json } from '../query.ts';
import { partsOf } from '../search.ts';
import type { Steps } from '../steps.ts';
import {
  charactersOf,
  compareTexts,
  equals,
  fieldOf,
  isArray,
  isObject,
  namesOf,
  objectOf,
  QueryError,
  typeOf,
} from '../values.ts';
import { JqError } from './filter.ts';

/** `.[key]` */
export function index(value: Json, key: Json): Json {
  if (typeof key === 'string' && (value === null || isObject(value))) {
    return value === null ? null : fieldOf(value, key);
  }
  if (typeof key === 'number' && (value === null || isArray(value))) {
    return Number.isInteger(key) ? (value?.at(key) ?? null) : null;
  }
  const shown = typeof key === 'string' ? `"${key}"` : typeOf(key);
  throw new JqError(`Cannot index ${typeOf(value)} with ${shown}`);
}

/** `.[from:to]` */
export function slice(value: Json, from: Json, to: Json, steps: Steps): Json {
  if (value === null) return null;
  if (typeof value !== 'string' && !isArray(value)) {
    throw new JqError(`Cannot slice ${typeOf(value)}`);
  }
  if ((from !== null && typeof from !== 'number') || (to !== null && typeof to !== 'number')) {
    throw new JqError('Start and end indices of an array slice must be numbers');
  }
  steps.takeWhole(value);
  const start = Math.floor(from ?? 0);
  const end = to === null ? undefined : Math.ceil(to);
  if (isArray(value)) return value.slice(start, end);
  return charactersOf(value, steps).slice(start, end).join('');
}

export function arithmetic(sign: string, a: Json, b: Json, steps: Steps): Json {
  steps.take(1);
  switch (sign) {
    case '+':
      return add(a, b, steps);
    case '-':
      if (isArray(a) && isArray(b)) {
        steps.takeItems(a.length);
        return a.filter((item) => !b.some((other) => equals(item, other, steps)));
      }
      break;
    case '*':
      if (isObject(a) && isObject(b)) return merged(a, b, steps);
      if (typeof a === 'string' && typeof b === 'number') return repeated(a, b, steps);
      if (typeof a === 'number' && typeof b === 'string') return repeated(b, a, steps);
      break;
    case '/':
      if (typeof a === 'string' && typeof b === 'string') return split(a, b, steps);
      break;
  }
  if (typeof a !== 'number' || typeof b !== 'number') {
    throw new JqError(`${typeOf(a)} and ${typeOf(b)} cannot be put together by ${sign}`);
  }
  return ofNumbers(sign, a, b);
}

function ofNumbers(sign: string, a: number, b: number): number | null {
  if (sign === '-') return finite(a - b);
  if (sign === '*') return finite(a * b);
  const divisor = sign === '%' ? Math.trunc(b) : b;
  if (divisor === 0) throw new JqError('cannot be divided because the divisor is zero');
  // A remainder of -0 is printed as 0 is.
  return finite(sign === '%' ? (Math.trunc(a) % divisor) + 0 : a / b);
}

/** JSON has no infinity, and nothing that is no number; jq prints the largest number, and null. */
export function finite(value: number): number | null {
  if (Number.isNaN(value)) return null;
  return Math.min(Math.max(value, -Number.MAX_VALUE), Number.MAX_VALUE);
}

export function add(a: Json, b: Json, steps: Steps): Json {
  if (a === null) return b;
  if (b === null) return a;
  if (typeof a === 'number' && typeof b === 'number') return finite(a + b);
  if (typeof a === 'string' && typeof b === 'string') {
    // The longer one is not copied.
    steps.takeCharacters(Math.min(a.length, b.length));
    return a + b;
  }
  if (isArray(a) && isArray(b)) {
    steps.takeItems(a.length + b.length);
    return [...a, ...b];
  }
  if (isObject(a) && isObject(b)) {
    const names = [...namesOf(a, steps), ...namesOf(b, steps)];
    steps.takeFields(names.length);
    return objectOf([...Object.entries(a), ...Object.entries(b)], steps);
  }
  throw new JqError(`${typeOf(a)} and ${typeOf(b)} cannot be added`);
}

/** Objects in both are merged as well. */
function merged(
  a: { readonly [name: string]: Json },
  b: { readonly [name: string]: Json },
  steps: Steps,
): Json {
  const entries = namesOf(b, steps).map((name): readonly [string, Json] => {
    steps.take(1);
    const value = fieldOf(b, name);
    const other = fieldOf(a, name);
    return [name, isObject(other) && isObject(value) ? merged(other, value, steps) : value];
  });
  steps.takeWhole(a);
  return objectOf([...Object.entries(a), ...entries], steps);
}

function repeated(text: string, count: number, steps: Steps): string | null {
  const further = Math.trunc(count - 1);
  if (further < 0 || Number.isNaN(count)) return null;
  steps.takeCharacters(text.length * (further + 1));
  return text.repeat(further + 1);
}

export function split(text: string, separator: string, steps: Steps): readonly Json[] {
  if (text === '') return [];
  return separator === '' ? charactersOf(text, steps) : partsOf(text, separator, steps);
}

export function comparison(sign: string, a: Json, b: Json, steps: Steps): boolean {
  if (sign === '==') return equals(a, b, steps);
  if (sign === '!=') return !equals(a, b, steps);
  const order = compare(a, b, steps);
  if (sign === '<') return order < 0;
  if (sign === '<=') return order <= 0;
  return sign === '>' ? order > 0 : order >= 0;
}

const ranks = { null: 0, boolean: 1, number: 3, string: 4, array: 5, object: 6 } as const;

/** jq's order of all values: below 0 when `a` comes first. */
export function compare(a: Json, b: Json, steps: Steps): number {
  steps.take(1);
  const difference = rankOf(a) - rankOf(b);
  if (difference !== 0) return difference;
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') {
    return compareTexts(a, b, steps);
  }
  if (isArray(a) && isArray(b)) return compareLists(a, b, steps);
  if (!isObject(a) || !isObject(b)) return 0;
  const names = sortedKeys(a, steps);
  const byNames = compareLists(names, sortedKeys(b, steps), steps);
  if (byNames !== 0) return byNames;
  return compareLists(
    names.map((name) => fieldOf(a, name)),
    names.map((name) => fieldOf(b, name)),
    steps,
  );
}

function rankOf(value: Json): number {
  return value === true ? 2 : ranks[typeOf(value)];
}

function compareLists(a: readonly Json[], b: readonly Json[], steps: Steps): number {
  for (const [at, item] of a.entries()) {
    const other = b[at];
    if (other === undefined) return 1;
    const order = compare(item, other, steps);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

export function sortedKeys(
  object: { readonly [name: string]: Json },
  steps: Steps,
): readonly string[] {
  return namesOf(object, steps).sort((a, b) => {
    steps.take(1);
    return compareTexts(a, b, steps);
  });
}

/** @throws QueryError what is compared can't be, in the steps that there are */
export function sortedBy(
  items: readonly Json[],
  keys: readonly Json[],
  steps: Steps,
): readonly { readonly key: Json; readonly item: Json }[] {
  if (keys.length !== items.length) throw new QueryError('what is sorted has no order');
  steps.take(items.length);
  return items
    .map((item, at) => ({ key: keys[at] ?? null, item }))
    .sort((a, b) => compare(a.key, b.key, steps));
}
