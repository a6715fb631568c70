/**
 * What was made over the API, as the deliveries that it is: mapped anew when it changes, or the
 * configuration says otherwise where it may go. What is not possible any more is withheld, with the
 * reason, and keeps its records meanwhile.
 */
import type { Logger } from '../../../storage/ports.ts';
import type { DeliveryOptions } from '../../forward/options.ts';
import { toFirehoseError } from './errors.ts';
import type { MadeStream } from './kept-streams.ts';
import { deliveryOf } from './mapping/delivery.ts';
import type { Places } from './mapping/places.ts';
import { withheldDelivery } from './mapping/withheld.ts';

export interface MadeDeliveriesOptions {
  readonly arnOf: (name: string) => string;
  readonly places: Places;
  readonly logger: Logger;
}

export class MadeDeliveries {
  readonly #options: MadeDeliveriesOptions;
  #places: Places;
  /** Checking one takes milliseconds, and each change asks for all of them. */
  #mapped = new WeakMap<MadeStream, DeliveryOptions>();
  #troubles: ReadonlyMap<string, string> = new Map();

  constructor(options: MadeDeliveriesOptions) {
    this.#options = options;
    this.#places = options.places;
  }

  /** Takes over what the configuration says now. */
  allow(places: Places): void {
    this.#places = places;
    this.#mapped = new WeakMap();
  }

  /**
   * @param asked the member of the request that asks for it; left out: none does
   * @throws FirehoseError `InvalidArgumentException` for what is not possible
   */
  one(name: string, made: MadeStream, asked?: string): DeliveryOptions {
    let delivery = this.#mapped.get(made);
    if (delivery === undefined) {
      const arn = this.#options.arnOf(name);
      delivery = deliveryOf({ name, arn, made, places: this.#places, asked });
      this.#mapped.set(made, delivery);
    }
    return delivery;
  }

  /** All that are to run, by name. */
  all(streams: ReadonlyMap<string, MadeStream>): readonly DeliveryOptions[] {
    const before = this.#troubles;
    const troubles = new Map<string, string>();
    const deliveries = [...streams].map(([name, made]) => {
      try {
        return this.one(name, made);
      } catch (error) {
        const { message } = toFirehoseError(error);
        troubles.set(name, message);
        return withheldDelivery({ name, made, places: this.#places, reason: message });
      }
    });
    this.#troubles = troubles;
    this.#tell(before);
    return deliveries;
  }

  /** Why it is withheld; null: it is not. */
  troubleOf(name: string): string | null {
    return this.#troubles.get(name) ?? null;
  }

  #tell(before: ReadonlyMap<string, string>): void {
    const { logger } = this.#options;
    for (const [deliveryStream, reason] of this.#troubles) {
      if (before.get(deliveryStream) === reason) continue;
      logger.warn(
        { deliveryStream, reason },
        'a delivery stream is not sent: what it was made with is not possible any more',
      );
    }
    for (const deliveryStream of before.keys()) {
      if (this.#troubles.has(deliveryStream)) continue;
      logger.info({ deliveryStream }, 'a delivery stream is not withheld any more');
    }
  }
}
