/**
 * What goes wrong with an event source now, by worker (or by lane of one, `worker/lane`), and what it
 * has given up. The first failure of a worker is logged with what led to it, then nothing before it
 * works again, nor within a minute; what is given up is logged at once, then summed up once a minute.
 *
 * A worker that gives up goes on: nothing is wrong any more until the next call fails.
 */
import type { Clock, Logger } from '../../storage/ports.ts';
import type { FunctionError } from '../functions/function.ts';
import type { Condition } from './dead-letters.ts';
import type { NewestFailure } from './failed-batches.ts';

const summaryMs = 60_000;

export interface Trouble {
  /** In a sentence. */
  readonly message: string;
  /** What somebody can do about it; null: nothing but to wait. */
  readonly advice: string | null;
}

/** A batch that is given up, and where it is now. */
export interface GivenUpBatch {
  /** As Lambda writes it. */
  readonly shardId: string;
  readonly records: number;
  readonly condition: Condition;
  /** null: it was not called. */
  readonly error: FunctionError | null;
  /** Where it is kept; null: nowhere. */
  readonly kept: string | null;
  readonly atMs: number;
}

/** As a worker tells of them. */
export interface WorkerTroubles {
  /** @param about for the log */
  fails(trouble: Trouble, about: { readonly error: Error; readonly records: number }): void;
  works(): void;
  gaveUp(batch: GivenUpBatch): void;
}

export class Troubles {
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** By worker. */
  readonly #now = new Map<string, Trouble>();
  /** When a failure of each worker was logged last. */
  readonly #failureLoggedMs = new Map<string, number>();
  /** Workers that have not done anything since then. */
  readonly #logged = new Set<string>();
  #lastGivenUp: NewestFailure | null = null;
  #givenUpLoggedMs = -Infinity;
  #unlogged = { batches: 0, records: 0 };

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** null: nothing goes wrong. */
  get now(): Trouble | null {
    const [trouble] = this.#now.values();
    return trouble ?? null;
  }

  /** Also when all goes well since; null: nothing was given up since the start. */
  get lastGivenUp(): NewestFailure | null {
    return this.#lastGivenUp;
  }

  of(worker: string): WorkerTroubles {
    return {
      fails: (trouble, about) => {
        this.fails(worker, trouble, about);
      },
      works: () => {
        this.works(worker);
      },
      gaveUp: (batch) => {
        this.#gaveUp(worker, batch);
      },
    };
  }

  fails(worker: string, trouble: Trouble, about: { readonly error: unknown }): void {
    this.#now.set(worker, trouble);
    const nowMs = this.#clock.monotonicMs();
    const loggedMs = this.#failureLoggedMs.get(worker) ?? -Infinity;
    if (this.#logged.has(worker) || nowMs - loggedMs < summaryMs) return;
    this.#failureLoggedMs.set(worker, nowMs);
    this.#logged.add(worker);
    const { message, advice } = trouble;
    const fields = { worker, trouble: message, ...(advice !== null && { advice }), ...about };
    this.#logger.warn(fields, 'a function fails');
  }

  works(worker: string): void {
    this.#now.delete(worker);
    if (this.#logged.delete(worker)) this.#logger.info({ worker }, 'a function works again');
  }

  /** The worker is gone, and with it what troubled it and its lanes. */
  left(worker: string): void {
    const names = [...this.#failureLoggedMs.keys(), ...this.#now.keys()];
    for (const name of names) {
      if (name !== worker && !name.startsWith(`${worker}/`)) continue;
      this.#now.delete(name);
      this.#logged.delete(name);
      this.#failureLoggedMs.delete(name);
    }
  }

  #gaveUp(worker: string, { shardId, records, condition, error, kept, atMs }: GivenUpBatch): void {
    this.#now.delete(worker);
    this.#lastGivenUp = { atMs, reason: error?.message ?? condition };
    const { batches: before, records: recordsBefore } = this.#unlogged;
    const unlogged = { batches: before + 1, records: recordsBefore + records };
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#givenUpLoggedMs < summaryMs) {
      this.#unlogged = unlogged;
      return;
    }
    this.#logger.warn(
      { worker, shard: shardId, ...unlogged, condition, error, kept },
      kept === null ? 'batches were given up and are kept nowhere' : 'batches were given up',
    );
    this.#givenUpLoggedMs = nowMs;
    this.#unlogged = { batches: 0, records: 0 };
  }
}
