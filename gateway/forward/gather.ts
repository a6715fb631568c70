/**
 * Decides where the next object of a shard ends: at the buffer's size, at its age, or at the end of
 * the shard. Nothing is kept: the records are counted here and read again when the object is made,
 * from the plan, the same way as after a crash; unless the object is encoded meanwhile
 * (`encode-ahead.ts`).
 */
import type { Log, LogRecord, ReadResult } from '../../storage/model.ts';
import type { Clock } from '../../storage/ports.ts';
import type { ObjectAhead } from './encode-ahead.ts';
import type { Progress } from './progress.ts';
import { pause, within } from './timing.ts';

const sliceRecords = 5_000;
const sliceBytes = 1024 ** 2;

export interface GatherOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly shardId: number;
  readonly from: number;
  /** The first position that is somebody else's; null: there is no such. */
  readonly until: number | null;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  /** What a record counts for against `maxBytes`. */
  readonly measure: (record: LogRecord) => number;
  /** Given the records; closed when more have to be waited for. null: nothing is encoded ahead. */
  readonly ahead: Pick<ObjectAhead, 'add' | 'close' | 'isClosed'> | null;
  readonly worker: string;
  readonly progress: Pick<Progress, 'lost' | 'works' | 'awaitsMore'>;
  readonly signal: AbortSignal;
}

export type Gathered =
  | {
      readonly kind: 'range';
      /** The first record there is; what was missing before it is counted as lost. */
      readonly from: number;
      /** First sequence number no longer contained. */
      readonly to: number;
      readonly oldestArrivalMs: number;
    }
  /** No record is left below `to`, and none will come: the shard is closed, or `until` reached. */
  | { readonly kind: 'end'; readonly to: number };

/** @throws the signal's reason, once it aborts */
export async function gather(options: GatherOptions): Promise<Gathered> {
  const { log, clock, shardId, maxBytes, signal } = options;
  const until = options.until ?? Infinity;
  let next = options.from;
  let bytes = 0;
  let first = next;
  let oldestArrivalMs: number | null = null;
  let dueMs = Infinity;
  for (;;) {
    signal.throwIfAborted();
    options.progress.works(options.worker);
    if (next >= until) {
      if (oldestArrivalMs === null) return { kind: 'end', to: until };
      return { kind: 'range', from: first, to: until, oldestArrivalMs };
    }
    const slice = await log.read({
      shardId,
      fromSequence: next,
      maxRecords: Math.min(sliceRecords, until - next),
      maxBytes: sliceBytes,
    });
    countSkipped(options, slice, until - next);
    const records = recordsBefore(until, slice);
    for (const [index, record] of records.entries()) {
      const size = options.measure(record);
      if (oldestArrivalMs !== null && bytes + size > maxBytes) {
        await encode(options, records.slice(0, index));
        return { kind: 'range', from: first, to: record.sequence, oldestArrivalMs };
      }
      bytes += size;
      if (oldestArrivalMs === null) {
        first = record.sequence;
        dueMs = dueTime(options, record.arrivalMs);
      }
      oldestArrivalMs = Math.min(oldestArrivalMs ?? Infinity, record.arrivalMs);
    }
    next = Math.min(slice.nextSequence, until);
    if (oldestArrivalMs !== null) {
      const due = slice.recordsBehind === 0 && clock.monotonicMs() >= dueMs;
      if (bytes >= maxBytes || slice.endOfShard || due) {
        await encode(options, records);
        return { kind: 'range', from: first, to: next, oldestArrivalMs };
      }
    } else if (slice.endOfShard) {
      return { kind: 'end', to: next };
    }
    if (slice.recordsBehind > 0 || next === until) {
      await encode(options, records);
    } else {
      options.ahead?.close();
      await moreOrDue(options, next, dueMs);
    }
  }
}

/** Where records are gone, a read makes up their number from what is somebody else's. */
export function recordsBefore(
  end: number,
  { records, nextSequence }: ReadResult,
): readonly LogRecord[] {
  return nextSequence <= end ? records : records.filter(({ sequence }) => sequence < end);
}

async function encode({ ahead }: GatherOptions, records: readonly LogRecord[]): Promise<void> {
  if (ahead !== null && !ahead.isClosed) await ahead.add(records);
}

/** What was skipped may reach into what is somebody else's: no more than `mine` was lost here. */
function countSkipped(
  { progress, worker }: GatherOptions,
  { skipped }: ReadResult,
  mine: number,
): void {
  const trimmed = Math.min(skipped.trimmed, mine);
  progress.lost(worker, trimmed, 'trimmed');
  progress.lost(worker, Math.min(skipped.corrupt, mine - trimmed), 'corrupt');
}

/** By the monotonic clock, so that a step of the wall clock afterwards changes nothing. */
function dueTime(options: GatherOptions, arrivalMs: number): number {
  const ageMs = options.clock.nowMs() - arrivalMs;
  const leftMs = Math.min(options.maxAgeMs, Math.max(0, options.maxAgeMs - ageMs));
  return options.clock.monotonicMs() + leftMs;
}

async function moreOrDue(options: GatherOptions, next: number, dueMs: number): Promise<void> {
  const { log, clock, shardId, signal } = options;
  const limitMs = dueMs === Infinity ? null : dueMs - clock.monotonicMs();
  options.progress.awaitsMore(options.worker, limitMs);
  await within(clock, limitMs, signal, (inner) => log.waitForRecords(shardId, next, inner));
  // What has just come is not read yet.
  if (limitMs === null) options.progress.awaitsMore(options.worker, options.maxAgeMs);
  // Reading after every single append would cost more than the append; a moment gathers several.
  const leftMs = dueMs - clock.monotonicMs();
  if (leftMs > 0) {
    await pause(clock, Math.min(options.maxAgeMs / 100, leftMs, 1000), signal);
  }
}
