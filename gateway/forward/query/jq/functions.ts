/** The functions of jq that are here, by their names and numbers of arguments. */
import type { Json } from '../query.ts';
import {
  charactersIn,
  charactersOf,
  equals,
  isArray,
  isObject,
  print,
  QueryError,
  typeOf,
  type Steps,
} from '../values.ts';
import { gmtime, mktime, strftime, strptime } from './dates.ts';
import {
  arrayOf,
  combined,
  descend,
  identity,
  isTrue,
  iterate,
  JqError,
  numberOf,
  pipe,
  single,
  textOf,
  type Filter,
} from './filter.ts';
import { toText } from './formats.ts';
import { add, compare, index, sortedBy, sortedKeys, split } from './operators.ts';

const isoFormat = '%Y-%m-%dT%H:%M:%SZ';

/** Of one value, and of nothing else. */
const plain: Readonly<Record<string, (value: Json, steps: Steps) => Json>> = {
  add: (value, steps) =>
    arrayOrValues(value, 'add').reduce<Json>((sum, item) => add(sum, item, steps), null),
  all: (value) => arrayOrValues(value, 'all').every(isTrue),
  any: (value) => arrayOrValues(value, 'any').some(isTrue),
  ascii_downcase: (value) =>
    textOf(value, 'ascii_downcase').replace(/[A-Z]/g, (letter) => letter.toLowerCase()),
  ascii_upcase: (value) =>
    textOf(value, 'ascii_upcase').replace(/[a-z]/g, (letter) => letter.toUpperCase()),
  ceil: (value) => Math.ceil(numberOf(value, 'ceil')),
  error: (value) => {
    throw new JqError(value);
  },
  explode: (value, steps) => {
    const text = textOf(value, 'explode');
    steps.takeItems(text.length);
    return charactersOf(text).map((character) => character.codePointAt(0) ?? 0);
  },
  fabs: (value) => Math.abs(numberOf(value, 'fabs')),
  false: () => false,
  first: (value) => index(value, 0),
  flatten: (value, steps) => flattened(value, Infinity, steps),
  floor: (value) => Math.floor(numberOf(value, 'floor')),
  fromdate: (value) => mktime(strptime(value, isoFormat)),
  fromdateiso8601: (value) => mktime(strptime(value, isoFormat)),
  fromjson: (value, steps) => {
    const text = textOf(value, 'fromjson');
    steps.takeItems(text.length);
    return fromJson(text);
  },
  gmtime: (value) => gmtime(value),
  implode: (value) => imploded(arrayOf(value, 'implode')),
  keys: (value) => (isObject(value) ? sortedKeys(value) : [...arrayOf(value, 'keys').keys()]),
  keys_unsorted: (value) =>
    isObject(value) ? Object.keys(value) : [...arrayOf(value, 'keys').keys()],
  last: (value) => index(value, -1),
  length: (value) => lengthOf(value),
  max: (value, steps) => extreme(arrayOf(value, 'max'), identityKey, 1, steps),
  min: (value, steps) => extreme(arrayOf(value, 'min'), identityKey, -1, steps),
  mktime: (value) => mktime(value),
  not: (value) => !isTrue(value),
  null: () => null,
  reverse: (value) => (value === null ? [] : arrayOf(value, 'reverse').toReversed()),
  round: (value) => {
    const number = numberOf(value, 'round');
    return Math.sign(number) * Math.round(Math.abs(number)) + 0;
  },
  sort: (value, steps) => sortedItems(arrayOf(value, 'sort'), identityKey, steps),
  sqrt: (value) => rootOf(numberOf(value, 'sqrt')),
  to_entries: (value) => {
    const entries: Iterable<readonly [string | number, Json]> = isObject(value)
      ? Object.entries(value)
      : arrayOf(value, 'to_entries').entries();
    return Array.from(entries, ([key, field]) => ({ key, value: field }));
  },
  todate: (value) => strftime(value, isoFormat),
  todateiso8601: (value) => strftime(value, isoFormat),
  tojson: (value, steps) => print(value, steps),
  tonumber: (value) => toNumber(value),
  tostring: (value, steps) => toText(value, steps),
  true: () => true,
  type: (value) => typeOf(value),
  unique: (value, steps) => uniqueItems(arrayOf(value, 'unique'), identityKey, steps),
  utf8bytelength: (value) => Buffer.byteLength(textOf(value, 'utf8bytelength')),
};

