/**
 * One idempotent producer, and what it does not know yet.
 *
 * A broker tells a producer's batches to a partition apart by their sequence numbers, and drops one
 * that it has. So a batch whose answer was lost may be sent again with the same numbers, as long as
 * it is the same batch: another one with these numbers would be dropped, although nobody has it.
 * Therefore the session remembers which records each partition's unanswered batch was made of, and
 * those go again first, by themselves. A session is for one call at a time.
 *
 * A record's time in Kafka is that of its sending, and its arrival a header: brokers forget a producer
 * by the times of its records (producer.id.expiration.ms, a day), and records by theirs, so that what
 * comes after a long outage would be dropped early, or be there twice after a broker's crash.
 *
 * Every request is for one partition: the client counts a request that failed in part as if
 * nothing of it had been taken.
 */
import { murmur2, type Producer } from '@platformatic/kafka';
import { SinkError, type BatchItem, type Outcomes } from '../../sink.ts';
import { kafkaFailure } from './errors.ts';

export interface SessionOptions {
  readonly topic: string;
  /** The most that is put into one request, before compression. */
  readonly requestBytes: number;
}

/** About what a record has in a batch beside key and data: lengths, times, the headers. */
const overheadBytes = 120;
/** Numbers of a partition are of 31 bits; the client does not begin anew by itself. */
const recordsMax = 2 ** 30;
const idHeader = Buffer.from('headgate-id');
const arrivalHeader = Buffer.from('headgate-arrival-ms');

export class KafkaSession {
  readonly #producer: Producer;
  readonly #options: SessionOptions;
  /** Of partitions whose last batch has no answer: the ids of its records. */
  readonly #unanswered = new Map<number, readonly string[]>();
  #records = 0;
  #isLost = false;

  constructor(producer: Producer, options: SessionOptions) {
    this.#producer = producer;
    this.#options = options;
  }

  /** Whether it may be used for records that it has not seen. */
  get isFree(): boolean {
    return this.#unanswered.size === 0 && !this.#isLost && this.#records < recordsMax;
  }

  /** Whether what it waits for may be sent again. */
  get canGoOn(): boolean {
    return !this.#isLost;
  }

  /** @throws whatever the client does, when nothing was sent */
  async deliver(items: readonly BatchItem[]): Promise<Outcomes> {
    const partitions = await this.#partitionsOf(items);
    if (!this.#fits(partitions)) {
      // The topic has other partitions now, and what was sent lies in the old ones.
      await this.#producer.initIdempotentProducer({});
      this.#unanswered.clear();
    }
    const outcomes = new Map<BatchItem, SinkError | null>();
    await Promise.all(
      [...partitions].map(([partition, own]) => this.#send(partition, own, outcomes)),
    );
    return items.map((item) => outcomes.get(item) ?? null);
  }

  async #partitionsOf(items: readonly BatchItem[]): Promise<Map<number, BatchItem[]>> {
    const { topic } = this.#options;
    const { topics } = await this.#producer.metadata({ topics: [topic] });
    const count = topics.get(topic)?.partitionsCount ?? 0;
    if (count === 0) throw new SinkError('unavailable', `${topic} has no partitions yet`);
    const partitions = new Map<number, BatchItem[]>();
    for (const item of items) {
      // Where Kafka's own clients put a key: its hash without the sign.
      const partition = (murmur2(Buffer.from(item.partitionKey)) & 0x7fffffff) % count;
      const own = partitions.get(partition);
      if (own === undefined) partitions.set(partition, [item]);
      else own.push(item);
    }
    return partitions;
  }

  #fits(partitions: ReadonlyMap<number, readonly BatchItem[]>): boolean {
    return [...this.#unanswered].every(([partition, ids]) => {
      const own = partitions.get(partition) ?? [];
      return ids.every((id, index) => own[index]?.id === id);
    });
  }

  async #send(
    partition: number,
    items: readonly BatchItem[],
    outcomes: Map<BatchItem, SinkError | null>,
  ): Promise<void> {
    for (let left = items; left.length > 0;) {
      const length = this.#unanswered.get(partition)?.length ?? this.#fitting(left);
      const batch = left.slice(0, length);
      const failure = await this.#sendBatch(partition, batch, outcomes);
      left = left.slice(length);
      if (failure === null) continue;
      for (const item of left) {
        outcomes.set(item, new SinkError(failure.code, `after another: ${failure.message}`));
      }
      return;
    }
  }

  /** Returns what keeps the rest of the partition from being sent. */
  async #sendBatch(
    partition: number,
    batch: readonly BatchItem[],
    outcomes: Map<BatchItem, SinkError | null>,
  ): Promise<SinkError | null> {
    const { topic } = this.#options;
    const isRepeated = this.#unanswered.has(partition);
    this.#records += batch.length;
    this.#unanswered.set(
      partition,
      batch.map(({ id }) => id),
    );
    try {
      await this.#producer.send({
        messages: batch.map(({ id, partitionKey, data, arrivalMs }) => ({
          ...{ topic, partition, key: Buffer.from(partitionKey), value: data },
          headers: new Map([
            [idHeader, Buffer.from(id)],
            [arrivalHeader, Buffer.from(String(arrivalMs))],
          ]),
        })),
      });
      this.#unanswered.delete(partition);
      return null;
    } catch (thrown) {
      const { error, isRefused, isProducerLost } = kafkaFailure(thrown);
      // That a repetition is refused says nothing of the first time.
      if (isRefused && !isRepeated) this.#unanswered.delete(partition);
      this.#isLost ||= isProducerLost;
      const isOfRecords = error.code === 'too-large' || error.code === 'rejected';
      if (isOfRecords && batch.length > 1 && !isRepeated)
        return await this.#halve(partition, batch, outcomes);
      // The next producer finds out which of them it is.
      const isUnclear = isOfRecords && isRepeated;
      this.#isLost ||= isUnclear;
      const outcome = isUnclear ? new SinkError('unavailable', error.message) : error;
      for (const item of batch) outcomes.set(item, outcome);
      return isOfRecords && !isUnclear ? null : outcome;
    }
  }

  /** Finds the records that are refused; others of their batch are taken. */
  async #halve(
    partition: number,
    batch: readonly BatchItem[],
    outcomes: Map<BatchItem, SinkError | null>,
  ): Promise<SinkError | null> {
    const middle = batch.length >> 1;
    const [first, second] = [batch.slice(0, middle), batch.slice(middle)];
    const failure = await this.#sendBatch(partition, first, outcomes);
    if (failure === null) return this.#sendBatch(partition, second, outcomes);
    for (const item of second) outcomes.set(item, failure);
    return failure;
  }

  /** How many of them go into one request; one at least. */
  #fitting(items: readonly BatchItem[]): number {
    let bytes = 0;
    const past = items.findIndex(({ partitionKey, data }) => {
      bytes += data.length + Buffer.byteLength(partitionKey) + overheadBytes;
      return bytes > this.#options.requestBytes;
    });
    return past === -1 ? items.length : Math.max(1, past);
  }

  close(): Promise<void> {
    return closeProducer(this.#producer);
  }
}

/** Ends its connections; what is under way on them fails. */
export function closeProducer(producer: Producer): Promise<void> {
  return producer.close();
}
