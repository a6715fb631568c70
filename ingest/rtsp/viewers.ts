/** Who watches a camera that is connected to only while somebody does. */
import type { CancelTimer, Clock } from '../../storage/ports.ts';

export class Viewers {
  readonly #clock: Clock;
  readonly #lingerMs: number;
  readonly #waiting = new Set<() => void>();
  #count = 0;
  /** Of the time in which somebody watches; null: nobody does. */
  #present: AbortController | null = null;
  #cancelLinger: CancelTimer = () => undefined;

  /** @param lingerMs after the last one has left, somebody still counts as watching */
  constructor(clock: Clock, lingerMs: number) {
    this.#clock = clock;
    this.#lingerMs = lingerMs;
  }

  get isWatched(): boolean {
    return this.#present !== null;
  }

  /** Somebody watches until what comes back is called; twice is harmless. */
  join(): () => void {
    this.#count += 1;
    this.#cancelLinger();
    if (this.#present === null) {
      this.#present = new AbortController();
      for (const wake of [...this.#waiting]) wake();
    }
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#count -= 1;
      if (this.#count === 0) this.#linger();
    };
  }

  /**
   * Waits until somebody watches.
   * @returns a signal that is aborted when nobody does any more; null: the given one was, first
   */
  async someone(signal: AbortSignal): Promise<AbortSignal | null> {
    if (this.#present === null && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          signal.removeEventListener('abort', done);
          this.#waiting.delete(done);
          resolve();
        };
        signal.addEventListener('abort', done, { once: true });
        this.#waiting.add(done);
      });
    }
    return signal.aborted ? null : (this.#present?.signal ?? null);
  }

  #linger(): void {
    this.#cancelLinger = this.#clock.setTimer(this.#lingerMs, () => {
      this.#present?.abort();
      this.#present = null;
    });
  }
}
