/**
 * What holds a reader of a source back, lets it go on, puts it elsewhere, and ends it: one change after
 * the other, and kept over restarts (`kept.ts`). Its task is held here, as putting it elsewhere is to stop
 * it, to begin anew there (`rewind.ts`), and to start it again.
 */
import type { Log, VideoStore } from '../../../storage/model.ts';
import type { Clock, Logger } from '../../../storage/ports.ts';
import type { SupervisedTask } from '../../supervisor.ts';
import { InTurn } from '../in-turn.ts';
import { keepFlow, keptFlow, type KeptFlow, type Reader } from './kept.ts';
import { startsOf, type RewindTo } from './rewind.ts';

/** What passes no work on while it is paused. */
export interface Pausable {
  /** Since when it is paused; null: it is not. */
  readonly pausedMs: number | null;
  /** @param sinceMs null: it goes on */
  setPaused(sinceMs: number | null): void;
}

export interface SteeringOptions {
  readonly reader: Reader;
  /** Those that go with the reader's application, which is not among them or the first of them. */
  readonly applications: readonly string[];
  /** What it is called in the log: `a delivery`. */
  readonly what: string;
  readonly flow: Pausable;
  readonly log: Log;
  readonly video: VideoStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Starts the task that reads. */
  readonly start: () => SupervisedTask;
  /** Makes the applications that are not there yet. */
  readonly ensureApplications: () => Promise<void>;
  /** Stops the task, and lets go of what was open for it. */
  readonly close: (task: SupervisedTask) => Promise<void>;
}

export class Steering {
  readonly #options: SteeringOptions;
  #task: SupervisedTask;
  readonly #turns = new InTurn();
  #closing: Promise<void> | null = null;

  /** Starts the task. */
  constructor(options: SteeringOptions) {
    this.#options = options;
    this.#task = options.start();
  }

  /** The one that reads now. */
  get task(): SupervisedTask {
    return this.#task;
  }

  get isClosed(): boolean {
    return this.#closing !== null;
  }

  /** @throws StorageError `not-found` when its source is not there */
  kept(): Promise<KeptFlow> {
    return keptFlow(this.#options, this.#options.reader);
  }

  pause(): Promise<void> {
    const { flow, clock } = this.#options;
    return this.#setPaused(flow.pausedMs ?? clock.nowMs());
  }

  resume(): Promise<void> {
    return this.#setPaused(null);
  }

  rewind(to: RewindTo): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#closing !== null) return;
      await this.#task.stop();
      try {
        await this.#beginAnew(to);
      } finally {
        this.#task = this.#options.start();
      }
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#turns.run(() => this.#options.close(this.#task));
    return this.#closing;
  }

  async #beginAnew(to: RewindTo): Promise<void> {
    const { reader, applications, log, video, logger, what } = this.#options;
    const { application, from } = reader;
    await this.#options.ensureApplications();
    const starts = await startsOf({ log, video }, from, to);
    // First: objects of what goes again never carry the version of those before.
    const kept = await this.kept();
    await keepFlow(this.#options, reader, { ...kept, rewinds: kept.rewinds + 1 });
    await log.applications.beginAnew(application, applications, starts);
    // Of a media sink: what was confirmed of the file that was under way.
    if ('camera' in from) await video.setCameraAttribute(from.camera, application, undefined);
    const place = typeof to === 'string' ? to : new Date(to.timeMs).toISOString();
    logger.info({ to: place }, `${what} is rewound`);
  }

  #setPaused(pausedMs: number | null): Promise<void> {
    const { reader, what, flow, logger } = this.#options;
    return this.#turns.run(async () => {
      const kept = await this.kept();
      await keepFlow(this.#options, reader, { ...kept, pausedMs });
      flow.setPaused(pausedMs);
      logger.info({}, `${what} is ${pausedMs === null ? 'resumed' : 'paused'}`);
    });
  }
}

/** A delivery or an event source, as their owner steers them. */
export abstract class Steered {
  protected abstract readonly steering: Steering;

  /**
   * Begins nothing any more, also after restarts, until it is resumed. What is under way is finished.
   * Twice is harmless. @throws StorageError `not-found` when its source is not there
   */
  pause(): Promise<void> {
    return this.steering.pause();
  }

  /** Twice is harmless. @throws StorageError `not-found` when its source is not there */
  resume(): Promise<void> {
    return this.steering.resume();
  }

  /**
   * Begins anew elsewhere in the source (`rewind.ts`). What is under way is called off. One that is
   * paused stays so.
   * @throws StorageError; nothing is changed then: `lease-held` while a worker is not done yet
   */
  rewind(to: RewindTo): Promise<void> {
    return this.steering.rewind(to);
  }

  /**
   * Stops at once: what is on its way is called off, and goes again at the next start. Takes no longer
   * than the supervisor waits for a task. Twice is harmless.
   */
  close(): Promise<void> {
    return this.steering.close();
  }
}
