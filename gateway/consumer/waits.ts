/** Waiting between attempts: by the clock that came in, ended by signals. */
import type { Clock } from '../../storage/ports.ts';

const firstDelayMs = 200;
const longestDelayMs = 10_000;

/** Resolves after the time, or when the signal aborts, whichever is first. Never rejects. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.setTimer(delayMs, end);
    signal.addEventListener('abort', end);
  });
}

/** Twice as long each time, up to ten seconds, half of it random. */
export class Delays {
  readonly #random: () => number;
  #failures = 0;

  /** @param random 0 inclusive to 1 exclusive */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** Counts a failure; returns the milliseconds to wait. */
  failed(): number {
    const delayMs = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    return Math.round(delayMs * (0.5 + this.#random() / 2));
  }

  succeeded(): void {
    this.#failures = 0;
  }
}
