/** Who is let in, what is answered to rubbish, and what dynalite has not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CreateTableCommand,
  DeleteTableCommand,
  DescribeContinuousBackupsCommand,
  DescribeTableCommand,
  ListTagsOfResourceCommand,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateContinuousBackupsCommand,
  UpdateItemCommand,
  UpdateTableCommand,
  type AttributeValue,
  type DynamoDBClient,
} from '@aws-sdk/client-dynamodb';
import { operations } from '../../../../gateway/api/dynamodb/operations/operations.ts';
import type { Answer } from '../kinesis/callers.ts';
import { startTables } from './support.ts';

const TableName = 'leases';
const arn = 'arn:aws:dynamodb:us-east-1:000000000000:table/leases';

async function create(client: DynamoDBClient, isProtected = false): Promise<void> {
  await client.send(
    new CreateTableCommand({
      TableName,
      AttributeDefinitions: [{ AttributeName: 'leaseKey', AttributeType: 'S' }],
      KeySchema: [{ AttributeName: 'leaseKey', KeyType: 'HASH' }],
      BillingMode: 'PAY_PER_REQUEST',
      DeletionProtectionEnabled: isProtected,
      Tags: [{ Key: 'plant', Value: 'one' }],
    }),
  );
}

async function put(client: DynamoDBClient, leaseKey: string, owner?: string): Promise<void> {
  const Item: Record<string, AttributeValue> = { leaseKey: { S: leaseKey } };
  if (owner !== undefined) Item['leaseOwner'] = { S: owner };
  await client.send(new PutItemCommand({ TableName, Item }));
}

test('each operation asks for permission for its table, and says what it does to tables', async (t) => {
  const tables = await startTables(t);
  const { client, asked, denied, audited } = tables;
  await create(client);
  await put(client, 'shard');
  denied.add('dynamodb:DeleteTable');
  await assert.rejects(client.send(new DeleteTableCommand({ TableName })), {
    name: 'AccessDeniedException',
  });
  assert.deepEqual(asked, [
    `dynamodb:CreateTable ${arn}`,
    `dynamodb:PutItem ${arn}`,
    `dynamodb:DeleteTable ${arn}`,
  ]);
  assert.deepEqual(audited, [
    'dynamodb:CreateTable ok',
    'dynamodb:DeleteTable AccessDeniedException',
  ]);
  await tables.ask('CreateTable', {}, { authorization: 'AWS4-HMAC-SHA256 Credential=OTHER/' });
  assert.equal(audited.at(-1), 'a stranger');
});

test('an index made later is asked for by its own name, and holds who has an owner', async (t) => {
  const { client, asked } = await startTables(t);
  await create(client);
  await put(client, 'shard-1', 'worker');
  await put(client, 'shard-2');
  const { TableDescription } = await client.send(
    new UpdateTableCommand({
      TableName,
      AttributeDefinitions: [
        { AttributeName: 'leaseKey', AttributeType: 'S' },
        { AttributeName: 'leaseOwner', AttributeType: 'S' },
      ],
      GlobalSecondaryIndexUpdates: [
        {
          Create: {
            IndexName: 'LeaseOwnerToLeaseKeyIndex',
            KeySchema: [
              { AttributeName: 'leaseOwner', KeyType: 'HASH' },
              { AttributeName: 'leaseKey', KeyType: 'RANGE' },
            ],
            Projection: { ProjectionType: 'KEYS_ONLY' },
          },
        },
      ],
    }),
  );
  assert.equal(TableDescription?.GlobalSecondaryIndexes?.[0]?.IndexStatus, 'CREATING');
  const { Table } = await client.send(new DescribeTableCommand({ TableName }));
  assert.equal(Table?.GlobalSecondaryIndexes?.[0]?.IndexStatus, 'ACTIVE');
  await put(client, 'shard-3', 'worker');
  const owned = new QueryCommand({
    TableName,
    IndexName: 'LeaseOwnerToLeaseKeyIndex',
    KeyConditionExpression: 'leaseOwner = :owner',
    ExpressionAttributeValues: { ':owner': { S: 'worker' } },
  });
  const { Items } = await client.send(owned);
  assert.deepEqual(
    Items?.map(({ leaseKey }) => leaseKey?.S),
    ['shard-1', 'shard-3'],
  );
  assert.equal(asked.at(-1), `dynamodb:Query ${arn}/index/LeaseOwnerToLeaseKeyIndex`);
  await client.send(
    new UpdateTableCommand({
      TableName,
      GlobalSecondaryIndexUpdates: [{ Delete: { IndexName: 'LeaseOwnerToLeaseKeyIndex' } }],
    }),
  );
  await assert.rejects(client.send(owned), /does not have the specified index/);
});

test('who fails on a condition is shown what is there, if that was asked for', async (t) => {
  const { client } = await startTables(t);
  await create(client);
  await put(client, 'shard', 'other');
  const update = new UpdateItemCommand({
    TableName,
    Key: { leaseKey: { S: 'shard' } },
    UpdateExpression: 'SET leaseOwner = :me',
    ConditionExpression: 'leaseOwner = :me',
    ExpressionAttributeValues: { ':me': { S: 'me' } },
    ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
  });
  await assert.rejects(client.send(update), {
    name: 'ConditionalCheckFailedException',
    message: 'The conditional request failed',
    Item: { leaseKey: { S: 'shard' }, leaseOwner: { S: 'other' } },
  });
});

test('segments of a scan have every item once, and pages every item of a large table', async (t) => {
  const { client } = await startTables(t);
  await create(client);
  const names = Array.from({ length: 60 }, (_, index) => `shard-${index}`);
  await Promise.all(names.map((name) => put(client, name, 'x'.repeat(60_000))));
  const seen: string[] = [];
  for (let Segment = 0; Segment < 3; Segment += 1) {
    let ExclusiveStartKey: Record<string, { S: string }> | undefined;
    do {
      const page = await client.send(
        new ScanCommand({ TableName, Segment, TotalSegments: 3, ExclusiveStartKey }),
      );
      seen.push(...(page.Items ?? []).map(({ leaseKey }) => leaseKey?.S ?? ''));
      assert.ok((page.Items?.length ?? 0) <= 18, 'a page is larger than a megabyte');
      ExclusiveStartKey = page.LastEvaluatedKey as typeof ExclusiveStartKey;
    } while (ExclusiveStartKey !== undefined);
  }
  assert.deepEqual(seen.sort(), names.sort());
});

test('an index is one at a time, of keys that fit, whose types stay', async (t) => {
  const tables = await startTables(t);
  const { client } = tables;
  await create(client);
  await put(client, 'kept', 'worker');
  await put(client, 'left out', 'x'.repeat(3_000));
  const makes = (name: string, type: string, ...more: string[]): Promise<Answer> =>
    tables.ask('UpdateTable', {
      TableName,
      AttributeDefinitions: [{ AttributeName: 'leaseOwner', AttributeType: type }],
      GlobalSecondaryIndexUpdates: [name, ...more].map((IndexName) => ({
        Create: {
          IndexName,
          KeySchema: [{ AttributeName: 'leaseOwner', KeyType: 'HASH' }],
          Projection: { ProjectionType: 'ALL' },
        },
      })),
    });
  const two = await makes('one', 'S', 'two');
  assert.match(String(two.body['__type']), /#LimitExceededException$/);
  assert.equal((await makes('one', 'S')).status, 200);
  const changed = await makes('two', 'N');
  assert.match(String(changed.body['message']), /types of the keys/);
  const { Items } = await client.send(new ScanCommand({ TableName, IndexName: 'one' }));
  assert.deepEqual(
    Items?.map(({ leaseKey }) => leaseKey?.S),
    ['kept'],
  );
  await assert.rejects(put(client, 'new', 'x'.repeat(3_000)), /Size of hashkey has exceeded/);
});

test('an item never gets deeper, step by step, than it could come', async (t) => {
  const { client } = await startTables(t);
  await create(client);
  const Key = { leaseKey: { S: 'deep' } };
  await client.send(new PutItemCommand({ TableName, Item: { ...Key, map: { M: {} } } }));
  const deepen = new UpdateItemCommand({
    ...{ TableName, Key },
    UpdateExpression: 'SET #m.inner = #m',
    ExpressionAttributeNames: { '#m': 'map' },
  });
  for (let depth = 1; depth <= 32; depth += 1) await client.send(deepen);
  await assert.rejects(client.send(deepen), /Nesting Levels have exceeded supported limits/);
  assert.equal((await client.send(new ScanCommand({ TableName }))).Count, 1);
});

test('what is kept of an item counts, however short it came', async (t) => {
  const { client, items } = await startTables(t);
  await create(client);
  const list = { L: Array.from({ length: 10_000 }, () => ({ N: '1e125' })) };
  for (const name of ['a', 'b']) {
    await client.send(new PutItemCommand({ TableName, Item: { leaseKey: { S: name }, list } }));
  }
  const table = items.table(TableName);
  assert.ok(table !== null);
  assert.ok((await items.counts(table)).bytes > 2 * 1_260_000);
  const page = await client.send(new ScanCommand({ TableName }));
  assert.equal(page.Count, 1);
  assert.deepEqual(page.LastEvaluatedKey, { leaseKey: { S: 'a' } });
});

test('tags, protection, and backups that there are not', async (t) => {
  const { client } = await startTables(t);
  await create(client, true);
  await assert.rejects(create(client), {
    name: 'ResourceInUseException',
    message: 'Table already exists: leases',
  });
  const tags = async (): Promise<unknown> => {
    const { Tags } = await client.send(new ListTagsOfResourceCommand({ ResourceArn: arn }));
    return Object.fromEntries((Tags ?? []).map(({ Key, Value }) => [Key, Value]));
  };
  await client.send(
    new TagResourceCommand({ ResourceArn: arn, Tags: [{ Key: 'line', Value: '2' }] }),
  );
  assert.deepEqual(await tags(), { plant: 'one', line: '2' });
  await client.send(new UntagResourceCommand({ ResourceArn: arn, TagKeys: ['plant'] }));
  assert.deepEqual(await tags(), { line: '2' });
  await assert.rejects(client.send(new DeleteTableCommand({ TableName })), /protected/);
  await client.send(new UpdateTableCommand({ TableName, DeletionProtectionEnabled: false }));
  const { ContinuousBackupsDescription: backups } = await client.send(
    new DescribeContinuousBackupsCommand({ TableName }),
  );
  assert.equal(backups?.PointInTimeRecoveryDescription?.PointInTimeRecoveryStatus, 'DISABLED');
  const enable = new UpdateContinuousBackupsCommand({
    TableName,
    PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
  });
  await assert.rejects(client.send(enable), { name: 'ValidationException' });
  await client.send(new DeleteTableCommand({ TableName }));
  await assert.rejects(client.send(new DescribeTableCommand({ TableName })), {
    name: 'ResourceNotFoundException',
  });
});

test('rubbish is refused in the service’s words, and nothing of it is logged as ours', async (t) => {
  const tables = await startTables(t);
  await create(tables.client);
  const types: readonly (readonly [string, unknown, string])[] = [
    ['GetItem', '', 'SerializationException'],
    ['GetItem', '{', 'SerializationException'],
    ['GetItem', '[]', 'SerializationException'],
    ['GetItem', 'null', 'SerializationException'],
    ['GetItem', { TableName: 5 }, 'SerializationException'],
    ['GetItem', { TableName, Key: [] }, 'SerializationException'],
    ['GetItem', { TableName, Key: { leaseKey: 'x' } }, 'SerializationException'],
    ['PutItem', { TableName, Item: { leaseKey: { S: 5 } } }, 'SerializationException'],
    ['PutItem', { TableName, Item: { leaseKey: { B: 'not base64' } } }, 'SerializationException'],
    ['PutItem', { TableName, Item: { leaseKey: { SS: 'x' } } }, 'SerializationException'],
    ['PutItem', { TableName, Item: { leaseKey: { M: [] } } }, 'SerializationException'],
    ['PutItem', { TableName, Item: { leaseKey: {} } }, 'ValidationException'],
    ['PutItem', { TableName, Item: { leaseKey: { S: 'x', N: '1' } } }, 'ValidationException'],
    ['GetItem', { TableName, Key: { leaseKey: { S: 'x'.repeat(2049) } } }, 'ValidationException'],
    ['GetItem', { TableName: 'x' }, 'ValidationException'],
    ['GetItem', { TableName: '../leases', Key: {} }, 'ValidationException'],
    ['Nonsense', {}, 'UnknownOperationException'],
    ['TransactWriteItems', {}, 'UnknownOperationException'],
    ['', {}, 'UnknownOperationException'],
    ['__proto__', {}, 'UnknownOperationException'],
  ];
  for (const [operation, body, type] of types) {
    const answer = await tables.ask(operation, body);
    assert.equal(String(answer.body['__type']).split('#')[1], type, JSON.stringify(body));
    assert.equal(answer.status, 400);
  }
  for (const name of operations.keys()) {
    const { status } = await tables.ask(name, {});
    assert.ok(status === 400 || name === 'ListTables', name);
  }
  const deep = '{"L":['.repeat(200) + '{"S":"x"}' + ']}'.repeat(200);
  const nested = await tables.ask(
    'PutItem',
    `{"TableName":"leases","Item":{"leaseKey":{"S":"x"},"deep":${deep}}}`,
  );
  assert.match(String(nested.body['message']), /Nesting Levels have exceeded supported limits/);
  const odd = '{"leaseKey":{"S":"odd"},"__proto__":{"S":"p"},"constructor":{"N":"1"}}';
  await tables.ask('PutItem', `{"TableName":"leases","Item":${odd}}`);
  const got = await tables.ask('GetItem', { TableName, Key: { leaseKey: { S: 'odd' } } });
  assert.deepEqual(got.body['Item'], JSON.parse(odd));
  const large = await tables.ask('PutItem', 'x'.repeat(16 * 2 ** 20));
  assert.equal(large.status, 413);
  const stranger = await tables.ask('ListTables', {}, { authorization: '' });
  assert.match(String(stranger.body['__type']), /UnrecognizedClient|MissingAuthentication/);
  assert.deepEqual(
    tables.logger.lines.filter(({ level }) => level === 'error'),
    [],
  );
});
