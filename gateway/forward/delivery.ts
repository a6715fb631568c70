/**
 * One delivery: an application that reads the shards of a stream, or the media files of a camera,
 * and a worker for each of them under supervision.
 *
 * - One worker per source: a shard that is stuck holds up no other. It has one checkpoint, or one
 *   for each of its lanes (`lanes.ts`).
 * - A shard is begun only when its parents are sent to their ends, so order survives resharding.
 * - How far it is with each of them, and where it begins, is the business of `checkpoints.ts`.
 * - Whether it may send now is asked of its flow (`flow/flow.ts`). Paused or not, it holds its leases.
 *   Rewound, it is stopped, put elsewhere, and begun again.
 */
import type {
  Log,
  ShardDescription,
  SourceKey,
  StreamDescription,
  VideoStore,
} from '../../storage/model.ts';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import type { SupervisedTask, Supervisor, TaskContext } from '../supervisor.ts';
import type { Worker } from './attempts.ts';
import { BackOff } from './backoff.ts';
import type { Share } from './bandwidth.ts';
import { Checkpoints } from './checkpoints.ts';
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
import { Steered, Steering } from './flow/steering.ts';
import { ShardFollower } from './follow-shards.ts';
import type { KeyScope } from './keys.ts';
import { runLanes, type Lane, type LiveFirst } from './lanes.ts';
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
  plansOfFailedBackup,
  plansOfShard,
  type Account,
  type PlannedSink,
  type RecordPlans,
} from './record-plans.ts';
import { sendShardAsRecords } from './record-stream.ts';
import type { Sink } from './sink.ts';
import { Slots } from './slots.ts';
import { adviceInOwner } from './source-backup.ts';
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

export class Delivery extends Steered {
  readonly name: string;
  /** What it did, under Firehose's names. */
  readonly metering: DeliveryMetering;
  readonly #options: DeliveryOptions;
  readonly #checkpoints: Checkpoints;
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
  readonly #newestFailed: NewestRecord<NewestFailed>;
  readonly #shards: ShardFollower;
  /** Last: it starts the task. */
  protected readonly steering: Steering;

