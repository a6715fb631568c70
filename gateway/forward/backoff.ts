import { SinkError } from './sink.ts';

/** The longest wait between two attempts. */
export const longestDelayMs = 60_000;

/** As long as this a destination may ask to be left alone. */
const longestAskedMs = 120_000;

/**
 * How long to wait after a failed attempt: twice as long each time, up to a minute, half of it
 * random; straight away the longest for what time alone does not mend (no such bucket, no right).
 * A destination that asks for more time gets it, up to two minutes.
 *
 * This is the back-off between attempts at one sink, inside a worker that keeps its lease, its
 * place and its order meanwhile. A worker that fails for another reason is restarted by the
 * supervisor.
 */
export class BackOff {
  readonly #random: () => number;
  #failures = 0;

  /** @param random 0 inclusive to 1 exclusive */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** Counts a failure; returns the milliseconds to wait. */
  failed(error: SinkError): number {
    const firstMs = error.throttled ? 200 : 500;
    const longestMs = error.retryable
      ? Math.min(longestDelayMs, firstMs * 2 ** Math.min(this.#failures, 20))
      : longestDelayMs;
    this.#failures += 1;
    const delayMs = Math.round(longestMs * (0.5 + this.#random() / 2));
    return Math.max(delayMs, Math.min(error.retryAfterMs ?? 0, longestAskedMs));
  }

  /** Something succeeded, or something else is tried. */
  beginAnew(): void {
    this.#failures = 0;
  }
}
