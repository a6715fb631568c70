/**
 * All deliveries of the gateway: those of the configuration, and the delivery streams that were made
 * over the Firehose API. Which of them there are is brought in line one change after the other, as
 * both the configuration and the API change it.
 */
import type { Clock, Logger } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import { DeliveryStreams, type Configured } from './api/firehose/delivery-streams.ts';
import type { Config } from './config/schema.ts';
import type { Deliveries } from './forward/deliveries.ts';
import { namedDeliveries, type DeliveryOptions } from './forward/options.ts';
import { unpinRemoved } from './forward/removed.ts';
import { withBackups } from './forward/source-backup.ts';

export interface FirehoseParts {
  readonly config: Config;
  readonly store: Store;
  /** Of this gateway. */
  readonly secret: Buffer;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Knows the delivery streams before anything is sent. @throws StorageError */
export function openDeliveryStreams(parts: FirehoseParts): Promise<DeliveryStreams> {
  const { config, store, secret, clock, logger } = parts;
  const { region, accountId } = config.aws;
  return DeliveryStreams.open({
    ...{ items: store.items, log: store.log, secret, clock, logger },
    account: { region, accountId },
    configured: configuredOf(config),
  });
}

function configuredOf({ deliveries, firehose }: Config): Configured {
  return {
    deliveries: namedDeliveries(deliveries),
    places: firehose,
    streamsMax: firehose.maxDeliveryStreams,
  };
}

export interface AllDeliveries {
  /** Takes over another configuration. */
  update(config: Config): Promise<void>;
}

/**
 * Lets the API change what is sent.
 * @param start starts what is to be sent at first
 */
export async function startAllDeliveries(
  streams: DeliveryStreams,
  { config, store, logger }: Pick<FirehoseParts, 'config' | 'store' | 'logger'>,
  start: (deliveries: readonly DeliveryOptions[]) => Deliveries,
): Promise<{ readonly deliveries: Deliveries; readonly all: AllDeliveries }> {
  let configured = namedDeliveries(config.deliveries);
  const wanted = (): readonly DeliveryOptions[] => [...configured, ...streams.deliveries()];
  const unpin = (kept: readonly DeliveryOptions[]): Promise<void> =>
    unpinRemoved(store.log, withBackups(kept), logger);
  const first = wanted();
  await unpin(first);
  const deliveries = start(first);
  let last: Promise<void> = Promise.resolve();
  const inLine = (uplinkBytesPerSecond?: number | null): Promise<void> => {
    const turn = last.then(async () => {
      const all = wanted();
      await deliveries.update(all, uplinkBytesPerSecond);
      await unpin(all);
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  await streams.start({
    update: () => inLine(),
    // As with Firehose, what a delivery stream holds goes with it.
    forget: async (name) => {
      await deliveries.forget(name, true);
    },
  });
  return {
    deliveries,
    all: {
      update: (changed) => {
        configured = namedDeliveries(changed.deliveries);
        streams.configure(configuredOf(changed));
        return inLine(changed.uplink.maxBytesPerSecond);
      },
    },
  };
}
