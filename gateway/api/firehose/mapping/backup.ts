/**
 * `S3BackupMode`: whether all that is put is kept in a bucket as it came, and which bucket that is. Buckets
 * and Redshift have a configuration of their own for it (`Enabled`), the others keep it where what fails
 * goes in any mode (`AllData`, `AllEvents`, `AllDocuments`): the bucket of `S3Configuration`.
 *
 * Releases before this one only showed that bucket, unless all was kept. So a delivery stream that was
 * made with one that is not possible is sent all the same, and what fails is kept in its stream alone.
 */
import { isDeepStrictEqual } from 'node:util';
import type { GivenDestination, S3Configuration } from '../destination-shapes.ts';
import { bufferOf } from './buffering.ts';
import type { Places } from './places.ts';
import { Refusal, refusal, within } from './refusal.ts';
import { bucketOptions, checkPrefixes, rawFormat, s3Buffer } from './s3.ts';

const modes: ReadonlySet<string> = new Set(['Enabled', 'AllData', 'AllEvents', 'AllDocuments']);

export function isBackedUp({ kind, configuration }: GivenDestination): boolean {
  return kind !== 'S3' && modes.has(configuration.S3BackupMode ?? '');
}

/**
 * Keys of the delivery.
 * @throws Refusal
 */
export function backupFields(destination: GivenDestination, places: Places): object {
  if (!isBackedUp(destination)) return {};
  const given = backupBucket(destination);
  if (given === undefined) {
    throw refusal('S3BackupConfiguration', 'is needed where S3BackupMode is Enabled.');
  }
  return within(backupMember(destination.kind), () => {
    checkPrefixes(given);
    return {
      backup: {
        to: { s3: bucketOptions(given, places) },
        format: rawFormat(given, {}),
        buffer: bufferOf(given.BufferingHints, s3Buffer),
      },
    };
  });
}

/** Where what fails goes; undefined: into its stream alone. */
export function failedBucket({
  kind,
  configuration,
}: GivenDestination): S3Configuration | undefined {
  const isPlace = kind === 'S3' || kind === 'ExtendedS3' || kind === 'Redshift';
  return isPlace ? undefined : configuration.S3Configuration;
}

/** Keys of the delivery; none where that bucket is not possible. */
export function failedFields(destination: GivenDestination, places: Places): object {
  const bucket = failedBucket(destination);
  if (bucket === undefined || failedBucketProblem(destination, places) !== null) return {};
  return { failed: failedOptions(bucket, places) };
}

/** Why the bucket for what fails is not possible, in sentences; null: it is, or there is none. */
export function failedBucketProblem(destination: GivenDestination, places: Places): string | null {
  try {
    checkFailedBucket(null, destination, places);
    return null;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.message;
  }
}

/**
 * @param before null: it is new
 * @throws Refusal for a bucket that is not possible, and is not there yet
 */
export function checkFailedBucket(
  before: GivenDestination | null,
  after: GivenDestination,
  places: Places,
): void {
  const bucket = failedBucket(after);
  if (bucket === undefined) return;
  if (before !== null && isDeepStrictEqual(failedBucket(before), bucket)) return;
  within('S3Configuration', () => {
    checkPrefixes(bucket);
    failedOptions(bucket, places);
  });
}

/** Without a prefix of their own, failed records go below that of the others. */
function failedOptions(bucket: S3Configuration, places: Places): object {
  const { ErrorOutputPrefix = '', Prefix = '' } = bucket;
  const prefix = ErrorOutputPrefix === '' ? Prefix : ErrorOutputPrefix;
  const { compression } = rawFormat(bucket, {});
  return {
    to: { s3: { ...bucketOptions(bucket, places), prefix } },
    format: { compression },
    buffer: bufferOf(bucket.BufferingHints, s3Buffer),
  };
}

/** Where that is; undefined: nothing was given. */
export function backupBucket({
  kind,
  configuration,
}: GivenDestination): S3Configuration | undefined {
  if (kind === 'S3') return undefined;
  return kind === 'ExtendedS3' || kind === 'Redshift'
    ? configuration.S3BackupConfiguration
    : configuration.S3Configuration;
}

/** Which member of the destination that is. */
export function backupMember(kind: GivenDestination['kind']): string {
  return kind === 'ExtendedS3' || kind === 'Redshift' ? 'S3BackupConfiguration' : 'S3Configuration';
}
