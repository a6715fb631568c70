import type { Log, ShardDescription } from '../../storage/model.ts';

/** Whether a shard was closed and is no longer listed. */
export function hasExpired(log: Log, { stream, id }: ShardDescription): boolean {
  const description = log.streams().find(({ name }) => name === stream);
  return description !== undefined && !description.shards.some((shard) => shard.id === id);
}

/** Does the work on a source, and no more than to end with it once that is gone. */
export async function unlessGone(gone: () => boolean, work: () => Promise<void>): Promise<void> {
  try {
    if (!gone()) await work();
  } catch (error) {
    if (!gone()) throw error;
  }
}
