/** Requests that can't be had, and how they are refused: in the words of the API. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CreateDeliveryStreamCommand, UpdateDestinationCommand } from '@aws-sdk/client-firehose';
import type { DestinationKind } from '../../../../gateway/api/firehose/destination-shapes.ts';
import { FirehoseError } from '../../../../gateway/api/firehose/errors.ts';
import { givenDestination } from '../../../../gateway/api/firehose/kept-streams.ts';
import { deliveryOf } from '../../../../gateway/api/firehose/mapping/delivery.ts';
import { bucketsAllowed, errorOf, role, serveFirehose, stateMs } from './support.ts';

const bucket = { RoleARN: role, BucketARN: 'arn:aws:s3:::archive' };
const elsewhere = { RoleARN: role, BucketARN: 'arn:aws:s3:::secret' };
const bases: Readonly<Record<string, object>> = {
  ExtendedS3: bucket,
  HttpEndpoint: {
    EndpointConfiguration: { Url: 'https://logs.example.net:8088/in' },
    S3Configuration: bucket,
  },
  Splunk: {
    ...{ HECEndpoint: 'https://logs.example.net:8088', HECEndpointType: 'Raw', HECToken: 'hush' },
    S3Configuration: bucket,
  },
  Amazonopensearchservice: {
    ...{ RoleARN: role, IndexName: 'orders', ClusterEndpoint: 'https://search.example.net' },
    S3Configuration: bucket,
  },
  Redshift: {
    ...{ RoleARN: role, ClusterJDBCURL: 'jdbc:redshift://warehouse.example.net:5439/plant' },
    ...{ CopyCommand: { DataTableName: 'orders', CopyOptions: "JSON 'auto'" } },
    ...{ Username: 'loader', Password: 'hush-hush', S3Configuration: bucket },
  },
};

function processing(Type: string, parameters: Readonly<Record<string, string>>): object {
  const Parameters = Object.entries(parameters).map(([ParameterName, ParameterValue]) => ({
    ...{ ParameterName, ParameterValue },
  }));
  return { ProcessingConfiguration: { Enabled: true, Processors: [{ Type, Parameters }] } };
}

function extraction(MetadataExtractionQuery: string): object {
  return processing('MetadataExtraction', { MetadataExtractionQuery, JsonParsingEngine: 'JQ-1.6' });
}

function conversion(more: object): object {
  return {
    DataFormatConversionConfiguration: {
      Enabled: true,
      OutputFormatConfiguration: { Serializer: { ParquetSerDe: {} } },
      ...more,
    },
  };
}

const lambda = (name: string): string => `arn:aws:lambda:us-east-1:000000000000:function:${name}`;
const partitioned = {
  DynamicPartitioningConfiguration: { Enabled: true },
  ErrorOutputPrefix: 'failed/!{firehose:error-output-type}/',
};
const copy = (more: object): object => ({ CopyCommand: { DataTableName: 'orders', ...more } });
const hints = { BufferingHints: { SizeInMBs: 5 } };
const encrypted = {
  EncryptionConfiguration: { KMSEncryptionConfig: { AWSKMSKeyARN: 'arn:aws:kms:x' } },
};
const deserializer = (more: object): object =>
  conversion({ InputFormatConfiguration: { Deserializer: more } });

/** What is asked for on top of what would be taken, and the member that is told. */
const wrong: readonly (readonly [kind: DestinationKind, more: object, member: string])[] = [
  ['ExtendedS3', { BucketARN: 'arn:aws:s3:::secret' }, 'BucketARN'],
  ['ExtendedS3', { BucketARN: 'arn:archive' }, 'BucketARN'],
  ['ExtendedS3', { Prefix: '!{timestamp:yyyy}/' }, 'ErrorOutputPrefix'],
  ['ExtendedS3', { Prefix: '!{timestamp:yyyy/' }, 'Prefix'],
  ['ExtendedS3', { Prefix: 'x'.repeat(600) }, 'Prefix'],
  ['ExtendedS3', { ErrorOutputPrefix: 'x'.repeat(600) }, 'ErrorOutputPrefix'],
  ['ExtendedS3', { ErrorOutputPrefix: '!{firehose:random-string}/' }, 'ErrorOutputPrefix'],
  ['ExtendedS3', { ErrorOutputPrefix: '!{partitionKeyFromQuery:a}/' }, 'ErrorOutputPrefix'],
  ['ExtendedS3', { Prefix: '!{firehose:error-output-type}/', ErrorOutputPrefix: 'e/' }, 'Prefix'],
  ['ExtendedS3', { CustomTimeZone: 'Mars/Olympus' }, 'CustomTimeZone'],
  ['ExtendedS3', hints, 'BufferingHints'],
  ['ExtendedS3', encrypted, 'EncryptionConfiguration.KMSEncryptionConfig'],
  ['ExtendedS3', { Prefix: '!{partitionKeyFromQuery:a}/' }, 'Prefix'],
  ['ExtendedS3', { ...partitioned, Prefix: 'a/' }, 'Prefix'],
  ['ExtendedS3', { ...partitioned, Prefix: '!{partitionKeyFromQuery:a}/' }, 'Prefix'],
  ['ExtendedS3', { ...partitioned, Prefix: '!{partitionKeyFromLambda:a}/' }, 'Prefix'],
  ...['.a', '{a:', '{a:input}', '{a:.a, b:.b}', '{a:.a, "x y":.b}'].map(
    (query) =>
      [
        'ExtendedS3',
        { ...partitioned, Prefix: '!{partitionKeyFromQuery:a}/', ...extraction(query) },
        'ProcessingConfiguration',
      ] as const,
  ),
  ['ExtendedS3', extraction('{a:.a}'), 'ProcessingConfiguration'],
  [
    'ExtendedS3',
    processing('Lambda', { LambdaArn: lambda('other') }),
    'ProcessingConfiguration.LambdaArn',
  ],
  [
    'ExtendedS3',
    processing('Lambda', { LambdaArn: lambda(`clean:${'x'.repeat(128)}`) }),
    'ProcessingConfiguration.LambdaArn',
  ],
  [
    'ExtendedS3',
    processing('Lambda', { LambdaArn: lambda('clean'), NumberOfRetries: '1.5' }),
    'ProcessingConfiguration.NumberOfRetries',
  ],
  [
    'ExtendedS3',
    processing('Lambda', { LambdaArn: lambda('clean'), BufferSizeInMBs: '9' }),
    'ProcessingConfiguration',
  ],
  ['ExtendedS3', processing('Decompression', {}), 'ProcessingConfiguration'],
  ['ExtendedS3', processing('RecordDeAggregation', {}), 'ProcessingConfiguration'],
  [
    'ExtendedS3',
    processing('RecordDeAggregation', {
      ...{ SubRecordType: 'DELIMITED', Delimiter: Buffer.from('x'.repeat(99)).toString('base64') },
    }),
    'ProcessingConfiguration',
  ],
  [
    'ExtendedS3',
    processing('AppendDelimiterToRecord', { Delimiter: 'x'.repeat(17) }),
    'ProcessingConfiguration',
  ],
  [
    'ExtendedS3',
    { ...conversion({}), ...processing('AppendDelimiterToRecord', {}) },
    'ProcessingConfiguration',
  ],
  ['ExtendedS3', { ...conversion({}), CompressionFormat: 'GZIP' }, 'CompressionFormat'],
  [
    'ExtendedS3',
    { ...conversion({}), BufferingHints: { SizeInMBs: 5, IntervalInSeconds: 60 } },
    'BufferingHints.SizeInMBs',
  ],
  [
    'ExtendedS3',
    conversion({ OutputFormatConfiguration: { Serializer: { OrcSerDe: {} } } }),
    'DataFormatConversionConfiguration.OutputFormatConfiguration.Serializer.OrcSerDe',
  ],
  [
    'ExtendedS3',
    conversion({
      OutputFormatConfiguration: { Serializer: { ParquetSerDe: { PageSizeBytes: 2 ** 31 - 1 } } },
    }),
    'DataFormatConversionConfiguration.OutputFormatConfiguration.Serializer.ParquetSerDe.PageSizeBytes',
  ],
  [
    'ExtendedS3',
    deserializer({ HiveJsonSerDe: { TimestampFormats: ['yyyy'] } }),
    'DataFormatConversionConfiguration.InputFormatConfiguration.Deserializer.HiveJsonSerDe',
  ],
  [
    'ExtendedS3',
    deserializer({ OpenXJsonSerDe: { ColumnToJsonKeyMappings: { a: 'b' } } }),
    'DataFormatConversionConfiguration.InputFormatConfiguration.Deserializer.OpenXJsonSerDe',
  ],
  ['ExtendedS3', { S3BackupMode: 'Enabled' }, 'S3BackupConfiguration'],
  ...Object.entries({
    BucketARN: elsewhere,
    BufferingHints: { ...bucket, ...hints },
    EncryptionConfiguration: { ...bucket, ...encrypted },
    ErrorOutputPrefix: { ...bucket, Prefix: '!{timestamp:yyyy}/' },
    Prefix: { ...bucket, Prefix: '!{partitionKeyFromQuery:a}/' },
  }).flatMap(([member, given]) => [
    [
      'ExtendedS3',
      { S3BackupMode: 'Enabled', S3BackupConfiguration: given },
      `S3BackupConfiguration.${member}`,
    ] as const,
    [
      'HttpEndpoint',
      { S3BackupMode: 'AllData', S3Configuration: given },
      `S3Configuration.${member}`,
    ] as const,
  ]),
  ['HttpEndpoint', { EndpointConfiguration: { Url: 'https://evil.example/' } }, 'Endpoint'],
  [
    'HttpEndpoint',
    { EndpointConfiguration: { Url: 'https://u:hush@logs.example.net:8088/' } },
    'EndpointConfiguration.Url',
  ],
  [
    'HttpEndpoint',
    {
      EndpointConfiguration: {
        ...{ Url: 'https://logs.example.net:8088/', AccessKey: 'hush'.repeat(999) },
      },
    },
    'EndpointConfiguration.AccessKey',
  ],
  ['HttpEndpoint', { SecretsManagerConfiguration: { Enabled: true } }, 'SecretsManager'],
  ['HttpEndpoint', extraction('{a:.a}'), 'ProcessingConfiguration'],
  ['HttpEndpoint', processing('AppendDelimiterToRecord', {}), 'ProcessingConfiguration'],
  ['HttpEndpoint', hints, 'BufferingHints'],
  ['Splunk', { HECToken: '' }, 'HECToken'],
  ['Splunk', { HECToken: 'hush'.repeat(500) }, 'HECToken'],
  ['Splunk', { HECEndpoint: 'https://evil.example' }, 'HECEndpoint'],
  ['Splunk', { HECEndpoint: 'nothing' }, 'HECEndpoint'],
  ['Amazonopensearchservice', { IndexName: 'UPPER' }, 'IndexName'],
  ['Amazonopensearchservice', { TypeName: 'doc' }, 'TypeName'],
  ['Amazonopensearchservice', { VpcConfiguration: {} }, 'VpcConfiguration'],
  ['Amazonopensearchservice', { ClusterEndpoint: undefined }, 'ClusterEndpoint'],
  ['Amazonopensearchservice', { ClusterEndpoint: 'https://evil.example' }, 'ClusterEndpoint'],
  ['Redshift', { Password: undefined }, 'Password'],
  ['Redshift', { Password: 'hush-\n-hush' }, 'Password'],
  ['Redshift', { Username: 'x'.repeat(200) }, 'Username'],
  ['Redshift', { RoleARN: 'arn:aws:iam::1:role/x y' }, 'RoleARN'],
  ['Redshift', { ClusterJDBCURL: 'jdbc:redshift://evil.example:5439/plant' }, 'ClusterJDBCURL'],
  [
    'Redshift',
    { ClusterJDBCURL: `jdbc:redshift://warehouse.example.net:5439/${'x'.repeat(200)}` },
    'ClusterJDBCURL',
  ],
  ['Redshift', { ClusterJDBCURL: 'jdbc:redshift://warehouse.example.net:0/a' }, 'ClusterJDBCURL'],
  ['Redshift', { S3Configuration: elsewhere }, 'S3Configuration.BucketARN'],
  ['Redshift', { S3Configuration: { ...bucket, CompressionFormat: 'ZIP' } }, 'S3Configuration'],
  ['Redshift', { S3Configuration: { ...bucket, ...hints } }, 'S3Configuration.BufferingHints'],
  [
    'Redshift',
    { S3Configuration: { ...bucket, Prefix: 'x'.repeat(600) } },
    'S3Configuration.Prefix',
  ],
  ['Redshift', { S3BackupMode: 'Enabled' }, 'S3BackupConfiguration'],
  ['Redshift', extraction('{a:.a}'), 'ProcessingConfiguration'],
  ['Redshift', copy({ DataTableName: 'a.b.c' }), 'CopyCommand.DataTableName'],
  ['Redshift', copy({ DataTableName: 'x'.repeat(200) }), 'CopyCommand.DataTableName'],
  ['Redshift', copy({ DataTableName: `${'x'.repeat(200)}.a` }), 'CopyCommand.DataTableName'],
  ['Redshift', copy({ DataTableColumns: `a, ${'x'.repeat(200)}` }), 'CopyCommand.DataTableColumns'],
  ...[
    ...['; DROP TABLE a', 'x'.repeat(3000), 'BZIP2', 'GZIP', 'FORMAT AS PARQUET', 'MANIFEST'],
    ...['IAM_ROLE default', 'CREDENTIALS x', 'ACCESS_KEY_ID x', 'SECRET_ACCESS_KEY x'],
    ...['SESSION_TOKEN x', "REGION 'us-east-1'", 'MAXERROR 10', 'NOLOAD', 'IGNOREHEADER 1'],
  ].map((CopyOptions) => ['Redshift', copy({ CopyOptions }), 'CopyCommand.CopyOptions'] as const),
];

