/**
 * The limits of a provisioned stream's shards, as the service has them: 1 MiB and 1,000 records a
 * second in; 2 MiB and 5 calls a second out. Token buckets that hold one second's worth, on
 * monotonic time.
 *
 * What is larger than a bucket passes when the bucket is full, and is paid for afterwards: a record
 * of 10 MiB keeps its shard waiting for ten seconds. Reads are paid for once it is known what they
 * return, as in the service.
 */
import type { Clock } from '../../../storage/ports.ts';

const MiB = 2 ** 20;
const limits = {
  inBytes: MiB,
  inRecords: 1000,
  outBytes: 2 * MiB,
  outCalls: 5,
} as const;
type Limit = keyof typeof limits;

/** Shards remembered; past that, those that have not been used for a second are forgotten. */
const shardsMax = 10_000;

interface Buckets {
  /** What is left in each, as of `atMs`; below zero: owed. */
  readonly left: Record<Limit, number>;
  atMs: number;
}

export class ShardLimits {
  readonly #clock: Clock;
  readonly #shards = new Map<number, Buckets>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the shard takes one more record now; then it is counted. */
  takeRecord(shardId: number, bytes: number): boolean {
    const { left } = this.#bucketsOf(shardId);
    if (left.inRecords < 1 || left.inBytes < Math.min(bytes, limits.inBytes)) return false;
    left.inRecords -= 1;
    left.inBytes -= bytes;
    return true;
  }

  /** Whether the shard may be read now; then the call is counted. */
  takeRead(shardId: number): boolean {
    const { left } = this.#bucketsOf(shardId);
    if (left.outCalls < 1 || left.outBytes <= 0) return false;
    left.outCalls -= 1;
    return true;
  }

  /** Counts what a read returned. */
  countRead(shardId: number, bytes: number): void {
    this.#bucketsOf(shardId).left.outBytes -= bytes;
  }

  #bucketsOf(shardId: number): Buckets {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#shards.get(shardId);
    if (known === undefined) {
      if (this.#shards.size >= shardsMax) this.#forgetIdle(nowMs);
      const fresh: Buckets = { left: { ...limits }, atMs: nowMs };
      this.#shards.set(shardId, fresh);
      return fresh;
    }
    refill(known, nowMs);
    return known;
  }

  #forgetIdle(nowMs: number): void {
    for (const [shardId, buckets] of this.#shards) {
      refill(buckets, nowMs);
      const isFull = (Object.keys(limits) as Limit[]).every(
        (limit) => buckets.left[limit] >= limits[limit],
      );
      if (isFull) this.#shards.delete(shardId);
    }
  }
}

function refill(buckets: Buckets, nowMs: number): void {
  const seconds = (nowMs - buckets.atMs) / 1000;
  if (seconds <= 0) return;
  buckets.atMs = nowMs;
  for (const limit of Object.keys(limits) as Limit[]) {
    const filled = buckets.left[limit] + seconds * limits[limit];
    buckets.left[limit] = Math.min(limits[limit], filled);
  }
}

/** The 2 MiB a second that each consumer with enhanced fan-out has of each shard. */
export class Throughput {
  readonly #clock: Clock;
  #leftBytes: number = limits.outBytes;
  #atMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atMs = clock.monotonicMs();
  }

  /** How long to wait before anything more is sent; 0: not at all. */
  delayMs(): number {
    const nowMs = this.#clock.monotonicMs();
    const filled = this.#leftBytes + ((nowMs - this.#atMs) / 1000) * limits.outBytes;
    this.#leftBytes = Math.min(limits.outBytes, filled);
    this.#atMs = nowMs;
    return this.#leftBytes > 0 ? 0 : Math.ceil((-this.#leftBytes / limits.outBytes) * 1000) + 1;
  }

  /** Counts what was sent. */
  count(bytes: number): void {
    this.#leftBytes -= bytes;
  }
}
