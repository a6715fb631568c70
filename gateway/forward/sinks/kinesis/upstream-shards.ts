/**
 * Which shard of the stream upstream a record belongs to.
 *
 * An aggregate may only hold records whose keys all belong to the shard that it lands in: the KCL
 * takes others for leftovers of a reshard and drops them. So records are aggregated by shard, as
 * the open ones were when they were last listed; an answer that names another shard shows that
 * they have changed, and they are listed again (`kinesis-sink.ts`).
 */
import { ListShardsCommand, type KinesisClient, type Shard } from '@aws-sdk/client-kinesis';
import { createHash } from 'node:crypto';
import { SinkError, type OutgoingRecord } from '../../sink.ts';
import type { AwsClient } from '../aws.ts';

/** A stream of more shards than this is not aggregated for. */
const shardsMax = 10_000;

interface Range {
  readonly shardId: string;
  /** Last hash key, 32 hexadecimal digits: text order is number order. */
  readonly last: string;
}

/** The open shards of a stream, as they were when they were listed. */
export class UpstreamShards {
  readonly #ranges: readonly Range[];

  private constructor(ranges: readonly Range[]) {
    this.#ranges = ranges;
  }

  /** @throws SinkError */
  static async list(
    client: AwsClient<KinesisClient>,
    stream: string,
    signal: AbortSignal,
  ): Promise<UpstreamShards> {
    const shards: Shard[] = [];
    for (let token: string | undefined; ;) {
      const page = token === undefined ? { StreamName: stream } : { NextToken: token };
      const answer = await client.call(signal, (service, abortSignal) =>
        service.send(new ListShardsCommand(page), { abortSignal }),
      );
      shards.push(...(answer.Shards ?? []));
      token = answer.NextToken;
      if (token === undefined) break;
      if (shards.length > shardsMax) throw new SinkError('rejected', 'too many shards upstream');
    }
    const ranges = shards
      .filter((shard) => shard.SequenceNumberRange?.EndingSequenceNumber === undefined)
      .map((shard) => ({
        shardId: shard.ShardId ?? '',
        last: hexOf(shard.HashKeyRange?.EndingHashKey ?? ''),
      }))
      .sort((a, b) => (a.last < b.last ? -1 : 1));
    if (ranges.length === 0) throw new SinkError('unavailable', `${stream} has no open shard`);
    return new UpstreamShards(ranges);
  }

  /** The id of the shard that the record belongs to, by its hash key. */
  shardOf({ partitionKey, explicitHashKey }: OutgoingRecord): string {
    const hash =
      explicitHashKey === undefined
        ? createHash('md5').update(partitionKey).digest('hex')
        : hexOf(explicitHashKey);
    let low = 0;
    let high = this.#ranges.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ranges[middle]?.last ?? '') < hash) low = middle + 1;
      else high = middle;
    }
    return this.#ranges[low]?.shardId ?? '';
  }
}

function hexOf(decimal: string): string {
  if (!/^\d{1,39}$/.test(decimal)) {
    throw new SinkError('unavailable', `not a hash key of a shard: ${decimal}`);
  }
  return BigInt(decimal).toString(16).padStart(32, '0');
}
