/** Records between the log and the sink, and what becomes of those that can't go on. */

/** A record on its way out, after what a delivery does to it. */
export interface ShapedRecord {
  /** Of the record of the log that it comes from. */
  readonly sequence: number;
  /** Which one of several that were made from that record; 0 when there is one. */
  readonly subSequence: number;
  readonly partitionKey: string;
  /** Of one that was taken out of an aggregate and has one; decimal. */
  readonly explicitHashKey?: string;
  readonly arrivalMs: number;
  readonly data: Buffer;
  /** Where it goes among the dynamic partitions; null: there are none. */
  readonly partition: PartitionValues | null;
  /** Of one that failed before and is sent again: where it was then. */
  readonly origin?: RecordOrigin;
}

/** Which record of which stream. */
export interface RecordOrigin {
  readonly stream: string;
  /** Tells a stream from a later one of the same name. */
  readonly streamCreatedMs: number;
  readonly shardId: number;
  readonly shardIndex: number;
  /** Left out by releases that did not tell. */
  readonly shardCreatedMs?: number;
  readonly sequence: number;
  readonly subSequence: number;
  /** It was taken out of another record before it failed, and is not taken apart again. */
  readonly isSeparate: boolean;
}

/** What a prefix may name; see `../layout/prefix.ts`. */
export interface PartitionValues {
  /** By the queries, `!{partitionKeyFromQuery:…}`. */
  readonly query: Readonly<Record<string, string>>;
  /** By the function, `!{partitionKeyFromLambda:…}`. */
  readonly lambda: Readonly<Record<string, string>>;
  /** Of a failed record that goes into a bucket: where it went wrong. */
  readonly stage?: FailureStage;
}

/** What prefixes have for `!{firehose:error-output-type}`: the words of Firehose, where it has one. */
export const errorOutputTypes = {
  /** The function could not be run, or refused the record. */
  'processing-failed': 'processing-failed',
  /** It could not be made into the wanted format. */
  'format-conversion-failed': 'format-conversion-failed',
  /** It has no place among the dynamic partitions. */
  'dynamic-partitioning-failed': 'dynamic-partitioning-failed',
  /** The destination does not take it. */
  'http-endpoint-failed': 'http-endpoint-failed',
  'opensearch-failed': 'AmazonOpenSearchService-failed',
  'splunk-failed': 'splunk-failed',
  'redshift-failed': 'redshift-failed',
  'delivery-failed': 'delivery-failed',
} as const;

/** Where it went wrong. */
export type FailureStage = keyof typeof errorOutputTypes;

/** A record that can't go on, with its reason. */
export interface FailedRecord {
  /** As it was in the log: `data` has not been changed by anything. */
  readonly record: ShapedRecord;
  readonly stage: FailureStage;
  /** One word, such as `Lambda.InvokeFailed` or `DataFormatConversion.ParseError`. */
  readonly errorCode: string;
  /** A sentence. */
  readonly errorMessage: string;
  readonly attempts: number;
}
