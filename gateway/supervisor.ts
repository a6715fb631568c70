/**
 * The one restart and back-off loop, for sources and sinks alike.
 *
 * A task is a function that runs until it ends or fails. What happens then:
 * - ended after a healthy run (ready for `healthyAfterMs`): run again at once;
 * - failed, or ended early: wait, twice as long each time up to `maxDelayMs`, half of it random,
 *   so that fifty cameras behind one switch do not come back in the same instant;
 * - failed with an error that says `retryable: false` (a wrong password): wait the longest delay
 *   straight away. It is never given up: somebody mends the camera, and nobody restarts the box;
 * - failed with an error that says `retryAfterMs`: wait that long at least.
 * A healthy run starts the delays over.
 *
 * The first error of a kind is logged; the same one repeated is counted, and summed up once per
 * `summaryMs`. All times come from the clock's monotonic side, except those that are shown.
 * What a task does, and telling what an error means, live with the task.
 */
import { maskUrls } from './observe/mask.ts';
import type { CancelTimer, Clock, Counter, Gauge, Logger, Metrics } from '../storage/ports.ts';

export interface TaskContext {
  /** Aborted when the task is to stop; `run` then settles promptly. */
  readonly signal: AbortSignal;
  /** Called once what the task does is really happening. */
  ready(): void;
}

/** A `Source`, a delivery's shard, or anything else that runs until it ends or fails. */
export interface Task {
  /** Unique among the tasks that run now. */
  readonly name: string;
  run(context: TaskContext): Promise<void>;
}

export interface BackOff {
  /** The first delay. Default 500. */
  readonly firstDelayMs: number;
  /** The longest delay. Default 60 000. */
  readonly maxDelayMs: number;
  /** Ready for this long is healthy: delays start over. Default 30 000. */
  readonly healthyAfterMs: number;
  /** The same error is logged at most once in this time. Default 60 000. */
  readonly summaryMs: number;
  /** `stop` waits no longer than this for a task that ignores its signal. Default 10 000. */
  readonly stopTimeoutMs: number;
}

export interface TaskOptions extends Partial<BackOff> {
  /** What a run that simply ended means: `restart` (the default), or `stop`, the work is done. */
  readonly whenEnded?: 'restart' | 'stop';
}

export type TaskState = 'starting' | 'running' | 'backing-off' | 'stopped';

export interface TaskFailure {
  readonly message: string;
  /** The error's `code`, when it has one. */
  readonly code: string | null;
  readonly atMs: number;
  /** How many times in a row. */
  readonly count: number;
}

export interface TaskStatus {
  readonly name: string;
  readonly state: TaskState;
  /** Since when it has been in this state. */
  readonly sinceMs: number;
  /** When the next attempt begins; null unless backing off. */
  readonly retryAtMs: number | null;
  /** Runs begun after the first one. */
  readonly restarts: number;
  /** The latest failure; null once a run has been healthy since. */
  readonly failure: TaskFailure | null;
}

export interface SupervisorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** 0 inclusive to 1 exclusive; `Math.random` in production. */
  readonly random: () => number;
  readonly backOff?: Partial<BackOff>;
}

const defaults: BackOff = {
  firstDelayMs: 500,
  maxDelayMs: 60_000,
  healthyAfterMs: 30_000,
  summaryMs: 60_000,
  stopTimeoutMs: 10_000,
};

