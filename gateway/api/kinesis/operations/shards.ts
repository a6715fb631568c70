/** ListShards, and what changes a stream's shards: SplitShard, MergeShards, UpdateShardCount. */
import type { ShardDescription, StreamDescription } from '../../../../storage/model.ts';
import { streamArn as arnOf } from '../arns.ts';
import { KinesisError, invalidArgument, notFound } from '../errors.ts';
import {
  hashKey,
  instant,
  nextToken,
  pageSize,
  positiveNumber,
  shardId,
  streamTarget,
} from '../members.ts';
import { defineOperation, type KinesisContext } from '../operation.ts';
import { parseShardId, shardIdOf } from '../sequence-numbers.ts';
import { shardView } from '../shard-views.ts';
import { choice, optional, required, structure, type Described } from '../../aws/shapes.ts';
import {
  knownStream,
  namedResource,
  settledStream,
  shardOf,
  streamNameOf,
  streamResource,
} from '../targets.ts';
import { openShards } from './streams.ts';

const shardsShown = 1000;
const shardCountMax = 10_000;

const filterTypes = [
  'AFTER_SHARD_ID',
  'AT_TRIM_HORIZON',
  'FROM_TRIM_HORIZON',
  'AT_LATEST',
  'AT_TIMESTAMP',
  'FROM_TIMESTAMP',
] as const;

const filterShape = structure({
  Type: required(choice(filterTypes)),
  ShardId: optional(shardId),
  Timestamp: optional(instant),
});
type Filter = Described<typeof filterShape>;

const listInput = structure({
  ExclusiveStartShardId: optional(shardId),
  MaxResults: optional(pageSize),
  NextToken: optional(nextToken),
  StreamCreationTimestamp: optional(instant),
  ShardFilter: optional(filterShape),
  ...streamTarget,
});
type ListInput = Described<typeof listInput>;

/** What a token remembers: where the list goes on, of which stream and with which filter. */
interface Page {
  readonly stream: string;
  readonly streamId: number;
  /** The index of the last shard that was shown. */
  readonly after: number;
  readonly filter: Filter | null;
}

export const listShards = defineOperation({
  name: 'ListShards',
  input: listInput,
  resources: (input, context) => [
    input.NextToken === undefined
      ? streamResource(checkedTarget(input), context)
      : namedResource(openPage(input.NextToken, context).stream, context),
  ],
  run(input, context) {
    const page = pageOf(input, context);
    const stream = knownStream({ StreamName: page.stream }, context);
    if (stream.id !== page.streamId) {
      throw notFound(
        `Stream ${page.stream} under account ${context.account.accountId} is not the one of the NextToken.`,
      );
    }
    const shards = context.states.of(stream.name) === 'CREATING' ? [] : stream.shards;
    const passes = passing(page.filter, stream, context.clock.nowMs());
    const rest = shards.filter((shard) => shard.index > page.after && passes(shard));
    const shown = rest.slice(0, input.MaxResults ?? shardsShown);
    const last = shown.at(-1);
    const NextToken =
      last !== undefined && rest.length > shown.length
        ? context.pageTokens.make('ListShards', { ...page, after: last.index })
        : undefined;
    return Promise.resolve({ Shards: shown.map(shardView), NextToken });
  },
});

function checkedTarget(input: ListInput): ListInput {
  if (input.StreamName === undefined && input.StreamARN === undefined) {
    throw invalidArgument('Either NextToken or StreamName should be provided.');
  }
  return input;
}

function openPage(token: string, { pageTokens }: KinesisContext): Page {
  return pageTokens.open('ListShards', token) as Page;
}

function pageOf(input: ListInput, context: KinesisContext): Page {
  if (input.NextToken !== undefined) {
    if (input.StreamName !== undefined || input.StreamARN !== undefined) {
      throw invalidArgument('NextToken and StreamName cannot be provided together.');
    }
    return openPage(input.NextToken, context);
  }
  const name = streamNameOf(checkedTarget(input), context);
  const { id, createdMs } = knownStream({ StreamName: name }, context);
  const { StreamCreationTimestamp: asked } = input;
  if (asked !== undefined && Math.floor(asked / 1000) !== Math.floor(createdMs / 1000)) {
    throw notFound(
      `Stream ${name} under account ${context.account.accountId} was not created at ${asked}.`,
    );
  }
  const filter = input.ShardFilter ?? null;
  if (filter !== null) checkFilter(filter, createdMs, context);
  const start = input.ExclusiveStartShardId;
  return { stream: name, streamId: id, after: startIndex(start, filter), filter };
}

