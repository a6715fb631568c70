/**
 * The rows that batches are stored in: the SQL of the `batch` table, and of a shard's trim columns.
 *
 * What is in a BLOB is the business of `batch.ts`; when rows are written and deleted, of
 * `log-group.ts`, `compaction.ts` and `retention.ts`.
 */
import { StorageError } from '../errors.ts';
import type { Database, SqlValue } from '../sqlite.ts';
import type { Transaction } from '../group-commit.ts';

export interface NewBatch {
  readonly shardId: number;
  readonly firstSequence: number;
  readonly recordCount: number;
  readonly highArrivalMs: number;
  readonly runningArrivalMs: number;
  readonly endBytes: number;
  readonly body: Buffer;
}

/** A row without its BLOB. */
export interface BatchRow {
  readonly first_sequence: number;
  readonly record_count: number;
  readonly high_arrival_ms: number;
  readonly running_arrival_ms: number;
  readonly end_bytes: number;
}

/** A row without its BLOB, but with the length of that. */
export interface SizedRow extends BatchRow {
  readonly stored_bytes: number;
}

/** A row with its BLOB. */
export interface FullRow extends BatchRow {
  readonly body: Buffer;
}

export interface StoredBatch {
  readonly first_sequence: number;
  readonly record_count: number;
  /** null when SQLite could not read it. */
  readonly body: Buffer | null;
}

/** Something that answers queries: a connection, a pool of them, a transaction. */
export type Queries = Pick<Database, 'all' | 'get'>;

const rowColumns = 'first_sequence, record_count, high_arrival_ms, running_arrival_ms, end_bytes';
const insertedColumns = 7;
/** INSERTs of up to so many rows: few sizes, so that few statements are prepared. */
const inserts = [1, 8, 32, 128].map((size) => ({ size, sql: insertSql(size) }));
/** As many batches as one statement inserts. */
export const insertRowsMax = 128;

/** Inserts batches with as few statements as it takes. */
export async function insertBatches(
  transaction: Transaction,
  batches: readonly NewBatch[],
): Promise<void> {
  for (let at = 0; at < batches.length; at += insertRowsMax) {
    const rows = batches.slice(at, at + insertRowsMax);
    const { size = 0, sql = '' } = inserts.find((insert) => insert.size >= rows.length) ?? {};
    const params: SqlValue[] = [];
    for (const batch of rows) {
      params.push(
        batch.shardId,
        batch.firstSequence,
        batch.recordCount,
        batch.highArrivalMs,
        batch.runningArrivalMs,
        batch.endBytes,
        batch.body,
      );
    }
    while (params.length < size * insertedColumns) params.push(null);
    await transaction.run(sql, ...params);
  }
}

/** Rows that are NULL throughout fill it up. */
function insertSql(rows: number): string {
  const values = Array.from({ length: rows }, () => '(?, ?, ?, ?, ?, ?, ?)').join(', ');
  const source = rows === 1 ? '' : 'SELECT * FROM (';
  const filter = rows === 1 ? '' : ') WHERE column1 IS NOT NULL';
  return `INSERT INTO batch (shard_id, ${rowColumns}, body) ${source}VALUES ${values}${filter}`;
}

/** The batches of a shard in order, from the one at or after `fromSequence`, without their BLOBs. */
export function batchRows(
  queries: Queries,
  shardId: number,
  fromSequence: number,
  limit: number,
): Promise<SizedRow[]> {
  // SQLite knows the length of a BLOB without reading it.
  return queries.all<SizedRow>(
    `SELECT ${rowColumns}, length(body) AS stored_bytes FROM batch
      WHERE shard_id = ? AND first_sequence >= ?
      ORDER BY first_sequence LIMIT ?`,
    shardId,
    fromSequence,
    limit,
  );
}

/**
 * The batch that holds `sequence`, or the last one before it. One on a damaged page is passed over
 * for the one before.
 */
