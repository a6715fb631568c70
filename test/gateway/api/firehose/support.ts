/** A real store behind the real HTTP server, and clients of the real SDK for Firehose. */
import type { TestContext } from 'node:test';
import { FirehoseClient } from '@aws-sdk/client-firehose';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Hono } from 'hono';
import { DeliveryStreams } from '../../../../gateway/api/firehose/delivery-streams.ts';
import type { Places } from '../../../../gateway/api/firehose/mapping/places.ts';
import { firehoseRoutes } from '../../../../gateway/api/firehose/routes.ts';
import { firehose } from '../../../../gateway/config/firehose.ts';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import type { AppEnv } from '../../../../gateway/http/authentication.ts';
import { createHttpServer } from '../../../../gateway/http/server.ts';
import { AwsAuthError } from '../../../../gateway/security/aws-error.ts';
import { localMasterKey } from '../../../../storage/keys.ts';
import { openStore, type Store } from '../../../../storage/store.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import { accountId, byKeyAlone } from '../kinesis/callers.ts';

export { accountId } from '../kinesis/callers.ts';

export const role = `arn:aws:iam::${accountId}:role/firehose`;
export const stateMs = 200;

export const bucketsAllowed: Places = firehose.parse({
  allowed: {
    buckets: ['archive', 'other'],
    hosts: ['logs.example.net:8088', 'search.example.net', 'warehouse.example.net'],
    functions: ['clean'],
  },
  s3: { endpoint: 'http://127.0.0.1:9', region: 'us-east-1' },
});

export interface ServeOptions {
  /** Of a store that was closed. */
  readonly folder?: string;
  readonly configured?: readonly DeliveryOptions[];
  readonly places?: Places;
  readonly streamsMax?: number;
  readonly secret?: Buffer;
  readonly maxQueuedBytes?: number;
}

export interface Served {
  readonly folder: string;
  readonly store: Store;
  readonly streams: DeliveryStreams;
  readonly clock: ManualClock;
  readonly logger: MemoryLogger;
  readonly url: string;
  readonly client: FirehoseClient;
  /** What is to run of what was made, as it was last brought in line. */
  readonly running: () => readonly DeliveryOptions[];
  readonly forgotten: readonly string[];
  /** Actions that are denied, e.g. `firehose:PutRecord`. */
  readonly denied: Set<string>;
  /** What was asked of the authorizer. */
  readonly asked: readonly string[];
  readonly audited: readonly string[];
  /** Asks by hand. */
  ask(operation: string, body: unknown): Promise<{ status: number; type: string; message: string }>;
  /** Stops it; a test that goes on opens the folder again. */
  close(): Promise<void>;
}

export async function serveFirehose(t: TestContext, options: ServeOptions = {}): Promise<Served> {
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const folder = options.folder ?? (await memoryFolder(t));
  const current = localMasterKey(Buffer.alloc(32, 7));
  const store = await openStore({
    ...{ folder, clock, logger, metrics },
    masterKeys: () => Promise.resolve({ current, previous: [] }),
    ...(options.maxQueuedBytes === undefined ? {} : { maxQueuedBytes: options.maxQueuedBytes }),
  });
  const account = { region: 'us-east-1', accountId };
  const streams = await DeliveryStreams.open({
    ...{ items: store.items, log: store.log, account, clock, logger, stateMs },
    secret: options.secret ?? Buffer.alloc(32, 7),
    configured: {
      deliveries: options.configured ?? [],
      places: options.places ?? bucketsAllowed,
      streamsMax: options.streamsMax ?? 10,
    },
  });
  let running = streams.deliveries();
  const forgotten: string[] = [];
  await streams.start({
    update: () => {
      running = streams.deliveries();
      return Promise.resolve();
    },
    forget: (name) => {
      forgotten.push(name);
      return Promise.resolve();
    },
  });
  const denied = new Set<string>();
  const asked: string[] = [];
  const audited: string[] = [];
  const routes = firehoseRoutes({
    context: { log: store.log, account, streams },
    authenticator: byKeyAlone,
    authorizer: {
      authorize(_caller, action, resource) {
        asked.push(`${action} ${resource}`);
        if (denied.has(action)) throw new AwsAuthError('AccessDeniedException', 'denied');
      },
    },
    audit: {
      record: ({ action, outcome }) => audited.push(`${action} ${outcome}`),
      countStranger: () => audited.push('a stranger'),
    },
    ...{ logger, metrics },
  });
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, clock, logger, metrics },
    fetch: new Hono<AppEnv>().route('/', routes).fetch,
    limits: { drainMs: 0 },
  });
  const client = new FirehoseClient({
    ...{ region: 'us-east-1', endpoint: server.url, maxAttempts: 1 },
    credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
    requestHandler: new NodeHttpHandler(),
  });
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    client.destroy();
    const closed = server.close();
    clock.advance(1);
    await closed;
    streams.close();
    await store.close();
  };
  const closeOnce = (): Promise<void> => (closing ??= close());
  t.after(closeOnce);
  return {
    ...{ folder, store, streams, clock, logger, client, forgotten, denied, asked, audited },
    url: server.url,
    running: () => running,
    ask: async (operation, body) => {
      const answer = await fetch(server.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-amz-json-1.1',
          'x-amz-target': `Firehose_20150804.${operation}`,
          authorization: 'AWS4-HMAC-SHA256 Credential=AKIATEST/x',
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      });
      const said = (await answer.json()) as Record<string, string>;
      return {
        status: answer.status,
        type: said['__type'] ?? '',
        message: said['message'] ?? said['Message'] ?? '',
      };
    },
    close: closeOnce,
  };
}

/** What records a stream of the log has, in the order of their shards. */
export async function recordsIn({ store }: Served, stream: string): Promise<string[]> {
  const texts: string[] = [];
  for (const { id } of store.log.stream(stream).shards) {
    const { records } = await store.log.read({
      ...{ shardId: id, fromSequence: 0, maxRecords: 10_000, maxBytes: 2 ** 26 },
    });
    texts.push(...records.map(({ data }) => data.toString('utf8')));
  }
  return texts;
}

/** The name of the error that a call ends with. */
export async function errorOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'none';
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}
