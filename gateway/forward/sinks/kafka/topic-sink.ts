/**
 * Records into a topic of Kafka: acknowledged by all replicas in sync, by key and partition as
 * Kafka's own clients have them, with the record's id in the header `headgate-id` and
 * its time of arrival in `headgate-arrival-ms`.
 *
 * The producer is idempotent, so a record is there once whatever happens to connections and brokers
 * while the gateway runs: see `session.ts`. What was on its way when the gateway ended, or was called
 * off in the middle, goes again by another producer, and may be there twice, with the same id.
 *
 * Calls for several shards run side by side, each with a producer of its own; one that has something
 * to send again is kept for just that. The client's own retries are off: a call makes one attempt.
 *
 * Sources: Apache Kafka, protocol guide; KIP-98 (idempotent producer).
 */
import { createHash } from 'node:crypto';
import { Producer, type ProducerOptions, type SASLOptions } from '@platformatic/kafka';
import type { Batch, BatchItem, Outcomes } from '../../sink.ts';
import { readTlsFiles, unlessCalledOff } from '../connection.ts';
import { kafkaError } from './errors.ts';
import type { KafkaSinkOptions } from './kafka-sink.ts';
import { closeProducer, KafkaSession } from './session.ts';

const defaults = { connectTimeoutMs: 10_000, requestTimeoutMs: 30_000 } as const;
/** Sessions that are kept for what they may have to send again; the oldest gives way. */
const waitingMax = 64;
/** Those that are kept for the next call. */
const idleMax = 4;
const mechanisms = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
} as const;

export class TopicSink {
  readonly #options: KafkaSinkOptions;
  readonly #idle: KafkaSession[] = [];
  /** By the ids of the records that have to come again first, in order. */
  readonly #waiting = new Map<string, KafkaSession>();
  /** All that are open, those in use included. */
  readonly #sessions = new Set<KafkaSession>();
  /** Being closed; nobody waits for them but `close`. */
  readonly #closing = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: KafkaSinkOptions) {
    this.#options = options;
  }

  async deliver({ items }: Batch, signal: AbortSignal): Promise<Outcomes> {
    // When it is called off, what is under way still ends, and its session is put away.
    return unlessCalledOff(signal, async () => {
      const session = this.#take(items) ?? (await this.#open());
      try {
        const outcomes = await session.deliver(items);
        this.#putAway(session, items, outcomes);
        return outcomes;
      } catch (error) {
        const failure = kafkaError(error);
        this.#putAway(
          session,
          items,
          items.map(() => failure),
        );
        throw failure;
      }
    });
  }

  async check(signal: AbortSignal): Promise<string> {
    return unlessCalledOff(signal, async () => {
      const { topic } = this.#options;
      const producer = await this.#producer();
      try {
        const { topics, brokers } = await producer.metadata({ topics: [topic] });
        const partitions = topics.get(topic)?.partitionsCount ?? 0;
        return `topic ${topic} is there: ${partitions} partitions, ${brokers.size} brokers`;
      } catch (error) {
        throw kafkaError(error);
      } finally {
        await closeProducer(producer);
      }
    });
  }

  /** The one that waits for just these, or one that waits for nothing. */
  #take(items: readonly BatchItem[]): KafkaSession | null {
    const name = nameOf(items);
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    return waiting ?? this.#idle.pop() ?? null;
  }

  #putAway(session: KafkaSession, items: readonly BatchItem[], outcomes: Outcomes): void {
    if (!this.#isClosed && session.isFree && this.#idle.length < idleMax) {
      this.#idle.push(session);
      return;
    }
    // Those that are refused as they are do not come again.
    const left = items.filter((_, index) => {
      const code = outcomes[index]?.code;
      return code !== undefined && code !== 'too-large' && code !== 'rejected';
    });
    if (this.#isClosed || session.isFree || !session.canGoOn || left.length === 0) {
      this.#discard(session);
      return;
    }
    this.#waiting.set(nameOf(left), session);
    const [oldest] = this.#waiting;
    if (oldest === undefined || this.#waiting.size <= waitingMax) return;
    this.#waiting.delete(oldest[0]);
    this.#discard(oldest[1]);
  }

  #discard(session: KafkaSession): void {
    this.#sessions.delete(session);
    const closing = session.close().catch(() => undefined);
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }

  async #open(): Promise<KafkaSession> {
    const { topic, requestBytes } = this.#options;
    const producer = await this.#producer();
    try {
      await producer.initIdempotentProducer({});
    } catch (error) {
      await closeProducer(producer);
      throw kafkaError(error);
    }
    const session = new KafkaSession(producer, { topic, requestBytes });
    this.#sessions.add(session);
    return session;
  }

  async #producer(): Promise<Producer> {
    const { brokers, compression, connectTimeoutMs, requestTimeoutMs, tls } = this.#options;
    const requestTimeout = requestTimeoutMs ?? defaults.requestTimeoutMs;
    const options: ProducerOptions<Buffer, Buffer, Buffer, Buffer> = {
      clientId: 'headgate',
      bootstrapBrokers: [...brokers],
      idempotent: true,
      retries: false,
      compression,
      connectTimeout: connectTimeoutMs ?? defaults.connectTimeoutMs,
      requestTimeout,
      // The broker gives up waiting for its replicas before we give up waiting for it.
      timeout: Math.floor(requestTimeout * 0.8),
      ...(tls && { tls: { ...(await readTlsFiles(this.#options)) }, tlsServerName: true }),
      ...this.#sasl(),
    };
    return new Producer(options);
  }

  #sasl(): { readonly sasl?: SASLOptions } {
    const { sasl, username, password } = this.#options;
    if (sasl === 'none') return {};
    return {
      sasl: {
        mechanism: mechanisms[sasl],
        username: username ?? '',
        password: password ?? '',
      },
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#idle.length = 0;
    this.#waiting.clear();
    for (const session of this.#sessions) this.#discard(session);
    await Promise.all(this.#closing);
  }
}

function nameOf(items: readonly BatchItem[]): string {
  const hash = createHash('sha256');
  for (const { id } of items) hash.update(id);
  return hash.digest('hex');
}
