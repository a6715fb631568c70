/**
 * The destinations of the Firehose API as requests describe them, with the limits of the service
 * model (2015-08-04). An update has the members of the configuration, all of which may be left out.
 */
import {
  choice,
  flag,
  integer,
  list,
  optional,
  required,
  structure,
  text,
  textMap,
  type Described,
  type Member,
  type Members,
} from '../aws/shapes.ts';
import { arn, whatever } from './members.ts';

const anyText = (max: number, min = 0): ReturnType<typeof text> =>
  text({ pattern: '.*', ...{ min, max } });
const filledText = (max: number): ReturnType<typeof text> =>
  text({ pattern: '(?!\\s*$).+', ...{ min: 1, max } });
const token = text({ pattern: '\\S+', min: 1, max: 1024 });

/** As hints are for one kind of destination; both or neither are given. */
const hints = (sizeMax: number, secondsMax = 900) =>
  optional(
    structure({
      SizeInMBs: optional(integer({ min: 1, max: sizeMax })),
      IntervalInSeconds: optional(integer({ min: 0, max: secondsMax })),
    }),
  );
const retryOptions = optional(
  structure({ DurationInSeconds: optional(integer({ min: 0, max: 7200 })) }),
);
const logging = optional(
  structure({
    Enabled: optional(flag()),
    LogGroupName: optional(text({ pattern: '[\\.\\-_/#A-Za-z0-9]*', max: 512 })),
    LogStreamName: optional(text({ pattern: '[^:*]*', max: 512 })),
  }),
);
const secretsManager = optional(
  structure({ SecretARN: optional(arn), RoleARN: optional(arn), Enabled: required(flag()) }),
);

const processor = structure({
  Type: required(
    choice([
      ...(['RecordDeAggregation', 'Decompression', 'CloudWatchLogProcessing', 'Lambda'] as const),
      ...(['MetadataExtraction', 'AppendDelimiterToRecord'] as const),
    ]),
  ),
  Parameters: optional(
    list(
      structure({
        ParameterName: required(
          choice([
            ...(['LambdaArn', 'NumberOfRetries', 'MetadataExtractionQuery'] as const),
            ...(['JsonParsingEngine', 'RoleArn', 'BufferSizeInMBs'] as const),
            ...(['BufferIntervalInSeconds', 'SubRecordType', 'Delimiter'] as const),
            ...(['CompressionFormat', 'DataMessageExtraction'] as const),
          ]),
        ),
        ParameterValue: required(filledText(5120)),
      }),
    ),
  ),
});
const processing = optional(
  structure({ Enabled: optional(flag()), Processors: optional(list(processor)) }),
);

const s3Members = {
  RoleARN: required(arn),
  BucketARN: required(text({ pattern: 'arn:.*', min: 1, max: 2048 })),
  Prefix: optional(anyText(1024)),
  ErrorOutputPrefix: optional(anyText(1024)),
  BufferingHints: hints(128),
  CompressionFormat: optional(choice(['UNCOMPRESSED', 'GZIP', 'ZIP', 'Snappy', 'HADOOP_SNAPPY'])),
  EncryptionConfiguration: optional(
    structure({
      NoEncryptionConfig: optional(choice(['NoEncryption'])),
      KMSEncryptionConfig: optional(structure({ AWSKMSKeyARN: required(arn) })),
    }),
  ),
  CloudWatchLoggingOptions: logging,
};
const s3 = structure(s3Members);
const s3Update = structure(allOptional(s3Members));

