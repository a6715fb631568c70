/**
 * Sends one shard by plans: what sinks of objects, batches and tables have in common.
 *
 * Gather, save the plan, shape, emit, complete. The range and all that shapes it are saved before
 * anything is sent (`plan-detail.ts`), and the checkpoint moves only afterwards, in the transaction
 * that deletes the plan and keeps what failed. Whatever happens in between, the same is sent again
 * under the same names. Size and age alone would cut elsewhere the second time.
 *
 * Nothing lies in memory between attempts: what is sent is read and shaped anew for each. A plan in
 * shape holds at most about its buffer, and `slots.ts` limits how many are. Only for the first
 * attempt may an object be ready (`encode-ahead.ts`).
 *
 * How it is emitted is the business of `record-objects.ts`, `record-batches.ts` and
 * `record-tables.ts`; what becomes of records that can't go on, of `set-aside.ts`.
 */
import type { Plan, ShardDescription } from '../../storage/model.ts';
import {
  AttemptsOver,
  RetryBudget,
  untilDone,
  type Pace,
  type Work,
  type Worker,
} from './attempts.ts';
import type { ObjectAhead } from './encode-ahead.ts';
import type { FailedObjects } from './failed-objects.ts';
import { lineBytesEstimate } from './format/ndjson.ts';
import { gather } from './gather.ts';
import { keyNamespace, type KeyScope } from './keys.ts';
import { compileLayout, hasPartitions } from './layout/layout.ts';
import { detailToSave, readDetail, type PlanDetail } from './plan-detail.ts';
import { setAside, type SetAsideOptions } from './set-aside.ts';
import type { Failure } from './shape/failures.ts';
import type { OutputPart } from './shape/output-codec.ts';
import type { FailureStage, RecordOrigin, ShapedRecord } from './shape/shaped-record.ts';
import { openShaping, type Original, type ShapeOptions } from './shape/shaping.ts';
import { slicesOf, type Reading } from './shape/source.ts';
import {
  givenToFunction,
  shapedRecords,
  transformPlan,
  waitsForFunction,
  type ShapedPlan,
} from './shape/transformed.ts';
import type { ObjectSink, SinkError, TableReading } from './sink.ts';
import { failureOf as functionFailure } from './transform/open-transform.ts';
import type { Transform, TransformContext } from './transform/transform.ts';
import { uuidV5 } from './uuid.ts';

/** How long it is tried to leave a note. */
const noteMsMax = 60_000;

/** Where the records of plans are. */
export interface PlannedSource {
  readonly shard: ShardDescription;
  /** Where they were, for records without an origin of their own. */
  readonly origin: Omit<RecordOrigin, 'sequence' | 'subSequence'>;
  /** How they are read, up to where a plan ends; and how many behind its end may belong to it. */
  readonly reading: (to: number) => Reading;
  readonly beyond: number;
}

/** One plan, in hand. */
export interface PlanInHand {
  readonly worker: Worker;
  readonly plan: Plan;
  readonly detail: PlanDetail;
  readonly source: PlannedSource;
  /** For what is tried again within an attempt. */
  readonly budget: RetryBudget;
  /** What was encoded of it while it was gathered; for the first attempt, which closes it. */
  readonly ahead: ObjectAhead | null;
}

/** Sends what a plan holds, in as many attempts as it takes. */
export interface Emission {
  /** An attempt bounds the time of its own parts. */
  readonly boundsItself: boolean;
  /** What the destination may take beside what is sent to it; left out: nothing. */
  readonly extraMs?: number;
  /** Where records failed that were not sent while attempts were made. */
  readonly stage: FailureStage;
  /** Makes one attempt at what was not sent by those before. @throws SinkError, PlanRefused */
  attempt(
    records: AsyncIterable<readonly ShapedRecord[]>,
    signal: AbortSignal,
    pace: Pace,
  ): Promise<void>;
  /** Whether a record was sent, or failed for good, by now. */
  isSettled(record: ShapedRecord): boolean;
  /**
   * Leaves a note of what was given up, once the plan is done with; null or left out: there is
   * nothing to note. @throws SinkError to be called again
   */
  readonly leaveNote?: ((signal: AbortSignal) => Promise<void>) | null;
  /** What failed for good by now. */
  readonly failures: readonly Failure[];
  readonly sent: { readonly records: number; readonly bytes: number; readonly objects: number };
}

