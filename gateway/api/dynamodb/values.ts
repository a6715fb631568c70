/**
 * Values of attributes: as clients send them (`{ "S": "text" }`), as they are worked with here, and
 * what they count. Nothing changes a value; a change makes a new one.
 */
import { invalid, invalidParameters } from './errors.ts';
import { canonicalNumber, compareNumbers, numberBytes, sortableNumber } from './numbers.ts';

export type Value =
  | { readonly type: 'S'; readonly value: string }
  /** Canonical. */
  | { readonly type: 'N'; readonly value: string }
  | { readonly type: 'B'; readonly value: Buffer }
  | { readonly type: 'BOOL'; readonly value: boolean }
  | { readonly type: 'NULL' }
  | { readonly type: 'SS' | 'NS'; readonly value: readonly string[] }
  | { readonly type: 'BS'; readonly value: readonly Buffer[] }
  | { readonly type: 'L'; readonly value: readonly Value[] }
  | { readonly type: 'M'; readonly value: Item };

export type ValueType = Value['type'];
export type Item = ReadonlyMap<string, Value>;

export const valueTypes: readonly ValueType[] = [
  ...(['S', 'N', 'B', 'BOOL', 'NULL', 'SS', 'NS', 'BS', 'L', 'M'] as const),
];
export const itemBytesMax = 400 * 1024;
const depthMax = 32;

/** What is in a request's body. @throws DynamoDbError */
export function readItem(members: Iterable<readonly [string, unknown]>, depth = 0): Item {
  const item = new Map<string, Value>();
  for (const [name, member] of members) {
    if (Buffer.byteLength(name) > 65_535) throw invalid('Attribute name is too large');
    item.set(name, readValue(member, depth));
  }
  return item;
}

/** @throws DynamoDbError */
export function readValue(member: unknown, depth = 0): Value {
  if (depth > depthMax) throw tooDeep();
  const fields = isFields(member) ? member : {};
  const given = valueTypes.filter(
    (type) => Object.hasOwn(fields, type) && fields[type] !== null && fields[type] !== undefined,
  );
  const [type, another] = given;
  if (type === undefined) {
    throw invalid(
      'Supplied AttributeValue is empty, must contain exactly one of the supported datatypes',
    );
  }
  if (another !== undefined) {
    throw invalid(
      'Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes',
    );
  }
  return readAs(type, fields[type], depth);
}

/** A value that is set inside another is deeper there than it came. @throws DynamoDbError */
export function checkDepth(item: Item): void {
  for (const value of item.values()) checkValueDepth(value, 0);
}

function checkValueDepth(value: Value, depth: number): void {
  if (depth > depthMax) throw tooDeep();
  if (value.type !== 'L' && value.type !== 'M') return;
  for (const inner of value.value.values()) checkValueDepth(inner, depth + 1);
}

function tooDeep(): Error {
  return invalid('Nesting Levels have exceeded supported limits');
}

