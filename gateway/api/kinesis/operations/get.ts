/**
 * GetShardIterator and GetRecords. An iterator names a place by the log's own numbers, so reading
 * from it is one read of the log.
 */
import { StorageError } from '../../../../storage/errors.ts';
import type { ReadResult, ShardDescription, StreamDescription } from '../../../../storage/model.ts';
import { KinesisError, invalidArgument, notFound } from '../errors.ts';
import { instant, sequenceNumber, shardId, streamArn, streamTarget } from '../members.ts';
import { defineOperation, type KinesisContext } from '../operation.ts';
import { dataBytes, recordViews } from '../records.ts';
import { parseShardId, shardIdOf } from '../sequence-numbers.ts';
import { childViews } from '../shard-views.ts';
import { integer, optional, required, structure, text, type Described } from '../../aws/shapes.ts';
import { startingSequence, startingType } from '../starting-places.ts';
import { streamDataResources, streamNameOf, streamResource, usableStream } from '../targets.ts';

const recordsMax = 10_000;
const answerBytesMax = 10 * 2 ** 20;

const iteratorInput = structure({
  ShardId: required(shardId),
  ShardIteratorType: required(startingType),
  StartingSequenceNumber: optional(sequenceNumber),
  Timestamp: optional(instant),
  ...streamTarget,
});

export const getShardIterator = defineOperation({
  name: 'GetShardIterator',
  input: iteratorInput,
  resources: (input, context) => [streamResource(input, context)],
  async run(input, context) {
    const { stream, shard } = shardNamed(input, context);
    const asked = {
      ...({ operation: 'GetShardIterator', stream, shard } as const),
      type: input.ShardIteratorType,
      sequenceNumber: input.StartingSequenceNumber,
      timestampMs: input.Timestamp,
    };
    const sequence = await startingSequence(asked, context);
    const place = { streamId: stream.id, shardId: shard.id, sequence };
    return { ShardIterator: context.iterators.make(place) };
  },
});

type IteratorInput = Described<typeof iteratorInput>;

function shardNamed(
  input: IteratorInput,
  context: KinesisContext,
): { stream: StreamDescription; shard: ShardDescription } {
  const name = streamNameOf(input, context);
  const { accountId } = context.account;
  const index = parseShardId(input.ShardId);
  if (index === null) {
    throw notFound(
      `Could not find shard ${input.ShardId} in stream ${name} under account ${accountId}.`,
    );
  }
  const missing = missingShard(index, name, context);
  let stream: StreamDescription;
  try {
    stream = usableStream({ StreamName: name }, context);
  } catch (error) {
    throw error instanceof KinesisError ? missing : error;
  }
  const shard = stream.shards.find((candidate) => candidate.index === index);
  if (shard === undefined) throw missing;
  return { stream, shard };
}

function missingShard(index: number, stream: string, { account }: KinesisContext): KinesisError {
  return notFound(
    `Shard ${shardIdOf(index)} in stream ${stream} under account ${account.accountId} does not exist`,
  );
}

export const getRecords = defineOperation({
  name: 'GetRecords',
  input: structure({
    Limit: optional(integer({ min: 1, max: recordsMax })),
    ShardIterator: required(text({ min: 1, max: 512 })),
    StreamARN: optional(streamArn),
  }),
  resources: ({ ShardIterator }, context) =>
    streamDataResources(openIterator(ShardIterator, context).stream.name, 'kms:Decrypt', context),
  async run({ Limit, ShardIterator, StreamARN }, context) {
    const { stream, shard, sequence } = openIterator(ShardIterator, context);
    if (StreamARN !== undefined && streamNameOf({ StreamARN }, context) !== stream.name) {
      throw invalidArgument(`StreamARN ${StreamARN} is not the stream of the ShardIterator.`);
    }
    const limits = stream.mode === 'provisioned' ? context.limits : null;
    if (limits?.takeRead(shard.id) === false) {
      context.metering.throttled(stream, shard.index, 'Read');
      throw new KinesisError(
        'ProvisionedThroughputExceededException',
        `Rate exceeded for shard ${shardIdOf(shard.index)} in stream ${stream.name} ` +
          `under account ${context.account.accountId}.`,
      );
    }
    const read = await context.log.read({
      shardId: shard.id,
      fromSequence: sequence,
      maxRecords: Limit ?? recordsMax,
      maxBytes: answerBytesMax,
    });
    const bytes = dataBytes(read.records);
    limits?.countRead(shard.id, bytes);
    context.metering.gave(stream, shard.index, {
      ...{ records: read.records.length, bytes },
      behindMs: iteratorAgeMs(read, context),
    });
    const next = { streamId: stream.id, shardId: shard.id, sequence: read.nextSequence };
    return {
      Records: recordViews(read.records, shard, stream),
      // AWS leaves it out where its manual says null, and clients ask for `undefined`.
      NextShardIterator: read.endOfShard ? undefined : context.iterators.make(next),
      MillisBehindLatest: read.millisBehind,
      ChildShards: read.endOfShard ? childViews(context.log.stream(stream.name), shard) : undefined,
    };
  },
});

/** @throws KinesisError `InvalidArgumentException`, `ExpiredIteratorException`, `ResourceNotFoundException` */
function openIterator(
  iterator: string,
  context: KinesisContext,
): { stream: StreamDescription; shard: ShardDescription; sequence: number } {
  const { streamId, shardId: id, sequence } = context.iterators.open(iterator);
  try {
    const shard = context.log.shard(id);
    const stream = context.log.stream(shard.stream);
    if (stream.id === streamId) return { stream, shard, sequence };
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'not-found')) throw error;
  }
  throw notFound(
    `The shard of the ShardIterator does not exist under account ${context.account.accountId}.`,
  );
}

/** 0 when the newest record was reached. */
function iteratorAgeMs({ records, recordsBehind }: ReadResult, { clock }: KinesisContext): number {
  const last = records.at(-1);
  return recordsBehind === 0 || last === undefined
    ? 0
    : Math.max(0, clock.nowMs() - last.arrivalMs);
}
