/**
 * Sends one shard to a record sink: every record at least once, in order within its partition key.
 *
 * The checkpoint is the lowest record that was not taken; it moves after every call that moves it.
 * So a crash sends again what was taken beyond it, and nothing is skipped.
 *
 * What needs a plan goes by one (`planned.ts`), from the same checkpoint on: all, where records are
 * shaped on their way; else the record that is larger than the sink takes, alone, which puts it
 * aside. A plan that was left behind, perhaps of another configuration, is carried out first.
 */
import type { LogRecord, ReadResult } from '../../storage/model.ts';
import { attemptLimitMs, outOfTime, untilDone, urgencyOf, type Worker } from './attempts.ts';
import { recordsBefore } from './gather.ts';
import { KeyQueues, type Entry } from './key-queues.ts';
import { finishPlan, savePlan, type PlannedOptions } from './planned.ts';
import { recordBytes, SinkError, wireBytes, type Packing, type RecordSink } from './sink.ts';
import { pause, within } from './timing.ts';

const sliceRecords = 2_000;
const sliceBytes = 1024 ** 2;
/** A destination that is changing needs a moment until it tells how it is now. */
const relearnAfterMs = 1_000;

export interface RecordStreamOptions {
  readonly sink: RecordSink;
  readonly shardId: number;
  readonly random: () => number;
  /** For what can't go on its own. */
  readonly plans: PlannedOptions;
}

/** Why sending in queues came to an end: `over` is a record that is larger than the sink takes. */
type Ending = 'done' | 'moved' | { readonly over: LogRecord };

/**
 * Runs until all of the lane is sent and no more will come, or its turn is over.
 * @throws the signal's reason, once it aborts; StorageError
 */
export async function sendShardAsRecords(
  worker: Worker,
  options: RecordStreamOptions,
): Promise<void> {
  for (;;) {
    if (!(await finishPlan(worker, options.plans))) return;
    const packing = await learnPacking(worker, options.sink);
    const ending = await sendInQueues(worker, options, packing);
    if (ending === 'done') return;
    if (ending === 'moved') {
      await pause(worker.clock, relearnAfterMs, worker.signal);
    } else {
      const { sequence: from, arrivalMs: oldestArrivalMs } = ending.over;
      await savePlan(worker, options.plans, { from, to: from + 1, oldestArrivalMs });
    }
  }
}

/** null: records are not packed. */
async function learnPacking(worker: Worker, sink: RecordSink): Promise<Packing | null> {
  const learn = sink.learnPacking?.bind(sink);
  if (learn === undefined) return null;
  return untilDone(worker, { sizeBytes: 0, oldestMs: worker.clock.nowMs() }, learn);
}

async function sendInQueues(
  worker: Worker,
  options: RecordStreamOptions,
  packing: Packing | null,
): Promise<Ending> {
  const queues = new KeyQueues({
    limits: limitsOf(worker, options.sink),
    packing,
    budget: worker.queueBudget,
    random: options.random,
  });
  try {
    return await sendFrom(worker, options, queues, packing !== null);
  } finally {
    queues.close();
  }
}

async function sendFrom(
  worker: Worker,
  options: RecordStreamOptions,
  queues: KeyQueues,
  packed: boolean,
): Promise<Ending> {
  const { clock, lease, log, gate, signal } = worker;
  let next = lease.checkpoint;
  let ended: Refilled['ended'] = null;
  let result: CallResult = { taken: 0, moved: false };
  for (;;) {
    signal.throwIfAborted();
    if (ended === null) ({ next, ended } = await refill(worker, options, queues, next, packed));
    const done = queues.lowest() ?? next;
    if (done > lease.checkpoint) await lease.advance(done);
    if (result.moved) return 'moved';
    if (result.taken > 0 && !(await worker.lane.goOn())) return 'done';
    result = { taken: 0, moved: false };
    if (queues.empty) {
      if (ended !== null) return ended;
      await log.waitForRecords(options.shardId, next, signal);
      continue;
    }
    if (gate.held !== null) {
      // Others may have the memory meanwhile.
      const forgotten = queues.forgetUntouched();
      if (forgotten !== null) {
        next = forgotten;
        ended = null;
      }
      await gate.pass(signal);
      continue;
    }
    const call = queues.nextCall(clock.monotonicMs());
    if (call.length > 0) result = await sendCall(worker, options.sink, queues, call);
    else await heldBack(worker, options, queues, ended === null ? next : null);
  }
}

/** Under a cap a call carries what goes out in a second, so that others get their turn between. */
function limitsOf({ bandwidth }: Worker, { limits }: RecordSink): RecordSink['limits'] {
  const { maxBytesPerSecond, grantBytes } = bandwidth;
  if (maxBytesPerSecond === null) return limits;
  return { ...limits, bytes: Math.min(limits.bytes, Math.max(grantBytes, maxBytesPerSecond)) };
}

