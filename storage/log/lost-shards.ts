/**
 * Puts back the rows of shards that were lost with a damaged page: without them their batches belong
 * to nothing, and the stream takes no records.
 *
 * - Shards that came of a reshard are written down twice (`shard_birth`).
 * - Those that a stream began with divided the hash keys evenly; their ids follow each other from
 *   `first_shard_id` on, in the order of their index. One of them is lost if its batches are there,
 *   or nobody owns its keys; else it has expired.
 * - Which are closed, the parents of the others tell.
 * - A row that makes no sense is as good as one that is lost.
 * - Hash keys that nobody owns after all that get a new shard.
 */
import type { Database } from '../sqlite.ts';
import { evenRanges, fromHashKey, hashKeyMax, toHashKey } from './hash-keys.ts';

interface StreamRow {
  readonly id: number;
  readonly name: string;
  readonly shard_count: number;
  readonly created_ms: number;
  readonly first_shard_id: number | null;
}

interface KnownShard {
  readonly id: number | null;
  readonly shard_index: number;
  readonly first_hash_key: string;
  readonly last_hash_key: string;
  readonly parents: string;
  readonly created_ms: number;
  readonly closed_ms: number | null;
}

/** Yields what was done, a sentence each. */
export async function* restoreShards(database: Database): AsyncGenerator<string, void> {
  const streams = await database.all<StreamRow>(
    `SELECT id, name, shard_count, created_ms, first_shard_id FROM stream
      WHERE deleted_ms IS NULL ORDER BY id`,
  );
  for (const stream of streams) {
    yield* restoreStream(database, stream);
    await keepIndex(database, stream);
  }
}

/** No index is given out twice. @returns the next one */
async function keepIndex(database: Database, { id }: StreamRow): Promise<number> {
  const [row] = await database.all<{ next: number }>(
    `UPDATE stream SET next_shard_index = max(next_shard_index, shard_count, coalesce(
       (SELECT max(shard_index) + 1 FROM shard WHERE stream_id = stream.id), 0))
      WHERE id = ? RETURNING next_shard_index AS next`,
    id,
  );
  return row?.next ?? 0;
}

async function* restoreStream(database: Database, stream: StreamRow): AsyncGenerator<string, void> {
  const rows = await database.all<KnownShard>(
    `SELECT id, shard_index, first_hash_key, last_hash_key, parents, created_ms, closed_ms
       FROM shard WHERE stream_id = ?`,
    stream.id,
  );
  const known = rows.filter(isSane);
  const indexes = new Set(known.map(({ shard_index: index }) => index));
  const born = await database.all<KnownShard>(
    `SELECT shard_id AS id, shard_index, first_hash_key, last_hash_key, parents, created_ms,
            NULL AS closed_ms FROM shard_birth WHERE stream_id = ?`,
    stream.id,
  );
  const lost = born.filter((shard) => isSane(shard) && !indexes.has(shard.shard_index));
  for (const shard of await firstShards(database, stream, known)) {
    if (indexes.has(shard.shard_index)) continue;
    const hasBatches =
      shard.id !== null &&
      (await database.get('SELECT 1 FROM batch WHERE shard_id = ?', shard.id)) !== undefined;
    if (hasBatches || !isCovered(shard, [...known, ...lost])) lost.push(shard);
  }
  for (const { id } of rows.filter((row) => !isSane(row))) {
    await database.run('DELETE FROM shard WHERE id = ?', id);
  }
  const all = [...known, ...lost];
  for (const shard of lost) {
    await insert(database, stream, shard, closedMsOf(shard, all));
    yield `stream ${stream.name}, shard ${shard.shard_index}: its row was lost and was made again`;
  }
  for (const shard of known) {
    const closedMs = closedMsOf(shard, all);
    if ((closedMs === null) === (shard.closed_ms === null)) continue;
    await database.run('UPDATE shard SET closed_ms = ? WHERE id = ?', closedMs, shard.id);
    yield `stream ${stream.name}, shard ${shard.shard_index}: it was ${closedMs === null ? 'opened again' : 'closed'}`;
  }
  yield* fillKeys(database, stream);
}

const hashKeyPattern = /^[0-9a-f]{32}$/;

function isSane(shard: KnownShard): boolean {
  const { first_hash_key: first, last_hash_key: last, shard_index: index } = shard;
  return (
    [first, last].every((key) => hashKeyPattern.test(key)) &&
    first <= last &&
    Number.isSafeInteger(index) &&
    index >= 0 &&
    parentsOf(shard).every((parent) => Number.isSafeInteger(parent) && parent < index)
  );
}

/** A parent that is none, where they can't be read. */
function parentsOf({ parents }: KnownShard): readonly number[] {
  try {
    const list: unknown = JSON.parse(parents);
    return Array.isArray(list) ? (list as number[]) : [NaN];
  } catch {
    return [NaN];
  }
}

