/** `S3DestinationConfiguration` and `ExtendedS3DestinationConfiguration`. */
import { layoutProblems } from '../../../forward/layout/check.ts';
import type { LayoutOptions } from '../../../forward/layout/layout.ts';
import { extractionQueries } from '../../../forward/query/jq/jq.ts';
import { QueryError } from '../../../forward/query/values.ts';
import type { Configuration, S3Configuration } from '../destination-shapes.ts';
import { bufferOf } from './buffering.ts';
import { conversionFormat } from './conversion.ts';
import type { DeliveryFields } from './delivery.ts';
import { allowedBucket, type Places } from './places.ts';
import { processingOptions, type ProcessingOptions } from './processing.ts';
import { refusal, Refusal } from './refusal.ts';

type ExtendedS3 = Configuration<'ExtendedS3'>;

export const s3Buffer = { SizeInMBs: 5, IntervalInSeconds: 300 };
const conversionBuffer = { SizeInMBs: 128, IntervalInSeconds: 300 };
const conversionBufferMinMBs = 64;

const compressions = {
  UNCOMPRESSED: 'none',
  GZIP: 'gzip',
  ZIP: 'zip',
  Snappy: 'snappy',
  HADOOP_SNAPPY: 'hadoop-snappy',
} as const;

/** @throws Refusal */
export function extendedS3Options(given: ExtendedS3, places: Places): DeliveryFields {
  const processing = processingOptions(given.ProcessingConfiguration, places);
  const { transform, deaggregate } = processing;
  const isConverted = given.DataFormatConversionConfiguration?.Enabled === true;
  return {
    to: { s3: bucketOptions(given, places) },
    buffer: isConverted ? conversionBufferOf(given) : bufferOf(given.BufferingHints, s3Buffer),
    format: isConverted ? convertedFormat(given, processing) : rawFormat(given, processing),
    ...layoutFields(given, processing),
    ...(transform === undefined ? {} : { transform }),
    ...(deaggregate === undefined ? {} : { deaggregate }),
  };
}

/** `to.s3`: the bucket, with the access that the configuration has for all of them. */
export function bucketOptions(
  { BucketARN, Prefix, EncryptionConfiguration: encryption }: S3Configuration,
  places: Places,
): Places['s3'] & { readonly bucket: string; readonly prefix?: string } {
  if (encryption?.KMSEncryptionConfig !== undefined) {
    throw refusal(
      'EncryptionConfiguration.KMSEncryptionConfig',
      'Objects are encrypted as the bucket says.',
    );
  }
  const bucket = allowedBucket(BucketARN, places);
  return { ...places.s3, bucket, ...(Prefix === undefined ? {} : { prefix: Prefix }) };
}

/** `format`: the records as they are, one behind the other. */
export function rawFormat(
  { CompressionFormat }: S3Configuration,
  { delimiter }: ProcessingOptions,
) {
  return {
    type: 'raw',
    compression: compressions[CompressionFormat ?? 'UNCOMPRESSED'],
    ...(delimiter === undefined ? {} : { delimiter }),
  };
}

function convertedFormat(given: ExtendedS3, { delimiter }: ProcessingOptions): object {
  if (given.CompressionFormat !== undefined && given.CompressionFormat !== 'UNCOMPRESSED') {
    throw refusal('CompressionFormat', 'is UNCOMPRESSED with data format conversion.');
  }
  if (delimiter !== undefined) {
    throw refusal('ProcessingConfiguration', 'AppendDelimiterToRecord: Parquet has none.');
  }
  return conversionFormat(given.DataFormatConversionConfiguration ?? {});
}

function conversionBufferOf({ BufferingHints }: ExtendedS3): object {
  const size = BufferingHints?.SizeInMBs;
  if (size !== undefined && size < conversionBufferMinMBs) {
    const message = `is ${conversionBufferMinMBs} at least with data format conversion.`;
    throw refusal('BufferingHints.SizeInMBs', message);
  }
  return bufferOf(BufferingHints, conversionBuffer);
}

/** Options as the service calls them. */
const layoutNames: Readonly<Record<keyof LayoutOptions, string>> = {
  prefix: 'Prefix',
  errorPrefix: 'ErrorOutputPrefix',
  objectName: 'DeliveryStreamName',
  timeZone: 'CustomTimeZone',
  extension: 'FileExtension',
  hive: 'Prefix',
  partitionBy: 'MetadataExtractionQuery',
  queryLanguage: 'JsonParsingEngine',
};
const layoutMembers: Readonly<Record<keyof LayoutOptions, string>> = {
  ...layoutNames,
  partitionBy: 'ProcessingConfiguration.MetadataExtractionQuery',
  queryLanguage: 'ProcessingConfiguration.JsonParsingEngine',
};

/**
 * Of a bucket whose records nobody looks into.
 * @throws Refusal
 */
export function checkPrefixes(given: S3Configuration): void {
  layoutFields(given, {});
}

/** @throws Refusal */
function layoutFields(given: ExtendedS3, { query, transform }: ProcessingOptions): object {
  const { ErrorOutputPrefix, CustomTimeZone, FileExtension, Prefix = '' } = given;
  const isPartitioned = given.DynamicPartitioningConfiguration?.Enabled === true;
  const namesKeys = /!\{partitionKeyFrom(Query|Lambda):/.test(Prefix);
  if (isPartitioned !== namesKeys) {
    throw refusal(
      'Prefix',
      isPartitioned
        ? 'names no partitionKeyFromQuery or partitionKeyFromLambda, as it does with dynamic partitioning.'
        : 'names partition keys, which there are only with dynamic partitioning enabled.',
    );
  }
  const layout: LayoutOptions = {
    ...(isFilled(ErrorOutputPrefix) ? { errorPrefix: ErrorOutputPrefix } : {}),
    ...(isFilled(CustomTimeZone) ? { timeZone: CustomTimeZone } : {}),
    ...(isFilled(FileExtension) ? { extension: FileExtension } : {}),
    ...(query === undefined ? {} : { partitionBy: partitionQueries(query), queryLanguage: 'jq' }),
  };
  const use = { hasFunction: transform !== undefined, needsErrorPrefix: true, names: layoutNames };
  const problems = layoutProblems({ ...layout, prefix: Prefix }, use);
  if (problems.length === 0) return { layout };
  throw new Refusal(
    problems.map(({ option, name, says }) => {
      const message = name === undefined ? `${says}.` : `${name} ${says}.`;
      return { member: layoutMembers[option], message };
    }),
  );
}

function isFilled(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}

/** By the names of their values. @throws Refusal */
function partitionQueries(query: string): Readonly<Record<string, string>> {
  let queries: Readonly<Record<string, string>> | null;
  try {
    queries = extractionQueries(query);
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    throw refusal(
      'ProcessingConfiguration',
      `The MetadataExtractionQuery is no query that can be run here: ${error.message}.`,
    );
  }
  if (queries !== null) return queries;
  const message = 'The MetadataExtractionQuery is an object of queries by name.';
  throw refusal('ProcessingConfiguration', message);
}
