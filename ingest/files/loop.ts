/** When a source of files looks, and when it waits. */
import type { Clock } from '../../storage/ports.ts';
import type { FolderWatch } from './folder-watch.ts';
import type { Registry } from './registry.ts';
import type { Wakes } from './wakes.ts';

export interface Timing {
  /** What comes within this time is read together. */
  readonly gatherMs: number;
  /** Everything is looked at this often, */
  readonly scanMs: number;
  /** or this often where the system does not tell of changes. */
  readonly unwatchedScanMs: number;
  /** A renamed or deleted file is complete when it has not grown for this long. */
  readonly rotatedQuietMs: number;
  /** The first wait when the log refuses; doubled up to ten times that. */
  readonly refusedMs: number;
}

export const defaultTiming: Timing = {
  gatherMs: 50,
  scanMs: 10_000,
  unwatchedScanMs: 1_000,
  rotatedQuietMs: 30_000,
  refusedMs: 500,
};

/** Scans take at most one part in this many of the time. */
const scanShare = 10;

/** When to look, and when to wait. */
export class Loop {
  readonly #registry: Registry;
  readonly #watch: FolderWatch;
  readonly #wakes: Wakes;
  readonly #timing: Timing;
  readonly #clock: Clock;
  #scanAtMs = -Infinity;
  /** No scan before this. */
  #scanNotBeforeMs = -Infinity;
  #refusedUntilMs = -Infinity;
  #refusals = 0;

  constructor(registry: Registry, watch: FolderWatch, wakes: Wakes, timing: Timing, clock: Clock) {
    this.#registry = registry;
    this.#watch = watch;
    this.#wakes = wakes;
    this.#timing = timing;
    this.#clock = clock;
  }

  get isRefused(): boolean {
    return this.#clock.monotonicMs() < this.#refusedUntilMs;
  }

  /** The log takes nothing just now. */
  refused(): void {
    if (this.isRefused) return;
    const delayMs = this.#timing.refusedMs * Math.min(10, 2 ** this.#refusals);
    this.#refusals += 1;
    this.#refusedUntilMs = this.#clock.monotonicMs() + delayMs;
  }

  taken(): void {
    this.#refusals = 0;
  }

  scanSoon(): void {
    this.#scanAtMs = this.#clock.monotonicMs();
  }

  /** Looks at what changed. */
  async look(): Promise<void> {
    const changes = this.#wakes.take();
    for (const [path, named] of changes.paths) {
      // What is written to a file that is none of ours is no reason to look at all.
      if (!(await this.#registry.glance(path)) && named) this.scanSoon();
    }
    if (changes.unknown) this.scanSoon();
  }

  get isScanDue(): boolean {
    const nowMs = this.#clock.monotonicMs();
    return nowMs >= Math.max(this.#scanAtMs, this.#scanNotBeforeMs) && !this.isRefused;
  }

  /** Looks at everything. @throws StorageError */
  async scan(): Promise<void> {
    const beganMs = this.#clock.monotonicMs();
    await this.#registry.scan();
    const added = this.#watch.follow(this.#registry.folders);
    const nowMs = this.#clock.monotonicMs();
    const { scanMs, unwatchedScanMs, gatherMs } = this.#timing;
    const again = added || this.#registry.isUnsettled;
    this.#scanAtMs = again ? nowMs : nowMs + (this.#watch.coversAll ? scanMs : unwatchedScanMs);
    this.#scanNotBeforeMs = nowMs + Math.max(gatherMs, scanShare * (nowMs - beganMs));
  }

  /** How long there is nothing to do, unless something happens. */
  restMs(nextEndMs: number): number {
    const nowMs = this.#clock.monotonicMs();
    const scanMs = Math.max(this.#scanAtMs, this.#scanNotBeforeMs) - nowMs;
    return this.isRefused ? this.#refusedUntilMs - nowMs : Math.max(0, Math.min(scanMs, nextEndMs));
  }
}
