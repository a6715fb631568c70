/**
 * The records of a delivery that can't go on, kept with the reason until somebody has them sent again:
 * in a stream of the log, `failed.<delivery>`, which every tool can read that reads streams.
 *
 * - A record of it is JSON: why it failed and where, where it was, and its data in Base64 as it was
 *   in the log (`FailedEnvelope`). One that would be too long is several, one behind the other.
 * - It is made when the first record fails, or with what keeps them in a bucket, and encrypted from
 *   when on the delivery's source is. It holds 256 MiB and 30 days; past that the oldest go, and are
 *   accounted for as lost.
 * - Records are appended in the transaction that completes their plan, or in one that notes how far
 *   that is done: a kill in between leaves none out, and doubles none.
 */
import { createHash } from 'node:crypto';
import { hashKeyMax } from '../../storage/log/hash-keys.ts';
import type { Log, LogRecord, RecordInput, StreamDescription } from '../../storage/model.ts';
import { applicationOf } from './applications.ts';
import type { Failure } from './shape/failures.ts';
import type { Reading } from './shape/source.ts';
import type { FailureStage, RecordOrigin, ShapedRecord } from './shape/shaped-record.ts';

const prefix = 'failed.';
const longestName = 128;
const retentionMs = 30 * 24 * 3_600_000;
const maxBytes = 256 * 1024 ** 2;
/** Up to where failed records were asked to be sent again. */
const replayAttribute = 'replay';
/** Whose records it was made for. */
const ownerAttribute = 'failed-of';
/** Of data in one record, before Base64; a record of a stream has at most 10 MiB. */
const partBytes = 6 * 1024 ** 2;

/** What else is kept of a record that failed, for those who read of it in a bucket. */
export interface FailedDetails {
  /** The function that it was given to, where that is one of Lambda. */
  readonly lambdaArn?: string;
  /** The index of OpenSearch that it was for. */
  readonly index?: string;
  /** What it would be called there. */
  readonly documentId?: string;
}

/** A record of `failed.<delivery>`, as JSON. */
export interface FailedEnvelope extends FailedDetails {
  readonly delivery: string;
  /** Where it went wrong, such as `processing-failed`. */
  readonly stage: string;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly attempts: number;
  readonly failedAt: string;
  /** The stream and the shard that it was in. */
  readonly stream: string;
  readonly streamCreated: string;
  readonly shard: string;
  readonly shardKey: number;
  /** Left out by releases that did not tell. */
  readonly shardCreated?: string;
  readonly sequence: number;
  /** Of a record that was taken out of another one: which of those it is. */
  readonly subSequence: number;
  /** It was taken out of another one, and is not taken apart again. */
  readonly separate: boolean;
  readonly partitionKey: string;
  readonly explicitHashKey?: string;
  readonly arrival: string;
  /** Of a record that is kept in several: which one of how many. */
  readonly part?: readonly [index: number, count: number];
  /** Base64. */
  readonly rawData: string;
}

/** The stream of a delivery's failed records. */
export function failedStreamOf(delivery: string): string {
  const name = `${prefix}${delivery}`;
  if (name.length <= longestName) return name;
  return `${prefix}${createHash('sha256').update(delivery).digest('hex')}`;
}

/** null: no record has failed yet. */
export function failedStream(log: Log, delivery: string): StreamDescription | null {
  const name = failedStreamOf(delivery);
  return log.streams().find((stream) => stream.name === name) ?? null;
}

/**
 * Makes the stream if it is not there, and has it encrypted if the source is by now; what else it is
 * stays.
 * @param source the stream that the delivery reads
 * @throws StorageError `not-found` when that is gone
 */
export async function ensureFailedStream(
  log: Log,
  delivery: string,
  source: string,
): Promise<StreamDescription> {
  const { encryption = 'none' } = log.stream(source);
  const there = failedStream(log, delivery);
  if (there !== null) {
    const isOwn = ownFailedStream(log, delivery) !== null;
    if (!isOwn || encryption === 'none' || there.encryption === encryption) return there;
    return log.updateStream(there.name, { encryption });
  }
  const made = await log.ensureStream({
    name: failedStreamOf(delivery),
    // One shard, so that they stay in their order, and the parts of one beside each other.
    ...{ shardCount: 1, mode: 'provisioned' },
    ...{ retentionMs, maxBytes, whenFull: 'drop-oldest', encryption },
  });
  await log.setAttribute(made.name, ownerAttribute, delivery);
  return made;
}

