/** Tables: what is kept of one, how its items are keyed and indexed, and how it is described. */
import type { ItemKey, ItemTable } from '../../../storage/items/items.ts';
import type { IndexEntry } from '../../../storage/items/rows.ts';
import type { Account } from '../aws/account.ts';
import { invalid, invalidParameters, notFound } from './errors.ts';
import { keyBytes, type Item, type Value } from './values.ts';

export type KeyType = 'S' | 'N' | 'B';

export interface KeySchema {
  readonly hash: string;
  readonly range: string | null;
}

export interface Throughput {
  readonly read: number;
  readonly write: number;
}

export interface IndexDefinition extends KeySchema {
  readonly name: string;
  readonly projection: 'ALL' | 'KEYS_ONLY' | 'INCLUDE';
  readonly included: readonly string[];
  readonly throughput: Throughput | null;
}

/** What storage keeps as the definition of a table. */
export interface TableDefinition extends KeySchema {
  readonly id: string;
  /** Types of the attributes of keys, by name. */
  readonly attributes: Readonly<Record<string, KeyType>>;
  /** null: paid by request. */
  readonly throughput: Throughput | null;
  readonly indexes: readonly IndexDefinition[];
  readonly tags: Readonly<Record<string, string>>;
  readonly isProtected: boolean;
}

export function definitionOf(table: ItemTable): TableDefinition {
  return table.definition as TableDefinition;
}

export function tableArn({ region, accountId }: Account, name: string): string {
  return `arn:aws:dynamodb:${region}:${accountId}:table/${name}`;
}

/** @throws DynamoDbError for what is not the ARN of a table here */
export function tableNameOf(arn: string, account: Account): string {
  const prefix = tableArn(account, '');
  if (!/^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table\/[a-zA-Z0-9_.-]{3,255}$/.test(arn)) {
    throw invalidParameters('Invalid TableArn: Invalid ResourceArn provided as input ' + arn);
  }
  if (!arn.startsWith(prefix))
    throw notFound(`Requested resource not found: ResourceArn: ${arn} not found`);
  return arn.slice(prefix.length);
}

export function indexOf(definition: TableDefinition, name: string): IndexDefinition {
  const index = definition.indexes.find((one) => one.name === name);
  if (index !== undefined) return index;
  throw invalid(`The table does not have the specified index: ${name}`);
}

const hashBytesMax = 2048;
const rangeBytesMax = 1024;
const none = Buffer.alloc(0);

/** The key in `Key`, which must be that and nothing else. @throws DynamoDbError */
export function keyOf(key: Item, definition: TableDefinition): ItemKey {
  const names = keyNames(definition);
  const isWhole = names.every((name) => key.get(name)?.type === definition.attributes[name]);
  if (key.size !== names.length || !isWhole) {
    throw invalid('The provided key element does not match the schema');
  }
  return itemKey(key, definition, 'One or more parameter values were invalid: ');
}

/** The key of a whole item. @throws DynamoDbError */
export function keyOfItem(item: Item, definition: TableDefinition): ItemKey {
  for (const name of keyNames(definition)) {
    const actual = item.get(name)?.type;
    const expected = definition.attributes[name];
    if (actual === undefined) throw invalidParameters(`Missing the key ${name} in the item`);
    if (actual !== expected) {
      throw invalidParameters(
        `Type mismatch for key ${name} expected: ${String(expected)} actual: ${actual}`,
      );
    }
  }
  return itemKey(item, definition, 'One or more parameter values are not valid. ');
}

function itemKey(item: Item, { hash, range }: KeySchema, prefix: string): ItemKey {
  const bytesOf = (name: string): Buffer => {
    const value = item.get(name);
    const bytes = value === undefined ? null : keyBytes(value);
    if (bytes !== null && bytes.length > 0) return bytes;
    throw invalid(
      `${prefix}The AttributeValue for a key attribute cannot contain an empty ${value?.type === 'B' ? 'binary' : 'string'} value. Key: ${name}`,
    );
  };
  const key = { hash: bytesOf(hash), range: range === null ? none : bytesOf(range) };
  if (key.hash.length > hashBytesMax) {
    throw invalidParameters('Size of hashkey has exceeded the maximum size limit of2048 bytes');
  }
  if (key.range.length > rangeBytesMax) {
    throw invalidParameters(
      'Aggregated size of all range keys has exceeded the size limit of 1024 bytes',
    );
  }
  return key;
}

export function keyNames({ hash, range }: KeySchema): readonly string[] {
  return range === null ? [hash] : [hash, range];
}

/** The attributes that say where an item is, in the table or in an index of it. */
export function placeNames(definition: TableDefinition, index: IndexDefinition | null): string[] {
  return [...new Set([...(index === null ? [] : keyNames(index)), ...keyNames(definition)])];
}

export function only(item: Item, names: readonly string[]): Item {
  return new Map([...item].filter(([name]) => names.includes(name)));
}