function startIndex(exclusive: string | undefined, filter: Filter | null): number {
  const starts = [exclusive, filter?.Type === 'AFTER_SHARD_ID' ? filter.ShardId : undefined];
  return Math.max(-1, ...starts.map((id) => (id === undefined ? -1 : indexOf(id))));
}

function indexOf(id: string): number {
  const index = parseShardId(id);
  if (index === null) throw invalidArgument(`${id} is not the id of a shard.`);
  return index;
}

/** @throws KinesisError `InvalidArgumentException` */
function checkFilter(filter: Filter, createdMs: number, { clock }: KinesisContext): void {
  const { Type: type, ShardId: id, Timestamp: atMs } = filter;
  const needsShard = type === 'AFTER_SHARD_ID';
  const needsTime = type === 'AT_TIMESTAMP' || type === 'FROM_TIMESTAMP';
  if (needsShard !== (id !== undefined)) {
    throw invalidArgument(
      `A ShardFilter of the type ${type} ${needsShard ? 'needs a' : 'takes no'} ShardId.`,
    );
  }
  if (needsTime !== (atMs !== undefined)) {
    throw invalidArgument(
      `A ShardFilter of the type ${type} ${needsTime ? 'needs a' : 'takes no'} Timestamp.`,
    );
  }
  if (atMs === undefined) return;
  const nowMs = clock.nowMs();
  if (atMs > nowMs) {
    throw invalidArgument(
      'The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. ' +
        `timestampInMillis: ${atMs}, currentTimestampInMillis: ${nowMs}`,
    );
  }
  if (type === 'AT_TIMESTAMP' && Math.floor(atMs / 1000) < Math.floor(createdMs / 1000)) {
    throw invalidArgument(
      `The Timestamp of the ShardFilter, ${atMs}, is before the stream was created.`,
    );
  }
}

/**
 * Says whether a shard was open at the time that a filter names, or at some time since.
 * @param nowMs what is older than the retention by now is not asked for
 */
function passing(
  filter: Filter | null,
  { shards, retentionMs, createdMs }: StreamDescription,
  nowMs: number,
): (shard: ShardDescription) => boolean {
  const horizonMs = Math.max(nowMs - retentionMs, createdMs);
  const atMs = filter?.Timestamp ?? 0;
  const byIndex = new Map(shards.map((shard) => [shard.index, shard]));
  // A child is dated after its parents, so that its sequence numbers are: it opened when they closed.
  const openedMs = (shard: ShardDescription): number =>
    Math.min(shard.createdMs, ...shard.parents.map((at) => byIndex.get(at)?.closedMs ?? Infinity));
  const openAt = (shard: ShardDescription, timeMs: number): boolean =>
    openedMs(shard) <= timeMs && (shard.closedMs === null || shard.closedMs > timeMs);
  const openSince = ({ closedMs }: ShardDescription, timeMs: number): boolean =>
    closedMs === null || closedMs >= timeMs;
  switch (filter?.Type) {
    case 'AT_LATEST':
      return ({ closedMs }) => closedMs === null;
    case 'AT_TRIM_HORIZON':
      return (shard) => openAt(shard, horizonMs);
    case 'FROM_TRIM_HORIZON':
      return (shard) => openSince(shard, horizonMs);
    case 'AT_TIMESTAMP':
      return (shard) => openAt(shard, Math.max(atMs, horizonMs));
    case 'FROM_TIMESTAMP':
      return (shard) => openSince(shard, Math.max(atMs, horizonMs));
    case 'AFTER_SHARD_ID':
    case undefined:
      return () => true;
  }
}