/** Of one value and of what the arguments give for it. */
const withValues: Readonly<
  Record<string, (value: Json, args: readonly Json[], steps: Steps) => Json>
> = {
  'contains/1': (value, [other = null], steps) => contains(value, other, steps),
  'endswith/1': (value, [end]) => textOf(value, 'endswith').endsWith(textOf(end, 'endswith')),
  'error/1': (_value, [message = null]) => {
    throw new JqError(message);
  },
  'flatten/1': (value, [depth], steps) => flattened(value, numberOf(depth, 'flatten'), steps),
  'has/1': (value, [key = null]) => has(value, key),
  'index/1': (value, [part]) => placeOf(value, part, 'indexOf'),
  'inside/1': (value, [other = null], steps) => contains(other, value, steps),
  'join/1': (value, [glue], steps) => joined(value, glue, steps),
  'ltrimstr/1': (value, [start]) =>
    typeof value === 'string' && typeof start === 'string' && value.startsWith(start)
      ? value.slice(start.length)
      : value,
  'nth/1': (value, [at = null]) => index(value, at),
  'pow/2': (_value, [base, exponent]) => {
    const power = numberOf(base, 'pow') ** numberOf(exponent, 'pow');
    return Number.isNaN(power)
      ? null
      : Math.min(Math.max(power, -Number.MAX_VALUE), Number.MAX_VALUE);
  },
  'rindex/1': (value, [part]) => placeOf(value, part, 'lastIndexOf'),
  'rtrimstr/1': (value, [end]) =>
    typeof value === 'string' && typeof end === 'string' && end !== '' && value.endsWith(end)
      ? value.slice(0, -end.length)
      : value,
  'split/1': (value, [separator], steps) =>
    split(textOf(value, 'split input'), textOf(separator, 'split'), steps),
  'startswith/1': (value, [start]) =>
    textOf(value, 'startswith').startsWith(textOf(start, 'startswith')),
  'strftime/1': (value, [format = null], steps) => {
    steps.take(lengthOf(format));
    return strftime(value, format);
  },
  'strptime/1': (value, [format = null], steps) => {
    steps.take(lengthOf(format));
    return strptime(value, format);
  },
};

/** Of a value and of a filter that they apply themselves. */
const withFilters: Readonly<Record<string, (args: readonly Filter[]) => Filter>> = {
  'all/1': ([condition = identity]) => anyOf(iterate, condition, false),
  'all/2': ([items = identity, condition = identity]) => anyOf(items, condition, false),
  'any/1': ([condition = identity]) => anyOf(iterate, condition, true),
  'any/2': ([items = identity, condition = identity]) => anyOf(items, condition, true),
  'empty/0': () => () => [],
  'first/1': ([items = identity]) => limited(() => [1], items),
  'group_by/1': ([key = identity]) =>
    byKey('group_by', key, (items, keys, steps) => {
      const groups = grouped(items, keys, steps);
      return groups.map((group) => group.map(({ item }) => item));
    }),
  'limit/2': ([count = identity, items = identity]) => limited(count, items),
  'map/1': ([filter = identity]) =>
    function* (value, scope) {
      const items: Json[] = [];
      for (const item of pipe(iterate, filter)(value, scope)) items.push(item);
      yield items;
    },
  'max_by/1': ([key = identity]) =>
    byKey('max_by', key, (items, keys, steps) => extreme(items, (at) => keys[at], 1, steps)),
  'min_by/1': ([key = identity]) =>
    byKey('min_by', key, (items, keys, steps) => extreme(items, (at) => keys[at], -1, steps)),
  'range/1': ([end = identity]) => ranged([() => [0], end, () => [1]]),
  'range/2': ([start = identity, end = identity]) => ranged([start, end, () => [1]]),
  'range/3': (args) => ranged(args),
  'recurse/0': () => descend,
  'select/1': ([condition = identity]) =>
    function* (value, scope) {
      for (const decision of condition(value, scope)) if (isTrue(decision)) yield value;
    },
  'sort_by/1': ([key = identity]) =>
    byKey('sort_by', key, (items, keys, steps) =>
      sortedBy(items, keys, steps).map(({ item }) => item),
    ),
  'unique_by/1': ([key = identity]) =>
    byKey('unique_by', key, (items, keys, steps) =>
      grouped(items, keys, steps).map(([first]) => first?.item ?? null),
    ),
  ...ofType(),
};

