/**
 * Mends the log, as `check.ts` finds it damaged.
 *
 * - A batch that can't be read is moved to a file in the damage folder; an empty one takes its
 *   place (`record_count` records, no bytes), so that sequence numbers stay and readers pass over
 *   it. So does one where batches are missing, and behind the last, up to the furthest checkpoint.
 * - Data keys are kept in two places: where one is damaged it is mended from the other. A batch whose
 *   data key is lost in both is as good as one that can't be read.
 * - Shards whose rows are lost get them back (`lost-shards.ts`).
 * - Accounts that do not add up are reckoned again, and so is what compaction saved.
 * - Shards without a stream, batches without a shard, and leases and plans of what does not exist,
 *   go. A damaged file that they were copied from is kept.
 *
 * Every loss is entered into the account (`losses.ts`).
 */
import { usesMax } from '../keys.ts';
import { damagedRows, deleteKey, loadKeys, mendKey } from '../key-table.ts';
import { saveLoss } from '../losses.ts';
import type { Database } from '../sqlite.ts';
import { StorageError } from '../errors.ts';
import { accountedBytes, verifyBatch } from './batch.ts';
import { restoreShards } from './lost-shards.ts';
import { repairPlanOutputs } from './plan-output-check.ts';

/** Keeps bytes that are taken out of the store; answers where. */
export type SetAside = (name: string, bytes: Buffer) => Promise<string>;

export interface Mending {
  readonly database: Database;
  readonly setAside: SetAside;
  readonly nowMs: number;
}

interface LogMending extends Mending {
  /** Whether nothing that is encrypted with a data key will ever be read again. */
  readonly isLost: (keyId: number) => boolean;
}

interface RepairedShard {
  readonly id: number;
  readonly name: string;
  readonly shard_index: number;
  readonly trim_sequence: number;
  readonly trim_bytes: number;
  readonly trim_arrival_ms: number;
}

interface Position {
  readonly id: number;
  readonly first_sequence: number;
}

interface FullRow extends Position {
  readonly record_count: number;
  readonly high_arrival_ms: number;
  readonly running_arrival_ms: number;
  readonly end_bytes: number;
  readonly body: Buffer;
}

const page = 256;

/** Yields what was done, a sentence each. */
export async function* repairLog(mending: Mending): AsyncGenerator<string, void> {
  const { database } = mending;
  yield* restoreShards(database);
  const shards = await database.all<RepairedShard>(
    `SELECT shard.id, stream.name, shard_index, trim_sequence, trim_bytes, trim_arrival_ms
       FROM shard JOIN stream ON stream.id = stream_id
      WHERE deleted_ms IS NULL ORDER BY shard.id`,
  );
  const isLost = yield* repairKeys(mending);
  for (const shard of shards) yield* repairShard({ ...mending, isLost }, shard);
  yield* deleteOrphans(database);
  yield* repairPlanOutputs(database, isLost);
  // What was to be sealed anew may be forgotten with the row of a shard: all is looked at again.
  await database.run('UPDATE stream SET sealing_key_id = 0');
}

/** Gives each data key both of its rows back. @returns whether a key is lost */
async function* repairKeys({
  database,
  setAside,
}: Mending): AsyncGenerator<string, (keyId: number) => boolean> {
  const { keys, halved, lost } = await loadKeys(database);
  for (const id of lost) {
    const rows = await damagedRows(database, id);
    const kept = await setAside(`data-key-${id}`, Buffer.from(JSON.stringify(rows)));
    await inTransaction(database, () => deleteKey(database, id));
    yield `what is left of the data key ${id} was moved to ${kept}`;
  }
  for (const key of keys.filter(({ id }) => halved.includes(id))) {
    await inTransaction(database, () => mendKey(database, key, usesMax));
    yield `the data key ${key.id} of ${key.scope} was damaged in one of its two places: it is whole again`;
  }
  const known = new Set(keys.map(({ id }) => id));
  return (keyId) => !known.has(keyId);
}