/** The shards that the stream began with. */
async function firstShards(
  database: Database,
  stream: StreamRow,
  known: readonly KnownShard[],
): Promise<KnownShard[]> {
  const sibling = known.find(({ shard_index: index }) => index < stream.shard_count);
  const firstId = sibling?.id != null ? sibling.id - sibling.shard_index : stream.first_shard_id;
  const ids = evenRanges(stream.shard_count).map((_, index) =>
    firstId === null ? null : firstId + index,
  );
  const taken = await database.all<{ id: number }>(
    `SELECT id FROM shard WHERE stream_id != ? AND id IN (SELECT value FROM json_each(?))`,
    ...[stream.id, JSON.stringify(ids)],
  );
  const others = new Set<number | null>(taken.map(({ id }) => id));
  return evenRanges(stream.shard_count).map(({ first, last }, index) => {
    const id = ids[index] ?? null;
    return {
      id: others.has(id) ? null : id,
      shard_index: index,
      first_hash_key: toHashKey(first),
      last_hash_key: toHashKey(last),
      parents: '[]',
      created_ms: stream.created_ms,
      closed_ms: null,
    };
  });
}

/** Whether others own all keys of a shard, or did so after it. */
function isCovered(shard: KnownShard, others: readonly KnownShard[]): boolean {
  const last = fromHashKey(shard.last_hash_key);
  let next = fromHashKey(shard.first_hash_key);
  for (const other of inOrder(others)) {
    if (other.shard_index < shard.shard_index || fromHashKey(other.first_hash_key) > next) continue;
    const end = fromHashKey(other.last_hash_key) + 1n;
    if (end > next) next = end;
  }
  return next > last;
}

/** When a shard was closed: when the first of its children was made. */
function closedMsOf(shard: KnownShard, all: readonly KnownShard[]): number | null {
  const children = all.filter((other) => parentsOf(other).includes(shard.shard_index));
  const later = all.filter(({ shard_index: index }) => index > shard.shard_index);
  const successors = children.length > 0 ? children : isCovered(shard, later) ? later : [];
  return successors.length === 0
    ? null
    : Math.min(...successors.map(({ created_ms: createdMs }) => createdMs));
}

/** Gives the keys that no open shard owns to new ones. */
async function* fillKeys(database: Database, stream: StreamRow): AsyncGenerator<string, void> {
  const open = await database.all<KnownShard>(
    `SELECT * FROM shard WHERE stream_id = ? AND closed_ms IS NULL`,
    stream.id,
  );
  let next = 0n;
  for (const limit of [...inOrder(open), null]) {
    const first = limit === null ? hashKeyMax + 1n : fromHashKey(limit.first_hash_key);
    if (first > next) {
      const shard: KnownShard = {
        id: null,
        shard_index: await keepIndex(database, stream),
        first_hash_key: toHashKey(next),
        last_hash_key: toHashKey(first - 1n),
        parents: '[]',
        created_ms: stream.created_ms,
        closed_ms: null,
      };
      await insert(database, stream, shard, null);
      yield `stream ${stream.name}, shard ${shard.shard_index}: it was made for hash keys that nobody owned`;
    }
    if (limit !== null) next = fromHashKey(limit.last_hash_key) + 1n;
  }
}

function inOrder(shards: readonly KnownShard[]): KnownShard[] {
  return shards.toSorted((a, b) => (a.first_hash_key < b.first_hash_key ? -1 : 1));
}

async function insert(
  database: Database,
  stream: StreamRow,
  shard: KnownShard,
  closedMs: number | null,
): Promise<void> {
  await database.run(
    `INSERT OR IGNORE INTO shard (id, stream_id, shard_index, first_hash_key, last_hash_key,
       parents, created_ms, closed_ms, trim_sequence, trim_bytes, trim_arrival_ms)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)`,
    ...[shard.id, stream.id, shard.shard_index, shard.first_hash_key, shard.last_hash_key],
    ...[shard.parents, shard.created_ms, closedMs],
  );
  if (shard.id !== null) await restorePosition(database, shard.id);
}

/** A shard begins with its first batch; one that has none, behind what was read of it. */
async function restorePosition(database: Database, id: number): Promise<void> {
  await database.run(
    `UPDATE shard SET (trim_sequence, trim_bytes, trim_arrival_ms) = (
       SELECT first_sequence, end_bytes - length(body), 0 FROM batch
        WHERE shard_id = ?1 ORDER BY first_sequence LIMIT 1)
      WHERE id = ?1 AND EXISTS (SELECT 1 FROM batch WHERE shard_id = ?1)`,
    id,
  );
  await database.run(
    `UPDATE shard SET trim_sequence = coalesce((SELECT max(checkpoint) FROM lease
         WHERE source_kind = 'shard' AND source_id = ?1), 0)
      WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM batch WHERE shard_id = ?1)`,
    id,
  );
}
