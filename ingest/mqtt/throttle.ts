/**
 * How much one device may send: a token bucket that holds one second's worth, for messages and one for
 * bytes. What is over the rate is not refused; the device is read from again once it is paid for.
 */
import type { Clock } from '../../storage/ports.ts';

export interface MqttRates {
  /** Per connection; null: as fast as the log takes them. */
  readonly messagesPerSecond: number | null;
  readonly bytesPerSecond: number | null;
}

export const unlimited: MqttRates = { messagesPerSecond: null, bytesPerSecond: null };

export class Throttle {
  readonly #clock: Clock;
  readonly #buckets: readonly {
    readonly perSecond: number;
    readonly unit: keyof Amount;
    left: number;
  }[];
  #filledMs: number;

  constructor(rates: MqttRates, clock: Clock) {
    this.#clock = clock;
    const { messagesPerSecond, bytesPerSecond } = rates;
    this.#buckets = [
      { perSecond: messagesPerSecond, unit: 'messages' as const },
      { perSecond: bytesPerSecond, unit: 'bytes' as const },
    ].flatMap(({ perSecond, unit }) =>
      perSecond === null ? [] : [{ perSecond, unit, left: perSecond }],
    );
    this.#filledMs = clock.monotonicMs();
  }

  /** Takes what came out of the buckets; returns how long nothing more is to be read, in ms. */
  spend(amount: Amount): number {
    if (this.#buckets.length === 0) return 0;
    const nowMs = this.#clock.monotonicMs();
    const seconds = (nowMs - this.#filledMs) / 1000;
    this.#filledMs = nowMs;
    let waitMs = 0;
    for (const bucket of this.#buckets) {
      bucket.left = Math.min(bucket.perSecond, bucket.left + seconds * bucket.perSecond);
      bucket.left -= amount[bucket.unit];
      waitMs = Math.max(waitMs, (-bucket.left / bucket.perSecond) * 1000);
    }
    return waitMs;
  }
}

interface Amount {
  readonly messages: number;
  readonly bytes: number;
}
