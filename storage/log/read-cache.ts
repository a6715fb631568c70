/**
 * Batches that were read from the disk a moment ago, decoded: those who go through the same backlog
 * side by side, such as several deliveries after an outage, read and decode it once.
 *
 * Invariants
 * - What is here was on the disk when it was read. It never changes there; that it was trimmed
 *   meanwhile is seen by the reader, who asks for nothing older.
 * - All shards together take at most `maxBytes`, records as objects included; what was not asked for
 *   for the longest time goes first.
 *
 * Readers share the records: nobody writes to them. The newest batches are in `tail-cache.ts`.
 */
import type { LogRecord } from '../model.ts';
import type { Gauge, Metrics } from '../ports.ts';
import type { Shard } from './streams.ts';
import { batchObjectBytes, recordObjectBytes } from './tail-cache.ts';

/** A batch larger than this part of the cache would push too much out of it. */
const batchesMin = 8;

interface Kept {
  readonly shard: Shard;
  readonly firstSequence: number;
  readonly records: readonly LogRecord[];
  readonly bytes: number;
}

export class ReadCache {
  readonly #maxBytes: number;
  /** By shard, in the order of their sequence numbers. */
  readonly #shards = new WeakMap<Shard, Kept[]>();
  readonly #gone = new WeakSet<Shard>();
  /** Those of all shards, the one that was asked for last at the end. */
  readonly #order = new Set<Kept>();
  readonly #gauge: Gauge;
  #bytes = 0;

  /** @param maxBytes 0: nothing is kept */
  constructor(maxBytes: number, metrics: Metrics) {
    this.#maxBytes = maxBytes;
    this.#gauge = metrics.gauge(
      'headgate_log_read_cache_bytes',
      'Memory taken by records that were read from the disk, kept for others who read the same.',
    );
  }

  /** @param bodyBytes what the records hold on to, beside themselves */
  add(shard: Shard, records: readonly LogRecord[], bodyBytes: number): void {
    const [first] = records;
    const bytes = bodyBytes + batchObjectBytes + records.length * recordObjectBytes;
    if (first === undefined || bytes > this.#maxBytes / batchesMin) return;
    if (this.#gone.has(shard)) return;
    const kept = { shard, firstSequence: first.sequence, records, bytes };
    const batches = this.#shards.get(shard) ?? [];
    this.#shards.set(shard, batches);
    const before = lastUpTo(batches, first.sequence);
    const same = batches[before];
    if (same?.firstSequence === first.sequence) this.#remove(same);
    batches.splice(lastUpTo(batches, first.sequence) + 1, 0, kept);
    this.#order.add(kept);
    this.#bytes += bytes;
    for (const oldest of this.#order) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#remove(oldest);
    }
    this.#gauge.set(this.#bytes);
  }

  /** The records from `sequence` on of a batch that holds it; null when none is here. */
  find(shard: Shard, sequence: number): readonly LogRecord[] | null {
    const batches = this.#shards.get(shard);
    const kept = batches?.[lastUpTo(batches, sequence)];
    if (kept === undefined) return null;
    const skip = sequence - kept.firstSequence;
    if (skip >= kept.records.length) return null;
    this.#order.delete(kept);
    this.#order.add(kept);
    return skip === 0 ? kept.records : kept.records.slice(skip);
  }

  /** The shard is gone: what is still being loaded of it is not kept either. */
  forget(shard: Shard): void {
    this.#gone.add(shard);
    for (const kept of [...(this.#shards.get(shard) ?? [])]) this.#remove(kept);
    this.#gauge.set(this.#bytes);
  }

  #remove(kept: Kept): void {
    const batches = this.#shards.get(kept.shard);
    batches?.splice(lastUpTo(batches, kept.firstSequence), 1);
    this.#order.delete(kept);
    this.#bytes -= kept.bytes;
  }
}

/** The place of the last batch that begins at or before a sequence number; -1: there is none. */
function lastUpTo(batches: readonly Kept[], sequence: number): number {
  let low = 0;
  let high = batches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((batches[middle]?.firstSequence ?? Infinity) <= sequence) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
