/**
 * What a way out must be able to do, and how it says that it could not.
 *
 * Five kinds: an object sink keeps whole objects under keys (S3, a folder), a batch sink takes what
 * one plan gathered, each record under an id that never changes (HTTP, OpenSearch, Splunk, DynamoDB,
 * NATS, Kafka), a table sink loads objects that were put beside it (Redshift), a record sink takes
 * single records as they come (Kinesis; by plans too, see `in-batches.ts`), a media sink takes a
 * camera's fragments over a connection that stays open (Kinesis Video). A sink makes one attempt
 * per call and reports; when to try again, in which order, and what counts as done is decided by
 * the workers (`record-objects.ts`, `record-batches.ts`, `record-stream.ts`, `media-objects.ts`,
 * `media-stream.ts`). A sink keeps no queue of its own: the log is the buffer.
 */
import type { FormatOptions } from './format/formats.ts';

const codes = {
  /** No connection, or it broke. */
  unreachable: { retryable: true, throttled: false },
  /** The destination took longer than its time-out. */
  timeout: { retryable: true, throttled: false },
  /** The destination asks for less. */
  throttled: { retryable: true, throttled: true },
  /** The destination failed on its side. */
  unavailable: { retryable: true, throttled: false },
  /** No room left at the destination. */
  full: { retryable: true, throttled: false },
  /** Credentials missing, expired or unknown: they are looked up anew before the next attempt. */
  credentials: { retryable: true, throttled: false },
  /** The destination takes our clock for wrong. */
  clock: { retryable: true, throttled: false },
  /** The other side is not who it should be: its certificate. */
  untrusted: { retryable: false, throttled: false },
  /** Without the right; a read-only place. */
  denied: { retryable: false, throttled: false },
  /** No such bucket, stream or region. */
  missing: { retryable: false, throttled: false },
  /** More than the destination ever takes in one piece. */
  'too-large': { retryable: false, throttled: false },
  /** It arrived where it can't be used: the destination's shards have changed. */
  moved: { retryable: true, throttled: false },
  /** Refused as it stands for any other reason. */
  rejected: { retryable: false, throttled: false },
  /** The attempt was called off from our side. */
  aborted: { retryable: true, throttled: false },
} as const;

export type SinkErrorCode = keyof typeof codes;

/** A failed attempt. Whether time alone can mend it is decided in the table above. */
export class SinkError extends Error {
  override readonly name = 'SinkError';
  readonly code: SinkErrorCode;
  /** What somebody can do about it, in a sentence; null when there is nothing but to wait. */
  readonly advice: string | null;
  /** How long the destination asks to be left alone; null: it says nothing of it. */
  readonly retryAfterMs: number | null;

  constructor(
    code: SinkErrorCode,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly advice?: string | null;
      readonly retryAfterMs?: number | null;
    } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.advice = options.advice ?? null;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }

  /** Whether the same attempt may succeed later without anybody changing anything. */
  get retryable(): boolean {
    return codes[this.code].retryable;
  }

  get throttled(): boolean {
    return codes[this.code].throttled;
  }
}

/** It is refused as it stands, whoever tries: other records may fare better. */
export function isOfRecords(error: unknown): error is SinkError {
  return error instanceof SinkError && (error.code === 'rejected' || error.code === 'too-large');
}

/** One object to be kept. */
export interface ObjectUpload {
  /** `/` between its parts; see `keys.ts`. */
  readonly key: string;
  readonly contentType: string;
  /** As HTTP names it, such as `gzip`; left out: the bytes are what the type says. */
  readonly contentEncoding?: string;
  readonly sizeBytes: number;
  /** SHA-256 of the content, hexadecimal. */
  readonly sha256: string;
  /** The content from its beginning, exactly `sizeBytes` long; may be called once per attempt. */
  read(): AsyncIterable<Buffer>;
}

