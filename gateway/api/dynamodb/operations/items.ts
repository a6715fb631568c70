/** Single items: put, got, changed on a condition, deleted. */
import type { Decision } from '../../../../storage/items/items.ts';
import { choice, flag, list, optional, required, structure, text } from '../../aws/shapes.ts';
import { readCapacity, writeCapacity } from '../capacity.ts';
import { conditionFailed, invalid, invalidParameters } from '../errors.ts';
import { holds } from '../expressions/evaluate.ts';
import { project } from '../expressions/projection.ts';
import type { Action, Condition } from '../expressions/syntax.ts';
import { updated } from '../expressions/update.ts';
import {
  attributeMap,
  capacityMember,
  conditionalOperatorMember,
  placeholderMembers,
  target,
} from '../inputs.ts';
import { attributeUpdates, expectations } from '../legacy.ts';
import { changeItem, defineOperation, knownTable, ownTable } from '../operation.ts';
import { readExpressions } from '../requests.ts';
import {
  checkIndexKeys,
  definitionOf,
  indexEntries,
  keyNames,
  keyOf,
  keyOfItem,
  type TableDefinition,
} from '../tables.ts';
import {
  checkDepth,
  itemBytes,
  itemBytesMax,
  parseItem,
  readItem,
  wireItem,
  type Item,
} from '../values.ts';

const conditionMembers = {
  Expected: optional(expectations),
  ...conditionalOperatorMember,
  ConditionExpression: optional(text()),
  ...placeholderMembers,
  ReturnValuesOnConditionCheckFailure: optional(choice(['ALL_OLD', 'NONE'])),
};
const collectionMember = { ReturnItemCollectionMetrics: optional(choice(['SIZE', 'NONE'])) };
const returnValues = choice(['ALL_NEW', 'UPDATED_OLD', 'ALL_OLD', 'NONE', 'UPDATED_NEW']);
const writeMembers = {
  ...conditionMembers,
  ReturnValues: optional(returnValues),
  ...capacityMember,
  ...collectionMember,
};

/** What is answered of an item, where there is something. */
function attributesOf(item: Item | null): object {
  return item === null ? {} : { Attributes: wireItem(item) };
}

export const getItem = defineOperation({
  name: 'GetItem',
  input: structure({
    ...target,
    Key: required(attributeMap),
    AttributesToGet: optional(list(text(), { min: 1, max: 255 })),
    ProjectionExpression: optional(text()),
    ExpressionAttributeNames: placeholderMembers.ExpressionAttributeNames,
    ConsistentRead: optional(flag()),
    ...capacityMember,
  }),
  resources: ownTable,
  async run(input, context) {
    const key = readItem(input.Key);
    const { projection } = readExpressions(input);
    const table = knownTable(input.TableName, context);
    const body = await context.items.get(table, keyOf(key, definitionOf(table)));
    const item = body === null ? null : parseItem(body);
    const shown = item === null || projection === null ? item : project(item, projection);
    return {
      ...(shown === null ? {} : { Item: wireItem(shown) }),
      ...readCapacity(
        ...([input.TableName, input.ReturnConsumedCapacity] as const),
        ...([item === null ? 0 : itemBytes(item), input.ConsistentRead] as const),
      ),
    };
  },
});

interface Conditional {
  readonly condition: Condition | null;
  /** Whether whoever fails is told what is there. */
  readonly showsItem: boolean;
}

/** @throws DynamoDbError `ConditionalCheckFailedException` */
function checkCondition({ condition, showsItem }: Conditional, item: Item | null): void {
  if (condition === null || holds(condition, item)) return;
  throw conditionFailed(showsItem ? item : null);
}

function conditionalOf(
  condition: Condition | null,
  { ReturnValuesOnConditionCheckFailure: shown }: { ReturnValuesOnConditionCheckFailure?: string },
): Conditional {
  return { condition, showsItem: shown === 'ALL_OLD' };
}

export function kept<T>(item: Item, definition: TableDefinition, result: T): Decision<T> {
  const body = JSON.stringify(wireItem(item));
  return {
    body,
    // A number of a few bytes may have more than a hundred digits: what is kept counts.
    bytes: Buffer.byteLength(body),
    entries: indexEntries(item, definition),
    result,
  };
}

export function removed<T>(result: T): Decision<T> {
  return { body: null, bytes: 0, entries: null, result };
}

/** @throws DynamoDbError */
export function checkPut(item: Item, definition: TableDefinition): void {
  if (itemBytes(item) > itemBytesMax) {
    throw invalid('Item size has exceeded the maximum allowed size');
  }
  checkIndexKeys(item, definition);
}

