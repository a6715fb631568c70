/** The fragment index: what it takes on disk, and how long it takes to find what was when. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { systemClock } from '../../storage/clock.ts';
import { openStore, type Store } from '../../storage/store.ts';
import { seededRandom } from '../storage/support/open.ts';
import { cameraOptions, newYearUs } from '../storage/video/footage.ts';
import {
  bytesPerCameraHour,
  fillMonth,
  fragmentUs,
  monthFragments,
} from '../storage/video/month.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';
import { quantile, type Benchmark } from './bench.ts';

const queries = 2000;
const rangeFragments = 30;

export const benchmark: Benchmark = {
  name: 'index',
  title: `The index of a month of one camera, ${monthFragments.toLocaleString('en-US')} fragments`,
  run: async ({ folder, note }) => {
    const bytes = await inStore(join(folder, 'size'), bytesPerCameraHour);
    note('filling a month');
    const timesMs = await inStore(join(folder, 'month'), async (store) => {
      const { id } = await store.video.ensureCamera(cameraOptions('gate'));
      await fillMonth(store.writer, id);
      return timeQueries(store);
    });
    return [
      {
        name: 'index on disk, per camera-hour',
        value: bytes / 1000,
        unit: 'KB',
        target: { atMost: 300 },
      },
      {
        name: `fragments from a to b, ${rangeFragments} of them, p50`,
        value: quantile(timesMs, 0.5),
        unit: 'ms',
      },
      {
        name: `fragments from a to b, ${rangeFragments} of them, p99`,
        value: quantile(timesMs, 0.99),
        unit: 'ms',
        target: { atMost: 5 },
      },
    ];
  },
};

async function timeQueries(store: Store): Promise<readonly number[]> {
  const random = seededRandom(1);
  const timesMs: number[] = [];
  for (let query = 0; query < queries; query += 1) {
    const first = Math.floor(random() * (monthFragments - rangeFragments));
    const fromUs = newYearUs + first * fragmentUs;
    const toUs = fromUs + rangeFragments * fragmentUs;
    const startedMs = performance.now();
    const found = await store.video.fragments({ camera: 'gate', fromUs, toUs, limit: 1000 });
    timesMs.push(performance.now() - startedMs);
    if (found.length !== rangeFragments) throw new Error(`${found.length} were found`);
  }
  return timesMs;
}

async function inStore<T>(
  folder: string,
  work: (store: Store, folder: string) => Promise<T>,
): Promise<T> {
  await mkdir(folder, { recursive: true });
  const store = await openStore({
    folder,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
    video: { minFreeBytes: 0 },
  });
  try {
    return await work(store, folder);
  } finally {
    await store.close();
  }
}