/** @throws QueryError when there is no such function here */
export function functionCall(name: string, args: readonly Filter[]): Filter {
  const called = `${name}/${args.length}`;
  const one = args.length === 0 && Object.hasOwn(plain, name) ? plain[name] : undefined;
  if (one !== undefined) {
    return single((value, { steps }) => {
      steps.takeWhole(value);
      return one(value, steps);
    });
  }
  const filtered = Object.hasOwn(withFilters, called) ? withFilters[called] : undefined;
  if (filtered !== undefined) return filtered(args);
  const valued = Object.hasOwn(withValues, called) ? withValues[called] : undefined;
  if (valued === undefined) throw new QueryError(`there is no function ${called} here`);
  return combined([identity, ...args], ([value = null, ...rest], { steps }) => {
    for (const each of [value, ...rest]) steps.takeWhole(each);
    return valued(value, rest, steps);
  });
}

/** `strings`, `numbers` and the like let through what is of that type. */
function ofType(): Readonly<Record<string, () => Filter>> {
  const tests: Readonly<Record<string, (value: Json) => boolean>> = {
    arrays: isArray,
    booleans: (value) => typeof value === 'boolean',
    iterables: (value) => isArray(value) || isObject(value),
    nulls: (value) => value === null,
    numbers: (value) => typeof value === 'number',
    objects: isObject,
    scalars: (value) => !isArray(value) && !isObject(value),
    strings: (value) => typeof value === 'string',
    values: (value) => value !== null,
  };
  return Object.fromEntries(
    Object.entries(tests).map(([name, test]) => [
      `${name}/0`,
      (): Filter => (value) => (test(value) ? [value] : []),
    ]),
  );
}

function anyOf(items: Filter, condition: Filter, decided: boolean): Filter {
  const decisions = pipe(items, condition);
  return function* (value, scope) {
    for (const decision of decisions(value, scope)) {
      if (isTrue(decision) !== decided) continue;
      yield decided;
      return;
    }
    yield !decided;
  };
}

function limited(count: Filter, items: Filter): Filter {
  return function* (value, scope) {
    for (const most of count(value, scope)) {
      let left = numberOf(most, 'limit');
      if (left <= 0) continue;
      for (const item of items(value, scope)) {
        yield item;
        left -= 1;
        if (left <= 0) break;
      }
    }
  };
}

function ranged(bounds: readonly Filter[]): Filter {
  const sets = combined(bounds, (values) => values);
  return function* (value, scope) {
    for (const set of sets(value, scope)) {
      const [start = 0, end = 0, by = 0] = arrayOf(set, 'range').map((each) =>
        numberOf(each, 'range'),
      );
      if (by === 0) continue;
      for (let at = start; by > 0 ? at < end : at > end; at += by) {
        scope.steps.take(1);
        yield at;
      }
    }
  };
}

function byKey(
  name: string,
  key: Filter,
  work: (items: readonly Json[], keys: readonly Json[], steps: Steps) => Json,
): Filter {
  return single((value, scope) => {
    const items = arrayOf(value, name);
    const keys = items.map((item) => [...key(item, scope)]);
    return work(items, keys, scope.steps);
  });
}

type KeyAt = (at: number) => Json | undefined;

function identityKey(): undefined {
  return undefined;
}

function keysBy(items: readonly Json[], key: KeyAt): readonly Json[] {
  return items.map((item, at) => key(at) ?? item);
}

