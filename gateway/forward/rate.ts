import type { Clock } from '../../storage/ports.ts';

const bucketMs = 5_000;
const windowMs = 60_000;

/** Amounts per second, averaged over the last minute (or since the start, while that is less). */
export class Rate {
  readonly #clock: Clock;
  readonly #startMs: number;
  #buckets: { readonly atMs: number; amount: number }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
  }

  add(amount: number): void {
    const atMs = Math.floor(this.#clock.monotonicMs() / bucketMs) * bucketMs;
    const last = this.#buckets.at(-1);
    if (last?.atMs === atMs) last.amount += amount;
    else this.#buckets.push({ atMs, amount });
    this.#forget();
  }

  perSecond(): number {
    this.#forget();
    const total = this.#buckets.reduce((sum, bucket) => sum + bucket.amount, 0);
    const spanMs = Math.min(windowMs, this.#clock.monotonicMs() - this.#startMs);
    return (total * 1000) / Math.max(bucketMs, spanMs);
  }

  #forget(): void {
    const sinceMs = this.#clock.monotonicMs() - windowMs;
    this.#buckets = this.#buckets.filter((bucket) => bucket.atMs > sinceMs);
  }
}
