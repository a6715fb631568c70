/**
 * Applications: named readers with leases, checkpoints and plans, in the same database as what they
 * read.
 *
 * Invariants
 * - Whether a lease is still held is decided by the statement that depends on it, in its own
 *   transaction: owner and counter must be of the tenure that the row speaks of. A tenure begins
 *   with `acquire`; renewals raise the counter within it, so a worker may use any lease object of
 *   its tenure, whichever of its calls came back last.
 * - The time of a lease runs on the monotonic clock of this process (`tenures.ts`). After a restart
 *   the leases of workers in this process count as expired, and the first to ask gets them; a worker
 *   outside has its last duration once more to renew, or loses its lease.
 * - The copy in memory (`list`, `pin`) is that of the last commit.
 *
 * The copy is kept in `application-memory.ts`. What a pin keeps from being deleted is the business of
 * `../retention.ts`.
 */
import { StorageError } from '../errors.ts';
import type {
  AlsoAppend,
  ApplicationOptions,
  Applications,
  Lease,
  Plan,
  SourceKey,
} from '../model.ts';
import type { Clock } from '../ports.ts';
import type { Transaction } from '../group-commit.ts';
import type { Writer } from '../writer.ts';
import { loadApplications } from './application-memory.ts';
import type { ApplicationMemory, LeaseRow } from './application-memory.ts';
import type { Queries } from './batch-table.ts';
import { forgetFree, startFree, tablesOfLeases, type Parts } from './begin-anew.ts';
import { LeaseRows, ofSource, type SourceEnd } from './lease-rows.ts';
import type { PlanOutputs } from './plan-output.ts';
import { PlanTable } from './plans.ts';
import { Tenures } from './tenures.ts';

const namePattern = /^[a-zA-Z0-9_.:-]{1,128}$/;
const ownerLengthMax = 256;

export interface ApplicationTableOptions {
  readonly writer: Writer;
  readonly queries: Queries;
  readonly clock: Clock;
  /** @throws StorageError `not-found` for a source that can't exist */
  readonly sourceEnd: SourceEnd;
  readonly outputs: PlanOutputs;
}

export class ApplicationTable implements Applications {
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #leases: LeaseRows;
  readonly #plans: PlanTable;
  readonly #memory: ApplicationMemory;
  readonly #tenures: Tenures;

  private constructor(
    options: ApplicationTableOptions,
    memory: ApplicationMemory,
    tenures: Tenures,
  ) {
    this.#memory = memory;
    this.#tenures = tenures;
    this.#writer = options.writer;
    this.#clock = options.clock;
    this.#leases = new LeaseRows(memory, options.sourceEnd);
    this.#plans = new PlanTable({ ...options, leases: this.#leases });
  }

  static async open(options: ApplicationTableOptions): Promise<ApplicationTable> {
    const { queries, clock } = options;
    const memory = await loadApplications(queries);
    return new ApplicationTable(options, memory, await Tenures.open(queries, clock));
  }

