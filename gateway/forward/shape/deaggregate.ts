/**
 * Several records out of one, as producers pack them: aggregates of the Kinesis Producer Library,
 * JSON objects one after the other (with or without line breaks between them), or texts with a
 * delimiter.
 *
 * What is no KPL aggregate goes on as it is. A record of something else than JSON objects fails
 * whole, and so does one of more than 500 (Firehose's limit): nothing of it has been sent then.
 */
import { deaggregate as takeApart } from '../../kpl/deaggregate.ts';
import { isObject, QueryError } from '../query/values.ts';
import { parseJson } from './record-json.ts';
import type { FailedRecord, ShapedRecord } from './shaped-record.ts';

export type Deaggregation =
  | { readonly type: 'none' | 'kpl' | 'json' }
  | { readonly type: 'delimited'; readonly delimiter: string };

/** Of JSON objects, or of delimited texts, in a record: Firehose's limit. */
export const partsMax = 500;
/** In an aggregate; one of more is no longer taken for one. */
const aggregatedMax = 100_000;

const byte = { quote: 0x22, backslash: 0x5c, open: 0x7b, close: 0x7d } as const;
const spaces: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** The records in a record, in order; none when there is nothing between its delimiters. */
export function deaggregation(
  how: Deaggregation,
): (record: ShapedRecord) => readonly ShapedRecord[] | FailedRecord {
  switch (how.type) {
    case 'none':
      return (record) => [record];
    case 'kpl':
      return fromAggregate;
    case 'json':
      return (record) => parts(record, jsonObjects);
    case 'delimited': {
      const delimiter = Buffer.from(how.delimiter);
      return (record) => parts(record, (data) => delimited(data, delimiter));
    }
  }
}

function fromAggregate(record: ShapedRecord): readonly ShapedRecord[] {
  const inside = takeApart(record.data, aggregatedMax);
  if (inside === null) return [record];
  return inside.map(({ partitionKey, explicitHashKey, data }, subSequence) => ({
    ...record,
    partitionKey,
    ...(explicitHashKey !== undefined && { explicitHashKey: String(explicitHashKey) }),
    data,
    subSequence,
  }));
}

function parts(
  record: ShapedRecord,
  cut: (data: Buffer) => Iterable<Buffer>,
): readonly ShapedRecord[] | FailedRecord {
  const records: ShapedRecord[] = [];
  try {
    for (const data of cut(record.data)) {
      if (records.length === partsMax) throw new QueryError(`it holds more than ${partsMax}`);
      records.push({ ...record, data, subSequence: records.length });
    }
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    return {
      record,
      stage: 'processing-failed',
      errorCode: 'Deaggregation.Failed',
      errorMessage: `The record can't be taken apart: ${error.message}.`,
      attempts: 1,
    };
  }
  return records;
}

function* delimited(data: Buffer, delimiter: Buffer): Generator<Buffer> {
  for (let at = 0; at < data.length;) {
    const found = data.indexOf(delimiter, at);
    const end = found < 0 ? data.length : found;
    if (end > at) yield data.subarray(at, end);
    at = end + delimiter.length;
  }
}

function* jsonObjects(data: Buffer): Generator<Buffer> {
  for (let at = 0; ;) {
    while (spaces.has(data[at] ?? -1)) at += 1;
    if (at >= data.length) return;
    const end = endOfObject(data, at);
    const object = data.subarray(at, end);
    const value = parseJson(object);
    if (value === undefined || !isObject(value)) {
      throw new QueryError(`no JSON object begins at byte ${at}`);
    }
    yield object;
    at = end;
  }
}

/** Behind the brace that closes what is opened first; the end of all when none does. */
function endOfObject(data: Buffer, start: number): number {
  let depth = 0;
  let isText = false;
  for (let at = start; at < data.length; at += 1) {
    const each = data[at];
    if (isText) {
      if (each === byte.backslash) at += 1;
      else if (each === byte.quote) isText = false;
    } else if (each === byte.quote) isText = true;
    else if (each === byte.open) depth += 1;
    else if (each === byte.close) {
      depth -= 1;
      if (depth <= 0) return at + 1;
    }
  }
  return data.length;
}
