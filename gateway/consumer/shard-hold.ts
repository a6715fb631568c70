/**
 * A shard's lease in the hands of this worker: renewed every third of its duration, and given up by
 * the worker itself when it could not be renewed in time. A duration counts from when its request
 * was sent, so it ends here before it ends at the gateway.
 */
import type { HeldLease } from '../api/rest/application-schemas.ts';
import type { CancelTimer, Clock, Logger } from '../../storage/ports.ts';
import { ConsumerError, type ApplicationClient, type Holding, type Start } from './client.ts';
import { Delays, pause } from './waits.ts';

export interface HoldOptions {
  readonly client: ApplicationClient;
  readonly owner: string;
  readonly leaseMs: number;
  readonly start: Start;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

export class ShardHold {
  readonly shard: number;
  /** Rises from holder to holder: what was emitted under a lower one came from a superseded worker. */
  readonly fence: number;
  /** Aborted, with a ConsumerError as its reason, once the lease is not ours any more. */
  readonly lost: AbortSignal;
  /** Aborted when another worker asks for the lease. */
  readonly wanted: AbortSignal;
  readonly #options: HoldOptions;
  readonly #holding: Holding;
  readonly #lost = new AbortController();
  readonly #wanted = new AbortController();
  #checkpoint: number;
  #endsMs: number;
  #cancelEnd: CancelTimer = () => undefined;
  #cancelRenewal: CancelTimer = () => undefined;
  #released = false;

  private constructor(options: HoldOptions, lease: HeldLease, sinceMs: number) {
    this.#options = options;
    this.#holding = { shard: lease.shard, owner: lease.owner, counter: lease.counter };
    this.shard = lease.shard;
    this.fence = lease.counter;
    this.lost = this.#lost.signal;
    this.wanted = this.#wanted.signal;
    this.#checkpoint = lease.checkpoint;
    this.#endsMs = 0;
    this.#renewed(lease, sinceMs);
  }

  /** @throws ConsumerError `lease-held`, `parents-first` and what else the gateway says */
  static async acquire(options: HoldOptions, shard: number): Promise<ShardHold> {
    const { client, owner, leaseMs, start, clock } = options;
    const sinceMs = clock.monotonicMs();
    return new ShardHold(options, await client.acquire(shard, owner, leaseMs, start), sinceMs);
  }

  /** The first sequence number that is not done. */
  get checkpoint(): number {
    return this.#checkpoint;
  }

  /** Whether the lease is ours by the clock: after a pause of the process no timer has told yet. */
  get isHeld(): boolean {
    if (this.#options.clock.monotonicMs() >= this.#endsMs) this.#lose();
    return !this.lost.aborted;
  }

  /**
   * Moves the checkpoint, and tries until it is moved.
   * @param abandon ends the trying
   * @throws ConsumerError when the lease is lost, or what the gateway said last
   */
  async advance(position: number, abandon: AbortSignal): Promise<void> {
    const { client, clock, random } = this.#options;
    const delays = new Delays(random);
    for (;;) {
      if (!this.isHeld) throw this.lost.reason as ConsumerError;
      try {
        await client.checkpoint(this.#holding, position);
        this.#checkpoint = position;
        return;
      } catch (error) {
        if (!(error instanceof ConsumerError && error.retryable)) {
          this.#lose(error);
          throw error;
        }
        if (abandon.aborted) throw error;
        await pause(clock, delays.failed(), abandon);
      }
    }
  }

  /** Gives the lease back. Never rejects: one that can't be given back runs out. */
  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    this.#cancelEnd();
    this.#cancelRenewal();
    if (this.lost.aborted) return;
    const { client, logger } = this.#options;
    try {
      await client.release(this.#holding);
    } catch (error) {
      logger.debug({ shard: this.shard, error }, 'a lease could not be given back: it runs out');
    }
  }

  #renewed({ wantedBy }: HeldLease, sinceMs: number): void {
    const { clock, leaseMs } = this.#options;
    this.#endsMs = sinceMs + leaseMs;
    this.#cancelEnd();
    if (this.#released) return;
    this.#cancelEnd = clock.setTimer(this.#endsMs - clock.monotonicMs(), () => {
      this.#lose();
    });
    if (wantedBy !== null) this.#wanted.abort();
    this.#renewAfter(leaseMs / 3);
  }

  #renewAfter(delayMs: number): void {
    this.#cancelRenewal = this.#options.clock.setTimer(delayMs, () => {
      void this.#renew();
    });
  }

  async #renew(): Promise<void> {
    const { client, clock, leaseMs, logger } = this.#options;
    const sinceMs = clock.monotonicMs();
    try {
      this.#renewed(await client.renew(this.#holding, leaseMs), sinceMs);
    } catch (error) {
      if (this.#released || this.lost.aborted) return;
      if (!(error instanceof ConsumerError && error.retryable)) {
        this.#lose(error);
        return;
      }
      logger.warn({ shard: this.shard, error }, 'a lease could not be renewed yet');
      this.#renewAfter(leaseMs / 10);
    }
  }

  #lose(cause?: unknown): void {
    this.#cancelEnd();
    this.#cancelRenewal();
    if (this.lost.aborted) return;
    const message = `the lease of shard ${this.shard} is lost`;
    this.#lost.abort(new ConsumerError('lease-lost', message, false, { cause }));
  }
}