interface Refilled {
  readonly next: number;
  /** null: there is more to read, or will be. */
  readonly ended: Exclude<Ending, 'moved'> | null;
}

/** Reads a slice, if the queues have room for it; where records are packed, enough for a full call. */
async function refill(
  worker: Worker,
  options: RecordStreamOptions,
  queues: KeyQueues,
  from: number,
  packed: boolean,
): Promise<Refilled> {
  const end = worker.lane.end ?? Infinity;
  let next = from;
  for (;;) {
    if (next >= end) return { next: end, ended: 'done' };
    const room = queues.room;
    if (room.records === 0 || room.bytes === 0) return { next, ended: null };
    const slice = await worker.log.read({
      shardId: options.shardId,
      fromSequence: next,
      maxRecords: Math.min(sliceRecords, room.records, end - next),
      maxBytes: Math.min(sliceBytes, room.bytes),
    });
    countSkipped(worker, slice, end - next);
    for (const record of recordsBefore(end, slice)) {
      const { sequence, partitionKey, data, arrivalMs } = record;
      // It is its turn once all before it are sent.
      if (recordBytes(record) > options.sink.limits.recordBytes) {
        return { next: sequence, ended: { over: record } };
      }
      queues.add({ sequence, partitionKey, data, arrivalMs });
    }
    next = Math.min(slice.nextSequence, end);
    if (slice.endOfShard || next === end) return { next, ended: 'done' };
    const enough = !packed || queues.wellFilled || slice.recordsBehind === 0;
    if (enough) return { next, ended: null };
  }
}

/** What was skipped may reach into the next lane, which has sent it: no more than `mine` was lost. */
function countSkipped(worker: Worker, { skipped }: ReadResult, mine: number): void {
  const trimmed = Math.min(skipped.trimmed, mine);
  worker.progress.lost(worker.name, trimmed, 'trimmed');
  worker.progress.lost(worker.name, Math.min(skipped.corrupt, mine - trimmed), 'corrupt');
}

interface CallResult {
  /** Records of ours. */
  readonly taken: number;
  readonly moved: boolean;
}

async function sendCall(
  worker: Worker,
  sink: RecordSink,
  queues: KeyQueues,
  call: readonly Entry[],
): Promise<CallResult> {
  const outcomes = await attempt(worker, sink, call);
  return outcomes === null ? { taken: 0, moved: false } : settle(worker, queues, call, outcomes);
}

/** One call; null when it failed as a whole, after the wait that follows. */
async function attempt(
  worker: Worker,
  sink: RecordSink,
  call: readonly Entry[],
): Promise<readonly (SinkError | null)[] | null> {
  const records = call.map(({ record }) => record);
  const limitMs = attemptLimitMs(records.reduce((sum, record) => sum + recordBytes(record), 0));
  const oldestMs = call.reduce(
    (oldest, { of }) => Math.min(oldest, of[0]?.arrivalMs ?? oldest),
    Infinity,
  );
  const urgency = urgencyOf(worker, oldestMs);
  try {
    const outcomes = await within(worker.clock, limitMs, worker.signal, async (signal, hold) => {
      await hold(worker.bandwidth.take(wireBytes(records), urgency, signal));
      return sink.send(records, signal);
    });
    worker.backOff.beginAnew();
    return outcomes;
  } catch (error) {
    worker.signal.throwIfAborted();
    if (!(error instanceof SinkError)) throw error;
    const delayMs = worker.backOff.failed(error);
    worker.progress.failed(worker.name, outOfTime(error), delayMs);
    await worker.gate.untilNext(delayMs, worker.signal);
    return null;
  }
}

function settle(
  worker: Worker,
  queues: KeyQueues,
  call: readonly Entry[],
  outcomes: readonly (SinkError | null)[],
): CallResult {
  const nowMs = worker.clock.monotonicMs();
  const amount = { records: 0, bytes: 0, objects: 0 };
  let worst: { error: SinkError; delayMs: number } | null = null;
  for (const [index, entry] of call.entries()) {
    const error = outcomes[index] ?? null;
    if (error === null) {
      queues.taken(entry);
      amount.records += entry.of.length;
      for (const { data } of entry.of) amount.bytes += data.length;
      continue;
    }
    const delayMs = queues.left(entry, error, nowMs);
    if (worst === null || delayMs > worst.delayMs) worst = { error, delayMs };
  }
  if (amount.records > 0) worker.progress.sent(amount);
  if (worst !== null) worker.progress.failed(worker.name, worst.error, worst.delayMs);
  else if (!queues.failing) worker.progress.recovered(worker.name);
  return { taken: amount.records, moved: outcomes.some((error) => error?.code === 'moved') };
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