function readAs(type: ValueType, given: unknown, depth: number): Value {
  switch (type) {
    case 'S':
      return { type, value: textOf(given) };
    case 'N':
      return { type, value: canonicalNumber(textOf(given)) };
    case 'B':
      return { type, value: bytesOf(given) };
    case 'BOOL':
      if (typeof given !== 'boolean') throw wrongType();
      return { type, value: given };
    case 'NULL':
      if (given !== true) {
        throw invalidParameters('Null attribute value types must have the value of true');
      }
      return { type };
    case 'SS':
      return { type, value: distinct(type, listOf(given).map(textOf)) };
    case 'NS':
      return {
        type,
        value: distinct(
          type,
          listOf(given).map((one) => canonicalNumber(textOf(one))),
        ),
      };
    case 'BS': {
      const all = listOf(given).map(bytesOf);
      distinct(
        type,
        all.map((one) => one.toString('base64')),
      );
      return { type, value: all };
    }
    case 'L':
      return { type, value: listOf(given).map((one) => readValue(one, depth + 1)) };
    case 'M':
      if (!isFields(given)) throw wrongType();
      return { type, value: readItem(Object.entries(given), depth + 1) };
  }
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(given: unknown): string {
  if (typeof given !== 'string') throw wrongType();
  return given;
}

function bytesOf(given: unknown): Buffer {
  const text = textOf(given);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw wrongType();
  return bytes;
}

function listOf(given: unknown): readonly unknown[] {
  if (!Array.isArray(given)) throw wrongType();
  return given;
}

/** Types are looked at before anything else, by input.ts: this is only reached by a mistake there. */
function wrongType(): Error {
  return invalid('The type of an AttributeValue does not fit its name');
}

const emptySets = {
  SS: 'An string set  may not be empty',
  NS: 'An number set  may not be empty',
  BS: 'Binary sets should not be empty',
} as const;

function distinct(type: 'SS' | 'NS' | 'BS', texts: readonly string[]): readonly string[] {
  if (texts.length === 0) throw invalidParameters(emptySets[type]);
  if (new Set(texts).size === texts.length) return texts;
  if (type === 'NS') throw invalid('Input collection contains duplicates');
  const of = type === 'BS' ? 'of type BS contains' : ' contains';
  throw invalidParameters(`Input collection [${texts.join(', ')}]${of} duplicates.`);
}

/** An item as it is kept. */
export function parseItem(body: string): Item {
  return readItem(Object.entries(JSON.parse(body) as Record<string, unknown>));
}

/** As it goes out, and is kept. */
export function wireItem(item: Item): Record<string, unknown> {
  return Object.fromEntries([...item].map(([name, value]) => [name, wireValue(value)]));
}

function wireValue(value: Value): unknown {
  switch (value.type) {
    case 'NULL':
      return { NULL: true };
    case 'B':
      return { B: value.value.toString('base64') };
    case 'BS':
      return { BS: value.value.map((one) => one.toString('base64')) };
    case 'L':
      return { L: value.value.map(wireValue) };
    case 'M':
      return { M: wireItem(value.value) };
    case 'S':
    case 'N':
    case 'BOOL':
    case 'SS':
    case 'NS':
      return { [value.type]: value.value };
  }
}

/** What it counts: names and values (docs: "DynamoDB item sizes and formats"). */
export function itemBytes(item: Item): number {
  let bytes = 0;
  for (const [name, value] of item) bytes += Buffer.byteLength(name) + valueBytes(value);
  return bytes;
}

function valueBytes(value: Value): number {
  switch (value.type) {
    case 'S':
      return Buffer.byteLength(value.value);
    case 'N':
      return numberBytes(value.value);
    case 'B':
      return value.value.length;
    case 'BOOL':
    case 'NULL':
      return 1;
    case 'SS':
      return sum(value.value, (one) => Buffer.byteLength(one));
    case 'NS':
      return sum(value.value, numberBytes);
    case 'BS':
      return sum(value.value, (one) => one.length);
    case 'L':
      return 3 + sum(value.value, (one) => 1 + valueBytes(one));
    case 'M':
      return 3 + value.value.size + itemBytes(value.value);
  }
}

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}

/** Whether they are the same; in sets the order does not count. */
export function areEqual(one: Value, other: Value): boolean {
  if (one.type !== other.type) return false;
  switch (one.type) {
    case 'NULL':
      return true;
    case 'S':
    case 'N':
    case 'BOOL':
      return one.value === (other as typeof one).value;
    case 'B':
      return one.value.equals((other as typeof one).value);
    case 'SS':
    case 'NS':
    case 'BS': {
      const [texts, others] = [setTexts(one), new Set(setTexts(other as typeof one))];
      return texts.length === others.size && texts.every((text) => others.has(text));
    }
    case 'L': {
      const others = (other as typeof one).value;
      return (
        one.value.length === others.length &&
        one.value.every((value, index) => {
          const another = others[index];
          return another !== undefined && areEqual(value, another);
        })
      );
    }
    case 'M': {
      const others = (other as typeof one).value;
      return (
        one.value.size === others.size &&
        [...one.value].every(([name, value]) => {
          const another = others.get(name);
          return another !== undefined && areEqual(value, another);
        })
      );
    }
  }
}

export type SetValue = Extract<Value, { readonly type: 'SS' | 'NS' | 'BS' }>;

export function isSet(value: Value): value is SetValue {
  return value.type === 'SS' || value.type === 'NS' || value.type === 'BS';
}

/** The elements of a set as texts that are the same when the elements are. */
export function setTexts(set: SetValue): readonly string[] {
  return set.type === 'BS' ? set.value.map((one) => one.toString('base64')) : set.value;
}

/** A set of the type of another one, of elements as `setTexts` gives them. */
export function setLike({ type }: SetValue, texts: readonly string[]): SetValue {
  if (type !== 'BS') return { type, value: texts };
  return { type, value: texts.map((text) => Buffer.from(text, 'base64')) };
}

/** Negative, zero or positive; null: they are not of one type that has an order. */
export function compareValues(one: Value, other: Value): number | null {
  if (one.type === 'N' && other.type === 'N') return compareNumbers(one.value, other.value);
  const [bytes, others] = [textBytes(one), textBytes(other)];
  if (one.type !== other.type || bytes === null || others === null) return null;
  return Buffer.compare(bytes, others);
}

/** The bytes of a text or a blob; null: it is neither. */
export function textBytes(value: Value): Buffer | null {
  if (value.type === 'S') return Buffer.from(value.value);
  return value.type === 'B' ? value.value : null;
}

/** A key as bytes that sort as it does; null: its type is none of keys. */
export function keyBytes(value: Value): Buffer | null {
  return value.type === 'N' ? sortableNumber(value.value) : textBytes(value);
}
