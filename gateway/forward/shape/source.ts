/**
 * The records of a shard as a delivery begins with them: those of a stream, or those of its failed
 * records, which are sent again as they were before they failed.
 */
import type { Log, LogRecord } from '../../../storage/model.ts';
import type { ShapedRecord } from './shaped-record.ts';

const sliceRecords = 2_000;
const sliceBytes = 1024 ** 2;

export interface RecordRange {
  readonly from: number;
  /** First sequence number no longer contained. */
  readonly to: number;
}

/** Makes what is sent of the records of a slice. */
export type Reading = (records: readonly LogRecord[]) => readonly ShapedRecord[];

/** The records as they are. Written out: for as many as there are, spreading takes time. */
export const asTheyAre: Reading = (records) =>
  records.map((record) => ({
    sequence: record.sequence,
    subSequence: 0,
    partitionKey: record.partitionKey,
    arrivalMs: record.arrivalMs,
    data: record.data,
    partition: null,
  }));

export interface RangeSource {
  readonly log: Log;
  readonly shardId: number;
  readonly range: RecordRange;
  /** Told of records that were deleted since the range was decided. */
  readonly onTrimmed: (count: number) => void;
}

/** The records of a range, slice by slice. @throws the signal's reason, once it aborts; StorageError */
export async function* slicesOf(
  { log, shardId, range, onTrimmed }: RangeSource,
  signal: AbortSignal,
): AsyncGenerator<readonly LogRecord[], void> {
  for (let next = range.from; next < range.to;) {
    signal.throwIfAborted();
    const slice = await log.read({
      shardId,
      fromSequence: next,
      maxRecords: Math.min(sliceRecords, range.to - next),
      maxBytes: sliceBytes,
    });
    onTrimmed(Math.min(slice.skipped.trimmed, range.to - next));
    const inside = slice.records.filter(({ sequence }) => sequence < range.to);
    if (inside.length > 0) yield inside;
    // A shard that ends before the plan does has lost its last batches; there is no more to read.
    if (slice.nextSequence <= next) return;
    next = slice.nextSequence;
  }
}
