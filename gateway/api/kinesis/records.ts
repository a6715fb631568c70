/** Records as clients are shown them. */
import type { LogRecord, ShardDescription, StreamDescription } from '../../../storage/model.ts';
import { SequenceNumbers } from './sequence-numbers.ts';
import { attributeOf } from './stream-attributes.ts';

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