/** The destination does not take the plan as it is, all of it together. */
export class PlanRefused extends Error {
  override readonly name = 'PlanRefused';
  readonly error: SinkError;

  constructor(error: SinkError) {
    super(error.message, { cause: error });
    this.error = error;
  }
}

export interface PlannedOptions {
  readonly source: PlannedSource;
  readonly scope: KeyScope;
  readonly shape: ShapeOptions;
  /** Of a table; null: the destination is none. */
  readonly reading: TableReading | null;
  readonly transform: {
    readonly run: Transform['run'];
    readonly context: (planId: string) => TransformContext;
  } | null;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  /** How long attempts may go on failing before records are put aside; Infinity: for ever. */
  readonly retryMs: number;
  /** Encodes the next plan while it is gathered; null where that is not to be. */
  readonly ahead: (worker: Worker) => ObjectAhead | null;
  readonly emission: (plan: PlanInHand) => Emission;
  readonly failed: Pick<SetAsideOptions, 'delivery' | 'detailsOf'>;
  /** Where failed records go as objects, where the layout says so; null: nowhere. */
  readonly errors: ObjectSink | null;
}

/**
 * Runs until all of the lane is sent and no more will come, or its turn is over.
 * @throws the signal's reason, once it aborts; StorageError
 */
export async function sendShardPlanned(worker: Worker, options: PlannedOptions): Promise<void> {
  await carryOutAll(worker, options, (ahead) => nextPlan(worker, options, ahead));
}

/**
 * Carries out what is planned already, and plans nothing.
 * @returns false: the lane's turn is over
 * @throws the signal's reason, once it aborts; StorageError
 */
export function finishPlan(worker: Worker, options: PlannedOptions): Promise<boolean> {
  return carryOutAll(worker, options, () => Promise.resolve(null));
}

/** @param next null: there is no more to be planned @returns false: the lane's turn is over */
async function carryOutAll(
  worker: Worker,
  options: PlannedOptions,
  next: (ahead: ObjectAhead | null) => Promise<Plan | null>,
): Promise<boolean> {
  for (;;) {
    const left = await worker.lease.plan();
    const ahead = left === null ? options.ahead(worker) : null;
    try {
      const plan = left ?? (await next(ahead));
      if (plan === null) return true;
      const arrived = await carryOut(worker, options, plan, ahead);
      if (arrived && !(await worker.lane.goOn())) return false;
    } finally {
      ahead?.close();
    }
  }
}

async function nextPlan(
  worker: Worker,
  options: PlannedOptions,
  ahead: ObjectAhead | null,
): Promise<Plan | null> {
  const { source, shape } = options;
  await worker.gate.pass(worker.signal);
  const checkpoint = worker.lease.checkpoint;
  const gathered = await gather({
    log: worker.log,
    clock: worker.clock,
    shardId: source.shard.id,
    from: checkpoint,
    until: worker.lane.end,
    maxBytes: options.maxBytes,
    maxAgeMs: options.maxAgeMs,
    measure: (record) => lineBytesEstimate(record, shape.record),
    ahead,
    worker: worker.name,
    progress: worker.progress,
    signal: worker.signal,
  });
  if (gathered.kind === 'end') {
    if (gathered.to > checkpoint) await worker.lease.advance(gathered.to);
    return null;
  }
  return savePlan(worker, options, gathered);
}

