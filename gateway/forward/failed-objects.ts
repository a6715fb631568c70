/**
 * The failed records of a plan as objects beside the others, for deliveries with an `errorPrefix`: an
 * object for each stage, JSON lines as Firehose writes them
 * (docs.aws.amazon.com/firehose/latest/dev/data-transformation.html), but without the time of the
 * attempt: the same failures make the same object, which replaces itself.
 *
 * What the destination itself did not take goes into the stream of failed records, as this would not
 * arrive there either.
 */
import { createHash } from 'node:crypto';
import { AttemptsOver, untilDone, type RetryBudget, type Worker } from './attempts.ts';
import { failedMembers } from './failed-lines.ts';
import { compileLayout, errorKey, type ErrorPlace, type LayoutOptions } from './layout/layout.ts';
import type { KeyScope } from './keys.ts';
import type { Failure } from './shape/failures.ts';
import type { FailureStage, ShapedRecord } from './shape/shaped-record.ts';
import type { ObjectSink } from './sink.ts';
import { inOrder } from './uploads.ts';

/** Those that are of the records, and not of the destination. */
const stages: ReadonlySet<FailureStage> = new Set([
  'processing-failed',
  'format-conversion-failed',
  'dynamic-partitioning-failed',
]);

export interface FailedObjects {
  readonly sink: ObjectSink;
  readonly layout: LayoutOptions;
  readonly scope: KeyScope;
  readonly place: Omit<ErrorPlace, 'stage' | 'extension'>;
  readonly budget: RetryBudget;
}

/** Whether a record goes into an object, where there are objects. */
export function goesIntoObject({ stage }: Failure): boolean {
  return stages.has(stage);
}

/** The line of a record. */
export function failedLine(record: ShapedRecord, failure: Failure): Buffer {
  const attempt = { ...failure, arrivalMs: record.arrivalMs, endedMs: null };
  return Buffer.from(`${JSON.stringify(failedMembers(attempt, record.data.toString('base64')))}\n`);
}

/** @returns false: attempts are over, and they are not there @throws the signal's reason */
export async function putFailedObjects(
  worker: Worker,
  { sink, layout, scope, place, budget }: FailedObjects,
  lines: ReadonlyMap<FailureStage, readonly Buffer[]>,
): Promise<boolean> {
  try {
    for (const [stage, pieces] of lines) {
      const key = errorKey(compileLayout(layout), scope, { ...place, stage, extension: '.json' });
      const hash = createHash('sha256');
      for (const piece of pieces) hash.update(piece);
      const sizeBytes = pieces.reduce((sum, { length }) => sum + length, 0);
      const upload = {
        ...{ key, contentType: 'application/x-ndjson', sizeBytes, sha256: hash.digest('hex') },
        read: () => inOrder(pieces),
      };
      const work = { sizeBytes, oldestMs: place.oldestArrivalMs, budget };
      await untilDone(worker, work, (signal, pace) => sink.put(pace(upload), signal));
    }
    return true;
  } catch (error) {
    if (error instanceof AttemptsOver) return false;
    throw error;
  }
}
