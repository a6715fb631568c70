/**
 * A shard as a group commit leaves it: its records on their way into batches, and the batches as they
 * are written.
 *
 * Invariants
 * - A shard's sequence numbers are dense: the next one is where the last batch ends, or where the
 *   shard was trimmed to.
 * - A batch holds at most `batchBytesMax` of records, or a single larger one.
 */
import { arrivalSpanMaxMs, encodeBatch, encodedBytes, type TimedRecord } from './batch.ts';
import type { NewBatch } from './batch-table.ts';
import type { Shard, ShardPosition } from './streams.ts';

/** Readers load whole batches, so this bounds what a read of one record costs. */
export const batchBytesMax = 512 * 1024;

/** Records on their way into one batch. */
interface PendingBatch {
  readonly firstSequence: number;
  readonly records: TimedRecord[];
  bytes: number;
  lowArrivalMs: number;
  highArrivalMs: number;
}

/** A batch as it is written, and as it was before it was sealed. */
interface EncodedBatch extends NewBatch {
  readonly open: Buffer;
}

/** A shard as this group leaves it. */
export class StagedShard {
  readonly shard: Shard;
  position: ShardPosition;
  readonly batches: PendingBatch[] = [];
  readonly rows: EncodedBatch[] = [];

  constructor(shard: Shard) {
    this.shard = shard;
    this.position = shard.position;
  }

  /**
   * Gives the record its sequence number.
   * @param overheadBytes what a batch takes beside its records
   */
  add(record: TimedRecord, position: Mutable<ShardPosition>, overheadBytes: number): number {
    const bytes = encodedBytes(record);
    const { arrivalMs } = record;
    let batch = this.batches.at(-1);
    if (batch === undefined || !fits(batch, record, bytes)) {
      batch = {
        firstSequence: position.nextSequence,
        records: [],
        bytes: overheadBytes,
        lowArrivalMs: arrivalMs,
        highArrivalMs: arrivalMs,
      };
      this.batches.push(batch);
      position.endBytes += overheadBytes;
    }
    batch.records.push(record);
    batch.bytes += bytes;
    if (arrivalMs < batch.lowArrivalMs) batch.lowArrivalMs = arrivalMs;
    if (arrivalMs > batch.highArrivalMs) batch.highArrivalMs = arrivalMs;
    position.endBytes += bytes;
    position.newestArrivalMs = batch.highArrivalMs;
    if (arrivalMs > position.runningArrivalMs) position.runningArrivalMs = arrivalMs;
    position.nextSequence += 1;
    return position.nextSequence - 1;
  }

  /** How to put everything back as it is now. */
  snapshot(): () => void {
    const { position } = this;
    const count = this.batches.length;
    const last = this.batches.at(-1);
    const { bytes, lowArrivalMs, highArrivalMs } = last ?? {};
    const records = last?.records.length ?? 0;
    return () => {
      this.position = position;
      this.batches.length = count;
      if (last === undefined) return;
      last.records.length = records;
      Object.assign(last, { bytes, lowArrivalMs, highArrivalMs });
    };
  }

  /** Each batch takes so much more; returns what all of them do. */
  enlarge(bytesEach: number): number {
    for (const batch of this.batches) batch.bytes += bytesEach;
    const bytes = bytesEach * this.batches.length;
    this.position = { ...this.position, endBytes: this.position.endBytes + bytes };
    return bytes;
  }

  /**
   * Makes each row when it is asked for.
   * @param seal null: the batches are written as they are
   */
  *encode(seal: ((open: Buffer) => Buffer) | null): Generator<NewBatch, void> {
    let { endBytes, runningArrivalMs } = this.shard.position;
    for (const batch of this.batches) {
      endBytes += batch.bytes;
      runningArrivalMs = Math.max(runningArrivalMs, batch.highArrivalMs);
      const open = encodeBatch(batch.firstSequence, batch.records);
      const row = {
        shardId: this.shard.id,
        firstSequence: batch.firstSequence,
        recordCount: batch.records.length,
        highArrivalMs: batch.highArrivalMs,
        runningArrivalMs,
        endBytes,
        open,
        body: seal === null ? open : seal(open),
      };
      this.rows.push(row);
      yield row;
    }
  }
}

export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function fits(batch: PendingBatch, record: TimedRecord, bytes: number): boolean {
  return (
    batch.bytes + bytes <= batchBytesMax &&
    record.arrivalMs - batch.lowArrivalMs <= arrivalSpanMaxMs &&
    batch.highArrivalMs - record.arrivalMs <= arrivalSpanMaxMs
  );
}