const conversion = structure({
  SchemaConfiguration: optional(
    structure({
      ...{ RoleARN: optional(token), CatalogId: optional(token), DatabaseName: optional(token) },
      ...{ TableName: optional(token), Region: optional(token), VersionId: optional(token) },
    }),
  ),
  InputFormatConfiguration: optional(
    structure({
      Deserializer: optional(
        structure({
          OpenXJsonSerDe: optional(
            structure({
              ConvertDotsInJsonKeysToUnderscores: optional(flag()),
              CaseInsensitive: optional(flag()),
              ColumnToJsonKeyMappings: optional(
                textMap({ keyLengths: [1, 1024], valueLengths: [1, 1024] }),
              ),
            }),
          ),
          HiveJsonSerDe: optional(
            structure({ TimestampFormats: optional(list(filledText(1024))) }),
          ),
        }),
      ),
    }),
  ),
  OutputFormatConfiguration: optional(
    structure({
      Serializer: optional(
        structure({
          ParquetSerDe: optional(
            structure({
              BlockSizeBytes: optional(integer({ min: 67_108_864 })),
              PageSizeBytes: optional(integer({ min: 65_536 })),
              Compression: optional(choice(['UNCOMPRESSED', 'GZIP', 'SNAPPY'])),
              EnableDictionaryCompression: optional(flag()),
              MaxPaddingBytes: optional(integer({ min: 0 })),
              WriterVersion: optional(choice(['V1', 'V2'])),
            }),
          ),
          OrcSerDe: optional(whatever),
        }),
      ),
    }),
  ),
  Enabled: optional(flag()),
});

const extendedS3Members = {
  ...s3Members,
  ProcessingConfiguration: processing,
  S3BackupMode: optional(choice(['Disabled', 'Enabled'])),
  DataFormatConversionConfiguration: optional(conversion),
  DynamicPartitioningConfiguration: optional(
    structure({ RetryOptions: retryOptions, Enabled: optional(flag()) }),
  ),
  FileExtension: optional(text({ pattern: "$|\\.[0-9a-z!\\-_.*'()]+", max: 128 })),
  CustomTimeZone: optional(text({ pattern: '$|[a-zA-Z/_]+', max: 50 })),
};

const httpEndpointMembers = {
  EndpointConfiguration: required(
    structure({
      // Plaintext too: the hosts are those that the configuration allows.
      Url: required(text({ pattern: 'https?://.*', min: 1, max: 1000 })),
      Name: optional(filledText(256)),
      AccessKey: optional(anyText(4096)),
    }),
  ),
  BufferingHints: hints(64),
  CloudWatchLoggingOptions: logging,
  RequestConfiguration: optional(
    structure({
      ContentEncoding: optional(choice(['NONE', 'GZIP'])),
      CommonAttributes: optional(
        list(
          structure({
            AttributeName: required(filledText(256)),
            AttributeValue: required(anyText(1024)),
          }),
          { max: 50, shownMember: 'HttpEndpointCommonAttribute' },
        ),
      ),
    }),
  ),
  ProcessingConfiguration: processing,
  RoleARN: optional(arn),
  RetryOptions: retryOptions,
  S3BackupMode: optional(choice(['FailedDataOnly', 'AllData'])),
  SecretsManagerConfiguration: secretsManager,
};

const splunkMembers = {
  HECEndpoint: required(anyText(2048)),
  HECEndpointType: required(choice(['Raw', 'Event'])),
  HECToken: optional(anyText(2048)),
  HECAcknowledgmentTimeoutInSeconds: optional(integer({ min: 180, max: 600 })),
  RetryOptions: retryOptions,
  S3BackupMode: optional(choice(['FailedEventsOnly', 'AllEvents'])),
  ProcessingConfiguration: processing,
  CloudWatchLoggingOptions: logging,
  BufferingHints: hints(5, 60),
  SecretsManagerConfiguration: secretsManager,
};

const searchMembers = {
  RoleARN: required(arn),
  DomainARN: optional(arn),
  // Plaintext too, as for HTTP endpoints.
  ClusterEndpoint: optional(text({ pattern: 'https?:.*', min: 1, max: 512 })),
  IndexName: required(anyText(80, 1)),
  TypeName: optional(anyText(100)),
  IndexRotationPeriod: optional(choice(['NoRotation', 'OneHour', 'OneDay', 'OneWeek', 'OneMonth'])),
  BufferingHints: hints(100),
  RetryOptions: retryOptions,
  ProcessingConfiguration: processing,
  CloudWatchLoggingOptions: logging,
  VpcConfiguration: optional(whatever),
  DocumentIdOptions: optional(
    structure({
      DefaultDocumentIdFormat: required(choice(['FIREHOSE_DEFAULT', 'NO_DOCUMENT_ID'])),
    }),
  ),
};