/** Keys of the configuration: those of a delivery with dots, and words that only they are. */
const keys =
  /\b(to\.[a-z]|format\.|layout\.|transform\b|buffer\.|backup\.|deliveries|partitionBy|errorPrefix|copyOptions|iamRole|retrySeconds|timeZone|queryLanguage|staging|hive)/;

/** What a client is told. */
function refusal(kind: DestinationKind, configuration: object): string {
  try {
    deliveryOf({
      ...{ name: 'orders', arn: 'arn:aws:firehose:us-east-1:000000000000:deliverystream/orders' },
      made: {
        ...{ type: 'DirectPut', stream: 'firehose.orders', roleArn: null, version: 1 },
        ...{ createdMs: 0, updatedMs: null, lostSecrets: false },
        destination: givenDestination(kind, configuration),
      },
      places: bucketsAllowed,
    });
  } catch (error) {
    assert.ok(error instanceof FirehoseError && error.type === 'InvalidArgumentException');
    return error.message;
  }
  return 'taken';
}

describe('what can not be had is refused with the member of the request', () => {
  for (const [kind, more, member] of wrong) {
    test(`${kind} ${JSON.stringify(more).slice(0, 120)}`, () => {
      const message = refusal(kind, { ...bases[kind], ...more });
      assert.ok(message.startsWith(`${kind}DestinationConfiguration.${member}`), message);
      assert.match(message, /^[A-Za-z0-9.]+: \S.*\.$/s);
      assert.doesNotMatch(message.replaceAll(/firehose\.allowed\.\w+/g, ''), keys);
      assert.ok(!message.includes('hush'), 'no secrets');
    });
  }
});

