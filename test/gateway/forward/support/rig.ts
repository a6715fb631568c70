/** A real store and what a delivery needs around it. */
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { TestContext } from 'node:test';
import { Bandwidth } from '../../../../gateway/forward/bandwidth.ts';
import { Delivery, type DeliveryPorts } from '../../../../gateway/forward/delivery.ts';
import { sharedLimits } from '../../../../gateway/forward/limits.ts';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import type { Sink } from '../../../../gateway/forward/sink.ts';
import { Supervisor } from '../../../../gateway/supervisor.ts';
import { systemClock } from '../../../../storage/clock.ts';
import type { RecordInput, StreamOptions } from '../../../../storage/model.ts';
import type { Clock, Counter, Gauge, Labels } from '../../../../storage/ports.ts';
import { openStore, type Store, type StoreOptions } from '../../../../storage/store.ts';
import type { ManualClock } from '../../../support/manual-clock.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const compress = promisify(gzip);

/** Metrics that tell when they change, so that a test can wait for what it waits for. */
export class WatchedMetrics extends MemoryMetrics {
  readonly #waiting = new Set<() => void>();

  override counter(name: string): Counter {
    const counter = super.counter(name);
    return {
      add: (amount?: number, labels?: Labels) => {
        counter.add(amount, labels);
        this.#changed();
      },
    };
  }

  override gauge(name: string): Gauge {
    const gauge = super.gauge(name);
    return {
      set: (value: number, labels?: Labels) => {
        gauge.set(value, labels);
        this.#changed();
      },
      remove: (labels?: Labels) => {
        gauge.remove(labels);
        this.#changed();
      },
    };
  }

  /** The sum of a metric over all its labels. */
  total(name: string): number {
    let total = 0;
    for (const [key, value] of this.values) {
      if (key === name || key.startsWith(`${name}{`)) total += value;
    }
    return total;
  }

  /** Resolves once the metrics are as wanted. */
  until(wanted: (metrics: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (!wanted(this)) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Resolves once so many records have arrived at the destinations. */
  async sent(records: number): Promise<void> {
    await this.until(() => this.total('headgate_delivery_sent_records_total') >= records);
  }

  #changed(): void {
    for (const check of [...this.#waiting]) check();
  }
}

/** As they are run on a box. */
export const testPrograms: DeliveryPorts['programs'] = {
  env: process.env,
  killGroup: (pid) => {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  },
};

export interface Rig {
  readonly folder: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: MemoryLogger;
  readonly metrics: WatchedMetrics;
  readonly supervisor: Supervisor;
  start(options: DeliveryOptions, sink: Sink, prefix?: string): Delivery;
  /** Closes deliveries, supervisor and store. */
  close(): Promise<void>;
}

export async function openRig(
  context: TestContext,
  options: {
    readonly folder?: string;
    readonly clock?: Clock;
    /** Of all deliveries together. */
    readonly maxBytesPerSecond?: number;
    readonly video?: StoreOptions['video'];
    readonly masterKeys?: StoreOptions['masterKeys'];
  } = {},
): Promise<Rig> {
  const folder = options.folder ?? (await temporaryFolder(context));
  const clock = options.clock ?? systemClock;
  const logger = new MemoryLogger();
  const metrics = new WatchedMetrics();
  const store = await openStore({
    folder,
    clock,
    logger,
    metrics,
    ...(options.video !== undefined && { video: options.video }),
    ...(options.masterKeys !== undefined && { masterKeys: options.masterKeys }),
  });
  // The shortest delays that the back-off gives.
  const random = (): number => 0;
  const supervisor = new Supervisor({ clock, logger, metrics, random });
  const deliveries: Delivery[] = [];
  // The clock's timers keep no process alive, and a test may wait for nothing else.
  const alive = setInterval(() => undefined, 2 ** 30);
  const ports: DeliveryPorts = {
    log: store.log,
    video: store.video,
    gatewayId: 'box-1',
    owner: 'process-1',
    supervisor,
    limits: sharedLimits(
      new Bandwidth({ clock, maxBytesPerSecond: options.maxBytesPerSecond ?? null }),
    ),
    programs: testPrograms,
    clock,
    logger,
    metrics,
    random,
  };
  const close = async (): Promise<void> => {
    await Promise.all(deliveries.map((delivery) => delivery.close()));
    await supervisor.close();
    await store.close();
    clearInterval(alive);
  };
  context.after(close);
  return {
    folder,
    store,
    clock,
    logger,
    metrics,
    supervisor,
    start: (delivery, sink, prefix = '') => {
      const started = new Delivery(delivery, sink, prefix, ports);
      deliveries.push(started);
      return started;
    },
    close,
  };
}

export function streamOptions(name: string, shardCount = 1): StreamOptions {
  return {
    name,
    shardCount,
    mode: 'on-demand',
    retentionMs: 24 * 3600 * 1000,
    maxBytes: null,
    whenFull: 'refuse',
  };
}

/** Records `{"id":n,"key":…}` from `first` on; the key of each is its id modulo `keys`. */
export function numbered(first: number, count: number, keys = 7): RecordInput[] {
  return Array.from({ length: count }, (_, index) => {
    const id = first + index;
    const partitionKey = `key-${id % keys}`;
    return { partitionKey, data: Buffer.from(JSON.stringify({ id, key: partitionKey })) };
  });
}

/** Lets everything that is ready to run, run: reads and commits under way included. */
export async function settle(rig: Rig): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    if (turn % 5 === 0) await rig.store.writer.transact(() => Promise.resolve());
    await rig.store.queries.all('SELECT 1');
    await setImmediate();
  }
}

/**
 * The same, and waits for what runs on threads (compression, files) too: for tests that tell how
 * much of a driven clock's time something took, however busy the machine is.
 */
export async function settleAll(rig: Rig): Promise<void> {
  for (let turn = 0; turn < 15; turn += 1) {
    await rig.store.writer.transact(() => Promise.resolve());
    await Promise.all(Array.from({ length: 8 }, () => compress('x')));
    await rig.store.queries.all('SELECT 1');
    await setImmediate();
  }
}

/** Lets a driven clock run on in small steps until it is as wanted; returns how long it took. */
export async function runClock(
  rig: Rig,
  clock: ManualClock,
  wanted: () => boolean,
  stepMs = 100,
  settled: (rig: Rig) => Promise<void> = settle,
): Promise<number> {
  const startMs = clock.monotonicMs();
  for (let steps = 0; !wanted(); steps += 1) {
    if (steps > 20_000) throw new Error(`not as wanted after ${steps} steps of ${stepMs} ms`);
    clock.advance(stepMs);
    await settled(rig);
  }
  return clock.monotonicMs() - startMs;
}
