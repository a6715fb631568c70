/**
 * A process that appends without end and delivers, for a test that kills it.
 * Arguments: the store's folder, the S3 endpoint.
 */
import { startDeliveries } from '../../../../gateway/forward/deliveries.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { openStore } from '../../../../storage/store.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { numbered, streamOptions } from './rig.ts';
import { credentials } from './servers.ts';

const [folder = '', endpoint = ''] = process.argv.slice(2);
const ports = { clock: systemClock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
const store = await openStore({ folder, ...ports });
await store.log.ensureStream(streamOptions('readings'));
startDeliveries({
  deliveries: [
    {
      name: 'archive',
      from: { stream: 'readings' },
      to: { s3: { bucket: 'bucket', endpoint, region: 'us-east-1', ...credentials } },
      buffer: { maxBytes: 20_000, maxSeconds: 0.1 },
    },
  ],
  log: store.log,
  video: store.video,
  gatewayId: 'box-1',
  random: Math.random,
  ...ports,
});
for (;;) {
  const next = store.log.stream('readings').shards[0]?.nextSequence ?? 0;
  await store.log.append('readings', numbered(next, 20));
}
