/** Tables as a whole: made, changed, described and deleted. All is done when it is answered. */
import { randomUUID } from 'node:crypto';
import type { ItemTable } from '../../../../storage/items/items.ts';
import {
  flag,
  integer,
  list,
  optional,
  required,
  structure,
  type Described,
} from '../../aws/shapes.ts';
import { DynamoDbError, invalid, invalidParameters, notFound } from '../errors.ts';
import { resourceName, target } from '../inputs.ts';
import { defineOperation, ownTable, type DynamoDbContext } from '../operation.ts';
import {
  definitionOf,
  describeTable as described,
  tableArn,
  type TableDefinition,
  type TableStatus,
} from '../tables.ts';
import { tagList, tagsOf } from '../tagging.ts';
import { changedIndexes, entriesOfNew, indexesOf, indexShape, indexUpdate } from './indexes.ts';
import {
  attributesOf,
  attributesShape,
  billingMode,
  checkAllUsed,
  keySchemaShape,
  keysOf,
  ofKeys,
  throughputOf,
  throughputShape,
} from './table-keys.ts';

export const createTable = defineOperation({
  name: 'CreateTable',
  input: structure({
    AttributeDefinitions: required(attributesShape),
    ...target,
    KeySchema: required(keySchemaShape),
    BillingMode: optional(billingMode),
    ProvisionedThroughput: optional(throughputShape),
    GlobalSecondaryIndexes: optional(list(indexShape, { shownMember: 'GlobalSecondaryIndex' })),
    LocalSecondaryIndexes: optional(list(structure({}), { shownMember: 'LocalSecondaryIndex' })),
    StreamSpecification: optional(structure({ StreamEnabled: optional(flag()) })),
    DeletionProtectionEnabled: optional(flag()),
    Tags: optional(tagList),
  }),
  resources: ownTable,
  async run(input, context) {
    if (input.LocalSecondaryIndexes !== undefined) {
      throw invalidParameters('Local secondary indexes are not served here');
    }
    if (input.StreamSpecification?.StreamEnabled === true) {
      throw invalidParameters('Streams of tables are not served here');
    }
    const { BillingMode: mode, ProvisionedThroughput: given } = input;
    const throughput = throughputOf(mode ?? 'PROVISIONED', given);
    const attributes = attributesOf(input.AttributeDefinitions);
    const keys = keysOf(input.KeySchema, attributes);
    const definition: TableDefinition = {
      ...keys,
      id: randomUUID(),
      attributes,
      throughput,
      indexes: indexesOf(input.GlobalSecondaryIndexes, attributes, throughput),
      tags: Object.fromEntries(tagsOf(input.Tags ?? [])),
      isProtected: input.DeletionProtectionEnabled ?? false,
    };
    checkAllUsed(definition);
    const table = await make(input.TableName, definition, context);
    return { TableDescription: described(table, 'CREATING', nothing, context.account) };
  },
});

const nothing = { items: 0, bytes: 0 } as const;

async function make(
  name: string,
  definition: TableDefinition,
  { items }: DynamoDbContext,
): Promise<ItemTable> {
  if (items.table(name) !== null) throw inUse(`Table already exists: ${name}`);
  return items.createTable(name, definition);
}

function inUse(message: string): DynamoDbError {
  return new DynamoDbError('ResourceInUseException', message);
}

export const describeTable = defineOperation({
  name: 'DescribeTable',
  input: structure(target),
  resources: ownTable,
  async run({ TableName }, context) {
    const table = namedTable(TableName, context);
    return { Table: await shown(table, 'ACTIVE', context) };
  },
});

/** The operations on a table say which one there is not. */
function namedTable(name: string, { items }: DynamoDbContext): ItemTable {
  const table = items.table(name);
  if (table === null) throw notFound(`Requested resource not found: Table: ${name} not found`);
  return table;
}

async function shown(
  table: ItemTable,
  status: TableStatus,
  { items, account }: DynamoDbContext,
  making: string | null = null,
): Promise<object> {
  return described(table, status, await items.counts(table), account, making);
}

