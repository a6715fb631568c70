/**
 * Whether a delivery may send now: it may be withheld, paused, outside of its schedule, or told no by a
 * program.
 *
 * Held back it begins no attempt, and gathers nothing; what is under way then is finished. Its
 * leases and plans stay as they are, so that it goes on where it was, and a required one pins what
 * it has not sent. The wall clock is looked at again at least every half minute: it may be set.
 */
import type { CancelTimer, Clock, Logger } from '../../../storage/ports.ts';
import { Changes } from '../changes.ts';
import { pause } from '../timing.ts';
import {
  askProgram,
  onlyWhileDefaults,
  type Answer,
  type OnlyWhileOptions,
  type Programs,
} from './only-while.ts';
import { Schedule, type ScheduleOptions } from './schedule.ts';

const lookEveryMs = 30_000;

/** Why a delivery waits, of several reasons the one that has to go first. */
export interface Held {
  readonly by: 'permission' | 'pause' | 'schedule' | 'command';
  /** In a sentence. */
  readonly reason: string;
  /** Nobody wants it: it may not send there any more, or the program can't be asked. */
  readonly isFault: boolean;
  /** When it ends by itself; null: that is not known. */
  readonly untilMs: number | null;
}

/** What the workers of a delivery see of it. */
export interface Gate {
  readonly held: Held | null;
  /**
   * Resolves when nothing holds the delivery back.
   * @throws the signal's reason, once it aborts
   */
  pass(signal: AbortSignal): Promise<void>;
  /** Resolves when the next attempt is due, or somebody resumes it, or the signal aborts. */
  untilNext(delayMs: number, signal: AbortSignal): Promise<void>;
}

export interface FlowOptions {
  readonly delivery: string;
  /** Why it may not send at all; null: it may. */
  readonly withheld: string | null;
  /** null: at any time. */
  readonly schedule: ScheduleOptions | null;
  /** null: nobody is asked. */
  readonly onlyWhile: OnlyWhileOptions | null;
  readonly programs: Programs;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Flow implements Gate {
  readonly #options: FlowOptions;
  readonly #schedule: Schedule | null;
  readonly #stop = new AbortController();
  readonly #waiting = new Set<() => void>();
  readonly #resumed = new Changes();
  #pausedMs: number | null = null;
  /** The program's latest; null: it was not asked yet, or not since it mattered. */
  #answer: Answer | null = null;
  #asking: Promise<void> | null = null;

  constructor(options: FlowOptions) {
    this.#options = options;
    this.#schedule = options.schedule === null ? null : new Schedule(options.schedule);
  }

  /** Since when it is paused; null: it is not. */
  get pausedMs(): number | null {
    return this.#pausedMs;
  }

  get held(): Held | null {
    const { withheld } = this.#options;
    if (withheld !== null) {
      return { by: 'permission', reason: withheld, isFault: true, untilMs: null };
    }
    if (this.#pausedMs !== null) {
      const since = new Date(this.#pausedMs).toISOString();
      return { by: 'pause', reason: `paused since ${since}`, isFault: false, untilMs: null };
    }
    return this.#heldBySchedule() ?? this.#heldByProgram();
  }

  /** Tells it what was kept of it, and begins to ask its program. Again is harmless. */
  open(pausedMs: number | null): void {
    this.setPaused(pausedMs);
    if (this.#options.onlyWhile === null || this.#stop.signal.aborted) return;
    this.#asking ??= this.#keepAsking(this.#options.onlyWhile);
  }

  /** @param sinceMs null: it goes on */
  setPaused(sinceMs: number | null): void {
    this.#pausedMs = sinceMs;
    this.#tell();
    if (sinceMs === null) this.#resumed.notify();
  }

  async untilNext(delayMs: number, signal: AbortSignal): Promise<void> {
    if (delayMs > 0) await this.#resumed.wait(this.#options.clock, delayMs, signal);
  }

  async pass(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const { held } = this;
      if (held === null) return;
      await this.#change(held, signal);
    }
  }

  /** Ends the program, if one runs. Twice is harmless. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#asking;
  }

  #heldBySchedule(): Held | null {
    const nowMs = this.#options.clock.nowMs();
    if (this.#schedule === null || this.#schedule.isOpen(nowMs)) return null;
    const reason = `sends only at ${this.#schedule.toString()}`;
    return { by: 'schedule', reason, isFault: false, untilMs: this.#schedule.nextOpenMs(nowMs) };
  }

  #heldByProgram(): Held | null {
    const { onlyWhile } = this.#options;
    if (onlyWhile === null || this.#answer?.isYes === true) return null;
    const { isFault = false, text = `${onlyWhile.program} was not asked yet` } = this.#answer ?? {};
    return { by: 'command', reason: text, isFault, untilMs: null };
  }

  /** Resolves when it may have changed, or the signal aborts. */
  #change({ untilMs }: Pick<Held, 'untilMs'>, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => undefined;
      const done = (): void => {
        cancel();
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const leftMs = untilMs === null ? lookEveryMs : Math.max(0, untilMs - clock.nowMs());
      cancel = clock.setTimer(Math.min(leftMs, lookEveryMs), done);
      this.#waiting.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #tell(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  async #keepAsking(onlyWhile: OnlyWhileOptions): Promise<void> {
    const { signal } = this.#stop;
    const { clock } = this.#options;
    const everyMs = (onlyWhile.everySeconds ?? onlyWhileDefaults.everySeconds) * 1000;
    while (!signal.aborted) {
      const otherwise = this.#otherwiseHeld();
      if (otherwise !== null) {
        // What it says now would be old by the time that it counts.
        this.#answer = null;
        await this.#change(otherwise, signal);
        continue;
      }
      const answer = await askProgram(onlyWhile, this.#about, signal).catch(() => null);
      if (answer === null) return;
      this.#take(answer);
      await this.#next(everyMs, clock);
    }
  }

  /** The pause until the next question, which ends when something else begins to hold. */
  async #next(everyMs: number, clock: Clock): Promise<void> {
    const { signal } = this.#stop;
    const dueMs = clock.monotonicMs() + everyMs;
    while (!signal.aborted && this.#otherwiseHeld() === null) {
      const leftMs = dueMs - clock.monotonicMs();
      if (leftMs <= 0) return;
      await pause(clock, Math.min(leftMs, lookEveryMs), signal);
    }
  }

  get #about() {
    const { delivery, clock, programs } = this.#options;
    return { delivery, clock, programs };
  }

  #otherwiseHeld(): Pick<Held, 'untilMs'> | null {
    return this.#pausedMs !== null ? { untilMs: null } : this.#heldBySchedule();
  }

  #take(answer: Answer): void {
    const before = this.#answer;
    this.#answer = answer;
    if (answer.isFault && before?.text !== answer.text) {
      const reason = answer.text;
      this.#options.logger.warn({ reason }, 'a delivery waits: its command can not be asked');
    }
    this.#tell();
  }
}
