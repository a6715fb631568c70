/**
 * Completes a plan, and keeps what of it can't go on: in the delivery's stream of failed records
 * (`failed-records.ts`).
 *
 * Their data is read again from the log, as it was. Where there is much of it, it is appended in
 * steps, each noted in the plan by its own transaction; a plan that is carried out anew after a kill
 * goes on behind the last step.
 */
import type { Plan, RecordInput, StreamDescription } from '../../storage/model.ts';
import type { Worker } from './attempts.ts';
import { ensureFailedStream, failedInputs } from './failed-records.ts';
import { inOrderOnce, matching, type Failure } from './shape/failures.ts';
import type { RecordOrigin } from './shape/shaped-record.ts';
import type { Original } from './shape/shaping.ts';

/** What is appended in one step, about. */
const stepBytes = 8 * 1024 ** 2;

export interface SetAsideOptions {
  readonly delivery: string;
  /** That of their stream. */
  readonly encryption: NonNullable<StreamDescription['encryption']>;
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
  if (failures.length === 0) {
    await worker.lease.completePlan();
    return;
  }
  const stream = await ensureFailedStream(worker.log, options.delivery, options.encryption);
  let step: RecordInput[] = [];
  let bytes = 0;
  let last = -1;
  for await (const { record, failure, isSeparate } of failedRecords(worker, failures, options)) {
    worker.progress.setAside(failure.stage);
    if (record.sequence < (plan.appendedTo ?? 0)) continue;
    // Records of one sequence number are not parted: the plan notes how far it is by those.
    if (bytes >= stepBytes && record.sequence !== last) {
      await worker.lease.appendForPlan({ stream, records: step }, record.sequence);
      step = [];
      bytes = 0;
    }
    last = record.sequence;
    for (const input of failedInputs(record, failure, {
      ...{ delivery: options.delivery, origin: { ...options.origin, isSeparate } },
      failedAtMs: worker.clock.nowMs(),
    })) {
      step.push(input);
      bytes += input.data.length;
    }
  }
  await worker.lease.completePlan({ stream, records: step });
}

type FailedOriginal = Original & { readonly failure: Failure };

async function* failedRecords(
  worker: Worker,
  failures: readonly Failure[],
  { records }: SetAsideOptions,
): AsyncGenerator<FailedOriginal, void> {
  const inOrder = inOrderOnce(failures);
  const from = { next: 0 };
  for await (const slice of records(worker.signal)) yield* matching(slice, inOrder, from);
}
