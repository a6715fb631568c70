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
  #taken = 0;

  constructor(maxBytes: number) {
    this.#max = maxBytes;
  }

  /** Returns how to give the bytes back; twice is harmless. @throws HttpError `busy` */
  take(bytes: number): () => void {
    // One that is larger than the whole budget passes when it is alone.
    if (this.#taken > 0 && this.#taken + bytes > this.#max) {
      throw new HttpError('busy', 'Too much media is being sent at this moment: try again.', {
        retryAfterSeconds: 1,
      });
    }
    this.#taken += bytes;
    let held = true;
    return () => {
      if (held) this.#taken -= bytes;
      held = false;
    };
  }
}