/**
 * Has the stream there before a record goes into it. The delivery begins with it, and so keeps its
 * records within its byte limit, if it is required.
 * @param source the stream that the delivery reads
 * @returns its name
 * @throws StorageError
 */
export async function beginFailedStream(
  log: Log,
  delivery: string,
  source: string,
): Promise<string> {
  const stream = await ensureFailedStream(log, delivery, source);
  const starts = stream.shards.map(({ id, trimSequence }) => ({
    source: { kind: 'shard', id } as const,
    position: trimSequence,
  }));
  if (replayedTo(log, delivery) === null) {
    await log.applications.begin(applicationOf(delivery), starts);
  }
  return stream.name;
}

/** Up to where failed records were sent again, and are no longer counted; null: nowhere yet. */
export function replayedTo(log: Log, delivery: string): number | null {
  const id = failedStream(log, delivery)?.shards[0]?.id;
  const application = log.applications.list().find(({ name }) => name === applicationOf(delivery));
  const lease = application?.leases.find(
    ({ source }) => source.kind === 'shard' && source.id === id,
  );
  return lease?.checkpoint ?? null;
}

/** The stream, if it was made for the delivery, or that put something there; null: it is another's. */
export function ownFailedStream(log: Log, delivery: string): StreamDescription | null {
  const stream = failedStream(log, delivery);
  const isOwn = stream?.attributes[ownerAttribute] === delivery;
  return isOwn || replayedTo(log, delivery) !== null ? stream : null;
}

/** How many wait to be sent again; parts count each. */
export async function failedCount(log: Log, delivery: string): Promise<number> {
  const shard = failedStream(log, delivery)?.shards[0];
  if (shard === undefined) return 0;
  const { records } = await log.backlog(shard.id, replayedTo(log, delivery) ?? shard.trimSequence);
  return records;
}

export interface NewestFailed {
  readonly atMs: number;
  /** In a sentence. */
  readonly reason: string;
}

/** For `NewestRecord`. */
export function newestFailed(record: LogRecord): NewestFailed | null {
  const envelope = parse(record);
  const atMs = Date.parse(envelope?.failedAt ?? '');
  return envelope === null || Number.isNaN(atMs) ? null : { atMs, reason: envelope.errorMessage };
}

/**
 * Asks for all that have failed by now to be sent again, for good: a restart goes on with it.
 * @returns how many that are
 * @throws StorageError
 */
export async function askForReplay(log: Log, delivery: string): Promise<number> {
  const stream = failedStream(log, delivery);
  const shard = stream?.shards[0];
  if (stream === null || shard === undefined) return 0;
  const records = await failedCount(log, delivery);
  if (records > 0) await log.setAttribute(stream.name, replayAttribute, shard.nextSequence);
  return records;
}

/** Up to where failed records are to be sent again; null: none are. */
export function replayEnd(log: Log, delivery: string): number | null {
  const asked = failedStream(log, delivery)?.attributes[replayAttribute];
  const end = typeof asked === 'number' ? asked : 0;
  return end > (replayedTo(log, delivery) ?? 0) ? end : null;
}

export interface FailedPlace {
  readonly delivery: string;
  readonly failedAtMs: number;
  /** What counts for records without an origin of their own. */
  readonly origin: Omit<RecordOrigin, 'sequence' | 'subSequence'>;
  readonly detailsOf: DetailsOf;
}

/** What is known of a record at the time that it fails. */
export type DetailsOf = (
  stage: FailureStage,
  origin: RecordOrigin,
  arrivalMs: number,
) => FailedDetails;

/** As it is appended. */
export function failedInputs(
  record: ShapedRecord,
  failure: Failure,
  place: FailedPlace,
): readonly RecordInput[] {
  const { partitionKey, explicitHashKey, data } = record;
  const { stage, errorCode, errorMessage, attempts } = failure;
  const { sequence, subSequence } = record;
  const { isSeparate } = place.origin;
  const origin = record.origin ?? { ...place.origin, sequence, subSequence };
  const head = {
    ...{ delivery: place.delivery, stage, errorCode, errorMessage, attempts },
    failedAt: new Date(place.failedAtMs).toISOString(),
    stream: origin.stream,
    streamCreated: new Date(origin.streamCreatedMs).toISOString(),
    shard: `shardId-${String(origin.shardIndex).padStart(12, '0')}`,
    shardKey: origin.shardId,
    ...(origin.shardCreatedMs !== undefined && {
      shardCreated: new Date(origin.shardCreatedMs).toISOString(),
    }),
    ...{ sequence: origin.sequence, subSequence: origin.subSequence },
    separate: isSeparate,
    partitionKey,
    ...(explicitHashKey !== undefined && { explicitHashKey }),
    arrival: new Date(record.arrivalMs).toISOString(),
    ...place.detailsOf(stage, origin, record.arrivalMs),
  };
  const count = Math.max(1, Math.ceil(data.length / partBytes));
  return Array.from({ length: count }, (_, index) => {
    const rawData = data.subarray(index * partBytes, (index + 1) * partBytes).toString('base64');
    const envelope: FailedEnvelope = {
      ...head,
      ...(count > 1 && { part: [index, count] as const }),
      rawData,
    };
    return { partitionKey, data: Buffer.from(JSON.stringify(envelope)) };
  });
}

