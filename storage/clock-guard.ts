/**
 * Decides whether the wall clock may be believed when it calls data old: one guard for the log and
 * for footage.
 *
 * Rules
 * - A step is a change of the wall clock against the monotonic one by more than an hour between two
 *   looks. Across a restart the monotonic clock says nothing: there a clock that is an hour behind
 *   the last one seen has stepped back, and one that is more than a week ahead has stepped forward
 *   (less is taken for the time that the box was off).
 * - A step suspends deletion by age: the first time sync of a box without a battery must not expire
 *   everything. Limits in bytes act all the same.
 * - A step back to within an hour of what the clock before would say now undoes it. Only what was
 *   stored while the clock was behind is dated too early and would be deleted too soon: so after an
 *   excursion into the past the suspension stays for its one retention all the same.
 * - What was stored before the step is kept until one full retention has passed since, in monotonic
 *   time that counts on over restarts; then ageing is normal again. Nobody has to do anything.
 *   `confirm` ends the suspension at once.
 * - The last time seen is saved once a minute, and at every change, so that a step over a restart or
 *   a boot is noticed too. A minute's loss of it does no harm.
 *
 * What is deleted: `retention.ts`, `video/retention.ts`. Leases run on monotonic time and need none
 * of this.
 */
import type { Queries } from './log/batch-table.ts';
import type { Clock, Gauge, Logger, Metrics } from './ports.ts';
import type { Writer } from './writer.ts';

export const clockStepMaxMs = 60 * 60 * 1000;
/** A box that was off for longer than this is one whose clock is doubted. */
const absenceMaxMs = 7 * 24 * 60 * 60 * 1000;
const saveEveryMs = 60_000;
/** Steps remembered; the oldest goes first. */
const stepsMax = 20;

export interface ClockStep {
  /** What the clock said after it. */
  readonly atMs: number;
  /** How far it went, against what was expected. */
  readonly stepMs: number;
  /** It happened while the gateway did not run. */
  readonly whileStopped: boolean;
}

export interface Suspension {
  /** What the clock said when it began. */
  readonly sinceMs: number;
  readonly stepMs: number;
  /** Time that has passed since the last step. */
  readonly elapsedMs: number;
  /** What the clock before the step would say now; too little by the time the box was off. */
  readonly expectedMs: number;
}

export interface ClockStatus {
  readonly nowMs: number;
  /** null: age is believed. */
  readonly suspension:
    (Suspension & { /** When it ends by itself. */ readonly healsInMs: number }) | null;
  /** The newest last. */
  readonly steps: readonly ClockStep[];
}

interface State {
  wallMs: number;
  /** Set while suspended: the box was off since the step, for nobody knows how long. */
  wasOff: boolean;
  suspension: Suspension | null;
  steps: readonly ClockStep[];
}

export interface ClockGuardOptions {
  readonly writer: Writer;
  readonly queries: Queries;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class ClockGuard {
  readonly #options: ClockGuardOptions;
  readonly #gauge: Gauge;
  readonly #longest: (() => number)[] = [];
  readonly #confirmed: (() => void)[] = [];
  #state: State;
  #monotonicMs: number;
  #savedMs: number;
  #changed: boolean;

  private constructor(options: ClockGuardOptions, saved: State | null) {
    this.#options = options;
    this.#gauge = options.metrics.gauge(
      'headgate_retention_suspended',
      '1 while nothing is deleted by age because the clock stepped.',
    );
    const { clock } = options;
    const wallMs = clock.nowMs();
    this.#monotonicMs = clock.monotonicMs();
    this.#savedMs = this.#monotonicMs;
    this.#changed = saved === null;
    this.#state = saved ?? { wallMs, wasOff: false, suspension: null, steps: [] };
    if (saved !== null) this.#compareWithLastRun(wallMs);
    this.#state.wallMs = wallMs;
    this.#show();
  }

  /** Loads what was saved and compares the clock with it. @throws StorageError */
  static async open(options: ClockGuardOptions): Promise<ClockGuard> {
    const row = await options.queries.get<{ state: string }>(
      'SELECT state FROM clock_state WHERE id = 1',
    );
    return new ClockGuard(options, row === undefined ? null : parse(row.state));
  }

  /** Names a retention: a suspension lasts until the longest of all has passed. */
  keepsFor(longestMs: () => number): void {
    this.#longest.push(longestMs);
  }

  /** Called back when someone has confirmed the clock. */
  onConfirm(listener: () => void): void {
    this.#confirmed.push(listener);
  }

  /** Compares the clocks, and saves what has to be saved without waiting for it. */
  look(): void {
    const { clock, logger } = this.#options;
    const wallMs = clock.nowMs();
    const monotonicMs = clock.monotonicMs();
    const passedMs = monotonicMs - this.#monotonicMs;
    const stepMs = wallMs - this.#state.wallMs - passedMs;
    this.#monotonicMs = monotonicMs;
    this.#pass(passedMs);
    if (Math.abs(stepMs) > clockStepMaxMs) {
      this.#stepped(wallMs, this.#state.wallMs + passedMs, false);
    }
    this.#state.wallMs = wallMs;
    if (this.#state.suspension !== null && this.#healsInMs(this.#state.suspension) === 0) {
      logger.info({}, 'What was stored before the clock stepped had its time: age counts again.');
      this.#end();
    }
    this.#show();
    if (this.#changed || monotonicMs - this.#savedMs >= saveEveryMs) {
      this.save().catch((error: unknown) => {
        logger.warn({ error }, 'The time seen could not be saved; it is tried again.');
      });
    }
  }

