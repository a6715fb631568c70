/** How long a call may take, and how much may come back. */
import type { Clock } from '../../storage/ports.ts';
import { FunctionError } from './function.ts';

/** What Lambda takes in a call that is waited for, and what it gives back. */
export const payloadBytesMax = 6 * 2 ** 20;

/**
 * Runs `work` with a signal that aborts with the outer one, and when the time is over.
 * @param timeoutMs null: no limit of its own
 */
export async function inTime<T>(
  clock: Clock,
  timeoutMs: number | null,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  if (timeoutMs === null) return work(signal);
  const end = new AbortController();
  const onAbort = (): void => {
    end.abort(signal.reason);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  const cancelTimer = clock.setTimer(timeoutMs, () => {
    end.abort(new FunctionError('timeout', `it took longer than ${timeoutMs / 1_000} s`));
  });
  try {
    return await work(end.signal);
  } finally {
    cancelTimer();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Collects an answer. */
export class AnswerBytes {
  readonly #maxBytes: number;
  readonly #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isTooLarge(): boolean {
    return this.#bytes > this.#maxBytes;
  }

  /** @returns false: it is too much; nothing is kept of it */
  add(part: Uint8Array): boolean {
    this.#bytes += part.length;
    if (!this.isTooLarge) this.#parts.push(part);
    return !this.isTooLarge;
  }

  /** @throws FunctionError `too-large` */
  all(): Buffer {
    if (this.isTooLarge) throw answerTooLarge(this.#maxBytes);
    return Buffer.concat(this.#parts);
  }
}

export function answerTooLarge(maxBytes: number): FunctionError {
  return new FunctionError('too-large', `the answer has more than ${maxBytes} bytes`);
}
