/** Waiting that ends at once when it is called off. */
import type { Clock } from '../../storage/ports.ts';

/** Resolves after `delayMs`, or as soon as the signal aborts; never rejects. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted || delayMs <= 0) {
      resolve();
      return;
    }
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.setTimer(delayMs, done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/**
 * Runs `work` with a signal of its own, aborted by the outer one or after `limitMs`.
 *
 * @param limitMs null: no limit
 */
export async function within<T>(
  clock: Clock,
  limitMs: number | null,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController();
  const abort = (): void => {
    inner.abort();
  };
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  const cancel = limitMs === null ? abort : clock.setTimer(Math.max(0, limitMs), abort);
  try {
    return await work(inner.signal);
  } finally {
    if (limitMs !== null) cancel();
    signal.removeEventListener('abort', abort);
  }
}