export async function batchRowAt(
  queries: Queries,
  shardId: number,
  sequence: number,
): Promise<BatchRow | undefined> {
  let upTo = sequence;
  for (;;) {
    try {
      return await queries.get<BatchRow>(
        `SELECT ${rowColumns} FROM batch WHERE shard_id = ? AND first_sequence <= ?
          ORDER BY first_sequence DESC LIMIT 1`,
        shardId,
        upTo,
      );
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      const damaged = await queries.get<{ first_sequence: number }>(
        `SELECT first_sequence FROM batch INDEXED BY batch_position
          WHERE shard_id = ? AND first_sequence <= ? ORDER BY first_sequence DESC LIMIT 1`,
        shardId,
        upTo,
      );
      if (damaged === undefined) return undefined;
      upTo = damaged.first_sequence - 1;
    }
  }
}

/**
 * The batch that holds `sequence`, or the last one before it, as one commit left it.
 * @throws StorageError `corrupt` when it is on a damaged page
 */
export function batchAt(
  queries: Queries,
  shardId: number,
  sequence: number,
): Promise<FullRow | undefined> {
  return queries.get<FullRow>(
    `SELECT ${rowColumns}, body FROM batch WHERE shard_id = ? AND first_sequence <= ?
      ORDER BY first_sequence DESC LIMIT 1`,
    shardId,
    sequence,
  );
}

/** Where the first batch after `sequence` begins, be its page damaged or not. */
export async function nextBatchBegin(
  queries: Queries,
  shardId: number,
  sequence: number,
): Promise<number | undefined> {
  const row = await queries.get<{ first_sequence: number }>(
    `SELECT first_sequence FROM batch INDEXED BY batch_position
      WHERE shard_id = ? AND first_sequence > ? ORDER BY first_sequence LIMIT 1`,
    shardId,
    sequence,
  );
  return row?.first_sequence;
}

function isCorrupt(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'corrupt';
}

/**
 * The batches of a shard in order, from the one that holds `sequence`, or the next one, on: at least
 * one if there is one, at most `rows`, and none past `bytes` but the first. Pages that SQLite finds damaged cost
 * the batches on them (`body` null) and nothing else.
 * @throws StorageError `corrupt` when the index itself is damaged
 */
export async function batchSlice(
  queries: Queries,
  shardId: number,
  sequence: number,
  limits: { readonly rows: number; readonly bytes: number },
): Promise<StoredBatch[]> {
  try {
    // The inner query reads no BLOB; the outer one only those within the limit.
    return await queries.all<StoredBatch>(
      `WITH slice AS MATERIALIZED (
         SELECT id, first_sequence, record_count, end_bytes FROM batch
          WHERE shard_id = ?1 AND first_sequence >= coalesce(
            (SELECT max(first_sequence) FROM batch WHERE shard_id = ?1 AND first_sequence <= ?2), 0)
            AND first_sequence + record_count > ?2
          ORDER BY first_sequence LIMIT ?3)
       SELECT slice.first_sequence, slice.record_count, batch.body
         FROM slice CROSS JOIN batch ON batch.id = slice.id
        WHERE slice.end_bytes <= (SELECT min(end_bytes) FROM slice) + ?4
        ORDER BY slice.first_sequence`,
      shardId,
      sequence,
      limits.rows,
      limits.bytes,
    );
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    return salvageSlice(queries, shardId, sequence, limits.rows);
  }
}

/** The same, row by row along the index, for a table with damaged pages. */
async function salvageSlice(
  queries: Queries,
  shardId: number,
  sequence: number,
  rows: number,
): Promise<StoredBatch[]> {
  const positions = await queries.all<{ first_sequence: number }>(
    `SELECT first_sequence FROM batch INDEXED BY batch_position
      WHERE shard_id = ?1 AND first_sequence >= coalesce(
        (SELECT max(first_sequence) FROM batch WHERE shard_id = ?1 AND first_sequence <= ?2), 0)
      ORDER BY first_sequence LIMIT ?3`,
    shardId,
    sequence,
    Math.min(rows, 16) + 1,
  );
  const found: StoredBatch[] = [];
  for (const [index, { first_sequence: first }] of positions.entries()) {
    // How long a damaged batch is shows only in where the next one begins.
    const next = positions[index + 1]?.first_sequence;
    if (index > 0 && next === undefined) break;
    const stored = await readOne(queries, shardId, first);
    found.push(
      stored ?? { first_sequence: first, record_count: (next ?? first + 1) - first, body: null },
    );
  }
  return found;
}

