/**
 * GetShardIterator and GetRecords. An iterator names a place by the log's own numbers, so reading
 * from it is one read of the log.
 */
import { StorageError } from '../../../../storage/errors.ts';
import type { LogRecord, ShardDescription, StreamDescription } from '../../../../storage/model.ts';
import { KinesisError, invalidArgument, notFound } from '../errors.ts';
import { instant, sequenceNumber, shardId, streamArn, streamTarget } from '../members.ts';
import { defineOperation, type KinesisContext } from '../operation.ts';
import {
  SequenceNumbers,
  isOfShard,
  parseSequenceNumber,
  parseShardId,
  shardIdOf,
} from '../sequence-numbers.ts';
import { childViews } from '../shard-views.ts';
import { choice, integer, optional, required, structure, text, type Described } from '../shapes.ts';
import { attributeOf } from '../stream-attributes.ts';
import { namedResource, streamNameOf, streamResource, usableStream } from '../targets.ts';

const recordsMax = 10_000;
const answerBytesMax = 10 * 2 ** 20;

const iteratorInput = structure({
  ShardId: required(shardId),
  ShardIteratorType: required(
    choice([
      'AFTER_SEQUENCE_NUMBER',
      'LATEST',
      'AT_TIMESTAMP',
      'AT_SEQUENCE_NUMBER',
      'TRIM_HORIZON',
    ]),
  ),
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
    const sequence = await placeOf(input, stream, shard, context);
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

/** The local sequence number at which reading begins. */
async function placeOf(
  input: IteratorInput,
  stream: StreamDescription,
  shard: ShardDescription,
  context: KinesisContext,
): Promise<number> {
  const { ShardIteratorType: type, StartingSequenceNumber: starting } = input;
  const isByNumber = type === 'AT_SEQUENCE_NUMBER' || type === 'AFTER_SEQUENCE_NUMBER';
  const isByPlace = type === 'TRIM_HORIZON' || type === 'LATEST';
  if ((isByPlace && starting !== undefined) || (isByNumber && starting === undefined)) {
    throw invalidArgument(
      'Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and ' +
        'StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. ' +
        `Request specified ${type} and ${isByPlace ? 'also a' : 'no'} StartingSequenceNumber.`,
    );
  }
  if (starting !== undefined && isByNumber) {
    const sequence = checkedSequence(starting, stream, shard, context);
    return type === 'AT_SEQUENCE_NUMBER' ? Math.max(sequence, 0) : sequence + 1;
  }
  if (type === 'TRIM_HORIZON') return shard.trimSequence;
  if (type === 'LATEST') return shard.nextSequence;
  return context.log.sequenceAt(shard.id, checkedTime(input.Timestamp, context));
}

/**
 * The local sequence number that is meant: -1 for the beginning of the shard, and for the end of a
 * closed one that of its last record.
 */
function checkedSequence(
  text: string,
  stream: StreamDescription,
  shard: ShardDescription,
  { account }: KinesisContext,
): number {
  const number = parseSequenceNumber(text);
  const used =
    `StartingSequenceNumber ${text} used in GetShardIterator on shard ${shardIdOf(shard.index)} ` +
    `in stream ${stream.name} under account ${account.accountId} is invalid`;
  if (number === null) throw invalidArgument(`${used}.`);
  if (number.shardIndex !== shard.index) {
    throw invalidArgument(
      `Invalid StartingSequenceNumber. It encodes ${shardIdOf(number.shardIndex)}, ` +
        `while it was used in a call to a shard with ${shardIdOf(shard.index)}`,
    );
  }
  if (!isOfShard(number, shard)) {
    throw invalidArgument(`${used} because it did not come from this stream.`);
  }
  const last = shard.nextSequence - 1;
  if (number.sequence === Infinity && shard.closedMs !== null) return last;
  // One that was never given to a record would skip those that are still to come.
  if (number.sequence > last) throw invalidArgument(`${used}.`);
  return number.sequence;
}

function checkedTime(timestampMs: number | undefined, { clock }: KinesisContext): number {
  if (timestampMs === undefined) {
    throw invalidArgument(
      'Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. ' +
        'Current request has no timestamp parameter.',
    );
  }
  const nowMs = clock.nowMs();
  if (timestampMs > nowMs) {
    throw invalidArgument(
      'The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. ' +
        `timestampInMillis: ${timestampMs}, currentTimestampInMillis: ${nowMs}`,
    );
  }
  return timestampMs;
}

export const getRecords = defineOperation({
  name: 'GetRecords',
  input: structure({
    Limit: optional(integer({ min: 1, max: recordsMax })),
    ShardIterator: required(text({ min: 1, max: 512 })),
    StreamARN: optional(streamArn),
  }),
  resources: ({ ShardIterator }, context) => [
    namedResource(openIterator(ShardIterator, context).stream.name, context),
  ],
  async run({ Limit, ShardIterator, StreamARN }, context) {
    const { stream, shard, sequence } = openIterator(ShardIterator, context);
    if (StreamARN !== undefined && streamNameOf({ StreamARN }, context) !== stream.name) {
      throw invalidArgument(`StreamARN ${StreamARN} is not the stream of the ShardIterator.`);
    }
    const limits = stream.mode === 'provisioned' ? context.limits : null;
    if (limits?.takeRead(shard.id) === false) {
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
    limits?.countRead(shard.id, dataBytes(read.records));
    const next = { streamId: stream.id, shardId: shard.id, sequence: read.nextSequence };
    return {
      Records: recordViews(read.records, shard, stream),
      NextShardIterator: read.endOfShard ? null : context.iterators.make(next),
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

/** `Record` of the service model. */
export function recordViews(
  records: readonly LogRecord[],
  shard: ShardDescription,
  stream: StreamDescription,
): readonly object[] {
  const numbers = new SequenceNumbers(shard);
  const EncryptionType = attributeOf(stream, 'encryption') === null ? undefined : 'KMS';
  return records.map(({ sequence, arrivalMs, data, partitionKey }) => ({
    SequenceNumber: numbers.of(sequence, arrivalMs),
    ApproximateArrivalTimestamp: new Date(arrivalMs),
    Data: data,
    PartitionKey: partitionKey,
    EncryptionType,
  }));
}

export function dataBytes(records: readonly LogRecord[]): number {
  let bytes = 0;
  for (const { data } of records) bytes += data.length;
  return bytes;
}
