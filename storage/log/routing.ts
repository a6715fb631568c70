/** Which shard takes a record: the open shards of a stream, in the order of their hash keys. */
import { StorageError } from '../errors.ts';
import type { Shard } from './streams.ts';

export class Routing {
  readonly shards: readonly Shard[];
  /** The shard for every key, if there is only one. */
  readonly onlyShard: Shard | null;

  /** @param shards open ones, in any order */
  constructor(shards: readonly Shard[]) {
    this.shards = shards.toSorted((a, b) => (a.lastHashKey < b.lastHashKey ? -1 : 1));
    this.onlyShard = shards.length === 1 ? (shards[0] ?? null) : null;
  }

  /** The shard that owns a hash key. @throws StorageError `not-found` when there is no shard */
  shardFor(hashKey: string): Shard {
    const { shards } = this;
    let low = 0;
    let high = shards.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const shard = shards[middle];
      if (shard !== undefined && shard.lastHashKey < hashKey) low = middle + 1;
      else high = middle;
    }
    const owner = shards[low];
    if (owner === undefined) throw new StorageError('not-found', 'the stream has no open shard');
    return owner;
  }
}
