/** Tables as a whole: made, changed, described and deleted. All is done when it is answered. */
import { randomUUID } from 'node:crypto';
import type { ItemTable } from '../../../../storage/items/items.ts';
import {
  choice,
  flag,
  integer,
  list,
  optional,
  required,
  structure,
  text,
  type Described,
} from '../../aws/shapes.ts';
import { DynamoDbError, invalid, invalidParameters, notFound } from '../errors.ts';
import { resourceName, target } from '../inputs.ts';
import { defineOperation, ownTable, type DynamoDbContext } from '../operation.ts';
import {
  definitionOf,
  describeTable as described,
  indexEntries,
  fitsIndex,
  indexOf,
  keyNames,
  tableArn,
  type IndexDefinition,
  type KeySchema,
  type KeyType,
  type TableDefinition,
  type TableStatus,
  type Throughput,
} from '../tables.ts';
import { tagList, tagsOf } from '../tagging.ts';
import { parseItem } from '../values.ts';

const indexesMax = 20;

const throughputShape = structure({
  ReadCapacityUnits: required(integer({ min: 1 })),
  WriteCapacityUnits: required(integer({ min: 1 })),
});
const keySchemaShape = list(
  structure({
    AttributeName: required(text({ min: 1, max: 255 })),
    KeyType: required(choice(['HASH', 'RANGE'])),
  }),
  { min: 1, max: 2, shownMember: 'KeySchemaElement' },
);
const attributesShape = list(
  structure({
    AttributeName: required(text({ min: 1, max: 255 })),
    AttributeType: required(choice(['B', 'N', 'S'])),
  }),
  { shownMember: 'AttributeDefinition' },
);
const indexMembers = {
  IndexName: required(resourceName),
  KeySchema: required(keySchemaShape),
  Projection: required(
    structure({
      ProjectionType: optional(choice(['ALL', 'INCLUDE', 'KEYS_ONLY'])),
      NonKeyAttributes: optional(list(text(), { min: 1, max: 20 })),
    }),
  ),
  ProvisionedThroughput: optional(throughputShape),
};
const indexShape = structure(indexMembers);
const billingMode = choice(['PROVISIONED', 'PAY_PER_REQUEST']);

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

function attributesOf(given: Described<typeof attributesShape>): Readonly<Record<string, KeyType>> {
  return Object.fromEntries(
    given.map(({ AttributeName, AttributeType }) => [AttributeName, AttributeType]),
  );
}

function keysOf(
  schema: Described<typeof keySchemaShape>,
  attributes: Readonly<Record<string, KeyType>>,
): KeySchema {
  const [first, second] = schema;
  const names = schema.map(({ AttributeName }) => AttributeName);
  if (names.some((name) => !Object.hasOwn(attributes, name))) {
    throw invalidParameters(
      `Some index key attributes are not defined in AttributeDefinitions. Keys: [${names.join(', ')}], AttributeDefinitions: [${Object.keys(attributes).join(', ')}]`,
    );
  }
  if (first === undefined || first.KeyType !== 'HASH') {
    throw invalid('Invalid KeySchema: The first KeySchemaElement is not a HASH key type');
  }
  if (second?.AttributeName === first.AttributeName) {
    throw invalid(
      'Both the Hash Key and the Range Key element in the KeySchema have the same name',
    );
  }
  if (second !== undefined && second.KeyType !== 'RANGE') {
    throw invalid('Invalid KeySchema: The second KeySchemaElement is not a RANGE key type');
  }
  return { hash: first.AttributeName, range: second?.AttributeName ?? null };
}

function throughputOf(
  mode: Described<typeof billingMode>,
  given: Described<typeof throughputShape> | undefined,
): Throughput | null {
  if (mode === 'PAY_PER_REQUEST') {
    if (given === undefined) return null;
    throw invalidParameters(
      'Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST',
    );
  }
  if (given === undefined) {
    throw invalidParameters(
      'ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED',
    );
  }
  return { read: given.ReadCapacityUnits, write: given.WriteCapacityUnits };
}

function indexesOf(
  given: readonly Described<typeof indexShape>[] | undefined,
  attributes: Readonly<Record<string, KeyType>>,
  throughput: Throughput | null,
): readonly IndexDefinition[] {
  if (given?.length === 0) throw invalidParameters('List of GlobalSecondaryIndexes is empty');
  const indexes = (given ?? []).map((index) => newIndex(index, attributes, throughput));
  checkIndexes(indexes);
  return indexes;
}

