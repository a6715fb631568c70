/**
 * Holds the lease of one source for one worker: renews it in time, and carries checkpoints and
 * plans through it one after the other, each fenced by the store.
 *
 * A lease that is lost aborts the worker, which may then neither emit nor checkpoint.
 */
import { StorageError } from '../../storage/errors.ts';
import type { AlsoAppend, Applications, Lease, Plan, SourceKey } from '../../storage/model.ts';
import type { CancelTimer, Clock, Logger } from '../../storage/ports.ts';

const leaseMs = 30_000;

export interface LeaseRequest {
  readonly applications: Applications;
  readonly application: string;
  readonly source: SourceKey;
  readonly owner: string;
  /** Counts when there is no checkpoint yet. */
  readonly initialCheckpoint: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class LeaseKeeper {
  /** Aborted, with the error as its reason, once the lease is lost. */
  readonly lost: AbortSignal;
  readonly #request: LeaseRequest;
  readonly #lost = new AbortController();
  #lease: Lease;
  #last: Promise<unknown> = Promise.resolve();
  #cancelRenewal: CancelTimer = () => undefined;
  #released = false;

  private constructor(request: LeaseRequest, lease: Lease) {
    this.#request = request;
    this.#lease = lease;
    this.lost = this.#lost.signal;
    this.#renewLater();
  }

  /** @throws StorageError `lease-held` while another worker has it */
  static async acquire(request: LeaseRequest): Promise<LeaseKeeper> {
    const { applications, application, source, owner, initialCheckpoint } = request;
    const lease = await applications.acquire(
      application,
      source,
      owner,
      leaseMs,
      initialCheckpoint,
    );
    return new LeaseKeeper(request, lease);
  }

  /** Where the application began with the source. */
  get start(): number {
    return this.#lease.start;
  }

  /** The first position that is not done. */
  get checkpoint(): number {
    return this.#lease.checkpoint;
  }

  plan(): Promise<Plan | null> {
    return this.#inTurn((lease) => this.#request.applications.plan(lease));
  }

  savePlan(plan: Plan): Promise<void> {
    return this.#inTurn((lease) => this.#request.applications.savePlan(lease, plan));
  }

  completePlan(append?: AlsoAppend): Promise<void> {
    return this.#inTurn(async (lease) => {
      this.#lease = await this.#request.applications.completePlan(lease, append);
    });
  }

  shortenPlan(to: number): Promise<void> {
    return this.#inTurn((lease) => this.#request.applications.shortenPlan(lease, to));
  }

  appendForPlan(append: AlsoAppend, to: number): Promise<void> {
    return this.#inTurn((lease) => this.#request.applications.appendForPlan(lease, append, to));
  }

  savePlanOutput(index: number, bytes: Buffer, isLast: boolean): Promise<void> {
    const piece = { index, bytes, isLast };
    return this.#inTurn((lease) => this.#request.applications.savePlanOutput(lease, piece));
  }

  /** The lease stays, whatever is found of it. */
  planOutput(): Promise<AsyncIterable<Buffer> | null> {
    return this.#request.applications.planOutput(this.#lease);
  }

  advance(position: number): Promise<void> {
    return this.#inTurn(async (lease) => {
      this.#lease = await this.#request.applications.checkpoint(lease, position);
    });
  }

  /** Lets go of the source for good, its checkpoint and its plan included. */
  async forget(): Promise<void> {
    // First: a renewal that came after it would take the lease for lost.
    this.#released = true;
    this.#cancelRenewal();
    await this.#inTurn((lease) => this.#request.applications.forget(lease));
  }

  /** Gives the lease back. Never rejects: one that can't be given back runs out. */
  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    this.#cancelRenewal();
    await this.#last;
    if (this.lost.aborted) return;
    try {
      await this.#request.applications.release(this.#lease);
    } catch (error) {
      this.#request.logger.debug({ error }, 'a lease could not be given back and will run out');
    }
  }

  #renewLater(): void {
    this.#cancelRenewal = this.#request.clock.setTimer(leaseMs / 3, () => {
      void this.#renew();
    });
  }

  async #renew(): Promise<void> {
    try {
      await this.#inTurn(async (lease) => {
        this.#lease = await this.#request.applications.renew(lease, leaseMs);
      });
    } catch (error) {
      if (error instanceof StorageError && error.retryable) {
        this.#request.logger.warn({ error }, 'a lease could not be renewed yet');
      }
    }
    if (!this.#released && !this.lost.aborted) this.#renewLater();
  }

  async #inTurn<T>(work: (lease: Lease) => Promise<T>): Promise<T> {
    const mine = this.#last.then(() => {
      this.lost.throwIfAborted();
      return work(this.#lease);
    });
    this.#last = mine.catch(() => undefined);
    try {
      return await mine;
    } catch (error) {
      if (error instanceof StorageError && !error.retryable) this.#lost.abort(error);
      throw error;
    }
  }
}