/** Plans what lies in a range, for good. @throws StorageError */
export async function savePlan(
  worker: Worker,
  { scope, shape, reading, transform }: PlannedOptions,
  range: { readonly from: number; readonly to: number; readonly oldestArrivalMs: number },
): Promise<Plan> {
  const { from, to, oldestArrivalMs: oldestMs } = range;
  const isForFunction = transform !== null;
  const detail = detailToSave({ scope, shape, reading, isForFunction, oldestMs });
  const plan: Plan = { from, to, detail, createdMs: worker.clock.nowMs() };
  await worker.lease.savePlan(plan);
  return plan;
}

/** Returns whether anything arrived: nothing does when all of the range is gone, or has failed. */
async function carryOut(
  worker: Worker,
  options: PlannedOptions,
  plan: Plan,
  ahead: ObjectAhead | null,
): Promise<boolean> {
  const { source, transform, scope } = options;
  // It may take long until the first attempt.
  if (worker.gate.held !== null) ahead?.close();
  const detail = readDetail(plan.detail, { scope, createdMs: plan.createdMs });
  let trimmed = 0;
  const read = (signal: AbortSignal): AsyncIterable<readonly ShapedRecord[]> => {
    trimmed = 0;
    const onTrimmed = (count: number): void => {
      trimmed += count;
    };
    return recordsOf(worker, source, plan, onTrimmed, signal);
  };
  const shaped: ShapedPlan = {
    ...{ worker, read, to: plan.to },
    shaping: openShaping(detail.shape),
    isForFunction: detail.isForFunction,
    transform: transform && {
      run: (records, context, signal) => transform.run(records, context, signal),
      context: transform.context(planIdOf(source, scope, plan)),
    },
  };
  const budget = new RetryBudget(worker.clock, options.retryMs);
  const emission = options.emission({ worker, plan, detail, source, budget, ahead });
  const failures = await emit(worker, options, { plan, shaped, emission, budget, detail });
  if (failures === null) {
    await worker.lease.shortenPlan(plan.from + Math.ceil((plan.to - plan.from) / 2));
    return false;
  }
  await setAside(worker, plan, failures, {
    ...{ ...options.failed, origin: source.origin },
    objects: failedObjects(options, worker, plan, detail),
    records: (signal) => originals(shaped, read(signal)),
  });
  const { leaveNote = null } = emission;
  if (leaveNote !== null) {
    const budget = new RetryBudget(worker.clock, Math.min(options.retryMs, noteMsMax));
    await noted(worker, { sizeBytes: 0, oldestMs: detail.oldestMs, budget }, leaveNote);
  }
  worker.progress.lost(worker.name, trimmed, 'trimmed');
  if (emission.sent.records > 0) worker.progress.sent(emission.sent);
  if (hasPartitions(compileLayout(detail.shape.layout))) {
    worker.progress.partitioned(emission.sent.objects, failures);
  }
  return emission.sent.records > 0;
}

/**
 * Afterwards and not before: a plan that was not put aside yet is tried again after a kill, and may
 * arrive then. What a kill takes in between is the note alone.
 */
async function noted(
  worker: Worker,
  work: Work,
  leaveNote: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  try {
    await untilDone(worker, work, leaveNote);
  } catch (error) {
    // The records are kept: a note that can't be left holds up nobody.
    if (!(error instanceof AttemptsOver)) throw error;
  }
}

function failedObjects(
  { errors: sink, source, retryMs }: PlannedOptions,
  worker: Worker,
  { from, to }: Plan,
  { shape: { layout }, scope, oldestMs }: PlanDetail,
): FailedObjects | null {
  if (sink === null || (layout.errorPrefix ?? null) === null) return null;
  const { stream, streamCreatedMs } = source.origin;
  return {
    ...{ sink, layout, scope },
    place: {
      stream,
      streamCreatedMs,
      shardId: source.shard.id,
      from,
      to,
      oldestArrivalMs: oldestMs,
    },
    budget: new RetryBudget(worker.clock, retryMs),
  };
}

