/**
 * Closes the parts of the gateway, in bounded time.
 *
 * In three stages, one after the other, the parts of a stage side by side: what takes in, serves
 * and sends (`parts`), then the servers that some of them go through (`servers`), then the store.
 * A part that does not close within its stage's share of the time is named in the log and left
 * behind, so that a hanging camera, client or destination keeps nothing from being closed that
 * comes after it: the store above all. What was acknowledged is on disk by then in any case.
 */
import type { Clock, Logger } from '../storage/ports.ts';

export type Stage = 'parts' | 'servers' | 'store';

export type Close = () => Promise<void> | void;

interface Part {
  readonly name: string;
  readonly close: Close;
}

/** The share of the whole time after which a stage has to be over. */
const shares: readonly (readonly [Stage, number])[] = [
  ['parts', 0.7],
  ['servers', 0.8],
  ['store', 1],
];

export class Closing {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #parts: Readonly<Record<Stage, Part[]>> = { parts: [], servers: [], store: [] };
  #closed: Promise<void> | null = null;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Remembers what is to be closed. @param name for the log: `MQTT` */
  add(stage: Stage, name: string, close: Close): void {
    this.#parts[stage].push({ name, close });
  }

  /**
   * Closes everything, within `timeoutMs` in all. Twice is harmless.
   * @throws AggregateError when parts failed to close, or did not in time; the rest is closed
   */
  close(timeoutMs: number): Promise<void> {
    this.#closed ??= this.#close(timeoutMs);
    return this.#closed;
  }

  async #close(timeoutMs: number): Promise<void> {
    const sinceMs = this.#clock.monotonicMs();
    const failures: unknown[] = [];
    for (const [stage, share] of shares) {
      const leftMs = timeoutMs * share - (this.#clock.monotonicMs() - sinceMs);
      const parts = [...this.#parts[stage]].reverse();
      const ends = await Promise.allSettled(parts.map((part) => this.#closePart(part, leftMs)));
      for (const end of ends) if (end.status === 'rejected') failures.push(end.reason);
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not every part closed properly');
  }

  async #closePart({ name, close }: Part, leftMs: number): Promise<void> {
    let cancel = (): void => undefined;
    const late = new Promise<never>((_resolve, reject) => {
      cancel = this.#clock.setTimer(Math.max(0, leftMs), () => {
        this.#logger.error({ part: name }, 'a part did not close in time and is left behind');
        reject(new Error(`${name} did not close in time`));
      });
    });
    try {
      await Promise.race([Promise.resolve().then(close), late]);
    } finally {
      cancel();
    }
  }
}
