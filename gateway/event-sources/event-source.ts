/**
 * One event source: Lambda's event source mapping for a stream. An application that reads its shards
 * (`follow-shards.ts`), and a worker for each of them under supervision (`shard-worker.ts`); besides, while
 * that is asked for, one that hands over again what was given up (`failed-batches.ts`).
 *
 * - One worker per shard: one that is stuck holds up no other.
 * - `startAt` counts only while there is no checkpoint anywhere; what comes to be later (children of
 *   a reshard) is always read from its beginning.
 * - Paused, no call is begun, and its leases stay. Rewound, it is stopped, put elsewhere, and begun again.
 */
import type {
  Lease,
  Log,
  ShardDescription,
  StreamDescription,
  VideoStore,
} from '../../storage/model.ts';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import { shardsBacklog, type Backlog } from '../forward/backlog.ts';
import { hasExpired, unlessGone } from '../forward/expired.ts';
import { Steered, Steering } from '../forward/flow/steering.ts';
import { ShardFollower } from '../forward/follow-shards.ts';
import { LeaseKeeper } from '../forward/lease-keeper.ts';
import type { Account } from '../forward/record-plans.ts';
import type { RemoteFunction } from '../functions/function.ts';
import { payloadBytesMax } from '../functions/limits.ts';
import { openFunction } from '../functions/open.ts';
import type { SupervisedTask, Supervisor, TaskContext } from '../supervisor.ts';
import { applicationOf, replayApplicationOf, stateApplicationsOf } from './applications.ts';
import { deadLettersOf, type DeadLetters } from './dead-letters.ts';
import { Events, type BatchEvents } from './event.ts';
import type { FailedBatches, FailedStatus, NewestFailure } from './failed-batches.ts';
import { failedBatchesAt, keepPlace } from './letter-places.ts';
import { Metering, type GivenUpCount, type LambdaMetrics } from './metering.ts';
import type { EventSourceOptions } from './options.ts';
import { compileFilter } from './pattern.ts';
import { Pausing, type FunctionHeld } from './pausing.ts';
import { settleAgain } from './replaying.ts';
import { Settler, type SettleOptions } from './settle.ts';
import { workShard } from './shard-worker.ts';
import { Troubles } from './troubles.ts';
import { forgetAhead, WindowStates } from './window-states.ts';

/** The worker that hands over again what was given up. */
const replayWorker = 'replay';
/** That what was given up can't be read is a trouble of its own, which nothing waits for. */
const deadLetterTrouble = 'dead-letter';

export interface EventSourcePorts {
  readonly log: Log;
  readonly video: VideoStore;
  /** Of this process, for leases. */
  readonly owner: string;
  readonly supervisor: Supervisor;
  readonly account: Account;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly fetch: typeof fetch;
  /** 0 inclusive to 1 exclusive */
  readonly random: () => number;
}

export interface EventSourceStatus {
  readonly name: string;
  readonly stream: string;
  readonly function: { readonly kind: RemoteFunction['kind']; readonly description: string };
  readonly deadLetter: string | null;
  /** What was given up, kept, and not done since; null: nothing is kept, or a trouble tells why it is unknown. */
  readonly failed: FailedStatus | null;
  readonly required: boolean;
  /** Why nothing is begun; null: it is not held back. */
  readonly held: FunctionHeld | null;
  /** `backing-off`: something fails and is tried again; `waiting`: it is held back. */
  readonly state: 'starting' | 'running' | 'backing-off' | 'waiting';
  /** What goes wrong now; null: nothing. */
  readonly trouble: string | null;
  /** What to do about that; null: nothing but to wait. */
  readonly advice: string | null;
  /** Since when it is counted: the start, of the gateway or with another configuration. */
  readonly sinceMs: number;
  /** Records that are done, or given up, since then. */
  readonly records: number;
  /** What was given up since then. */
  readonly givenUp: {
    /** In the dead letter. */
    readonly kept: GivenUpCount;
    /** Kept nowhere. */
    readonly gone: GivenUpCount;
    readonly newest: NewestFailure | null;
  };
  readonly backlog: Backlog;
  readonly metrics: LambdaMetrics;
}

export class EventSource extends Steered {
  readonly #options: EventSourceOptions;
  readonly #ports: EventSourcePorts;
  readonly #application: string;
  readonly #called: RemoteFunction;
  readonly #deadLetters: DeadLetters | null;
  readonly #metering: Metering;
  readonly #logger: Logger;
  readonly #filter: ReturnType<typeof compileFilter>;
  readonly #failed: FailedBatches | null;
  readonly #pausing: Pausing;
  readonly #shards: ShardFollower;
  readonly #workers = new Map<string, SupervisedTask>();
  readonly #troubles: Troubles;
  /** Last: it starts the task. Rewound, the state of a window is forgotten with the place. */
  protected readonly steering: Steering;

