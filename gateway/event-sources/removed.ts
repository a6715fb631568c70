/**
 * Event sources that are no longer configured, and of which something is left: how far they had come,
 * from where they go on when they are configured again, and the batches that they gave up.
 */
import type { Lease, Log, VideoStore } from '../../storage/model.ts';
import type { Clock } from '../../storage/ports.ts';
import { leasesBacklog, type Backlog } from '../forward/backlog.ts';
import { applicationOf, eventSourceOf, removedApplications } from './applications.ts';
import type { FailedBatches, FailedStatus } from './failed-batches.ts';
import { describePlace, failedBatchesAt, keptPlace } from './letter-places.ts';

export interface RemovedEventSource {
  readonly name: string;
  /** What is stored and it has not had. It goes when its stream's retention says so. */
  readonly backlog: Backlog;
  /** Where its dead letters are; null: it had none, or that is not known any more. */
  readonly deadLetter: string | null;
  /** What waits there; null: there is no such place, or it can't be read. */
  readonly failed: FailedStatus | null;
}

interface RemovedPorts {
  readonly log: Log;
  readonly video: VideoStore;
  readonly clock: Clock;
}

export class RemovedEventSources {
  readonly #ports: RemovedPorts;
  /** By name, with the place: what was found in a folder is told again for a while. */
  readonly #batches = new Map<string, FailedBatches>();

  constructor(ports: RemovedPorts) {
    this.#ports = ports;
  }

  /** In order of name. @throws StorageError */
  async list(
    configured: readonly { readonly name: string }[],
  ): Promise<readonly RemovedEventSource[]> {
    const { log } = this.#ports;
    const leases = new Map<string, readonly Lease[]>();
    for (const application of removedApplications(log, configured)) {
      const name = eventSourceOf(application.name);
      const isReader = application.name === applicationOf(name);
      leases.set(name, isReader ? application.leases : (leases.get(name) ?? []));
    }
    const known = [...leases].sort(([a], [b]) => (a < b ? -1 : 1));
    return Promise.all(known.map(([name, own]) => this.#look(name, own)));
  }

  async #look(name: string, leases: readonly Lease[]): Promise<RemovedEventSource> {
    const { log, video, clock } = this.#ports;
    const place = keptPlace(log, applicationOf(name));
    const backlog = await leasesBacklog(log, video, leases, clock);
    if (place === null) return { name, backlog, deadLetter: null, failed: null };
    const deadLetter = describePlace(place);
    const key = JSON.stringify([name, place]);
    const batches = this.#batches.get(key) ?? failedBatchesAt(place, name, this.#ports);
    this.#batches.set(key, batches);
    const failed = await batches.status().catch(() => null);
    return { name, backlog, deadLetter, failed };
  }
}
