import { join } from 'node:path';
import { Database } from '../../../../storage/sqlite.ts';

/** Closes the only shard of the only stream and opens two children, as a reshard does. */
export async function split(folder: string): Promise<void> {
  const database = await Database.open(join(folder, 'headgate.db'));
  const half = '8'.padEnd(32, '0');
  await database.exec(`
    UPDATE shard SET closed_ms = created_ms;
    INSERT INTO shard (stream_id, shard_index, first_hash_key, last_hash_key, parents, created_ms,
      closed_ms, trim_sequence, trim_bytes, trim_arrival_ms)
    SELECT stream_id, 1, first_hash_key, '7fffffffffffffffffffffffffffffff', '[0]', created_ms, NULL, 0, 0, 0
      FROM shard WHERE shard_index = 0;
    INSERT INTO shard (stream_id, shard_index, first_hash_key, last_hash_key, parents, created_ms,
      closed_ms, trim_sequence, trim_bytes, trim_arrival_ms)
    SELECT stream_id, 2, '${half}', last_hash_key, '[0]', created_ms, NULL, 0, 0, 0
      FROM shard WHERE shard_index = 0;
  `);
  await database.close();
}