function sortedItems(items: readonly Json[], key: KeyAt, steps: Steps): readonly Json[] {
  return sortedBy(items, keysBy(items, key), steps).map(({ item }) => item);
}

function uniqueItems(items: readonly Json[], key: KeyAt, steps: Steps): readonly Json[] {
  return grouped(items, keysBy(items, key), steps).map(([first]) => first?.item ?? null);
}

function grouped(items: readonly Json[], keys: readonly Json[], steps: Steps) {
  const groups: { readonly key: Json; readonly item: Json }[][] = [];
  for (const each of sortedBy(items, keys, steps)) {
    const group = groups.at(-1);
    if (group?.[0] !== undefined && compare(group[0].key, each.key, steps) === 0) group.push(each);
    else groups.push([each]);
  }
  return groups;
}

/** The last of the largest (1), or the first of the smallest (-1). */
function extreme(items: readonly Json[], key: KeyAt, sign: 1 | -1, steps: Steps): Json {
  const keys = keysBy(items, key);
  let best = 0;
  for (const [at, each] of keys.entries()) {
    const order = compare(each, keys[best] ?? null, steps);
    if (sign === 1 ? order >= 0 : order < 0) best = at;
  }
  return items[best] ?? null;
}

function arrayOrValues(value: Json, what: string): readonly Json[] {
  return isObject(value) ? Object.values(value) : arrayOf(value, what);
}

function lengthOf(value: Json): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') throw new JqError('boolean has no length');
  if (typeof value === 'number') return Math.abs(value);
  if (typeof value === 'string') return charactersIn(value);
  return Object.keys(value).length;
}

function flattened(value: Json, depth: number, steps: Steps): Json {
  if (depth < 0) throw new JqError('flatten depth must not be negative');
  return arrayOrValues(value, 'flatten').flatMap((item): Json | readonly Json[] => {
    steps.take(1);
    return isArray(item) && depth > 0 ? flattened(item, depth - 1, steps) : [item];
  });
}

function has(value: Json, key: Json): boolean {
  if (value === null) return false;
  if (isObject(value) && typeof key === 'string') return Object.hasOwn(value, key);
  if (isArray(value) && typeof key === 'number') return key >= 0 && key < value.length;
  throw new JqError(`Cannot check whether ${typeOf(value)} has a ${typeOf(key)} key`);
}

function contains(value: Json, other: Json, steps: Steps): boolean {
  steps.take(1);
  if (isObject(value) && isObject(other)) {
    return Object.entries(other).every(
      ([name, field]) => has(value, name) && contains(index(value, name), field, steps),
    );
  }
  if (isArray(value) && isArray(other)) {
    return other.every((item) =>
      value.some((own) => typeOf(own) === typeOf(item) && contains(own, item, steps)),
    );
  }
  if (typeof value === 'string' && typeof other === 'string') return value.includes(other);
  if (typeOf(value) === typeOf(other)) return equals(value, other, steps);
  throw new JqError(`${typeOf(value)} and ${typeOf(other)} cannot have their containment checked`);
}

/** In bytes of UTF-8, as jq 1.6 counts in texts. */
function placeOf(
  value: Json,
  part: Json | undefined,
  which: 'indexOf' | 'lastIndexOf',
): number | null {
  if (typeof value !== 'string') return null;
  const searched = textOf(part, 'index');
  const place = searched === '' ? -1 : Buffer.from(value)[which](searched);
  return place < 0 ? null : place;
}

function joined(value: Json, glue: Json | undefined, steps: Steps): Json {
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

function imploded(codes: readonly Json[]): string {
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

function fromJson(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw new JqError(`${text.slice(0, 40)} is not JSON`);
  }
}

function toNumber(value: Json): number {
  if (typeof value === 'number') return value;
  const text = textOf(value, 'tonumber').trim();
  const number = /^-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : NaN;
  if (!Number.isFinite(number)) throw new JqError('it cannot be parsed as a number');
  return number;
}

function rootOf(value: number): number | null {
  return value < 0 ? null : Math.sqrt(value);
}
