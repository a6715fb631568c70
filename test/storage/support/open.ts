import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StreamOptions } from '../../../storage/model.ts';
import { openStore, type Store, type StoreOptions } from '../../../storage/store.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import type { Scope } from '../../support/scope.ts';

export interface TestStore {
  store: Store;
  readonly folder: string;
  readonly clock: ManualClock;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
  /** Closes the store and opens it again: memory is gone, the disk stays. */
  readonly reopen: () => Promise<Store>;
}

/** A store in a new folder, closed when the test ends. */
export async function openTestStore(
  context: Scope,
  options: Partial<StoreOptions> = {},
): Promise<TestStore> {
  // Removed after the store is closed: hooks run in the order of their registration.
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'headgate-test-')));
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const all = { clock, logger, metrics, reserveBytes: 0, ...options, folder };
  const test: TestStore = {
    store: await openStore(all),
    folder,
    clock,
    logger,
    metrics,
    reopen: async () => {
      await test.store.close();
      test.store = await openStore(all);
      return test.store;
    },
  };
  context.after(async () => {
    await test.store.close();
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
  });
  return test;
}

export const hourMs = 60 * 60 * 1000;

export function streamOptions(change: Partial<StreamOptions> = {}): StreamOptions {
  return {
    name: 'readings',
    shardCount: 1,
    mode: 'on-demand',
    retentionMs: 24 * hourMs,
    maxBytes: null,
    whenFull: 'refuse',
    ...change,
  };
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
