/** A real store behind the real HTTP server, and clients of the real SDK. */
import type { TestContext } from 'node:test';
import { KinesisClient, type KinesisClientConfig } from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Hono } from 'hono';
import { KinesisService } from '../../../../gateway/api/kinesis/kinesis.ts';
import { Metering } from '../../../../gateway/api/kinesis/metering.ts';
import type { AppEnv } from '../../../../gateway/http/authentication.ts';
import { createHttpServer, type HttpServer } from '../../../../gateway/http/server.ts';
import type { KeyPair } from '../../../../gateway/http/tls.ts';
import type { AwsAuthenticator } from '../../../../gateway/security/aws-authenticator.ts';
import { AwsAuthError } from '../../../../gateway/security/aws-error.ts';
import type { Authorizer } from '../../../../gateway/security/policies.ts';
import { localMasterKey } from '../../../../storage/keys.ts';
import type { Log } from '../../../../storage/model.ts';
import type { Clock } from '../../../../storage/ports.ts';
import { openStore, type MasterKeys } from '../../../../storage/store.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { accountId, byKeyAlone, jsonHeaders, type Answer } from './callers.ts';

export { accountId, jsonHeaders, type Answer } from './callers.ts';

export const arnPrefix = `arn:aws:kinesis:us-east-1:${accountId}:stream/`;
export const stateMs = 200;

export interface TestKinesis extends Omit<Served, 'server'> {
  readonly clock: ManualClock;
  readonly url: string;
  readonly port: number;
  /** Over HTTP/2 with prior knowledge, which is the SDK's default, or over HTTP/1.1. */
  client(protocol: 'h2c' | 'http1', config?: KinesisClientConfig): KinesisClient;
  /** Asks by hand. */
  ask(operation: string, body: unknown): Promise<Answer>;
  /** Makes a stream that is ACTIVE. */
  makeStream(name: string, shards?: number, mode?: 'provisioned' | 'on-demand'): Promise<void>;
}

export interface ServeOptions {
  readonly clock: Clock;
  readonly authenticator?: AwsAuthenticator;
  readonly enforceLimits?: boolean;
  readonly maxBytes?: number;
  readonly tls?: KeyPair;
}

export interface Served {
  readonly log: Log;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
  readonly metering: Metering;
  readonly server: HttpServer;
  readonly routes: Hono<AppEnv>;
  /** Actions that are denied, e.g. `kinesis:PutRecord`. */
  readonly denied: Set<string>;
  /** What was asked of the authorizer. */
  readonly asked: { action: string; resource: string; facts: Readonly<Record<string, string>> }[];
  /** Actions and outcomes that the audit log was told of. */
  readonly audited: string[];
  /** As the gateway does when it begins to stop. */
  readonly drain: () => void;
}

/** A store in a folder of the test's own, served until the test ends. */
export async function serveKinesis(context: TestContext, options: ServeOptions): Promise<Served> {
  const { clock } = options;
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const folder = await temporaryFolder(context);
  const current = localMasterKey(Buffer.alloc(32, 7));
  const masterKeys = (): Promise<MasterKeys> => Promise.resolve({ current, previous: [] });
  const metering = new Metering({ clock, metrics });
  const store = await openStore({
    ...{ folder, clock, logger, metrics, masterKeys },
    onAppended: metering.took,
  });
  context.after(() => store.close());
  const { log } = store;
  metering.start(log);
  context.after(() => {
    metering.close();
  });
  const denied = new Set<string>();
  const audited: string[] = [];
  const asked: Served['asked'] = [];
  const authorizer: Authorizer = {
    authorize(caller, action, resource, facts = {}) {
      asked.push({ action, resource, facts });
      if (!denied.has(action)) return;
      throw new AwsAuthError(
        'AccessDeniedException',
        `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${resource}`,
      );
    },
  };
  const service = new KinesisService({
    ...{ log, clock, logger, metrics, metering, authorizer, stateMs },
    authenticator: options.authenticator ?? byKeyAlone,
    audit: {
      record: (entry) => audited.push(`${entry.action} ${entry.outcome}`),
      countStranger: () => audited.push('a stranger'),
    },
    account: { region: 'us-east-1', accountId },
    secret: Buffer.alloc(32, 7),
    enforceLimits: options.enforceLimits ?? true,
    newStreams: {
      ...{ maxBytes: options.maxBytes ?? null, whenFull: 'refuse', encryption: 'aes-256-gcm' },
    },
  });
  context.after(() => {
    service.close();
  });
  const { routes } = service;
  const app = new Hono<AppEnv>().route('/', routes);
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, fetch: app.fetch, clock, logger, metrics },
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    limits: { drainMs: 0 },
  });
  context.after(async () => {
    const closed = server.close();
    if (clock instanceof ManualClock) clock.advance(1);
    await closed;
  });
  const drain = (): void => {
    service.drain();
  };
  return { log, logger, metrics, metering, server, routes, denied, asked, audited, drain };
}

export async function startKinesis(
  context: TestContext,
  options: Omit<ServeOptions, 'clock' | 'tls'> = {},
): Promise<TestKinesis> {
  const clock = new ManualClock();
  const { server, ...served } = await serveKinesis(context, { clock, ...options });
  const { log } = served;

  const client = (protocol: 'h2c' | 'http1', config: KinesisClientConfig = {}): KinesisClient => {
    const made = new KinesisClient({
      region: 'us-east-1',
      endpoint: server.url,
      credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
      maxAttempts: 1,
      ...(protocol === 'http1' ? { requestHandler: new NodeHttpHandler() } : {}),
      ...config,
    });
    context.after(() => {
      made.destroy();
    });
    return made;
  };
  const ask = async (operation: string, body: unknown): Promise<Answer> => {
    const response = await fetch(server.url, {
      method: 'POST',
      headers: { ...jsonHeaders, 'x-amz-target': `Kinesis_20131202.${operation}` },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
    };
  };
  const makeStream = async (
    name: string,
    shardCount = 1,
    mode: 'provisioned' | 'on-demand' = 'provisioned',
  ): Promise<void> => {
    await log.createStream({
      ...{ name, shardCount, mode, retentionMs: 86_400_000, maxBytes: null, whenFull: 'refuse' },
    });
  };
  return {
    ...served,
    ...{ clock, url: server.url, port: server.address.port },
    ...{ client, ask, makeStream },
  };
}
