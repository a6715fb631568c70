/**
 * Records of a plan that can't go on, without their data: that is read again from the log once they
 * are put aside, so that many of them cost little memory.
 */
import type { FailedRecord, FailureStage, ShapedRecord } from './shaped-record.ts';

/** Which record of a plan. */
export interface Position {
  readonly sequence: number;
  readonly subSequence: number;
}

export interface Failure extends Position {
  readonly stage: FailureStage;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly attempts: number;
}

/** Longest message that is kept of a failure. */
const messageCharactersMax = 1_000;

export function failureOf(failed: FailedRecord): Failure {
  const { record, stage, errorCode, errorMessage, attempts } = failed;
  const { sequence, subSequence } = record;
  const message = errorMessage.slice(0, messageCharactersMax);
  return { sequence, subSequence, stage, errorCode, errorMessage: message, attempts };
}

/** Below 0: `a` comes first. */
export function compare(a: Position, b: Position): number {
  return a.sequence - b.sequence || a.subSequence - b.subSequence;
}

export function positionName({ sequence, subSequence }: Position): string {
  return `${sequence}/${subSequence}`;
}

/** By position, the first reason of each. */
export function inOrderOnce(failures: readonly Failure[]): readonly Failure[] {
  return failures.toSorted(compare).filter((failure, index, all) => {
    const before = all[index - 1];
    return before === undefined || compare(before, failure) !== 0;
  });
}

/** Picks what failed out of a slice; both are in order. */
export function* matching<One extends { readonly record: ShapedRecord }>(
  records: readonly One[],
  failures: readonly Failure[],
  from: { next: number },
): Generator<One & { readonly failure: Failure }, void> {
  for (const one of records) {
    const { record } = one;
    let failure = failures[from.next];
    // A record that is gone since has nothing left to keep.
    while (failure !== undefined && compare(failure, record) < 0) {
      from.next += 1;
      failure = failures[from.next];
    }
    if (failure === undefined) return;
    if (compare(failure, record) > 0) continue;
    from.next += 1;
    yield { ...one, failure };
  }
}
