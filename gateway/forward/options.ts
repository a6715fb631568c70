/**
 * What a delivery is told: where from, where to, how much at a time. The shapes fit the
 * configuration's `deliveries` entries; what is null there has the SDK's or the sink's default.
 */
import type { OnlyWhileOptions } from './flow/only-while.ts';
import type { ScheduleOptions } from './flow/schedule.ts';
import type { FormatOptions } from './format/formats.ts';
import type { RecordFormat } from './format/ndjson.ts';
import type { LayoutOptions } from './layout/layout.ts';
import type { Deaggregation } from './shape/deaggregate.ts';
import type { TransformOptions } from './transform/transform.ts';

/** null or left out: found by the SDK's own chain. */
export interface AwsDestination {
  readonly region?: string | null;
  readonly endpoint?: string | null;
  readonly accessKeyId?: string | null;
  readonly secretAccessKey?: string | null;
}

export interface FolderDestination {
  readonly path: string;
  /** Begins every key. Default none. */
  readonly prefix?: string;
}

export interface S3Destination extends AwsDestination {
  readonly bucket: string;
  /** Begins every key. Default none. */
  readonly prefix?: string;
  /** Default: the bucket goes into the path when there is an endpoint. */
  readonly forcePathStyle?: boolean | null;
}

export interface KinesisDestination extends AwsDestination {
  readonly stream: string;
  /** `kpl`: many records in one, for consumers that take them apart. Default `none`. */
  readonly aggregate?: 'none' | 'kpl';
}

export interface KinesisVideoDestination extends AwsDestination {
  /** Its name. */
  readonly stream: string;
}

export type Destination =
  | { readonly folder: FolderDestination }
  | { readonly s3: S3Destination }
  | { readonly kinesis: KinesisDestination }
  | { readonly kinesisVideo: KinesisVideoDestination };

export interface DeliveryOptions {
  /** Names its application too, so a delivery that keeps its name goes on where it was. */
  readonly name: string;
  readonly from: { readonly stream: string } | { readonly camera: string };
  readonly to: Destination;
  /** What of a camera becomes an object: its media files, or each fragment. Default `files`. */
  readonly as?: 'files' | 'fragments';
  /** The stream that is told of each fragment once it has arrived; null or left out: none. */
  readonly events?: string | null;
  /** What a record is on arrival, in objects. Default `data`. */
  readonly record?: RecordFormat;
  /** What objects of records are made of. Default NDJSON, gzipped. */
  readonly format?: FormatOptions;
  /** Takes records out of each other, first of all. Default `none`. */
  readonly deaggregate?: Deaggregation;
  /** JMESPath: a record is sent when it is true of it; null or left out: all are. */
  readonly filter?: string | null;
  /** A function that gives what is sent in place of the records; null or left out: none. */
  readonly transform?: TransformOptions | null;
  /** JMESPath: what it gives is sent instead; null or left out: the record is. */
  readonly select?: string | null;
  /** Where objects of records go, below the destination's own prefix. */
  readonly layout?: Omit<LayoutOptions, 'prefix'>;
  /** When an object of records is closed: at whichever comes first. */
  readonly buffer?: {
    /** Before compression. Default 5 MiB. */
    readonly maxBytes?: number;
    /** Age of the oldest record. 0: what is there goes at once. Default 60. */
    readonly maxSeconds?: number;
  };
  /**
   * How long attempts may go on failing before the records are put aside and the shard goes on; null
   * or left out: for ever.
   */
  readonly retrySeconds?: number | null;
  /** Pins what it has not sent, within its source's byte budget. Default true. */
  readonly required?: boolean;
  /**
   * After an outage: everything in the order it came (the default), or what is new at once and the
   * backlog behind it, the order between the two given up; see `lanes.ts`.
   */
  readonly catchUp?: 'in-order' | 'live-first';
  /** What it sends in a second at most; null or left out: no limit of its own. */
  readonly maxBytesPerSecond?: number | null;
  /** Who goes first where the link is narrow: 1 to 10, the higher before the lower. Default 5. */
  readonly priority?: number;
  /** When it sends; null or left out: at any time. */
  readonly schedule?: ScheduleOptions | null;
  /** It sends while this program says so; null or left out: nobody is asked. */
  readonly onlyWhile?: OnlyWhileOptions | null;
  /** Where it begins while it has no checkpoint. Default `earliest`. */
  readonly startAt?: 'earliest' | 'latest';
  /** Part of the names of its objects, with one more for each time it was rewound. Default 1. */
  readonly version?: number;
}

export const bufferDefaults = { maxBytes: 5 * 1024 ** 2, maxSeconds: 60 } as const;

export const defaultPriority = 5;
