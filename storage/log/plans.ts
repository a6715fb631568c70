/**
 * Plans: the range of a source that is on its way, what was decided of it, and what a function made of
 * it, under the lease of whoever carries it out. A source has at most one for each application.
 */
import { StorageError } from '../errors.ts';
import type { AlsoAppend, Lease, Plan, RecordInput } from '../model.ts';
import type { Transaction } from '../group-commit.ts';
import type { Writer } from '../writer.ts';
import { keyOf, type PlanRow } from './application-memory.ts';
import type { Queries } from './batch-table.ts';
import { type LeaseRows, ofSource } from './lease-rows.ts';
import type { PlanOutputs } from './plan-output.ts';

/** Longest JSON of a plan's detail. */
const planDetailBytesMax = 1024 ** 2;

export class PlanTable {
  readonly #writer: Writer;
  readonly #queries: Queries;
  readonly #outputs: PlanOutputs;
  readonly #leases: LeaseRows;

  constructor(options: {
    readonly writer: Writer;
    readonly queries: Queries;
    readonly outputs: PlanOutputs;
    readonly leases: LeaseRows;
  }) {
    this.#writer = options.writer;
    this.#queries = options.queries;
    this.#outputs = options.outputs;
    this.#leases = options.leases;
  }

  async save(lease: Lease, plan: Plan): Promise<void> {
    const detail = JSON.stringify(plan.detail ?? null);
    if (Buffer.byteLength(detail) > planDetailBytesMax) {
      throw new StorageError(
        'invalid-argument',
        `a plan's detail has at most ${planDetailBytesMax} bytes of JSON`,
      );
    }
    this.#leases.checkPosition(lease.source, plan.to);
    await this.#writer.transact(async (transaction) => {
      const row = await this.#leases.fence(transaction, lease, 'checkpoint = checkpoint');
      if (plan.from < row.checkpoint || plan.to <= plan.from) {
        throw new StorageError(
          'invalid-argument',
          `a plan from ${plan.from} to ${plan.to} at checkpoint ${row.checkpoint}`,
        );
      }
      const { changes } = await transaction.run(
        `INSERT OR IGNORE INTO plan (application_id, source_kind, source_id, from_position,
           to_position, detail, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)`,
        row.application_id,
        lease.source.kind,
        lease.source.id,
        plan.from,
        plan.to,
        detail,
        plan.createdMs,
      );
      if (changes === 0) {
        throw new StorageError('already-exists', `there is a plan for ${keyOf(lease.source)}`);
      }
      this.#leases.mirror(transaction, lease, { plan: { from: plan.from, to: plan.to } });
    });
  }

  async get(lease: Lease): Promise<Plan | null> {
    const row = await this.#row(lease);
    if (row === undefined) return null;
    return {
      from: row.from_position,
      to: row.to_position,
      detail: JSON.parse(row.detail) as unknown,
      createdMs: row.created_ms,
      ...(row.appended_to > 0 && { appendedTo: row.appended_to }),
    };
  }

  async shorten(lease: Lease, to: number): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      const { from_position: from } = await this.#change(transaction, lease, {
        set: 'to_position = min(to_position, ?)',
        value: to,
      });
      if (to <= from) {
        throw new StorageError('invalid-argument', `a plan from ${from} can't end at ${to}`);
      }
      this.#leases.mirror(transaction, lease, { plan: { from, to } });
    });
  }

  async appendFor(lease: Lease, { stream, records }: AlsoAppend, to: number): Promise<void> {
    await this.#writer.transact(
      async (transaction) => {
        await this.#change(transaction, lease, { set: 'appended_to = ?', value: to });
        await transaction.append(stream, records);
      },
      { bytes: bytesOf(records) },
    );
  }

  async saveOutput(
    lease: Lease,
    piece: { readonly index: number; readonly bytes: Buffer; readonly isLast: boolean },
  ): Promise<void> {
    const { index, bytes, isLast } = piece;
    await this.#outputs.ready(lease.source);
    await this.#writer.transact(
      async (transaction) => {
        const { application_id: applicationId } = await this.#change(transaction, lease, {
          set: 'output_pieces = ?',
          value: isLast ? index + 1 : null,
        });
        await this.#outputs.save(
          transaction,
          { applicationId, source: lease.source, index },
          bytes,
        );
      },
      { bytes: bytes.length },
    );
  }

  async output(lease: Lease): Promise<AsyncIterable<Buffer> | null> {
    const row = await this.#row(lease);
    if (row === undefined) return null;
    return this.#outputs.read(row.application_id, lease.source, row.output_pieces);
  }

  async complete(lease: Lease, append?: AlsoAppend): Promise<Lease> {
    const complete = async (transaction: Transaction): Promise<Lease> => {
      const row = await this.#leases.fence(transaction, lease, 'checkpoint = checkpoint');
      if (append !== undefined) await transaction.append(append.stream, append.records);
      const [plan] = await transaction.all<{ to_position: number }>(
        `DELETE FROM plan WHERE ${ofSource} RETURNING to_position`,
        row.application_id,
        lease.source.kind,
        lease.source.id,
      );
      if (plan === undefined) {
        throw new StorageError('not-found', `there is no plan for ${keyOf(lease.source)}`);
      }
      this.#leases.mirror(transaction, lease, { plan: null });
      return this.#leases.checkpointIn(
        transaction,
        lease,
        Math.max(plan.to_position, row.checkpoint),
      );
    };
    const bytes = append === undefined ? {} : { bytes: bytesOf(append.records) };
    return this.#writer.transact(complete, bytes);
  }

  #row({ application, source }: Lease): Promise<PlanRow | undefined> {
    return this.#queries.get<PlanRow>(
      `SELECT plan.* FROM plan JOIN application ON application.id = application_id
        WHERE name = ? AND source_kind = ? AND source_id = ?`,
      ...[application, source.kind, source.id],
    );
  }

  /** Changes the row of the plan, fenced. @throws StorageError `lease-lost`, `not-found` */
  async #change(
    transaction: Transaction,
    lease: Lease,
    change: { readonly set: string; readonly value: number | null },
  ): Promise<PlanRow> {
    const { application_id: id } = await this.#leases.fence(
      transaction,
      lease,
      'checkpoint = checkpoint',
    );
    const [row] = await transaction.all<PlanRow>(
      `UPDATE plan SET ${change.set} WHERE ${ofSource} RETURNING *`,
      ...[change.value, id, lease.source.kind, lease.source.id],
    );
    if (row === undefined) {
      throw new StorageError('not-found', `there is no plan for ${keyOf(lease.source)}`);
    }
    return row;
  }
}

/** About what records hold in memory while they wait. */
function bytesOf(records: readonly RecordInput[]): number {
  return records.reduce(
    (sum, { partitionKey, data }) => sum + partitionKey.length + data.length,
    0,
  );
}
