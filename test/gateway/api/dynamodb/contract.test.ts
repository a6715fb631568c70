/**
 * The same calls of the real SDK against dynalite, which is made after DynamoDB, and against the
 * gateway: the same answers and the same errors.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  BatchGetItemCommand,
  BatchWriteItemCommand,
  CreateTableCommand,
  DeleteItemCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  GetItemCommand,
  ListTablesCommand,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
  UpdateItemCommand,
  waitUntilTableExists,
  type AttributeValue,
  type DynamoDBClient,
} from '@aws-sdk/client-dynamodb';
import { startDynalite } from '../../../support/dynalite.ts';
import { clientOf, startTables } from './support.ts';

const TableName = 'leases';
const keyed = { TableName, Key: { group: { S: 'g' }, id: { N: '1' } } };
const other = { TableName, Key: { group: { S: 'g' }, id: { N: '2' } } };

type Call = (client: DynamoDBClient) => Promise<object>;

const create: Call = async (client) => {
  const { TableDescription } = await client.send(
    new CreateTableCommand({
      TableName,
      AttributeDefinitions: [
        { AttributeName: 'group', AttributeType: 'S' },
        { AttributeName: 'id', AttributeType: 'N' },
        { AttributeName: 'owner', AttributeType: 'S' },
      ],
      KeySchema: [
        { AttributeName: 'group', KeyType: 'HASH' },
        { AttributeName: 'id', KeyType: 'RANGE' },
      ],
      GlobalSecondaryIndexes: [
        {
          IndexName: 'by-owner',
          KeySchema: [
            { AttributeName: 'owner', KeyType: 'HASH' },
            { AttributeName: 'id', KeyType: 'RANGE' },
          ],
          Projection: { ProjectionType: 'KEYS_ONLY' },
          ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: 5 },
        },
      ],
      ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: 5 },
    }),
  );
  await waitUntilTableExists({ client, maxWaitTime: 10, minDelay: 1 }, { TableName });
  return TableDescription ?? {};
};

const put = (id: string, more: Record<string, AttributeValue> = {}): Call => {
  const Item = { group: { S: 'g' }, id: { N: id }, ...more };
  return (client) => client.send(new PutItemCommand({ TableName, Item }));
};
type Update = Partial<ConstructorParameters<typeof UpdateItemCommand>[0]>;
const update =
  (input: Update): Call =>
  (client) =>
    client.send(new UpdateItemCommand({ ...keyed, ...input }));
const get: Call = (client) => client.send(new GetItemCommand({ ...keyed, ConsistentRead: true }));

/** What is the business of the peer alone is left out; what is in no order is put into one. */
function comparable(answer: object): unknown {
  return JSON.parse(
    JSON.stringify(answer, (key, value: unknown) => {
      if (/^(\$metadata|TableId|CreationDateTime|IndexSizeBytes|TableSizeBytes)$/.test(key)) {
        return undefined;
      }
      if (key === 'DeletionProtectionEnabled' || key === 'ItemCount') return undefined;
      const isUnordered = /^(SS|NS|AttributeDefinitions)$/.test(key) && Array.isArray(value);
      return isUnordered
        ? [...(value as unknown[])].map((one) => JSON.stringify(one)).sort()
        : value;
    }),
  );
}

async function outcome(call: Call, client: DynamoDBClient): Promise<unknown> {
  try {
    return comparable(await call(client));
  } catch (error) {
    const { name, message } = error as Error;
    return { name, message };
  }
}