  async ensure(options: ApplicationOptions): Promise<void> {
    if (!namePattern.test(options.name)) {
      throw new StorageError('invalid-argument', `not an application's name: ${options.name}`);
    }
    await this.#writer.transact(async (transaction) => {
      const [row] = await transaction.all<{ id: number }>(
        `INSERT INTO application (name, required) VALUES (?, ?)
           ON CONFLICT (name) DO UPDATE SET required = excluded.required RETURNING id`,
        options.name,
        options.required ? 1 : 0,
      );
      transaction.onCommit(() => {
        if (row !== undefined) this.#memory.ensure(row.id, options);
      });
    });
  }

  async remove(name: string): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      const { id } = await this.#application(transaction, name);
      for (const table of tablesOfLeases) {
        await transaction.run(`DELETE FROM ${table} WHERE application_id = ?`, id);
      }
      await transaction.run('DELETE FROM application WHERE id = ?', id);
      transaction.onCommit(() => {
        this.#memory.remove(name);
        this.#tenures.forgetApplication(id);
      });
    });
  }

  list(): readonly (ApplicationOptions & { readonly leases: readonly Lease[] })[] {
    return this.#memory.list();
  }

  /**
   * The lowest position of a source that a required application or a saved plan still needs; null
   * when nobody needs anything.
   */
  pin(source: SourceKey): number | null {
    return this.#memory.pin(source);
  }

  /** Whether some application is at work on a source. */
  isHeld(source: SourceKey): boolean {
    return this.#tenures.isHeld(source);
  }

  heldForMs(application: string, source: SourceKey): number {
    const id = this.#memory.idOf(application);
    return id === null ? 0 : this.#tenures.leftMs(id, source);
  }

  async begin(
    application: string,
    starts: readonly { readonly source: SourceKey; readonly position: number }[],
  ): Promise<void> {
    for (const { source, position } of starts) this.#leases.checkPosition(source, position);
    await this.#writer.transact(async (transaction) => {
      const { id } = await this.#application(transaction, application);
      for (const { source, position } of starts) {
        await checkThere(transaction, source);
        const { changes } = await transaction.run(
          `INSERT OR IGNORE INTO lease (application_id, source_kind, source_id, owner, counter,
             taken_counter, checkpoint, start_position) VALUES (?, ?, ?, NULL, 0, 0, ?, ?)`,
          id,
          source.kind,
          source.id,
          position,
          position,
        );
        if (changes === 0) continue;
        const begun = { start: position, checkpoint: position };
        this.#leases.mirror(transaction, { application, source }, begun);
      }
    });
  }

  async beginAnew(
    application: string,
    lanes: readonly string[],
    starts: readonly { readonly source: SourceKey; readonly position: number }[],
  ): Promise<void> {
    for (const { source, position } of starts) this.#leases.checkPosition(source, position);
    await this.#writer.transact(async (transaction) => {
      const { id } = await this.#application(transaction, application);
      const others: { readonly id: number; readonly name: string }[] = [];
      for (const name of lanes) {
        const otherId = this.#memory.idOf(name);
        if (otherId !== null && otherId !== id) others.push({ id: otherId, name });
      }
      for (const { source, position } of starts) {
        await checkThere(transaction, source);
        for (const other of others) await forgetFree(this.#parts(transaction), other, source);
        await startFree(this.#parts(transaction), { id, name: application }, source, position);
      }
    });
  }

  #parts(transaction: Transaction): Parts {
    return { transaction, memory: this.#memory, tenures: this.#tenures };
  }

  async acquire(
    application: string,
    source: SourceKey,
    owner: string,
    durationMs: number,
    initialCheckpoint: number,
    outlivesRestart = false,
  ): Promise<Lease> {
    if (owner.length === 0 || owner.length > ownerLengthMax) {
      throw new StorageError('invalid-argument', `an owner has 1 to ${ownerLengthMax} characters`);
    }
    this.#leases.checkPosition(source, initialCheckpoint);
    return this.#writer.transact(async (transaction) => {
      const { id } = await this.#application(transaction, application);
      const row = await transaction.get<LeaseRow>(
        `SELECT * FROM lease WHERE ${ofSource}`,
        id,
        source.kind,
        source.id,
      );
      if (row === undefined) await checkThere(transaction, source);
      else this.#checkFree(id, source, row, owner);
      const counter = (row?.counter ?? 0) + 1;
      const checkpoint = row?.checkpoint ?? initialCheckpoint;
      const start = row?.start_position ?? initialCheckpoint;
      await transaction.run(
        `INSERT OR REPLACE INTO lease (application_id, source_kind, source_id, owner, counter,
           taken_counter, checkpoint, start_position, outlives_ms)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        id,
        source.kind,
        source.id,
        owner,
        counter,
        counter,
        checkpoint,
        start,
        outlivesRestart ? durationMs : 0,
      );
      const expiresMs = this.#clock.monotonicMs() + durationMs;
      this.#tenures.change(transaction, id, source, { owner, takenCounter: counter, expiresMs });
      const lease = { application, source, owner, counter, start, checkpoint };
      this.#leases.mirror(transaction, lease, { owner, counter, start, checkpoint });
      return lease;
    });
  }

  #checkFree(applicationId: number, source: SourceKey, row: LeaseRow, owner: string): void {
    if (row.owner === null || row.owner === owner) return;
    this.#tenures.checkFree(applicationId, source);
  }

  async renew(lease: Lease, durationMs: number): Promise<Lease> {
    return this.#writer.transact(async (transaction) => {
      const row = await this.#leases.fence(
        transaction,
        lease,
        'counter = counter + 1, outlives_ms = CASE outlives_ms WHEN 0 THEN 0 ELSE ? END',
        durationMs,
      );
      this.#tenures.change(transaction, row.application_id, lease.source, {
        owner: lease.owner,
        takenCounter: row.taken_counter,
        expiresMs: this.#clock.monotonicMs() + durationMs,
      });
      const renewed = { ...lease, counter: row.counter, checkpoint: row.checkpoint };
      this.#leases.mirror(transaction, lease, { counter: row.counter });
      return renewed;
    });
  }

  /** Gives the lease back; nothing happens when it was lost already. */
  async release(lease: Lease): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      try {
        const row = await this.#leases.fence(transaction, lease, 'owner = NULL');
        this.#tenures.change(transaction, row.application_id, lease.source, null);
        this.#leases.mirror(transaction, lease, { owner: null });
      } catch (error) {
        if (!(error instanceof StorageError && error.code === 'lease-lost')) throw error;
      }
    });
  }

  async forget(lease: Lease): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      const { application_id: id } = await this.#leases.fence(transaction, lease, 'owner = NULL');
      for (const table of tablesOfLeases) {
        await transaction.run(
          `DELETE FROM ${table} WHERE ${ofSource}`,
          id,
          lease.source.kind,
          lease.source.id,
        );
      }
      this.#tenures.change(transaction, id, lease.source, null);
      transaction.onCommit(() => {
        this.#memory.forgetLease(lease.application, lease.source);
      });
    });
  }

  async checkpoint(lease: Lease, position: number): Promise<Lease> {
    return this.#writer.transact((transaction) =>
      this.#leases.checkpointIn(transaction, lease, position),
    );
  }

  /**
   * The same within a transaction that emits something too: both happen, or neither.
   * @throws StorageError `lease-lost`, `invalid-argument` for a position behind the checkpoint
   */
  checkpointIn(transaction: Transaction, lease: Lease, position: number): Promise<Lease> {
    return this.#leases.checkpointIn(transaction, lease, position);
  }

  savePlan(lease: Lease, plan: Plan): Promise<void> {
    return this.#plans.save(lease, plan);
  }

  plan(lease: Lease): Promise<Plan | null> {
    return this.#plans.get(lease);
  }

  shortenPlan(lease: Lease, to: number): Promise<void> {
    return this.#plans.shorten(lease, to);
  }

  appendForPlan(lease: Lease, append: AlsoAppend, to: number): Promise<void> {
    return this.#plans.appendFor(lease, append, to);
  }

  savePlanOutput(lease: Lease, piece: Parameters<PlanTable['saveOutput']>[1]): Promise<void> {
    return this.#plans.saveOutput(lease, piece);
  }

  planOutput(lease: Lease): Promise<AsyncIterable<Buffer> | null> {
    return this.#plans.output(lease);
  }

  completePlan(lease: Lease, append?: AlsoAppend): Promise<Lease> {
    return this.#plans.complete(lease, append);
  }

  /**
   * Shards have come from others: required applications that have a checkpoint for one of these get
   * one at the beginning of those, in the same transaction, and so pin them from their first record.
   * @param heirs ids of a new shard and of one that it comes from
   */
  async inherit(
    transaction: Transaction,
    heirs: readonly (readonly [shardId: number, originId: number])[],
  ): Promise<void> {
    const rows = await transaction.all<{ application_id: number; source_id: number }>(
      `INSERT INTO lease (application_id, source_kind, source_id, owner, counter, taken_counter,
         checkpoint, start_position)
         SELECT DISTINCT application_id, 'shard', heir.value ->> 0, NULL, 0, 0, 0, 0
           FROM json_each(?) AS heir
           JOIN lease ON source_kind = 'shard' AND source_id = heir.value ->> 1
           JOIN application ON application.id = application_id AND required = 1
         RETURNING application_id, source_id`,
      JSON.stringify(heirs),
    );
    transaction.onCommit(() => {
      for (const { application_id: applicationId, source_id: id } of rows) {
        const name = this.#memory.nameOf(applicationId);
        const begun = { owner: null, counter: 0, start: 0, checkpoint: 0 };
        if (name !== null) this.#memory.change(name, { kind: 'shard', id }, begun);
      }
    });
  }

  /** Forgets what applications know of sources that are being deleted, in the same transaction. */
  async forgetSources(
    transaction: Transaction,
    kind: SourceKey['kind'],
    ids: readonly number[],
  ): Promise<void> {
    const list = JSON.stringify(ids);
    for (const table of tablesOfLeases) {
      await transaction.run(
        `DELETE FROM ${table} WHERE source_kind = ? AND source_id IN (SELECT value FROM json_each(?))`,
        kind,
        list,
      );
    }
    transaction.onCommit(() => {
      for (const id of ids) {
        const source = { kind, id };
        this.#memory.forget(source);
        this.#tenures.forgetSource(source);
      }
    });
  }

  async #application(transaction: Transaction, name: string): Promise<{ id: number }> {
    const row = await transaction.get<{ id: number }>(
      'SELECT id FROM application WHERE name = ?',
      name,
    );
    if (row === undefined) throw new StorageError('not-found', `there is no application ${name}`);
    return row;
  }
}

/** A shard may have gone with an earlier item of the same group. @throws StorageError `not-found` */
async function checkThere(transaction: Transaction, { kind, id }: SourceKey): Promise<void> {
  if (kind !== 'shard') return;
  const row = await transaction.get(
    `SELECT 1 FROM shard JOIN stream ON stream.id = stream_id
      WHERE shard.id = ? AND deleted_ms IS NULL`,
    id,
  );
  if (row === undefined) throw new StorageError('not-found', `there is no shard ${id}`);
}
