/** The functions of jq that are here, by their names and numbers of arguments. */
import type { Json } from '../query.ts';
import { lastPlaceIn, placeIn } from '../search.ts';
import type { Steps } from '../steps.ts';
import {
  charactersOf,
  isArray,
  isObject,
  itemsOf,
  namesOf,
  print,
  QueryError,
  typeOf,
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
import {
  arrayOrValues,
  contains,
  extreme,
  flattened,
  fromJson,
  grouped,
  has,
  identityKey,
  imploded,
  joined,
  lengthOf,
  placeOf,
  placesIn,
  rootOf,
  sortedItems,
  toNumber,
  uniqueItems,
  withLetters,
} from './items.ts';
import { add, finite, index, sortedBy, sortedKeys, split } from './operators.ts';

const isoFormat = '%Y-%m-%dT%H:%M:%SZ';
/** For reading or writing a time, and for each character of its format. */
const timeSteps = 16;

/** Of one value, and of nothing else. */
const plain: Readonly<Record<string, (value: Json, steps: Steps) => Json>> = {
  add: (value, steps) =>
    arrayOrValues(value, 'add', steps).reduce<Json>((sum, item) => add(sum, item, steps), null),
  all: (value, steps) => arrayOrValues(value, 'all', steps).every(isTrue),
  any: (value, steps) => arrayOrValues(value, 'any', steps).some(isTrue),
  ascii_downcase: (value, steps) =>
    withLetters(textOf(value, 'ascii_downcase'), /[A-Z]+/g, (all) => all.toLowerCase(), steps),
  ascii_upcase: (value, steps) =>
    withLetters(textOf(value, 'ascii_upcase'), /[a-z]+/g, (all) => all.toUpperCase(), steps),
  ceil: (value) => Math.ceil(numberOf(value, 'ceil')),
  error: (value) => {
    throw new JqError(value);
  },
  explode: (value, steps) => {
    const text = textOf(value, 'explode');
    steps.takeItems(text.length);
    return charactersOf(text, steps).map((character) => character.codePointAt(0) ?? 0);
  },
  fabs: (value) => Math.abs(numberOf(value, 'fabs')),
  false: () => false,
  first: (value) => index(value, 0),
  flatten: (value, steps) => flattened(value, Infinity, steps),
  floor: (value) => Math.floor(numberOf(value, 'floor')),
  fromdate: fromIso,
  fromdateiso8601: fromIso,
  fromjson: (value, steps) => {
    const text = textOf(value, 'fromjson');
    steps.takeItems(text.length);
    return fromJson(text);
  },
  gmtime: (value, steps) => {
    steps.take(timeSteps);
    return gmtime(value);
  },
  implode: (value, steps) => imploded(arrayOf(value, 'implode'), steps),
  keys: (value, steps) =>
    isObject(value) ? sortedKeys(value, steps) : placesIn(arrayOf(value, 'keys'), steps),
  keys_unsorted: (value, steps) =>
    isObject(value) ? namesOf(value, steps) : placesIn(arrayOf(value, 'keys'), steps),
  last: (value) => index(value, -1),
  length: (value) => lengthOf(value),
  max: (value, steps) => extreme(arrayOf(value, 'max'), identityKey, 1, steps),
  min: (value, steps) => extreme(arrayOf(value, 'min'), identityKey, -1, steps),
  mktime: (value, steps) => {
    steps.take(timeSteps);
    return mktime(value);
  },
  not: (value) => !isTrue(value),
  null: () => null,
  reverse: (value) => (value === null ? [] : arrayOf(value, 'reverse').toReversed()),
  round: (value) => {
    const number = numberOf(value, 'round');
    return Math.sign(number) * Math.round(Math.abs(number)) + 0;
  },
  sort: (value, steps) => sortedItems(arrayOf(value, 'sort'), identityKey, steps),
  sqrt: (value) => rootOf(numberOf(value, 'sqrt')),
  to_entries: (value, steps) => {
    steps.takeFields(itemsOf(isObject(value) ? value : arrayOf(value, 'to_entries'), steps).length);
    const entries: Iterable<readonly [string | number, Json]> = isObject(value)
      ? Object.entries(value)
      : arrayOf(value, 'to_entries').entries();
    return Array.from(entries, ([key, field]) => ({ key, value: field }));
  },
  todate: toIso,
  todateiso8601: toIso,
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
  'index/1': (value, [part], steps) => placeOf(value, part, placeIn, steps),
  'inside/1': (value, [other = null], steps) => contains(other, value, steps),
  'join/1': (value, [glue], steps) => joined(value, glue, steps),
  'ltrimstr/1': (value, [start]) =>
    typeof value === 'string' && typeof start === 'string' && value.startsWith(start)
      ? value.slice(start.length)
      : value,
  'nth/1': (value, [at = null]) => index(value, at),
  'pow/2': (_value, [base, exponent]) => finite(numberOf(base, 'pow') ** numberOf(exponent, 'pow')),
  'rindex/1': (value, [part], steps) => placeOf(value, part, lastPlaceIn, steps),
  'rtrimstr/1': (value, [end]) =>
    typeof value === 'string' && typeof end === 'string' && end !== '' && value.endsWith(end)
      ? value.slice(0, -end.length)
      : value,
  'split/1': (value, [separator], steps) =>
    split(textOf(value, 'split input'), textOf(separator, 'split'), steps),
  'startswith/1': (value, [start]) =>
    textOf(value, 'startswith').startsWith(textOf(start, 'startswith')),
  'strftime/1': (value, [format = null], steps) => {
    takeTime(format, steps);
    return strftime(value, format);
  },
  'strptime/1': (value, [format = null], steps) => {
    takeTime(format, steps);
    return strptime(value, format);
  },
};

/** What is no text is refused at once. */
function takeTime(format: Json, steps: Steps): void {
  steps.take(timeSteps * (1 + (typeof format === 'string' ? lengthOf(format) : 0)));
}

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
      for (const item of pipe(iterate, filter)(value, scope)) {
        scope.steps.take(1);
        items.push(item);
      }
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
      for (const decision of condition(value, scope)) {
        scope.steps.take(1);
        if (isTrue(decision)) yield value;
      }
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
      scope.steps.take(1);
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
      scope.steps.take(10);
      let left = numberOf(most, 'limit');
      if (left <= 0) continue;
      for (const item of items(value, scope)) {
        scope.steps.take(1);
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
      scope.steps.take(2);
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
    const keys = items.map((item) => {
      scope.steps.take(3);
      return [...key(item, scope)];
    });
    return work(items, keys, scope.steps);
  });
}

function fromIso(value: Json, steps: Steps): number {
  steps.take(timeSteps * isoFormat.length);
  return mktime(strptime(value, isoFormat));
}

function toIso(value: Json, steps: Steps): string {
  steps.take(timeSteps * isoFormat.length);
  return strftime(value, isoFormat);
}