/** An item is in an index when it has all of its keys. null: the table has no index. */
export function indexEntries(item: Item, definition: TableDefinition): IndexEntry[] | null {
  if (definition.indexes.length === 0) return null;
  return definition.indexes.flatMap((index) => {
    const entry = entryOf(item, index);
    return entry === null ? [] : [{ index: index.name, ...entry }];
  });
}

/** null: it is not in it. */
export function entryOf(item: Item, { hash, range }: KeySchema): ItemKey | null {
  const bytesOf = (name: string): Buffer | null => {
    const value = item.get(name);
    return value === undefined ? null : keyBytes(value);
  };
  const hashBytes = bytesOf(hash);
  const rangeBytes = range === null ? none : bytesOf(range);
  return hashBytes === null || rangeBytes === null ? null : { hash: hashBytes, range: rangeBytes };
}

/** What is to be a key of an index has to be of its type. @throws DynamoDbError */
export function checkIndexKeys(item: Item, { indexes, attributes }: TableDefinition): void {
  for (const index of indexes) {
    for (const name of keyNames(index)) {
      const value = item.get(name);
      if (value === undefined) continue;
      checkIndexKey(value, name, index.name, attributes[name]);
      if (!fitsIndex(value, name, index)) {
        throw invalidParameters(
          `Size of ${name === index.hash ? 'hashkey' : 'rangekey'} has exceeded the maximum size limit of ${name === index.hash ? hashBytesMax : rangeBytesMax} bytes. IndexName: ${index.name}, IndexKey: ${name}`,
        );
      }
    }
  }
}

/** Whether a value is short enough to be a key of an index, and not empty. */
export function fitsIndex(value: Value, name: string, { hash }: KeySchema): boolean {
  const bytes = keyBytes(value)?.length ?? 0;
  return bytes > 0 && bytes <= (name === hash ? hashBytesMax : rangeBytesMax);
}

function checkIndexKey(
  value: Value,
  name: string,
  index: string,
  expected: KeyType | undefined,
): void {
  if (value.type !== expected) {
    throw invalidParameters(
      `Type mismatch for Index Key ${name} Expected: ${String(expected)} Actual: ${value.type} IndexName: ${index}`,
    );
  }
  if ((keyBytes(value)?.length ?? 0) > 0) return;
  throw invalid(
    `One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty ${expected === 'B' ? 'binary' : 'string'} value. IndexName: ${index}, IndexKey: ${name}`,
  );
}

export type TableStatus = 'CREATING' | 'ACTIVE' | 'UPDATING' | 'DELETING';

/**
 * `TableDescription`.
 * @param making the index that is shown as being made
 */
export function describeTable(
  table: ItemTable,
  status: TableStatus,
  counts: { readonly items: number; readonly bytes: number },
  account: Account,
  making: string | null = null,
): object {
  const definition = definitionOf(table);
  const arn = tableArn(account, table.name);
  const { throughput, indexes } = definition;
  return {
    AttributeDefinitions: Object.entries(definition.attributes).map(
      ([AttributeName, AttributeType]) => ({ AttributeName, AttributeType }),
    ),
    TableName: table.name,
    KeySchema: describeKeys(definition),
    TableStatus: status,
    CreationDateTime: table.createdMs / 1000,
    ProvisionedThroughput: describeThroughput(throughput),
    TableSizeBytes: counts.bytes,
    ItemCount: counts.items,
    TableArn: arn,
    TableId: definition.id,
    ...(throughput === null
      ? {
          BillingModeSummary: {
            BillingMode: 'PAY_PER_REQUEST',
            LastUpdateToPayPerRequestDateTime: table.createdMs / 1000,
          },
        }
      : {}),
    ...(indexes.length === 0
      ? {}
      : {
          GlobalSecondaryIndexes: indexes.map((index) => ({
            IndexName: index.name,
            KeySchema: describeKeys(index),
            Projection: {
              ProjectionType: index.projection,
              ...(index.projection === 'INCLUDE' ? { NonKeyAttributes: index.included } : {}),
            },
            IndexStatus: status === 'CREATING' || index.name === making ? 'CREATING' : 'ACTIVE',
            ProvisionedThroughput: describeThroughput(index.throughput),
            // Of an index alone nothing is counted: it has no items of its own.
            IndexSizeBytes: 0,
            ItemCount: 0,
            IndexArn: `${arn}/index/${index.name}`,
          })),
        }),
    DeletionProtectionEnabled: definition.isProtected,
  };
}

function describeKeys({ hash, range }: KeySchema): readonly object[] {
  return [
    { AttributeName: hash, KeyType: 'HASH' },
    ...(range === null ? [] : [{ AttributeName: range, KeyType: 'RANGE' }]),
  ];
}

function describeThroughput(throughput: Throughput | null): object {
  return {
    NumberOfDecreasesToday: 0,
    ReadCapacityUnits: throughput?.read ?? 0,
    WriteCapacityUnits: throughput?.write ?? 0,
  };
}
