/**
 * Verifies the log: every batch against its checksum and its row, every shard for gaps and
 * overlaps, every stream's hash-key ranges, every lease and plan for what it points at.
 *
 * It works in slices, each a snapshot of its own, so that it can run beside a gateway that appends
 * and deletes: a shard may grow behind it and lose its beginning before it.
 */
import { StorageError } from '../errors.ts';
import type { Finding, FindingCode } from '../finding.ts';
import type { KeyTable } from '../key-table.ts';
import { accountedBytes, verifyBatch } from './batch.ts';
import { trimSequenceNow } from './batch-table.ts';
import type { BatchRow, Queries } from './batch-table.ts';
import { fromHashKey, hashKeyMax } from './hash-keys.ts';
import { checkPlanOutputs } from './plan-output-check.ts';
import { isSaneShard, shardColumns } from './streams.ts';
import type { ShardRow } from './streams.ts';

/** Batches loaded at a time: a batch has about half a megabyte, seldom more. */
const sliceRows = 8;

const lostAdvice =
  'these records are lost here, everything else is served; what was delivered upstream is still ' +
  'there. Check the disk.';
const repairAdvice = '"headgate check --repair" mends it';
const lostKeyAdvice =
  'a backup from before has the key: restore that; "headgate check --repair" takes these batches out ' +
  'of the store and keeps them in a folder';
const bugAdvice = 'nothing is lost, but this should not happen: please report it';

type CheckedShard = ShardRow & { readonly name: string };
type CheckedBatch = BatchRow & { readonly body: Buffer };

/** @param keys the data keys there are */
export async function* checkLog(
  queries: Queries,
  { keys }: Pick<KeyTable, 'keys'>,
): AsyncGenerator<Finding, void> {
  const keyIds = new Set(keys.map(({ id }) => id));
  const shards = await queries.all<CheckedShard>(
    `SELECT ${shardColumns.replaceAll(/\w+/g, 'shard.$&')}, stream.name
       FROM shard JOIN stream ON stream.id = stream_id
      WHERE deleted_ms IS NULL ORDER BY stream_id, shard_index`,
  );
  for (const shard of shards) yield* checkShard(queries, shard, keyIds);
  yield* checkRanges(shards);
  yield* checkStreams(queries);
  yield* checkOrphans(queries);
  yield* checkPlanOutputs(queries, keyIds);
}

async function* checkShard(
  queries: Queries,
  shard: CheckedShard,
  keyIds: ReadonlySet<number>,
): AsyncGenerator<Finding, void> {
  const where = whereIs(shard);
  const missingKeys = new Map<number, number>();
  const before = {
    nextSequence: shard.trim_sequence,
    endBytes: shard.trim_bytes,
    runningArrivalMs: shard.trim_arrival_ms,
  };
  let storedBytes = 0;
  for await (const found of batchesOf(queries, shard)) {
    const first = found.first;
    if (first > before.nextSequence) {
      // Retention may have been here since the last slice.
      const trimSequence = await trimSequenceNow(queries, shard.id);
      if (trimSequence === null) return;
      if (trimSequence <= before.nextSequence) {
        const missing = `no batch holds the records ${before.nextSequence} to ${first - 1}`;
        yield error('sequence-gap', where, missing, lostAdvice);
      }
    }
    if (first < before.nextSequence) {
      const doubled = `two batches hold the records ${first} to ${before.nextSequence - 1}`;
      yield error('sequence-overlap', where, doubled, bugAdvice);
    }
    const { batch } = found;
    if (batch === null) {
      const unreadable = `the page of the batch that begins at ${first} is damaged`;
      yield error('batch-corrupt', where, unreadable, lostAdvice);
      before.nextSequence = found.next ?? first + 1;
      continue;
    }
    storedBytes += batch.body.length;
    const keyId = yield* checkBatch(where, batch, before);
    if (keyId !== null && !keyIds.has(keyId)) {
      missingKeys.set(keyId, (missingKeys.get(keyId) ?? 0) + 1);
    }
    before.nextSequence = Math.max(before.nextSequence, first + batch.record_count);
    before.endBytes = batch.end_bytes;
    before.runningArrivalMs = batch.running_arrival_ms;
  }
  for (const [keyId, count] of missingKeys) {
    const what = `${count} of its batches are encrypted with the data key ${keyId}, which is lost`;
    yield error('key-trouble', where, what, lostKeyAdvice);
  }
  const takesUp = before.endBytes - shard.trim_bytes - storedBytes;
  if (shard.saved_bytes > takesUp && (await isAsBefore(queries, shard))) {
    yield warning('batch-mismatch', where, 'it holds more bytes than it accounts for', bugAdvice);
  }
}

