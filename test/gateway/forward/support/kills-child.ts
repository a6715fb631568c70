/**
 * A process that appends and delivers until it is killed by a test, with everything on that may go
 * wrong: partitions, a function whose answers differ each time, records that fail.
 * Argument: `KillsRun` as JSON. It prints a line for every append, and while it waits.
 */
import { setTimeout } from 'node:timers/promises';
import { Bandwidth } from '../../../../gateway/forward/bandwidth.ts';
import { Delivery } from '../../../../gateway/forward/delivery.ts';
import { sharedLimits } from '../../../../gateway/forward/limits.ts';
import { Supervisor } from '../../../../gateway/supervisor.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { openStore } from '../../../../storage/store.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { deliveryOf, recordsFrom, sinkOf, type KillsRun } from './kills-run.ts';
import { streamOptions, testPrograms } from './rig.ts';

const appendedAtOnce = 20;
/** Of a line that it prints while it appends nothing. */
const pulseMs = 2;

const run = JSON.parse(process.argv[2] ?? '') as KillsRun;
const clock = systemClock;
const logger = new MemoryLogger();
const metrics = new MemoryMetrics();
const store = await openStore({ folder: run.folder, clock, logger, metrics });
await store.log.ensureStream(streamOptions('readings'));
const random = (): number => 0;
const delivery = new Delivery(deliveryOf(run), sinkOf(run), run.prefix, {
  ...{ log: store.log, video: store.video, gatewayId: 'box-1', owner: 'process-1' },
  supervisor: new Supervisor({ clock, logger, metrics, random }),
  limits: sharedLimits(new Bandwidth({ clock, maxBytesPerSecond: null })),
  ...{ clock, logger, metrics, random, programs: testPrograms },
});
for (;;) {
  const next = store.log.stream('readings').shards[0]?.nextSequence ?? 0;
  const { backlog } = await delivery.status();
  if (backlog.records < run.aheadMax) {
    await store.log.append('readings', recordsFrom(next, appendedAtOnce));
  } else {
    await setTimeout(pulseMs);
  }
  process.stdout.write('alive\n');
}
