/**
 * A process that appends and delivers until it is killed by a test.
 * Arguments: the store's folder, the S3 endpoint, how it catches up and, for live-first, how many
 * were killed before. Its clocks leap by a minute then once it has appended a few objects, so that
 * it is far behind; it says so, and when it begins another lane.
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

const leapMs = 60_000;
/** Of 20 records each; an object takes about 20. */
const batchesBeforeLeap = 200;
const batchesMax = 2000;

const [folder = '', endpoint = '', catchUp = '', killed = '0'] = process.argv.slice(2);
const liveFirst = catchUp === 'live-first';
let aheadMs = Number(killed) * leapMs;
const clock: Clock = {
  nowMs: () => systemClock.nowMs() + aheadMs,
  monotonicMs: () => systemClock.monotonicMs() + aheadMs,
  setTimer: (delayMs, callback) => systemClock.setTimer(delayMs, callback),
};
const logger = new MemoryLogger();
const ports = { clock, logger, metrics: new MemoryMetrics() };
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
  programs: { env: {}, killGroup: () => undefined },
  random: () => 0,
  ...ports,
});
let toldLanes = 0;
for (let batches = 0; ; batches += 1) {
  const lanes = logger.lines.filter(({ message }) => message.includes('what is new first')).length;
  if (lanes > toldLanes) process.stdout.write('another lane\n');
  toldLanes = lanes;
  if (liveFirst && batches === batchesBeforeLeap) {
    aheadMs += leapMs;
    process.stdout.write('far behind\n');
  }
  // Live-first is about what comes meanwhile; without a pause it would never be drained here.
  if (liveFirst && batches >= batchesBeforeLeap) await setTimeout(5);
  if (batches >= batchesMax) {
    await setTimeout(50);
    continue;
  }
  const next = store.log.stream('readings').shards[0]?.nextSequence ?? 0;
  await store.log.append('readings', numbered(next, 20));
}
