/** Has a function do what was given up, a batch at a time: as it was to get it, in its place in time. */
import type { FailedBatch } from './letters.ts';
import type { Settler, Told } from './settle.ts';

const nobody: Told = { done: () => Promise.resolve(), begunAnew: () => Promise.resolve() };

/**
 * Resolves once all of a batch is done, or given up once more. A batch of a window is a window of its
 * own, which ends early: its state is that of the batch alone. A last call that failed is made again.
 * The records count as done already, since they were given up. @throws the signal's reason
 */
export async function settleAgain(
  settler: Settler,
  { records, window }: FailedBatch,
  signal: AbortSignal,
): Promise<void> {
  if (records.length === 0) {
    if (window !== null) await settler.end(window, window.isEarly, signal);
    return;
  }
  const open = window && { ...window, state: {} };
  await settler.settle(records, open, nobody, signal);
  if (open !== null) await settler.end(open, true, signal);
}