/** A record has at most this many parts. */
export const partsMax = 2;

/** Reads failed records as what they were, for one plan that ends at `to`. */
export function readFailed(to: number): Reading {
  return joined(to, recordOf);
}

/**
 * Reads failed records, for one plan that ends at `to`. A record belongs to the plan in which its
 * first part lies: parts at the beginning of a range are of one that is done, and a record at its end
 * may reach beyond it by `partsMax - 1`.
 */
export function joined(
  to: number,
  make: (envelope: FailedEnvelope, sequence: number, data: Buffer) => ShapedRecord,
): Reading {
  let begun: { envelope: FailedEnvelope; sequence: number; parts: Buffer[] } | null = null;
  return (records) => {
    const found: ShapedRecord[] = [];
    for (const record of records) {
      const envelope = parse(record);
      // Somebody else may have written into the stream.
      if (envelope === null) continue;
      const [index, count] = envelope.part ?? [0, 1];
      if (index === 0 && record.sequence < to) {
        begun = { envelope, sequence: record.sequence, parts: [] };
      }
      if (begun?.parts.length !== index) {
        begun = null;
        continue;
      }
      begun.parts.push(Buffer.from(envelope.rawData, 'base64'));
      if (index < count - 1) continue;
      found.push(make(begun.envelope, begun.sequence, Buffer.concat(begun.parts)));
      begun = null;
    }
    return found;
  };
}

function recordOf(envelope: FailedEnvelope, sequence: number, data: Buffer): ShapedRecord {
  const { stream, shardKey: shardId, partitionKey, explicitHashKey } = envelope;
  return {
    ...{ sequence, subSequence: 0, partitionKey, data, partition: null },
    // Somebody else may have written it.
    ...(isHashKey(explicitHashKey) && { explicitHashKey }),
    arrivalMs: Date.parse(envelope.arrival),
    origin: {
      ...{ stream, shardId },
      streamCreatedMs: Date.parse(envelope.streamCreated),
      shardIndex: shardIndexOf(envelope),
      ...shardCreatedIn(envelope),
      sequence: envelope.sequence,
      subSequence: envelope.subSequence,
      isSeparate: envelope.separate,
    },
  };
}

export function shardIndexOf({ shard }: FailedEnvelope): number {
  return Number(shard.replace(/^\D*/, ''));
}

function shardCreatedIn({ shardCreated }: FailedEnvelope): Pick<RecordOrigin, 'shardCreatedMs'> {
  const shardCreatedMs = Date.parse(shardCreated ?? '');
  return Number.isNaN(shardCreatedMs) ? {} : { shardCreatedMs };
}

function isHashKey(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,39}$/.test(value) && BigInt(value) <= hashKeyMax;
}

function isPart(part: unknown): boolean {
  if (part === undefined) return true;
  return Array.isArray(part) && part.length === 2 && part.every(Number.isSafeInteger);
}

function parse({ data }: LogRecord): FailedEnvelope | null {
  try {
    const value = JSON.parse(data.toString('utf8')) as Partial<FailedEnvelope> | null;
    const isOne =
      typeof value?.rawData === 'string' &&
      typeof value.delivery === 'string' &&
      typeof value.partitionKey === 'string' &&
      typeof value.stream === 'string' &&
      typeof value.shard === 'string' &&
      typeof value.sequence === 'number' &&
      isPart(value.part) &&
      !Number.isNaN(Date.parse(value.streamCreated ?? '')) &&
      !Number.isNaN(Date.parse(value.arrival ?? ''));
    return isOne ? (value as FailedEnvelope) : null;
  } catch {
    return null;
  }
}
