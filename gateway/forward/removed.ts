/**
 * Deliveries that are no longer configured: what they left unsent, and how to let go of it.
 *
 * They keep their checkpoints, so that one that is configured again goes on where it was, and stop
 * pinning what nobody will send. Only what one had planned to send when it was removed stays, so
 * that it would arrive once and not twice; letting go of it is for people to decide.
 */
import type { Lease, Log, VideoStore } from '../../storage/model.ts';
import type { Clock, Logger } from '../../storage/ports.ts';
import { applicationsOf, deliveryOf, isDelivery } from './applications.ts';
import { leasesBacklog, type Backlog } from './backlog.ts';

export interface RemovedDelivery {
  readonly name: string;
  /** What is stored and was not sent. It goes when its source's retention says so. */
  readonly backlog: Backlog;
  /** It keeps what it had planned to send from being deleted by age. */
  readonly pins: boolean;
}

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
    const backlog = await leasesBacklog(log, video, held, clock);
    const plans = await Promise.all(held.map((lease) => log.applications.plan(lease)));
    const pins = plans.some((plan) => plan !== null);
    if (pins || backlog.records > 0) removed.push({ name, backlog, pins });
  }
  return removed;
}

/** Forgets how far a removed delivery had come. */
export async function forgetRemoved(
  log: Log,
  configured: readonly Named[],
  name: string,
): Promise<'forgotten' | 'configured' | 'unknown'> {
  if (configured.some((delivery) => delivery.name === name)) return 'configured';
  const applications = applicationsOfRemoved(log, configured).filter(
    (application) => deliveryOf(application.name) === name,
  );
  for (const application of applications) await log.applications.remove(application.name);
  return applications.length > 0 ? 'forgotten' : 'unknown';
}

function applicationsOfRemoved(log: Log, configured: readonly Named[]) {
  const kept = new Set(configured.flatMap(({ name }) => applicationsOf(name)));
  return log.applications.list().filter(({ name }) => isDelivery(name) && !kept.has(name));
}
