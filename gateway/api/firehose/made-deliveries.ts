/**
 * What was made over the API, as the deliveries that it is: mapped anew when it changes, or the
 * configuration says otherwise where it may go. What is not possible any more is withheld, with the
 * reason, and keeps its records meanwhile.
 */
import type { Logger } from '../../../storage/ports.ts';
import { failedStreamOf } from '../../forward/failed-records.ts';
import type { DeliveryOptions } from '../../forward/options.ts';
import { toFirehoseError } from './errors.ts';
import type { MadeStream } from './kept-streams.ts';
import { checkFailedBucket } from './mapping/backup.ts';
import { answering, deliveryOf, memberAskedFor } from './mapping/delivery.ts';
import { alsoAllowing } from './mapping/also-allowing.ts';
import type { Places } from './mapping/places.ts';
import { withheldDelivery } from './mapping/withheld.ts';

export interface MadeDeliveriesOptions {
  readonly arnOf: (name: string) => string;
  readonly places: Places;
  readonly logger: Logger;
}

/** What is not possible of one. */
interface Trouble {
  /** In sentences. */
  readonly reason: string;
  /** Nothing of it is sent; otherwise what fails of it is kept in its stream alone. */
  readonly isWhole: boolean;
}

export class MadeDeliveries {
  readonly #options: MadeDeliveriesOptions;
  #places: Places;
  /** Checking one takes milliseconds, and each change asks for all of them. */
  #mapped = new WeakMap<MadeStream, DeliveryOptions>();
  #troubles: ReadonlyMap<string, Trouble> = new Map();

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

  /**
   * Whether what is asked for is possible, with the bucket for what fails.
   * @param before what it was; null: it is new
   * @param asked as of `one`
   * @throws FirehoseError `InvalidArgumentException` for what is not possible
   */
  check(name: string, made: MadeStream, before: MadeStream | null, asked?: string): void {
    if (before === null) this.one(name, made, asked);
    else {
      // Where it sends already, and may not any more, is not asked for: it waits as before.
      const places = alsoAllowing(before.destination, this.#places);
      deliveryOf({ name, arn: this.#options.arnOf(name), made, places, asked });
    }
    answering(asked ?? memberAskedFor(made), () => {
      checkFailedBucket(before?.destination ?? null, made.destination, this.#places);
    });
  }

  /** All that are to run, by name. */
  all(streams: ReadonlyMap<string, MadeStream>): readonly DeliveryOptions[] {
    const before = this.#troubles;
    const troubles = new Map<string, Trouble>();
    const deliveries = [...streams].map(([name, made]) => {
      try {
        const delivery = this.one(name, made);
        const { withheld = null } = delivery.failed ?? {};
        if (withheld !== null) {
          const reason = `Records that fail are kept in the stream ${failedStreamOf(name)} alone. ${withheld}`;
          troubles.set(name, { reason, isWhole: false });
        }
        return delivery;
      } catch (error) {
        const { message: reason } = toFirehoseError(error);
        troubles.set(name, { reason, isWhole: true });
        return withheldDelivery({ name, made, places: this.#places, reason });
      }
    });
    this.#troubles = troubles;
    this.#tell(before, streams);
    return deliveries;
  }

  /** Why it is withheld, or what of it fails; null: all is well. */
  troubleOf(name: string): string | null {
    return this.#troubles.get(name)?.reason ?? null;
  }

  /** @param there what is gone is not told of */
  #tell(before: ReadonlyMap<string, Trouble>, there: ReadonlyMap<string, MadeStream>): void {
    const { logger } = this.#options;
    for (const [deliveryStream, { reason, isWhole }] of this.#troubles) {
      if (before.get(deliveryStream)?.reason === reason) continue;
      logger.warn(
        { deliveryStream, reason },
        isWhole
          ? 'a delivery stream is not sent: something of what it was made with is not possible'
          : 'a delivery stream is sent, but what of it fails goes into no bucket: that is not possible',
      );
    }
    for (const deliveryStream of before.keys()) {
      if (this.#troubles.has(deliveryStream) || !there.has(deliveryStream)) continue;
      logger.info({ deliveryStream }, 'a delivery stream is sent as it was made again');
    }
  }
}
