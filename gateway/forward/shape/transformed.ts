/**
 * The records of a plan on their way from the log to the sink: shaped, and given to the function if
 * there is one, whose answers are kept under the plan before anything of them is sent.
 */
import { StorageError } from '../../../storage/errors.ts';
import type { Worker } from '../attempts.ts';
import type { Transform, TransformContext } from '../transform/transform.ts';
import { failureOf, type Failure } from './failures.ts';
import { shapedBy } from './in-turns.ts';
import { OutputWriter, readOutput, type OutputPart } from './output-codec.ts';
import type { ShapedRecord } from './shaped-record.ts';
import type { Shaping } from './shaping.ts';

export interface ShapedPlan {
  readonly worker: Worker;
  readonly shaping: Shaping;
  /** The plan's records as they are at first. */
  readonly read: (signal: AbortSignal) => AsyncIterable<readonly ShapedRecord[]>;
  /** It was made for a function; without, nothing is kept of it. */
  readonly isForFunction: boolean;
  /** As it is configured now; null: there is none any more. */
  readonly transform: { readonly run: Transform['run']; readonly context: TransformContext } | null;
  /** Sequence numbers from here on are no longer the plan's. */
  readonly to: number;
}

/**
 * What is to be sent of a plan, slice by slice; a part of it may have failed on the way. The function
 * has been through with it, if it waited for that.
 * @throws the signal's reason; StorageError
 */
export async function* shapedRecords(
  plan: ShapedPlan,
  signal: AbortSignal,
): AsyncGenerator<OutputPart, void> {
  for await (const { records, failures } of beforeSelection(plan, signal)) {
    const after = await inTurns(plan, records, 'after', signal);
    yield { records: after.records, failures: [...failures, ...after.failures] };
  }
}

/** Whether the function has still to go through the plan. */
export async function waitsForFunction(plan: ShapedPlan): Promise<boolean> {
  if (!plan.isForFunction || plan.transform === null) return false;
  return (await plan.worker.lease.planOutput()) === null;
}

async function* beforeSelection(
  plan: ShapedPlan,
  signal: AbortSignal,
): AsyncGenerator<OutputPart, void> {
  const isKept = plan.isForFunction && (await plan.worker.lease.planOutput()) !== null;
  if (!isKept) {
    yield* givenToFunction(plan, signal);
    return;
  }
  try {
    yield* kept(plan);
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
    // What is damaged would be so for ever; it is made again at the next attempt.
    plan.worker.logger.error(
      { error },
      'what a function made of records is damaged: it is made again',
    );
    await plan.worker.lease.savePlanOutput(0, Buffer.alloc(0), false);
    throw error;
  }
}

/** As the function gets them, or would. */
export async function* givenToFunction(
  plan: ShapedPlan,
  signal: AbortSignal,
): AsyncGenerator<OutputPart, void> {
  for await (const records of plan.read(signal)) yield inTurns(plan, records, 'before', signal);
}

function inTurns(
  { shaping, worker: { clock } }: ShapedPlan,
  records: readonly ShapedRecord[],
  step: 'before' | 'after',
  signal: AbortSignal,
): Promise<OutputPart> {
  return shapedBy(shaping, step, records, { clock, signal });
}

/**
 * Has the function go through all of a plan, and keeps what it says.
 * @throws SinkError when it can't be run; the signal's reason; StorageError
 */
export async function transformPlan(plan: ShapedPlan, signal: AbortSignal): Promise<void> {
  const { worker, transform } = plan;
  if (transform === null) return;
  const writer = new OutputWriter();
  let index = 0;
  const save = async (part: OutputPart): Promise<void> => {
    for (const piece of writer.add(part)) {
      await worker.lease.savePlanOutput(index, piece, false);
      index += 1;
    }
  };
  const early: Failure[] = [];
  const records = async function* (): AsyncGenerator<readonly ShapedRecord[], void> {
    for await (const part of givenToFunction(plan, signal)) {
      early.push(...part.failures);
      if (part.records.length > 0) yield part.records;
    }
  };
  const { clock, progress } = worker;
  let sinceMs = clock.monotonicMs();
  for await (const batch of transform.run(records(), transform.context, signal)) {
    progress.transformed(batch, clock.monotonicMs() - sinceMs);
    await save({ records: batch.records, failures: batch.failed.map(failureOf) });
    sinceMs = clock.monotonicMs();
  }
  await save({ records: [], failures: early });
  await worker.lease.savePlanOutput(index, writer.rest(), true);
}

async function* kept({ worker, to }: ShapedPlan): AsyncGenerator<OutputPart, void> {
  const pieces = await worker.lease.planOutput();
  if (pieces === null) throw new Error('what the function made of a plan is gone');
  for await (const { records, failures } of readOutput(pieces)) {
    yield {
      records: records.filter(({ sequence }) => sequence < to),
      failures: failures.filter(({ sequence }) => sequence < to),
    };
  }
}
