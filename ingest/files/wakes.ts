/** What happened while nobody looked, and waiting for it. */
import type { Clock } from '../../storage/ports.ts';

/** More changed paths than this, and everything is looked at instead. */
const pathsMax = 1000;

export class Wakes {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #paths = new Map<string, boolean>();
  #unknown = false;
  #wake: () => void = () => undefined;

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  /**
   * Something happened under this path; null: somewhere.
   * @param named the name came or went, so that it may be another file's now
   */
  changed(path: string | null, named: boolean): void {
    if (path === null || this.#paths.size >= pathsMax) this.#unknown = true;
    else this.#paths.set(path, named || this.#paths.get(path) === true);
    this.#wake();
  }

  /** What happened since it was asked for the last time. */
  take(): { readonly paths: ReadonlyMap<string, boolean>; readonly unknown: boolean } {
    const taken = { paths: this.#paths, unknown: this.#unknown };
    this.#paths = new Map();
    this.#unknown = false;
    return taken;
  }

  /**
   * Resolves after `restMs`, or `gatherMs` after something happened; at once when told to stop.
   * @param restMs Infinity: only when something happens
   */
  async wait(restMs: number, gatherMs: number): Promise<void> {
    const happened = await this.#pause(restMs, true);
    if (happened) await this.#pause(gatherMs, false);
  }

  /** Whether something happened before the time was over. */
  #pause(forMs: number, endsEarly: boolean): Promise<boolean> {
    if (this.#signal.aborted) return Promise.resolve(false);
    if (endsEarly && (this.#unknown || this.#paths.size > 0)) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (happened: boolean): void => {
        cancel();
        this.#wake = () => undefined;
        this.#signal.removeEventListener('abort', stop);
        resolve(happened);
      };
      const stop = (): void => {
        end(false);
      };
      const cancel =
        forMs === Infinity ? () => undefined : this.#clock.setTimer(Math.max(1, forMs), stop);
      if (endsEarly) {
        this.#wake = () => {
          end(true);
        };
      }
      this.#signal.addEventListener('abort', stop);
    });
  }
}
