import type { Log, ShardDescription } from '../../storage/model.ts';

/** Whether a shard was closed and is no longer listed. */
export function hasExpired(log: Log, { stream, id }: ShardDescription): boolean {
  const description = log.streams().find(({ name }) => name === stream);
  return description !== undefined && !description.shards.some((shard) => shard.id === id);
}
