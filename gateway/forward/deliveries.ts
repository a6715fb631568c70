/**
 * All deliveries of a gateway. What goes out, and how, is in `delivery.ts`; this starts them,
 * keeps the backlog metrics fresh, and stops them.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Log, VideoStore } from '../../storage/model.ts';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import { Supervisor } from '../supervisor.ts';
import type { DeliveryStatus } from './delivery-status.ts';
import { Bandwidth } from './bandwidth.ts';
import { Delivery } from './delivery.ts';
import type { DeliveryMeasure } from './flow/metering.ts';
import type { Programs } from './flow/only-while.ts';
import type { RewindTo } from './flow/rewind.ts';
import { prefixOf, sinkFor } from './destinations.ts';
import { InTurn } from './in-turn.ts';
import { sharedLimits } from './limits.ts';
import type { DeliveryOptions } from './options.ts';
import type { Account } from './record-plans.ts';
import {
  forgetRemoved,
  removedDeliveries,
  type Forgotten,
  type RemovedDelivery,
} from './removed.ts';
import { backupNameOf, failedBackupNameOf, withBackups } from './source-backup.ts';
import { pause } from './timing.ts';

const sampleMs = 10_000;

export interface DeliveriesOptions {
  /** Names are unique, those of backups (`source-backup.ts`) included. */
  readonly deliveries: readonly DeliveryOptions[];
  /** What all of them send in a second at most; null or left out: no limit. */
  readonly maxBytesPerSecond?: number | null;
  readonly log: Log;
  readonly video: VideoStore;
  /** Of this box; the same at every start, as it is part of the names of objects. */
  readonly gatewayId: string;
  /** What commands are run with. */
  readonly programs: Programs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** 0 inclusive to 1 exclusive; `Math.random` in production. */
  readonly random: () => number;
  /** For the ARNs that functions are told; left out: none that means anything. */
  readonly account?: Account;
}

export interface Deliveries {
  /** In the order they were given, each backup behind its owner. */
  status(): Promise<readonly DeliveryStatus[]>;
  /** One as it runs; null: there is none of that name. */
  optionsOf(name: string): DeliveryOptions | null;
  /** Those that are no longer configured and left something unsent. */
  removed(): Promise<readonly RemovedDelivery[]>;
  /**
   * Lets go of one of those, of its backups, and of what of them failed.
   * @param isForced also where failed records were not sent again, or somebody else reads them;
   *   left out: no
   * @throws StorageError
   */
  forget(name: string, isForced?: boolean): Promise<Forgotten>;
  /** What one and its backup did, under Firehose's names; null: there is none of that name. */
  metered(name: string): Promise<MeteredDelivery | null>;
  /** Holds one back until it is resumed. @throws StorageError */
  pause(name: string): Promise<DeliveryStatus | null>;
  /** @returns null: there is none of that name @throws StorageError */
  resume(name: string): Promise<DeliveryStatus | null>;
  /** Has one begin anew elsewhere: `flow/rewind.ts`. @throws StorageError */
  rewind(name: string, to: RewindTo): Promise<DeliveryStatus | null>;
  /**
   * Sends the records of a delivery again that have failed by now; it goes on by itself. Asked for
   * while it is under way it goes as far as the records that have failed by then.
   * @returns how many they are; null: there is no such delivery
   */
  replay(name: string): Promise<number | null>;
  /**
   * Brings them in line with another configuration: those that are new are started, those that
   * are gone or differ are stopped, and the latter begun again where they were; no others notice.
   *
   * @param maxBytesPerSecond of all of them; left out: as it is
   */
  update(deliveries: readonly DeliveryOptions[], maxBytesPerSecond?: number | null): Promise<void>;
  /**
   * Stops all of them at once, in bounded time; what was on its way goes up again at the next
   * start, under the same key. Twice is harmless.
   */
  close(): Promise<void>;
}

/**
 * Starts every delivery and returns at once; a destination that is not there holds up nothing.
 *
 * @example
 * const deliveries = startDeliveries({
 *   deliveries: [{ name: 'archive', from: { stream: 'readings' }, to: { folder: { path: '/mnt' } } }],
 *   log: store.log, video: store.video, gatewayId, programs: { env, killGroup }, clock, logger, metrics, random: Math.random,
 * });
 */
