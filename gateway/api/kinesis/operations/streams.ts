/** CreateStream, DeleteStream, and what tells of streams. */
import { StorageError } from '../../../../storage/errors.ts';
import type { StreamDescription } from '../../../../storage/model.ts';
import { streamArn } from '../arns.ts';
import { KinesisError, invalidArgument } from '../errors.ts';
import {
  maxRecordKiB,
  naturalNumber,
  nextToken,
  pageSize,
  positiveNumber,
  shardId,
  streamMode,
  streamName,
  streamTarget,
  tags,
} from '../members.ts';
import { defineOperation, type KinesisContext } from '../operation.ts';
import { parseShardId } from '../sequence-numbers.ts';
import { shardView } from '../shard-views.ts';
import { flag, optional, required, structure } from '../../aws/shapes.ts';
import { attributeOf } from '../stream-attributes.ts';
import type { StreamStatus } from '../stream-states.ts';
import {
  knownStream,
  namedResource,
  streamNameOf,
  streamResource,
  type StreamTarget,
} from '../targets.ts';
import { checkTags } from './tags.ts';

const hourMs = 3_600_000;
/** As in the service. */
const onDemandShards = 4;
const shardsMax = 10_000;
const shardsShown = 100;
const streamsShown = 100;

export const createStream = defineOperation({
  name: 'CreateStream',
  input: structure({
    ShardCount: optional(positiveNumber),
    StreamName: required(streamName),
    StreamModeDetails: optional(structure({ StreamMode: required(streamMode) })),
    Tags: optional(tags),
    WarmThroughputMiBps: optional(naturalNumber),
    MaxRecordSizeInKiB: optional(maxRecordKiB),
  }),
  resources: ({ StreamName }, context) => [namedResource(StreamName, context)],
  async run(input, context) {
    const { StreamName: name, ShardCount, StreamModeDetails, Tags } = input;
    const isOnDemand = StreamModeDetails?.StreamMode === 'ON_DEMAND';
    const shardCount = shardCountOf(ShardCount, isOnDemand, context);
    if (Tags !== undefined) checkTags(Tags, name, context, 'add');
    if (context.states.deleting(name) !== null) throw alreadyExists(name, context);
    try {
      await context.log.createStream({
        ...{ name, shardCount, mode: isOnDemand ? 'on-demand' : 'provisioned' },
        ...context.newStreams,
        retentionMs: 24 * hourMs,
      });
    } catch (error) {
      if (!(error instanceof StorageError && error.code === 'already-exists')) throw error;
      throw alreadyExists(name, context);
    }
    context.states.begin(name, 'CREATING');
    const { attributes } = context;
    if (Tags !== undefined) await attributes.change(name, 'tags', () => Object.fromEntries(Tags));
    const { MaxRecordSizeInKiB: recordKiB, WarmThroughputMiBps: warm } = input;
    if (recordKiB !== undefined) await attributes.change(name, 'maxRecordKiB', () => recordKiB);
    if (warm !== undefined) await attributes.change(name, 'warmThroughputMiBps', () => warm);
    return {};
  },
});

function shardCountOf(
  asked: number | undefined,
  isOnDemand: boolean,
  { account }: KinesisContext,
): number {
  if (isOnDemand && asked !== undefined) {
    throw new KinesisError(
      'ValidationException',
      'ShardCount is not supported for a stream in the ON_DEMAND mode.',
    );
  }
  if (isOnDemand) return onDemandShards;
  if (asked === undefined) {
    throw new KinesisError(
      'ValidationException',
      'ShardCount must be provided for a stream in the PROVISIONED mode.',
    );
  }
  if (asked > shardsMax) {
    throw new KinesisError(
      'LimitExceededException',
      `This request would exceed the shard limit for the account ${account.accountId} in ` +
        `${account.region}. Limit: ${shardsMax}. Number of additional shards that would have ` +
        `resulted from this request: ${asked}.`,
    );
  }
  return asked;
}

function alreadyExists(name: string, { account }: KinesisContext): KinesisError {
  return new KinesisError(
    'ResourceInUseException',
    `Stream ${name} under account ${account.accountId} already exists.`,
  );
}

export const deleteStream = defineOperation({
  name: 'DeleteStream',
  input: structure({ EnforceConsumerDeletion: optional(flag()), ...streamTarget }),
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const name = streamNameOf(input, context);
    await context.attributes.inTurn(name, async () => {
      const stream = knownStream(input, context);
      const consumers = attributeOf(stream, 'consumers').length;
      if (consumers > 0 && input.EnforceConsumerDeletion !== true) {
        throw new KinesisError(
          'ResourceInUseException',
          `Stream ${name} under account ${context.account.accountId} has ${consumers} registered ` +
            'consumers. Deregister them, or set EnforceConsumerDeletion.',
        );
      }
      await context.log.deleteStream(name);
      context.states.beginDeleting(stream);
    });
    return {};
  },
});

interface SeenStream {
  readonly stream: StreamDescription;
  readonly status: StreamStatus;
}

/** A stream in whatever state, also one that is being deleted. */
function seenStream(target: StreamTarget, context: KinesisContext): SeenStream {
  const name = streamNameOf(target, context);
  const deleting = context.states.deleting(name);
  if (deleting !== null) return { stream: deleting, status: 'DELETING' };
  return { stream: knownStream(target, context), status: context.states.of(name) };
}

