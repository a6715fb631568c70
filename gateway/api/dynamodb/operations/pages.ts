/** Many items in order: Query and Scan, of a table or of one of its indexes, a page at a time. */
import type { ItemTable } from '../../../../storage/items/items.ts';
import type { ItemRow, Position } from '../../../../storage/items/rows.ts';
import { flag, integer, optional, structure, text, type StructureOf } from '../../aws/shapes.ts';
import { readCapacity } from '../capacity.ts';
import { invalid } from '../errors.ts';
import { holds } from '../expressions/evaluate.ts';
import { project } from '../expressions/projection.ts';
import type { Condition, Path } from '../expressions/syntax.ts';
import {
  capacityMember,
  conditionalOperatorMember,
  pageMembers,
  placeholderMembers,
  target,
} from '../inputs.ts';
import { readKeyRange, type KeyRange } from '../key-range.ts';
import { filterConditions } from '../legacy.ts';
import { defineOperation, knownTable, type DynamoDbContext } from '../operation.ts';
import { readExpressions } from '../requests.ts';
import { segmentOf } from '../segments.ts';
import {
  definitionOf,
  entryOf,
  indexOf,
  only,
  placeNames,
  tableArn,
  type IndexDefinition,
  type TableDefinition,
} from '../tables.ts';
import { itemBytes, parseItem, readItem, wireItem, type Item } from '../values.ts';

/** What a page looks at: of what is kept, and so never more than in DynamoDB. */
const pageBytesMax = 2 ** 20;
const rowsAtOnce = 1000;

const common = {
  ...target,
  ...pageMembers,
  ...conditionalOperatorMember,
  ...placeholderMembers,
  ...capacityMember,
};
type CommonInput = StructureOf<typeof common>;

export const query = defineOperation({
  name: 'Query',
  input: structure({
    ...common,
    KeyConditions: optional(filterConditions),
    QueryFilter: optional(filterConditions),
    KeyConditionExpression: optional(text()),
    ScanIndexForward: optional(flag()),
  }),
  resources,
  async run(input, context) {
    if (input.KeyConditions === undefined && input.KeyConditionExpression === undefined) {
      throw invalid(
        'Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.',
      );
    }
    const { keyCondition, filter, projection } = readExpressions(input);
    const { table, definition, index } = sourceOf(input, context);
    const range = readKeyRange(keyCondition, index ?? definition, definition.attributes);
    const forward = input.ScanIndexForward ?? true;
    const reading = { table, definition, index, filter, projection, isMine: () => true };
    return readPage(input, { ...reading, range, forward }, context);
  },
});

export const scan = defineOperation({
  name: 'Scan',
  input: structure({
    ...common,
    ScanFilter: optional(filterConditions),
    Segment: optional(integer({ min: 0, max: 999_999 })),
    TotalSegments: optional(integer({ min: 1, max: 1_000_000 })),
  }),
  resources,
  async run(input, context) {
    const isMine = segmentOf(input.Segment, input.TotalSegments);
    const { filter, projection } = readExpressions(input);
    const { table, definition, index } = sourceOf(input, context);
    const range: KeyRange = { from: start, to: null };
    const reading = { table, definition, index, filter, projection, isMine };
    return readPage(input, { ...reading, range, forward: true }, context);
  },
});

const none = Buffer.alloc(0);
const start: Position = { hash: none, range: none };

function resources(
  { TableName, IndexName }: { readonly TableName: string; readonly IndexName?: string },
  { account }: DynamoDbContext,
): readonly string[] {
  const arn = tableArn(account, TableName);
  return [IndexName === undefined ? arn : `${arn}/index/${IndexName}`];
}

interface Source {
  readonly table: ItemTable;
  readonly definition: TableDefinition;
  /** null: the table itself. */
  readonly index: IndexDefinition | null;
}

function sourceOf(input: CommonInput, context: DynamoDbContext): Source {
  const table = knownTable(input.TableName, context);
  const definition = definitionOf(table);
  const index = input.IndexName === undefined ? null : indexOf(definition, input.IndexName);
  if (index !== null && input.ConsistentRead === true) {
    throw invalid('Consistent reads are not supported on global secondary indexes');
  }
  if (input.Select === 'ALL_ATTRIBUTES' && index !== null && index.projection !== 'ALL') {
    throw invalid(
      `One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index ${index.name} because its projection type is not ALL`,
    );
  }
  return { table, definition, index };
}

interface Reading extends Source {
  readonly filter: Condition | null;
  readonly projection: readonly Path[] | null;
  readonly range: KeyRange;
  readonly forward: boolean;
  /** Of parallel scans: whether an item is in this one. */
  readonly isMine: (row: ItemRow) => boolean;
}

