/**
 * What things go through that are known by a key, such as CREATING: it is shown for a moment after
 * the fact, because clients that never see it take the change for lost. In memory only.
 */
import type { CancelTimer, Clock } from '../../../storage/ports.ts';

interface Passing<S> {
  readonly status: S;
  readonly cancel: CancelTimer;
}

export class PassingStates<S> {
  readonly #clock: Clock;
  readonly #durationMs: number;
  readonly #states = new Map<string, Passing<S>>();

  constructor(clock: Clock, durationMs: number) {
    this.#clock = clock;
    this.#durationMs = durationMs;
  }

  get(key: string): S | null {
    return this.#states.get(key)?.status ?? null;
  }

  entries(): (readonly [string, S])[] {
    return [...this.#states].map(([key, { status }]) => [key, status]);
  }

  begin(key: string, status: S): void {
    this.#states.get(key)?.cancel();
    const cancel = this.#clock.setTimer(this.#durationMs, () => {
      this.#states.delete(key);
    });
    this.#states.set(key, { status, cancel });
  }

  close(): void {
    for (const { cancel } of this.#states.values()) cancel();
    this.#states.clear();
  }
}
