/** Keeps a connection to so much a second, with one second's worth at once. */

const burstMs = 1_000;

export class Pace {
  readonly #perSecond: number;
  /** When what was taken so far would have come at an even pace. */
  #dueMs = -Infinity;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Takes an amount that has come; answers for how long nothing more should be taken. */
  take(amount: number, nowMs: number): number {
    this.#dueMs = Math.max(this.#dueMs, nowMs) + (amount / this.#perSecond) * 1000;
    return Math.max(0, this.#dueMs - nowMs - burstMs);
  }
}
