import type { Clock } from '../../storage/ports.ts';

const WINDOW_SECONDS = 10;

/** How many per second, over the last ten whole seconds. */
export class Rate {
  readonly #clock: Clock;
  readonly #perSecond = new Array<number>(WINDOW_SECONDS + 1).fill(0);
  #second: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#second = this.#now();
  }

  add(count: number): void {
    this.#turn();
    const slot = this.#second % this.#perSecond.length;
    this.#perSecond[slot] = (this.#perSecond[slot] ?? 0) + count;
  }

  perSecond(): number {
    this.#turn();
    const current = this.#perSecond[this.#second % this.#perSecond.length] ?? 0;
    const all = this.#perSecond.reduce((sum, count) => sum + count, 0);
    return (all - current) / WINDOW_SECONDS;
  }

  /** Empties the slots of the seconds that have gone by. */
  #turn(): void {
    const now = this.#now();
    const passed = Math.min(now - this.#second, this.#perSecond.length);
    for (let step = 1; step <= passed; step++) {
      this.#perSecond[(now - passed + step) % this.#perSecond.length] = 0;
    }
    this.#second = now;
  }

  #now(): number {
    return Math.floor(this.#clock.monotonicMs() / 1000);
  }
}
