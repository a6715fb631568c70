/**
 * The subscriptions that are open (subscription.ts): who has which, and the memory they share.
 *
 * - A consumer has one subscription to a shard. Another call within 5 s of a successful one is
 *   refused, whatever became of that; a later one takes over.
 * - Events that wait to be taken hold at most 32 MiB of data together, each its share of it; records
 *   that are larger than a share have 32 MiB of their own, one after the other where they must.
 */
import { ReadBudget } from '../../../storage/log/read-budget.ts';
import type { Clock, Gauge, Metrics } from '../../../storage/ports.ts';
import { KinesisError, notFound } from './errors.ts';
import type { KinesisContext } from './operation.ts';
import { shardIdOf } from './sequence-numbers.ts';
import { Subscription, type EventMemory, type SubscriptionOptions } from './subscription.ts';

const openMax = 2_000;
const exclusiveMs = 5_000;
const memoryBytesMax = 32 * 2 ** 20;
const eventBytesLeast = 16 * 1024;
const eventBytesMost = 256 * 1024;

export interface SubscriptionRequest extends Pick<
  SubscriptionOptions,
  'stream' | 'shard' | 'sequence' | 'throughput'
> {
  readonly consumer: { readonly arn: string; readonly name: string };
}

interface Entry {
  readonly subscription: Subscription;
  readonly consumerArn: string;
  readonly sinceMs: number;
}

export class Subscriptions {
  readonly #clock: Clock;
  readonly #open = new Set<Subscription>();
  /** The last successful call for each consumer and shard, while it counts. */
  readonly #entries = new Map<string, Entry>();
  readonly #large = new ReadBudget(memoryBytesMax);
  readonly #openGauge: Gauge;
  readonly #queuedGauge: Gauge;
  #queuedBytes = 0;
  #isClosed = false;
  readonly #memory: EventMemory;

  constructor(clock: Clock, metrics: Metrics) {
    this.#clock = clock;
    this.#openGauge = metrics.gauge(
      'headgate_kinesis_subscriptions',
      'Subscriptions to shards that are open now.',
    );
    this.#queuedGauge = metrics.gauge(
      'headgate_kinesis_subscription_queued_bytes',
      'Bytes of events that subscribers have not taken yet.',
    );
    this.#memory = {
      eventBytesMax: () => eventBytesFor(this.#open.size),
      takeLarge: (bytes) => this.#large.take(bytes),
      queued: (bytes) => {
        this.#queuedBytes += bytes;
        this.#queuedGauge.set(this.#queuedBytes);
      },
    };
  }

  /** @throws KinesisError `ResourceInUseException`, `LimitExceededException`, `ServiceUnavailable` */
  open(request: SubscriptionRequest, context: KinesisContext): Subscription {
    const { consumer, stream, shard } = request;
    const { accountId } = context.account;
    if (this.#isClosed) throw new KinesisError('ServiceUnavailable', 'The gateway is closing.');
    const key = `${consumer.arn} ${shard.id}`;
    const before = this.#entries.get(key);
    const who = `${accountId}:${stream.name}:${consumer.name}:${shardIdOf(shard.index)}`;
    const inUse = new KinesisError(
      'ResourceInUseException',
      `Another active subscription exists for this consumer: ${who}`,
    );
    const { metering } = context;
    if (before !== undefined && this.#clock.monotonicMs() - before.sinceMs < exclusiveMs) {
      metering.subscribed(stream, consumer.name, 'RateExceeded');
      throw inUse;
    }
    if (this.#open.size >= openMax) {
      metering.subscribed(stream, consumer.name, 'RateExceeded');
      throw new KinesisError(
        'LimitExceededException',
        `This gateway has ${openMax} subscriptions to shards at once, and no more.`,
      );
    }
    before?.subscription.end(inUse);
    const subscription = new Subscription(context, {
      ...request,
      memory: this.#memory,
      sent: (given) => {
        metering.sent(stream, shard.index, consumer.name, given);
      },
      closed: () => {
        this.#open.delete(subscription);
        this.#openGauge.set(this.#open.size);
        this.#forget(key, entry);
      },
    });
    const sinceMs = this.#clock.monotonicMs();
    const entry: Entry = { subscription, consumerArn: consumer.arn, sinceMs };
    metering.subscribed(stream, consumer.name, 'Success');
    this.#entries.set(key, entry);
    this.#open.add(subscription);
    this.#openGauge.set(this.#open.size);
    return subscription;
  }

  /** The consumer was deregistered. */
  endOf(consumerArn: string): void {
    for (const { subscription, consumerArn: arn } of this.#entries.values()) {
      if (arn === consumerArn) subscription.end(notFound(`Consumer ${arn} not found.`));
    }
  }

  /** Ends all of them, and opens no more; twice is harmless. */
  close(): void {
    this.#isClosed = true;
    for (const subscription of this.#open) subscription.end(null);
  }

  /** One that is over still keeps others away until its 5 s are. */
  #forget(key: string, entry: Entry): void {
    const leftMs = entry.sinceMs + exclusiveMs - this.#clock.monotonicMs();
    const forget = (): void => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    };
    if (leftMs <= 0) forget();
    else this.#clock.setTimer(leftMs, forget);
  }
}

/** The share of one event when so many are open. */
function eventBytesFor(open: number): number {
  const share = Math.floor(memoryBytesMax / Math.max(1, open));
  return Math.min(Math.max(share, eventBytesLeast), eventBytesMost);
}