async function readOne(
  queries: Queries,
  shardId: number,
  firstSequence: number,
): Promise<StoredBatch | null> {
  try {
    const row = await queries.get<StoredBatch>(
      'SELECT first_sequence, record_count, body FROM batch WHERE shard_id = ? AND first_sequence = ?',
      shardId,
      firstSequence,
    );
    return row ?? null;
  } catch (error) {
    if (isCorrupt(error)) return null;
    throw error;
  }
}

/** Whether a batch that was read before is still there as it was. */
export async function isStored(
  queries: Queries,
  shardId: number,
  { first_sequence: first, record_count: count }: BatchRow,
): Promise<boolean> {
  const row = await queries.get(
    'SELECT 1 FROM batch WHERE shard_id = ? AND first_sequence = ? AND record_count = ?',
    ...[shardId, first, count],
  );
  return row !== undefined;
}

/**
 * Deletes the batches of a shard up to and with `last`, and remembers where the shard now begins.
 * @param before the shard's accounts until now
 * @returns what compaction saved of the batches that are left, in bytes; below 0 where sealing took
 *   more than it saved
 */
export async function deleteBatches(
  transaction: Transaction,
  shardId: number,
  last: BatchRow,
  before: { readonly trimBytes: number; readonly savedBytes: number },
): Promise<number> {
  const trimSequence = last.first_sequence + last.record_count;
  let { savedBytes } = before;
  if (savedBytes !== 0) {
    const row = await transaction.get<{ bytes: number }>(
      `SELECT coalesce(sum(length(body)), 0) AS bytes FROM batch
        WHERE shard_id = ? AND first_sequence < ?`,
      ...[shardId, trimSequence],
    );
    savedBytes -= last.end_bytes - before.trimBytes - (row?.bytes ?? 0);
  }
  await transaction.run(
    'DELETE FROM batch WHERE shard_id = ? AND first_sequence < ?',
    shardId,
    trimSequence,
  );
  await transaction.run(
    `UPDATE shard SET trim_sequence = ?, trim_bytes = ?, trim_arrival_ms = ?, saved_bytes = ?
      WHERE id = ?`,
    trimSequence,
    last.end_bytes,
    last.running_arrival_ms,
    savedBytes,
    shardId,
  );
  return savedBytes;
}

/**
 * Puts one batch in the place of those that follow each other from its first record to its last.
 * @returns how many it replaced
 */
export async function replaceBatches(transaction: Transaction, batch: NewBatch): Promise<number> {
  const { changes } = await transaction.run(
    'DELETE FROM batch WHERE shard_id = ? AND first_sequence >= ? AND first_sequence < ?',
    ...[batch.shardId, batch.firstSequence, batch.firstSequence + batch.recordCount],
  );
  await insertBatches(transaction, [batch]);
  return changes;
}

/** Writes another body into the row of a batch; false when there is no such row any more. */
export async function replaceBody(
  transaction: Transaction,
  shardId: number,
  { first, count }: { readonly first: number; readonly count: number },
  body: Buffer,
): Promise<boolean> {
  const { changes } = await transaction.run(
    'UPDATE batch SET body = ? WHERE shard_id = ? AND first_sequence = ? AND record_count = ?',
    ...[body, shardId, first, count],
  );
  return changes > 0;
}

/** Where a shard begins as of the last commit, which memory may not know yet; null: it is gone. */
export async function trimSequenceNow(queries: Queries, shardId: number): Promise<number | null> {
  const row = await queries.get<{ trim_sequence: number }>(
    'SELECT trim_sequence FROM shard WHERE id = ?',
    shardId,
  );
  return row?.trim_sequence ?? null;
}
