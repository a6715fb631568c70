/**
 * A consumer of a stream: one worker of an application, which shares the stream's shards with the
 * application's other workers, wherever they run. `import { startConsumer } from 'headgate/consumer'`.
 *
 * Promises
 * - At least once: the checkpoint moves when `emit` has resolved, so every record is emitted, and
 *   again after a crash or a lost lease. In order per partition key, also over splits and merges:
 *   parents are read to their end before their children.
 * - A worker that is told to close finishes its batches, moves the checkpoints and gives the leases
 *   back. One that dies loses them when their duration is over.
 * - A worker that was superseded can't checkpoint, and is not given anything more to emit. What it
 *   had begun to emit carries a lower `fence` than its successor's.
 * - Errors of the gateway and of `emit` are tried again, later and later, for ten seconds at most.
 *
 * Leases are renewed and balanced over the REST API; what they promise stands in
 * `api/rest/applications.ts`.
 */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { systemClock } from '../../storage/clock.ts';
import type { Clock, Logger } from '../../storage/ports.ts';
import { planLeases } from './balance.ts';
import { ApplicationClient, ConsumerError, type Start } from './client.ts';
import { ShardHold } from './shard-hold.ts';
import { consumeShard, type Emit, type ShardWorkerOptions } from './shard-worker.ts';
import { Delays, pause } from './waits.ts';

export { ConsumerError, type Start } from './client.ts';
export type { Batch, ConsumedRecord, Emit } from './shard-worker.ts';

/** Each shard waits with a request of its own; with more of them, they ask in turn instead. */
const waitingShardsMax = 32;
const waitSeconds = 20;
/** Of asking in turn: so many milliseconds per shard, a hundred requests a second in all. */
const turnMs = 10;

export interface ConsumerOptions {
  /** Where the gateway is: `http://127.0.0.1:8080`. */
  readonly url: string;
  /** What `headgate token` prints. */
  readonly token?: string;
  /** Sent with every request, where there is something else than a token to prove who asks. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly stream: string;
  /** 1 to 128 letters, digits, _ . -; made if it is not there. */
  readonly application: string;
  readonly emit: Emit;
  /** Where to begin when the application is new to the stream; TRIM_HORIZON. */
  readonly start?: Start;
  /** Names this worker; a random name unless given. Never use one twice at a time. */
  readonly owner?: string;
  /** How long a lease stands without renewal, 1,000 to 300,000; 30,000. */
  readonly leaseMs?: number;
  /** Shards at once, at most; as many as there are. */
  readonly shardsMax?: number;
  /** Records in a batch, 1 to 1,000; 1,000. */
  readonly batchRecords?: number;
  /** How long `close` waits for batches under way; 10,000. */
  readonly closeMs?: number;
  readonly fetch?: typeof fetch;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly random?: () => number;
}

export interface Consumer {
  readonly owner: string;
  /** Indexes of the shards that it reads now. */
  shards(): readonly number[];
  /**
   * Resolves once it was closed; rejects with a ConsumerError when the gateway refuses what no
   * waiting mends: the token, the application or the stream is gone.
   */
  readonly ended: Promise<void>;
  /** Finishes the batches under way and hands the shards over. Twice is harmless. */
  close(): Promise<void>;
}

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

/**
 * Starts a worker.
 * @throws ConsumerError when the gateway does not answer, or refuses
 *
 * @example
 * const consumer = await startConsumer({
 *   url: 'http://127.0.0.1:8080', token, stream: 'readings', application: 'billing',
 *   emit: async ({ records, fence, signal }) => save(records, fence, signal),
 * });
 * // … until it is time to leave:
 * await consumer.close();
 */
