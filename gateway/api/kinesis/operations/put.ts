/**
 * PutRecord and PutRecords. What is acknowledged is on disk; a record that its shard has no room for
 * now (throttling.ts) fails alone, and all the others of the call are committed together. Aggregates
 * are held against every limit as they came; what becomes of them then: unpacking.ts.
 */
import type { RecordInput, StreamDescription } from '../../../../storage/model.ts';
import { hashKeyMax } from '../../../../storage/log/hash-keys.ts';
import { KinesisError, invalidArgument } from '../errors.ts';
import { hashKey, partitionKey, sequenceNumber, streamTarget } from '../members.ts';
import { defineOperation, type KinesisContext } from '../operation.ts';
import { parseSequenceNumber, shardIdOf } from '../sequence-numbers.ts';
import {
  blob,
  failedConstraint,
  list,
  optional,
  required,
  structure,
  validationError,
} from '../../aws/shapes.ts';
import { Places } from '../places.ts';
import { ShardRouter } from '../shard-router.ts';
import { attributeOf } from '../stream-attributes.ts';
import { streamDataResources, streamNameOf, usableStream } from '../targets.ts';
import { appendUnpacked } from '../unpacking.ts';

const MiB = 2 ** 20;
const callBytesMax = 10 * MiB;

const data = blob({ max: 10 * MiB });

const entry = structure({
  PartitionKey: required(partitionKey),
  ExplicitHashKey: optional(hashKey),
  Data: required(data),
});

interface Entry {
  readonly PartitionKey: string;
  readonly ExplicitHashKey?: string;
  readonly Data: Buffer;
}

export const putRecord = defineOperation({
  name: 'PutRecord',
  input: structure({
    SequenceNumberForOrdering: optional(sequenceNumber),
    PartitionKey: required(partitionKey),
    ExplicitHashKey: optional(hashKey),
    Data: required(data),
    ...streamTarget,
  }),
  resources: (input, context) =>
    streamDataResources(streamNameOf(input, context), 'kms:GenerateDataKey', context),
  async run(input, context) {
    const stream = usableStream(input, context);
    const record = recordOf(input);
    checkRecordSizes(stream, [input], () => 'data');
    checkOrdering(input.SequenceNumberForOrdering, stream, context);
    const throttled = throttle(stream, [record], context)[0];
    if (throttled !== undefined && throttled !== null) {
      throw new KinesisError('ProvisionedThroughputExceededException', throttled);
    }
    const [place] = await appendUnpacked(context.log, stream, [record]);
    if (place === undefined) throw new Error('an append without a place');
    const { ShardId, SequenceNumber } = Places.of(context.log).show(place);
    return { ShardId, SequenceNumber, EncryptionType: encryptionOf(stream) };
  },
});

export const putRecords = defineOperation({
  name: 'PutRecords',
  input: structure({
    Records: required(
      list(entry, {
        ...{ min: 1, max: 500 },
        shownMember: 'com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310',
      }),
    ),
    ...streamTarget,
  }),
  resources: (input, context) =>
    streamDataResources(streamNameOf(input, context), 'kms:GenerateDataKey', context),
  async run(input, context) {
    const stream = usableStream(input, context);
    const records = input.Records.map(recordOf);
    checkRecordSizes(stream, input.Records, (index) => `records.${index + 1}.member.data`);
    checkCallSize(input.Records);
    const failures = throttle(stream, records, context);
    const taken = records.filter((_, index) => (failures[index] ?? null) === null);
    const places = taken.length === 0 ? [] : await appendUnpacked(context.log, stream, taken);
    const shown = Places.of(context.log);
    let next = 0;
    const Records = records.map((_, index) => {
      const failure = failures[index] ?? null;
      if (failure !== null) {
        return { ErrorCode: 'ProvisionedThroughputExceededException', ErrorMessage: failure };
      }
      const place = places[next];
      next += 1;
      if (place === undefined) throw new Error('an append with too few places');
      return shown.show(place);
    });
    return {
      FailedRecordCount: records.length - taken.length,
      Records,
      EncryptionType: encryptionOf(stream),
    };
  },
});

function encryptionOf(stream: StreamDescription): 'KMS' | undefined {
  return attributeOf(stream, 'encryption') === null ? undefined : 'KMS';
}

function recordOf({ PartitionKey, ExplicitHashKey, Data }: Entry): RecordInput {
  const record = { partitionKey: PartitionKey, data: Data };
  if (ExplicitHashKey === undefined) return record;
  const explicitHashKey = BigInt(ExplicitHashKey);
  if (explicitHashKey > hashKeyMax) {
    throw invalidArgument(
      'Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. ' +
        `Specified value was ${ExplicitHashKey}`,
    );
  }
  return { ...record, explicitHashKey };
}

/** Holds each record against the limit of its stream. @throws KinesisError `ValidationException` */
function checkRecordSizes(
  stream: StreamDescription,
  entries: readonly Entry[],
  pathOf: (index: number) => string,
): void {
  const dataBytesMax = attributeOf(stream, 'maxRecordKiB') * 1024;
  const errors: string[] = [];
  for (const [
    index,
    {
      Data: { length },
    },
  ] of entries.entries()) {
    if (length <= dataBytesMax || errors.length >= 10) continue;
    const shown = `java.nio.HeapByteBuffer[pos=0 lim=${length} cap=${length}]`;
    const constraint = `Member must have length less than or equal to ${dataBytesMax}`;
    errors.push(failedConstraint(shown, pathOf(index), constraint));
  }
  if (errors.length > 0) throw validationError(errors);
}

/** @throws KinesisError `InvalidArgumentException` */
function checkCallSize(entries: readonly Entry[]): void {
  let bytes = 0;
  for (const { Data, PartitionKey } of entries) {
    bytes += Data.length + Buffer.byteLength(PartitionKey);
  }
  if (bytes > callBytesMax) throw invalidArgument('Records size exceeds 10 MB limit');
}

/** @throws KinesisError `InvalidArgumentException` */
function checkOrdering(
  text: string | undefined,
  stream: StreamDescription,
  { clock, account }: KinesisContext,
): void {
  if (text === undefined) return;
  const number = parseSequenceNumber(text);
  if (number !== null && number.arrivalSeconds * 1000 <= clock.nowMs()) return;
  throw invalidArgument(
    `ExclusiveMinimumSequenceNumber ${text} used in PutRecord on stream ${stream.name} under ` +
      `account ${account.accountId} is invalid.`,
  );
}

/** Why each record can't be taken now; null or nothing where it can, and was counted. */
function throttle(
  stream: StreamDescription,
  records: readonly RecordInput[],
  { limits, account, metering }: KinesisContext,
): readonly (string | null)[] {
  if (limits === null || stream.mode !== 'provisioned') return [];
  const router = new ShardRouter(stream.shards);
  return records.map((record) => {
    const shard = router.shardOf(record);
    const bytes = record.data.length + Buffer.byteLength(record.partitionKey);
    if (limits.takeRecord(shard.id, bytes)) return null;
    metering.throttled(stream, shard.index, 'Write');
    return (
      `Rate exceeded for shard ${shardIdOf(shard.index)} in stream ${stream.name} ` +
      `under account ${account.accountId}.`
    );
  });
}
