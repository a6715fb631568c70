/** A real table (dynalite's) behind a server that checks signatures and misbehaves on demand. */
import {
  CreateTableCommand,
  DynamoDBClient,
  ScanCommand,
  type AttributeValue,
} from '@aws-sdk/client-dynamodb';
import type { Scope } from '../../../support/scope.ts';
import { startDynalite } from '../../../support/dynalite.ts';
import { credentials } from './servers.ts';
import { assertSigned } from './signature-check.ts';
import { startStub, type StubAnswer, type StubRequest, type StubServer } from './stub-server.ts';

export interface KeyPart {
  readonly name: string;
  readonly type: 'S' | 'N' | 'B';
}

export interface DynamoDbTable extends StubServer {
  readonly table: string;
  /** As DynamoDB has them. */
  items(): Promise<readonly Readonly<Record<string, AttributeValue>>[]>;
}

/** @param keys partition key first */
export async function startTable(
  context: Scope,
  keys: readonly KeyPart[] = [{ name: 'device', type: 'S' }],
): Promise<DynamoDbTable> {
  const endpoint = await startDynalite(context);
  const client = new DynamoDBClient({ endpoint, region: 'us-east-1', credentials });
  context.after(() => {
    client.destroy();
  });
  const table = 'devices';
  await client.send(
    new CreateTableCommand({
      TableName: table,
      BillingMode: 'PAY_PER_REQUEST',
      KeySchema: keys.map(({ name }, at) => ({
        AttributeName: name,
        KeyType: at === 0 ? 'HASH' : 'RANGE',
      })),
      AttributeDefinitions: keys.map(({ name, type }) => ({
        AttributeName: name,
        AttributeType: type,
      })),
    }),
  );
  const serve = async (request: StubRequest): Promise<StubAnswer> => {
    await assertSigned(request, 'dynamodb');
    const headers = Object.entries(request.headers).flatMap(([name, value]) =>
      typeof value === 'string' && !['connection', 'content-length'].includes(name)
        ? [[name, value] as const]
        : [],
    );
    const answer = await fetch(endpoint, {
      ...{ method: 'POST', headers: Object.fromEntries(headers) },
      body: new Uint8Array(request.body),
    });
    return { status: answer.status, body: await answer.text() };
  };
  const items = async (): Promise<readonly Readonly<Record<string, AttributeValue>>[]> => {
    const all: Record<string, AttributeValue>[] = [];
    for (let ExclusiveStartKey: Record<string, AttributeValue> | undefined; ;) {
      const page = await client.send(new ScanCommand({ TableName: table, ExclusiveStartKey }));
      all.push(...(page.Items ?? []));
      ExclusiveStartKey = page.LastEvaluatedKey;
      if (ExclusiveStartKey === undefined) return all;
    }
  };
  return { ...(await startStub(context, serve)), table, items };
}
