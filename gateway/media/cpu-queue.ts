/**
 * Work that is paid for in processor time: so many at once, and on average no more than a share of
 * one core, after a burst. What it took is known afterwards only, so the account may go below zero;
 * then nothing begins until it is above again.
 */
import type { CancelTimer, Clock } from '../../storage/ports.ts';

/** What a person waits for comes first. */
export type Priority = 'asked' | 'background';

export interface CpuQueueOptions {
  readonly clock: Clock;
  /** Of one core. */
  readonly share: number;
  /** Seconds of processor time that may be used at once after a rest. */
  readonly burstSeconds: number;
  readonly atOnceMax: number;
  readonly waitingMax: number;
}

interface Waiting {
  readonly priority: Priority;
  readonly begin: () => void;
}

export class CpuQueue {
  readonly #options: CpuQueueOptions;
  readonly #waiting: Waiting[] = [];
  #running = 0;
  #balanceSeconds: number;
  #balancedMs: number;
  #cancelTimer: CancelTimer | null = null;

  constructor(options: CpuQueueOptions) {
    this.#options = options;
    this.#balanceSeconds = options.burstSeconds;
    this.#balancedMs = options.clock.monotonicMs();
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Waits for its turn.
   * @returns ends it: to be called once, with the processor seconds that it took; null when too many
   *   wait already
   * @throws the signal's reason
   */
  async enter(
    priority: Priority,
    signal: AbortSignal,
  ): Promise<((cpuSeconds: number) => void) | null> {
    signal.throwIfAborted();
    if (this.#waiting.length >= this.#options.waitingMax) return null;
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason as Error);
      };
      const waiting = {
        priority,
        begin: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiting);
      this.#beginNext();
    });
    return (cpuSeconds) => {
      this.#running -= 1;
      this.#settle();
      this.#balanceSeconds -= cpuSeconds;
      this.#beginNext();
    };
  }

  /** Begins nothing any more. */
  close(): void {
    this.#cancelTimer?.();
  }

  #beginNext(): void {
    this.#settle();
    while (this.#waiting.length > 0 && this.#running < this.#options.atOnceMax) {
      if (this.#balanceSeconds <= 0) {
        this.#waitForBalance();
        return;
      }
      const asked = this.#waiting.findIndex(({ priority }) => priority === 'asked');
      const [next] = this.#waiting.splice(Math.max(0, asked), 1);
      this.#running += 1;
      next?.begin();
    }
  }

  #settle(): void {
    const { clock, share, burstSeconds } = this.#options;
    const nowMs = clock.monotonicMs();
    const earnedSeconds = ((nowMs - this.#balancedMs) / 1_000) * share;
    this.#balanceSeconds = Math.min(burstSeconds, this.#balanceSeconds + earnedSeconds);
    this.#balancedMs = nowMs;
  }

  #waitForBalance(): void {
    const { clock, share } = this.#options;
    const missingMs = (-this.#balanceSeconds / share) * 1_000;
    this.#cancelTimer ??= clock.setTimer(Math.max(1, Math.ceil(missingMs)), () => {
      this.#cancelTimer = null;
      this.#beginNext();
    });
  }
}
