/**
 * The calls of a transform: which records go into one, and what is said in it
 * (docs.aws.amazon.com/firehose/latest/dev/data-transformation.html). How the records come divided
 * has no part in it: the same records make the same calls.
 */
import { setImmediate } from 'node:timers/promises';
import { SequenceNumbers, shardIdOf } from '../../api/kinesis/sequence-numbers.ts';
import type { ShapedRecord } from '../shape/shaped-record.ts';
import { uuidV5 } from '../uuid.ts';
import type { TransformContext } from './transform.ts';

/** Changing it would give every call another id. */
const namespace = 'b2b2a3f5-6d0e-4c3e-9a41-0f6f0d6a5c11';
/** After which others have their turn. */
const pieceBytes = 256 * 1024;

/** A record with what is said of it. */
export interface Entry {
  readonly record: ShapedRecord;
  /** As Firehose makes them: the sequence number, and which part of it. */
  readonly id: string;
  /** JSON; null: it is too large for any call. */
  readonly text: string | null;
  readonly bytes: number;
}

export interface Call {
  readonly id: string;
  readonly entries: readonly Entry[];
}

export interface BatchLimits {
  /** Of data in a call, before Base64. */
  readonly batchBytes: number;
  readonly payloadBytesMax: number;
}

/** A record that is too large for any call comes in a call of its own. */
export async function* callsOf(
  records: AsyncIterable<readonly ShapedRecord[]>,
  context: TransformContext,
  { batchBytes, payloadBytesMax }: BatchLimits,
): AsyncGenerator<Call> {
  const numbers = new SequenceNumbers(context.shard);
  const shardId = shardIdOf(context.shard.index);
  const emptyBytes = payloadOf('0'.repeat(36), [], context).length;
  let entries: Entry[] = [];
  let dataBytes = 0;
  // Each record is counted with a comma before it, which the first one has not.
  let payloadBytes = emptyBytes - 1;
  let sincePause = 0;
  const take = (): Call => {
    const call = { id: callId(context, entries), entries };
    entries = [];
    dataBytes = 0;
    payloadBytes = emptyBytes - 1;
    return call;
  };
  for await (const some of records) {
    for (const record of some) {
      const sequenceNumber = numbers.of(record.sequence, record.arrivalMs);
      const entry = entryOf({ record, sequenceNumber }, shardId, payloadBytesMax - emptyBytes);
      const bytes = entry.bytes + 1;
      const isFull =
        dataBytes + record.data.length > batchBytes || payloadBytes + bytes > payloadBytesMax;
      if (isFull && entries.length > 0) yield take();
      entries.push(entry);
      dataBytes += record.data.length;
      payloadBytes += bytes;
      if (entry.text === null) yield take();
      sincePause += record.data.length;
      if (sincePause < pieceBytes) continue;
      sincePause = 0;
      await setImmediate();
    }
  }
  if (entries.length > 0) yield take();
}

/** @param entries those of a call, or some of them when it is made again */
export function payloadOf(
  invocationId: string,
  entries: readonly Entry[],
  { deliveryStreamArn, sourceStreamArn, region }: TransformContext,
): Buffer {
  const about = {
    invocationId,
    deliveryStreamArn,
    sourceKinesisStreamArn: sourceStreamArn,
    region,
  };
  const records = entries.map(({ text }) => text).join(',');
  return Buffer.from(`${JSON.stringify(about).slice(0, -1)},"records":[${records}]}`);
}

/** Put together by hand: JSON.stringify takes several times as long, and there are many. */
function entryOf(
  { record, sequenceNumber }: { readonly record: ShapedRecord; readonly sequenceNumber: string },
  shardId: string,
  maxBytes: number,
): Entry {
  const { subSequence, partitionKey, arrivalMs, data } = record;
  const id = `${sequenceNumber}${String(subSequence).padStart(6, '0')}`;
  const key = JSON.stringify(partitionKey);
  const metadata = `{"sequenceNumber":"${sequenceNumber}","subsequenceNumber":${subSequence},"partitionKey":${key},"shardId":"${shardId}","approximateArrivalTimestamp":${arrivalMs}}`;
  const about = `{"recordId":"${id}","approximateArrivalTimestamp":${arrivalMs},"kinesisRecordMetadata":${metadata},"data":"`;
  // All the rest of it is ASCII.
  const keyBytes = Buffer.byteLength(key) - key.length;
  const bytes = about.length + keyBytes + 4 * Math.ceil(data.length / 3) + 2;
  // Before it takes any memory.
  const text = bytes > maxBytes ? null : `${about}${data.toString('base64')}"}`;
  return { record, id, text, bytes };
}

function callId({ planId }: TransformContext, [first]: readonly Entry[]): string {
  return uuidV5(namespace, JSON.stringify([planId, first?.id]));
}