test('of an update, its own members are named', async (t) => {
  const served = await serveFirehose(t);
  const { client, clock } = served;
  for (const [kind, base] of Object.entries(bases)) {
    await client.send(
      new CreateDeliveryStreamCommand({
        ...{ DeliveryStreamName: kind, [`${kind}DestinationConfiguration`]: base },
      }),
    );
    clock.advance(stateMs);
  }
  const update = (DeliveryStreamName: string, change: object): Promise<string> =>
    errorOf(
      client.send(
        new UpdateDestinationCommand({
          ...{ DeliveryStreamName, CurrentDeliveryStreamVersionId: '1' },
          ...{ DestinationId: 'destinationId-000000000001', ...change },
        }),
      ),
    );
  const prefix = { Prefix: '!{timestamp:yyyy}/' };
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ['ExtendedS3', { ExtendedS3DestinationUpdate: prefix }, /ExtendedS3DestinationUpdate\.Error/],
    ['ExtendedS3', { S3DestinationUpdate: prefix }, /: S3DestinationUpdate\.ErrorOutputPrefix: /],
    [
      'ExtendedS3',
      { ExtendedS3DestinationUpdate: { S3BackupMode: 'Enabled', S3BackupUpdate: elsewhere } },
      /: ExtendedS3DestinationUpdate\.S3BackupUpdate\.BucketARN: /,
    ],
    [
      'Splunk',
      { SplunkDestinationUpdate: { S3BackupMode: 'AllEvents', S3Update: elsewhere } },
      /: SplunkDestinationUpdate\.S3Update\.BucketARN: /,
    ],
    [
      'Redshift',
      { RedshiftDestinationUpdate: copy({ CopyOptions: 'GZIP' }) },
      /: RedshiftDestinationUpdate\.CopyCommand\.CopyOptions: has GZIP, and S3Update\.Comp/,
    ],
    [
      'Splunk',
      { ExtendedS3DestinationUpdate: { Prefix: 'a/' } },
      /^ValidationException: .*'extendedS3DestinationUpdate\.bucketARN'/,
    ],
  ];
  for (const [name, change, reason] of cases) assert.match(await update(name, change), reason);
});
