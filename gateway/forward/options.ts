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
  /** With its key. Default 1 MiB. */
  readonly maxRecordBytes?: number;
}

export interface KinesisVideoDestination extends AwsDestination {
  /** Its name. */
  readonly stream: string;
}

/** An HTTP endpoint that speaks Firehose's protocol. */
export interface HttpDestination {
  readonly url: string;
  readonly accessKey?: string | null;
  readonly commonAttributes?: Readonly<Record<string, string>>;
  /** Default `none`. */
  readonly compression?: 'none' | 'gzip';
  /** null or left out: made of the delivery's name. */
  readonly sourceArn?: string | null;
  readonly timeoutSeconds?: number;
  readonly caFile?: string | null;
}

export interface OpenSearchDestination {
  readonly endpoint: string;
  readonly index: string;
  /** Default `none`. */
  readonly rotation?: 'none' | 'hour' | 'day' | 'week' | 'month';
  /** Default `index`. */
  readonly operation?: 'index' | 'create';
  /** Default `record`. */
  readonly documentId?: 'record' | 'query' | 'none';
  /** In JMESPath; goes with `documentId: query`. */
  readonly idQuery?: string | null;
  readonly username?: string | null;
  readonly password?: string | null;
  /** Requests are signed for it; null or left out: they are not. */
  readonly service?: 'es' | 'aoss' | null;
  readonly region?: string | null;
  readonly accessKeyId?: string | null;
  readonly secretAccessKey?: string | null;
  /** Default 5 MiB. */
  readonly maxBytes?: number;
  readonly caFile?: string | null;
}

export interface SplunkDestination {
  readonly endpoint: string;
  readonly token: string;
  /** Default `event`. */
  readonly mode?: 'event' | 'raw';
  /** null or left out: one that this process makes. */
  readonly channel?: string | null;
  readonly index?: string | null;
  readonly source?: string | null;
  readonly sourcetype?: string | null;
  readonly host?: string | null;
  /** Default true. */
  readonly acknowledgements?: boolean;
  /** Default 180. */
  readonly ackTimeoutSeconds?: number;
  /** Default 5 MB. */
  readonly maxBytes?: number;
  readonly caFile?: string | null;
}

export interface DynamoDbDestination extends AwsDestination {
  readonly table: string;
  /** Names of attributes whose lists become sets. Default none. */
  readonly sets?: readonly string[];
}

export interface RedshiftDestination {
  readonly host: string;
  /** Default 5439. */
  readonly port?: number;
  readonly database: string;
  readonly username: string;
  readonly password: string;
  /** Default true. */
  readonly tls?: boolean;
  readonly caFile?: string | null;
  /** Default `public`. */
  readonly schema?: string;
  readonly table: string;
  /** None or left out: all that the table has. */
  readonly columns?: readonly string[];
  /** On top of what the format says; default none. */
  readonly copyOptions?: string;
  /** null or left out: the keys of `staging`. */
  readonly iamRole?: string | null;
  /** Default `headgate_loads`. */
  readonly ledger?: string;
  /** Default 7. */
  readonly ledgerDays?: number;
  readonly staging: S3Destination;
  /** Default 30 minutes. */
  readonly loadTimeoutSeconds?: number;
}

export interface NatsDestination {
  readonly servers: readonly string[];
  readonly subject: string;
  readonly stream?: string | null;
  readonly username?: string | null;
  readonly password?: string | null;
  readonly token?: string | null;
  readonly nkeySeed?: string | null;
  readonly credentialsFile?: string | null;
  readonly caFile?: string | null;
  readonly certFile?: string | null;
  readonly keyFile?: string | null;
}

