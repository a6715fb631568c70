/**
 * Starts the AWS APIs: who may use them, what is written down of them, and what they answer: the
 * Kinesis API, the tables that its clients keep their leases in, and Firehose's.
 */
import { Hono } from 'hono';
import type { Log } from '../storage/model.ts';
import type { Store } from '../storage/store.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import { dynamoDbRoutes } from './api/dynamodb/routes.ts';
import type { DeliveryStreams } from './api/firehose/delivery-streams.ts';
import { firehoseRoutes } from './api/firehose/routes.ts';
import { KinesisService } from './api/kinesis/kinesis.ts';
import type { Metering } from './api/kinesis/metering.ts';
import { attributeOf, type Attribute } from './api/kinesis/stream-attributes.ts';
import type { Config } from './config/schema.ts';
import type { AppEnv } from './http/authentication.ts';
import { AuditLog } from './observe/audit.ts';
import { accessFolder } from './security/access-files.ts';
import { AccessKeys } from './security/access-keys.ts';
import { createAwsAuthenticator, type AwsAuthenticator } from './security/aws-authenticator.ts';
import { openMasterKeys } from './security/master-key.ts';
import { createAuthorizer, type Authorizer } from './security/policies.ts';
import type { Close, Stage } from './closing.ts';

/** What holds for a stream that is made over the API: as for one in the configuration. */
const newStreams = { maxBytes: 4e9, whenFull: 'refuse', encryption: 'aes-256-gcm' } as const;

export interface KinesisParts {
  readonly config: Config;
  readonly store: Store;
  readonly metering: Metering;
  readonly deliveryStreams: DeliveryStreams;
  /** Of this gateway. */
  readonly secret: Buffer;
  readonly onClose: (stage: Stage, name: string, close: Close) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface Kinesis {
  readonly routes: Hono<AppEnv>;
  /** Who asks and what they may, for the other services that are signed. */
  readonly authenticator: AwsAuthenticator;
  readonly authorizer: Authorizer;
  readonly audit: AuditLog;
  /** Takes over what may change while it runs: `auth.keys`, `firehose.enabled`. */
  update(config: Config): void;
}

/** Has a stream take aggregates apart, or not. @throws StorageError `not-found` */
export async function setAggregation(
  log: Log,
  name: string,
  wanted: Attribute<'aggregation'>,
): Promise<void> {
  if (attributeOf(log.stream(name), 'aggregation') === wanted) return;
  await log.setAttribute(name, 'aggregation', wanted);
}

/** @throws StorageError for a master key that can't be used */
export async function startKinesis(parts: KinesisParts): Promise<Kinesis> {
  const { config, store, clock, logger, metrics } = parts;
  const { current, previous } =
    store.masterKeys ?? (await openMasterKeys({ config, clock, fetch }));
  const keys = await AccessKeys.open({
    folder: accessFolder(config.dataDir),
    masterKey: current,
    previous,
    configured: config.auth.keys,
    clock,
  });
  const audit = await AuditLog.open({ folder: config.dataDir, clock, logger, metrics });
  parts.onClose('servers', 'the audit log', () => audit.close());
  const { accountId, region } = config.aws;
  const account = { accountId, region };
  const shared = {
    authenticator: createAwsAuthenticator({
      ...{ mode: config.auth.mode, accountId, region: null },
      ...{ keys, clock },
    }),
    authorizer: createAuthorizer({ keys, clock }),
    ...{ audit, logger, metrics },
  };
  const service = new KinesisService({
    ...shared,
    log: store.log,
    account,
    secret: parts.secret,
    enforceLimits: config.kinesis.enforceLimits,
    newStreams,
    metering: parts.metering,
    clock,
  });
  const routes = new Hono<AppEnv>();
  routes.route('/', dynamoDbRoutes({ ...shared, context: { items: store.items, account } }));
  let isFirehoseServed = config.firehose.enabled;
  routes.route(
    '/',
    firehoseRoutes({
      ...{ ...shared, isServed: () => isFirehoseServed },
      context: { log: store.log, account, streams: parts.deliveryStreams },
    }),
  );
  // It answers whatever names a target.
  routes.route('/', service.routes);
  parts.onClose('parts', 'subscriptions to shards', () => {
    service.drain();
  });
  parts.onClose('servers', 'Kinesis', () => {
    service.close();
  });
  return {
    routes,
    authenticator: shared.authenticator,
    authorizer: shared.authorizer,
    audit,
    update: (changed) => {
      keys.update(changed.auth.keys);
      isFirehoseServed = changed.firehose.enabled;
    },
  };
}
