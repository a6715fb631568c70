/**
 * Splits and merges the shards of streams on demand by the load that they have, up to `maxShards`
 * and never below what the stream began with.
 *
 * Invariants
 * - What is measured is what a shard's position says that it has taken: appends cost nothing more.
 *   Time is monotonic.
 * - A shard is split once it was busy at every look of a minute; two neighbours are merged after
 *   about a quarter of an hour of little (`load.ts`): a load that comes and goes moves nothing.
 * - Most load under one partition key is no reason for a split, which would not divide it: it is
 *   logged once, and shown by a metric while it lasts.
 * - Provisioned streams are left alone.
 */
import { StorageError } from '../errors.ts';
import type { CancelTimer, Clock, Counter, Gauge, Logger, Metrics } from '../ports.ts';
import { fromHashKey, type KeyHasher } from './hash-keys.ts';
import { adviseSplit, decide, newLoad, nextLoad, type ShardLoad } from './load.ts';
import type { LogReader } from './reading.ts';
import type { Resharding } from './resharding.ts';
import type { Shard, Stream, Streams } from './streams.ts';

const lookEveryMs = 10_000;
/** What is read of a busy shard to see which keys it is busy with. */
const sampleRecords = 2000;
const sampleBytes = 1024 * 1024;

export interface ScalingOptions {
  readonly streams: Streams;
  readonly resharding: Resharding;
  readonly reader: LogReader;
  readonly hasher: KeyHasher;
  /** Open shards that a stream is split into at most. */
  readonly maxShards: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

interface Meter {
  readonly atMs: number;
  readonly records: number;
  readonly bytes: number;
  readonly load: ShardLoad;
}

export class Scaling {
  readonly #options: ScalingOptions;
  readonly #reshards: Counter;
  readonly #dominantPart: Gauge;
  readonly #meters = new WeakMap<Shard, Meter>();
  /** Busy shards and the key that is to blame. */
  readonly #dominated = new Map<Shard, string>();
  #running: Promise<void> | null = null;
  #cancelTimer: CancelTimer | null = null;
  #failing = false;
  #closing = false;

  constructor(options: ScalingOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#reshards = metrics.counter(
      'headgate_log_reshards_total',
      'Shards that were split or merged because of their load, by stream and kind.',
    );
    this.#dominantPart = metrics.gauge(
      'headgate_log_dominant_key_ratio',
      'Part of the load of a busy shard that comes under one partition key, where a split would not help.',
    );
  }

  /** Begins to run by itself. */
  start(): void {
    if (this.#closing) return;
    this.#cancelTimer = this.#options.clock.setTimer(lookEveryMs, () => {
      void this.look().then(() => {
        this.start();
      });
    });
  }

  /** Measures, and does what follows from it. */
  look(): Promise<void> {
    this.#running ??= this.#lookAtAll().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** Stops after the step under way. Closing twice is harmless. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#cancelTimer?.();
    await this.#running;
  }

  async #lookAtAll(): Promise<void> {
    for (const stream of this.#options.streams.all()) {
      if (this.#closing) return;
      if (stream.options.mode !== 'on-demand') continue;
      try {
        await this.#lookAt(stream);
        this.#failing = false;
      } catch (error) {
        // What the store refuses, the writer has told of.
        if (!(error instanceof StorageError) && !this.#failing) {
          this.#options.logger.error({ error }, 'Scaling failed; it is tried again.');
        }
        this.#failing = true;
      }
    }
    for (const shard of this.#dominated.keys()) this.#forgive(shard);
  }

  async #lookAt(stream: Stream): Promise<void> {
    const { shards } = stream.routing;
    const loads = shards.map((shard) => this.#measure(shard));
    const limits = { floor: stream.options.shardCount, ceiling: this.#options.maxShards };
    const { split, merge } = decide(loads, limits);
    const byIndex = new Map(shards.map((shard) => [shard.index, shard]));
    for (const index of split) {
      const shard = byIndex.get(index);
      if (shard !== undefined) await this.#split(stream, shard);
    }
    if (merge !== null) await this.#merge(stream, merge);
  }

  #measure(shard: Shard): ShardLoad {
    const { nextSequence: records, endBytes: bytes } = shard.position;
    const atMs = this.#options.clock.monotonicMs();
    const before = this.#meters.get(shard);
    let load = before?.load ?? newLoad(shard.index);
    if (before !== undefined) {
      const durationMs = atMs - before.atMs;
      if (durationMs <= 0) return load;
      const taken = { records: records - before.records, bytes: bytes - before.bytes, durationMs };
      load = nextLoad(load, taken);
    }
    this.#meters.set(shard, { atMs, records, bytes, load });
    return load;
  }

  async #split(stream: Stream, shard: Shard): Promise<void> {
    const { reader, resharding, hasher, logger } = this.#options;
    const { nextSequence, trimSequence } = shard.position;
    const { records } = await reader.read(shard, {
      fromSequence: Math.max(trimSequence, nextSequence - sampleRecords),
      shardId: shard.id,
      // Not to its end: the tail is kept in memory for whoever reads that.
      maxRecords: sampleRecords - 1,
      maxBytes: sampleBytes,
    });
    const advice = adviseSplit(shard.range, records, (key) => fromHashKey(hasher.hashKeyOf(key)));
    const { name } = stream.options;
    if (advice.kind === 'dominated') {
      this.#blame(shard, advice.partitionKey, advice.part);
    } else if (advice.kind === 'split') {
      await resharding.split(name, shard.index, advice.at);
      this.#reshards.add(1, { stream: name, kind: 'split' });
      logger.info({ stream: name, shard: shard.index }, 'A busy shard was split.');
    }
  }

  async #merge(stream: Stream, [left, right]: readonly [number, number]): Promise<void> {
    const { resharding, logger } = this.#options;
    const { name } = stream.options;
    await resharding.merge(name, left, right);
    this.#reshards.add(1, { stream: name, kind: 'merge' });
    logger.info({ stream: name, shards: [left, right] }, 'Two idle shards were merged.');
  }

  #blame(shard: Shard, partitionKey: string, part: number): void {
    const labels = { stream: shard.stream.options.name, shard: String(shard.index) };
    this.#dominantPart.set(part, labels);
    if (this.#dominated.get(shard) === partitionKey) return;
    this.#dominated.set(shard, partitionKey);
    this.#options.logger.warn(
      { ...labels, partitionKey, part },
      'Most of the load of a shard comes under one partition key: a split would not divide it.',
    );
  }

  /** Once the shard is no longer busy, or gone. */
  #forgive(shard: Shard): void {
    const busyMs = this.#meters.get(shard)?.load.busyMs ?? 0;
    const { streams } = this.#options;
    const isOpen = streams.hasShard(shard.id) && shard.closedMs === null;
    if (isOpen && busyMs > 0 && shard.stream.options.mode === 'on-demand') return;
    this.#dominated.delete(shard);
    const labels = { stream: shard.stream.options.name, shard: String(shard.index) };
    this.#dominantPart.set(0, labels);
  }
}
