/** A whole gateway that checks signatures: who may use which lease table, and what a kill leaves. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  CreateTableCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  ScanCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { GatewayProcess } from '../../../support/gateway.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { signed } from '../../security/signing.ts';
import { accountId } from '../kinesis/callers.ts';

const table = (name: string): string => `arn:aws:dynamodb:us-east-1:${accountId}:table/${name}`;

const policies: Readonly<Record<string, readonly object[]>> = {
  ADMIN: [],
  WORKER: [
    {
      ...{ Effect: 'Allow', Action: ['dynamodb:*Item', 'dynamodb:Scan'] },
      Resource: table('plant-*'),
    },
  ],
  STREAMS: [{ Effect: 'Allow', Action: 'kinesis:*', Resource: '*' }],
};
const secretOf = (key: string): string => `secret-of-${key}`;

function start(t: TestContext, folder: string): Promise<GatewayProcess> {
  const keys = Object.entries(policies).map(([name, statements]) => ({
    ...{ name, accessKeyId: `AKIA${name}`, secretAccessKey: secretOf(name) },
    policies: statements.map((Statement) => JSON.stringify({ Version: '2012-10-17', Statement })),
  }));
  return GatewayProcess.start(
    ...([t, folder] as const),
    `auth: { mode: sigv4, keys: ${JSON.stringify(keys)} }`,
  );
}

function clientOf(t: TestContext, endpoint: string, key: string, secret = secretOf(key)) {
  const client = new DynamoDBClient({
    ...{ region: 'us-east-1', endpoint, maxAttempts: 1 },
    credentials: { accessKeyId: `AKIA${key}`, secretAccessKey: secret },
  });
  t.after(() => {
    client.destroy();
  });
  return client;
}

function create(TableName: string): CreateTableCommand {
  return new CreateTableCommand({
    TableName,
    AttributeDefinitions: [{ AttributeName: 'leaseKey', AttributeType: 'S' }],
    KeySchema: [{ AttributeName: 'leaseKey', KeyType: 'HASH' }],
    BillingMode: 'PAY_PER_REQUEST',
  });
}

const Key = { leaseKey: { S: 'shard' } };

test('keys do with tables what their policies say, and what is acknowledged outlives a kill', async (t) => {
  const gateway = await start(t, await temporaryFolder(t));
  const admin = clientOf(t, gateway.url, 'ADMIN');
  const worker = clientOf(t, gateway.url, 'WORKER');
  await admin.send(create('plant-one'));
  await admin.send(create('office'));
  const put = (TableName: string): PutItemCommand =>
    new PutItemCommand({ TableName, Item: { ...Key, leaseCounter: { N: '0' } } });
  await worker.send(put('plant-one'));
  const denied = { name: 'AccessDeniedException' };
  await assert.rejects(worker.send(put('office')), denied);
  await assert.rejects(worker.send(create('plant-two')), denied);
  const ofIndex = new ScanCommand({ TableName: 'plant-one', IndexName: '../office' });
  await assert.rejects(worker.send(ofIndex), { name: 'ValidationException' });
  await assert.rejects(clientOf(t, gateway.url, 'STREAMS').send(put('plant-one')), denied);
  const impostor = clientOf(t, gateway.url, 'WORKER', 'another secret');
  await assert.rejects(impostor.send(put('plant-one')), { name: 'InvalidSignatureException' });
  assert.match(await signedForKinesis(gateway.url), /Exception$/);
  assert.equal((await worker.send(new ScanCommand({ TableName: 'plant-one' }))).Count, 1);
  assert.equal((await admin.send(new ScanCommand({ TableName: 'office' }))).Count, 0);

  const renew = (from: number): UpdateItemCommand =>
    new UpdateItemCommand({
      ...{ TableName: 'plant-one', Key },
      AttributeUpdates: { leaseCounter: { Action: 'PUT', Value: { N: String(from + 1) } } },
      Expected: { leaseCounter: { Value: { N: String(from) } } },
    });
  for (let count = 0; count < 20; count += 1) await worker.send(renew(count));
  await assert.rejects(worker.send(renew(7)), { name: 'ConditionalCheckFailedException' });
  await gateway.kill();
  await gateway.restart();
  const { Item } = await clientOf(t, gateway.url, 'WORKER').send(
    new GetItemCommand({ TableName: 'plant-one', Key }),
  );
  assert.deepEqual(Item?.['leaseCounter'], { N: '20' });
});

/** The error that a request gets whose signature is for another service. */
async function signedForKinesis(url: string): Promise<string> {
  const { headers: plain, body } = await signed({
    ...{ accessKeyId: 'AKIAADMIN', secretAccessKey: secretOf('ADMIN'), timeMs: Date.now() },
    ...{ service: 'kinesis', host: new URL(url).host },
    headers: { 'x-amz-target': 'DynamoDB_20120810.ListTables' },
    body: '{}',
  });
  const headers = new Headers(plain);
  headers.delete('host');
  const response = await fetch(url, { method: 'POST', headers, body: Buffer.from(body) });
  assert.notEqual(response.status, 200);
  const answer = (await response.json()) as { readonly __type: string };
  return answer.__type.split('#').at(-1) ?? '';
}