export const deleteTable = defineOperation({
  name: 'DeleteTable',
  input: structure(target),
  resources: ownTable,
  async run({ TableName }, context) {
    const table = namedTable(TableName, context);
    const TableDescription = await shown(table, 'DELETING', context);
    await context.items.deleteTable(TableName, (current) => {
      if (!definitionOf(current).isProtected) return;
      throw invalid(
        'Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.',
      );
    });
    return { TableDescription };
  },
});

export const listTables = defineOperation({
  name: 'ListTables',
  input: structure({
    ExclusiveStartTableName: optional(resourceName),
    Limit: optional(integer({ min: 1, max: 100 })),
  }),
  resources: (_input, { account }) => [tableArn(account, '*')],
  run({ ExclusiveStartTableName: after, Limit: limit = 100 }, { items }) {
    const names = items
      .tables()
      .map(({ name }) => name)
      // Those with a colon are the gateway's own; nobody can name them.
      .filter((name) => !name.includes(':') && (after === undefined || name > after));
    const TableNames = names.slice(0, limit);
    return Promise.resolve({
      TableNames,
      ...(names.length > limit ? { LastEvaluatedTableName: TableNames.at(-1) } : {}),
    });
  },
});

const updateInput = structure({
  ...target,
  AttributeDefinitions: optional(attributesShape),
  BillingMode: optional(billingMode),
  ProvisionedThroughput: optional(throughputShape),
  GlobalSecondaryIndexUpdates: optional(
    list(indexUpdate, { shownMember: 'GlobalSecondaryIndexUpdate' }),
  ),
  DeletionProtectionEnabled: optional(flag()),
});

export const updateTable = defineOperation({
  name: 'UpdateTable',
  input: updateInput,
  resources: ownTable,
  async run(input, context) {
    namedTable(input.TableName, context);
    const [made] = (input.GlobalSecondaryIndexUpdates ?? []).flatMap(({ Create }) => Create ?? []);
    const table = await context.items.updateTable(input.TableName, (current) => {
      const definition = changed(definitionOf(current), input);
      const gone = (input.GlobalSecondaryIndexUpdates ?? []).flatMap(({ Delete }) => Delete ?? []);
      return {
        definition,
        goneIndexes: gone.map(({ IndexName }) => IndexName),
        ...(made === undefined ? {} : { newEntries: entriesOfNew(definition, made.IndexName) }),
      };
    });
    return {
      TableDescription: await shown(table, 'UPDATING', context, made?.IndexName ?? null),
    };
  },
});

function changed(
  definition: TableDefinition,
  input: Described<typeof updateInput>,
): TableDefinition {
  const { BillingMode: mode, ProvisionedThroughput: given, AttributeDefinitions } = input;
  const updates = input.GlobalSecondaryIndexUpdates ?? [];
  const isNothing =
    mode === undefined &&
    given === undefined &&
    updates.length === 0 &&
    input.DeletionProtectionEnabled === undefined;
  if (isNothing) {
    throw invalid(
      'At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required',
    );
  }
  const isKept = mode === undefined && given === undefined;
  const throughput = isKept
    ? definition.throughput
    : throughputOf(
        mode ?? (definition.throughput === null ? 'PAY_PER_REQUEST' : 'PROVISIONED'),
        given,
      );
  const attributes = { ...definition.attributes, ...attributesOf(AttributeDefinitions ?? []) };
  if (Object.entries(definition.attributes).some(([name, type]) => attributes[name] !== type)) {
    throw invalidParameters('The types of the keys of a table and its indexes can not be changed');
  }
  if (updates.filter(({ Create }) => Create !== undefined).length > 1) {
    throw new DynamoDbError(
      'LimitExceededException',
      'Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table',
    );
  }
  const indexes = changedIndexes(definition.indexes, updates, attributes, throughput);
  return {
    ...definition,
    throughput,
    indexes: indexes.map((index) => ({
      ...index,
      throughput: throughput === null ? null : (index.throughput ?? throughput),
    })),
    attributes: ofKeys(attributes, [definition, ...indexes]),
    isProtected: input.DeletionProtectionEnabled ?? definition.isProtected,
  };
}
