/**
 * What holds a reader of a source back, lets it go on, and puts it elsewhere: one change after the
 * other, and kept over restarts (`kept.ts`).
 */
import type { Log, VideoStore } from '../../../storage/model.ts';
import type { Clock, Logger } from '../../../storage/ports.ts';
import { keepFlow, keptFlow, type KeptFlow, type Reader } from './kept.ts';
import type { RewindTo } from './rewind.ts';

/** What passes no work on while it is paused. */
export interface Pausable {
  /** Since when it is paused; null: it is not. */
  readonly pausedMs: number | null;
  /** @param sinceMs null: it goes on */
  setPaused(sinceMs: number | null): void;
}

export interface SteeringOptions {
  readonly reader: Reader;
  /** What it is called in the log: `a delivery`. */
  readonly what: string;
  readonly flow: Pausable;
  readonly log: Log;
  readonly video: VideoStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Steering {
  readonly #options: SteeringOptions;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: SteeringOptions) {
    this.#options = options;
  }

  /** @throws StorageError `not-found` when its source is not there */
  kept(): Promise<KeptFlow> {
    return keptFlow(this.#options, this.#options.reader);
  }

  /** Twice is harmless. @throws StorageError `not-found` when its source is not there */
  pause(): Promise<void> {
    const { flow, clock } = this.#options;
    return this.#setPaused(flow.pausedMs ?? clock.nowMs());
  }

  /** @throws StorageError `not-found` when its source is not there */
  resume(): Promise<void> {
    return this.#setPaused(null);
  }

  /** Notes a rewind, before it is made. @throws StorageError */
  async rewinding(): Promise<void> {
    const kept = await this.kept();
    const flow = { ...kept, rewinds: kept.rewinds + 1 };
    await keepFlow(this.#options, this.#options.reader, flow);
  }

  rewound(to: RewindTo): void {
    const { logger, what } = this.#options;
    const place = typeof to === 'string' ? to : new Date(to.timeMs).toISOString();
    logger.info({ to: place }, `${what} is rewound`);
  }

  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #setPaused(pausedMs: number | null): Promise<void> {
    const { reader, what, flow, logger } = this.#options;
    return this.inTurn(async () => {
      const kept = await this.kept();
      await keepFlow(this.#options, reader, { ...kept, pausedMs });
      flow.setPaused(pausedMs);
      logger.info({}, `${what} is ${pausedMs === null ? 'resumed' : 'paused'}`);
    });
  }
}