export const splitShard = defineOperation({
  name: 'SplitShard',
  input: structure({
    NewStartingHashKey: required(hashKey),
    ShardToSplit: required(shardId),
    ...streamTarget,
  }),
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const { name } = settledStream(input, context);
    return context.attributes.inTurn(name, async () => {
      const stream = provisionedStream(name, 'SplitShard', context);
      const shard = shardOf(stream, input.ShardToSplit, context);
      const under = `in stream ${name} under account ${context.account.accountId}`;
      checkOpen(shard, under);
      const key = BigInt(input.NewStartingHashKey);
      if (key <= shard.firstHashKey + 1n || key >= shard.lastHashKey) {
        throw invalidArgument(
          `NewStartingHashKey ${input.NewStartingHashKey} used in SplitShard() on shard ` +
            `${shardIdOf(shard.index)} ${under} is not both greater than one plus the shard's ` +
            `StartingHashKey ${shard.firstHashKey} and less than the shard's EndingHashKey ` +
            `${shard.lastHashKey}.`,
        );
      }
      checkShardLimit(stream, openShards(stream) + 1, context);
      await context.log.splitShard(name, shard.index, key);
      context.states.begin(name, 'UPDATING');
      return {};
    });
  },
});

export const mergeShards = defineOperation({
  name: 'MergeShards',
  input: structure({
    ShardToMerge: required(shardId),
    AdjacentShardToMerge: required(shardId),
    ...streamTarget,
  }),
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const { name } = settledStream(input, context);
    return context.attributes.inTurn(name, async () => {
      const stream = provisionedStream(name, 'MergeShards', context);
      const shard = shardOf(stream, input.ShardToMerge, context);
      const adjacent = shardOf(stream, input.AdjacentShardToMerge, context);
      const under = `in stream ${name} under account ${context.account.accountId}`;
      for (const one of [shard, adjacent]) checkOpen(one, under);
      const isPair =
        shard.lastHashKey + 1n === adjacent.firstHashKey ||
        adjacent.lastHashKey + 1n === shard.firstHashKey;
      if (!isPair) {
        throw invalidArgument(
          `Shards ${shardIdOf(shard.index)} and ${shardIdOf(adjacent.index)} ${under} are not an ` +
            'adjacent pair of shards eligible for merging',
        );
      }
      await context.log.mergeShards(name, shard.index, adjacent.index);
      context.states.begin(name, 'UPDATING');
      return {};
    });
  },
});

export const updateShardCount = defineOperation({
  name: 'UpdateShardCount',
  input: structure({
    TargetShardCount: required(positiveNumber),
    ScalingType: required(choice(['UNIFORM_SCALING'])),
    ...streamTarget,
  }),
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const { name } = settledStream(input, context);
    return context.attributes.inTurn(name, async () => {
      const stream = provisionedStream(name, 'UpdateShardCount', context);
      const current = openShards(stream);
      const target = input.TargetShardCount;
      const limit =
        target > 2 * current
          ? 'up over double'
          : target < Math.ceil(current / 2)
            ? 'down below half'
            : null;
      if (limit !== null) {
        throw invalidArgument(
          `UpdateShardCount cannot scale ${limit} your current open shard count. Current open ` +
            `shard count: ${current} Target shard count: ${target}`,
        );
      }
      checkShardLimit(stream, target, context);
      if (target !== current) await context.log.resizeStream(name, target);
      context.states.begin(name, 'UPDATING');
      return {
        StreamName: name,
        CurrentShardCount: current,
        TargetShardCount: target,
        StreamARN: arnOf(context.account, name),
      };
    });
  },
});

/** The stream once its turn has come; an earlier change may have gone on until now. */
function provisionedStream(
  name: string,
  operation: string,
  context: KinesisContext,
): StreamDescription {
  const stream = settledStream({ StreamName: name }, context);
  if (stream.mode === 'provisioned') return stream;
  throw new KinesisError(
    'ValidationException',
    `Request is invalid. ${operation} is only supported for streams in the PROVISIONED mode; ` +
      `stream ${name} under account ${context.account.accountId} is in the ON_DEMAND mode.`,
  );
}

/** @throws KinesisError `InvalidArgumentException` */
function checkOpen(shard: ShardDescription, under: string): void {
  if (shard.closedMs === null) return;
  throw invalidArgument(
    `Shard ${shardIdOf(shard.index)} ${under} has already been merged or split, and thus is not ` +
      'eligible for merging or splitting.',
  );
}

function checkShardLimit(
  stream: StreamDescription,
  target: number,
  { account }: KinesisContext,
): void {
  if (target <= shardCountMax) return;
  const current = openShards(stream);
  throw new KinesisError(
    'LimitExceededException',
    `This request would exceed the shard limit for the account ${account.accountId} in ` +
      `${account.region}. Current shard count for the account: ${current}. Limit: ` +
      `${shardCountMax}. Number of additional shards that would have resulted from this ` +
      `request: ${target - current}.`,
  );
}
