/**
 * Puts back the rows of shards that were lost with a damaged page: without them their batches belong
 * to nothing, and the stream takes no records.
 *
 * - Shards that came of a reshard are written down twice (`shard_birth`).
 * - Those that a stream began with divided the hash keys evenly; their ids follow each other from
 *   `first_shard_id` on, in the order of their index. One of them is lost if its batches are there,
 *   or nobody owns its keys; else it has expired.
 * - Which are closed, the parents of the others tell, where the open ones do not divide the keys.
 * - A row that makes no sense is as good as one that is lost.
 * - Hash keys that nobody owns after all that get a new shard.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Database } from '../sqlite.ts';
import { evenRanges, fromHashKey, hashKeyMax, toHashKey } from './hash-keys.ts';
import { openShardsMax } from './resharding.ts';
import { isSaneShard, parentsOf } from './streams.ts';

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
  const sane = rows.filter(isSaneShard);
  const indexes = new Set(sane.map(({ shard_index: index }) => index));
  const born = await database.all<KnownShard>(
    `SELECT shard_id AS id, shard_index, first_hash_key, last_hash_key, parents, created_ms,
            NULL AS closed_ms FROM shard_birth WHERE stream_id = ?`,
    stream.id,
  );
  const first = await firstShards(database, stream, sane);
  const made = [...first, ...born.filter(isSaneShard)];
  const known = asMade(stream, sane, made);
  const lost = made.filter(
    ({ shard_index: index }) => index >= stream.shard_count && !indexes.has(index),
  );
  for (const shard of first) {
    if (indexes.has(shard.shard_index)) continue;
    const hasBatches =
      shard.id !== null &&
      (await database.get('SELECT 1 FROM batch WHERE shard_id = ?', shard.id)) !== undefined;
    if (hasBatches || !isCovered(shard, [...known, ...lost])) lost.push(shard);
  }
  for (const { id } of rows.filter((row) => !isSaneShard(row))) {
    await database.run('DELETE FROM shard WHERE id = ?', id);
  }
  const closedMs = closingTimes([...known, ...lost]);
  for (const shard of lost) {
    await insert(database, stream, shard, closedMs(shard));
    yield `stream ${stream.name}, shard ${shard.shard_index}: its row was lost and was made again`;
  }
  const mended = known.map((shard) => {
    const isRight = (closedMs(shard) === null) === (shard.closed_ms === null);
    return isRight ? shard : { ...shard, closed_ms: closedMs(shard) };
  });
  yield* rewrite(database, stream, sane, mended);
  yield* fillKeys(database, stream);
}

/** Whether the open ones own every hash key, and none twice. */
function divideKeys(shards: readonly KnownShard[]): boolean {
  let next = 0n;
  for (const shard of inOrder(shards.filter(({ closed_ms: closedMs }) => closedMs === null))) {
    if (fromHashKey(shard.first_hash_key) !== next) return false;
    next = fromHashKey(shard.last_hash_key) + 1n;
  }
  return next === hashKeyMax + 1n;
}

/**
 * The shards as they were made. Where that and the row of an open one that came of a reshard differ,
 * the row is right as long as all rows together divide the keys.
 */
function asMade(
  stream: StreamRow,
  known: readonly KnownShard[],
  made: readonly KnownShard[],
): KnownShard[] {
  const byIndex = new Map(made.map((shard) => [shard.shard_index, shard]));
  const areRight = divideKeys(known);
  return known.map((shard) => {
    const { shard_index: index, closed_ms: closedMs } = shard;
    const found = byIndex.get(index);
    if (found === undefined) return shard;
    if (areRight && closedMs === null && index >= stream.shard_count) return shard;
    const { first_hash_key, last_hash_key, parents } = found;
    return { ...shard, first_hash_key, last_hash_key, parents };
  });
}

/** Changes the rows that are not as they should be. */
async function* rewrite(
  database: Database,
  stream: StreamRow,
  before: readonly KnownShard[],
  after: readonly KnownShard[],
): AsyncGenerator<string, void> {
  for (const [place, shard] of after.entries()) {
    if (isDeepStrictEqual(shard, before[place])) continue;
    await database.run(
      `UPDATE shard SET first_hash_key = ?, last_hash_key = ?, parents = ?, closed_ms = ?
        WHERE id = ?`,
      ...[shard.first_hash_key, shard.last_hash_key, shard.parents, shard.closed_ms, shard.id],
    );
    yield `stream ${stream.name}, shard ${shard.shard_index}: its row was mended`;
  }
}

/** The shards that the stream began with. */
async function firstShards(
  database: Database,
  stream: StreamRow,
  known: readonly KnownShard[],
): Promise<KnownShard[]> {
  const count = stream.shard_count;
  if (!Number.isSafeInteger(count) || count < 1 || count > openShardsMax) return [];
  const ranges = evenRanges(count);
  const sibling = known.find(({ shard_index: index }) => index < count);
  const firstId = sibling?.id != null ? sibling.id - sibling.shard_index : stream.first_shard_id;
  const ids = ranges.map((_, index) => (firstId === null ? null : firstId + index));
  const taken = await database.all<{ id: number }>(
    `SELECT id FROM shard WHERE stream_id != ? AND id IN (SELECT value FROM json_each(?))`,
    ...[stream.id, JSON.stringify(ids)],
  );
  const others = new Set<number | null>(taken.map(({ id }) => id));
  return ranges.map(({ first, last }, index) => {
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

/** When each was closed: when its children were made. */
function closingTimes(all: readonly KnownShard[]): (shard: KnownShard) => number | null {
  if (divideKeys(all)) return (shard) => shard.closed_ms;
  const children = new Map<number, number>();
  for (const child of all) {
    for (const parent of parentsOf(child) ?? []) {
      const knownMs = children.get(parent) ?? Infinity;
      children.set(parent, Math.min(knownMs, child.created_ms));
    }
  }
  const isRight = divideKeys(
    all.map((shard) => ({
      ...shard,
      closed_ms: children.get(shard.shard_index) ?? shard.closed_ms,
    })),
  );
  return (shard) => {
    const closedMs = children.get(shard.shard_index);
    if (closedMs !== undefined) return closedMs;
    if (isRight) return shard.closed_ms;
    // Its children may have expired before theirs.
    const later = all.filter(({ shard_index: index }) => index > shard.shard_index);
    return isCovered(shard, later) ? Math.min(...later.map((other) => other.created_ms)) : null;
  };
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