async function readPage(
  input: CommonInput,
  reading: Reading,
  context: DynamoDbContext,
): Promise<object> {
  const { definition, index, filter, projection } = reading;
  const { items, last, capacityBytes } = await look(input, reading, context);
  const found = items.filter((item) => filter === null || holds(filter, item));
  const isCounting = input.Select === 'COUNT';
  const shown = (item: Item): object => {
    const part = projected(item, definition, index);
    return wireItem(projection === null ? part : project(part, projection));
  };
  return {
    ...(isCounting ? {} : { Items: found.map(shown) }),
    Count: found.length,
    ScannedCount: items.length,
    ...(last === null
      ? {}
      : { LastEvaluatedKey: wireItem(only(last, placeNames(definition, index))) }),
    ...readCapacity(
      ...([input.TableName, input.ReturnConsumedCapacity] as const),
      ...([capacityBytes, input.ConsistentRead] as const),
    ),
  };
}

interface Looked {
  readonly items: readonly Item[];
  /** The last item that was looked at; null: there is none behind it. */
  readonly last: Item | null;
  readonly capacityBytes: number;
}

async function look(
  input: CommonInput,
  { table, definition, index, range, forward, isMine }: Reading,
  context: DynamoDbContext,
): Promise<Looked> {
  const limit = input.Limit ?? Number.MAX_SAFE_INTEGER;
  const items: Item[] = [];
  let bytes = 0;
  let capacityBytes = 0;
  let rest = startingAt(input.ExclusiveStartKey, range, forward, definition, index);
  for (;;) {
    const rows = await context.items.read(table, {
      ...{ index: index?.name ?? null, forward, from: rest.from, to: rest.to },
      limit: Math.min(rowsAtOnce, limit - items.length),
      bytes: pageBytesMax - bytes,
    });
    for (const row of rows.filter(isMine)) {
      const item = parseItem(row.body);
      items.push(item);
      bytes += row.bytes;
      capacityBytes += itemBytes(item);
      if (items.length >= limit || bytes >= pageBytesMax)
        return { items, last: item, capacityBytes };
    }
    const last = rows.at(-1);
    if (last === undefined) return { items, last: null, capacityBytes };
    rest = behind(positionOf(parseItem(last.body), last, index), rest, forward);
  }
}

/** Where an item is in the order of the table or the index. */
function positionOf(item: Item, row: Position, index: IndexDefinition | null): Position {
  if (index === null) return { hash: row.hash, range: row.range };
  const entry = entryOf(item, index);
  if (entry === null) throw new Error('an item without the keys of its index');
  return { ...entry, item: { hash: row.hash, range: row.range } };
}

/** What is left of a range behind a position. */
function behind(position: Position, { from, to }: KeyRange, forward: boolean): KeyRange {
  return forward ? { from: next(position), to } : { from, to: position };
}

const zero = Buffer.from([0]);

/** The first position that comes after one. */
function next({ hash, range, item }: Position): Position {
  if (item === undefined) return { hash, range: Buffer.concat([range, zero]) };
  return { hash, range, item: { ...item, range: Buffer.concat([item.range, zero]) } };
}

/** @throws DynamoDbError when the key is none of here */
function startingAt(
  given: ReadonlyMap<string, unknown> | undefined,
  range: KeyRange,
  forward: boolean,
  definition: TableDefinition,
  index: IndexDefinition | null,
): KeyRange {
  if (given === undefined) return range;
  const key = readItem(given);
  const names = placeNames(definition, index);
  const fits = names.every((name) => key.get(name)?.type === definition.attributes[name]);
  const own = entryOf(key, definition);
  if (!fits || key.size !== names.length || own === null) {
    throw invalid('The provided starting key is invalid');
  }
  const position = positionOf(key, own, index);
  checkWithin(position, range);
  return behind(position, range, forward);
}

/** @throws DynamoDbError */
function checkWithin(position: Position, { from, to }: KeyRange): void {
  if (compare(position, from) >= 0 && (to === null || compare(position, to) < 0)) return;
  throw invalid(
    position.hash.equals(from.hash)
      ? 'The provided starting key does not match the range key predicate'
      : 'The provided starting key is outside query boundaries based on provided conditions',
  );
}

function compare(one: Position, other: Position): number {
  return Buffer.compare(one.hash, other.hash) || Buffer.compare(one.range, other.range);
}

/** What an index has of an item. */
function projected(item: Item, definition: TableDefinition, index: IndexDefinition | null): Item {
  if (index === null || index.projection === 'ALL') return item;
  return only(item, [...placeNames(definition, index), ...index.included]);
}
