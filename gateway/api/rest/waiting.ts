/**
 * Long polls: requests that wait for records of a shard. A wait ends with the first record, after
 * its time, when its client goes, and when the gateway closes; there are 256 at once at most, half of
 * the connections that the server takes.
 */
import { setMaxListeners } from 'node:events';
import type { Log } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { HttpError } from '../../http/errors.ts';

const waitersMax = 256;

export interface WaitingOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** Aborted when the gateway closes. */
  readonly closing: AbortSignal;
}

export interface Wait {
  readonly shardId: number;
  readonly fromSequence: number;
  readonly waitMs: number;
  /** Aborted when the client has gone. */
  readonly gone: AbortSignal;
}

export class Waiting {
  readonly #options: WaitingOptions;
  #waiters = 0;

  constructor(options: WaitingOptions) {
    this.#options = options;
    // Every wait listens to it.
    setMaxListeners(0, options.closing);
  }

  /**
   * Resolves when there is something to read, or no reason to wait any longer.
   * @throws HttpError `busy` when too many wait already, or the gateway closes
   */
  async forRecords({ shardId, fromSequence, waitMs, gone }: Wait): Promise<void> {
    const { log, clock, closing } = this.#options;
    if (closing.aborted) {
      throw new HttpError('busy', 'The gateway is closing.', { retryAfterSeconds: 1 });
    }
    if (this.#waiters >= waitersMax) {
      throw new HttpError('busy', 'Too many requests wait for records: ask without waiting.', {
        retryAfterSeconds: 1,
      });
    }
    if (gone.aborted) return;
    this.#waiters += 1;
    // Not AbortSignal.any: `closing` lives as long as the process, and would remember every wait.
    const end = new AbortController();
    const stop = (): void => {
      end.abort();
    };
    const cancel = clock.setTimer(waitMs, stop);
    for (const signal of [gone, closing]) signal.addEventListener('abort', stop);
    try {
      await log.waitForRecords(shardId, fromSequence, end.signal);
    } finally {
      cancel();
      for (const signal of [gone, closing]) signal.removeEventListener('abort', stop);
      this.#waiters -= 1;
    }
  }
}
