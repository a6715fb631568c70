/**
 * Turns at the event loop for steps that hold it for milliseconds: one step in each round of the
 * loop, whoever asks. What several requests had put off with `setImmediate` alone would run in one
 * round, and hold up everything else for the sum of it.
 */
import { setImmediate } from 'node:timers';

const waiting: (() => void)[] = [];

/**
 * Resolves when the step may be done, in the order of the calls. It is to be done at once, without
 * waiting for anything.
 */
export function takeTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(next);
  });
}

function next(): void {
  const resolve = waiting.shift();
  // Asked for during a round, this is of the next one.
  if (waiting.length > 0) setImmediate(next);
  resolve?.();
}
