/** Deliveries as a gateway runs them, and what tests of their backups ask of them. */
import type { TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { startDeliveries, type Deliveries } from '../../../../gateway/forward/deliveries.ts';
import type { DeliveryStatus } from '../../../../gateway/forward/delivery-status.ts';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import { testPrograms, type Rig } from './rig.ts';

/** Nothing listens there. */
export const dead = {
  s3: {
    ...{ bucket: 'b', endpoint: 'http://127.0.0.1:1', region: 'us-east-1' },
    ...{ accessKeyId: 'a', secretAccessKey: 's' },
  },
};

export function startAll(
  t: TestContext,
  rig: Rig,
  deliveries: readonly DeliveryOptions[],
): Deliveries {
  const started = startDeliveries({
    ...{ deliveries, log: rig.store.log, video: rig.store.video, gatewayId: 'box-1' },
    ...{ clock: rig.clock, logger: rig.logger, metrics: rig.metrics },
    ...{ programs: testPrograms, random: () => 0 },
  });
  t.after(() => started.close());
  return started;
}

export async function statusUntil(
  deliveries: Deliveries,
  name: string,
  isWanted: (status: DeliveryStatus) => boolean,
): Promise<DeliveryStatus> {
  for (;;) {
    const status = (await deliveries.status()).find((one) => one.name === name);
    if (status !== undefined && isWanted(status)) return status;
    await setImmediate();
  }
}

export const sentAll =
  (records: number) =>
  ({ state, sentRecords }: DeliveryStatus): boolean =>
    state === 'idle' && sentRecords === records;
