/**
 * Records into a Kinesis data stream, or a server that speaks Kinesis: one PutRecords per call.
 *
 * PutRecords takes some of the records and leaves others, in any combination, and says which;
 * keeping order in the face of that is the worker's part (`record-stream.ts`, `in-batches.ts`).
 *
 * With `aggregate: kpl` the worker packs records by upstream shard. One that was taken by another
 * shard than it was packed for is reported as `moved`: consumers drop what is in it, so it is packed
 * and sent again.
 */
import { KinesisClient, PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { SinkError, type OutgoingRecord, type Packing, type RecordSink } from '../../sink.ts';
import { AwsClient, outcomeError, type AwsOptions } from '../aws.ts';
import { aggregate } from '../../../kpl/aggregate.ts';
import { UpstreamShards } from './upstream-shards.ts';

export interface KinesisSinkOptions extends AwsOptions {
  readonly stream: string;
  /** `kpl`: many records in one, in the format of the Kinesis Producer Library. Default `none`. */
  readonly aggregate?: 'none' | 'kpl';
  /** What the stream takes in a record, its key included. Default 1 MiB. */
  readonly maxRecordBytes?: number;
}

export function kinesisSink(options: KinesisSinkOptions): RecordSink {
  const client = new AwsClient('kinesis', options, (config) => new KinesisClient(config));
  return {
    kind: 'kinesis',
    description: `kinesis:${options.stream}`,
    // PutRecords: 500 records and 5 MiB a call; a larger record goes by itself.
    limits: {
      ...{ records: 500, bytes: 5 * 1024 ** 2 },
      recordBytes: options.maxRecordBytes ?? 1024 ** 2,
    },
    ...(options.aggregate === 'kpl' && {
      learnPacking: (signal) => packingFor(client, options.stream, signal),
    }),
    send: (records, signal) => putRecords(client, options.stream, records, signal),
    close: () => {
      client.close();
      return Promise.resolve();
    },
  };
}

async function packingFor(
  client: AwsClient<KinesisClient>,
  stream: string,
  signal: AbortSignal,
): Promise<Packing> {
  const shards = await UpstreamShards.list(client, stream, signal);
  return {
    groupOf: (record) => shards.shardOf(record),
    pack: (group, records, maxBytes) => {
      const { count, record } = aggregate(records, maxBytes);
      return { count, record: count === 1 ? record : { ...record, group } };
    },
  };
}

async function putRecords(
  client: AwsClient<KinesisClient>,
  stream: string,
  records: readonly OutgoingRecord[],
  signal: AbortSignal,
): Promise<readonly (SinkError | null)[]> {
  const answer = await client.call(signal, (service, abortSignal) =>
    service.send(
      new PutRecordsCommand({
        StreamName: stream,
        Records: records.map(({ partitionKey, explicitHashKey, data }) => ({
          PartitionKey: partitionKey,
          ...(explicitHashKey !== undefined && { ExplicitHashKey: explicitHashKey }),
          Data: data,
        })),
      }),
      { abortSignal },
    ),
  );
  const outcomes = answer.Records ?? [];
  if (outcomes.length !== records.length) {
    throw new SinkError(
      'unavailable',
      `an answer for ${outcomes.length} of ${records.length} records`,
    );
  }
  return outcomes.map((outcome, index) => {
    if (outcome.ErrorCode !== undefined) {
      return outcomeError('kinesis', outcome.ErrorCode, outcome.ErrorMessage ?? '');
    }
    // A record that was taken has a number; anything else is no acknowledgement.
    if (outcome.SequenceNumber === undefined) {
      return new SinkError('unavailable', 'an outcome without a sequence number');
    }
    const group = records[index]?.group;
    if (group === undefined || group === outcome.ShardId) return null;
    return new SinkError('moved', `${stream} was resharded: packed for ${group}`);
  });
}
