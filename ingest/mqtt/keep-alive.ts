/**
 * Ends connections of which nothing was heard for one and a half times what their client promised
 * (OASIS MQTT 3.1.1, 3.1.2.10). A connection that is not read, because the log is busy, is not
 * silent: whatever it says meanwhile waits in the system's buffers.
 */
import type { CancelTimer, Clock } from '../../storage/ports.ts';

export class KeepAlive {
  readonly #clock: Clock;
  readonly #silenceMs: number;
  readonly #isRead: () => boolean;
  readonly #expired: () => void;
  #heardMs: number;
  #cancel: CancelTimer;

  /** `silenceMs`: how long is too long. One timer runs at a time, and none is set when something is heard. */
  constructor(options: {
    readonly clock: Clock;
    readonly silenceMs: number;
    readonly isRead: () => boolean;
    readonly expired: () => void;
  }) {
    this.#clock = options.clock;
    this.#silenceMs = options.silenceMs;
    this.#isRead = options.isRead;
    this.#expired = options.expired;
    this.#heardMs = this.#clock.monotonicMs();
    this.#cancel = this.#clock.setTimer(this.#silenceMs, () => this.#check());
  }

  heard(): void {
    this.#heardMs = this.#clock.monotonicMs();
  }

  stop(): void {
    this.#cancel();
  }

  #check(): void {
    if (!this.#isRead()) this.heard();
    const leftMs = this.#heardMs + this.#silenceMs - this.#clock.monotonicMs();
    if (leftMs <= 0) this.#expired();
    else this.#cancel = this.#clock.setTimer(leftMs, () => this.#check());
  }
}