export interface KafkaDestination {
  readonly brokers: readonly string[];
  readonly topic: string;
  /** Default `none`. */
  readonly compression?: 'none' | 'gzip' | 'snappy' | 'lz4';
  /** Default 900,000. */
  readonly maxRequestBytes?: number;
  /** Default `none`. */
  readonly sasl?: 'none' | 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username?: string | null;
  readonly password?: string | null;
  /** Default false. */
  readonly tls?: boolean;
  readonly caFile?: string | null;
  readonly certFile?: string | null;
  readonly keyFile?: string | null;
}

export type Destination =
  | { readonly folder: FolderDestination }
  | { readonly s3: S3Destination }
  | { readonly kinesis: KinesisDestination }
  | { readonly kinesisVideo: KinesisVideoDestination }
  | { readonly http: HttpDestination }
  | { readonly opensearch: OpenSearchDestination }
  | { readonly splunk: SplunkDestination }
  | { readonly dynamodb: DynamoDbDestination }
  | { readonly redshift: RedshiftDestination }
  | { readonly nats: NatsDestination }
  | { readonly kafka: KafkaDestination };

/** Where the records of a delivery go as they came, beside what it sends: `source-backup.ts`. */
export interface BackupOptions {
  readonly to: { readonly folder: FolderDestination } | { readonly s3: S3Destination };
  /** Default `data`. */
  readonly record?: RecordFormat;
  /** Default `raw`, gzipped. */
  readonly format?: Pick<FormatOptions, 'compression' | 'delimiter'> & {
    readonly type: 'raw' | 'ndjson';
  };
  readonly layout?: Pick<LayoutOptions, 'objectName' | 'timeZone' | 'extension' | 'hive'>;
  readonly buffer?: BufferOptions;
  /** Default true. */
  readonly required?: boolean;
}

/** Where the failed records of a delivery go, too: `failed-backup.ts`. */
export interface FailedOptions extends Omit<BackupOptions, 'record' | 'format'> {
  /** Default gzipped. */
  readonly format?: Pick<FormatOptions, 'compression'>;
  /** Why they may not go there, in sentences; null or left out: they may. */
  readonly withheld?: string | null;
}

/** The configuration, or the Firehose API: then it is a delivery stream there. */
export type DeliveryOrigin = 'configuration' | 'firehose';

/** When an object of records is closed: at whichever comes first. */
export interface BufferOptions {
  /** Before compression. Default 5 MiB. */
  readonly maxBytes?: number;
  /**
   * Age of the oldest record. 0: what is there goes at once. null or left out: 60, and 0 to Kinesis.
   */
  readonly maxSeconds?: number | null;
}

export interface FailedOf {
  readonly delivery: string;
  /** That the delivery reads. */
  readonly stream: string;
  /** What it does is counted as the backup of its owner; otherwise under its own name. */
  readonly isOnlyBackup: boolean;
}

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
  readonly buffer?: BufferOptions;
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
  /** Keeps its records as they came, too; null or left out: nothing does. */
  readonly backup?: BackupOptions | null;
  /** Keeps what fails in a bucket or a folder, too; null or left out: in its stream alone. */
  readonly failed?: FailedOptions | null;
  /** It is a backup of that delivery; null or left out: it is none. */
  readonly backupOf?: string | null;
  /** It is the backup of what fails there; null or left out: it is no such. */
  readonly failedOf?: FailedOf | null;
  /** Where it was made, and is changed. Default `configuration`. */
  readonly origin?: DeliveryOrigin;
  /** Why it may not send, whatever else is so, in a sentence; null or left out: it may. */
  readonly withheld?: string | null;
  /** Part of the names of its objects, with one more for each time it was rewound. Default 1. */
  readonly version?: number;
}

/** As the configuration has them. */
export function namedDeliveries(
  byName: Readonly<Record<string, Omit<DeliveryOptions, 'name'>>>,
): readonly DeliveryOptions[] {
  return Object.entries(byName).map(([name, options]) => ({ name, ...options }));
}

export const bufferDefaults = { maxBytes: 5 * 1024 ** 2, maxSeconds: 60 } as const;

export const defaultPriority = 5;
