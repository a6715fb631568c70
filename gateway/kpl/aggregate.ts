/**
 * Many records in one Kinesis record, in the format of the Kinesis Producer Library, which the KCL
 * and AWS's deaggregation modules take apart again:
 *
 *     F3 89 9A C2 · AggregatedRecord (protobuf, proto2) · MD5 of the protobuf (16 bytes)
 *
 *     message AggregatedRecord {
 *       repeated string partition_key_table = 1;
 *       repeated string explicit_hash_key_table = 2;
 *       repeated Record records = 3;
 *     }
 *     message Record {
 *       required uint64 partition_key_index = 1;
 *       optional uint64 explicit_hash_key_index = 2;
 *       required bytes data = 3;
 *       repeated Tag tags = 4;                         // neither written nor read
 *     }
 *
 * (awslabs/amazon-kinesis-producer, aggregation-format.md.) A record that is alone goes as it is,
 * as the KPL does it: aggregation would only make it larger.
 *
 * Which records may share an aggregate: `forward/sinks/kinesis/upstream-shards.ts`. The way back:
 * `deaggregate.ts`.
 */
import { createHash } from 'node:crypto';
import type { OutgoingRecord, Packed } from '../forward/sink.ts';

export const magic = Buffer.of(0xf3, 0x89, 0x9a, 0xc2);
export const checksumBytes = 16;

/** Protobuf field numbers with their wire types, as they stand on the wire. */
const tags = {
  ...{ key: 0x0a, hashKey: 0x12, record: 0x1a },
  ...{ keyIndex: 0x08, hashKeyIndex: 0x10, data: 0x1a },
} as const;

/** The keys of an aggregate's records, by their places in its tables. */
interface Tables {
  readonly keys: Map<string, number>;
  readonly hashKeys: Map<string, number>;
}

/**
 * Packs as many of the records, from the first on, as make no more than `maxBytes` together with
 * the partition key. The first is taken whatever its size; partition key and hash key are its own.
 */
export function aggregate(records: readonly OutgoingRecord[], maxBytes: number): Packed {
  const [first] = records;
  if (first === undefined) throw new Error('nothing to pack');
  const tables: Tables = { keys: new Map(), hashKeys: new Map() };
  let bytes = magic.length + checksumBytes + Buffer.byteLength(first.partitionKey);
  let count = 0;
  for (const record of records) {
    const size = fieldBytes(recordBytes(record, tables)) + newKeyBytes(record, tables);
    if (count > 0 && bytes + size > maxBytes) break;
    note(record, tables);
    bytes += size;
    count += 1;
  }
  if (count === 1) return { count, record: first };
  const data = encode(records.slice(0, count), tables, bytes);
  return { count, record: { ...first, data } };
}

/** Of the entries of the tables that the record is the first to need. */
function newKeyBytes({ partitionKey, explicitHashKey }: OutgoingRecord, tables: Tables): number {
  const key = tables.keys.has(partitionKey) ? 0 : fieldBytes(Buffer.byteLength(partitionKey));
  if (explicitHashKey === undefined || tables.hashKeys.has(explicitHashKey)) return key;
  return key + fieldBytes(explicitHashKey.length);
}

function note({ partitionKey, explicitHashKey }: OutgoingRecord, tables: Tables): void {
  const { keys, hashKeys } = tables;
  if (!keys.has(partitionKey)) keys.set(partitionKey, keys.size);
  if (explicitHashKey === undefined || hashKeys.has(explicitHashKey)) return;
  hashKeys.set(explicitHashKey, hashKeys.size);
}

function encode(records: readonly OutgoingRecord[], tables: Tables, maxBytes: number): Buffer {
  const writer = new Writer(maxBytes);
  writer.bytes(magic);
  for (const key of tables.keys.keys()) {
    writer.byte(tags.key);
    writer.varint(Buffer.byteLength(key));
    writer.text(key);
  }
  for (const hashKey of tables.hashKeys.keys()) {
    writer.byte(tags.hashKey);
    writer.varint(hashKey.length);
    writer.text(hashKey);
  }
  for (const record of records) {
    const { partitionKey, explicitHashKey, data } = record;
    writer.byte(tags.record);
    writer.varint(recordBytes(record, tables));
    writer.byte(tags.keyIndex);
    writer.varint(indexIn(tables.keys, partitionKey));
    if (explicitHashKey !== undefined) {
      writer.byte(tags.hashKeyIndex);
      writer.varint(indexIn(tables.hashKeys, explicitHashKey));
    }
    writer.byte(tags.data);
    writer.varint(data.length);
    writer.bytes(data);
  }
  const message = writer.written.subarray(magic.length);
  writer.bytes(createHash('md5').update(message).digest());
  return writer.written;
}

/** Of a Record message. */
function recordBytes(
  { partitionKey, explicitHashKey, data }: OutgoingRecord,
  { keys, hashKeys }: Tables,
): number {
  const key = 1 + varintBytes(indexIn(keys, partitionKey));
  const hashKey =
    explicitHashKey === undefined ? 0 : 1 + varintBytes(indexIn(hashKeys, explicitHashKey));
  return key + hashKey + fieldBytes(data.length);
}

/** What is not there yet comes next. */
function indexIn(table: ReadonlyMap<string, number>, key: string): number {
  return table.get(key) ?? table.size;
}

/** Of a field with its tag and its length. */
function fieldBytes(contentBytes: number): number {
  return 1 + varintBytes(contentBytes) + contentBytes;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes += 1;
  return bytes;
}

class Writer {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(maxBytes: number) {
    this.#buffer = Buffer.allocUnsafe(maxBytes);
  }

  get written(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  byte(value: number): void {
    this.#buffer[this.#at] = value;
    this.#at += 1;
  }

  varint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.byte((rest % 0x80) + 0x80);
    this.byte(rest);
  }

  bytes(value: Buffer): void {
    this.#at += value.copy(this.#buffer, this.#at);
  }

  text(value: string): void {
    this.#at += this.#buffer.write(value, this.#at);
  }
}