/** Neither retention nor compaction has been here since the check began. */
async function isAsBefore(queries: Queries, shard: CheckedShard): Promise<boolean> {
  const now = await queries.get<Pick<ShardRow, 'trim_sequence' | 'saved_bytes'>>(
    'SELECT trim_sequence, saved_bytes FROM shard WHERE id = ?',
    shard.id,
  );
  return now?.trim_sequence === shard.trim_sequence && now.saved_bytes === shard.saved_bytes;
}

/** @returns the data key that it is encrypted with; null: it is not */
function* checkBatch(
  where: string,
  batch: CheckedBatch,
  before: { readonly endBytes: number; readonly runningArrivalMs: number },
): Generator<Finding, number | null> {
  const name = `the batch that begins at ${batch.first_sequence}`;
  let keyId: number | null = null;
  try {
    // An empty one stands for records that repair found lost.
    const header = batch.body.length === 0 ? null : verifyBatch(batch.body);
    keyId = header?.keyId ?? null;
    if (
      header !== null &&
      (header.count !== batch.record_count ||
        header.firstSequence !== batch.first_sequence ||
        header.highArrivalMs !== batch.high_arrival_ms)
    ) {
      yield error('batch-mismatch', where, `${name} is not the one its row speaks of`, lostAdvice);
    }
  } catch (failure) {
    if (!(failure instanceof StorageError)) throw failure;
    yield error('batch-corrupt', where, `${name}: ${failure.message}`, lostAdvice);
  }
  if (
    batch.end_bytes < before.endBytes + accountedBytes(batch.body) ||
    batch.running_arrival_ms < Math.max(before.runningArrivalMs, batch.high_arrival_ms)
  ) {
    yield warning('batch-mismatch', where, `${name} is not accounted for rightly`, bugAdvice);
  }
  return keyId;
}

interface FoundBatch {
  readonly first: number;
  /** Where the next batch begins, if it is known already. */
  readonly next: number | null;
  /** null when SQLite can't read it. */
  readonly batch: CheckedBatch | null;
}

/** The batches of a shard in order; of those on damaged pages at least where they begin. */
async function* batchesOf(queries: Queries, shard: CheckedShard): AsyncGenerator<FoundBatch, void> {
  let after = -1;
  for (;;) {
    let batches: FoundBatch[];
    try {
      const rows = await queries.all<CheckedBatch>(
        `SELECT * FROM batch WHERE shard_id = ? AND first_sequence > ?
          ORDER BY first_sequence LIMIT ${sliceRows}`,
        shard.id,
        after,
      );
      batches = rows.map((row) => ({ first: row.first_sequence, next: null, batch: sane(row) }));
    } catch (failure) {
      if (!isCorrupt(failure)) throw failure;
      batches = await oneByOne(queries, shard.id, after);
    }
    yield* batches;
    const last = batches.at(-1);
    if (last === undefined) return;
    after = last.first;
  }
}

/** A row that damage made nonsense of is as good as one that can't be read. */
function sane(row: CheckedBatch): CheckedBatch | null {
  const { record_count, high_arrival_ms, running_arrival_ms, end_bytes, body } = row;
  const numbers = [record_count, high_arrival_ms, running_arrival_ms, end_bytes];
  return numbers.every(Number.isSafeInteger) && Buffer.isBuffer(body) ? row : null;
}

async function oneByOne(queries: Queries, shardId: number, after: number): Promise<FoundBatch[]> {
  const positions = await queries.all<{ first_sequence: number }>(
    `SELECT first_sequence FROM batch INDEXED BY batch_position
      WHERE shard_id = ? AND first_sequence > ? ORDER BY first_sequence LIMIT ${sliceRows + 1}`,
    shardId,
    after,
  );
  const found: FoundBatch[] = [];
  for (const [index, { first_sequence: first }] of positions.entries()) {
    const next = positions[index + 1]?.first_sequence ?? null;
    let batch: CheckedBatch | null = null;
    try {
      const row = await queries.get<CheckedBatch>(
        'SELECT * FROM batch WHERE shard_id = ? AND first_sequence = ?',
        shardId,
        first,
      );
      batch = row === undefined ? null : sane(row);
    } catch (failure) {
      if (!isCorrupt(failure)) throw failure;
    }
    found.push({ first, next, batch });
  }
  return found.length > sliceRows ? found.slice(0, sliceRows) : found;
}

