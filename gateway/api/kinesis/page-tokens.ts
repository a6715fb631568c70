/** The tokens with which clients ask for the next page of a list, good for five minutes. */
import type { Clock } from '../../../storage/ports.ts';
import { KinesisError, invalidArgument } from './errors.ts';
import { javaDate } from './iterators.ts';
import type { Sealer } from '../aws/sealing.ts';

const lifeMs = 300_000;

export class PageTokens {
  readonly #sealer: Sealer;
  readonly #clock: Clock;

  constructor(sealer: Sealer, clock: Clock) {
    this.#sealer = sealer;
    this.#clock = clock;
  }

  /** @param operation whose list it is: the token is good for no other */
  make(operation: string, page: object): string {
    return this.#sealer.seal(`page of ${operation}`, Buffer.from(JSON.stringify(page)));
  }

  /**
   * What `make` was given.
   * @throws KinesisError `InvalidArgumentException`, `ExpiredNextTokenException`
   */
  open(operation: string, token: string): unknown {
    const unsealed = this.#sealer.open(`page of ${operation}`, token);
    if (unsealed === null) throw invalidArgument('Invalid NextToken.');
    const { content, createdMs } = unsealed;
    const nowMs = this.#clock.nowMs();
    if (nowMs - createdMs > lifeMs) {
      throw new KinesisError(
        'ExpiredNextTokenException',
        `NextToken expired. The token was created at time ${javaDate(createdMs)} while right now ` +
          `it is ${javaDate(nowMs)} which is further in the future than the tolerated delay of ` +
          `${lifeMs} milliseconds.`,
      );
    }
    return JSON.parse(content.toString('utf8')) as unknown;
  }
}
