/** What DescribeDeliveryStream tells: what was given, with the service's defaults, without secrets. */
import type { Log } from '../../../storage/model.ts';
import type { DeliveryOptions } from '../../forward/options.ts';
import { gatheringMs } from '../../forward/record-plans.ts';
import type { Account } from '../aws/account.ts';
import { streamArn } from '../kinesis/arns.ts';
import type { DeliveryStream } from './delivery-streams.ts';
import type { GivenDestination } from './destination-shapes.ts';
import { mapsAsObjects, type MadeStream } from './kept-streams.ts';
import { s3Buffer } from './mapping/s3.ts';
import { withoutSecrets, type Fields } from './secrets.ts';

/** Each has one. */
export const onlyDestinationId = 'destinationId-000000000001';

export function descriptionOf(stream: DeliveryStream, log: Log, account: Account): object {
  const { name, arn, status, type, made, configured, encryption, trouble } = stream;
  const createdMs = made?.createdMs ?? createdOf(stream.source, log);
  return {
    DeliveryStreamName: name,
    DeliveryStreamARN: arn,
    DeliveryStreamStatus: status,
    ...(trouble === null
      ? {}
      : { FailureDescription: { Type: 'UNKNOWN_ERROR', Details: trouble.slice(0, 1024) } }),
    DeliveryStreamEncryptionConfiguration:
      encryption === null
        ? { Status: 'DISABLED' }
        : {
            Status: 'ENABLED',
            KeyType: encryption.keyType,
            KeyARN: encryption.keyArn ?? undefined,
          },
    DeliveryStreamType: type,
    VersionId: String(made?.version ?? configured?.version ?? 1),
    CreateTimestamp: createdMs === null ? undefined : createdMs / 1000,
    LastUpdateTimestamp: typeof made?.updatedMs === 'number' ? made.updatedMs / 1000 : undefined,
    Source: made?.type === 'KinesisStreamAsSource' ? sourceOf(made, account) : undefined,
    Destinations: [
      {
        DestinationId: onlyDestinationId,
        ...(made === null ? configuredDestination(configured) : givenDescription(made.destination)),
      },
    ],
    HasMoreDestinations: false,
  };
}

function createdOf(source: string, log: Log): number | null {
  return log.streams().find(({ name }) => name === source)?.createdMs ?? null;
}

function sourceOf({ stream, roleArn, createdMs }: MadeStream, account: Account): object {
  return {
    KinesisStreamSourceDescription: {
      KinesisStreamARN: streamArn(account, stream),
      RoleARN: roleArn ?? undefined,
      DeliveryStartTimestamp: createdMs / 1000,
    },
  };
}

/** Where nothing is said of backups. */
const backupModes: Readonly<Partial<Record<GivenDestination['kind'], string>>> = {
  HttpEndpoint: 'FailedDataOnly',
  Splunk: 'FailedEventsOnly',
  Amazonopensearchservice: 'FailedDocumentsOnly',
  Elasticsearch: 'FailedDocumentsOnly',
  Redshift: 'Disabled',
};

function givenDescription({ kind, configuration: given }: GivenDestination): object {
  const plain = JSON.parse(JSON.stringify(given, mapsAsObjects)) as Fields;
  const { configuration } = withoutSecrets(kind, plain);
  if (kind === 'S3' || kind === 'ExtendedS3') return s3Descriptions(configuration);
  const { S3Configuration, S3BackupConfiguration, ...others } = configuration;
  return {
    [`${kind}DestinationDescription`]: {
      S3BackupMode: backupModes[kind],
      ...others,
      S3DestinationDescription: s3Description(S3Configuration),
      S3BackupDescription: s3Description(S3BackupConfiguration),
    },
  };
}

/** The service tells of a bucket in both of its shapes, however it was given. */
function s3Descriptions({ S3BackupConfiguration, ...given }: Fields): object {
  return {
    S3DestinationDescription: s3Description(given),
    ExtendedS3DestinationDescription: {
      S3BackupMode: 'Disabled',
      ...given,
      ...s3Description(given),
      S3BackupDescription: s3Description(S3BackupConfiguration),
    },
  };
}

function s3Description(given: unknown): object | undefined {
  if (typeof given !== 'object' || given === null) return undefined;
  const fields = given as Fields;
  return {
    RoleARN: fields['RoleARN'],
    BucketARN: fields['BucketARN'],
    Prefix: fields['Prefix'],
    ErrorOutputPrefix: fields['ErrorOutputPrefix'],
    BufferingHints: fields['BufferingHints'] ?? s3Buffer,
    CompressionFormat: fields['CompressionFormat'] ?? 'UNCOMPRESSED',
    EncryptionConfiguration: fields['EncryptionConfiguration'] ?? {
      NoEncryptionConfig: 'NoEncryption',
    },
    CloudWatchLoggingOptions: fields['CloudWatchLoggingOptions'] ?? { Enabled: false },
  };
}

/** Of one of the configuration no more than where it goes, where the service has a shape for that. */
function configuredDestination(delivery: DeliveryOptions | null): object {
  if (delivery === null) return {};
  const { backup = null } = delivery;
  const bucket = configuredBucket(delivery);
  if (bucket === null) return {};
  const kept = backup && configuredBucket(backup);
  return s3Descriptions({
    ...bucket,
    ...(kept && { S3BackupMode: 'Enabled', S3BackupConfiguration: kept }),
  });
}

/** null: it is no bucket. */
function configuredBucket({
  to,
  buffer,
  format,
}: Pick<DeliveryOptions, 'to' | 'buffer' | 'format'>): Fields | null {
  if (!('s3' in to)) return null;
  const { maxBytes } = buffer ?? {};
  return {
    // The service has no description without one.
    RoleARN: 'arn:aws:iam::000000000000:role/headgate',
    BucketARN: `arn:aws:s3:::${to.s3.bucket}`,
    Prefix: to.s3.prefix,
    ...(maxBytes === undefined
      ? {}
      : {
          BufferingHints: {
            SizeInMBs: Math.max(1, Math.round(maxBytes / 2 ** 20)),
            IntervalInSeconds: Math.round(gatheringMs({ to, ...(buffer && { buffer }) }) / 1000),
          },
        }),
    CompressionFormat: format?.compression === 'none' ? 'UNCOMPRESSED' : 'GZIP',
  };
}