/** Decided when it is made: an update has none. */
const searchBackup = { S3BackupMode: optional(choice(['FailedDocumentsOnly', 'AllDocuments'])) };

const redshiftMembers = {
  RoleARN: required(arn),
  ClusterJDBCURL: required(
    text({
      // Any host: those that are allowed are listed in the configuration.
      pattern: 'jdbc:(redshift|postgresql)://[A-Za-z0-9.-]{1,253}:\\d{1,5}/[a-zA-Z0-9_$-]+',
      ...{ min: 1, max: 512 },
    }),
  ),
  CopyCommand: required(
    structure({
      DataTableName: required(anyText(512, 1)),
      DataTableColumns: optional(anyText(204_800)),
      CopyOptions: optional(anyText(204_800)),
    }),
  ),
  Username: optional(anyText(512, 1)),
  Password: optional(anyText(512, 6)),
  RetryOptions: retryOptions,
  ProcessingConfiguration: processing,
  S3BackupMode: optional(choice(['Disabled', 'Enabled'])),
  CloudWatchLoggingOptions: logging,
  SecretsManagerConfiguration: secretsManager,
};

type AllOptional<M extends Members> = {
  readonly [K in keyof M]: M[K] extends Member<infer T, boolean> ? Member<T, false> : never;
};

function allOptional<M extends Members>(members: M): AllOptional<M> {
  const entries = Object.entries(members).map(([name, { shape }]) => [name, optional(shape)]);
  return Object.fromEntries(entries) as AllOptional<M>;
}

const backup = { S3BackupConfiguration: optional(s3) };
const backupUpdate = { S3BackupUpdate: optional(s3Update) };
const intermediate = { S3Configuration: required(s3) };
const intermediateUpdate = { S3Update: optional(s3Update) };

export const configurations = {
  S3: s3,
  ExtendedS3: structure({ ...extendedS3Members, ...backup }),
  HttpEndpoint: structure({ ...httpEndpointMembers, ...intermediate }),
  Splunk: structure({ ...splunkMembers, ...intermediate }),
  Amazonopensearchservice: structure({ ...searchMembers, ...searchBackup, ...intermediate }),
  Elasticsearch: structure({ ...searchMembers, ...searchBackup, ...intermediate }),
  Redshift: structure({ ...redshiftMembers, ...intermediate, ...backup }),
} as const;

const search = structure({ ...allOptional(searchMembers), ...intermediateUpdate });
export const updates = {
  S3: s3Update,
  ExtendedS3: structure({ ...allOptional(extendedS3Members), ...backupUpdate }),
  HttpEndpoint: structure({ ...allOptional(httpEndpointMembers), ...intermediateUpdate }),
  Splunk: structure({ ...allOptional(splunkMembers), ...intermediateUpdate }),
  Amazonopensearchservice: search,
  Elasticsearch: search,
  Redshift: structure({
    ...allOptional(redshiftMembers),
    ...intermediateUpdate,
    ...backupUpdate,
  }),
} as const;

export type DestinationKind = keyof typeof configurations;
export const destinationKinds = Object.keys(configurations) as readonly DestinationKind[];
export type Configuration<K extends DestinationKind> = Described<(typeof configurations)[K]>;
export type S3Configuration = Configuration<'S3'>;
export type Processing = NonNullable<Configuration<'ExtendedS3'>['ProcessingConfiguration']>;

/** A destination of one kind, as it was asked for. */
export type GivenDestination = {
  [K in DestinationKind]: { readonly kind: K; readonly configuration: Configuration<K> };
}[DestinationKind];
