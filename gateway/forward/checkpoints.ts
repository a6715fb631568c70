/**
 * How far a delivery is: the applications that it reads with, one for each of its lanes, their leases
 * and checkpoints, and what lies behind those.
 *
 * `startAt` counts only while there is no checkpoint anywhere; what comes to be later (children of a
 * reshard) is always read from its beginning.
 */
import type {
  Lease,
  Log,
  ShardDescription,
  SourceKey,
  StreamDescription,
  VideoStore,
} from '../../storage/model.ts';
import type { Clock, Logger } from '../../storage/ports.ts';
import { applicationOf, applicationsOf } from './applications.ts';
import { cameraBacklog, shardsBacklog, type Backlogs } from './backlog.ts';
import { ensureFailedStream, replayedTo } from './failed-records.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import type { DeliveryOptions } from './options.ts';

export interface CheckpointsPorts {
  readonly log: Log;
  readonly video: VideoStore;
  /** Of this process, for leases. */
  readonly owner: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Checkpoints {
  readonly application: string;
  /** Those of its further lanes too. */
  readonly applications: readonly string[];
  readonly #options: DeliveryOptions;
  readonly #ports: CheckpointsPorts;

  constructor(options: DeliveryOptions, ports: CheckpointsPorts) {
    this.application = applicationOf(options.name);
    this.applications = applicationsOf(options.name);
    this.#options = options;
    this.#ports = ports;
  }

  /** Of all lanes. */
  leases(): readonly Lease[] {
    return this.#leasesOf(this.applications);
  }

  /** What lies behind them; counted afresh. */
  async backlogs(): Promise<Backlogs> {
    const { log, video, clock } = this.#ports;
    const { from } = this.#options;
    return 'stream' in from
      ? shardsBacklog(log, from.stream, this.leases(), clock)
      : cameraBacklog(video, from.camera, this.leases(), clock);
  }

  /** Makes the first application if it is not there, and has all of them pin as they should. */
  async ensureApplications(): Promise<void> {
    const { applications } = this.#ports.log;
    await applications.ensure({ name: this.application, required: this.#required });
    for (const { name, required } of applications.list()) {
      if (!this.applications.includes(name) || required === this.#required) continue;
      await applications.ensure({ name, required: this.#required });
    }
  }

  /** Of failed records: there is no stream of them before one fails. @throws StorageError */
  async ensureSource(): Promise<void> {
    const { failedOf = null } = this.#options;
    if (failedOf === null) return;
    await ensureFailedStream(this.#ports.log, failedOf.delivery, failedOf.stream);
  }

  /**
   * Gives every shard a checkpoint, so that a required delivery pins it from now on, also while
   * the shard has to wait for its parents.
   *
   * `latest` means the present end, unless the delivery has run before; of a backup, what its owner
   * has still to send, too. A backup of failed records begins with those that wait to be replayed.
   * The oldest shard comes last: while it has no checkpoint, the first run was not finished.
   */
  async take(stream: StreamDescription): Promise<void> {
    const known = new Set(this.leases().map((lease) => lease.source.id));
    const shards = stream.shards.toSorted((a, b) => b.index - a.index);
    const oldest = shards.at(-1);
    const atHead =
      this.#options.startAt === 'latest' && oldest !== undefined && !known.has(oldest.id);
    for (const shard of shards) {
      if (known.has(shard.id)) continue;
      const start = atHead ? this.#latestOf(shard) : this.#earliestOf(shard);
      const lease = await this.acquire(this.application, { kind: 'shard', id: shard.id }, start);
      await lease.release();
    }
  }

  /** @throws StorageError `lease-held` */
  async acquire(
    application: string,
    source: SourceKey,
    initialCheckpoint: number,
  ): Promise<LeaseKeeper> {
    const { log, owner, clock, logger } = this.#ports;
    const { applications } = log;
    if (!applications.list().some(({ name }) => name === application)) {
      await applications.ensure({ name: application, required: this.#required });
    }
    return LeaseKeeper.acquire({
      ...{ applications, application, source, owner, initialCheckpoint },
      ...{ clock, logger },
    });
  }

  get #required(): boolean {
    return this.#options.required ?? true;
  }

  #earliestOf({ trimSequence }: ShardDescription): number {
    const { failedOf = null } = this.#options;
    if (failedOf === null) return trimSequence;
    return Math.max(trimSequence, replayedTo(this.#ports.log, failedOf.delivery) ?? 0);
  }

  #latestOf({ id, nextSequence }: ShardDescription): number {
    const { backupOf = null } = this.#options;
    const ofOwner = backupOf === null ? [] : this.#leasesOf(applicationsOf(backupOf));
    const checkpoints = ofOwner.flatMap(({ source, checkpoint }) =>
      source.kind === 'shard' && source.id === id ? [checkpoint] : [],
    );
    return Math.min(nextSequence, ...checkpoints);
  }

  #leasesOf(applications: readonly string[]): readonly Lease[] {
    return this.#ports.log.applications
      .list()
      .filter(({ name }) => applications.includes(name))
      .flatMap(({ leases }) => leases);
  }
}
