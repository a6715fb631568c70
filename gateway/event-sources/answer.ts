/**
 * What a function says of a batch. An answer counts only where it was asked for: that of a function
 * without partial failures and windows is not looked at, as Lambda does not.
 *
 * As with Lambda no answer, null or no failures is success; a list that names what was not in the
 * batch, an empty id, or anything that is no such list fails all of it.
 */
import { FunctionError } from '../functions/function.ts';

const stateBytesMax = 1_000_000;

export interface AnswerRules {
  readonly reportsFailures: boolean;
  readonly hasState: boolean;
}

export interface BatchAnswer {
  /** The first record that failed, by its place in the batch; null: none did. */
  readonly failedAt: number | null;
  /** Of a window, as it is handed on; `{}` where none was answered. */
  readonly state: unknown;
  /** The state has become too large to be handed on. */
  readonly isStateTooLarge: boolean;
}

/**
 * @param ids the sequence numbers of the batch, in order
 * @throws FunctionError `bad-answer`
 */
export function readAnswer(
  answer: Buffer,
  ids: readonly string[],
  rules: AnswerRules,
): BatchAnswer {
  const nothing = { failedAt: null, state: {}, isStateTooLarge: false };
  if (!rules.reportsFailures && !rules.hasState) return nothing;
  if (answer.length === 0) return nothing;
  let value: unknown;
  try {
    value = JSON.parse(answer.toString('utf8'));
  } catch (error) {
    throw new FunctionError('bad-answer', 'the answer is no JSON', { cause: error });
  }
  if (value === null) return nothing;
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new FunctionError('bad-answer', 'the answer is no object');
  }
  const { batchItemFailures, state } = value as Readonly<Record<string, unknown>>;
  const failedAt = rules.reportsFailures ? firstFailure(batchItemFailures, ids) : null;
  if (!rules.hasState || state === undefined || state === null) return { ...nothing, failedAt };
  const isStateTooLarge = Buffer.byteLength(JSON.stringify(state)) > stateBytesMax;
  return { failedAt, state, isStateTooLarge };
}

function firstFailure(failures: unknown, ids: readonly string[]): number | null {
  if (failures === undefined || failures === null) return null;
  if (!Array.isArray(failures)) {
    throw new FunctionError('bad-answer', 'batchItemFailures is no list');
  }
  if (failures.length === 0) return null;
  const places = new Map(ids.map((id, index) => [id, index]));
  let first = Infinity;
  for (const failure of failures as readonly unknown[]) {
    const { itemIdentifier } = (failure ?? {}) as Readonly<Record<string, unknown>>;
    const place = typeof itemIdentifier === 'string' ? places.get(itemIdentifier) : undefined;
    if (place === undefined) {
      throw new FunctionError('bad-answer', 'batchItemFailures names what was not in the batch');
    }
    first = Math.min(first, place);
  }
  return first;
}
