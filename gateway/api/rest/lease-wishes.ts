/**
 * Who would like to have a lease that another worker holds. The holder is told when it renews, and
 * hands over between two batches, so that nothing is read twice. In memory only: a wish ends with
 * the duration during which it was said, and whoever still has it says it again.
 */
import type { Clock } from '../../../storage/ports.ts';

const wishesMax = 10_000;

export class LeaseWishes {
  readonly #clock: Clock;
  readonly #wishes = new Map<string, { readonly owner: string; readonly endsMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Says it for `forMs`, unless another worker said so first. Past 10,000 the oldest goes. */
  add(application: string, shardId: number, owner: string, forMs: number): void {
    if ((this.of(application, shardId) ?? owner) !== owner) return;
    const oldest = this.#wishes.keys().next();
    if (this.#wishes.size >= wishesMax && oldest.done !== true) this.#wishes.delete(oldest.value);
    const key = `${application} ${shardId}`;
    this.#wishes.delete(key);
    this.#wishes.set(key, { owner, endsMs: this.#clock.monotonicMs() + forMs });
  }

  /** The owner that wants the lease; null: nobody does. */
  of(application: string, shardId: number): string | null {
    const key = `${application} ${shardId}`;
    const wish = this.#wishes.get(key);
    if (wish === undefined) return null;
    if (wish.endsMs > this.#clock.monotonicMs()) return wish.owner;
    this.#wishes.delete(key);
    return null;
  }

  /** Somebody has the lease now. */
  fulfil(application: string, shardId: number): void {
    this.#wishes.delete(`${application} ${shardId}`);
  }
}
