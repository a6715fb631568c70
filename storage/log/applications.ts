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
  RecordInput,
  SourceKey,
} from '../model.ts';
import type { Clock } from '../ports.ts';
import type { Transaction } from '../group-commit.ts';
import type { Writer } from '../writer.ts';
import { keyOf, loadApplications } from './application-memory.ts';
import type { ApplicationMemory, LeaseChange, LeaseRow, PlanRow } from './application-memory.ts';
import type { Queries } from './batch-table.ts';
import { forgetFree, startFree, tablesOfLeases, type Parts } from './begin-anew.ts';
import type { PlanOutputs } from './plan-output.ts';
import { Tenures } from './tenures.ts';

/** Longest JSON of a plan's detail. */
const planDetailBytesMax = 1024 ** 2;
const namePattern = /^[a-zA-Z0-9_.:-]{1,128}$/;
const ownerLengthMax = 256;

/** Where a source ends: no checkpoint may lie past it. null: not known here. */
export type SourceEnd = (source: SourceKey) => number | null;

export interface ApplicationTableOptions {
  readonly writer: Writer;
  readonly queries: Queries;
  readonly clock: Clock;
  /** @throws StorageError `not-found` for a source that can't exist */
  readonly sourceEnd: SourceEnd;
  readonly outputs: PlanOutputs;
}

const ofSource = 'application_id = ? AND source_kind = ? AND source_id = ?';

