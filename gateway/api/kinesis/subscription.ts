/**
 * One subscription to a shard: its events, made when they are asked for.
 *
 * - Nobody asks before the last event has been taken, so a slow reader costs one event, whatever
 *   lies in the shard; records stay in the log meanwhile.
 * - An event has as many records as fit its share of the memory; a single larger record waits for
 *   its turn among the large ones (subscriptions.ts).
 * - What was committed goes out at once. While nothing comes, an event without records every 5 s
 *   shows that the subscription stands, and how far it is.
 * - It ends after 5 minutes, at the end of a closed shard (the last event names the children), when
 *   another one takes over, when its consumer or stream is deleted, and when the gateway stops. A
 *   reader that has not taken the rest 10 s later is cut off.
 */
import type { ReadResult, ShardDescription, StreamDescription } from '../../../storage/model.ts';
import type { CancelTimer } from '../../../storage/ports.ts';
import type { KinesisError } from './errors.ts';
import type { GivenRecords } from './metering.ts';
import type { KinesisContext } from './operation.ts';
import { dataBytes, recordViews } from './records.ts';
import { SequenceNumbers } from './sequence-numbers.ts';
import { childViews } from './shard-views.ts';
import type { Throughput } from './throttling.ts';
import type { MadeList } from './wire.ts';

const lifeMs = 300_000;
const heartbeatMs = 5_000;
const graceMs = 10_000;
const recordsMax = 1_000;

/** `SubscribeToShardEvent` of the service model. */
export interface ShardEvent {
  readonly Records: MadeList | readonly never[];
  /** Left out at the end of the shard. */
  readonly ContinuationSequenceNumber: string | undefined;
  readonly MillisBehindLatest: number;
  readonly ChildShards: readonly object[] | undefined;
}

export interface SubscriptionOptions {
  readonly stream: StreamDescription;
  readonly shard: ShardDescription;
  /** The local sequence number of the first record wanted. */
  readonly sequence: number;
  /** null: as fast as it can be read. */
  readonly throughput: Throughput | null;
  readonly memory: EventMemory;
  /** An event was made. */
  readonly sent: (given: GivenRecords) => void;
  /** It is over, and holds nothing any more. */
  readonly closed: (subscription: Subscription) => void;
}

/** What the events of all subscriptions may take. */
export interface EventMemory {
  /** The data of one event, as things are. */
  eventBytesMax(): number;
  /** Resolves when there is room for a larger one; called back to give it up. */
  takeLarge(bytes: number): Promise<() => void>;
  /** Is told of encoded events that wait to be taken, and of those that were (below zero). */
  queued(bytes: number): void;
}

export class Subscription {
  readonly #context: Pick<KinesisContext, 'log' | 'clock' | 'account'>;
  readonly #options: SubscriptionOptions;
  readonly #numbers: SequenceNumbers;
  readonly #cancelLife: CancelTimer;
  #sequence: number;
  /** When the record before `#sequence` arrived; null: it is not known. */
  #arrivalMs: number | null = null;
  /** Of monotonic time; null: there was none yet. */
  #lastEventMs: number | null = null;
  #queuedBytes = 0;
  #giveUpLarge: (() => void) | null = null;
  /** Ends what it waits for. */
  #waiting: AbortController | null = null;
  #ended = false;
  #error: KinesisError | null = null;
  #isClosed = false;
  #cancelGrace: CancelTimer | null = null;
  #cut: () => void = () => undefined;

