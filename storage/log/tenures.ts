/**
 * Who holds the lease of a source until when, on the monotonic clock of this process.
 *
 * After a restart the leases of workers outside of this process (`outlives_ms` in their rows) begin
 * their last duration anew, so that whoever still works renews in time and keeps them. All others
 * are free.
 */
import { StorageError } from '../errors.ts';
import type { Transaction } from '../group-commit.ts';
import type { SourceKey } from '../model.ts';
import type { Clock } from '../ports.ts';
import { keyOf, type LeaseRow } from './application-memory.ts';
import type { Queries } from './batch-table.ts';

export interface Tenure {
  readonly owner: string;
  readonly takenCounter: number;
  readonly expiresMs: number;
}

export class Tenures {
  readonly #clock: Clock;
  /** By source, then by application id. */
  readonly #bySource = new Map<string, Map<number, Tenure>>();

  private constructor(clock: Clock) {
    this.#clock = clock;
  }

  static async open(queries: Queries, clock: Clock): Promise<Tenures> {
    const tenures = new Tenures(clock);
    const rows = await queries.all<LeaseRow & { readonly outlives_ms: number }>(
      'SELECT * FROM lease WHERE owner IS NOT NULL AND outlives_ms > 0',
    );
    for (const row of rows) {
      const source = { kind: row.source_kind, id: row.source_id };
      tenures.#set(row.application_id, source, {
        owner: row.owner ?? '',
        takenCounter: row.taken_counter,
        expiresMs: clock.monotonicMs() + row.outlives_ms,
      });
    }
    return tenures;
  }

  /** Who holds the lease now; null: it is free. */
  holder(applicationId: number, source: SourceKey): string | null {
    const tenure = this.#bySource.get(keyOf(source))?.get(applicationId);
    return tenure !== undefined && this.#lasts(tenure) ? tenure.owner : null;
  }

  /** @throws StorageError `lease-held` */
  checkFree(applicationId: number, source: SourceKey): void {
    const holder = this.holder(applicationId, source);
    if (holder === null) return;
    throw new StorageError('lease-held', `${holder} holds the lease of ${keyOf(source)}`);
  }

  /** Milliseconds for which the lease is still held; 0: it is free. */
  leftMs(applicationId: number, source: SourceKey): number {
    const tenure = this.#bySource.get(keyOf(source))?.get(applicationId);
    return tenure === undefined ? 0 : Math.max(0, tenure.expiresMs - this.#clock.monotonicMs());
  }

  /** Whether some application holds a lease of the source now. */
  isHeld(source: SourceKey): boolean {
    const tenures = this.#bySource.get(keyOf(source));
    return tenures !== undefined && [...tenures.values()].some((tenure) => this.#lasts(tenure));
  }

  /** Counts at once, for the next item of the same group, and is put back if it is undone. */
  change(
    transaction: Transaction,
    applicationId: number,
    source: SourceKey,
    tenure: Tenure | null,
  ): void {
    const before = this.#bySource.get(keyOf(source))?.get(applicationId) ?? null;
    this.#set(applicationId, source, tenure);
    transaction.onRollback(() => {
      this.#set(applicationId, source, before);
    });
  }

  forgetApplication(applicationId: number): void {
    for (const [key, tenures] of this.#bySource) {
      if (tenures.delete(applicationId) && tenures.size === 0) this.#bySource.delete(key);
    }
  }

  forgetSource(source: SourceKey): void {
    this.#bySource.delete(keyOf(source));
  }

  #lasts({ expiresMs }: Tenure): boolean {
    return expiresMs > this.#clock.monotonicMs();
  }

  #set(applicationId: number, source: SourceKey, tenure: Tenure | null): void {
    const key = keyOf(source);
    const tenures = this.#bySource.get(key) ?? new Map<number, Tenure>();
    if (tenure === null) tenures.delete(applicationId);
    else tenures.set(applicationId, tenure);
    if (tenures.size === 0) this.#bySource.delete(key);
    else this.#bySource.set(key, tenures);
  }
}
