import type { CancelTimer, Clock, LogFields, Logger } from '../../storage/ports.ts';

const INTERVAL_MS = 10_000;

interface Window {
  /** Happened since the last line. */
  repeats: number;
  lastFields: LogFields;
  readonly cancel: CancelTimer;
}

/**
 * Says a thing at once when it happens first, and then how often it happened again, at most once in
 * ten seconds: a misbehaving fleet can't flood the log. Keys are few and fixed, never from the wire.
 */
export class Summary {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #windows = new Map<string, Window>();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  warn(key: string, fields: LogFields, message: string): void {
    const window = this.#windows.get(key);
    if (window === undefined) {
      this.#logger.warn(fields, message);
      this.#open(key, fields, message);
    } else {
      window.repeats += 1;
      window.lastFields = fields;
    }
  }

  /** Stops the timers; what was counted and not said yet is said now. */
  close(): void {
    for (const [key, window] of this.#windows) {
      window.cancel();
      if (window.repeats > 0) {
        this.#logger.warn({ ...window.lastFields, repeats: window.repeats }, `again: ${key}`);
      }
    }
    this.#windows.clear();
  }

  #open(key: string, fields: LogFields, message: string): void {
    const cancel = this.#clock.setTimer(INTERVAL_MS, () => {
      const window = this.#windows.get(key);
      this.#windows.delete(key);
      if (window === undefined || window.repeats === 0) return;
      this.#logger.warn({ ...window.lastFields, repeats: window.repeats }, message);
      this.#open(key, window.lastFields, message);
    });
    this.#windows.set(key, { repeats: 0, lastFields: fields, cancel });
  }
}
