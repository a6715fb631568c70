/**
 * Records as lines of newline-delimited JSON. Every record becomes exactly one line.
 *
 * `data` (what users of Firehose expect): data that is JSON stands on the line as it came, byte for
 * byte; its line breaks, which JSON allows only between tokens, become spaces. Nothing is parsed
 * and printed again, so numbers keep their digits and objects their order. Other data becomes
 * `{"data":"<base64>"}`.
 *
 * `envelope`: `{"shard","sequence","partitionKey","arrival","data"}`, `data` being the JSON as
 * above; for other data `"dataBase64":"<base64>"` in its place. Of several records that were made
 * from one, all but the first have `"subSequence"` behind the sequence number.
 */
import type { LogRecord } from '../../../storage/model.ts';
import { jsonText } from './json-text.ts';

export type RecordFormat = 'data' | 'envelope';

/** A record of the log, or what a delivery has made of one. */
export interface LineRecord extends LogRecord {
  readonly subSequence?: number;
  /** Of one that is sent again: its envelope says where it was at first. */
  readonly origin?: { shardIndex: number; sequence: number; subSequence: number };
}

/** What is known of a record beside its data. */
export interface EnvelopeHead {
  readonly shard: string;
  readonly sequence: number;
  readonly subSequence?: number;
  readonly partitionKey: string;
  /** ISO 8601, UTC. */
  readonly arrival: string;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const lineEnd = Buffer.of(lineFeed);

/** The record's line, its line feed included, in pieces to be written one after the other. */
export function recordLine(record: LineRecord, format: RecordFormat, shardIndex: number): Buffer[] {
  const json = asJsonOnOneLine(record.data);
  if (format === 'data') {
    if (json !== null) return [json, lineEnd];
    return [Buffer.from(`{"data":"${record.data.toString('base64')}"}\n`)];
  }
  const head = JSON.stringify(envelopeHead(record, shardIndex)).slice(0, -1);
  if (json !== null) return [Buffer.from(`${head},"data":`), json, Buffer.from('}\n')];
  return [Buffer.from(`${head},"dataBase64":"${record.data.toString('base64')}"}\n`)];
}

export function envelopeHead(record: Omit<LineRecord, 'data'>, shardIndex: number): EnvelopeHead {
  const { partitionKey, arrivalMs } = record;
  const place = record.origin ?? { ...record, shardIndex };
  const { sequence, subSequence = 0 } = place;
  return {
    shard: `shardId-${String(place.shardIndex).padStart(12, '0')}`,
    sequence,
    ...(subSequence > 0 && { subSequence }),
    partitionKey,
    arrival: new Date(arrivalMs).toISOString(),
  };
}

/** About how long the record's line will be, without looking into its data. */
export function lineBytesEstimate(record: LogRecord, format: RecordFormat): number {
  const envelope = format === 'envelope' ? 110 + record.partitionKey.length : 0;
  return record.data.length + envelope + 1;
}

function asJsonOnOneLine(data: Buffer): Buffer | null {
  const found = jsonText(data);
  if (found === 'none') return null;
  if (found === 'one-line') return data;
  const line = Buffer.from(data);
  for (let index = 0; index < line.length; index += 1) {
    const byte = line[index];
    if (byte === lineFeed || byte === carriageReturn) line[index] = space;
  }
  let end = line.length;
  while (end > 0 && line[end - 1] === space) end -= 1;
  return line.subarray(0, end);
}
