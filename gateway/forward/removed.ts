/**
 * Deliveries that are no longer configured: what they left unsent and what of them failed, and how
 * to let go of it.
 *
 * They keep their checkpoints, so that one that is configured again goes on where it was, and stop
 * pinning what nobody will send. Only what one had planned to send when it was removed stays, so
 * that it would arrive once and not twice; letting go of it is for people to decide. Their failed
 * records go with them, or a later delivery of the same name would send them somewhere else; so where
 * there are such it takes force.
 */
import type { Lease, Log, StreamDescription, VideoStore } from '../../storage/model.ts';
import type { Clock, Logger } from '../../storage/ports.ts';
import { applicationOf, applicationsOf, deliveryOf, isDelivery } from './applications.ts';
import { leasesBacklog, type Backlog } from './backlog.ts';
import { failedCount, ownFailedStream } from './failed-records.ts';
import { forgetFlow } from './flow/kept.ts';
import { backupNamesOf } from './source-backup.ts';

export interface RemovedDelivery {
  readonly name: string;
  /** What its source holds and was not sent. It goes when its source's retention says so. */
  readonly backlog: Backlog;
  /** Put aside, and not sent again since. */
  readonly failedRecords: number;
  /** It keeps what it had planned to send from being deleted by age. */
  readonly pins: boolean;
}

/** What holds back that a delivery is forgotten. */
export interface StillFailed {
  /** Where its failed records are. */
  readonly stream: string;
  /** Of them, that were not sent again. */
  readonly records: number;
  /** Other applications that read the stream. */
  readonly readers: readonly string[];
}

/** `unknown`: nothing is left of one of that name; otherwise what would be deleted with it. */
export type Forgotten = 'forgotten' | 'configured' | 'unknown' | readonly StillFailed[];

interface Named {
  readonly name: string;
}

/** Stops deliveries that are no longer configured from pinning for ever what nobody will send. */
export async function unpinRemoved(
  log: Log,
  deliveries: readonly Named[],
  logger: Logger,
): Promise<void> {
  for (const { name, required } of applicationsOfRemoved(log, deliveries)) {
    if (!required) continue;
    await log.applications.ensure({ name, required: false });
    logger.info({ application: name }, 'a delivery was removed: it pins nothing any more');
  }
}

/** Those that left something unsent, in order of name. */
export async function removedDeliveries(
  stores: { readonly log: Log; readonly video: VideoStore; readonly clock: Clock },
  configured: readonly Named[],
): Promise<readonly RemovedDelivery[]> {
  const { log, video, clock } = stores;
  const leases = new Map<string, Lease[]>();
  for (const application of applicationsOfRemoved(log, configured)) {
    const name = deliveryOf(application.name);
    leases.set(name, [...(leases.get(name) ?? []), ...application.leases]);
  }
  const removed: RemovedDelivery[] = [];
  for (const [name, held] of [...leases].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const ids = ownFailedStream(log, name)?.shards.map(({ id }) => id) ?? [];
    const unsent = held.filter(({ source: { kind, id } }) => kind !== 'shard' || !ids.includes(id));
    const backlog = await leasesBacklog(log, video, unsent, clock);
    const failedRecords = ids.length === 0 ? 0 : await failedCount(log, name);
    const plans = await Promise.all(held.map((lease) => log.applications.plan(lease)));
    const pins = plans.some((plan) => plan !== null);
    if (!pins && backlog.records === 0 && failedRecords === 0) continue;
    removed.push({ name, backlog, failedRecords, pins });
  }
  return removed;
}

/**
 * Forgets how far a removed delivery and its backups had come, and deletes what of them failed.
 *
 * @param isForced also where failed records were not sent again, or somebody else reads them
 * @throws StorageError
 */
export async function forgetRemoved(
  stores: { readonly log: Log; readonly video: VideoStore; readonly logger: Logger },
  configured: readonly Named[],
  name: string,
  isForced: boolean,
): Promise<Forgotten> {
  const { log, logger } = stores;
  const isConfigured = (each: string): boolean => configured.some((one) => one.name === each);
  if (isConfigured(name)) return 'configured';
  const left = [name, ...backupNamesOf(name)]
    .filter((each) => !isConfigured(each))
    .map((each) => ({ each, applications: applicationsLeftOf(log, each) }))
    .filter(({ applications }) => applications.length > 0);
  if (left.length === 0) return 'unknown';
  const going = left.flatMap(({ applications }) => applications);
  const failed = await Promise.all(left.map(({ each }) => stillFailedOf(log, each, going)));
  const holding = failed.flatMap((one) => (one !== null && holds(one) ? [one] : []));
  if (holding.length > 0 && !isForced) return holding;
  for (const one of failed) {
    if (one === null) continue;
    await log.deleteStream(one.stream);
    if (holds(one)) logger.warn({ ...one }, 'failed records were deleted with their delivery');
  }
  for (const { each, applications } of left) {
    for (const application of applications) await log.applications.remove(application);
    await forgetFlow(stores, applicationOf(each));
  }
  return 'forgotten';
}

function holds({ records, readers }: StillFailed): boolean {
  return records > 0 || readers.length > 0;
}

/** @param going the applications that are forgotten with it @returns null: it put nothing aside */
async function stillFailedOf(
  log: Log,
  name: string,
  going: readonly string[],
): Promise<StillFailed | null> {
  const stream = ownFailedStream(log, name);
  if (stream === null) return null;
  const records = await failedCount(log, name);
  return { stream: stream.name, records, readers: readersOf(log, stream, going) };
}

function readersOf(log: Log, { shards }: StreamDescription, going: readonly string[]) {
  const ids = new Set(shards.map(({ id }) => id));
  return log.applications
    .list()
    .filter(({ name, leases }) => {
      const reads = leases.some(({ source }) => source.kind === 'shard' && ids.has(source.id));
      return reads && !going.includes(name);
    })
    .map(({ name }) => (isDelivery(name) ? deliveryOf(name) : name));
}

/** Those that one of its lanes has left, by name. */
function applicationsLeftOf(log: Log, delivery: string): readonly string[] {
  const own = applicationsOf(delivery);
  return log.applications.list().flatMap(({ name }) => (own.includes(name) ? [name] : []));
}

function applicationsOfRemoved(log: Log, configured: readonly Named[]) {
  const kept = new Set(configured.flatMap(({ name }) => applicationsOf(name)));
  return log.applications.list().filter(({ name }) => isDelivery(name) && !kept.has(name));
}