/** Keeps whole objects under keys. */
export interface ObjectSink {
  readonly kind: 's3' | 'folder';
  /** Where it is, for people; without secrets. */
  readonly description: string;
  /**
   * Makes one attempt to keep the object. Afterwards it is there whole and durable, or not at all;
   * doing it twice leaves one object.
   * @throws SinkError; whatever `upload.read()` throws
   */
  put(upload: ObjectUpload, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface OutgoingRecord {
  readonly partitionKey: string;
  /** In place of the key's MD5, decimal; left out: that counts. */
  readonly explicitHashKey?: string;
  readonly data: Buffer;
  /** Of a packed record: the group that it has to arrive in. */
  readonly group?: string;
}

export interface Packed {
  /** How many records are in it. */
  readonly count: number;
  readonly record: OutgoingRecord;
}

/** How a record sink takes several records in one, as things stood when it was learnt. */
export interface Packing {
  /** Records of one group may be packed together, and are kept in order. */
  groupOf(record: OutgoingRecord): string;
  /** Packs as many records of a group as fit, from the first on; that one always. */
  pack(group: string, records: readonly OutgoingRecord[], maxBytes: number): Packed;
}

/** Takes single records. */
export interface RecordSink {
  readonly kind: 'kinesis';
  /** Where it is, for people; without secrets. */
  readonly description: string;
  /** What one call may carry; `bytes` counts data and partition keys. */
  readonly limits: {
    readonly records: number;
    readonly bytes: number;
    readonly recordBytes: number;
  };
  /**
   * Learns how records may be packed: before any are, and again after `moved`. Left out: each
   * goes as it is.
   * @throws SinkError
   */
  learnPacking?(signal: AbortSignal): Promise<Packing>;
  /**
   * Makes one attempt to hand over the records.
   * @returns for each record, in order, null when it was taken, or why it was not
   * @throws SinkError when nothing is known to have been taken
   */
  send(
    records: readonly OutgoingRecord[],
    signal: AbortSignal,
  ): Promise<readonly (SinkError | null)[]>;
  close(): Promise<void>;
}

/** A record on its way to a batch sink. */
export interface BatchItem {
  /** A UUID: the same whenever this record is sent, so that the destination can tell. */
  readonly id: string;
  readonly partitionKey: string;
  /** Of a record that was taken out of an aggregate and had one; see `OutgoingRecord`. */
  readonly explicitHashKey?: string;
  readonly data: Buffer;
  readonly arrivalMs: number;
}

/** What one call hands over. */
export interface Batch {
  /** A UUID: the same whenever just these items are sent. */
  readonly id: string;
  /** At least one, in the order of the shard. */
  readonly items: readonly BatchItem[];
}

/** Of each item, in order: null when it was taken, or why it was not. */
export type Outcomes = readonly (SinkError | null)[];

/** Takes the records of a plan, as many in a call as it allows. */
export interface BatchSink {
  readonly kind: 'http' | 'opensearch' | 'splunk' | 'dynamodb' | 'nats' | 'kafka' | 'kinesis';
  /** Where it is, for people; without secrets. */
  readonly description: string;
  /** What one call may carry; `bytes` counts data alone. A record over `recordBytes` is never sent. */
  readonly limits: {
    readonly records: number;
    readonly bytes: number;
    readonly recordBytes: number;
  };
  /** The longest that a call may take, where that is long; left out: as its size has it. */
  readonly attemptMs?: number;
  /**
   * Makes one attempt to hand over a batch, and resolves once the destination has it for good:
   * waiting for its acknowledgement is part of the attempt.
   * @returns for each item, in order, null when it was taken, or why it was not. Items that failed
   *   come again in a batch of their own, before any later record of the shard does
   *   (of a batch that went out in several pieces, those that were not tried have failed too)
   * @throws SinkError when nothing is known to have been taken
   */
  deliver(batch: Batch, signal: AbortSignal): Promise<Outcomes>;
  /**
   * Looks whether the destination is there and lets us in, and hands over nothing.
   * @returns what was found, in a few words
   * @throws SinkError
   */
  check?(signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

/** How a table reads objects, beside what they are made of. JSON: it is kept with the plan. */
export interface TableReading {
  /** What of the table is filled, in this order; null: all that it has. */
  readonly columns: readonly string[] | null;
  /** More of it, in the destination's own words. */
  readonly options: string;
}

/** Objects to be loaded into a table. */
export interface TableLoad {
  /** A UUID: the same whenever just these objects are loaded. */
  readonly id: string;
  /**
   * What it is in its shard. Every load of the shard that lies between `since` and `from` is done,
   * and will never be asked for again.
   */
  readonly place: {
    /** A UUID, of the shard. */
    readonly shard: string;
    readonly since: number;
    readonly from: number;
    readonly to: number;
  };
  /** They are at `staging` already. */
  readonly objects: readonly {
    readonly key: string;
    readonly sizeBytes: number;
    readonly records: number;
  }[];
  /** What the objects are made of. */
  readonly format: FormatOptions;
  readonly reading: TableReading;
}

/** Loads objects into a table. */
export interface TableSink {
  readonly kind: 'redshift';
  /** Where it is, for people; without secrets. */
  readonly description: string;
  /** Where the objects go first. */
  readonly staging: ObjectSink;
  /**
   * Makes one attempt to load the objects. A load that was done before, as far as the table knows,
   * is done: nothing is loaded twice.
   * @throws SinkError; `rejected` when the objects as they are can't be loaded
   */
  load(load: TableLoad, signal: AbortSignal): Promise<void>;
  /** The longest that a call may take, where that is long; left out: as its size has it. */
  readonly attemptMs?: number;
  /**
   * Leaves a note at `staging` of objects that will not be loaded, so that they can be by hand.
   * Doing it twice leaves one.
   * @throws SinkError
   */
  skip?(load: TableLoad, signal: AbortSignal): Promise<void>;
  /**
   * Looks whether the destination is there and lets us in, and changes nothing.
   * @returns what was found, in a few words
   * @throws SinkError
   */
  check?(signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

/** What the other side of a connection says of what it was sent. */
export type MediaAck =
  | { readonly type: 'persisted'; readonly timecodeMs: number }
  | {
      readonly type: 'error';
      /** Of the fragment that it is about, where that was said. */
      readonly timecodeMs: number | null;
      /** It is that fragment which is not taken, whatever else is. */
      readonly isOfFragment: boolean;
      readonly error: SinkError;
    };

/** Matroska out, acknowledgements in, both at once. */
export interface MediaConnection {
  /** As they come; ends when no more will. For one reader. @throws SinkError when it broke */
  acks(): AsyncIterable<MediaAck>;
  /** Resolves when there is room for more, or it is over: what it ended with, `acks` tells. */
  send(bytes: Buffer): Promise<void>;
  /** Says that no more is sent. */
  end(): void;
  /** Cuts it off. `acks` throws the reason. Twice is harmless. */
  cut(reason: SinkError): void;
}

/** Takes a camera's fragments. */
export interface MediaSink {
  readonly kind: 'kinesis-video';
  /** Where it is, for people; without secrets. */
  readonly description: string;
  /**
   * Makes one attempt to open a connection for fragments whose times are of the wall clock.
   * @param startMs of the first fragment
   * @throws SinkError
   */
  connect(startMs: number, signal: AbortSignal): Promise<MediaConnection>;
  close(): Promise<void>;
}

export type Sink = ObjectSink | BatchSink | TableSink | RecordSink | MediaSink;

/** What a record counts for against the limits of a record sink. */
export function recordBytes(record: OutgoingRecord): number {
  return record.data.length + Buffer.byteLength(record.partitionKey);
}

/** About what a record sink puts on the wire for the records: base64, and what is around it. */
export function wireBytes(records: readonly OutgoingRecord[]): number {
  return records.reduce(
    (sum, { partitionKey, data }) =>
      sum + 4 * Math.ceil(data.length / 3) + Buffer.byteLength(partitionKey) + 32,
    0,
  );
}
