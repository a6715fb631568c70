/** Waiting until something has changed. */
import type { Clock } from '../../storage/ports.ts';
import { within } from './timing.ts';

export class Changes {
  readonly #waiting = new Set<() => void>();

  notify(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Resolves with the next change, after `limitMs` (null: none), or when the signal aborts. */
  wait(clock: Clock, limitMs: number | null, signal: AbortSignal): Promise<void> {
    return within(clock, limitMs, signal, (inner) => {
      if (inner.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          inner.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiting.add(wake);
        inner.addEventListener('abort', wake, { once: true });
      });
    });
  }
}