/** Where the next batch has to begin, and what its accounts follow. */
interface Before {
  next: number;
  endBytes: number;
  runningMs: number;
}

async function* repairShard(
  mending: LogMending,
  shard: RepairedShard,
): AsyncGenerator<string, void> {
  const { database } = mending;
  const before: Before = {
    next: shard.trim_sequence,
    endBytes: shard.trim_bytes,
    runningMs: shard.trim_arrival_ms,
  };
  for (let after = -1; ;) {
    const positions = await database.all<Position>(
      `SELECT id, first_sequence FROM batch WHERE shard_id = ? AND first_sequence > ?
        ORDER BY first_sequence LIMIT ${page}`,
      ...[shard.id, after],
    );
    const last = positions.at(-1);
    if (last === undefined) break;
    for (const position of positions) yield* repairBatch(mending, shard, position, before);
    after = last.first_sequence;
  }
  const row = await database.get<{ furthest: number | null }>(
    `SELECT max(checkpoint) AS furthest FROM lease WHERE source_kind = 'shard' AND source_id = ?`,
    shard.id,
  );
  const furthest = row?.furthest ?? 0;
  if (furthest > before.next) yield* fillGap(mending, shard, furthest, before);
  await database.run(
    `UPDATE shard SET compacted_sequence = min(compacted_sequence, ?2), saved_bytes = ?3 -
       trim_bytes - (SELECT coalesce(sum(length(body)), 0) FROM batch WHERE shard_id = ?1)
      WHERE id = ?1`,
    ...[shard.id, before.next, before.endBytes],
  );
}

async function* repairBatch(
  mending: LogMending,
  shard: RepairedShard,
  position: Position,
  before: Before,
): AsyncGenerator<string, void> {
  const { database } = mending;
  const row = await database.get<FullRow>('SELECT * FROM batch WHERE id = ?', position.id);
  if (row === undefined) return;
  if (row.first_sequence < before.next) {
    const kept = await mending.setAside(nameOf(shard, row), row.body);
    await database.run('DELETE FROM batch WHERE id = ?', row.id);
    yield `${whereIs(shard)}: a second batch for ${row.first_sequence} was moved to ${kept}`;
    return;
  }
  if (row.first_sequence > before.next) yield* fillGap(mending, shard, row.first_sequence, before);
  yield* row.body.length === 0 ? [] : verifyRow(mending, shard, row);
  yield* reckon(database, shard, row, before);
}

/** Holds a batch against its row: mends the row by it, or takes it out. */
async function* verifyRow(
  mending: LogMending,
  shard: RepairedShard,
  row: FullRow,
): AsyncGenerator<string, void> {
  const { database } = mending;
  try {
    const header = verifyBatch(row.body);
    if (header.firstSequence !== row.first_sequence) {
      throw new StorageError('corrupt', 'it is not the batch that its row speaks of');
    }
    if (header.keyId !== null && mending.isLost(header.keyId)) {
      throw new StorageError('corrupt', `its data key ${header.keyId} is lost`);
    }
    if (header.count === row.record_count && header.highArrivalMs === row.high_arrival_ms) return;
    await database.run(
      'UPDATE batch SET record_count = ?, high_arrival_ms = ? WHERE id = ?',
      ...[header.count, header.highArrivalMs, row.id],
    );
    yield `${whereIs(shard)}: the row of the batch at ${row.first_sequence} was made to agree with it`;
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
    const next = await database.get<{ first: number }>(
      `SELECT first_sequence AS first FROM batch WHERE shard_id = ? AND first_sequence > ?
        ORDER BY first_sequence LIMIT 1`,
      ...[shard.id, row.first_sequence],
    );
    const end = next?.first ?? row.first_sequence + row.record_count;
    const count = end - row.first_sequence;
    const kept = await mending.setAside(nameOf(shard, row), row.body);
    await inTransaction(database, async () => {
      await database.run(
        "UPDATE batch SET body = x'', record_count = ? WHERE id = ?",
        ...[count, row.id],
      );
      await lose(mending, shard, count, row.body.length);
    });
    yield `${whereIs(shard)}: the damaged batch of the records ${row.first_sequence} to ${end - 1} was moved to ${kept}`;
  }
}

