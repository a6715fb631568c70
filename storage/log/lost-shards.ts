/**
 * Puts back the rows of shards that were lost with a damaged page: without them their batches belong
 * to nothing, and the stream takes no records.
 *
 * The shards of a stream were made at once: their ids follow each other in the order of their index,
 * and they divide the hash keys evenly. Where not even one of them is left, their ids are those
 * between the stream's neighbours, if they are as many; else the stream begins anew.
 */
import type { Database } from '../sqlite.ts';
import { evenRanges, toHashKey } from './hash-keys.ts';

interface StreamRow {
  readonly id: number;
  readonly name: string;
  readonly shard_count: number;
  readonly created_ms: number;
}

/** Yields what was done, a sentence each. */
export async function* restoreShards(database: Database): AsyncGenerator<string, void> {
  const streams = await database.all<StreamRow>(
    'SELECT id, name, shard_count, created_ms FROM stream WHERE deleted_ms IS NULL ORDER BY id',
  );
  for (const stream of streams) {
    const known = await database.all<{ id: number; shard_index: number }>(
      'SELECT id, shard_index FROM shard WHERE stream_id = ?',
      stream.id,
    );
    const indexes = new Set(known.map((shard) => shard.shard_index));
    if (indexes.size >= stream.shard_count) continue;
    const [sibling] = known;
    const firstId =
      sibling === undefined ? await firstIdOf(database, stream) : sibling.id - sibling.shard_index;
    for (const [index, range] of evenRanges(stream.shard_count).entries()) {
      if (indexes.has(index)) continue;
      const id = firstId === null ? null : firstId + index;
      await database.run(
        `INSERT OR IGNORE INTO shard (id, stream_id, shard_index, first_hash_key, last_hash_key,
           parents, created_ms, trim_sequence, trim_bytes, trim_arrival_ms)
         VALUES (?, ?, ?, ?, ?, '[]', ?, 0, 0, 0)`,
        ...[id, stream.id, index, toHashKey(range.first), toHashKey(range.last)],
        stream.created_ms,
      );
      if (id !== null) await restorePosition(database, id);
      yield `stream ${stream.name}, shard ${index}: its row was lost and was made again`;
    }
  }
}

async function firstIdOf(database: Database, stream: StreamRow): Promise<number | null> {
  const row = await database.get<{ before: number; after: number | null }>(
    `SELECT coalesce((SELECT max(id) FROM shard WHERE stream_id < ?1), 0) AS before,
            coalesce((SELECT min(id) FROM shard WHERE stream_id > ?1),
                     (SELECT seq + 1 FROM sqlite_sequence WHERE name = 'shard')) AS after`,
    stream.id,
  );
  const between = row?.after == null ? 0 : row.after - row.before - 1;
  return row !== undefined && between === stream.shard_count ? row.before + 1 : null;
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
