/**
 * Items from records: the record's JSON object is the item, its numbers digit by digit as they are
 * written.
 */
import { DynamoDbError } from '../../../api/dynamodb/errors.ts';
import { canonicalNumber } from '../../../api/dynamodb/numbers.ts';
import {
  checkDepth,
  itemBytes,
  itemBytesMax,
  textBytes,
  type Item,
  type Value,
  type ValueType,
} from '../../../api/dynamodb/values.ts';
import { SinkError } from '../../sink.ts';
import { objectIn, utf8Of } from '../json-text.ts';

/** An attribute of the table's key. */
export interface KeyAttribute {
  readonly name: string;
  readonly type: 'S' | 'N' | 'B';
  /** Of its value. */
  readonly bytesMax: number;
}

export interface KeyedItem {
  readonly item: Item;
  /** The same for items that are the same one to the table. */
  readonly key: string;
  readonly bytes: number;
}

/** A string in JSON, or a number. */
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g;

/**
 * @param sets names of attributes whose lists become sets: of texts, or of numbers
 * @returns why it can't be one, too
 */
export function itemOfRecord(
  data: Buffer,
  keys: readonly KeyAttribute[],
  sets: ReadonlySet<string>,
): KeyedItem | SinkError {
  const text = utf8Of(data);
  if (text === null || objectIn(text) === null) return rejected('the record is not a JSON object');
  try {
    const item = new Map<string, Value>();
    for (const [name, value] of Object.entries(JSON.parse(marked(text)) as Marked)) {
      const attribute = unmarked(name);
      const made = sets.has(attribute) ? setOf(attribute, value) : valueOf(value);
      if (made !== null) item.set(attribute, made);
    }
    for (const key of keys) item.set(key.name, keyValue(key, item.get(key.name)));
    checkDepth(item);
    const bytes = itemBytes(item);
    if (bytes > itemBytesMax) {
      return new SinkError('too-large', `the item has ${bytes} bytes, and 400 KB are the most`);
    }
    return { item, key: keyOf(item, keys), bytes };
  } catch (error) {
    if (error instanceof SinkError) return error;
    if (error instanceof DynamoDbError) return rejected(error.message);
    throw error;
  }
}

/** The key of an item, which has it, as a text. */
export function keyOf(item: Item, keys: readonly KeyAttribute[]): string {
  return JSON.stringify(
    keys.map(({ name }) => {
      const value = item.get(name);
      if (value?.type === 'B') return value.value.toString('base64');
      return value?.type === 'S' || value?.type === 'N' ? value.value : null;
    }),
  );
}

type Marked = Readonly<Record<string, unknown>>;

/**
 * JSON whose strings begin with `s` and whose numbers are strings that begin with `n`: parsed, it
 * has every digit of them.
 */
function marked(json: string): string {
  return json.replace(tokens, (token) =>
    token.startsWith('"') ? `"s${token.slice(1)}` : `"n${token}"`,
  );
}

function unmarked(text: string): string {
  return text.slice(1);
}

/** @throws DynamoDbError for a number that it can't keep */
function valueOf(value: unknown): Value {
  if (value === null) return { type: 'NULL' };
  if (typeof value === 'boolean') return { type: 'BOOL', value };
  if (typeof value === 'string') {
    const text = unmarked(value);
    return value.startsWith('n')
      ? { type: 'N', value: canonicalNumber(text) }
      : { type: 'S', value: text };
  }
  if (Array.isArray(value)) return { type: 'L', value: value.map(valueOf) };
  const entries = Object.entries(value as Marked);
  return {
    type: 'M',
    value: new Map(entries.map(([name, inner]) => [unmarked(name), valueOf(inner)])),
  };
}

/** null: of an empty list, as there is no empty set. @throws SinkError `rejected` */
function setOf(name: string, value: unknown): Value | null {
  const values = Array.isArray(value) ? value.map(valueOf) : [valueOf(value)];
  const [first] = values;
  if (first === undefined) return null;
  const type = first.type === 'N' ? 'NS' : 'SS';
  const texts = values.map((one) => {
    if (one.type !== first.type || (one.type !== 'S' && one.type !== 'N')) {
      throw rejected(`${name} is to be a set, and has not only texts or only numbers`);
    }
    return one.value;
  });
  return { type, value: [...new Set(texts)] };
}

/** @throws SinkError `rejected` when it can't be that part of the key */
function keyValue({ name, type, bytesMax }: KeyAttribute, value: Value | undefined): Value {
  if (value === undefined) throw rejected(`the record has no ${name}, which is in the table's key`);
  const made = type === 'B' && value.type === 'S' ? bytesIn(name, value.value) : value;
  if (made.type !== type) {
    const [wanted, found] = [typeNames[type], typeNames[made.type] ?? 'something else'];
    throw rejected(`${name} is ${found}, and in the table's key it is ${wanted}`);
  }
  const bytes = textBytes(made)?.length ?? 1;
  if (bytes === 0 || bytes > bytesMax) {
    throw rejected(`${name} has ${bytes} bytes, and in the table's key 1 to ${bytesMax} are taken`);
  }
  return made;
}

const typeNames: Readonly<Partial<Record<ValueType, string>>> = {
  S: 'a text',
  N: 'a number',
  B: 'Base64',
};

/** @throws SinkError `rejected` */
function bytesIn(name: string, text: string): Value {
  const value = Buffer.from(text, 'base64');
  if (value.toString('base64') === text) return { type: 'B', value };
  throw rejected(`${name} is not Base64, and in the table's key it is bytes`);
}

function rejected(message: string): SinkError {
  return new SinkError('rejected', message);
}
