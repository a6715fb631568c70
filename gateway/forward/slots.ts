/**
 * How many uploads of one delivery are under way at once: each holds one object's content in
 * memory, so this bounds the delivery's memory. Slots are given in the order they are asked for,
 * but to a lane that drains a backlog after all others, and never the last one that is free:
 * what is new finds it.
 */
interface Waiting {
  readonly behind: boolean;
  readonly begin: () => void;
}

export class Slots {
  readonly #count: number;
  #free: number;
  readonly #waiting: Waiting[] = [];

  constructor(count: number) {
    this.#count = count;
    this.#free = count;
  }

  /** Runs `work` once a slot is free. The signal calls off the waiting, not the work. */
  async use<T>(
    signal: AbortSignal,
    work: () => Promise<T>,
    { behind = false }: { readonly behind?: boolean } = {},
  ): Promise<T> {
    await this.#take(signal, behind);
    try {
      return await work();
    } finally {
      this.#free += 1;
      this.#give();
    }
  }

  #take(signal: AbortSignal, behind: boolean): Promise<void> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(mine), 1);
        reject(signal.reason as Error);
      };
      const mine: Waiting = {
        behind,
        begin: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#waiting.push(mine);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#give();
    });
  }

  #give(): void {
    while (this.#free > 0) {
      const lastOne = this.#free === 1 && this.#count > 1;
      const next =
        this.#waiting.find(({ behind }) => !behind) ?? (lastOne ? undefined : this.#waiting[0]);
      if (next === undefined) return;
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.#free -= 1;
      next.begin();
    }
  }
}
