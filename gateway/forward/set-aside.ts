/**
 * Completes a plan, and keeps what of it can't go on: in the delivery's stream of failed records
 * (`failed-records.ts`), or in objects beside the others (`failed-objects.ts`).
 *
 * Their data is read again from the log, as it was. Where there is much of it, it is appended in
 * steps, each noted in the plan by its own transaction; a plan that is carried out anew after a kill
 * goes on behind the last step.
 */
import type { Plan, RecordInput } from '../../storage/model.ts';
import type { Worker } from './attempts.ts';
import { beginFailedStream, failedInputs, type DetailsOf } from './failed-records.ts';
import {
  failedLine,
  goesIntoObject,
  putFailedObjects,
  type FailedObjects,
} from './failed-objects.ts';
import { inOrderOnce, matching, type Failure } from './shape/failures.ts';
import type { FailureStage, RecordOrigin } from './shape/shaped-record.ts';
import type { Original } from './shape/shaping.ts';

/** What is appended in one step, about. */
const stepBytes = 8 * 1024 ** 2;

export interface SetAsideOptions {
  readonly delivery: string;
  readonly detailsOf: DetailsOf;
  /** null: all go into the stream. */
  readonly objects: FailedObjects | null;
  readonly origin: Omit<RecordOrigin, 'sequence' | 'subSequence'>;
  /** All records of the plan, in order. */
  readonly records: (signal: AbortSignal) => AsyncIterable<readonly Original[]>;
}

/** @throws the signal's reason, once it aborts; StorageError */
export async function setAside(
  worker: Worker,
  plan: Plan,
  failures: readonly Failure[],
  options: SetAsideOptions,
): Promise<void> {
  const all = inOrderOnce(failures);
  const left = await withoutObjects(worker, all, options);
  if (left.length === 0) {
    await worker.lease.completePlan();
  } else {
    const stream = await beginFailedStream(worker.log, options.delivery, options.origin.stream);
    await appendAll(worker, plan, { ...options, stream, failures: left });
  }
  const inObjects = left.length === all.length ? [] : all.filter(goesIntoObject);
  worker.progress.setAside(worker.name, failures, inObjects);
}

/** Puts those into objects that go there, if there are objects; returns the others. */
async function withoutObjects(
  worker: Worker,
  failures: readonly Failure[],
  options: SetAsideOptions,
): Promise<readonly Failure[]> {
  const { objects } = options;
  const inObjects = objects === null ? [] : failures.filter(goesIntoObject);
  if (objects === null || inObjects.length === 0) return failures;
  const lines = new Map<FailureStage, Buffer[]>();
  for await (const { record, failure } of failedRecords(worker, inObjects, options)) {
    const ofStage = lines.get(failure.stage) ?? [];
    lines.set(failure.stage, ofStage);
    ofStage.push(failedLine(record, failure));
  }
  const arrived = await putFailedObjects(worker, objects, lines);
  return arrived ? failures.filter((failure) => !goesIntoObject(failure)) : failures;
}

async function appendAll(
  worker: Worker,
  plan: Plan,
  options: SetAsideOptions & { readonly stream: string; readonly failures: readonly Failure[] },
): Promise<void> {
  const { stream, delivery, detailsOf, failures } = options;
  let step: RecordInput[] = [];
  let bytes = 0;
  let last = -1;
  for await (const { record, failure, isSeparate } of failedRecords(worker, failures, options)) {
    if (record.sequence < (plan.appendedTo ?? 0)) continue;
    // Records of one sequence number are not parted: the plan notes how far it is by those.
    if (bytes >= stepBytes && record.sequence !== last) {
      await worker.lease.appendForPlan({ stream, records: step }, record.sequence);
      step = [];
      bytes = 0;
    }
    last = record.sequence;
    const failedAtMs = worker.clock.nowMs();
    const origin = { ...options.origin, isSeparate };
    const place = { delivery, origin, failedAtMs, detailsOf };
    for (const input of failedInputs(record, failure, place)) {
      step.push(input);
      bytes += input.data.length;
    }
  }
  await worker.lease.completePlan({ stream, records: step });
}

type FailedOriginal = Original & { readonly failure: Failure };

/** @param failures in order */
async function* failedRecords(
  worker: Worker,
  failures: readonly Failure[],
  { records }: SetAsideOptions,
): AsyncGenerator<FailedOriginal, void> {
  const from = { next: 0 };
  for await (const slice of records(worker.signal)) yield* matching(slice, failures, from);
}
