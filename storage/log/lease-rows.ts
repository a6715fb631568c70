/**
 * Rows of leases, as whoever holds one changes them: owner and counter must be of the tenure that the
 * row speaks of, in the statement that changes it. What changed is told to the copy in memory once
 * it is committed.
 */
import { StorageError } from '../errors.ts';
import type { Lease, SourceKey } from '../model.ts';
import type { Transaction } from '../group-commit.ts';
import { keyOf } from './application-memory.ts';
import type { ApplicationMemory, LeaseChange, LeaseRow } from './application-memory.ts';

export const ofSource = 'application_id = ? AND source_kind = ? AND source_id = ?';

/** Where a source ends: no checkpoint may lie past it. null: not known here. */
export type SourceEnd = (source: SourceKey) => number | null;

export class LeaseRows {
  readonly #memory: ApplicationMemory;
  readonly #sourceEnd: SourceEnd;

  constructor(memory: ApplicationMemory, sourceEnd: SourceEnd) {
    this.#memory = memory;
    this.#sourceEnd = sourceEnd;
  }

  /** Changes the row of a lease that is still held. @throws StorageError `lease-lost` */
  async fence(
    transaction: Transaction,
    lease: Lease,
    change: string,
    ...params: readonly number[]
  ): Promise<LeaseRow> {
    const [row] = await transaction.all<LeaseRow>(
      `UPDATE lease SET ${change}
        WHERE application_id = (SELECT id FROM application WHERE name = ?)
          AND source_kind = ? AND source_id = ?
          AND owner = ? AND taken_counter <= ? AND counter >= ? RETURNING *`,
      ...params,
      lease.application,
      lease.source.kind,
      lease.source.id,
      lease.owner,
      lease.counter,
      lease.counter,
    );
    if (row === undefined) {
      throw new StorageError(
        'lease-lost',
        `${lease.owner} no longer holds the lease of ${lease.application} for ${keyOf(lease.source)}`,
      );
    }
    return row;
  }

  /**
   * Moves the checkpoint within a transaction that emits something too: both happen, or neither.
   * @throws StorageError `lease-lost`, `invalid-argument` for a position behind the checkpoint
   */
  async checkpointIn(transaction: Transaction, lease: Lease, position: number): Promise<Lease> {
    this.checkPosition(lease.source, position);
    const row = await this.fence(transaction, lease, 'checkpoint = max(checkpoint, ?)', position);
    if (row.checkpoint > position) {
      throw new StorageError(
        'invalid-argument',
        `checkpoint ${position} lies behind ${row.checkpoint}: a checkpoint never goes back`,
      );
    }
    this.mirror(transaction, lease, { checkpoint: position });
    return { ...lease, counter: row.counter, checkpoint: position };
  }

  /** @throws StorageError `invalid-argument` for a position that the source has not */
  checkPosition(source: SourceKey, position: number): void {
    const end = this.#sourceEnd(source);
    if (!Number.isSafeInteger(position) || position < 0 || (end !== null && position > end)) {
      throw new StorageError(
        'invalid-argument',
        `${position} is no position of ${keyOf(source)}, which ends at ${String(end)}`,
      );
    }
  }

  mirror(
    transaction: Transaction,
    { application, source }: Pick<Lease, 'application' | 'source'>,
    change: LeaseChange,
  ): void {
    transaction.onCommit(() => {
      this.#memory.change(application, source, change);
    });
  }
}
