/** Takes aggregated records apart with protobufjs, from the schema as AWS publishes it. */
import { createHash } from 'node:crypto';
import protobuf from 'protobufjs';

const { root } = protobuf.parse(`
  syntax = "proto2";
  message AggregatedRecord {
    repeated string partition_key_table     = 1;
    repeated string explicit_hash_key_table = 2;
    repeated Record records                 = 3;
  }
  message Tag {
    required string key   = 1;
    optional string value = 2;
  }
  message Record {
    required uint64 partition_key_index     = 1;
    optional uint64 explicit_hash_key_index = 2;
    required bytes  data                    = 3;
    repeated Tag    tags                    = 4;
  }
`);
const message = root.lookupType('AggregatedRecord');
const magic = Buffer.from('f3899ac2', 'hex');

export interface UserRecord {
  readonly key: string;
  readonly data: Buffer;
}

/** The records in it; null when it is a plain one. Throws for one that only looks aggregated. */
export function deaggregate(data: Buffer): UserRecord[] | null {
  if (!data.subarray(0, 4).equals(magic)) return null;
  const body = data.subarray(4, -16);
  if (!createHash('md5').update(body).digest().equals(data.subarray(-16))) {
    throw new Error('the checksum is wrong');
  }
  const decoded = message.toObject(message.decode(body), { longs: Number, bytes: Buffer }) as {
    partitionKeyTable: string[];
    records: { partitionKeyIndex: number; data: Buffer }[];
  };
  const used = new Set(decoded.records.map(({ partitionKeyIndex }) => partitionKeyIndex));
  if (used.size !== decoded.partitionKeyTable.length) throw new Error('a key that nobody uses');
  return decoded.records.map((record) => ({
    key: decoded.partitionKeyTable[record.partitionKeyIndex]!,
    data: record.data,
  }));
}
