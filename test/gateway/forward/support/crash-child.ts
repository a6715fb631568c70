/**
 * A process that appends without end and delivers, for a test that kills it.
 * Arguments: the store's folder, the S3 endpoint, how it catches up. Its time runs a hundred times as
 * fast as ours then, so that it is soon far behind; it says so, and when it begins another lane.
 */
import { setTimeout } from 'node:timers/promises';
import { startDeliveries } from '../../../../gateway/forward/deliveries.ts';
import { systemClock } from '../../../../storage/clock.ts';
import type { Clock } from '../../../../storage/ports.ts';
import { openStore } from '../../../../storage/store.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { numbered, streamOptions } from './rig.ts';
import { credentials } from './servers.ts';

const speed = 100;
const startMs = Date.now();
const fast: Clock = {
  nowMs: () => startMs + (Date.now() - startMs) * speed,
  monotonicMs: () => systemClock.monotonicMs() * speed,
  setTimer: (delayMs, callback) => systemClock.setTimer(delayMs / speed, callback),
};

const [folder = '', endpoint = '', catchUp = ''] = process.argv.slice(2);
const liveFirst = catchUp === 'live-first';
const logger = new MemoryLogger();
const ports = { clock: liveFirst ? fast : systemClock, logger, metrics: new MemoryMetrics() };
const store = await openStore({ folder, ...ports });
await store.log.ensureStream(streamOptions('readings'));
startDeliveries({
  deliveries: [
    {
      name: 'archive',
      from: { stream: 'readings' },
      to: { s3: { bucket: 'bucket', endpoint, region: 'us-east-1', ...credentials } },
      buffer: { maxBytes: 20_000, maxSeconds: 0.1 },
      catchUp: liveFirst ? 'live-first' : 'in-order',
    },
  ],
  log: store.log,
  video: store.video,
  gatewayId: 'box-1',
  random: Math.random,
  ...ports,
});
const begunMs = fast.monotonicMs();
let toldBehind = false;
let toldLanes = 0;
for (;;) {
  const lanes = logger.lines.filter(({ message }) => message.includes('what is new first')).length;
  if (lanes > toldLanes) process.stdout.write('another lane\n');
  toldLanes = lanes;
  if (!toldBehind && fast.monotonicMs() - begunMs > 90_000) {
    toldBehind = true;
    process.stdout.write('far behind\n');
  }
  // Live-first is about what comes meanwhile; without a pause it would never be drained here.
  if (liveFirst) await setTimeout(1);
  const next = store.log.stream('readings').shards[0]?.nextSequence ?? 0;
  await store.log.append('readings', numbered(next, 20));
}
