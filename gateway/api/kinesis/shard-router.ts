/** Which of a stream's shards takes a record, before it is appended. */
import type { RecordInput, ShardDescription } from '../../../storage/model.ts';
import { KeyHasher, fromHashKey } from '../../../storage/log/hash-keys.ts';

/** Remembers the hashes of keys; shared by all streams. */
const hasher = new KeyHasher();

export class ShardRouter {
  readonly #open: readonly ShardDescription[];

  constructor(shards: readonly ShardDescription[]) {
    this.#open = shards
      .filter(({ closedMs }) => closedMs === null)
      .sort((a, b) => (a.lastHashKey < b.lastHashKey ? -1 : 1));
  }

  shardOf({ partitionKey, explicitHashKey }: RecordInput): ShardDescription {
    const hashKey = explicitHashKey ?? fromHashKey(hasher.hashKeyOf(partitionKey));
    let low = 0;
    let high = this.#open.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#open[middle]?.lastHashKey ?? 0n) < hashKey) low = middle + 1;
      else high = middle;
    }
    const shard = this.#open[low];
    if (shard === undefined) throw new Error('a stream without open shards');
    return shard;
  }
}
