/**
 * PutRecord and PutRecordBatch: records into the stream that a delivery stream is read from, on disk
 * when they are answered. A record's id says where it lies there: `<shard>:<sequence number>`, as the
 * Kinesis API names them.
 */
import { randomUUID } from 'node:crypto';
import { StorageError } from '../../../../storage/errors.ts';
import type { RecordPlace } from '../../../../storage/model.ts';
import { blob, list, required, structure } from '../../aws/shapes.ts';
import { Places } from '../../kinesis/places.ts';
import type { DeliveryStream } from '../delivery-streams.ts';
import { invalid, toFirehoseError } from '../errors.ts';
import { target } from '../members.ts';
import { defineOperation, ownStream, type FirehoseContext } from '../operation.ts';

const recordBytesMax = 1000 * 1024;
const batchBytesMax = 4 * 2 ** 20;
const recordsMax = 500;

const record = structure({ Data: required(blob({ max: recordBytesMax })) });

export const putRecord = defineOperation({
  name: 'PutRecord',
  input: structure({ ...target, Record: required(record) }),
  resources: ownStream,
  async run({ DeliveryStreamName, Record: { Data } }, context) {
    const stream = directStream(DeliveryStreamName, context);
    const [place] = await append(stream, [Data], context);
    if (place === undefined) throw new Error('an append without a place');
    return { RecordId: recordId(place, context), Encrypted: stream.encryption !== null };
  },
});

export const putRecordBatch = defineOperation({
  name: 'PutRecordBatch',
  input: structure({
    ...target,
    Records: required(list(record, { min: 1, max: recordsMax, shownMember: 'Record' })),
  }),
  resources: ownStream,
  async run({ DeliveryStreamName, Records }, context) {
    const stream = directStream(DeliveryStreamName, context);
    const bytes = Records.reduce((sum, { Data }) => sum + Data.length, 0);
    if (bytes > batchBytesMax) throw invalid('Records size exceeds 4 MB limit');
    const Encrypted = stream.encryption !== null;
    let places: readonly RecordPlace[];
    try {
      const all = Records.map(({ Data }) => Data);
      places = await append(stream, all, context);
    } catch (thrown) {
      // What the client may repeat is said of each record, as the service does.
      const { type, message } = toFirehoseError(thrown);
      if (type !== 'ServiceUnavailableException') throw thrown;
      const failed = Records.map(() => ({ ErrorCode: type, ErrorMessage: message }));
      return { FailedPutCount: failed.length, Encrypted, RequestResponses: failed };
    }
    return {
      FailedPutCount: 0,
      Encrypted,
      RequestResponses: places.map((place) => ({ RecordId: recordId(place, context) })),
    };
  },
});

/** @throws FirehoseError `ResourceNotFoundException`, `InvalidArgumentException` */
function directStream(name: string, { streams }: FirehoseContext): DeliveryStream {
  const stream = streams.usable(name);
  if (stream.type === 'DirectPut') return stream;
  throw invalid('This operation is not permitted on KinesisStreamAsSource delivery stream type.');
}

/** All or none, each under a key of its own, so that they spread over the shards. @throws StorageError */
async function append(
  stream: DeliveryStream,
  data: readonly Buffer[],
  { log, streams }: FirehoseContext,
): Promise<readonly RecordPlace[]> {
  const records = data.map((one) => ({ partitionKey: randomUUID(), data: one }));
  try {
    return await log.append(stream.source, records);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'not-found') throw error;
    // Somebody has deleted the stream: with another API that is allowed.
    await streams.restoreSource(stream);
    return log.append(stream.source, records);
  }
}

function recordId(place: RecordPlace, { log }: FirehoseContext): string {
  const { ShardId, SequenceNumber } = Places.of(log).show(place);
  return `${ShardId}:${SequenceNumber}`;
}
