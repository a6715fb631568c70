/**
 * A delivery stream that may not send: it is shown with the reason, and keeps what it has not sent. Of
 * where it would go no more is looked at than it takes to say that.
 */
import type { DeliveryOptions, Destination } from '../../../forward/options.ts';
import type { GivenDestination } from '../destination-shapes.ts';
import type { MadeStream } from '../kept-streams.ts';
import { backupBucket, failedBucket, isBackedUp } from './backup.ts';
import { startAtOf } from './delivery.ts';
import { bucketPlace, type Places } from './places.ts';
import { clusterOf } from './redshift.ts';

export interface Withheld {
  readonly name: string;
  readonly made: MadeStream;
  readonly places: Places;
  /** In a sentence. */
  readonly reason: string;
}

export function withheldDelivery({ name, made, places, reason }: Withheld): DeliveryOptions {
  const { destination, stream, version } = made;
  const backup = isBackedUp(destination) ? backupBucket(destination) : undefined;
  const failed = failedBucket(destination);
  return {
    ...{ name, from: { stream }, to: placeOf(destination, places), startAt: startAtOf(made) },
    backup: backup === undefined ? null : { to: bucketPlace(backup.BucketARN, places) },
    failed: failed === undefined ? null : { to: bucketPlace(failed.BucketARN, places) },
    ...{ version, origin: 'firehose', withheld: reason },
  };
}

/** Nobody is let in by it: what lets us in is left out. */
function placeOf({ kind, configuration }: GivenDestination, places: Places): Destination {
  switch (kind) {
    case 'S3':
    case 'ExtendedS3':
      return bucketPlace(configuration.BucketARN, places);
    case 'HttpEndpoint':
      return { http: { url: configuration.EndpointConfiguration.Url } };
    case 'Splunk':
      return { splunk: { endpoint: configuration.HECEndpoint, token: '' } };
    case 'Amazonopensearchservice':
    case 'Elasticsearch': {
      const { ClusterEndpoint = 'https://unknown.invalid', IndexName } = configuration;
      return { opensearch: { endpoint: ClusterEndpoint, index: IndexName } };
    }
    case 'Redshift': {
      const { ClusterJDBCURL, CopyCommand, RoleARN, S3Configuration } = configuration;
      const { s3: staging } = bucketPlace(S3Configuration.BucketARN, places);
      const nobody = { username: '', password: '', iamRole: RoleARN };
      const table = CopyCommand.DataTableName;
      return { redshift: { ...clusterOf(ClusterJDBCURL), table, ...nobody, staging } };
    }
  }
}
