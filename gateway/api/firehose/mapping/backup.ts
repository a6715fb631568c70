/**
 * `S3BackupMode`: whether all that is put is kept in a bucket as it came, and which bucket that is. Buckets
 * and Redshift have a configuration of their own for it (`Enabled`), the others keep it where what fails
 * would go (`AllData`, `AllEvents`, `AllDocuments`).
 */
import type { GivenDestination, S3Configuration } from '../destination-shapes.ts';
import { bufferOf } from './buffering.ts';
import type { Places } from './places.ts';
import { refusal, within } from './refusal.ts';
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
