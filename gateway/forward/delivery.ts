/**
 * One delivery: an application that reads the shards of a stream, or the media files of a camera,
 * and a worker for each of them under supervision.
 *
 * - One worker per source: a shard that is stuck holds up no other. It has one checkpoint, or one
 *   for each of its lanes (`lanes.ts`).
 * - A shard is begun only when its parents are sent to their ends, so order survives resharding.
 * - `startAt` counts only while the delivery has no checkpoint anywhere; what comes to be later
 *   (children of a reshard) is always read from its beginning.
 * - Whether it may send now is asked of its flow (`flow/flow.ts`). Paused or not, it holds its leases.
 *   Rewound, it is stopped, put elsewhere, and begun again.
 */
import type {
  Lease,
  Log,
  ShardDescription,
  SourceKey,
  StreamDescription,
  VideoStore,
} from '../../storage/model.ts';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import type { SupervisedTask, Supervisor, TaskContext } from '../supervisor.ts';
import { applicationOf, applicationsOf } from './applications.ts';
import type { Worker } from './attempts.ts';
import { BackOff } from './backoff.ts';
import type { Share } from './bandwidth.ts';
import { cameraBacklog, shardsBacklog, type Backlogs } from './backlog.ts';
import { deliveryStatus, type DeliveryStatus } from './delivery-status.ts';
import { hasExpired, unlessGone } from './expired.ts';
import {
  askForReplay,
  failedCount,
  failedStream,
  newestFailed,
  replayEnd,
  type NewestFailed,
} from './failed-records.ts';
import { Flow } from './flow/flow.ts';
import { DeliveryMetering } from './flow/metering.ts';
import type { Programs } from './flow/only-while.ts';
import { startOfCamera, startsOfStream, type RewindTo } from './flow/rewind.ts';
import { Steering } from './flow/steering.ts';
import { ShardFollower } from './follow-shards.ts';
import type { KeyScope } from './keys.ts';
import { runLanes, type Lane, type LiveFirst } from './lanes.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { uploadsAtOnce, type SharedLimits } from './limits.ts';
import { liveFirstOfCamera, liveFirstOfShard, nextMediaFile } from './live-first.ts';
import { sendMediaFiles } from './media-objects.ts';
import { sendMedia } from './media-stream.ts';
import { NewestRecord } from './newest-record.ts';
import type { DeliveryOptions } from './options.ts';
import { sendShardPlanned } from './planned.ts';
import { Progress } from './progress.ts';
import {
  gatheringMs,
  needsPlans,
  plannedSink,
  plansOfFailed,
  plansOfShard,
  type Account,
  type PlannedSink,
  type RecordPlans,
} from './record-plans.ts';
import { sendShardAsRecords } from './record-stream.ts';
import type { Sink } from './sink.ts';
import { Slots } from './slots.ts';
import { pause } from './timing.ts';
import { openTransform } from './transform/open-transform.ts';
import type { Transform } from './transform/transform.ts';

export type { DeliveryStatus } from './delivery-status.ts';

/** It is looked this often whether the camera is still the same. */
const rescanMs = 5_000;
const accountDefault: Account = { accountId: '000000000000', region: 'us-east-1' };
/** The worker that sends failed records again. */
const replayWorker = 'replay';

export interface DeliveryPorts {
  readonly log: Log;
  readonly video: VideoStore;
  /** Of this box, for the names of objects in buckets that many share. */
  readonly gatewayId: string;
  /** Of this process, for leases. */
  readonly owner: string;
  readonly supervisor: Supervisor;
  readonly limits: SharedLimits;
  /** What commands are run with. */
  readonly programs: Programs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random: () => number;
  /** For the ARNs that functions are told; left out: none that means anything. */
  readonly account?: Account;
}

/** What the worker of a source does. */
interface Job {
  work(worker: Worker): Promise<void>;
  /** All of the source is sent; with live-first its newest part, at least. */
  finished(): void;
  /** It was closed, and has expired since. */
  gone(): boolean;
  readonly liveFirst: LiveFirst;
}

