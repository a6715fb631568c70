import { failedStreamOf, type FailedEnvelope } from '../../../../gateway/forward/failed-records.ts';
import type { Log } from '../../../../storage/model.ts';

/** What lies in a delivery's stream of failed records, parts and all. */
export async function failedOf(log: Log, delivery: string): Promise<FailedEnvelope[]> {
  const stream = log.streams().find(({ name }) => name === failedStreamOf(delivery));
  const shard = stream?.shards[0];
  if (shard === undefined) return [];
  const found: FailedEnvelope[] = [];
  for (let next = shard.trimSequence; next < shard.nextSequence;) {
    const slice = await log.read({
      ...{ shardId: shard.id, fromSequence: next },
      ...{ maxRecords: 10_000, maxBytes: 32 * 1024 ** 2 },
    });
    for (const { data } of slice.records) {
      found.push(JSON.parse(data.toString()) as FailedEnvelope);
    }
    next = slice.nextSequence;
  }
  return found;
}