  /** Whether data of this retention may be deleted because of its age. */
  allowsAge(retentionMs: number): boolean {
    const { suspension } = this.#state;
    return suspension === null || suspension.elapsedMs >= retentionMs;
  }

  get suspended(): boolean {
    return this.#state.suspension !== null;
  }

  /** The clock is right: age is believed at once. @throws StorageError when it can't be saved */
  async confirm(): Promise<void> {
    this.look();
    const { suspension } = this.#state;
    if (suspension !== null) {
      this.#options.logger.info(
        { stepMs: suspension.stepMs },
        'The clock was confirmed: age counts again.',
      );
    }
    this.#end();
    this.#show();
    await this.save();
    for (const listener of this.#confirmed) listener();
  }

  status(): ClockStatus {
    this.look();
    const { suspension, steps } = this.#state;
    return {
      nowMs: this.#state.wallMs,
      suspension:
        suspension === null ? null : { ...suspension, healsInMs: this.#healsInMs(suspension) },
      steps,
    };
  }

  /** Saves the state, after the saving that is under way. @throws StorageError */
  save(): Promise<void> {
    const { writer } = this.#options;
    this.#changed = false;
    this.#savedMs = this.#monotonicMs;
    const text = JSON.stringify(this.#state);
    return writer.transact(async (transaction) => {
      transaction.onRollback(() => {
        this.#changed = true;
      });
      await transaction.run('INSERT OR REPLACE INTO clock_state (id, state) VALUES (1, ?)', text);
    });
  }

  /** Queues the last time seen, for the last commit. Twice is harmless. */
  close(): void {
    this.look();
    this.save().catch(() => undefined);
  }

  #compareWithLastRun(wallMs: number): void {
    const state = this.#state;
    state.wasOff = true;
    const awayMs = wallMs - state.wallMs;
    if (awayMs < -clockStepMaxMs || awayMs > absenceMaxMs) {
      this.#stepped(wallMs, state.wallMs, true);
    }
  }

  #stepped(wallMs: number, expectedMs: number, whileStopped: boolean): void {
    const { logger } = this.#options;
    const stepMs = Math.round(wallMs - expectedMs);
    const step: ClockStep = { atMs: wallMs, stepMs, whileStopped };
    this.#state.steps = [...this.#state.steps, step].slice(-stepsMax);
    this.#changed = true;
    const before = this.#state.suspension;
    if (before !== null && this.#isUndone(wallMs, before.expectedMs)) {
      this.#undo(before, wallMs, stepMs);
      return;
    }
    this.#state.suspension = {
      sinceMs: before?.sinceMs ?? wallMs,
      stepMs: before === null ? stepMs : Math.round(wallMs - before.expectedMs),
      elapsedMs: 0,
      expectedMs: before?.expectedMs ?? expectedMs,
    };
    if (before === null) this.#state.wasOff = whileStopped;
    logger.warn(
      { stepMs, whileStopped },
      'The clock stepped by more than an hour: what is stored is kept for one more retention. If the clock is right, "headgate clock confirm" ends that.',
    );
  }

  #undo(before: Suspension, wallMs: number, stepMs: number): void {
    const wasBehind = before.stepMs < 0;
    this.#options.logger.info(
      { stepMs },
      wasBehind
        ? 'The clock is back where it was: what was stored meanwhile is kept for one more retention.'
        : 'The clock is back where it was: age counts again.',
    );
    this.#end();
    if (!wasBehind) return;
    this.#state.suspension = { sinceMs: wallMs, stepMs, elapsedMs: 0, expectedMs: wallMs };
  }

  #isUndone(wallMs: number, expectedMs: number): boolean {
    const errorMs = wallMs - expectedMs;
    const tolerance = this.#state.wasOff ? absenceMaxMs : clockStepMaxMs;
    return errorMs >= -clockStepMaxMs && errorMs <= tolerance;
  }

  #pass(passedMs: number): void {
    const { suspension } = this.#state;
    if (suspension === null) return;
    this.#state.suspension = {
      ...suspension,
      elapsedMs: suspension.elapsedMs + passedMs,
      expectedMs: suspension.expectedMs + passedMs,
    };
  }

  #end(): void {
    if (this.#state.suspension === null) return;
    this.#state.suspension = null;
    this.#state.wasOff = false;
    this.#changed = true;
  }

  #healsInMs({ elapsedMs }: Suspension): number {
    // Before the parts have named theirs, nothing heals.
    const longestMs = Math.max(clockStepMaxMs, ...this.#longest.map((longest) => longest()));
    return this.#longest.length === 0 ? Infinity : Math.max(0, longestMs - elapsedMs);
  }

  #show(): void {
    this.#gauge.set(this.suspended ? 1 : 0);
  }
}

/** What was saved; null when it can't be read: then the clock is believed as in a new store. */
function parse(text: string): State | null {
  try {
    const state = JSON.parse(text) as State;
    return Number.isSafeInteger(state.wallMs) && Array.isArray(state.steps) ? state : null;
  } catch {
    return null;
  }
}
