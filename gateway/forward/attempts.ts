/**
 * What the workers of a delivery share: what they work with, and how an attempt at the sink is
 * repeated until it succeeds.
 */
import type { Log, VideoStore } from '../../storage/model.ts';
import type { Clock, Logger } from '../../storage/ports.ts';
import type { BackOff } from './backoff.ts';
import type { Share, Urgency } from './bandwidth.ts';
import type { AheadBudget } from './encode-ahead.ts';
import type { Gate } from './flow/flow.ts';
import type { Lane } from './lanes.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import type { Progress } from './progress.ts';
import type { QueueBudget } from './queue-budget.ts';
import { SinkError, type ObjectUpload } from './sink.ts';
import type { Slots } from './slots.ts';
import { within, type Hold } from './timing.ts';

/** What a worker of one source works with, whatever the sink. */
export interface Worker {
  /** Names it among the workers of its delivery. */
  readonly name: string;
  readonly log: Log;
  readonly video: VideoStore;
  /** Its stretch of the source. */
  readonly lane: Lane;
  /** Of the lane. */
  readonly lease: LeaseKeeper;
  /** Passed before anything is begun. */
  readonly gate: Gate;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly progress: Progress;
  readonly backOff: BackOff;
  readonly slots: Slots;
  readonly queueBudget: QueueBudget;
  readonly aheadBudget: AheadBudget;
  readonly bandwidth: Share;
  /** What is older than this when it is sent is a backlog. */
  readonly backlogAfterMs: number;
  /** Aborted when the worker is to stop, and when its lease is lost. */
  readonly signal: AbortSignal;
}

/**
 * The longest an attempt may take: a minute, and a second for every 8 KiB. A destination that
 * keeps a connection alive without getting anywhere is given up like one that is silent.
 */
export function attemptLimitMs(sizeBytes: number): number {
  return 60_000 + (sizeBytes / 8192) * 1000;
}

/** How soon something has to go that came at `oldestMs`. */
export function urgencyOf(worker: Worker, oldestMs: number): Urgency {
  const late = worker.clock.nowMs() - oldestMs > worker.backlogAfterMs;
  return worker.lane.behind || late ? 'backlog' : 'live';
}

/** Gives an upload out no faster than the caps allow. */
export type Pace = (upload: ObjectUpload) => ObjectUpload;

function paceOf(worker: Worker, urgency: Urgency, signal: AbortSignal, hold: Hold): Pace {
  const { bandwidth } = worker;
  if (bandwidth.maxBytesPerSecond === null) return (upload) => upload;
  return (upload) => ({
    ...upload,
    read: async function* () {
      for await (const piece of upload.read()) {
        for (let at = 0; at < piece.length;) {
          const part = piece.subarray(at, at + bandwidth.grantBytes);
          at += part.length;
          await hold(bandwidth.take(part.length, urgency, signal));
          yield part;
        }
      }
    },
  });
}

/** What is to be sent, for those who repeat attempts at it. */
export interface Work {
  /** Bounds the time of an attempt; null: the attempt bounds its own parts. */
  readonly sizeBytes: number | null;
  /** What else an attempt may take, beside what its size allows; left out: nothing. */
  readonly extraMs?: number;
  /** When the oldest thing came that is sent. */
  readonly oldestMs: number;
  /** When attempts end; left out: never. */
  readonly budget?: RetryBudget;
}

/** Attempts at something have failed for as long as they may. */
export class AttemptsOver extends Error {
  override readonly name = 'AttemptsOver';
  readonly error: SinkError;
  readonly attempts: number;

  constructor(error: SinkError, attempts: number) {
    super(`given up after ${attempts} attempts: ${error.message}`, { cause: error });
    this.error = error;
    this.attempts = attempts;
  }
}

/** How long attempts may go on failing: from the first failure on, until something is taken. */
export class RetryBudget {
  readonly #clock: Clock;
  readonly #limitMs: number;
  #sinceMs: number | null = null;
  #attempts = 0;

  /** @param limitMs Infinity: for ever */
  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
  }

  /** How long a wait may be, so that the last attempt is made when attempts end. */
  get leftMs(): number {
    const nowMs = this.#clock.monotonicMs();
    return Math.max(0, this.#limitMs - (nowMs - (this.#sinceMs ?? nowMs)));
  }

  /** @throws AttemptsOver */
  failed(error: SinkError): void {
    const nowMs = this.#clock.monotonicMs();
    this.#attempts += 1;
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs >= this.#limitMs) throw new AttemptsOver(error, this.#attempts);
  }

  /** Time in which no attempt was to be made does not count. */
  waited(ms: number): void {
    if (this.#sinceMs !== null) this.#sinceMs += ms;
  }

  taken(): void {
    this.#attempts = 0;
    this.#sinceMs = null;
  }
}

/** A failure whose wait was reckoned already. */
export class Postponed extends Error {
  override readonly name = 'Postponed';
  readonly delayMs: number;

  constructor(error: SinkError, delayMs: number) {
    super(error.message, { cause: error });
    this.delayMs = delayMs;
  }
}

/**
 * Repeats an attempt until it succeeds, in one of the delivery's slots each time. Failures of the
 * sink are counted, shown and waited out; anything else is thrown. None is begun while the delivery
 * is held back. Waiting for bandwidth is no part of the time that an attempt may take.
 *
 * @throws AttemptsOver; the signal's reason, once it aborts
 */
export async function untilDone<T>(
  worker: Worker,
  work: Work,
  attempt: (signal: AbortSignal, pace: Pace) => Promise<T>,
): Promise<T> {
  const { sizeBytes, extraMs = 0 } = work;
  const limitMs = sizeBytes === null ? null : attemptLimitMs(sizeBytes) + extraMs;
  for (;;) {
    const sinceMs = worker.clock.monotonicMs();
    await worker.gate.pass(worker.signal);
    work.budget?.waited(worker.clock.monotonicMs() - sinceMs);
    try {
      const result = await worker.slots.use(
        worker.signal,
        async () => {
          // The slot may have been waited for.
          if (worker.gate.held !== null) return null;
          const value = await within(worker.clock, limitMs, worker.signal, (signal, hold) =>
            attempt(signal, paceOf(worker, urgencyOf(worker, work.oldestMs), signal, hold)),
          );
          return { value };
        },
        { behind: worker.lane.behind },
      );
      if (result === null) continue;
      worker.backOff.beginAnew();
      worker.progress.recovered(worker.name);
      return result.value;
    } catch (error) {
      worker.signal.throwIfAborted();
      const delayMs = error instanceof Postponed ? error.delayMs : failedFor(worker, work, error);
      await worker.gate.untilNext(delayMs, worker.signal);
    }
  }
}

/** How long to wait after a failure. @throws AttemptsOver; what is no failure of a sink */
export function failedFor(worker: Worker, work: Pick<Work, 'budget'>, error: unknown): number {
  if (!(error instanceof SinkError)) throw error;
  const shown = outOfTime(error);
  const delayMs = Math.min(worker.backOff.failed(error), work.budget?.leftMs ?? Infinity);
  worker.progress.failed(worker.name, shown, delayMs);
  try {
    work.budget?.failed(shown);
  } catch (over) {
    // What comes next has attempts of its own.
    worker.backOff.beginAnew();
    worker.progress.attemptsEnded(worker.name);
    throw over;
  }
  return delayMs;
}

/** The error to show: an attempt called off while the worker goes on ran out of its time. */
export function outOfTime(error: SinkError): SinkError {
  if (error.code !== 'aborted') return error;
  return new SinkError('timeout', 'the destination took too long', { cause: error });
}