  constructor(
    context: Pick<KinesisContext, 'log' | 'clock' | 'account'>,
    options: SubscriptionOptions,
  ) {
    this.#context = context;
    this.#options = options;
    this.#numbers = new SequenceNumbers(options.shard);
    this.#sequence = options.sequence;
    this.#cancelLife = context.clock.setTimer(lifeMs, () => {
      this.end(null);
    });
  }

  /** @param cut breaks off the connection of a reader that does not take the end */
  connect(cut: () => void): void {
    this.#cut = cut;
  }

  /**
   * The next event, once there is one; null: that was the last. The one before was taken.
   * @throws KinesisError when something else than its time ended it; StorageError
   */
  async next(): Promise<ShardEvent | null> {
    this.#letGo();
    for (;;) {
      if (this.#error !== null) throw this.#error;
      if (this.#ended) return null;
      const paceMs = this.#options.throughput?.delayMs() ?? 0;
      if (paceMs > 0) {
        await this.#wait(paceMs, aborted);
        continue;
      }
      const read = await this.#read();
      const event = this.#eventOf(read);
      if (event === null) await this.#waitForRecords();
      else {
        this.#lastEventMs = this.#context.clock.monotonicMs();
        const { records } = read;
        const behindMs = event.MillisBehindLatest;
        this.#options.sent({ records: records.length, bytes: dataBytes(records), behindMs });
        return event;
      }
    }
  }

  /** The event as it is sent waits to be taken. */
  holds(bytes: number): void {
    this.#queuedBytes += bytes;
    this.#options.memory.queued(bytes);
  }

  /**
   * Nothing comes after what was asked for already.
   * @param error what the reader is told; null: it is over, as expected
   */
  end(error: KinesisError | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#cancelLife();
    this.#waiting?.abort();
    if (this.#isClosed) return;
    this.#cancelGrace = this.#context.clock.setTimer(graceMs, () => {
      this.#cut();
    });
  }

  /** The reader has all, or has gone. Twice is harmless. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.end(null);
    this.#cancelGrace?.();
    this.#letGo();
    this.#options.closed(this);
  }

  #letGo(): void {
    this.#options.memory.queued(-this.#queuedBytes);
    this.#queuedBytes = 0;
    this.#giveUpLarge?.();
    this.#giveUpLarge = null;
  }

  async #read(): Promise<ReadResult> {
    const { memory, shard } = this.#options;
    const maxBytes = memory.eventBytesMax();
    const wanted = { shardId: shard.id, fromSequence: this.#sequence, maxRecords: recordsMax };
    const read = await this.#context.log.read({ ...wanted, maxBytes });
    const bytes = dataBytes(read.records);
    if (bytes <= maxBytes) return read;
    // A record that is larger than an event: nobody holds it while it waits for room.
    const giveUp = await memory.takeLarge(bytes);
    if (this.#isClosed) giveUp();
    else this.#giveUpLarge = giveUp;
    return this.#context.log.read({ ...wanted, maxBytes });
  }

  /** null: there is nothing to tell yet. */
  #eventOf(read: ReadResult): ShardEvent | null {
    const { stream, shard, throughput } = this.#options;
    if (this.#ended) return null;
    const { records, nextSequence, millisBehind } = read;
    // What retention has taken away is not what a reader has to come back to.
    if (nextSequence !== this.#sequence) this.#arrivalMs = records.at(-1)?.arrivalMs ?? null;
    this.#sequence = nextSequence;
    if (records.length > 0) {
      throughput?.count(dataBytes(records));
      return this.#event(recordViews(records, shard, stream), millisBehind);
    }
    if (read.endOfShard) {
      this.end(null);
      const ChildShards = childViews(this.#context.log.stream(stream.name), shard);
      const last = { ContinuationSequenceNumber: undefined, ChildShards };
      return { Records: [], MillisBehindLatest: 0, ...last };
    }
    return read.recordsBehind === 0 && this.#heartbeatInMs() <= 0 ? this.#event([], 0) : null;
  }

  #event(Records: ShardEvent['Records'], MillisBehindLatest: number): ShardEvent {
    const continuation = { ContinuationSequenceNumber: this.#place(), ChildShards: undefined };
    return { Records, MillisBehindLatest, ...continuation };
  }

  /** The sequence number after which to go on. */
  #place(): string {
    if (this.#sequence === 0) return this.#numbers.beginning(this.#options.shard.createdMs);
    const arrivalMs = this.#arrivalMs ?? this.#context.clock.nowMs();
    return this.#numbers.of(this.#sequence - 1, arrivalMs);
  }

  #heartbeatInMs(): number {
    if (this.#lastEventMs === null) return 0;
    return this.#lastEventMs + heartbeatMs - this.#context.clock.monotonicMs();
  }

  #waitForRecords(): Promise<void> {
    const { log } = this.#context;
    return this.#wait(Math.max(0, this.#heartbeatInMs()), (signal) =>
      log.waitForRecords(this.#options.shard.id, this.#sequence, signal),
    );
  }

  /** Until what is waited for is there, time is up, or the subscription ends. */
  async #wait(forMs: number, wait: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#ended) return;
    const waiting = new AbortController();
    this.#waiting = waiting;
    const cancel = this.#context.clock.setTimer(forMs, () => {
      waiting.abort();
    });
    try {
      await wait(waiting.signal);
    } finally {
      cancel();
      this.#waiting = null;
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}