/** The open shards of a stream divide the hash-key space without a gap or an overlap. */
function* checkRanges(all: readonly CheckedShard[]): Generator<Finding, void> {
  const shards = all.filter(isSaneShard);
  for (const shard of all) {
    if (isSaneShard(shard)) continue;
    yield error('hash-range', whereIs(shard), 'its row is damaged', repairAdvice);
  }
  for (const streamId of new Set(shards.map((shard) => shard.stream_id))) {
    const open = shards
      .filter((shard) => shard.stream_id === streamId && shard.closed_ms === null)
      .sort((a, b) => (a.first_hash_key < b.first_hash_key ? -1 : 1));
    let next = 0n;
    for (const shard of open) {
      if (fromHashKey(shard.first_hash_key) !== next) {
        const what = 'its hash keys do not begin where those of the shard before end';
        yield error('hash-range', whereIs(shard), what, bugAdvice);
      }
      next = fromHashKey(shard.last_hash_key) + 1n;
    }
    const last = open.at(-1);
    if (last !== undefined && next !== hashKeyMax + 1n) {
      const what = 'its hash keys do not reach the end of the space';
      yield error('hash-range', whereIs(last), what, bugAdvice);
    }
  }
}

/** What a stream has besides its shards. */
async function* checkStreams(queries: Queries): AsyncGenerator<Finding, void> {
  const streams = await queries.all<{ name: string; open: number; next: number; last: number }>(
    `SELECT name, next_shard_index AS next,
            count(shard.id) - count(closed_ms) AS open, coalesce(max(shard_index), -1) AS last
       FROM stream LEFT JOIN shard ON stream_id = stream.id
      WHERE deleted_ms IS NULL GROUP BY stream.id`,
  );
  for (const { name, open, next, last } of streams) {
    const where = `stream ${name}`;
    if (open === 0) yield error('hash-range', where, 'no shard takes records', repairAdvice);
    if (last >= next) {
      const what = `the next shard would be ${next}, but there is a shard ${last}`;
      yield error('hash-range', where, what, repairAdvice);
    }
  }
  const attributes = await queries.all<{ id: number; key: string }>(
    `SELECT stream_id AS id, key FROM stream_attribute WHERE NOT json_valid(value)
        OR stream_id NOT IN (SELECT id FROM stream WHERE deleted_ms IS NULL)`,
  );
  for (const { id, key } of attributes) {
    const what = `the attribute ${key} is no JSON, or the stream is gone`;
    yield error('attribute-damaged', `stream with the id ${id}`, what, repairAdvice);
  }
}

/** Rows that point at what is not there. */
async function* checkOrphans(queries: Queries): AsyncGenerator<Finding, void> {
  const batches = await queries.all<{ shard_id: number }>(
    `SELECT DISTINCT shard_id FROM batch WHERE shard_id NOT IN (SELECT id FROM shard)`,
  );
  for (const { shard_id: id } of batches) {
    yield warning('batch-orphaned', `shard ${id}`, 'its batches have no shard', bugAdvice);
  }
  const leases = await queries.all<{ application: string | null; kind: string; id: number }>(
    `SELECT application.name AS application, source_kind AS kind, source_id AS id
       FROM (SELECT application_id, source_kind, source_id FROM lease
              UNION SELECT application_id, source_kind, source_id FROM plan)
       LEFT JOIN application ON application.id = application_id
      WHERE application.id IS NULL
         OR (source_kind = 'shard' AND source_id NOT IN (SELECT id FROM shard))`,
  );
  for (const { application, kind, id } of leases) {
    const where = `application ${application ?? '(gone)'}, ${kind} ${id}`;
    yield warning('lease-orphaned', where, 'a lease or plan of what does not exist', bugAdvice);
  }
  const beyond = await queries.all<{ application: string; id: number; checkpoint: number }>(
    `SELECT application.name AS application, source_id AS id, checkpoint
       FROM lease JOIN application ON application.id = application_id
       JOIN shard ON shard.id = source_id
      WHERE source_kind = 'shard' AND checkpoint > max(trim_sequence, coalesce(
        (SELECT first_sequence + record_count FROM batch WHERE shard_id = shard.id
          ORDER BY first_sequence DESC LIMIT 1), 0))`,
  );
  for (const { application, id, checkpoint } of beyond) {
    const where = `application ${application}, shard ${id}`;
    const what = `its checkpoint ${checkpoint} lies past the end: records were lost at the end`;
    yield error('checkpoint-beyond-end', where, what, lostAdvice);
  }
}

function whereIs(shard: CheckedShard): string {
  return `stream ${shard.name}, shard ${shard.shard_index}`;
}

function error(code: FindingCode, where: string, what: string, advice: string): Finding {
  return { severity: 'error', code, where, what, advice };
}

function warning(code: FindingCode, where: string, what: string, advice: string): Finding {
  return { severity: 'warning', code, where, what, advice };
}

function isCorrupt(failure: unknown): boolean {
  return failure instanceof StorageError && failure.code === 'corrupt';
}
