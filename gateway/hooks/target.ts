/** Who is asked by a hook: what they get, and how much they may answer. */
import { HookError } from './hook-error.ts';

/** What a hook hands over. */
export interface HookInput {
  /** Its name. */
  readonly hook: string;
  readonly camera: string;
  /** The number of the fragment. */
  readonly fragment: number;
  /** Of the picture, or of the first one, on the camera's timeline. */
  readonly atUs: number;
  readonly contentType: 'image/jpeg' | 'video/mp4';
  readonly bytes: Buffer;
}

/**
 * Hands it over and waits for the answer.
 * @throws HookError, or anything once the signal aborts, which ends it at once
 */
export type Ask = (input: HookInput, signal: AbortSignal) => Promise<Buffer>;

export const answerBytesMax = 256 * 1024;

/** Collects an answer. */
export class AnswerBytes {
  readonly #parts: Uint8Array[] = [];
  #bytes = 0;

  get isTooLarge(): boolean {
    return this.#bytes > answerBytesMax;
  }

  /** @returns false: it is too much; nothing is kept of it */
  add(part: Uint8Array): boolean {
    this.#bytes += part.length;
    if (!this.isTooLarge) this.#parts.push(part);
    return !this.isTooLarge;
  }

  /** @throws HookError `too-large` */
  all(): Buffer {
    if (this.isTooLarge) {
      throw new HookError('too-large', `the answer has more than ${answerBytesMax} bytes`);
    }
    return Buffer.concat(this.#parts);
  }
}