export async function startConsumer(options: ConsumerOptions): Promise<Consumer> {
  const { token } = options;
  const clock = options.clock ?? systemClock;
  const client = new ApplicationClient({
    ...options,
    headers: {
      ...options.headers,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    fetch: options.fetch ?? fetch,
    clock,
  });
  await client.ensure();
  await client.shards();
  return new StreamConsumer(options, client, clock);
}

class StreamConsumer implements Consumer {
  readonly owner: string;
  readonly ended: Promise<void>;
  readonly #options: ConsumerOptions;
  readonly #client: ApplicationClient;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #random: () => number;
  readonly #leaseMs: number;
  readonly #stop = new AbortController();
  readonly #abandon = new AbortController();
  readonly #running = new Map<number, Promise<void>>();
  #freeBefore: ReadonlySet<number> = new Set();
  /** Ends the pause before the next look at the leases. */
  #lookNow = new AbortController();

  constructor(options: ConsumerOptions, client: ApplicationClient, clock: Clock) {
    this.owner = options.owner ?? randomUUID();
    this.#options = options;
    this.#client = client;
    this.#clock = clock;
    this.#logger = options.logger ?? silent;
    this.#random = options.random ?? Math.random;
    this.#leaseMs = options.leaseMs ?? 30_000;
    // Every shard listens to it.
    setMaxListeners(0, this.#abandon.signal);
    this.ended = this.#run();
    // Who only closes it hears of a failure there.
    this.ended.catch(() => undefined);
  }

  shards(): readonly number[] {
    return [...this.#running.keys()].sort((a, b) => a - b);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#lookNow.abort();
    const cancel = this.#clock.setTimer(this.#options.closeMs ?? 10_000, () => {
      this.#abandon.abort();
    });
    try {
      await this.ended;
    } finally {
      cancel();
    }
  }

  async #run(): Promise<void> {
    // The clock's timers let the process end, and while no shard is read there is nothing else.
    const alive = setInterval(() => undefined, 2 ** 30);
    const delays = new Delays(this.#random);
    try {
      while (!this.#stop.signal.aborted) {
        let delayMs = this.#leaseMs / 6;
        this.#lookNow = new AbortController();
        try {
          await this.#look();
          delays.succeeded();
        } catch (error) {
          if (!(error instanceof ConsumerError && error.retryable)) throw error;
          this.#logger.warn({ error }, 'the leases could not be looked at');
          delayMs = delays.failed();
        }
        await pause(this.#clock, delayMs, this.#lookNow.signal);
      }
    } finally {
      this.#stop.abort();
      await Promise.all(this.#running.values());
      clearInterval(alive);
    }
  }

  /** Looks who has what, takes what is due and asks for what is missing. */
  async #look(): Promise<void> {
    const plan = planLeases({
      shards: await this.#client.shards(),
      owner: this.owner,
      running: new Set(this.#running.keys()),
      shardsMax: this.#options.shardsMax ?? Number.POSITIVE_INFINITY,
      freeBefore: this.#freeBefore,
      random: this.#random,
    });
    this.#freeBefore = plan.free;
    const ends = await Promise.allSettled([
      ...plan.take.map((shard) => this.#take(shard)),
      ...plan.ask.map((shard) => this.#client.want(shard, this.owner)),
    ]);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }

  async #take(shard: number): Promise<void> {
    try {
      const hold = await ShardHold.acquire(
        {
          client: this.#client,
          owner: this.owner,
          leaseMs: this.#leaseMs,
          start: this.#options.start ?? 'TRIM_HORIZON',
          clock: this.#clock,
          logger: this.#logger,
          random: this.#random,
        },
        shard,
      );
      this.#running.set(shard, this.#work(hold));
    } catch (error) {
      // Another worker was quicker, or what the shard waits for is not read yet after all.
      const lateCodes = ['lease-held', 'parents-first'];
      if (!(error instanceof ConsumerError && lateCodes.includes(error.code))) throw error;
    }
  }

  /** Never rejects. */
  async #work(hold: ShardHold): Promise<void> {
    const { shard, fence } = hold;
    this.#logger.info({ shard, fence, checkpoint: hold.checkpoint }, 'a shard is read');
    try {
      const end = await consumeShard(this.#workerOptions(hold));
      this.#logger.info({ shard, end, checkpoint: hold.checkpoint }, 'a shard is let go');
      // Its children can be read now.
      if (end === 'finished') this.#lookNow.abort();
    } catch (error) {
      this.#logger.warn({ shard, error }, 'a shard could not be read');
    } finally {
      this.#running.delete(shard);
    }
  }

  #workerOptions(hold: ShardHold): ShardWorkerOptions {
    const { stream, emit, batchRecords = 1_000 } = this.#options;
    return {
      client: this.#client,
      hold,
      ...{ stream, emit, batchRecords },
      waiting: () => {
        const inTurn = this.#running.size > waitingShardsMax;
        return inTurn
          ? { waitSeconds: 0, pauseMs: this.#running.size * turnMs }
          : { waitSeconds, pauseMs: 0 };
      },
      stop: this.#stop.signal,
      abandon: this.#abandon.signal,
      clock: this.#clock,
      logger: this.#logger,
      random: this.#random,
    };
  }
}
