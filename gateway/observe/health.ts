/**
 * Named checks, and what they come to.
 *
 * `degraded` is for what the gateway is built to live with, an uplink that is down above all: it
 * goes on taking in and storing. `failing` is for what makes it refuse its work. So readiness
 * falls only by a failing check. Liveness, which gets a process restarted, falls only by a
 * failing check that a restart can mend (`mendedByRestart`).
 */
import type { Clock } from '../../storage/ports.ts';

export type HealthStatus = 'ok' | 'degraded' | 'failing';

export interface CheckResult {
  readonly status: HealthStatus;
  /** What is wrong and what to do about it; null when nothing is. */
  readonly message: string | null;
}

export interface HealthReport {
  readonly status: HealthStatus;
  readonly checks: readonly (CheckResult & { readonly name: string })[];
}

export interface CheckOptions {
  /** A failing result makes the process not live: to be restarted. */
  readonly mendedByRestart?: boolean;
}

const checkTimeoutMs = 2000;

/**
 * @example
 * const health = new Health(clock);
 * const remove = health.add('uplink', () => ({ status: 'degraded', message: 'S3 is away' }));
 * const { status, checks } = await health.report();
 */
export class Health {
  readonly #clock: Clock;
  readonly #checks = new Map<
    string,
    { run: () => CheckResult | Promise<CheckResult>; options: CheckOptions }
  >();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Adds a check; a name is there once. Returns how to take it away again. A check that throws is
   * failing, and so is one that gives no answer for 2 s.
   */
  add(
    name: string,
    run: () => CheckResult | Promise<CheckResult>,
    options: CheckOptions = {},
  ): () => void {
    if (this.#checks.has(name)) throw new TypeError(`there is a check called ${name} already`);
    const check = { run, options };
    this.#checks.set(name, check);
    return () => {
      if (this.#checks.get(name) === check) this.#checks.delete(name);
    };
  }

  /** Runs every check, side by side. The whole is as well as its worst part. */
  async report(): Promise<HealthReport> {
    return this.#report([...this.#checks.keys()]);
  }

  /** Whether work may be sent here: no check is failing. */
  async ready(): Promise<boolean> {
    return (await this.report()).status !== 'failing';
  }

  /** Whether the process should go on: no check that a restart would mend is failing. */
  async live(): Promise<boolean> {
    const mendable = [...this.#checks].filter(
      ([, { options }]) => options.mendedByRestart === true,
    );
    return (await this.#report(mendable.map(([name]) => name))).status !== 'failing';
  }

  async #report(names: readonly string[]): Promise<HealthReport> {
    const checks = await Promise.all(
      names.map(async (name) => ({ name, ...(await this.#run(name)) })),
    );
    const worst = (['failing', 'degraded'] as const).find((status) =>
      checks.some((check) => check.status === status),
    );
    return { status: worst ?? 'ok', checks };
  }

  async #run(name: string): Promise<CheckResult> {
    const check = this.#checks.get(name);
    if (check === undefined) return { status: 'ok', message: null };
    let cancel = (): void => undefined;
    const late = new Promise<CheckResult>((resolve) => {
      cancel = this.#clock.setTimer(checkTimeoutMs, () => {
        resolve({ status: 'failing', message: `gave no answer within ${checkTimeoutMs / 1000} s` });
      });
    });
    try {
      return await Promise.race([Promise.resolve(check.run()), late]);
    } catch (error) {
      return { status: 'failing', message: error instanceof Error ? error.message : String(error) };
    } finally {
      cancel();
    }
  }
}
