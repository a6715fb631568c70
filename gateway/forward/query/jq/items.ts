/** What jq's functions do with lists, objects and texts. */
import type { Json } from '../query.ts';
import { placeIn } from '../search.ts';
import type { Steps } from '../steps.ts';
import {
  charactersIn,
  equals,
  isArray,
  isObject,
  itemsOf,
  namesOf,
  print,
  typeOf,
} from '../values.ts';
import { arrayOf, JqError, numberOf, textOf } from './filter.ts';
import { add, compare, index, sortedBy } from './operators.ts';

type KeyAt = (at: number) => Json | undefined;

export function identityKey(): undefined {
  return undefined;
}

function keysBy(items: readonly Json[], key: KeyAt): readonly Json[] {
  return items.map((item, at) => key(at) ?? item);
}

export function sortedItems(items: readonly Json[], key: KeyAt, steps: Steps): readonly Json[] {
  return sortedBy(items, keysBy(items, key), steps).map(({ item }) => item);
}

export function uniqueItems(items: readonly Json[], key: KeyAt, steps: Steps): readonly Json[] {
  return grouped(items, keysBy(items, key), steps).map(([first]) => first?.item ?? null);
}

export function grouped(items: readonly Json[], keys: readonly Json[], steps: Steps) {
  const groups: { readonly key: Json; readonly item: Json }[][] = [];
  for (const each of sortedBy(items, keys, steps)) {
    const group = groups.at(-1);
    if (group?.[0] !== undefined && compare(group[0].key, each.key, steps) === 0) group.push(each);
    else groups.push([each]);
  }
  return groups;
}

/** The last of the largest (1), or the first of the smallest (-1). */
export function extreme(items: readonly Json[], key: KeyAt, sign: 1 | -1, steps: Steps): Json {
  const keys = keysBy(items, key);
  let best = 0;
  for (const [at, each] of keys.entries()) {
    const order = compare(each, keys[best] ?? null, steps);
    if (sign === 1 ? order >= 0 : order < 0) best = at;
  }
  return items[best] ?? null;
}

export function arrayOrValues(value: Json, what: string, steps: Steps): readonly Json[] {
  return itemsOf(isObject(value) ? value : arrayOf(value, what), steps);
}

export function placesIn(items: readonly Json[], steps: Steps): readonly number[] {
  steps.takeItems(items.length);
  return [...items.keys()];
}

export function withLetters(
  text: string,
  letters: RegExp,
  change: (all: string) => string,
  steps: Steps,
): string {
  steps.take(text.length / 2);
  return text.replace(letters, change);
}

export function lengthOf(value: Json): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') throw new JqError('boolean has no length');
  if (typeof value === 'number') return Math.abs(value);
  if (typeof value === 'string') return charactersIn(value);
  return Object.keys(value).length;
}

export function flattened(value: Json, depth: number, steps: Steps): Json {
  if (depth < 0) throw new JqError('flatten depth must not be negative');
  const flat: Json[] = [];
  const gather = (items: readonly Json[], left: number): void => {
    for (const item of items) {
      if (isArray(item) && left > 0) gather(itemsOf(item, steps), left - 1);
      else flat.push(item);
    }
  };
  gather(arrayOrValues(value, 'flatten', steps), depth);
  return flat;
}

export function has(value: Json, key: Json): boolean {
  if (value === null) return false;
  if (isObject(value) && typeof key === 'string') return Object.hasOwn(value, key);
  if (isArray(value) && typeof key === 'number') return key >= 0 && key < value.length;
  throw new JqError(`Cannot check whether ${typeOf(value)} has a ${typeOf(key)} key`);
}

export function contains(value: Json, other: Json, steps: Steps): boolean {
  steps.take(1);
  if (isObject(value) && isObject(other)) {
    return namesOf(other, steps).every(
      (name) => has(value, name) && contains(index(value, name), index(other, name), steps),
    );
  }
  if (isArray(value) && isArray(other)) {
    return other.every((item) =>
      value.some((own) => {
        steps.take(1);
        return typeOf(own) === typeOf(item) && contains(own, item, steps);
      }),
    );
  }
  if (typeof value === 'string' && typeof other === 'string') {
    return placeIn(value, other, steps) >= 0;
  }
  if (typeOf(value) === typeOf(other)) return equals(value, other, steps);
  throw new JqError(`${typeOf(value)} and ${typeOf(other)} cannot have their containment checked`);
}

/** In bytes of UTF-8, as jq 1.6 counts in texts. */
export function placeOf(
  value: Json,
  part: Json | undefined,
  find: (text: string, searched: string, steps: Steps) => number,
  steps: Steps,
): number | null {
  if (typeof value !== 'string') return null;
  const searched = textOf(part, 'index');
  const place = searched === '' ? -1 : find(value, searched, steps);
  if (place < 0) return null;
  steps.takeCharacters(place);
  return Buffer.byteLength(value.slice(0, place));
}

export function joined(value: Json, glue: Json | undefined, steps: Steps): Json {
  const items = arrayOf(value, 'join');
  if (items.length === 0) return '';
  return items
    .map((item): Json => {
      if (item === null) return '';
      if (typeof item === 'object') throw new JqError(`${typeOf(item)} cannot be joined`);
      return typeof item === 'string' ? item : print(item, steps);
    })
    .reduce((sum, item) => add(add(sum, glue ?? null, steps), item, steps));
}

export function imploded(codes: readonly Json[], steps: Steps): string {
  steps.take(codes.length);
  return codes
    .map((code) => {
      const number = numberOf(code, 'implode');
      if (!Number.isInteger(number) || number < 0 || number > 0x10ffff) {
        throw new JqError('implode input must be an array of code points');
      }
      return String.fromCodePoint(number);
    })
    .join('');
}

export function fromJson(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw new JqError(`${text.slice(0, 40)} is not JSON`);
  }
}

export function toNumber(value: Json): number {
  if (typeof value === 'number') return value;
  const text = textOf(value, 'tonumber').trim();
  const number = /^-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : NaN;
  if (!Number.isFinite(number)) throw new JqError('it cannot be parsed as a number');
  return number;
}

export function rootOf(value: number): number | null {
  return value < 0 ? null : Math.sqrt(value);
}
