/**
 * One event source: Lambda's event source mapping for a stream. An application that reads its shards,
 * and a worker for each of them under supervision (`shard-worker.ts`).
 *
 * - One worker per shard: one that is stuck holds up no other.
 * - A shard is begun only when its parents are done to their ends, so order survives resharding.
 * - `startAt` counts only while there is no checkpoint anywhere; what comes to be later (children of
 *   a reshard) is always read from its beginning.
 */
import type { Lease, Log, ShardDescription, StreamDescription } from '../../storage/model.ts';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import { hasExpired } from '../forward/expired.ts';
import { LeaseKeeper } from '../forward/lease-keeper.ts';
import type { Account } from '../forward/record-plans.ts';
import { pause } from '../forward/timing.ts';
import type { RemoteFunction } from '../functions/function.ts';
import { payloadBytesMax } from '../functions/limits.ts';
import { openFunction } from '../functions/open.ts';
import type { SupervisedTask, Supervisor, TaskContext } from '../supervisor.ts';
import { applicationOf, stateApplicationsOf } from './applications.ts';
import { deadLettersOf, type DeadLetters } from './dead-letters.ts';
import { Events } from './event.ts';
import { Metering, type LambdaMetrics } from './metering.ts';
import type { EventSourceOptions } from './options.ts';
import { compileFilter } from './pattern.ts';
import { Settler } from './settle.ts';
import { workShard } from './shard-worker.ts';
import { WindowStates } from './window-states.ts';

/** New shards are looked for this often, besides whenever one ends. */
const rescanMs = 5_000;

export interface EventSourcePorts {
  readonly log: Log;
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
  readonly state: 'starting' | 'running' | 'backing-off' | 'paused';
  /** What goes wrong now; null: nothing. */
  readonly trouble: string | null;
  /** Records that the function has done since the start. */
  readonly records: number;
  readonly backlog: {
    readonly records: number;
    readonly bytes: number;
    readonly oldestArrivalMs: number | null;
  };
  readonly metrics: LambdaMetrics;
}

export class EventSource {
  readonly #options: EventSourceOptions;
  readonly #ports: EventSourcePorts;
  readonly #application: string;
  readonly #called: RemoteFunction;
  readonly #deadLetters: DeadLetters | null;
  readonly #metering: Metering;
  readonly #logger: Logger;
  readonly #filter: ReturnType<typeof compileFilter>;
  readonly #task: SupervisedTask;
  readonly #workers = new Map<number, SupervisedTask>();
  /** By shard. */
  readonly #troubles = new Map<number, string>();
  #wake: () => void = () => undefined;
  #closing: Promise<void> | null = null;