  /**
   * Starts the delivery. The sink is its own: it is closed with it.
   *
   * @param prefix begins every object's key
   * @param lastSuccessMs when something last arrived, while it ran with another configuration; null:
   *   nothing had
   * @throws Error for a sink that can't take what comes from there: the configuration refuses it
   *   earlier
   */
  constructor(
    options: DeliveryOptions,
    sink: Sink,
    prefix: string,
    ports: DeliveryPorts,
    lastSuccessMs: number | null = null,
  ) {
    const takesFootage = 'put' in sink || 'connect' in sink;
    if ('camera' in options.from ? !takesFootage : 'connect' in sink) {
      throw new Error(`delivery ${options.name}: ${sink.kind} does not take that`);
    }
    super();
    this.name = options.name;
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
    this.#checkpoints = new Checkpoints(options, { ...ports, logger: this.#logger });
    const { backupOf = null, failedOf = null } = options;
    const isWithOwner = backupOf !== null && (failedOf?.isOnlyBackup ?? true);
    this.metering = new DeliveryMetering({
      ...{ delivery: isWithOwner ? backupOf : options.name, isBackup: backupOf !== null },
      ...{ kind: sink.kind, clock, metrics },
    });
    this.#progress = new Progress({
      delivery: options.name,
      clock,
      logger: this.#logger,
      metrics,
      metering: this.metering,
      advise: (advice) => adviceInOwner(options, advice),
      lastSuccessMs,
    });
    const { withheld = null, schedule = null, onlyWhile = null } = options;
    this.#flow = new Flow({
      ...{ delivery: options.name, withheld, schedule, onlyWhile, programs: ports.programs },
      ...{ clock, logger: this.#logger },
    });
    this.#newestFailed = new NewestRecord(ports.log, newestFailed);
    this.#shards = new ShardFollower(ports);
    const { application, applications } = this.#checkpoints;
    this.steering = new Steering({
      ...{ reader: { application, from: options.from }, what: 'a delivery' },
      ...{ ...ports, flow: this.#flow, logger: this.#logger },
      applications,
      start: () =>
        ports.supervisor.start({
          name: `delivery/${this.name}`,
          run: (context) => this.#run(context),
        }),
      ensureApplications: () => this.#checkpoints.ensureApplications(),
      close: async (task) => {
        await Promise.all([task.stop(), this.#flow.close()]);
        await Promise.all([this.#sink.close(), this.#transform?.close()]);
      },
    });
  }

  /** null: nothing has arrived yet. */
  get lastSuccessMs(): number | null {
    return this.#progress.lastSuccessMs;
  }

  /** Where it sends, for people. */
  get destination(): string {
    return this.#sink.description;
  }

  /** How it fares now. The backlog is counted afresh. */
  async status(): Promise<DeliveryStatus> {
    const { log } = this.#ports;
    const backlogs = await this.#checkpoints.backlogs();
    this.#progress.backlog(backlogs.all);
    const failedRecords = await failedCount(log, this.name);
    const failed = failedRecords > 0 ? failedStream(log, this.name)?.shards[0] : undefined;
    return deliveryStatus({
      options: this.#options,
      to: { kind: this.#sink.kind, description: this.#sink.description },
      stopped: this.steering.isClosed,
      held: this.#flow.held,
      backlogs,
      failedRecords,
      isReplaying: replayEnd(log, this.name) !== null,
      newestFailed: failed === undefined ? null : await this.#newestFailed.of(failed),
      progress: this.#progress,
      tasks: [this.steering.task, ...this.#workers.values()].map((task) => task.status()),
    });
  }

  /**
   * Sends the records again that have failed by now; a restart goes on with it. Those that fail once
   * more are kept once more. Asked for while it is under way it goes as far as those that have failed
   * by then.
   * @returns how many they are
   * @throws StorageError
   */
  async replay(): Promise<number> {
    const records = await askForReplay(this.#ports.log, this.name);
    this.#shards.wake();
    return records;
  }

  get #liveFirst(): boolean {
    return this.#options.catchUp === 'live-first' && !('connect' in this.#sink);
  }

  async #run(context: TaskContext): Promise<void> {
    await this.#checkpoints.ensureApplications();
    await this.#checkpoints.ensureSource();
    const { pausedMs, rewinds } = await this.steering.kept();
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

  /** Keeps a worker on every shard that may be read. @throws StorageError `not-found` */
  async #followStream(stream: string, context: TaskContext): Promise<void> {
    const { log } = this.#ports;
    await this.#shards.follow(stream, context, {
      takeCheckpoints: (description) => this.#checkpoints.take(description),
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
    const isOfFailed = (this.#options.failedOf ?? null) !== null;
    const plansOf = isOfFailed ? plansOfFailedBackup : plansOfShard;
    const plans = plansOf(this.#plans(planned, stream), shard);
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
    const latest = this.#options.startAt === 'latest' && this.#checkpoints.leases().length === 0;
    const start = latest ? await nextMediaFile(video, camera.id) : 0;
    context.ready();
    this.#startWorker('media', { kind: 'camera', id: camera.id }, start, {
      work: (worker) => {
        const source = { cameraId: camera.id, camera: name };
        if ('connect' in sink) {
          return sendMedia(worker, { ...source, sink, application: this.#checkpoints.application });
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

  #startWorker(name: string, source: SourceKey, initialCheckpoint: number, job: Job): void {
    const send = async ({ signal }: TaskContext): Promise<void> => {
      const { clock } = this.#ports;
      await runLanes({
        applications: this.#checkpoints.applications,
        known: this.#checkpoints
          .leases()
          .filter(({ source: { kind, id } }) => kind === source.kind && id === source.id)
          .map(({ application }) => application),
        initialCheckpoint,
        liveFirst: this.#liveFirst ? job.liveFirst : null,
        ...{ clock, logger: this.#logger, signal },
        acquire: (application, position) =>
          this.#checkpoints.acquire(application, source, position),
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