export const putItem = defineOperation({
  name: 'PutItem',
  input: structure({ ...target, Item: required(attributeMap), ...writeMembers }),
  resources: ownTable,
  async run(input, context) {
    const { ReturnValues: wanted = 'NONE' } = input;
    if (wanted !== 'NONE' && wanted !== 'ALL_OLD') {
      throw invalid('ReturnValues can only be ALL_OLD or NONE');
    }
    const item = readItem(input.Item);
    const { condition } = readExpressions(input);
    const conditional = conditionalOf(condition, input);
    const table = knownTable(input.TableName, context);
    const key = keyOfItem(item, definitionOf(table));
    checkPut(item, definitionOf(table));
    const before = await changeItem(
      ...([context, table, key] as const),
      (current, definition) => {
        const old = current === null ? null : parseItem(current);
        checkCondition(conditional, old);
        checkPut(item, definition);
        return kept(item, definition, old);
      },
      itemBytes(item),
    );
    const bytes = Math.max(itemBytes(item), before === null ? 0 : itemBytes(before));
    return {
      ...(wanted === 'ALL_OLD' ? attributesOf(before) : {}),
      ...writeCapacity(input.TableName, input.ReturnConsumedCapacity, bytes),
    };
  },
});

export const deleteItem = defineOperation({
  name: 'DeleteItem',
  input: structure({ ...target, Key: required(attributeMap), ...writeMembers }),
  resources: ownTable,
  async run(input, context) {
    const { ReturnValues: wanted = 'NONE' } = input;
    if (wanted !== 'NONE' && wanted !== 'ALL_OLD') {
      throw invalid('ReturnValues can only be ALL_OLD or NONE');
    }
    const key = readItem(input.Key);
    const { condition } = readExpressions(input);
    const conditional = conditionalOf(condition, input);
    const table = knownTable(input.TableName, context);
    const before = await changeItem(
      ...([context, table, keyOf(key, definitionOf(table))] as const),
      (current) => {
        const old = current === null ? null : parseItem(current);
        checkCondition(conditional, old);
        return removed(old);
      },
      0,
    );
    return {
      ...(wanted === 'ALL_OLD' ? attributesOf(before) : {}),
      ...writeCapacity(
        ...([input.TableName, input.ReturnConsumedCapacity] as const),
        before === null ? 0 : itemBytes(before),
      ),
    };
  },
});

export const updateItem = defineOperation({
  name: 'UpdateItem',
  input: structure({
    ...target,
    Key: required(attributeMap),
    AttributeUpdates: optional(attributeUpdates),
    UpdateExpression: optional(text()),
    ...writeMembers,
  }),
  resources: ownTable,
  async run(input, context) {
    const key = readItem(input.Key);
    const { update, condition } = readExpressions(input);
    const conditional = conditionalOf(condition, input);
    const table = knownTable(input.TableName, context);
    const place = keyOf(key, definitionOf(table));
    checkKeysStay(update, definitionOf(table));
    const { before, after } = await changeItem(
      ...([context, table, place] as const),
      (current, definition) => {
        const old = current === null ? null : parseItem(current);
        checkCondition(conditional, old);
        const next = updated(old ?? key, update);
        checkDepth(next);
        if (itemBytes(next) > itemBytesMax) {
          throw invalid('Item size to update has exceeded the maximum allowed size');
        }
        checkIndexKeys(next, definition);
        return kept(next, definition, { before: old, after: next });
      },
      0,
    );
    const bytes = Math.max(itemBytes(after), before === null ? 0 : itemBytes(before));
    return {
      ...returned(input.ReturnValues ?? 'NONE', before, after, update),
      ...writeCapacity(input.TableName, input.ReturnConsumedCapacity, bytes),
    };
  },
});

function checkKeysStay(update: readonly Action[], definition: TableDefinition): void {
  for (const name of keyNames(definition)) {
    if (!update.some(({ path }) => path[0] === name)) continue;
    throw invalidParameters(`Cannot update attribute ${name}. This attribute is part of the key`);
  }
}

function returned(
  wanted: 'ALL_NEW' | 'UPDATED_OLD' | 'ALL_OLD' | 'NONE' | 'UPDATED_NEW',
  before: Item | null,
  after: Item,
  update: readonly Action[],
): object {
  const paths = update.map(({ path }) => path);
  switch (wanted) {
    case 'NONE':
      return {};
    case 'ALL_OLD':
      return attributesOf(before);
    case 'ALL_NEW':
      return attributesOf(after);
    case 'UPDATED_OLD':
      return attributesOf(before === null ? null : someOf(project(before, paths)));
    case 'UPDATED_NEW':
      return attributesOf(someOf(project(after, paths)));
  }
}

function someOf(item: Item): Item | null {
  return item.size === 0 ? null : item;
}
