/** Records as clients are shown them. */
import type { LogRecord, ShardDescription, StreamDescription } from '../../../storage/model.ts';
import { SequenceNumbers } from './sequence-numbers.ts';
import { attributeOf } from './stream-attributes.ts';
import type { MadeList } from './wire.ts';

/** `Record` of the service model. */
export function recordViews(
  records: readonly LogRecord[],
  shard: ShardDescription,
  stream: StreamDescription,
): MadeList {
  const numbers = new SequenceNumbers(shard);
  const EncryptionType = attributeOf(stream, 'encryption') === null ? undefined : 'KMS';
  return {
    length: records.length,
    make(index) {
      const record = records[index];
      if (record === undefined) throw new RangeError(`there is no record ${index}`);
      const { sequence, arrivalMs, data, partitionKey } = record;
      return {
        SequenceNumber: numbers.of(sequence, arrivalMs),
        ApproximateArrivalTimestamp: new Date(arrivalMs),
        Data: data,
        PartitionKey: partitionKey,
        EncryptionType,
      };
    },
    dataBytes: dataBytes(records),
  };
}

export function dataBytes(records: readonly LogRecord[]): number {
  let bytes = 0;
  for (const { data } of records) bytes += data.length;
  return bytes;
}
