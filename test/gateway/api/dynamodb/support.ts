/** Lease tables of a real store behind the real HTTP server, and the real SDK as their client. */
import type { TestContext } from 'node:test';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { Hono } from 'hono';
import { dynamoDbRoutes } from '../../../../gateway/api/dynamodb/routes.ts';
import type { AppEnv } from '../../../../gateway/http/authentication.ts';
import { createHttpServer } from '../../../../gateway/http/server.ts';
import { AwsAuthError } from '../../../../gateway/security/aws-error.ts';
import { systemClock } from '../../../../storage/clock.ts';
import type { Items } from '../../../../storage/items/items.ts';
import { openStore } from '../../../../storage/store.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { accountId, byKeyAlone, type Answer } from '../kinesis/callers.ts';

export interface TestTables {
  readonly url: string;
  readonly items: Items;
  readonly client: DynamoDBClient;
  readonly logger: MemoryLogger;
  /** What was asked of the authorizer: action and resource. */
  readonly asked: string[];
  /** Actions that are denied. */
  readonly denied: Set<string>;
  readonly audited: string[];
  /** Asks by hand; a text is sent as it is. */
  ask(operation: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
}

/** A client of tables anywhere. */
export function clientOf(context: TestContext, endpoint: string): DynamoDBClient {
  const client = new DynamoDBClient({
    ...{ region: 'us-east-1', endpoint, maxAttempts: 1 },
    credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
  });
  context.after(() => {
    client.destroy();
  });
  return client;
}

export async function startTables(context: TestContext): Promise<TestTables> {
  const clock = systemClock;
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const folder = await temporaryFolder(context);
  const store = await openStore({ folder, clock, logger, metrics });
  context.after(() => store.close());
  const asked: string[] = [];
  const audited: string[] = [];
  const denied = new Set<string>();
  const routes = dynamoDbRoutes({
    context: { items: store.items, account: { region: 'us-east-1', accountId } },
    authenticator: byKeyAlone,
    authorizer: {
      authorize(_caller, action, resource) {
        asked.push(`${action} ${resource}`);
        if (denied.has(action)) throw new AwsAuthError('AccessDeniedException', 'denied');
      },
    },
    audit: {
      record: (entry) => audited.push(`${entry.action} ${entry.outcome}`),
      countStranger: () => audited.push('a stranger'),
    },
    ...{ logger, metrics },
  });
  const app = new Hono<AppEnv>().route('/', routes);
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, fetch: app.fetch, clock, logger, metrics },
    limits: { drainMs: 0 },
  });
  context.after(() => server.close());
  return {
    ...{ url: server.url, items: store.items, logger, asked, denied, audited },
    client: clientOf(context, server.url),
    async ask(operation, body, headers = {}) {
      const response = await fetch(server.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-amz-json-1.0',
          'x-amz-target': `DynamoDB_20120810.${operation}`,
          authorization:
            'AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/dynamodb/aws4_request',
          ...headers,
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      });
      return {
        status: response.status,
        body: (await response.json()) as Record<string, unknown>,
      };
    },
  };
}