export class Delivery {
  readonly name: string;
  readonly application: string;
  /** What it did, under Firehose's names. */
  readonly metering: DeliveryMetering;
  /** Those of its further lanes too. */
  readonly #applications: readonly string[];
  readonly #options: DeliveryOptions;
  readonly #sink: Sink;
  /** The same, as plans see it; null: it takes no records. */
  readonly #planned: PlannedSink | null;
  readonly #transform: Transform | null;
  readonly #ports: DeliveryPorts;
  #scope: KeyScope;
  readonly #logger: Logger;
  readonly #progress: Progress;
  readonly #slots: Slots;
  readonly #share: Share;
  readonly #flow: Flow;
  readonly #workers = new Map<string, SupervisedTask>();
  #task: SupervisedTask;
  readonly #newestFailed: NewestRecord<NewestFailed>;
  readonly #steering: Steering;
  readonly #shards: ShardFollower;
  #closing: Promise<void> | null = null;

  /**
   * Starts the delivery. The sink is its own: it is closed with it.
   *
   * @param prefix begins every object's key
   * @throws Error for a sink that can't take what comes from there: the configuration refuses it
   *   earlier
   */
  constructor(options: DeliveryOptions, sink: Sink, prefix: string, ports: DeliveryPorts) {
    const takesFootage = 'put' in sink || 'connect' in sink;
    if ('camera' in options.from ? !takesFootage : 'connect' in sink) {
      throw new Error(`delivery ${options.name}: ${sink.kind} does not take that`);
    }
    this.name = options.name;
    this.application = applicationOf(options.name);
    this.#applications = applicationsOf(options.name);
    this.#options = options;
    this.#sink = sink;
    this.#planned = plannedSink(sink);
    const { transform = null } = options;
    this.#transform = transform && openTransform(transform, { ...ports, fetch });
    this.#ports = ports;
    const { gatewayId, clock, metrics } = ports;
    const { priority, maxBytesPerSecond = null } = options;
    this.#slots = new Slots(uploadsAtOnce, ports.limits.spareSlots, priority);
    this.#share = ports.limits.bandwidth.share(maxBytesPerSecond, priority);
    this.#scope = { gatewayId, delivery: options.name, prefix, version: options.version ?? 1 };
    this.#logger = ports.logger.child({ delivery: options.name });
    const { backupOf = null } = options;
    this.metering = new DeliveryMetering({
      ...{ delivery: backupOf ?? options.name, isBackup: backupOf !== null },
      ...{ kind: sink.kind, clock, metrics },
    });
    this.#progress = new Progress({
      delivery: options.name,
      clock,
      logger: this.#logger,
      metrics,
      metering: this.metering,
    });
    const { withheld = null, schedule = null, onlyWhile = null } = options;
    this.#flow = new Flow({
      ...{ delivery: options.name, withheld, schedule, onlyWhile, programs: ports.programs },
      ...{ clock, logger: this.#logger },
    });
    this.#newestFailed = new NewestRecord(ports.log, newestFailed);
    this.#steering = new Steering({
      ...{ reader: { application: this.application, from: options.from }, what: 'a delivery' },
      ...{ ...ports, flow: this.#flow, logger: this.#logger },
    });
    this.#shards = new ShardFollower(ports);
    this.#task = this.#start();
  }

  #start(): SupervisedTask {
    return this.#ports.supervisor.start({
      name: `delivery/${this.name}`,
      run: (context) => this.#run(context),
    });
  }

  /** How it fares now. The backlog is counted afresh. */
  async status(): Promise<DeliveryStatus> {
    const { log } = this.#ports;
    const backlogs = await this.#backlogs();
    this.#progress.backlog(backlogs.all);
    const failedRecords = await failedCount(log, this.name);
    const failed = failedRecords > 0 ? failedStream(log, this.name)?.shards[0] : undefined;
    return deliveryStatus({
      options: this.#options,
      to: { kind: this.#sink.kind, description: this.#sink.description },
      stopped: this.#closing !== null,
      held: this.#flow.held,
      backlogs,
      failedRecords,
      newestFailed: failed === undefined ? null : await this.#newestFailed.of(failed),
      progress: this.#progress,
      tasks: [this.#task, ...this.#workers.values()].map((task) => task.status()),
    });
  }

  /**
   * Sends the records again that have failed by now; a restart goes on with it. Those that fail once
   * more are kept once more.
   * @returns how many they are
   * @throws StorageError
   */
  async replay(): Promise<number> {
    const records = await askForReplay(this.#ports.log, this.name);
    this.#shards.wake();
    return records;
  }

  /**
   * Stops at once: what is on its way is called off, and its plan stays for the next start. Takes
   * no longer than the supervisor waits for a task. Twice is harmless.
   */
  close(): Promise<void> {
    this.#closing ??= this.#steering.inTurn(async () => {
      await Promise.all([this.#task.stop(), this.#flow.close()]);
      await Promise.all([this.#sink.close(), this.#transform?.close()]);
    });
    return this.#closing;
  }

  /**
   * Begins nothing any more, also after restarts, until it is resumed. What is under way is finished.
   * Twice is harmless. @throws StorageError `not-found` when its source is not there
   */
  pause(): Promise<void> {
    return this.#steering.pause();
  }

  /** @throws StorageError `not-found` when its source is not there */
  resume(): Promise<void> {
    return this.#steering.resume();
  }

  /**
   * Begins anew elsewhere in the source (`flow/rewind.ts`). What is under way is called off. One that
   * is paused stays so.
   * @throws StorageError; nothing is changed then: `lease-held` while a worker is not done yet
   */
  rewind(to: RewindTo): Promise<void> {
    return this.#steering.inTurn(async () => {
      if (this.#closing !== null) return;
      await this.#task.stop();
      try {
        await this.#beginAnew(to);
      } finally {
        this.#task = this.#start();
      }
    });
  }

  async #beginAnew(to: RewindTo): Promise<void> {
    const { log, video } = this.#ports;
    const { from } = this.#options;
    await this.#ensureApplications();
    const starts =
      'stream' in from
        ? await startsOfStream(log, log.stream(from.stream), to)
        : [await startOfCamera(video, (await video.camera(from.camera)).id, to)];
    // First: objects of what goes again never carry the version of those before.
    await this.#steering.rewinding();
    await log.applications.beginAnew(this.application, this.#applications, starts);
    // Of a media sink: what was confirmed of the file that was under way.
    if ('camera' in from) await video.setCameraAttribute(from.camera, this.application, undefined);
    this.#steering.rewound(to);
  }

  get #liveFirst(): boolean {
    return this.#options.catchUp === 'live-first' && !('connect' in this.#sink);
  }

  get #required(): boolean {
    return this.#options.required ?? true;
  }

  async #backlogs(): Promise<Backlogs> {
    const { log, video, clock } = this.#ports;
    const { from } = this.#options;
    return 'stream' in from
      ? shardsBacklog(log, from.stream, this.#leases(), clock)
      : cameraBacklog(video, from.camera, this.#leases(), clock);
  }

  /** Of all its lanes. */
  #leases(): readonly Lease[] {
    return this.#leasesOf(this.#applications);
  }

  #leasesOf(applications: readonly string[]): readonly Lease[] {
    return this.#ports.log.applications
      .list()
      .filter(({ name }) => applications.includes(name))
      .flatMap(({ leases }) => leases);
  }

  async #run(context: TaskContext): Promise<void> {
    await this.#ensureApplications();
    const { pausedMs, rewinds } = await this.#steering.kept();
    this.#scope = { ...this.#scope, version: (this.#options.version ?? 1) + rewinds };
    this.#flow.open(pausedMs);
    const { from } = this.#options;
    try {
      if ('stream' in from) await this.#followStream(from.stream, context);
      else await this.#followCamera(from.camera, context);
    } finally {
      await Promise.all([...this.#workers.values()].map((worker) => worker.stop()));
    }
  }

  async #ensureApplications(): Promise<void> {
    const { applications } = this.#ports.log;
    await applications.ensure({ name: this.application, required: this.#required });
    for (const { name, required } of applications.list()) {
      if (!this.#applications.includes(name) || required === this.#required) continue;
      await applications.ensure({ name, required: this.#required });
    }
  }

  /** Keeps a worker on every shard that may be read. @throws StorageError `not-found` */
  async #followStream(stream: string, context: TaskContext): Promise<void> {
    const { log } = this.#ports;
    await this.#shards.follow(stream, context, {
      takeCheckpoints: (description) => this.#takeCheckpoints(description),
      start: (shard, description, finished) => {
        const source = { kind: 'shard', id: shard.id } as const;
        this.#startWorker(`shard-${shard.index}`, source, shard.trimSequence, {
          work: (worker) => this.#sendShard(worker, shard, description),
          finished,
          gone: () => hasExpired(log, shard),
          liveFirst: liveFirstOfShard(log, shard.id, this.#gatheredMs),
        });
      },
      looked: (description) => {
        this.#resumeReplay(description);
      },
    });
  }

  #sendShard(worker: Worker, shard: ShardDescription, stream: StreamDescription): Promise<void> {
    const planned = this.#planned;
    if (planned === null) throw new Error('records go to a sink for records or objects');
    const plans = plansOfShard(this.#plans(planned, stream), shard);
    const sink = this.#sink;
    if (!('send' in sink) || !this.#goesAtOnce) return sendShardPlanned(worker, plans);
    const { random } = this.#ports;
    return sendShardAsRecords(worker, { sink, shardId: shard.id, random, plans });
  }

  /** Records are sent one by one, as they come. */
  get #goesAtOnce(): boolean {
    return 'send' in this.#sink && !needsPlans(this.#options, this.#scope);
  }

  #plans(sink: PlannedSink, stream: StreamDescription): RecordPlans {
    const { account = accountDefault } = this.#ports;
    const transform = this.#transform;
    return { options: this.#options, scope: this.#scope, sink, transform, account, stream };
  }

  /** Goes on with sending failed records again, while some are asked for. */
  #resumeReplay(stream: StreamDescription): void {
    const { log } = this.#ports;
    const sink = this.#planned;
    const failed = failedStream(log, this.name);
    const shard = failed?.shards[0];
    if (sink === null || failed === null || shard === undefined) return;
    if (replayEnd(log, this.name) === null || this.#workers.has(replayWorker)) return;
    const options = plansOfFailed(this.#plans(sink, stream), failed, shard);
    this.#startWorker(replayWorker, { kind: 'shard', id: shard.id }, shard.trimSequence, {
      work: ({ lane, ...worker }) => {
        const { lease } = lane;
        const end = replayEnd(log, this.name) ?? lease.checkpoint;
        const bounded = { lease, end, since: 0, behind: true, goOn: () => Promise.resolve(true) };
        return sendShardPlanned({ ...worker, lane: bounded }, options);
      },
      finished: () => undefined,
      gone: () => hasExpired(log, shard),
      liveFirst: liveFirstOfShard(log, shard.id, 0),
    });
  }

  /** How long records wait for others, to go in one object with them. */
  get #gatheredMs(): number {
    return this.#goesAtOnce ? 0 : gatheringMs(this.#options);
  }

  /** Keeps a worker on the camera until the delivery stops. @throws StorageError `not-found` */
  async #followCamera(name: string, context: TaskContext): Promise<void> {
    const sink = this.#sink;
    if (!('put' in sink || 'connect' in sink)) {
      throw new Error('footage goes to a sink for objects or media');
    }
    const { video, clock } = this.#ports;
    const camera = await video.camera(name);
    const latest = this.#options.startAt === 'latest' && this.#leases().length === 0;
    const start = latest ? await nextMediaFile(video, camera.id) : 0;
    context.ready();
    this.#startWorker('media', { kind: 'camera', id: camera.id }, start, {
      work: (worker) => {
        const source = { cameraId: camera.id, camera: name };
        if ('connect' in sink) {
          return sendMedia(worker, { ...source, sink, application: this.application });
        }
        const { as = 'files', events = null } = this.#options;
        return sendMediaFiles(worker, { ...source, sink, scope: this.#scope, as, events });
      },
      finished: () => undefined,
      gone: () => false,
      liveFirst: liveFirstOfCamera(video, camera.id),
    });
    while (!context.signal.aborted) {
      await pause(clock, rescanMs, context.signal);
      // A camera that was deleted takes its worker with it; one of that name may come again.
      if ((await video.camera(name)).id !== camera.id) return;
    }
  }

  /**
   * Gives every shard a checkpoint, so that a required delivery pins it from now on, also while
   * the shard has to wait for its parents.
   *
   * `latest` means the present end, unless the delivery has run before; of a backup, what its owner
   * has still to send, too. The oldest shard comes last: while it has no checkpoint, the first run
   * was not finished.
   */
  async #takeCheckpoints(stream: StreamDescription): Promise<void> {
    const known = new Set(this.#leases().map((lease) => lease.source.id));
    const shards = stream.shards.toSorted((a, b) => b.index - a.index);
    const oldest = shards.at(-1);
    const atHead =
      this.#options.startAt === 'latest' && oldest !== undefined && !known.has(oldest.id);
    for (const shard of shards) {
      if (known.has(shard.id)) continue;
      const start = atHead ? this.#latestOf(shard) : shard.trimSequence;
      const lease = await this.#acquire(this.application, { kind: 'shard', id: shard.id }, start);
      await lease.release();
    }
  }

  #latestOf({ id, nextSequence }: ShardDescription): number {
    const { backupOf = null } = this.#options;
    const ofOwner = backupOf === null ? [] : this.#leasesOf(applicationsOf(backupOf));
    const checkpoints = ofOwner.flatMap(({ source, checkpoint }) =>
      source.kind === 'shard' && source.id === id ? [checkpoint] : [],
    );
    return Math.min(nextSequence, ...checkpoints);
  }

  async #acquire(
    application: string,
    source: SourceKey,
    initialCheckpoint: number,
  ): Promise<LeaseKeeper> {
    const { applications } = this.#ports.log;
    if (!applications.list().some(({ name }) => name === application)) {
      await applications.ensure({ name: application, required: this.#required });
    }
    return LeaseKeeper.acquire({
      applications,
      application,
      source,
      owner: this.#ports.owner,
      initialCheckpoint,
      clock: this.#ports.clock,
      logger: this.#logger,
    });
  }

  #startWorker(name: string, source: SourceKey, initialCheckpoint: number, job: Job): void {
    const send = async ({ signal }: TaskContext): Promise<void> => {
      const { clock } = this.#ports;
      await runLanes({
        applications: this.#applications,
        known: this.#leases()
          .filter(({ source: { kind, id } }) => kind === source.kind && id === source.id)
          .map(({ application }) => application),
        initialCheckpoint,
        liveFirst: this.#liveFirst ? job.liveFirst : null,
        ...{ clock, logger: this.#logger, signal },
        acquire: (application, position) => this.#acquire(application, source, position),
        send: async (lane, suffix, laneSignal) => {
          const laneName = `${name}${suffix}`;
          try {
            await job.work(this.#worker(laneName, lane, job.liveFirst.afterMs, laneSignal));
          } finally {
            this.#progress.left(laneName);
          }
        },
        liveEnded: () => {
          if (!this.#liveFirst) return;
          job.finished();
          this.#shards.wake();
        },
      });
    };
    const run = async (context: TaskContext): Promise<void> => {
      context.ready();
      await unlessGone(
        () => job.gone(),
        () => send(context),
      );
      job.finished();
    };
    const task = this.#ports.supervisor.start(
      { name: `delivery/${this.name}/${name}`, run },
      { whenEnded: 'stop' },
    );
    this.#workers.set(name, task);
    void task.stopped.then(() => {
      this.#workers.delete(name);
      this.#shards.wake();
    });
  }

  #worker(name: string, lane: Lane, backlogAfterMs: number, signal: AbortSignal): Worker {
    const { log, video, clock, random } = this.#ports;
    return {
      name,
      log,
      video,
      lane,
      lease: lane.lease,
      gate: this.#flow,
      clock,
      logger: this.#logger,
      progress: this.#progress,
      backOff: new BackOff(random),
      slots: this.#slots,
      queueBudget: this.#ports.limits.queueBudget,
      aheadBudget: this.#ports.limits.aheadBudget,
      bandwidth: this.#share,
      backlogAfterMs,
      signal,
    };
  }
}
