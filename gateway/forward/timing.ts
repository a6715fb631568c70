/** Waiting that ends at once when it is called off. */
import type { CancelTimer, Clock } from '../../storage/ports.ts';

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

/** Waits for something during which a limit of time does not run. */
export type Hold = <T>(waiting: Promise<T>) => Promise<T>;

/** Aborts after a time in which it is not held. */
class Countdown {
  readonly hold: Hold;
  readonly #clock: Clock;
  readonly #end: () => void;
  #leftMs: number;
  #startedMs = 0;
  #holds = 0;
  #cancel: CancelTimer = () => undefined;

  constructor(clock: Clock, limitMs: number, end: () => void) {
    this.#clock = clock;
    this.#end = end;
    this.#leftMs = Math.max(0, limitMs);
    this.hold = async (waiting) => {
      this.#pause();
      try {
        return await waiting;
      } finally {
        this.#holds -= 1;
        this.#run();
      }
    };
    this.#run();
  }

  stop(): void {
    this.#cancel();
    this.#leftMs = Infinity;
  }

  #pause(): void {
    if (this.#holds === 0) {
      this.#cancel();
      this.#leftMs -= this.#clock.monotonicMs() - this.#startedMs;
    }
    this.#holds += 1;
  }

  #run(): void {
    if (this.#holds > 0 || this.#leftMs === Infinity) return;
    this.#startedMs = this.#clock.monotonicMs();
    this.#cancel = this.#clock.setTimer(Math.max(0, this.#leftMs), this.#end);
  }
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
  work: (signal: AbortSignal, hold: Hold) => Promise<T>,
): Promise<T> {
  const inner = new AbortController();
  const abort = (): void => {
    inner.abort();
  };
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  const countdown = new Countdown(clock, limitMs ?? Infinity, abort);
  try {
    return await work(inner.signal, countdown.hold);
  } finally {
    countdown.stop();
    signal.removeEventListener('abort', abort);
  }
}
