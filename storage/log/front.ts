import type { Transaction } from '../group-commit.ts';
import { batchRows } from './batch-table.ts';
import type { SizedRow } from './batch-table.ts';
import type { Shard, ShardPosition } from './streams.ts';

/** Rows loaded at a time. */
const loadRows = 64;

/**
 * The batches at the beginning of a shard, in order, loaded a few at a time: what retention takes
 * from when a stream needs room.
 */
export class Front {
  readonly shard: Shard;
  readonly taken: SizedRow[] = [];
  #rows: SizedRow[] = [];
  #from: number;
  #end: number;

  constructor(shard: Shard, position: ShardPosition) {
    this.shard = shard;
    this.#from = position.trimSequence;
    // What this group appends is not in the table yet.
    this.#end = shard.position.nextSequence;
  }

  get row(): SizedRow | null {
    return this.#rows[0] ?? null;
  }

  async peek(transaction: Transaction): Promise<SizedRow | null> {
    if (this.#rows.length === 0 && this.#from < this.#end) {
      this.#rows = await batchRows(transaction, this.shard.id, this.#from, loadRows);
      if (this.#rows.length === 0) this.#from = this.#end;
    }
    return this.row;
  }

  /** Takes the first batch; returns the bytes that this frees. */
  take(): number {
    const row = this.#rows.shift();
    if (row === undefined) return 0;
    this.taken.push(row);
    this.#from = row.first_sequence + row.record_count;
    return row.stored_bytes;
  }
}
