/**
 * How many uploads are under way at once. Each holds one object's content in memory, so this bounds
 * what all deliveries hold together.
 *
 * - A delivery can always have one upload under way, whatever others do: a destination that hangs
 *   holds up nobody else.
 * - It can have up to `count`, while there are spare slots, which all deliveries share.
 * - A spare slot goes to the delivery of the highest priority that waits for one, among equals to who
 *   asked first.
 * - Within a delivery slots are given in the order they are asked for, but to a lane that drains a
 *   backlog after all others, and never the last of them: what is new finds it.
 */
import { defaultPriority } from './options.ts';

interface Waiting {
  readonly behind: boolean;
  readonly begin: () => void;
}

/** The slots beyond each delivery's first. */
export class SpareSlots {
  #free: number;
  /** Who could not have one, in the order of asking, with their priorities. */
  readonly #waiting = new Map<() => void, number>();

  constructor(count: number) {
    this.#free = count;
  }

  /** @param later called once when one is free again, if there is none now */
  take(later: () => void, priority: number): boolean {
    if (this.#free === 0) {
      this.#waiting.set(later, priority);
      return false;
    }
    this.#waiting.delete(later);
    this.#free -= 1;
    return true;
  }

  give(): void {
    this.#free += 1;
    const [first] = [...this.#waiting].sort(([, one], [, two]) => two - one);
    if (first === undefined) return;
    const [next] = first;
    this.#waiting.delete(next);
    next();
  }
}

export class Slots {
  readonly #count: number;
  readonly #spare: SpareSlots;
  readonly #priority: number;
  #used = 0;
  readonly #waiting: Waiting[] = [];
  readonly #more = (): void => {
    this.#begin();
  };

  constructor(count: number, spare: SpareSlots, priority: number = defaultPriority) {
    this.#count = count;
    this.#spare = spare;
    this.#priority = priority;
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
      this.#used -= 1;
      // The first slot is the delivery's own; the last one to end gives that back.
      if (this.#used > 0) this.#spare.give();
      this.#begin();
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
      this.#begin();
    });
  }

  #begin(): void {
    for (;;) {
      const next = this.#next();
      if (next === undefined) return;
      if (this.#used > 0 && !this.#spare.take(this.#more, this.#priority)) return;
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.#used += 1;
      next.begin();
    }
  }

  #next(): Waiting | undefined {
    const free = this.#count - this.#used;
    if (free === 0) return undefined;
    const lastOne = free === 1 && this.#count > 1;
    return this.#waiting.find(({ behind }) => !behind) ?? (lastOne ? undefined : this.#waiting[0]);
  }
}
