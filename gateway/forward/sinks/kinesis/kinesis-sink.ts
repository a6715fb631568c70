/**
 * Records into a Kinesis data stream, or a server that speaks Kinesis: one PutRecords per call.
 *
 * PutRecords takes some of the records and leaves others, in any combination, and says which;
 * keeping order in the face of that is the worker's part (`record-stream.ts`).
 */
import { KinesisClient, PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { SinkError, type OutgoingRecord, type RecordSink } from '../../sink.ts';
import { awsCall, awsClientConfig, sinkErrorCodeOf, type AwsOptions } from '../aws.ts';

export interface KinesisSinkOptions extends AwsOptions {
  readonly stream: string;
}

export function kinesisSink(options: KinesisSinkOptions): RecordSink {
  const client = new KinesisClient(awsClientConfig(options));
  return {
    kind: 'kinesis',
    description: `kinesis:${options.stream}`,
    // PutRecords: 500 records and 5 MiB a call; a record, with its key, 1 MiB.
    limits: { records: 500, bytes: 5 * 1024 ** 2, recordBytes: 1024 ** 2 },
    send: (records, signal) => putRecords(client, options.stream, records, signal),
    close: () => {
      client.destroy();
      return Promise.resolve();
    },
  };
}

async function putRecords(
  client: KinesisClient,
  stream: string,
  records: readonly OutgoingRecord[],
  signal: AbortSignal,
): Promise<readonly (SinkError | null)[]> {
  const answer = await awsCall(signal, (abortSignal) =>
    client.send(
      new PutRecordsCommand({
        StreamName: stream,
        Records: records.map(({ partitionKey, data }) => ({
          PartitionKey: partitionKey,
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
  return outcomes.map((outcome) => {
    if (outcome.ErrorCode !== undefined) {
      return new SinkError(
        sinkErrorCodeOf(outcome.ErrorCode) ?? 'unavailable',
        `${outcome.ErrorCode}: ${outcome.ErrorMessage ?? ''}`,
      );
    }
    // A record that was taken has a number; anything else is no acknowledgement.
    if (outcome.SequenceNumber !== undefined) return null;
    return new SinkError('unavailable', 'an outcome without a sequence number');
  });
}