async function* originals(
  { shaping }: ShapedPlan,
  slices: AsyncIterable<readonly ShapedRecord[]>,
): AsyncGenerator<readonly Original[], void> {
  for await (const records of slices) yield shaping.originals(records);
}

interface InHand {
  readonly plan: Plan;
  readonly shaped: ShapedPlan;
  readonly emission: Emission;
  readonly budget: RetryBudget;
  readonly detail: PlanDetail;
}

/** Returns what failed; null: the plan is refused as a whole, and there is more than one record. */
async function emit(
  worker: Worker,
  { maxBytes }: PlannedOptions,
  { plan, shaped, emission, budget, detail }: InHand,
): Promise<readonly Failure[] | null> {
  const work = {
    sizeBytes: emission.boundsItself ? null : maxBytes,
    oldestMs: detail.oldestMs,
    budget,
    ...(emission.extraMs !== undefined && { extraMs: emission.extraMs }),
  };
  try {
    // Calls of the function bound their own time.
    while (await waitsForFunction(shaped)) {
      await untilDone(worker, { ...work, sizeBytes: null }, (signal) =>
        transformPlan(shaped, signal),
      );
    }
    return await untilDone(worker, work, async (signal, pace) => {
      const onTheWay: Failure[] = [];
      await emission.attempt(aside(shapedRecords(shaped, signal), onTheWay), signal, pace);
      return [...onTheWay, ...emission.failures];
    });
  } catch (error) {
    if (error instanceof AttemptsOver) return unsettled(shaped, emission, error, worker.signal);
    if (!(error instanceof PlanRefused)) throw error;
    const refused = new AttemptsOver(error.error, 1);
    return isOne(plan) ? unsettled(shaped, emission, refused, worker.signal) : null;
  }
}

/** The records alone; what failed is put aside. */
async function* aside(
  parts: AsyncIterable<OutputPart>,
  failures: Failure[],
): AsyncGenerator<readonly ShapedRecord[], void> {
  for await (const part of parts) {
    failures.push(...part.failures);
    if (part.records.length > 0) yield part.records;
  }
}

/** Attempts are over: all fail that were not sent. */
async function unsettled(
  shaped: ShapedPlan,
  emission: Emission,
  { error, attempts }: AttemptsOver,
  signal: AbortSignal,
): Promise<readonly Failure[]> {
  const isWaiting = await waitsForFunction(shaped);
  const why = isWaiting
    ? { stage: 'processing-failed' as const, ...functionFailure(error) }
    : { stage: emission.stage, errorCode: error.code, errorMessage: error.message };
  const failures: Failure[] = [...emission.failures];
  const parts = isWaiting ? givenToFunction(shaped, signal) : shapedRecords(shaped, signal);
  for await (const records of aside(parts, failures)) {
    for (const record of records) {
      if (emission.isSettled(record)) continue;
      const { sequence, subSequence } = record;
      failures.push({ sequence, subSequence, attempts, ...why });
    }
  }
  return failures;
}

async function* recordsOf(
  { log }: Worker,
  { shard, reading, beyond }: PlannedSource,
  { from, to }: Plan,
  onTrimmed: (count: number) => void,
  signal: AbortSignal,
): AsyncGenerator<readonly ShapedRecord[], void> {
  const read = reading(to);
  const range = { from, to: to + beyond };
  for await (const records of slicesOf({ log, shardId: shard.id, range, onTrimmed }, signal)) {
    yield read(records);
  }
}

function isOne({ from, to }: Plan): boolean {
  return to - from <= 1;
}

/** Names a plan among all that there ever are. */
function planIdOf({ shard, origin }: PlannedSource, scope: KeyScope, { from, to }: Plan): string {
  const { gatewayId, delivery, version } = scope;
  const place = [shard.stream, origin.streamCreatedMs, shard.id, from, to];
  return uuidV5(keyNamespace, JSON.stringify(['plan', gatewayId, delivery, version, ...place]));
}