/** What is different on purpose, or by a mistake of the peer, is not in here: see COVERAGE.md. */
const sequences: Readonly<Record<string, readonly Call[]>> = {
  'a table and its description': [
    create,
    (client) => client.send(new DescribeTableCommand({ TableName })),
    (client) => client.send(new ListTablesCommand({})),
    (client) => client.send(new DescribeTimeToLiveCommand({ TableName })),
    (client) => client.send(new DescribeTableCommand({ TableName: 'no-such-table' })),
    (client) => client.send(new DeleteTableCommand({ TableName: 'no-such-table' })),
    (client) => client.send(new GetItemCommand({ ...keyed, TableName: 'no-such-table' })),
  ],
  'items with every type of value': [
    create,
    put('1', {
      s: { S: 'text ✓' },
      n: { N: '12.50e1' },
      b: { B: Buffer.from([0, 1, 255]) },
      yes: { BOOL: true },
      none: { NULL: true },
      ss: { SS: ['b', 'a'] },
      ns: { NS: ['1.0', '-2'] },
      l: { L: [{ S: 'x' }, { M: { y: { N: '0' } } }, { L: [] }] },
      m: { M: {} },
      empty: { S: '' },
    }),
    get,
    (client) =>
      client.send(
        new GetItemCommand({
          ...keyed,
          ProjectionExpression: '#s, l[1].y, l[0], nothing',
          ExpressionAttributeNames: { '#s': 's' },
        }),
      ),
    (client) => client.send(new GetItemCommand({ ...keyed, AttributesToGet: ['s', 'n'] })),
    (client) => client.send(new GetItemCommand(other)),
    (client) => client.send(new GetItemCommand({ ...keyed, ReturnConsumedCapacity: 'TOTAL' })),
  ],
  'values that are none': [
    create,
    put('1', { n: { N: 'x' } }),
    put('1', { n: { N: '' } }),
    put('1', { n: { N: '1'.repeat(39) } }),
    put('1', { n: { N: '1e126' } }),
    put('1', { n: { N: '1e-131' } }),
    put('1', { ss: { SS: [] } }),
    put('1', { ss: { SS: ['a', 'a'] } }),
    put('1', { ns: { NS: ['1', '1.0'] } }),
    put('1', { none: { NULL: false } }),
    put('1', { owner: { N: '1' } }),
    (client) => client.send(new PutItemCommand({ TableName, Item: { group: { S: 'g' } } })),
    (client) =>
      client.send(new PutItemCommand({ TableName, Item: { group: { S: 'g' }, id: { S: '1' } } })),
    (client) =>
      client.send(new PutItemCommand({ TableName, Item: { group: { S: '' }, id: { N: '1' } } })),
    (client) => client.send(new GetItemCommand({ TableName, Key: { group: { S: 'g' } } })),
    (client) =>
      client.send(new GetItemCommand({ TableName, Key: { group: { S: 'g' }, id: { S: '1' } } })),
    put('1', { large: { S: 'x'.repeat(410_000) } }),
  ],
  'puts and deletes on a condition': [
    create,
    (client) =>
      client.send(
        new PutItemCommand({
          TableName,
          Item: { ...keyed.Key, v: { N: '1' } },
          ConditionExpression: 'attribute_not_exists(id)',
        }),
      ),
    (client) =>
      client.send(
        new PutItemCommand({
          TableName,
          Item: { ...keyed.Key, v: { N: '2' } },
          ConditionExpression: 'attribute_not_exists(id)',
        }),
      ),
    (client) =>
      client.send(
        new PutItemCommand({
          TableName,
          Item: { ...keyed.Key, v: { N: '3' } },
          Expected: { v: { Exists: false } },
        }),
      ),
    (client) =>
      client.send(
        new PutItemCommand({
          TableName,
          Item: { ...keyed.Key, v: { N: '3' } },
          Expected: { v: { Value: { N: '1.0' } } },
          ReturnValues: 'ALL_OLD',
        }),
      ),
    (client) =>
      client.send(
        new DeleteItemCommand({
          ...keyed,
          ConditionExpression: 'v = :v',
          ExpressionAttributeValues: { ':v': { N: '9' } },
        }),
      ),
    (client) => client.send(new DeleteItemCommand({ ...keyed, ReturnValues: 'ALL_OLD' })),
    (client) => client.send(new DeleteItemCommand({ ...keyed, ReturnValues: 'ALL_OLD' })),
    get,
  ],
  'updates by expressions': [
    create,
    update({
      UpdateExpression: 'SET a = :a, #m = :m ADD n :n',
      ExpressionAttributeNames: { '#m': 'm' },
      ExpressionAttributeValues: {
        ':a': { S: 'x' },
        ':m': { M: { k: { L: [{ N: '1' }] } } },
        ':n': { N: '0.1' },
      },
      ReturnValues: 'ALL_NEW',
    }),
    update({
      UpdateExpression: 'SET n = n + :n, m.k[0] = :n, m.j = if_not_exists(m.j, a)',
      ExpressionAttributeValues: { ':n': { N: '0.2' } },
      ReturnValues: 'UPDATED_NEW',
    }),
    update({
      UpdateExpression: 'SET m.k = list_append(m.k, :l)',
      ExpressionAttributeValues: { ':l': { L: [{ S: 'z' }] } },
      ReturnValues: 'UPDATED_OLD',
    }),
    update({
      UpdateExpression: 'ADD tags :t DELETE moretags :t REMOVE a',
      ExpressionAttributeValues: { ':t': { SS: ['x'] } },
      ReturnValues: 'ALL_OLD',
    }),
    update({
      UpdateExpression: 'DELETE tags :t',
      ExpressionAttributeValues: { ':t': { SS: ['x'] } },
    }),
    get,
    update({
      UpdateExpression: 'SET a = :a',
      ConditionExpression: 'm.j = :a AND size(m.k) > :n',
      ExpressionAttributeValues: { ':a': { S: 'x' }, ':n': { N: '5' } },
    }),
    update({ UpdateExpression: 'SET a = nothing' }),
    update({ UpdateExpression: 'SET nothing.a = a' }),
    update({ UpdateExpression: 'SET a = n + m' }),
    update({ UpdateExpression: 'REMOVE m.k[0]', ReturnValues: 'ALL_NEW' }),
    update({
      UpdateExpression: 'SET id = :id',
      ExpressionAttributeValues: { ':id': { N: '7' } },
    }),
    get,
  ],
  'expressions that are wrong': [
    create,
    update({ UpdateExpression: '' }),
    update({ UpdateExpression: 'SET a = :a' }),
    update({ UpdateExpression: 'SET #a = a' }),
    update({
      UpdateExpression: 'SET b = a',
      ExpressionAttributeValues: { ':a': { S: 'x' } },
    }),
    update({ UpdateExpression: 'SET b = a', ExpressionAttributeNames: { '#a': 'a' } }),
    update({ ExpressionAttributeNames: { '#a': 'a' } }),
    update({ UpdateExpression: 'SET b = a', ExpressionAttributeNames: { a: 'a' } }),
    update({
      UpdateExpression: 'SET b = a',
      Expected: { a: { Exists: false } },
    }),
    update({ UpdateExpression: 'REMOVE a, a' }),
    update({ UpdateExpression: 'REMOVE a', ConditionExpression: 'nonsense(a)' }),
    update({ UpdateExpression: 'REMOVE a', ConditionExpression: 'begins_with(a)' }),
    update({ UpdateExpression: 'REMOVE a', ConditionExpression: 'size(a)' }),
    update({
      UpdateExpression: 'REMOVE a',
      ConditionExpression: 'attribute_exists(:a)',
      ExpressionAttributeValues: { ':a': { S: 'x' } },
    }),
  ],
  'what the Kinesis Client Library does with a lease, by the older parameters': [
    create,
    (client) =>
      client.send(
        new PutItemCommand({
          TableName,
          Item: { ...keyed.Key, leaseCounter: { N: '0' }, checkpoint: { S: 'TRIM_HORIZON' } },
          Expected: { id: { Exists: false } },
        }),
      ),
    update({
      AttributeUpdates: {
        leaseOwner: { Action: 'PUT', Value: { S: 'worker' } },
        leaseCounter: { Action: 'PUT', Value: { N: '1' } },
        ownerSwitchesSinceCheckpoint: { Action: 'ADD', Value: { N: '1' } },
        parentShardId: { Action: 'PUT', Value: { SS: ['shard-1', 'shard-2'] } },
      },
      Expected: { leaseCounter: { Value: { N: '0' } }, leaseOwner: { Exists: false } },
      ReturnValues: 'ALL_NEW',
    }),
    update({
      AttributeUpdates: { leaseCounter: { Action: 'PUT', Value: { N: '2' } } },
      Expected: { leaseCounter: { Value: { N: '0' } } },
    }),
    update({
      AttributeUpdates: {
        leaseOwner: { Action: 'DELETE' },
        leaseCounter: { Action: 'PUT', Value: { N: '2' } },
        parentShardId: { Action: 'DELETE', Value: { SS: ['shard-1'] } },
      },
      Expected: {
        leaseCounter: { ComparisonOperator: 'EQ', AttributeValueList: [{ N: '1' }] },
        leaseOwner: { ComparisonOperator: 'BEGINS_WITH', AttributeValueList: [{ S: 'work' }] },
        checkpoint: { ComparisonOperator: 'NOT_NULL' },
      },
      ReturnValues: 'ALL_OLD',
    }),
    get,
    update({ AttributeUpdates: { a: { Action: 'PUT' } } }),
    update({ AttributeUpdates: { a: { Action: 'ADD', Value: { S: 'x' } } } }),
    update({ AttributeUpdates: { a: { Action: 'DELETE', Value: { S: 'x' } } } }),
    update({ AttributeUpdates: { id: { Action: 'PUT', Value: { N: '1' } } } }),
    update({ Expected: { a: { Exists: true } } }),
    update({ Expected: { a: { Exists: false, Value: { S: 'x' } } } }),
    update({
      Expected: { a: { ComparisonOperator: 'BETWEEN', AttributeValueList: [{ S: 'x' }] } },
    }),
    (client) =>
      client.send(
        new DeleteItemCommand({ ...keyed, Expected: { leaseCounter: { Value: { N: '9' } } } }),
      ),
    (client) =>
      client.send(
        new DeleteItemCommand({ ...keyed, Expected: { leaseCounter: { Value: { N: '2' } } } }),
      ),
  ],
  'queries, forwards and backwards, page by page': [
    create,
    ...['3', '1', '-5', '0.5', '10', '2'].map((id) => put(id, { owner: { S: 'w' }, v: { S: id } })),
    put('4', { v: { S: 'without an owner' } }),
    ...[
      { KeyConditionExpression: '#g = :g' },
      { KeyConditionExpression: '#g = :g', ScanIndexForward: false },
      { KeyConditionExpression: '#g = :g AND id > :low' },
      { KeyConditionExpression: '(id <= :low) AND (#g = :g)' },
      { KeyConditionExpression: '#g = :g AND id BETWEEN :low AND :high' },
      { KeyConditionExpression: '#g = :g', Limit: 2 },
      { KeyConditionExpression: '#g = :g', Limit: 2, ScanIndexForward: false },
      { KeyConditionExpression: '#g = :g', FilterExpression: 'v = :low' },
      { KeyConditionExpression: '#g = :g', Select: 'COUNT' as const },
      {
        KeyConditionExpression: '#g = :g',
        ExclusiveStartKey: { group: { S: 'g' }, id: { N: '1' } },
      },
      {
        KeyConditionExpression: '#g = :g',
        ExclusiveStartKey: { group: { S: 'g' }, id: { N: '1' } },
        ScanIndexForward: false,
      },
      {
        KeyConditionExpression: '#g = :g',
        ExclusiveStartKey: { group: { S: 'f' }, id: { N: '1' } },
      },
      {
        KeyConditionExpression: '#g = :g',
        ExclusiveStartKey: { group: { S: 'h' }, id: { N: '1' } },
        ScanIndexForward: false,
      },
      {
        KeyConditionExpression: '#g = :g AND id > :low',
        ExclusiveStartKey: { group: { S: 'g' }, id: { N: '0' } },
      },
      { KeyConditionExpression: '#g <> :g' },
      { KeyConditionExpression: 'id = :low' },
      { KeyConditionExpression: '#g = :g AND v = :low' },
      { KeyConditionExpression: '#g = :g OR id = :low' },
    ].map((input): Call => {
      const expressions = Object.values(input).join(' ');
      const values: Record<string, AttributeValue> = {
        ':g': { S: 'g' },
        ':low': expressions.includes('v = :low') ? { S: '1' } : { N: '1' },
        ':high': { N: '3' },
      };
      const used = Object.entries(values).filter(([name]) => expressions.includes(name));
      return (client) =>
        client.send(
          new QueryCommand({
            TableName,
            ...input,
            ...(expressions.includes('#g') ? { ExpressionAttributeNames: { '#g': 'group' } } : {}),
            ExpressionAttributeValues: Object.fromEntries(used),
          }),
        );
    }),
    (client) =>
      client.send(
        new QueryCommand({
          TableName,
          KeyConditions: {
            group: { ComparisonOperator: 'EQ', AttributeValueList: [{ S: 'g' }] },
            id: { ComparisonOperator: 'GE', AttributeValueList: [{ N: '2' }] },
          },
          QueryFilter: { v: { ComparisonOperator: 'NE', AttributeValueList: [{ S: '10' }] } },
        }),
      ),
    (client) =>
      client.send(
        new QueryCommand({
          ...{ TableName, IndexName: 'by-owner', Limit: 4 },
          KeyConditionExpression: '#o = :o',
          ExpressionAttributeNames: { '#o': 'owner' },
          ExpressionAttributeValues: { ':o': { S: 'w' } },
        }),
      ),
    update({ UpdateExpression: 'REMOVE #o', ExpressionAttributeNames: { '#o': 'owner' } }),
    (client) =>
      client.send(
        new QueryCommand({
          ...{ TableName, IndexName: 'by-owner', ScanIndexForward: false },
          KeyConditionExpression: '#o = :o AND id >= :id',
          ExpressionAttributeNames: { '#o': 'owner' },
          ExpressionAttributeValues: { ':o': { S: 'w' }, ':id': { N: '0' } },
        }),
      ),
    (client) =>
      client.send(
        new QueryCommand({
          ...{ TableName, IndexName: 'no-index' },
          KeyConditionExpression: '#o = :o',
          ExpressionAttributeNames: { '#o': 'owner' },
          ExpressionAttributeValues: { ':o': { S: 'w' } },
        }),
      ),
  ],
  'scans and batches': [
    create,
    (client) =>
      client.send(
        new BatchWriteItemCommand({
          RequestItems: {
            [TableName]: ['1', '2', '3'].map((id) => ({
              PutRequest: { Item: { group: { S: 'g' }, id: { N: id }, v: { S: `v${id}` } } },
            })),
          },
        }),
      ),
    (client) => client.send(new ScanCommand({ TableName })),
    (client) =>
      client.send(
        new ScanCommand({
          TableName,
          FilterExpression: 'contains(v, :two)',
          ExpressionAttributeValues: { ':two': { S: '2' } },
        }),
      ),
    (client) =>
      client.send(
        new ScanCommand({
          TableName,
          ScanFilter: {
            v: { ComparisonOperator: 'IN', AttributeValueList: [{ S: 'v1' }, { S: 'v3' }] },
          },
        }),
      ),
    (client) => client.send(new ScanCommand({ TableName, Segment: 0, TotalSegments: 1 })),
    (client) => client.send(new ScanCommand({ TableName, Segment: 1, TotalSegments: 1 })),
    (client) => client.send(new ScanCommand({ TableName, Segment: 1 })),
    (client) => client.send(new ScanCommand({ TableName, TotalSegments: 4 })),
    (client) => client.send(new ScanCommand({ TableName, Select: 'COUNT' })),
    (client) =>
      client.send(
        new BatchGetItemCommand({
          RequestItems: { [TableName]: { Keys: [keyed.Key], ProjectionExpression: 'v' } },
        }),
      ),
    (client) =>
      client.send(
        new BatchWriteItemCommand({
          RequestItems: {
            [TableName]: [
              { DeleteRequest: { Key: keyed.Key } },
              { DeleteRequest: { Key: keyed.Key } },
            ],
          },
        }),
      ),
    (client) =>
      client.send(
        new BatchWriteItemCommand({
          RequestItems: { [TableName]: [{ DeleteRequest: { Key: keyed.Key } }] },
        }),
      ),
    (client) => client.send(new ScanCommand({ TableName, Limit: 1 })),
  ],
};

describe('the gateway answers as dynalite does:', () => {
  for (const [name, calls] of Object.entries(sequences)) {
    test(name, async (t) => {
      const peer = clientOf(t, await startDynalite(t));
      const { client } = await startTables(t);
      for (const [index, call] of calls.entries()) {
        const [expected, actual] = [await outcome(call, peer), await outcome(call, client)];
        assert.deepEqual(actual, expected, `call ${index}`);
      }
    });
  }
});
