/** Shards as clients are shown them. */
import type { ShardDescription, StreamDescription } from '../../../storage/model.ts';
import { SequenceNumbers, shardIdOf } from './sequence-numbers.ts';

export interface HashKeyRangeView {
  readonly StartingHashKey: string;
  readonly EndingHashKey: string;
}

export function hashKeyRange({ firstHashKey, lastHashKey }: ShardDescription): HashKeyRangeView {
  return { StartingHashKey: firstHashKey.toString(), EndingHashKey: lastHashKey.toString() };
}

/** `Shard` of the service model. */
export function shardView(shard: ShardDescription): object {
  const numbers = new SequenceNumbers(shard);
  const [parent, adjacent] = shard.parents;
  return {
    ShardId: shardIdOf(shard.index),
    ParentShardId: parent === undefined ? undefined : shardIdOf(parent),
    AdjacentParentShardId: adjacent === undefined ? undefined : shardIdOf(adjacent),
    HashKeyRange: hashKeyRange(shard),
    SequenceNumberRange: {
      StartingSequenceNumber: numbers.beginning(shard.createdMs),
      EndingSequenceNumber: shard.closedMs === null ? undefined : numbers.end(shard.closedMs),
    },
  };
}

/** `ChildShards` of the service model: what a shard became when it was split or merged. */
export function childViews(stream: StreamDescription, shard: ShardDescription): readonly object[] {
  return stream.shards
    .filter(({ parents }) => parents.includes(shard.index))
    .map((child) => ({
      ShardId: shardIdOf(child.index),
      ParentShards: child.parents.map(shardIdOf),
      HashKeyRange: hashKeyRange(child),
    }));
}