function newIndex(
  { IndexName, KeySchema, Projection, ProvisionedThroughput }: Described<typeof indexShape>,
  attributes: Readonly<Record<string, KeyType>>,
  tableThroughput: Throughput | null,
): IndexDefinition {
  const { ProjectionType, NonKeyAttributes } = Projection;
  if (ProjectionType === undefined) throw invalidParameters('Unknown ProjectionType: null');
  if (NonKeyAttributes !== undefined && ProjectionType !== 'INCLUDE') {
    throw invalidParameters(
      `ProjectionType is ${ProjectionType}, but NonKeyAttributes is specified`,
    );
  }
  if (tableThroughput === null && ProvisionedThroughput !== undefined) {
    throw invalidParameters(
      `ProvisionedThroughput should not be specified for index: ${IndexName} when BillingMode is PAY_PER_REQUEST`,
    );
  }
  return {
    ...keysOf(KeySchema, attributes),
    name: IndexName,
    projection: ProjectionType,
    included: NonKeyAttributes ?? [],
    throughput:
      ProvisionedThroughput === undefined
        ? tableThroughput
        : throughputOf('PROVISIONED', ProvisionedThroughput),
  };
}

function checkIndexes(indexes: readonly IndexDefinition[]): void {
  const names = indexes.map(({ name }) => name);
  const twice = names.find((name, place) => names.indexOf(name) < place);
  if (twice !== undefined) throw invalidParameters(`Duplicate index name: ${twice}`);
  if (indexes.length > indexesMax) {
    throw invalidParameters('GlobalSecondaryIndex count exceeds the per-table limit of 20');
  }
}

function checkAllUsed(definition: TableDefinition): void {
  const used = new Set([definition, ...definition.indexes].flatMap(keyNames));
  const defined = Object.keys(definition.attributes);
  if (defined.every((name) => used.has(name))) return;
  throw invalidParameters(
    definition.indexes.length === 0
      ? 'Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions'
      : `Some AttributeDefinitions are not used. AttributeDefinitions: [${defined.join(', ')}], keys used: [${[...used].join(', ')}]`,
  );
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

const indexUpdate = structure({
  Create: optional(indexShape),
  Update: optional(
    structure({
      IndexName: required(resourceName),
      ProvisionedThroughput: optional(throughputShape),
    }),
  ),
  Delete: optional(structure({ IndexName: required(resourceName) })),
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

/** Items whose attributes can not be keys of the index are not in it. */
function entriesOfNew(
  definition: TableDefinition,
  name: string,
): (body: string) => ReturnType<typeof entries> {
  const index = indexOf(definition, name);
  const alone = { ...definition, indexes: [index] };
  const entries = (body: string) => {
    const item = parseItem(body);
    const fits = keyNames(index).every((key) => {
      const value = item.get(key);
      if (value === undefined || value.type !== definition.attributes[key]) return false;
      return fitsIndex(value, key, index);
    });
    return fits ? (indexEntries(item, alone) ?? []) : [];
  };
  return entries;
}

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
  let { indexes } = definition;
  for (const { Create, Update, Delete } of updates) {
    if (Create !== undefined) {
      if (indexes.some(({ name }) => name === Create.IndexName)) {
        throw invalid(`Attempting to create an index which already exists: ${Create.IndexName}`);
      }
      indexes = [...indexes, newIndex(Create, attributes, throughput)];
    }
    if (Delete !== undefined) {
      const gone = known(indexes, Delete.IndexName);
      indexes = indexes.filter((index) => index !== gone);
    }
    if (Update?.ProvisionedThroughput !== undefined) {
      const { IndexName, ProvisionedThroughput } = Update;
      const updated = {
        ...known(indexes, IndexName),
        throughput: throughputOf('PROVISIONED', ProvisionedThroughput),
      };
      indexes = indexes.map((index) => (index.name === IndexName ? updated : index));
    }
  }
  checkIndexes(indexes);
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

function ofKeys(
  attributes: Readonly<Record<string, KeyType>>,
  schemas: readonly KeySchema[],
): Readonly<Record<string, KeyType>> {
  const used = new Set(schemas.flatMap(keyNames));
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => used.has(name)));
}

function known(indexes: readonly IndexDefinition[], name: string): IndexDefinition {
  const index = indexes.find((one) => one.name === name);
  if (index === undefined) throw notFound(`Requested resource not found: Index: ${name}`);
  return index;
}