/** Holds every task of the gateway. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #tasks = new Map<string, SupervisedTask>();
  #closed = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /**
   * Starts a task and keeps it running until it is stopped.
   *
   * @throws Error when a task of this name runs already, or the supervisor is closed: both are
   *   mistakes of the caller.
   * @example
   * const camera = supervisor.start(rtspPushSource({ camera: 'gate', server, … }));
   * await camera.stop();
   */
  start(task: Task, options: TaskOptions = {}): SupervisedTask {
    if (this.#closed) throw new Error('the supervisor is closed');
    if (this.#tasks.has(task.name)) throw new Error(`a task named ${task.name} runs already`);
    const supervised = new SupervisedTask(
      task,
      { ...defaults, ...this.#options.backOff, whenEnded: 'restart', ...options },
      this.#options,
      () => {
        // One that was left behind may end when its successor runs already.
        if (this.#tasks.get(task.name) !== supervised) return false;
        return this.#tasks.delete(task.name);
      },
    );
    this.#tasks.set(task.name, supervised);
    return supervised;
  }

  /** The tasks that have not stopped, in the order they were started. */
  status(): readonly TaskStatus[] {
    return [...this.#tasks.values()].map((task) => task.status());
  }

  /** Stops every task, all at once, and waits for them. Twice is harmless. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#tasks.values()].map((task) => task.stop()));
  }
}

/** One task under supervision. */
export class SupervisedTask {
  readonly name: string;
  /** Resolves when the task has stopped for good. Never rejects. */
  readonly stopped: Promise<void>;
  readonly #task: Task;
  readonly #options: BackOff & { readonly whenEnded: 'restart' | 'stop' };
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #random: () => number;
  readonly #up: Gauge;
  readonly #restartCounter: Counter;
  readonly #failureCounter: Counter;
  /** @returns false: it was forgotten before */
  readonly #forget: () => boolean;
  readonly #abort = new AbortController();
  #state: TaskState = 'starting';
  #sinceMs: number;
  #retryAtMs: number | null = null;
  #runs = 0;
  #failure: TaskFailure | null = null;
  /** Attempts since the last healthy run: the exponent of the delay. */
  #attempt = 0;
  /** Each run has a signal of its own: a run that leaves listeners on it leaks nothing. */
  #runAbort = new AbortController();
  #healthy = false;
  #cancelHealthTimer: CancelTimer = () => undefined;
  #lastLoggedMs = 0;
  #unlogged = 0;
  /** It ignored its signal: a successor may be shown under its name. */
  #isLeftBehind = false;

  /** Made by `Supervisor.start`, which documents the options. */
  constructor(
    task: Task,
    options: BackOff & { readonly whenEnded: 'restart' | 'stop' },
    ports: SupervisorOptions,
    forget: () => boolean,
  ) {
    this.name = task.name;
    this.#task = task;
    this.#options = options;
    this.#clock = ports.clock;
    this.#random = ports.random;
    this.#forget = forget;
    this.#logger = ports.logger.child({ task: task.name });
    const { metrics } = ports;
    this.#up = metrics.gauge('headgate_task_up', 'Whether the task is doing its work.');
    this.#restartCounter = metrics.counter('headgate_task_restarts_total', 'Runs after the first.');
    this.#failureCounter = metrics.counter('headgate_task_failures_total', 'Runs that failed.');
    this.#sinceMs = this.#clock.nowMs();
    this.stopped = this.#loop().finally(() => {
      this.#enter('stopped');
      if (!this.#isLeftBehind) this.#leave();
    });
  }

  status(): TaskStatus {
    return {
      name: this.name,
      state: this.#state,
      sinceMs: this.#sinceMs,
      retryAtMs: this.#retryAtMs,
      restarts: Math.max(0, this.#runs - 1),
      failure: this.#failure,
    };
  }

  /** Tells the task to stop and waits for it, at most `stopTimeoutMs`. Twice is harmless. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#runAbort.abort();
    let cancel = (): void => undefined;
    const timeout = new Promise<void>((resolve) => {
      cancel = this.#clock.setTimer(this.#options.stopTimeoutMs, () => {
        this.#logger.error({}, 'a task did not stop in time and is left behind');
        this.#leave();
        this.#isLeftBehind = true;
        resolve();
      });
    });
    await Promise.race([this.stopped, timeout]);
    cancel();
  }

  #isStopping(): boolean {
    return this.#abort.signal.aborted;
  }

  async #loop(): Promise<void> {
    // A task's first steps run after `start` has returned its handle.
    await Promise.resolve();
    while (!this.#isStopping()) {
      const outcome = await this.#runOnce();
      if (this.#isStopping()) return;
      if (outcome.kind === 'ended' && this.#options.whenEnded === 'stop') return;
      await this.#wait(this.#delayAfter(outcome));
    }
  }

  async #runOnce(): Promise<Outcome> {
    this.#runs += 1;
    if (this.#runs > 1) this.#restartCounter.add(1, { task: this.name });
    this.#enter('starting');
    this.#healthy = false;
    this.#runAbort = new AbortController();
    let error: unknown;
    let failed = false;
    try {
      await this.#task.run({ signal: this.#runAbort.signal, ready: this.#watchHealth() });
    } catch (thrown) {
      failed = true;
      error = thrown;
    }
    this.#cancelHealthTimer();
    const healthy = this.#healthy;
    if (this.#isStopping()) {
      if (failed && !isAbort(error)) this.#logger.warn({ error }, 'a task failed while stopping');
      return { kind: 'ended', healthy };
    }
    if (failed) return { kind: 'failed', healthy, error };
    // One that ends when its work is done may be short.
    if (this.#options.whenEnded === 'stop') this.#logger.info({}, 'a task is done');
    else this.#logger.info({ healthy }, 'a task ended');
    return { kind: 'ended', healthy };
  }

  /** The `ready` of one run: it counts once, and not after that run's end. */
  #watchHealth(): () => void {
    const run = this.#runs;
    return () => {
      if (run !== this.#runs || this.#state !== 'starting' || this.#isStopping()) return;
      this.#enter('running');
      this.#cancelHealthTimer = this.#clock.setTimer(this.#options.healthyAfterMs, () => {
        this.#becameHealthy();
      });
    };
  }

  #becameHealthy(): void {
    this.#healthy = true;
    this.#attempt = 0;
    if (this.#failure === null) return;
    this.#logger.info({ failures: this.#failure.count }, 'a task works again');
    this.#failure = null;
    this.#unlogged = 0;
  }

  /** Milliseconds until the next run. */
  #delayAfter(outcome: Outcome): number {
    const { firstDelayMs, maxDelayMs } = this.#options;
    if (outcome.kind === 'ended' && outcome.healthy) return 0;
    const longest =
      outcome.kind === 'failed' && !isRetryable(outcome.error)
        ? maxDelayMs
        : Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    const leastMs = outcome.kind === 'failed' ? leastDelayOf(outcome.error) : 0;
    const delayMs = Math.max(leastMs, Math.round(longest * (0.5 + this.#random() / 2)));
    if (outcome.kind === 'failed') this.#failed(outcome.error, delayMs);
    return delayMs;
  }

  #failed(error: unknown, delayMs: number): void {
    this.#failureCounter.add(1, { task: this.name });
    const message = maskUrls(error instanceof Error ? error.message : String(error));
    const code = codeOf(error);
    const last = this.#failure;
    const repeated = last?.message === message && last.code === code;
    this.#failure = {
      message,
      code,
      atMs: this.#clock.nowMs(),
      count: repeated ? last.count + 1 : 1,
    };
    const nowMs = this.#clock.monotonicMs();
    if (repeated && nowMs - this.#lastLoggedMs < this.#options.summaryMs) {
      this.#unlogged += 1;
      return;
    }
    if (repeated) {
      const fields = { code, reason: message, count: this.#failure.count, delayMs };
      this.#logger.warn({ ...fields, unlogged: this.#unlogged }, 'a task still fails');
    } else {
      this.#logger.warn({ code, reason: message, delayMs, error }, 'a task failed');
    }
    this.#lastLoggedMs = nowMs;
    this.#unlogged = 0;
  }

  async #wait(delayMs: number): Promise<void> {
    if (delayMs === 0) return;
    this.#enter('backing-off', this.#clock.nowMs() + delayMs);
    const { signal } = this.#abort;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.#clock.setTimer(delayMs, done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  /** What is over is not down. */
  #leave(): void {
    if (this.#forget()) this.#up.remove({ task: this.name });
  }

  #enter(state: TaskState, retryAtMs: number | null = null): void {
    this.#retryAtMs = retryAtMs;
    if (!this.#isLeftBehind) this.#up.set(state === 'running' ? 1 : 0, { task: this.name });
    if (state === this.#state) return;
    this.#state = state;
    this.#sinceMs = this.#clock.nowMs();
  }
}

type Outcome =
  | { readonly kind: 'ended'; readonly healthy: boolean }
  | { readonly kind: 'failed'; readonly healthy: boolean; readonly error: unknown };

/** Errors of ours say `retryable`; what says nothing is worth another try. */
function isRetryable(error: unknown): boolean {
  return !(error instanceof Error && 'retryable' in error && error.retryable === false);
}

/** An error may ask for a longer wait than any delay: a camera locks who guesses too often. */
function leastDelayOf(error: unknown): number {
  return error instanceof Error && 'retryAfterMs' in error && typeof error.retryAfterMs === 'number'
    ? error.retryAfterMs
    : 0;
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : null;
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