  /** Starts it. */
  constructor(options: EventSourceOptions, ports: EventSourcePorts) {
    this.#options = options;
    this.#ports = ports;
    this.#application = applicationOf(options.name);
    this.#logger = ports.logger.child({ function: options.name });
    this.#called = openFunction(withLanes(options), {
      ...{ clock: ports.clock, logger: this.#logger, fetch: ports.fetch },
      ...{ timeoutMs: options.timeoutSeconds * 1_000, answerBytesMax: payloadBytesMax },
    });
    this.#deadLetters = deadLettersOf(options, ports.log);
    this.#metering = new Metering(options.name, ports.clock, ports.metrics);
    this.#filter = compileFilter(options.filter);
    this.#task = ports.supervisor.start({
      name: `function/${options.name}`,
      run: (context) => this.#run(context),
    });
  }

  /** How it fares now. The backlog is counted afresh. @throws StorageError */
  async status(): Promise<EventSourceStatus> {
    const { name, from, paused } = this.#options;
    const tasks = [this.#task, ...this.#workers.values()].map((task) => task.status());
    const failure = tasks.find(({ failure }) => failure !== null)?.failure ?? null;
    const [trouble] = this.#troubles.values();
    return {
      name,
      stream: from.stream,
      function: { kind: this.#called.kind, description: this.#called.description },
      deadLetter: this.#deadLetters?.description ?? null,
      state: paused ? 'paused' : this.#state(tasks.map(({ state }) => state)),
      trouble: trouble ?? failure?.message ?? null,
      records: this.#metering.records,
      backlog: await this.#backlog(),
      metrics: this.#metering.lambda(),
    };
  }

  /** Calls off what is under way; it goes again at the next start. Twice is harmless. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#task.stop();
      await this.#called.close();
    })();
    return this.#closing;
  }

  #state(tasks: readonly string[]): EventSourceStatus['state'] {
    if (this.#troubles.size > 0 || tasks.includes('backing-off')) return 'backing-off';
    return tasks.includes('starting') ? 'starting' : 'running';
  }

  async #backlog(): Promise<EventSourceStatus['backlog']> {
    const { log } = this.#ports;
    const stream = log.streams().find(({ name }) => name === this.#options.from.stream);
    const leases = new Map(this.#leases().map(({ source, checkpoint }) => [source.id, checkpoint]));
    let [records, bytes] = [0, 0];
    let oldestArrivalMs: number | null = null;
    for (const { id, trimSequence } of stream?.shards ?? []) {
      const found = await log.backlog(id, leases.get(id) ?? trimSequence);
      records += found.records;
      bytes += found.bytes;
      if (found.oldestArrivalMs === null) continue;
      oldestArrivalMs = Math.min(oldestArrivalMs ?? Infinity, found.oldestArrivalMs);
    }
    return { records, bytes, oldestArrivalMs };
  }

  #leases(): readonly Lease[] {
    const all = this.#ports.log.applications.list();
    return all.find(({ name }) => name === this.#application)?.leases ?? [];
  }

  async #run(context: TaskContext): Promise<void> {
    const { log } = this.#ports;
    const { required, tumblingWindowSeconds, name } = this.#options;
    await log.applications.ensure({ name: this.#application, required });
    for (const state of tumblingWindowSeconds > 0 ? stateApplicationsOf(name) : []) {
      await log.applications.ensure({ name: state, required: false });
    }
    try {
      await this.#follow(context);
    } finally {
      await Promise.all([...this.#workers.values()].map((worker) => worker.stop()));
    }
  }

  /** Keeps a worker on every shard that may be read. @throws StorageError `not-found` */
  async #follow(context: TaskContext): Promise<void> {
    const { log, clock } = this.#ports;
    const { from, paused } = this.#options;
    const begun = new Set<number>();
    const finished = new Set<number>();
    const { id } = log.stream(from.stream);
    while (!context.signal.aborted) {
      const stream = log.stream(from.stream);
      // It was deleted, and one of that name was made.
      if (stream.id !== id) return;
      await this.#begin(stream);
      const wake = new AbortController();
      this.#wake = () => {
        wake.abort();
      };
      context.signal.addEventListener('abort', this.#wake, { once: true });
      if (isAborted(context.signal)) return;
      context.ready();
      for (const shard of paused ? [] : stream.shards) {
        const waitsFor = shard.parents.filter(
          (parent) => !finished.has(parent) && stream.shards.some(({ index }) => index === parent),
        );
        if (begun.has(shard.index) || waitsFor.length > 0) continue;
        begun.add(shard.index);
        this.#startWorker(shard, () => finished.add(shard.index));
      }
      await pause(clock, rescanMs, wake.signal);
      context.signal.removeEventListener('abort', this.#wake);
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

  #startWorker(shard: ShardDescription, finished: () => void): void {
    const { log, supervisor } = this.#ports;
    const run = async (context: TaskContext): Promise<void> => {
      context.ready();
      try {
        if (!hasExpired(log, shard)) await this.#work(shard, context.signal);
      } catch (error) {
        if (!hasExpired(log, shard)) throw error;
      }
      finished();
    };
    const name = `function/${this.#options.name}/shard-${shard.index}`;
    const task = supervisor.start({ name, run }, { whenEnded: 'stop' });
    this.#workers.set(shard.index, task);
    void task.stopped.then(() => {
      this.#workers.delete(shard.index);
      this.#troubles.delete(shard.index);
      this.#wake();
    });
  }

  async #work(shard: ShardDescription, signal: AbortSignal): Promise<void> {
    const { log, clock, account, random } = this.#ports;
    const { tumblingWindowSeconds, name } = this.#options;
    const held: LeaseKeeper[] = [];
    try {
      const lease = await this.#acquire(this.#application, shard, held);
      const places: LeaseKeeper[] = [];
      for (const state of tumblingWindowSeconds > 0 ? stateApplicationsOf(name) : []) {
        places.push(await this.#acquire(state, shard, held));
      }
      const events = new Events(shard, account);
      const settling = {
        ...{ options: this.#options, called: this.#called, events, clock, random },
        ...{ deadLetters: this.#deadLetters, metering: this.#metering, logger: this.#logger },
        retentionMs: () => log.stream(shard.stream).retentionMs,
        tell: (trouble: string | null) => {
          this.#tell(shard.index, trouble);
        },
      };
      await workShard(
        {
          ...{ options: this.#options, shard, lease, events, log, clock },
          states: places.length === 0 ? null : new WindowStates(places, () => clock.nowMs()),
          payloadBytesMax: this.#called.payloadBytesMax,
          filter: this.#filter,
          settler: () => new Settler(settling),
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

  /** @param held gets it */
  async #acquire(
    application: string,
    { id, trimSequence }: ShardDescription,
    held: LeaseKeeper[],
  ): Promise<LeaseKeeper> {
    const { log, owner, clock } = this.#ports;
    const lease = await LeaseKeeper.acquire({
      ...{ applications: log.applications, application, owner, clock, logger: this.#logger },
      ...{ source: { kind: 'shard', id }, initialCheckpoint: trimSequence },
    });
    held.push(lease);
    return lease;
  }

  /** The first trouble of a shard is logged, and that it is over. */
  #tell(shard: number, trouble: string | null): void {
    const had = this.#troubles.has(shard);
    if (trouble === null) this.#troubles.delete(shard);
    else this.#troubles.set(shard, trouble);
    if (trouble !== null && !had) this.#logger.warn({ shard, trouble }, 'a function fails');
    if (trouble === null && had) this.#logger.info({ shard }, 'a function works again');
  }
}

/** It may have been aborted while something was awaited. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
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
