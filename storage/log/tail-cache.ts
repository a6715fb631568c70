/**
 * The newest batches of the shards that somebody follows, decoded once for all who read them.
 *
 * Invariants
 * - What is here was committed. The batches of a shard are in order; some may be missing between.
 * - All shards together take at most `maxBytes`, records as objects included; the oldest batch goes
 *   first, whosever it is.
 * - A shard that nobody reads at its head costs nothing: it is followed from when a read comes to its
 *   end until a batch goes that nobody has read.
 *
 * Readers share the records: nobody writes to them. What is older comes from the disk: `reading.ts`.
 */
import type { LogRecord } from '../model.ts';
import type { Gauge, Metrics } from '../ports.ts';
import { decodeBatch } from './batch.ts';
import type { Shard } from './streams.ts';

/** About what a record takes as an object, beside its bytes. */
export const recordObjectBytes = 200;
export const batchObjectBytes = 300;
/** A batch larger than this part of the cache would push too much out of it. */
const batchesMin = 8;

interface Kept {
  /** null: it was removed before its turn. */
  tail: Tail | null;
  readonly firstSequence: number;
  readonly count: number;
  readonly blob: Buffer;
  readonly bytes: number;
  records: readonly LogRecord[] | null;
}

interface Tail {
  followed: boolean;
  readonly batches: Queue<Kept>;
}

export class TailCache {
  readonly #maxBytes: number;
  readonly #tails = new WeakMap<Shard, Tail>();
  /** Of all shards, in the order of their commits. */
  readonly #order = new Queue<Kept>();
  readonly #gauge: Gauge;
  #bytes = 0;

  /** @param maxBytes 0: nothing is kept */
  constructor(maxBytes: number, metrics: Metrics) {
    this.#maxBytes = maxBytes;
    this.#gauge = metrics.gauge(
      'headgate_log_tail_cache_bytes',
      'Memory taken by the newest records, kept for readers at the head.',
    );
  }

  /** Somebody reads at the head of the shard: what comes is kept. */
  follow(shard: Shard): void {
    const tail = this.#tails.get(shard);
    if (tail !== undefined) tail.followed = true;
    else if (this.#maxBytes > 0) {
      this.#tails.set(shard, { followed: true, batches: new Queue() });
    }
  }

  /** Keeps a batch that was just committed, if somebody follows the shard. */
  add(shard: Shard, firstSequence: number, count: number, blob: Buffer): void {
    const tail = this.#tails.get(shard);
    if (tail?.followed !== true) return;
    const bytes = blob.length + batchObjectBytes + count * recordObjectBytes;
    if (bytes > this.#maxBytes / batchesMin) return;
    const kept = { tail, firstSequence, count, blob, bytes, records: null };
    tail.batches.push(kept);
    this.#order.push(kept);
    this.#bytes += bytes;
    while (this.#bytes > this.#maxBytes) this.#dropOldest();
    this.#gauge.set(this.#bytes);
  }

  /**
   * The records from `sequence` on of the batch that holds it; null when it is not here. `decoded`
   * is the bytes that had to be decoded for it.
   */
  find(
    shard: Shard,
    sequence: number,
  ): { readonly records: readonly LogRecord[]; readonly decodedBytes: number } | null {
    const batches = this.#tails.get(shard)?.batches;
    if (batches === undefined) return null;
    let low = 0;
    let high = batches.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((batches.at(middle)?.firstSequence ?? Infinity) <= sequence) low = middle;
      else high = middle - 1;
    }
    const kept = batches.at(low);
    if (kept === undefined) return null;
    const skip = sequence - kept.firstSequence;
    if (skip < 0 || skip >= kept.count) return null;
    const decodedBytes = kept.records === null ? kept.blob.length : 0;
    kept.records ??= decodeBatch(kept.blob);
    return { records: skip === 0 ? kept.records : kept.records.slice(skip), decodedBytes };
  }

  /** The shard is gone. */
  forget(shard: Shard): void {
    const tail = this.#tails.get(shard);
    if (tail === undefined) return;
    tail.followed = false;
    this.#clear(tail);
    this.#gauge.set(this.#bytes);
  }

  #dropOldest(): void {
    const kept = this.#order.shift();
    if (kept?.tail == null) return;
    kept.tail.batches.shift();
    this.#bytes -= kept.bytes;
    if (kept.records !== null) return;
    kept.tail.followed = false;
    this.#clear(kept.tail);
  }

  #clear(tail: Tail): void {
    for (let kept = tail.batches.shift(); kept !== undefined; kept = tail.batches.shift()) {
      kept.tail = null;
      this.#bytes -= kept.bytes;
    }
  }
}

/** First in, first out; the places that are given up are freed now and then. */
class Queue<T> {
  #items: (T | undefined)[] = [];
  #begin = 0;

  get length(): number {
    return this.#items.length - this.#begin;
  }

  at(index: number): T | undefined {
    return index < 0 ? undefined : this.#items[this.#begin + index];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#begin];
    if (this.length === 0) return undefined;
    this.#items[this.#begin] = undefined;
    this.#begin += 1;
    if (this.#begin * 2 > this.#items.length && this.#begin >= 64) {
      this.#items = this.#items.slice(this.#begin);
      this.#begin = 0;
    }
    return item;
  }
}