/** Sees to it that a row's accounts follow those before it. */
async function* reckon(
  database: Database,
  shard: RepairedShard,
  { id, first_sequence: first, body }: FullRow,
  before: Before,
): AsyncGenerator<string, void> {
  const row = await database.get<Omit<FullRow, 'body'>>(
    `SELECT record_count, high_arrival_ms, running_arrival_ms, end_bytes FROM batch WHERE id = ?`,
    id,
  );
  if (row === undefined) return;
  const endBytes = Math.max(row.end_bytes, before.endBytes + accountedBytes(body));
  const runningMs = Math.max(before.runningMs, row.high_arrival_ms);
  if (endBytes !== row.end_bytes || row.running_arrival_ms < runningMs) {
    await database.run(
      'UPDATE batch SET end_bytes = ?, running_arrival_ms = ? WHERE id = ?',
      ...[endBytes, Math.max(runningMs, row.running_arrival_ms), id],
    );
    yield `${whereIs(shard)}: the accounts of the batch at ${first} were reckoned again`;
  }
  before.next = first + row.record_count;
  before.endBytes = endBytes;
  before.runningMs = Math.max(runningMs, row.running_arrival_ms);
}

/** An empty batch in the place of missing ones. */
async function* fillGap(
  mending: Mending,
  shard: RepairedShard,
  to: number,
  before: Before,
): AsyncGenerator<string, void> {
  const { database } = mending;
  const count = to - before.next;
  const from = before.next;
  await inTransaction(database, async () => {
    await database.run(
      `INSERT INTO batch (shard_id, first_sequence, record_count, high_arrival_ms,
         running_arrival_ms, end_bytes, body) VALUES (?, ?, ?, ?, ?, ?, x'')`,
      ...[shard.id, from, count, before.runningMs, before.runningMs, before.endBytes],
    );
    await lose(mending, shard, count, 0);
  });
  before.next = to;
  yield `${whereIs(shard)}: the records ${from} to ${to - 1} are missing: readers pass over them`;
}

function lose(
  { database, nowMs }: Mending,
  shard: RepairedShard,
  count: number,
  bytes: number,
): Promise<void> {
  return saveLoss(database, { kind: 'records-corrupt', subject: shard.name, count, bytes }, nowMs);
}

async function* deleteOrphans(database: Database): AsyncGenerator<string, void> {
  const orphans = {
    // First, so that what belongs to them goes with them.
    shard: 'stream_id NOT IN (SELECT id FROM stream)',
    batch: 'shard_id NOT IN (SELECT id FROM shard)',
    lease: `application_id NOT IN (SELECT id FROM application)
      OR (source_kind = 'shard' AND source_id NOT IN (SELECT id FROM shard))`,
    plan: `application_id NOT IN (SELECT id FROM application)
      OR (source_kind = 'shard' AND source_id NOT IN (SELECT id FROM shard))`,
    shard_birth: `shard_id NOT IN (SELECT id FROM shard)`,
    stream_attribute: `NOT json_valid(value)
      OR stream_id NOT IN (SELECT id FROM stream WHERE deleted_ms IS NULL)`,
  };
  for (const [table, condition] of Object.entries(orphans)) {
    const { changes } = await database.run(`DELETE FROM ${table} WHERE ${condition}`);
    if (changes > 0)
      yield `${changes} rows of the table ${table} that belong to nothing were deleted`;
  }
}

export async function inTransaction(database: Database, work: () => Promise<void>): Promise<void> {
  await database.exec('BEGIN IMMEDIATE');
  try {
    await work();
    await database.exec('COMMIT');
  } catch (error) {
    await database.exec('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

function whereIs(shard: RepairedShard): string {
  return `stream ${shard.name}, shard ${shard.shard_index}`;
}

function nameOf(shard: RepairedShard, row: Position): string {
  return `${shard.name}-${shard.shard_index}-${row.first_sequence}.batch`;
}