  /** Starts it. */
  constructor(options: EventSourceOptions, ports: EventSourcePorts) {
    super();
    this.#options = options;
    this.#ports = ports;
    this.#application = applicationOf(options.name);
    this.#logger = ports.logger.child({ function: options.name });
    this.#called = openFunction(withLanes(options), {
      ...{ clock: ports.clock, logger: this.#logger, fetch: ports.fetch },
      ...{ timeoutMs: options.timeoutSeconds * 1_000, answerBytesMax: payloadBytesMax },
    });
    const { deadLetter, name } = options;
    this.#failed = deadLetter && failedBatchesAt(deadLetter, name, ports);
    this.#deadLetters = deadLettersOf(options, ports.log, () => this.#failed?.changed());
    this.#metering = new Metering(options.name, ports.clock, ports.metrics);
    this.#troubles = new Troubles(ports.clock, this.#logger);
    this.#filter = compileFilter(options.filter);
    this.#pausing = new Pausing(options.name, options.paused, ports.clock);
    this.#shards = new ShardFollower(ports);
    this.steering = new Steering({
      ...{ reader: { application: this.#application, from: options.from }, what: 'a function' },
      ...{ ...ports, flow: this.#pausing, logger: this.#logger },
      applications: stateApplicationsOf(options.name),
      start: () =>
        ports.supervisor.start({
          name: `function/${options.name}`,
          run: (context) => this.#run(context),
        }),
      ensureApplications: () => this.#ensureApplications(),
      close: async (task) => {
        await task.stop();
        await this.#called.close();
      },
    });
  }

  /** How it fares now. The backlog is counted afresh. @throws StorageError */
  async status(): Promise<EventSourceStatus> {
    const { log, clock } = this.#ports;
    const { name, from, required } = this.#options;
    const { held } = this.#pausing;
    // First: that it can't be read is a trouble.
    const failed = await this.#lookAtFailed();
    const tasks = [this.steering.task, ...this.#workers.values()].map((task) => task.status());
    const failure = tasks.find(({ failure }) => failure !== null)?.failure ?? null;
    const { now: trouble, lastGivenUp: newest } = this.#troubles;
    return {
      name,
      stream: from.stream,
      function: { kind: this.#called.kind, description: this.#called.description },
      deadLetter: this.#deadLetters?.description ?? null,
      ...{ failed, held, required },
      state: held !== null ? 'waiting' : this.#state(tasks.map(({ state }) => state)),
      trouble: trouble?.message ?? failure?.message ?? null,
      advice: trouble?.advice ?? null,
      sinceMs: this.#metering.sinceMs,
      records: this.#metering.records,
      givenUp: { ...this.#metering.givenUp, newest },
      backlog: (await shardsBacklog(log, from.stream, this.#leases(), clock)).all,
      metrics: this.#metering.lambda(),
    };
  }

  /**
   * Hands over again what has failed by now and was kept; a restart goes on with it.
   * @returns how many batches that are; null: nothing is kept
   * @throws StorageError, SinkError
   */
  async replay(): Promise<number | null> {
    const batches = await this.#failed?.askForReplay();
    this.#shards.wake();
    return batches ?? null;
  }

  #state(tasks: readonly string[]): EventSourceStatus['state'] {
    if (this.#troubles.now !== null || tasks.includes('backing-off')) return 'backing-off';
    return tasks.includes('starting') ? 'starting' : 'running';
  }

  #leases(): readonly Lease[] {
    const all = this.#ports.log.applications.list();
    return all.find(({ name }) => name === this.#application)?.leases ?? [];
  }

  async #run(context: TaskContext): Promise<void> {
    await this.#ensureApplications();
    this.#pausing.setPaused((await this.steering.kept()).pausedMs);
    try {
      await this.#shards.follow(this.#options.from.stream, context, {
        takeCheckpoints: async (stream) => {
          await this.#begin(stream);
          await this.#resumeReplay();
        },
        start: (shard, _stream, finished) => {
          if (!this.#options.paused) this.#startShard(shard, finished);
        },
      });
    } finally {
      await Promise.all([...this.#workers.values()].map((worker) => worker.stop()));
    }
  }

  async #ensureApplications(): Promise<void> {
    const { applications } = this.#ports.log;
    const { required, tumblingWindowSeconds, name } = this.#options;
    await applications.ensure({ name: this.#application, required });
    await keepPlace(this.#ports.log, this.#options);
    for (const state of tumblingWindowSeconds > 0 ? stateApplicationsOf(name) : []) {
      await applications.ensure({ name: state, required: false });
    }
  }

  /** Gives every shard a checkpoint, so that what comes is kept from now on. */
  async #begin(stream: StreamDescription): Promise<void> {
    const { log } = this.#ports;
    const known = new Set(this.#leases().map(({ source }) => source.id));
    const isFirst = !stream.shards.some(({ id }) => known.has(id));
    const starts = [];
    for (const shard of stream.shards) {
      if (known.has(shard.id)) continue;
      const position = isFirst ? await this.#startOf(shard) : shard.trimSequence;
      starts.push({ source: { kind: 'shard', id: shard.id } as const, position });
    }
    if (starts.length > 0) await log.applications.begin(this.#application, starts);
  }

  async #startOf({ id, trimSequence, nextSequence }: ShardDescription): Promise<number> {
    const { startAt } = this.#options;
    if ('time' in startAt) return this.#ports.log.sequenceAt(id, Date.parse(startAt.time));
    return startAt.edge === 'latest' ? nextSequence : trimSequence;
  }

  #startShard(shard: ShardDescription, finished: () => void): void {
    const { log } = this.#ports;
    const gone = (): boolean => hasExpired(log, shard);
    this.#startWorker(`shard-${shard.index}`, async (worker, signal) => {
      await unlessGone(gone, () => this.#work(worker, shard, signal));
      finished();
    });
  }

  #startWorker(name: string, work: (name: string, signal: AbortSignal) => Promise<void>): void {
    const run = async (context: TaskContext): Promise<void> => {
      context.ready();
      await work(name, context.signal);
    };
    const task = this.#ports.supervisor.start(
      { name: `function/${this.#options.name}/${name}`, run },
      { whenEnded: 'stop' },
    );
    this.#workers.set(name, task);
    void task.stopped.then(() => {
      this.#workers.delete(name);
      this.#troubles.left(name);
      this.#shards.wake();
    });
  }

  /** null: nothing is kept, or it can't be told; then that is a trouble. */
  async #lookAtFailed(): Promise<FailedStatus | null> {
    try {
      const status = await this.#failed?.status();
      this.#troubles.works(deadLetterTrouble);
      return status ?? null;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `what was given up can't be read: ${reason}`;
      this.#troubles.fails(deadLetterTrouble, { message, advice: null }, { error });
      return null;
    }
  }

  /** Goes on with what was given up, while it is asked for. */
  async #resumeReplay(): Promise<void> {
    const { log } = this.#ports;
    const { name, paused, from } = this.#options;
    const failed = this.#failed;
    if (failed === null || paused || this.#workers.has(replayWorker)) return;
    if ((await this.#lookAtFailed())?.isReplaying !== true) return;
    const application = replayApplicationOf(name);
    await log.applications.ensure({ name: application, required: false });
    this.#startWorker(replayWorker, async (worker, signal) => {
      await failed.replay({
        settle: async (batch) => {
          const settler = new Settler(this.#settling(worker, batch.events, from.stream));
          await settleAgain(settler, batch, signal);
        },
        acquire: (shard) => this.#acquire(application, shard),
        signal,
      });
    });
  }

  #settling(worker: string, events: BatchEvents, stream: string): SettleOptions {
    const { log, clock, random } = this.#ports;
    return {
      ...{ options: this.#options, called: this.#called, events, clock, random },
      ...{ deadLetters: this.#deadLetters, metering: this.#metering, logger: this.#logger },
      gate: this.#pausing,
      retentionMs: () => log.stream(stream).retentionMs,
      troubles: this.#troubles.of(worker),
    };
  }

  async #work(worker: string, shard: ShardDescription, signal: AbortSignal): Promise<void> {
    const { log, clock, account } = this.#ports;
    const { tumblingWindowSeconds, name } = this.#options;
    const held: LeaseKeeper[] = [];
    const acquire = async (application: string): Promise<LeaseKeeper> => {
      const lease = await this.#acquire(application, shard);
      held.push(lease);
      return lease;
    };
    try {
      const lease = await acquire(this.#application);
      const places: LeaseKeeper[] = [];
      const states = tumblingWindowSeconds > 0 ? stateApplicationsOf(name) : [];
      const source = { kind: 'shard', id: shard.id } as const;
      await forgetAhead(log.applications, states, source, lease.checkpoint);
      for (const state of states) {
        places.push(await acquire(state));
      }
      const events = new Events(shard, account);
      const settling = this.#settling(worker, events, shard.stream);
      const { parallelization } = this.#options;
      await workShard(
        {
          ...{ options: this.#options, shard, lease, events, log, clock },
          states: places.length === 0 ? null : new WindowStates(places, () => clock.nowMs()),
          payloadBytesMax: this.#called.payloadBytesMax,
          filter: this.#filter,
          settler: (lane) => {
            const name = parallelization === 1 ? worker : `${worker}/lane-${lane + 1}`;
            return new Settler({ ...settling, troubles: this.#troubles.of(name) });
          },
          metering: this.#metering,
        },
        signal,
      );
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await Promise.all(held.map((lease) => lease.release()));
    }
  }

  #acquire(application: string, { id, trimSequence }: ShardDescription): Promise<LeaseKeeper> {
    const { log, owner, clock } = this.#ports;
    return LeaseKeeper.acquire({
      ...{ applications: log.applications, application, owner, clock, logger: this.#logger },
      ...{ source: { kind: 'shard', id }, initialCheckpoint: trimSequence },
    });
  }
}

/** Modules have a thread for each lane, at least. */
function withLanes({
  function: target,
  parallelization,
}: EventSourceOptions): EventSourceOptions['function'] {
  if (!('module' in target)) return target;
  const concurrency = Math.max(target.module.concurrency, parallelization);
  return { module: { ...target.module, concurrency } };
}
