/** The functions of JMESPath. What has a type that they don't take is an error, as specified. */
import type { Json } from '../query.ts';
import { placeIn } from '../search.ts';
import type { Steps } from '../steps.ts';
import {
  charactersIn,
  charactersOf,
  compareTexts,
  equals,
  isArray,
  isObject,
  itemsOf,
  namesOf,
  objectOf,
  print,
  QueryError,
  typeOf,
} from '../values.ts';
import type { Evaluate } from './evaluate.ts';

export interface Argument {
  /** Whether it is `&expression`: handed over as such, for the function to evaluate. */
  readonly isReference: boolean;
  readonly evaluate: Evaluate;
}

type Kind = 'any' | 'text' | 'number' | 'array' | 'object' | 'expression';

interface Call {
  readonly values: readonly Json[];
  /** Of the one argument that is a reference. */
  readonly each: (value: Json) => Json;
  readonly steps: Steps;
}

interface JmespathFunction {
  readonly takes: readonly Kind[];
  /** Whether the last argument may come again. */
  readonly isVariadic?: boolean;
  readonly run: (call: Call) => Json;
}

const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

const functions: Readonly<Record<string, JmespathFunction>> = {
  abs: { takes: ['number'], run: ({ values }) => Math.abs(numberOf(values[0])) },
  avg: {
    takes: ['array'],
    run: ({ values }) => {
      const numbers = arrayOf(values[0]).map(numberOf);
      return numbers.length === 0 ? null : sum(numbers) / numbers.length;
    },
  },
  ceil: { takes: ['number'], run: ({ values }) => Math.ceil(numberOf(values[0])) },
  contains: {
    takes: ['any', 'any'],
    run: ({ values: [subject = null, search = null], steps }) => {
      if (isArray(subject)) return subject.some((item) => equals(item, search, steps));
      const text = textOf(subject);
      return typeof search === 'string' && placeIn(text, search, steps) >= 0;
    },
  },
  ends_with: {
    takes: ['text', 'text'],
    run: ({ values }) => textOf(values[0]).endsWith(textOf(values[1])),
  },
  floor: { takes: ['number'], run: ({ values }) => Math.floor(numberOf(values[0])) },
  join: {
    takes: ['text', 'array'],
    run: ({ values, steps }) => {
      const glue = textOf(values[0]);
      const texts = arrayOf(values[1]).map(textOf);
      for (const { length } of texts) steps.takeCharacters(length + glue.length);
      return texts.join(glue);
    },
  },
  keys: {
    takes: ['object'],
    run: ({ values: [object = null], steps }) => namesOf(objectIn(object), steps),
  },
  length: {
    takes: ['any'],
    run: ({ values: [subject = null] }) => {
      if (isArray(subject)) return subject.length;
      return isObject(subject) ? Object.keys(subject).length : charactersIn(textOf(subject));
    },
  },
  map: { takes: ['expression', 'array'], run: ({ values, each }) => arrayOf(values[1]).map(each) },
  max: {
    takes: ['array'],
    run: ({ values, steps }) => extreme(arrayOf(values[0]), itself, 1, steps),
  },
  max_by: {
    takes: ['array', 'expression'],
    run: ({ values, each, steps }) => extreme(arrayOf(values[0]), each, 1, steps),
  },
  merge: {
    takes: ['object'],
    isVariadic: true,
    run: ({ values, steps }) => {
      const objects = values.map(objectIn);
      for (const object of objects) steps.take(namesOf(object, steps).length);
      return objectOf(
        objects.flatMap((object) => Object.entries(object)),
        steps,
      );
    },
  },
  min: {
    takes: ['array'],
    run: ({ values, steps }) => extreme(arrayOf(values[0]), itself, -1, steps),
  },
  min_by: {
    takes: ['array', 'expression'],
    run: ({ values, each, steps }) => extreme(arrayOf(values[0]), each, -1, steps),
  },
  not_null: {
    takes: ['any'],
    isVariadic: true,
    run: ({ values }) => values.find((value) => value !== null) ?? null,
  },
  reverse: {
    takes: ['any'],
    run: ({ values: [subject = null], steps }) => {
      if (isArray(subject)) return subject.toReversed();
      return charactersOf(textOf(subject), steps).toReversed().join('');
    },
  },
  sort: { takes: ['array'], run: ({ values, steps }) => sorted(arrayOf(values[0]), itself, steps) },
  sort_by: {
    takes: ['array', 'expression'],
    run: ({ values, each, steps }) => sorted(arrayOf(values[0]), each, steps),
  },
  starts_with: {
    takes: ['text', 'text'],
    run: ({ values }) => textOf(values[0]).startsWith(textOf(values[1])),
  },
  sum: { takes: ['array'], run: ({ values }) => sum(arrayOf(values[0]).map(numberOf)) },
  to_array: {
    takes: ['any'],
    run: ({ values: [value = null] }) => (isArray(value) ? value : [value]),
  },
  to_number: {
    takes: ['any'],
    run: ({ values: [value = null] }) => {
      if (typeof value === 'number') return value;
      return typeof value === 'string' && number.test(value) ? finite(Number(value)) : null;
    },
  },
  to_string: {
    takes: ['any'],
    run: ({ values: [value = null], steps }) =>
      typeof value === 'string' ? value : print(value, steps),
  },
  type: { takes: ['any'], run: ({ values: [value = null] }) => typeOf(value) },
  values: {
    takes: ['object'],
    run: ({ values: [object = null], steps }) => itemsOf(objectIn(object), steps),
  },
};

