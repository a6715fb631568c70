/**
 * Sends one shard to a record sink: every record at least once, in order within its partition key.
 *
 * The checkpoint is the lowest record that was not taken; it moves after every call that moves it.
 * So a crash sends again what was taken beyond it, and nothing is skipped.
 */
import { outOfTime, attemptLimitMs, urgencyOf, type Worker } from './attempts.ts';
import { KeyQueues, type Batch, type QueuedRecord } from './key-queues.ts';
import { recordBytes, SinkError, wireBytes, type RecordSink } from './sink.ts';
import { pause, within } from './timing.ts';

const sliceRecords = 2_000;
const sliceBytes = 1024 ** 2;

export interface RecordStreamOptions {
  readonly sink: RecordSink;
  readonly shardId: number;
  readonly random: () => number;
}

/**
 * Runs until all of the lane is sent and no more will come, or its turn is over.
 * @throws the signal's reason, once it aborts; StorageError
 */
export async function sendShardAsRecords(
  worker: Worker,
  options: RecordStreamOptions,
): Promise<void> {
  const { clock, lease, log, signal } = worker;
  const queues = new KeyQueues(limitsOf(worker, options.sink), options.random);
  let next = lease.checkpoint;
  let ended = false;
  let taken = 0;
  for (;;) {
    signal.throwIfAborted();
    if (!ended) ({ next, ended } = await refill(worker, options, queues, next));
    const done = queues.lowest() ?? next;
    if (done > lease.checkpoint) await lease.advance(done);
    if (taken > 0 && !(await worker.lane.goOn())) return;
    taken = 0;
    if (queues.empty) {
      if (ended) return;
      await log.waitForRecords(options.shardId, next, signal);
      continue;
    }
    const batch = queues.nextBatch(clock.monotonicMs());
    if (batch.records.length > 0) taken = await sendBatch(worker, options.sink, queues, batch);
    else await heldBack(worker, options, queues, ended ? null : next);
  }
}

/** Under a cap a call carries what goes out in a second, so that others get their turn between. */
function limitsOf({ bandwidth }: Worker, { limits }: RecordSink): RecordSink['limits'] {
  const { maxBytesPerSecond, grantBytes } = bandwidth;
  if (maxBytesPerSecond === null) return limits;
  return { ...limits, bytes: Math.min(limits.bytes, Math.max(grantBytes, maxBytesPerSecond)) };
}

/** Reads as much as the queues have room for, one slice at most. */
async function refill(
  worker: Worker,
  options: RecordStreamOptions,
  queues: KeyQueues,
  next: number,
): Promise<{ next: number; ended: boolean }> {
  const end = worker.lane.end ?? Infinity;
  if (next >= end) return { next: end, ended: true };
  const room = queues.room;
  if (room.records === 0 || room.bytes === 0) return { next, ended: false };
  const slice = await worker.log.read({
    shardId: options.shardId,
    fromSequence: next,
    maxRecords: Math.min(sliceRecords, room.records, end - next),
    maxBytes: Math.min(sliceBytes, room.bytes),
  });
  // What was skipped may reach into the next lane, which has sent it.
  const trimmed = Math.min(slice.skipped.trimmed, end - next);
  worker.progress.lost(worker.name, trimmed, 'trimmed');
  worker.progress.lost(
    worker.name,
    Math.min(slice.skipped.corrupt, end - next - trimmed),
    'corrupt',
  );
  if (slice.nextSequence > end) return { next: end, ended: true };
  for (const { sequence, partitionKey, data, arrivalMs } of slice.records) {
    queues.add({ sequence, partitionKey, data, arrivalMs });
  }
  return { next: slice.nextSequence, ended: slice.endOfShard };
}

/** Returns how many records were taken. */
async function sendBatch(
  worker: Worker,
  sink: RecordSink,
  queues: KeyQueues,
  batch: Batch,
): Promise<number> {
  const fit: QueuedRecord[] = [];
  const nowMs = worker.clock.monotonicMs();
  for (const record of batch.records) {
    if (recordBytes(record) <= sink.limits.recordBytes) {
      fit.push(record);
      continue;
    }
    const error = new SinkError(
      'too-large',
      `record ${record.sequence} is larger than the destination takes: ${recordBytes(record)} bytes`,
    );
    worker.progress.failed(worker.name, error, queues.left(record, error, nowMs));
  }
  if (fit.length === 0) return 0;
  const outcomes = await attempt(worker, sink, fit);
  return outcomes === null ? 0 : settle(worker, queues, fit, outcomes);
}

/** One call; null when it failed as a whole, after the wait that follows. */
async function attempt(
  worker: Worker,
  sink: RecordSink,
  records: Batch['records'],
): Promise<readonly (SinkError | null)[] | null> {
  const limitMs = attemptLimitMs(records.reduce((sum, record) => sum + recordBytes(record), 0));
  const urgency = urgencyOf(worker, Math.min(...records.map(({ arrivalMs }) => arrivalMs)));
  try {
    const outcomes = await within(worker.clock, limitMs, worker.signal, async (signal, hold) => {
      await hold(worker.bandwidth.take(wireBytes(records), urgency, signal));
      return sink.send(records, signal);
    });
    worker.backOff.succeeded();
    return outcomes;
  } catch (error) {
    worker.signal.throwIfAborted();
    if (!(error instanceof SinkError)) throw error;
    const delayMs = worker.backOff.failed(error);
    worker.progress.failed(worker.name, outOfTime(error), delayMs);
    await pause(worker.clock, delayMs, worker.signal);
    return null;
  }
}

function settle(
  worker: Worker,
  queues: KeyQueues,
  records: Batch['records'],
  outcomes: readonly (SinkError | null)[],
): number {
  const nowMs = worker.clock.monotonicMs();
  const amount = { records: 0, bytes: 0, objects: 0 };
  let worst: { error: SinkError; delayMs: number } | null = null;
  for (const [index, record] of records.entries()) {
    const error = outcomes[index] ?? null;
    if (error === null) {
      queues.taken(record);
      amount.records += 1;
      amount.bytes += record.data.length;
      continue;
    }
    const delayMs = queues.left(record, error, nowMs);
    if (worst === null || delayMs > worst.delayMs) worst = { error, delayMs };
  }
  if (amount.records > 0) worker.progress.sent(amount);
  if (worst !== null) worker.progress.failed(worker.name, worst.error, worst.delayMs);
  else if (!queues.failing) worker.progress.recovered(worker.name);
  return amount.records;
}

/** Every key that is left waits for its back-off; new records of other keys need not. */
async function heldBack(
  worker: Worker,
  options: RecordStreamOptions,
  queues: KeyQueues,
  next: number | null,
): Promise<void> {
  const delayMs = queues.nextAttemptMs() - worker.clock.monotonicMs();
  const { records, bytes } = queues.room;
  if (next === null || records === 0 || bytes === 0) {
    await pause(worker.clock, delayMs, worker.signal);
    return;
  }
  await within(worker.clock, delayMs, worker.signal, (signal) =>
    worker.log.waitForRecords(options.shardId, next, signal),
  );
}
