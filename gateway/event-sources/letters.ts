/** What lies in a dead letter, read back: the records of a batch as the function was to get them. */
import { z } from 'zod';
import type { LogRecord } from '../../storage/model.ts';
import { eventOf, type BatchEvents, type KinesisEventRecord, type WindowCall } from './event.ts';
import type { OpenWindow } from './settle.ts';

const time = z.iso.datetime().transform((text) => Date.parse(text));

const record = z.object({
  kinesis: z.object({
    kinesisSchemaVersion: z.literal('1.0'),
    partitionKey: z.string(),
    sequenceNumber: z.string(),
    data: z.string(),
    approximateArrivalTimestamp: z.number(),
  }),
  eventSource: z.literal('aws:kinesis'),
  eventVersion: z.literal('1.0'),
  eventID: z.string(),
  eventName: z.literal('aws:kinesis:record'),
  invokeIdentityArn: z.string(),
  awsRegion: z.string(),
  eventSourceARN: z.string(),
});

const event = z.object({
  Records: z.array(record),
  window: z.object({ start: time, end: time }).optional(),
  state: z.unknown().optional(),
  isFinalInvokeForWindow: z.boolean().default(false),
  isWindowTerminatedEarly: z.boolean().default(false),
});

const letter = z.object({
  requestContext: z.object({ condition: z.string() }),
  responseContext: z.object({ errorMessage: z.string() }).nullable(),
  timestamp: time,
  KinesisBatchInfo: z.object({ shardId: z.string(), streamArn: z.string() }),
  payload: z.union([event, z.string()]),
});

export interface Letter {
  readonly atMs: number;
  /** In a sentence. */
  readonly reason: string;
  /** null: a piece of a payload that no call can hold. */
  readonly batch: FailedBatch | null;
}

export interface FailedBatch {
  readonly events: BatchEvents;
  readonly records: readonly LogRecord[];
  readonly window: (WindowCall & OpenWindow) | null;
}

/**
 * @param nowMs the age of the records and of a window counts from here: somebody wants them done all the same
 * @returns null: it is no dead letter
 */
export function readLetter(data: Buffer, nowMs: number): Letter | null {
  let value: unknown;
  try {
    value = JSON.parse(data.toString('utf8'));
  } catch {
    return null;
  }
  const read = letter.safeParse(value);
  if (!read.success) return null;
  const { requestContext, responseContext, timestamp, KinesisBatchInfo, payload } = read.data;
  const reason = responseContext?.errorMessage ?? requestContext.condition;
  if (typeof payload === 'string') return { atMs: timestamp, reason, batch: null };
  const { Records, window, state } = payload;
  const events = new LetterEvents(KinesisBatchInfo, Records);
  const records = Records.map(({ kinesis: { partitionKey } }, sequence) => ({
    ...{ sequence, partitionKey, data: Buffer.alloc(0), arrivalMs: nowMs },
  }));
  const call = window && {
    ...{ startMs: window.start, endMs: window.end, agesFromMs: nowMs, state: state ?? {} },
    isFinal: payload.isFinalInvokeForWindow,
    isEarly: payload.isWindowTerminatedEarly,
  };
  return { atMs: timestamp, reason, batch: { events, records, window: call ?? null } };
}

/** Writes the events of one letter; its records are numbered by their places in it. */
class LetterEvents implements BatchEvents {
  readonly shardId: string;
  readonly streamArn: string;
  readonly #records: readonly KinesisEventRecord[];

  constructor(
    { shardId, streamArn }: Pick<BatchEvents, 'shardId' | 'streamArn'>,
    records: readonly KinesisEventRecord[],
  ) {
    this.shardId = shardId;
    this.streamArn = streamArn;
    this.#records = records;
  }

  sequenceNumber(record: LogRecord): string {
    return this.#of(record).kinesis.sequenceNumber;
  }

  arrivalMs(record: LogRecord): number {
    return this.#of(record).kinesis.approximateArrivalTimestamp * 1000;
  }

  payload(records: readonly LogRecord[], window: WindowCall | null): Buffer {
    return Buffer.from(JSON.stringify(this.event(records, window)));
  }

  event(records: readonly LogRecord[], window: WindowCall | null): object {
    return eventOf(
      this,
      records.map((one) => this.#of(one)),
      window,
    );
  }

  #of({ sequence }: LogRecord): KinesisEventRecord {
    const found = this.#records[sequence];
    if (found === undefined) throw new RangeError(`the letter has no record ${sequence}`);
    return found;
  }
}