function commonView({ stream, status }: SeenStream, { account }: KinesisContext): object {
  const encryption = attributeOf(stream, 'encryption');
  return {
    StreamName: stream.name,
    StreamARN: streamArn(account, stream.name),
    StreamStatus: status,
    StreamModeDetails: modeView(stream),
    StreamCreationTimestamp: new Date(stream.createdMs),
    RetentionPeriodHours: retentionHours(stream),
    EnhancedMonitoring: [{ ShardLevelMetrics: attributeOf(stream, 'monitoring') }],
    EncryptionType: encryption === null ? 'NONE' : 'KMS',
    KeyId: encryption?.keyId,
  };
}

function modeView({ mode }: StreamDescription): object {
  return { StreamMode: mode === 'on-demand' ? 'ON_DEMAND' : 'PROVISIONED' };
}

/** A stream of the configuration may keep its records for less than whole hours. */
export function retentionHours({ retentionMs }: StreamDescription): number {
  return Math.ceil(retentionMs / hourMs);
}

export const describeStream = defineOperation({
  name: 'DescribeStream',
  input: structure({
    Limit: optional(pageSize),
    ExclusiveStartShardId: optional(shardId),
    ...streamTarget,
  }),
  resources: (input, context) => [streamResource(input, context)],
  run(input, context) {
    const seen = seenStream(input, context);
    // As in the service: a stream that is being made has no shards yet.
    const shards = seen.status === 'CREATING' ? [] : seen.stream.shards;
    const after = parseShardId(input.ExclusiveStartShardId ?? '') ?? -1;
    const rest = shards.filter(({ index }) => index > after);
    const limit = Math.min(input.Limit ?? shardsShown, shardsShown);
    return Promise.resolve({
      StreamDescription: {
        ...commonView(seen, context),
        Shards: rest.slice(0, limit).map(shardView),
        HasMoreShards: rest.length > limit,
      },
    });
  },
});

export const describeStreamSummary = defineOperation({
  name: 'DescribeStreamSummary',
  input: structure({ ...streamTarget }),
  resources: (input, context) => [streamResource(input, context)],
  run(input, context) {
    const seen = seenStream(input, context);
    const { stream } = seen;
    const warm = attributeOf(stream, 'warmThroughputMiBps');
    return Promise.resolve({
      StreamDescriptionSummary: {
        ...commonView(seen, context),
        OpenShardCount: openShards(stream),
        ConsumerCount: attributeOf(stream, 'consumers').length,
        MaxRecordSizeInKiB: attributeOf(stream, 'maxRecordKiB'),
        WarmThroughput: warm === null ? undefined : { TargetMiBps: warm, CurrentMiBps: warm },
      },
    });
  },
});

export function openShards({ shards }: StreamDescription): number {
  return shards.filter(({ closedMs }) => closedMs === null).length;
}

export const listStreams = defineOperation({
  name: 'ListStreams',
  input: structure({
    Limit: optional(pageSize),
    ExclusiveStartStreamName: optional(streamName),
    NextToken: optional(nextToken),
  }),
  resources: () => [{ arn: '*', policies: [] }],
  run(input, context) {
    const after = startOf(input, context);
    const limit = input.Limit ?? streamsShown;
    const rest = allStreams(context)
      .filter(({ stream: { name } }) => after === null || name > after)
      .sort((a, b) => (a.stream.name < b.stream.name ? -1 : 1));
    const shown = rest.slice(0, limit);
    const last = shown.at(-1)?.stream.name;
    const hasMore = rest.length > limit;
    return Promise.resolve({
      StreamNames: shown.map(({ stream: { name } }) => name),
      HasMoreStreams: hasMore,
      NextToken:
        hasMore && last !== undefined
          ? context.pageTokens.make('ListStreams', { last })
          : undefined,
      StreamSummaries: shown.map(({ stream, status }) => ({
        StreamName: stream.name,
        StreamARN: streamArn(context.account, stream.name),
        StreamStatus: status,
        StreamModeDetails: modeView(stream),
        StreamCreationTimestamp: new Date(stream.createdMs),
      })),
    });
  },
});

function startOf(
  input: { readonly NextToken?: string; readonly ExclusiveStartStreamName?: string },
  { pageTokens }: KinesisContext,
): string | null {
  if (input.NextToken === undefined) return input.ExclusiveStartStreamName ?? null;
  if (input.ExclusiveStartStreamName !== undefined) {
    throw invalidArgument('NextToken and ExclusiveStartStreamName cannot be provided together.');
  }
  return (pageTokens.open('ListStreams', input.NextToken) as { last: string }).last;
}

function allStreams({ log, states }: KinesisContext): SeenStream[] {
  const deleting = states.allDeleting();
  return [
    ...log.streams().map((stream) => ({ stream, status: states.of(stream.name) })),
    ...deleting.map((stream) => ({ stream, status: 'DELETING' as const })),
  ];
}

export const describeLimits = defineOperation({
  name: 'DescribeLimits',
  input: structure({}),
  resources: () => [{ arn: '*', policies: [] }],
  run(_input, { log }) {
    const streams = log.streams();
    return Promise.resolve({
      ShardLimit: shardsMax,
      OpenShardCount: streams
        .filter(({ mode }) => mode === 'provisioned')
        .reduce((sum, stream) => sum + openShards(stream), 0),
      OnDemandStreamCount: streams.filter(({ mode }) => mode === 'on-demand').length,
      OnDemandStreamCountLimit: shardsMax,
    });
  },
});