export class ApplicationTable implements Applications {
  readonly #writer: Writer;
  readonly #queries: Queries;
  readonly #clock: Clock;
  readonly #sourceEnd: SourceEnd;
  readonly #outputs: PlanOutputs;
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
    this.#queries = options.queries;
    this.#clock = options.clock;
    this.#sourceEnd = options.sourceEnd;
    this.#outputs = options.outputs;
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
    for (const { source, position } of starts) this.#checkPosition(source, position);
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
        this.#mirror(transaction, { application, source }, begun);
      }
    });
  }

  async beginAnew(
    application: string,
    lanes: readonly string[],
    starts: readonly { readonly source: SourceKey; readonly position: number }[],
  ): Promise<void> {
    for (const { source, position } of starts) this.#checkPosition(source, position);
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
    this.#checkPosition(source, initialCheckpoint);
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
      this.#mirror(transaction, lease, { owner, counter, start, checkpoint });
      return lease;
    });
  }

  #checkFree(applicationId: number, source: SourceKey, row: LeaseRow, owner: string): void {
    if (row.owner === null || row.owner === owner) return;
    this.#tenures.checkFree(applicationId, source);
  }

  async renew(lease: Lease, durationMs: number): Promise<Lease> {
    return this.#writer.transact(async (transaction) => {
      const row = await this.#fence(
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
      this.#mirror(transaction, lease, { counter: row.counter });
      return renewed;
    });
  }

  /** Gives the lease back; nothing happens when it was lost already. */
  async release(lease: Lease): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      try {
        const row = await this.#fence(transaction, lease, 'owner = NULL');
        this.#tenures.change(transaction, row.application_id, lease.source, null);
        this.#mirror(transaction, lease, { owner: null });
      } catch (error) {
        if (!(error instanceof StorageError && error.code === 'lease-lost')) throw error;
      }
    });
  }

  async forget(lease: Lease): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      const { application_id: id } = await this.#fence(transaction, lease, 'owner = NULL');
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
    return this.#writer.transact((transaction) => this.checkpointIn(transaction, lease, position));
  }

  /**
   * The same within a transaction that emits something too: both happen, or neither.
   * @throws StorageError `lease-lost`, `invalid-argument` for a position behind the checkpoint
   */
  async checkpointIn(transaction: Transaction, lease: Lease, position: number): Promise<Lease> {
    this.#checkPosition(lease.source, position);
    const row = await this.#fence(transaction, lease, 'checkpoint = max(checkpoint, ?)', position);
    if (row.checkpoint > position) {
      throw new StorageError(
        'invalid-argument',
        `checkpoint ${position} lies behind ${row.checkpoint}: a checkpoint never goes back`,
      );
    }
    this.#mirror(transaction, lease, { checkpoint: position });
    return { ...lease, counter: row.counter, checkpoint: position };
  }

  async savePlan(lease: Lease, plan: Plan): Promise<void> {
    const detail = JSON.stringify(plan.detail ?? null);
    if (Buffer.byteLength(detail) > planDetailBytesMax) {
      throw new StorageError(
        'invalid-argument',
        `a plan's detail has at most ${planDetailBytesMax} bytes of JSON`,
      );
    }
    this.#checkPosition(lease.source, plan.to);
    await this.#writer.transact(async (transaction) => {
      const row = await this.#fence(transaction, lease, 'checkpoint = checkpoint');
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
      this.#mirror(transaction, lease, { plan: { from: plan.from, to: plan.to } });
    });
  }

  async plan(lease: Lease): Promise<Plan | null> {
    const row = await this.#queries.get<PlanRow>(
      `SELECT plan.* FROM plan JOIN application ON application.id = application_id
        WHERE name = ? AND source_kind = ? AND source_id = ?`,
      lease.application,
      lease.source.kind,
      lease.source.id,
    );
    if (row === undefined) return null;
    return {
      from: row.from_position,
      to: row.to_position,
      detail: JSON.parse(row.detail) as unknown,
      createdMs: row.created_ms,
      ...(row.appended_to > 0 && { appendedTo: row.appended_to }),
    };
  }

  async shortenPlan(lease: Lease, to: number): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      const { from_position: from } = await this.#changePlan(transaction, lease, {
        set: 'to_position = min(to_position, ?)',
        value: to,
      });
      if (to <= from) {
        throw new StorageError('invalid-argument', `a plan from ${from} can't end at ${to}`);
      }
      this.#mirror(transaction, lease, { plan: { from, to } });
    });
  }

  async appendForPlan(lease: Lease, { stream, records }: AlsoAppend, to: number): Promise<void> {
    await this.#writer.transact(
      async (transaction) => {
        await this.#changePlan(transaction, lease, { set: 'appended_to = ?', value: to });
        await transaction.append(stream, records);
      },
      { bytes: bytesOf(records) },
    );
  }

  async savePlanOutput(
    lease: Lease,
    piece: { readonly index: number; readonly bytes: Buffer; readonly isLast: boolean },
  ): Promise<void> {
    const { index, bytes, isLast } = piece;
    await this.#outputs.ready(lease.source);
    await this.#writer.transact(
      async (transaction) => {
        const { application_id: applicationId } = await this.#changePlan(transaction, lease, {
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

  async planOutput(lease: Lease): Promise<AsyncIterable<Buffer> | null> {
    const row = await this.#queries.get<PlanRow>(
      `SELECT plan.* FROM plan JOIN application ON application.id = application_id
        WHERE name = ? AND source_kind = ? AND source_id = ?`,
      lease.application,
      lease.source.kind,
      lease.source.id,
    );
    if (row === undefined) return null;
    return this.#outputs.read(row.application_id, lease.source, row.output_pieces);
  }

  async completePlan(lease: Lease, append?: AlsoAppend): Promise<Lease> {
    const complete = async (transaction: Transaction): Promise<Lease> => {
      const row = await this.#fence(transaction, lease, 'checkpoint = checkpoint');
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
      this.#mirror(transaction, lease, { plan: null });
      return this.checkpointIn(transaction, lease, Math.max(plan.to_position, row.checkpoint));
    };
    const bytes = append === undefined ? {} : { bytes: bytesOf(append.records) };
    return this.#writer.transact(complete, bytes);
  }

  /** Changes the row of the plan, fenced. @throws StorageError `lease-lost`, `not-found` */
  async #changePlan(
    transaction: Transaction,
    lease: Lease,
    change: { readonly set: string; readonly value: number | null },
  ): Promise<PlanRow> {
    const { application_id: id } = await this.#fence(transaction, lease, 'checkpoint = checkpoint');
    const [row] = await transaction.all<PlanRow>(
      `UPDATE plan SET ${change.set} WHERE ${ofSource} RETURNING *`,
      ...[change.value, id, lease.source.kind, lease.source.id],
    );
    if (row === undefined) {
      throw new StorageError('not-found', `there is no plan for ${keyOf(lease.source)}`);
    }
    return row;
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

  /** Changes the row of a lease that is still held. @throws StorageError `lease-lost` */
  async #fence(
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

  async #application(transaction: Transaction, name: string): Promise<{ id: number }> {
    const row = await transaction.get<{ id: number }>(
      'SELECT id FROM application WHERE name = ?',
      name,
    );
    if (row === undefined) throw new StorageError('not-found', `there is no application ${name}`);
    return row;
  }

  #checkPosition(source: SourceKey, position: number): void {
    const end = this.#sourceEnd(source);
    if (!Number.isSafeInteger(position) || position < 0 || (end !== null && position > end)) {
      throw new StorageError(
        'invalid-argument',
        `${position} is no position of ${keyOf(source)}, which ends at ${String(end)}`,
      );
    }
  }

  #mirror(
    transaction: Transaction,
    { application, source }: Pick<Lease, 'application' | 'source'>,
    change: LeaseChange,
  ): void {
    transaction.onCommit(() => {
      this.#memory.change(application, source, change);
    });
  }
}

/** About what records hold in memory while they wait. */
function bytesOf(records: readonly RecordInput[]): number {
  return records.reduce(
    (sum, { partitionKey, data }) => sum + partitionKey.length + data.length,
    0,
  );
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