export function startDeliveries(options: DeliveriesOptions): Deliveries {
  const { log, video, gatewayId, programs, clock, logger, metrics, random } = options;
  const supervisor = new Supervisor({ clock, logger, metrics, random });
  const owner = `${gatewayId}/${Math.floor(random() * 2 ** 48).toString(16)}`;
  const bandwidth = new Bandwidth({ clock, maxBytesPerSecond: options.maxBytesPerSecond ?? null });
  const limits = sharedLimits(bandwidth);
  const ports = {
    ...{ log, video, gatewayId, owner, supervisor, limits, programs },
    ...{ clock, logger, metrics, random },
    ...(options.account !== undefined && { account: options.account }),
  };
  const start = (delivery: DeliveryOptions, before: Running | null = null): Running => {
    const sink = sinkFor(delivery.to, clock, delivery.name);
    const lastSuccessMs = lastSuccessOf(before, delivery, sink.description);
    return {
      options: delivery,
      delivery: new Delivery(delivery, sink, prefixOf(delivery.to), ports, lastSuccessMs),
    };
  };
  let running: readonly Running[] = withBackups(options.deliveries).map((one) => start(one));
  const configured = (): readonly DeliveryOptions[] => running.map((one) => one.options);
  const stopSampling = new AbortController();
  const sampling = sample(() => running, clock, logger, stopSampling.signal);
  /** Nothing is forgotten or steered while it is begun or ended. */
  const turns = new InTurn();
  const named = (name: string): Delivery | undefined =>
    running.find(({ options: { name: other } }) => other === name)?.delivery;
  const having = async (
    name: string,
    work: (delivery: Delivery) => Promise<void>,
  ): Promise<DeliveryStatus | null> =>
    turns.run(async () => {
      const delivery = named(name);
      if (delivery === undefined) return null;
      await work(delivery);
      return delivery.status();
    });
  let closing: Promise<void> | null = null;
  const change = async (wanted: readonly DeliveryOptions[]): Promise<void> => {
    const same = (one: DeliveryOptions): Running | undefined =>
      running.find(({ options: other }) => isDeepStrictEqual(one, other));
    const kept = new Set(wanted.map(same));
    const ending = running.filter((one) => !kept.has(one));
    await Promise.all(ending.map(({ delivery }) => delivery.close()));
    const before = (name: string): Running | null =>
      running.find((one) => one.options.name === name) ?? null;
    if (closing === null) running = wanted.map((one) => same(one) ?? start(one, before(one.name)));
  };
  const close = async (): Promise<void> => {
    await Promise.all(running.map(({ delivery }) => delivery.close()));
    await supervisor.close();
    await sampling;
  };
  return {
    status: () => Promise.all(running.map(({ delivery }) => delivery.status())),
    optionsOf: (name) => configured().find((one) => one.name === name) ?? null,
    removed: () => removedDeliveries({ log, video, clock }, configured()),
    forget: (name, isForced = false) =>
      turns.run(() => forgetRemoved({ log, video, logger }, configured(), name, isForced)),
    metered: async (name) => {
      const delivery = named(name);
      if (delivery === undefined) return null;
      // The age of what waits is told by counting it.
      const { from, sinceMs } = await delivery.status();
      const backup = named(backupNameOf(name)) ?? named(failedBackupNameOf(name));
      await backup?.status();
      const ofBackup = backup?.metering.list() ?? [];
      return { from, sinceMs, measures: [...ofBackup, ...delivery.metering.list()] };
    },
    pause: (name) => having(name, (delivery) => delivery.pause()),
    resume: (name) => having(name, (delivery) => delivery.resume()),
    rewind: (name, to) => having(name, (delivery) => delivery.rewind(to)),
    replay: (name) => turns.run(async () => (await named(name)?.replay()) ?? null),
    update: (deliveries, maxBytesPerSecond) =>
      turns.run(() => {
        if (maxBytesPerSecond !== undefined) bandwidth.limit(maxBytesPerSecond);
        return change(withBackups(deliveries));
      }),
    close: () => {
      stopSampling.abort();
      closing ??= close();
      return closing;
    },
  };
}

export interface MeteredDelivery {
  readonly from: DeliveryStatus['from'];
  /** Since when it is counted. */
  readonly sinceMs: number;
  readonly measures: readonly DeliveryMeasure[];
}

interface Running {
  readonly options: DeliveryOptions;
  readonly delivery: Delivery;
}

/** Of one that is begun anew: what arrived elsewhere tells nothing of where it sends now. */
function lastSuccessOf(
  before: Running | null,
  now: DeliveryOptions,
  destination: string,
): number | null {
  if (before === null) return null;
  const { delivery, options } = before;
  // Where one is withheld, little is said of where it would send.
  const isWithheld = [options, now].some(({ withheld = null }) => withheld !== null);
  return isWithheld || delivery.destination === destination ? delivery.lastSuccessMs : null;
}

/** Asking for the status sets the metrics that only asking can tell. */
async function sample(
  running: () => readonly Running[],
  clock: Clock,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    for (const { delivery } of running()) {
      try {
        await delivery.status();
      } catch (error) {
        logger.debug({ delivery: delivery.name, error }, 'a backlog could not be counted');
      }
    }
    await pause(clock, sampleMs, signal);
  }
}
