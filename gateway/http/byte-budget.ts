/** A limit on bytes held at once, shared by all who hold some. */
import { HttpError } from './errors.ts';

/**
 * What does not fit is refused at once, with `busy`: a client's retry is a better queue than our
 * memory.
 *
 * @example
 * const release = budget.take(bytes.length);
 * outgoing.once('close', release);
 */
export class ByteBudget {
  readonly #max: number;
  readonly #refusal: string;
  #taken = 0;

  /** @param refusal what a client is told whose bytes do not fit */
  constructor(
    maxBytes: number,
    refusal = 'Too much media is being sent at this moment: try again.',
  ) {
    this.#max = maxBytes;
    this.#refusal = refusal;
  }

  /** Returns how to give the bytes back; twice is harmless. @throws HttpError `busy` */
  take(bytes: number): () => void {
    // One that is larger than the whole budget passes when it is alone.
    if (this.#taken > 0 && this.#taken + bytes > this.#max) {
      throw new HttpError('busy', this.#refusal, { retryAfterSeconds: 1 });
    }
    this.#taken += bytes;
    let held = true;
    return () => {
      if (held) this.#taken -= bytes;
      held = false;
    };
  }
}
