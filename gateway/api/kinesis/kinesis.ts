/** Puts the Kinesis API together: what its operations work with, and its routes. */
import type { Hono } from 'hono';
import type { Log } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import type { AppEnv } from '../../http/authentication.ts';
import type { Account } from '../aws/account.ts';
import { ShardIterators } from './iterators.ts';
import type { Metering } from './metering.ts';
import type { KinesisContext, NewStreams } from './operation.ts';
import { PageTokens } from './page-tokens.ts';
import { kinesisRoutes } from './routes.ts';
import { Sealer } from '../aws/sealing.ts';
import type { ServiceOptions } from '../aws/service.ts';
import { StreamAttributes } from './stream-attributes.ts';
import { StreamStates } from './stream-states.ts';
import { Subscriptions } from './subscriptions.ts';
import { ShardLimits } from './throttling.ts';

export interface KinesisOptions extends ServiceOptions {
  readonly log: Log;
  readonly account: Account;
  /** Of this gateway: iterators and tokens are sealed with a key made from it. */
  readonly secret: Buffer;
  /** Whether provisioned streams keep to the limits of their shards. */
  readonly enforceLimits: boolean;
  readonly newStreams: NewStreams;
  readonly metering: Metering;
  /** How long CREATING, UPDATING and DELETING are shown; 200 ms. */
  readonly stateMs?: number;
  readonly clock: Clock;
}

/**
 * @example
 * const kinesis = new KinesisService({ log: store.log, account, secret, … });
 * createApp({ …, kinesis: kinesis.routes });
 */
export class KinesisService {
  readonly routes: Hono<AppEnv>;
  readonly #states: StreamStates;
  readonly #subscriptions: Subscriptions;

  constructor(options: KinesisOptions) {
    const { log, clock, account, secret, stateMs } = options;
    this.#states = new StreamStates({
      clock,
      ...(stateMs === undefined ? {} : { durationMs: stateMs }),
    });
    this.#subscriptions = new Subscriptions(clock, options.metrics);
    const sealer = new Sealer(secret, clock);
    const context: KinesisContext = {
      ...{ log, clock, account },
      states: this.#states,
      attributes: new StreamAttributes(log),
      iterators: new ShardIterators(sealer, clock),
      pageTokens: new PageTokens(sealer, clock),
      limits: options.enforceLimits ? new ShardLimits(clock) : null,
      newStreams: options.newStreams,
      subscriptions: this.#subscriptions,
      metering: options.metering,
    };
    const { authenticator, authorizer, audit, logger, metrics } = options;
    this.routes = kinesisRoutes({ context, authenticator, authorizer, audit, logger, metrics });
  }

  /** Ends what would be answered for minutes, before the server waits for its answers. */
  drain(): void {
    this.#subscriptions.close();
  }

  /** What is shown of changes ends; calling it twice is harmless. */
  close(): void {
    this.drain();
    this.#states.close();
  }
}
