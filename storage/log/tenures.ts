/**
 * Until when leases are held, on the monotonic clock of this process and in its memory only. Who
 * holds a lease is the row's to say (`applications.ts`); here is only whether its time has run out.
 *
 * After a restart the leases of workers outside of this process (`outlives_ms` in their rows) begin
 * their last duration anew, so that whoever still works renews in time and keeps them. All others
 * count as expired.
 */
import type { Transaction } from '../group-commit.ts';
import type { SourceKey } from '../model.ts';
import type { Clock } from '../ports.ts';
import { keyOf } from './application-memory.ts';
import type { Queries } from './batch-table.ts';

interface OutlivingRow {
  readonly application_id: number;
  readonly source_kind: SourceKey['kind'];
  readonly source_id: number;
  readonly outlives_ms: number;
}

function tenureKey(applicationId: number, source: SourceKey): string {
  return `${applicationId} ${keyOf(source)}`;
}

export class Tenures {
  readonly #clock: Clock;
  /** When each ends, by application id and source. */
  readonly #endsMs = new Map<string, number>();

  private constructor(clock: Clock) {
    this.#clock = clock;
  }

  static async open(queries: Queries, clock: Clock): Promise<Tenures> {
    const tenures = new Tenures(clock);
    const rows = await queries.all<OutlivingRow>(
      `SELECT application_id, source_kind, source_id, outlives_ms FROM lease
        WHERE owner IS NOT NULL AND outlives_ms > 0`,
    );
    for (const row of rows) {
      const source = { kind: row.source_kind, id: row.source_id };
      tenures.#endsMs.set(
        tenureKey(row.application_id, source),
        clock.monotonicMs() + row.outlives_ms,
      );
    }
    return tenures;
  }

  /** Milliseconds for which the source is held; 0 when it is not. */
  leftMs(applicationId: number, source: SourceKey): number {
    const endsMs = this.#endsMs.get(tenureKey(applicationId, source)) ?? 0;
    return Math.max(0, endsMs - this.#clock.monotonicMs());
  }

  /**
   * Begins a duration, or ends it at once (null). Counts at once, for the next item of the same
   * group, and is put back if the transaction is undone.
   */
  set(
    transaction: Transaction,
    applicationId: number,
    source: SourceKey,
    durationMs: number | null,
  ): void {
    const key = tenureKey(applicationId, source);
    const before = this.#endsMs.get(key);
    if (durationMs === null) this.#endsMs.delete(key);
    else this.#endsMs.set(key, this.#clock.monotonicMs() + durationMs);
    transaction.onRollback(() => {
      if (before === undefined) this.#endsMs.delete(key);
      else this.#endsMs.set(key, before);
    });
  }

  forget(applicationId: number, source: SourceKey): void {
    this.#endsMs.delete(tenureKey(applicationId, source));
  }

  forgetApplication(applicationId: number): void {
    for (const key of this.#endsMs.keys()) {
      if (key.startsWith(`${applicationId} `)) this.#endsMs.delete(key);
    }
  }
}
