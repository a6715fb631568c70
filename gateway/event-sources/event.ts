/**
 * What a function gets: Lambda's event for Kinesis, and with windows what a call of them has besides
 * (docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html, services-kinesis-windows.html).
 */
import type { LogRecord, ShardDescription } from '../../storage/model.ts';
import { streamArn as arnOf } from '../api/kinesis/arns.ts';
import { SequenceNumbers, shardIdOf } from '../api/kinesis/sequence-numbers.ts';
import type { Account } from '../forward/record-plans.ts';

/** One record as Lambda gives it. */
export interface KinesisEventRecord {
  readonly kinesis: {
    readonly kinesisSchemaVersion: '1.0';
    readonly partitionKey: string;
    readonly sequenceNumber: string;
    /** Base64. */
    readonly data: string;
    /** Seconds since the Unix epoch. */
    readonly approximateArrivalTimestamp: number;
  };
  readonly eventSource: 'aws:kinesis';
  readonly eventVersion: '1.0';
  readonly eventID: string;
  readonly eventName: 'aws:kinesis:record';
  readonly invokeIdentityArn: string;
  readonly awsRegion: string;
  readonly eventSourceARN: string;
}

/** The part of a window that a call is of. */
export interface WindowCall {
  readonly startMs: number;
  readonly endMs: number;
  /** Any JSON. */
  readonly state: unknown;
  readonly isFinal: boolean;
  readonly isEarly: boolean;
}

/** Writes the events of batches of one shard. */
export interface BatchEvents {
  readonly shardId: string;
  readonly streamArn: string;
  sequenceNumber(record: LogRecord): string;
  /** When it came into its stream. */
  arrivalMs(record: LogRecord): number;
  payload(records: readonly LogRecord[], window: WindowCall | null): Buffer;
  event(records: readonly LogRecord[], window: WindowCall | null): object;
}

/** Those of what is read from the shard. */
export class Events implements BatchEvents {
  readonly shardId: string;
  readonly streamArn: string;
  readonly #region: string;
  readonly #identityArn: string;
  readonly #numbers: SequenceNumbers;

  constructor(shard: ShardDescription, account: Account) {
    this.shardId = shardIdOf(shard.index);
    this.streamArn = arnOf(account, shard.stream);
    this.#region = account.region;
    this.#identityArn = `arn:aws:iam::${account.accountId}:role/headgate`;
    this.#numbers = new SequenceNumbers(shard);
  }

  sequenceNumber({ sequence, arrivalMs }: LogRecord): string {
    return this.#numbers.of(sequence, arrivalMs);
  }

  arrivalMs({ arrivalMs }: LogRecord): number {
    return arrivalMs;
  }

  /** About what a record takes in the payload. */
  sizeOf({ partitionKey, data }: LogRecord): number {
    const constant = 420 + this.streamArn.length + this.#identityArn.length;
    return constant + 4 * Math.ceil(data.length / 3) + Buffer.byteLength(partitionKey) + 64;
  }

  payload(records: readonly LogRecord[], window: WindowCall | null): Buffer {
    return Buffer.from(JSON.stringify(this.event(records, window)));
  }

  event(records: readonly LogRecord[], window: WindowCall | null): object {
    return eventOf(
      this,
      records.map((record) => this.#record(record)),
      window,
    );
  }

  #record(record: LogRecord): KinesisEventRecord {
    const sequenceNumber = this.sequenceNumber(record);
    return {
      kinesis: {
        kinesisSchemaVersion: '1.0',
        partitionKey: record.partitionKey,
        sequenceNumber,
        data: record.data.toString('base64'),
        approximateArrivalTimestamp: record.arrivalMs / 1000,
      },
      eventSource: 'aws:kinesis',
      eventVersion: '1.0',
      eventID: `${this.shardId}:${sequenceNumber}`,
      eventName: 'aws:kinesis:record',
      invokeIdentityArn: this.#identityArn,
      awsRegion: this.#region,
      eventSourceARN: this.streamArn,
    };
  }
}

/** The whole event of a call. */
export function eventOf(
  { shardId, streamArn }: Pick<BatchEvents, 'shardId' | 'streamArn'>,
  records: readonly KinesisEventRecord[],
  window: WindowCall | null,
): object {
  return {
    Records: records,
    ...(window !== null && {
      window: {
        start: new Date(window.startMs).toISOString(),
        end: new Date(window.endMs).toISOString(),
      },
      state: window.state,
      shardId,
      eventSourceARN: streamArn,
      isFinalInvokeForWindow: window.isFinal,
      isWindowTerminatedEarly: window.isEarly,
    }),
  };
}