/** @throws QueryError when there is no such function, or it takes other arguments */
export function functionCall(name: string, args: readonly Argument[], at: number): Evaluate {
  const called = Object.hasOwn(functions, name) ? functions[name] : undefined;
  if (called === undefined)
    throw new QueryError(`there is no function ${name} (character ${at + 1})`);
  const { takes, isVariadic = false, run } = called;
  if (isVariadic ? args.length < takes.length : args.length !== takes.length) {
    const count = isVariadic ? `at least ${takes.length}` : String(takes.length);
    throw new QueryError(`${name}() takes ${count} arguments, and has ${args.length}`);
  }
  const kinds = args.map((_, index) => takes[Math.min(index, takes.length - 1)] ?? 'any');
  for (const [index, { isReference }] of args.entries()) {
    if (isReference === (kinds[index] === 'expression')) continue;
    throw new QueryError(
      `argument ${index + 1} of ${name}() ${isReference ? 'is' : 'is no'} &expression`,
    );
  }
  const reference = args.find(({ isReference }) => isReference)?.evaluate ?? itself;
  return (value, steps) => {
    const values = args.map(({ isReference, evaluate }) =>
      isReference ? null : evaluate(value, steps),
    );
    for (const [index, given] of values.entries()) {
      check(name, kinds[index] ?? 'any', given);
      steps.takeWhole(given);
    }
    return run({ values, each: (item) => reference(item, steps), steps });
  };
}

function check(name: string, kind: Kind, value: Json): void {
  const type = typeOf(value);
  const fits =
    kind === 'any' || kind === 'expression' || kind === (type === 'string' ? 'text' : type);
  if (!fits) throw new QueryError(`${name}() was given a value of type ${type}`);
}

function itself(value: Json): Json {
  return value;
}

function textOf(value: Json | undefined): string {
  if (typeof value !== 'string')
    throw new QueryError('a function was given something else than a text');
  return value;
}

function numberOf(value: Json | undefined): number {
  if (typeof value !== 'number')
    throw new QueryError('a function was given something else than a number');
  return value;
}

function objectIn(value: Json): { readonly [name: string]: Json } {
  return isObject(value) ? value : {};
}

function arrayOf(value: Json | undefined): readonly Json[] {
  return value !== undefined && isArray(value) ? value : [];
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** What the items are ordered by: all of them numbers, or all of them texts. */
function keysOf(items: readonly Json[], key: (item: Json) => Json): readonly (number | string)[] {
  const keys = items.map(key);
  if (keys.every((each) => typeof each === 'number')) return keys;
  if (keys.every((each) => typeof each === 'string')) return keys;
  throw new QueryError('what is compared is neither all numbers nor all texts');
}

function compare(a: number | string, b: number | string, steps: Steps): number {
  steps.take(1);
  if (typeof a === 'string' && typeof b === 'string') return compareTexts(a, b, steps);
  return Number(a) - Number(b);
}

/** The first of the largest (1) or smallest (-1). */
function extreme(
  items: readonly Json[],
  key: (item: Json) => Json,
  sign: 1 | -1,
  steps: Steps,
): Json {
  const keys = keysOf(items, key);
  let best = 0;
  for (const [index, each] of keys.entries()) {
    if (compare(each, keys[best] ?? each, steps) * sign > 0) best = index;
  }
  return items[best] ?? null;
}

function sorted(items: readonly Json[], key: (item: Json) => Json, steps: Steps): readonly Json[] {
  const keys = keysOf(items, key);
  steps.take(items.length);
  return keys
    .map((each, index) => ({ each, index }))
    .sort((a, b) => compare(a.each, b.each, steps))
    .map(({ index }) => items[index] ?? null);
}
