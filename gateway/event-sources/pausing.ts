/** Whether an event source may call its function now. */
import type { Clock } from '../../storage/ports.ts';
import { Changes } from '../forward/changes.ts';
import type { Pausable } from '../forward/flow/steering.ts';

/** Why nothing is begun. */
export interface FunctionHeld {
  readonly by: 'pause' | 'configuration';
  /** In a sentence. */
  readonly reason: string;
}

export class Pausing implements Pausable {
  readonly #byConfiguration: FunctionHeld | null;
  readonly #clock: Clock;
  readonly #changes = new Changes();
  readonly #resumed = new Changes();
  #pausedMs: number | null = null;

  /** @param configured `paused` of the configuration, which only the configuration takes back */
  constructor(name: string, configured: boolean, clock: Clock) {
    const reason = `functions.${name}.paused is true`;
    this.#byConfiguration = configured ? { by: 'configuration', reason } : null;
    this.#clock = clock;
  }

  get pausedMs(): number | null {
    return this.#pausedMs;
  }

  get held(): FunctionHeld | null {
    if (this.#byConfiguration !== null || this.#pausedMs === null) return this.#byConfiguration;
    return { by: 'pause', reason: `paused since ${new Date(this.#pausedMs).toISOString()}` };
  }

  setPaused(sinceMs: number | null): void {
    this.#pausedMs = sinceMs;
    this.#changes.notify();
    if (sinceMs === null) this.#resumed.notify();
  }

  /** Resolves when the next attempt is due, or somebody resumes it, or the signal aborts. */
  async untilNext(delayMs: number, signal: AbortSignal): Promise<void> {
    if (delayMs > 0) await this.#resumed.wait(this.#clock, delayMs, signal);
  }

  /** Resolves when nothing holds it back. @throws the signal's reason, once it aborts */
  async pass(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (this.held !== null) {
      await this.#changes.wait(this.#clock, null, signal);
      signal.throwIfAborted();
    }
  }
}
