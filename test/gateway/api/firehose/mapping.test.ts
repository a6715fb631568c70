/** What a delivery stream is asked for, as the delivery that it becomes; and what is refused, and why. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DestinationKind } from '../../../../gateway/api/firehose/destination-shapes.ts';
import { FirehoseError } from '../../../../gateway/api/firehose/errors.ts';
import { givenDestination } from '../../../../gateway/api/firehose/kept-streams.ts';
import { deliveryOf } from '../../../../gateway/api/firehose/mapping/delivery.ts';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import { bucketsAllowed, role } from './support.ts';

const bucket = { RoleARN: role, BucketARN: 'arn:aws:s3:::archive' };
const lambdaArn = 'arn:aws:lambda:us-east-1:000000000000:function:clean:live';

function mapped(
  kind: DestinationKind,
  configuration: object,
  places = bucketsAllowed,
): DeliveryOptions {
  return deliveryOf({
    ...{ name: 'orders', arn: 'arn:aws:firehose:us-east-1:000000000000:deliverystream/orders' },
    made: {
      ...{ type: 'DirectPut', stream: 'firehose.orders', roleArn: null, version: 3 },
      ...{ createdMs: 0, updatedMs: null, lostSecrets: false },
      destination: givenDestination(kind, configuration),
    },
    places,
  });
}

/** What a client is told. */
function refusal(kind: DestinationKind, configuration: object): string {
  try {
    mapped(kind, configuration);
  } catch (error) {
    assert.ok(error instanceof FirehoseError && error.type === 'InvalidArgumentException');
    return error.message;
  }
  return 'taken';
}

function s3(more: object): DeliveryOptions {
  return mapped('ExtendedS3', { ...bucket, ...more });
}

function s3Refusal(more: object): string {
  return refusal('ExtendedS3', { ...bucket, ...more });
}

function processors(...list: readonly [type: string, parameters: object][]): object {
  return {
    ProcessingConfiguration: {
      Enabled: true,
      Processors: list.map(([Type, parameters]) => ({
        Type,
        Parameters: Object.entries(parameters).map(([ParameterName, ParameterValue]) => ({
          ...{ ParameterName, ParameterValue: ParameterValue as unknown },
        })),
      })),
    },
  };
}

describe('a bucket', () => {
  test('gets the data as it is, every 5 MiB or 300 seconds, where nothing is said', () => {
    const delivery = s3({});
    assert.deepEqual(delivery.from, { stream: 'firehose.orders' });
    assert.deepEqual(delivery.buffer, { maxBytes: 5 * 2 ** 20, maxSeconds: 300 });
    assert.deepEqual([delivery.format?.type, delivery.format?.compression], ['raw', 'none']);
    assert.equal(delivery.format?.delimiter, null);
    assert.equal(delivery.version, 3);
    assert.ok('s3' in delivery.to);
    const { bucket: name, endpoint, prefix } = delivery.to.s3;
    assert.deepEqual([name, endpoint, prefix], ['archive', 'http://127.0.0.1:9', '']);
    assert.deepEqual(mapped('S3', bucket), delivery);
  });

  test('has hints, compressions, prefixes, a time zone and an extension', () => {
    for (const [given, wanted] of [
      ['UNCOMPRESSED', 'none'],
      ['GZIP', 'gzip'],
      ['ZIP', 'zip'],
      ['Snappy', 'snappy'],
      ['HADOOP_SNAPPY', 'hadoop-snappy'],
    ] as const) {
      assert.equal(s3({ CompressionFormat: given }).format?.compression, wanted);
    }
    const { buffer, layout, to } = s3({
      BufferingHints: { SizeInMBs: 128, IntervalInSeconds: 0 },
      Prefix: 'year=!{timestamp:yyyy}/',
      ErrorOutputPrefix: 'failed/!{firehose:error-output-type}/',
      CustomTimeZone: 'Europe/Berlin',
      FileExtension: '.log',
    });
    assert.deepEqual(buffer, { maxBytes: 128 * 2 ** 20, maxSeconds: 0 });
    assert.ok('s3' in to && to.s3.prefix === 'year=!{timestamp:yyyy}/');
    assert.deepEqual(
      [layout?.errorPrefix, layout?.timeZone, layout?.extension],
      ['failed/!{firehose:error-output-type}/', 'Europe/Berlin', '.log'],
    );
    assert.match(s3Refusal({ BufferingHints: { SizeInMBs: 5 } }), /both/);
    assert.equal(
      s3Refusal({ CustomTimeZone: 'Mars/Olympus' }),
      'ExtendedS3DestinationConfiguration.CustomTimeZone: is no time zone that is known.',
    );
    assert.match(s3Refusal({ Prefix: '!{timestamp:yyyy}/' }), /ErrorOutputPrefix/);
    assert.match(s3Refusal({ Prefix: '!{timestamp:yyyy/' }), /Configuration\.Prefix: is no prefix/);
  });

  test('is one that is allowed, and nothing else', () => {
    for (const BucketARN of [
      'arn:aws:s3:::secret',
      'arn:aws:s3:::archive/../secret',
      'arn:aws:s3:::',
      'arn:aws:s3:us-east-1:1:accesspoint/x',
      'arn:archive',
    ]) {
      assert.match(s3Refusal({ BucketARN }), /bucket/, BucketARN);
    }
    const key = { KMSEncryptionConfig: { AWSKMSKeyARN: 'arn:aws:kms:x' } };
    assert.match(s3Refusal({ EncryptionConfiguration: key }), /KMSEncryptionConfig/);
  });

  test('is divided by what is in the records', () => {
    const Query = { MetadataExtractionQuery: '{customer:.customer_id,year:.at|strftime("%Y")}' };
    const partitioned = {
      DynamicPartitioningConfiguration: { Enabled: true },
      Prefix: '!{partitionKeyFromQuery:customer}/!{partitionKeyFromQuery:year}/',
      ErrorOutputPrefix: 'failed/!{firehose:error-output-type}/',
    };
    const engine = { JsonParsingEngine: 'JQ-1.6' };
    const { layout, deaggregate, format } = s3({
      ...partitioned,
      ...processors(
        ['MetadataExtraction', { ...Query, ...engine }],
        ['RecordDeAggregation', { SubRecordType: 'JSON' }],
        ['AppendDelimiterToRecord', { Delimiter: '\\n' }],
      ),
    });
    assert.deepEqual(layout?.partitionBy, { customer: '.customer_id', year: '.at|strftime("%Y")' });
    assert.equal(layout.queryLanguage, 'jq');
    assert.equal(deaggregate?.type, 'json');
    assert.equal(format?.delimiter, '\n');
    assert.match(
      s3Refusal(partitioned),
      /Prefix: has .*, and MetadataExtractionQuery has no customer/,
    );
    assert.match(
      s3Refusal({ ...partitioned, DynamicPartitioningConfiguration: { Enabled: false } }),
      /Configuration\.Prefix: names partition keys, which/,
    );
    for (const MetadataExtractionQuery of ['.a', '{a:', '{a:input}', '{a:now}']) {
      const extraction = processors(['MetadataExtraction', { MetadataExtractionQuery, ...engine }]);
      assert.match(s3Refusal({ ...partitioned, ...extraction }), /MetadataExtractionQuery/);
    }
    const delimited = processors([
      'RecordDeAggregation',
      { SubRecordType: 'DELIMITED', Delimiter: Buffer.from('||').toString('base64') },
    ]);
    assert.deepEqual(s3(delimited).deaggregate, { type: 'delimited', delimiter: '||' });
  });

  test('gets what a function makes of the records, one that is allowed', () => {
    const { transform } = s3(
      processors([
        'Lambda',
        { LambdaArn: lambdaArn, NumberOfRetries: '5', BufferSizeInMBs: '0.5', RoleArn: role },
      ]),
    );
    assert.ok(transform !== null && transform !== undefined && 'lambda' in transform.function);
    assert.equal(transform.function.lambda.function, lambdaArn);
    assert.deepEqual([transform.retries, transform.batchBytes], [5, 2 ** 19]);
    assert.equal(s3({ ProcessingConfiguration: { Enabled: false } }).transform, null);
    const cases: readonly (readonly [object, RegExp])[] = [
      [{ LambdaArn: lambdaArn.replace('clean', 'other') }, /not among/],
      [{ LambdaArn: 'clean' }, /not the ARN/],
      [{}, /needs the parameter LambdaArn/],
      [{ LambdaArn: lambdaArn, NumberOfRetries: '1e9' }, /NumberOfRetries/],
      [{ LambdaArn: lambdaArn, BufferSizeInMBs: '9' }, /BufferSizeInMBs/],
      [{ LambdaArn: lambdaArn, Delimiter: 'x' }, /no parameter Delimiter/],
    ];
    for (const [parameters, reason] of cases) {
      assert.match(s3Refusal(processors(['Lambda', parameters])), reason);
    }
    assert.match(
      s3Refusal(processors(['Lambda', { LambdaArn: lambdaArn }], ['Lambda', {}])),
      /more than one/,
    );
    assert.match(
      s3Refusal(processors(['Decompression', { CompressionFormat: 'GZIP' }])),
      /CloudWatch/,
    );
  });

  test('gets Parquet', () => {
    const conversion = (serializer: object, deserializer: object = { OpenXJsonSerDe: {} }) => ({
      DataFormatConversionConfiguration: {
        Enabled: true,
        SchemaConfiguration: { DatabaseName: 'plant', TableName: 'orders' },
        InputFormatConfiguration: { Deserializer: deserializer },
        OutputFormatConfiguration: { Serializer: serializer },
      },
    });
    const { format, buffer } = s3(
      conversion(
        { ParquetSerDe: { Compression: 'GZIP', PageSizeBytes: 65_536 } },
        { OpenXJsonSerDe: { CaseInsensitive: false, ConvertDotsInJsonKeysToUnderscores: true } },
      ),
    );
    assert.deepEqual(
      [format?.type, format?.compression, format?.pageBytes, format?.ignoreCase],
      ['parquet', 'gzip', 65_536, false],
    );
    assert.equal(format?.dotsToUnderscores, true);
    assert.equal(buffer?.maxBytes, 128 * 2 ** 20);
    assert.equal(s3(conversion({ ParquetSerDe: {} })).format?.compression, 'snappy');
    assert.match(s3Refusal(conversion({ OrcSerDe: {} })), /ORC/);
    assert.match(
      s3Refusal({ ...conversion({ ParquetSerDe: {} }), CompressionFormat: 'GZIP' }),
      /UNCOMPRESSED/,
    );
    assert.match(
      s3Refusal({
        ...conversion({ ParquetSerDe: {} }),
        BufferingHints: { SizeInMBs: 5, IntervalInSeconds: 60 },
      }),
      /64/,
    );
    const mappings = { OpenXJsonSerDe: { ColumnToJsonKeyMappings: { a: 'b' } } };
    assert.match(s3Refusal(conversion({ ParquetSerDe: {} }, mappings)), /ColumnToJsonKeyMappings/);
  });
});

describe('an HTTP endpoint', () => {
  const Url = 'https://logs.example.net:8088/in';
  const http = (more: object = {}, endpoint: object = {}): object => ({
    EndpointConfiguration: { Url, ...endpoint },
    S3Configuration: bucket,
    ...more,
  });

  test('is told who sends, with its key and attributes', () => {
    const { to, buffer, retrySeconds } = mapped(
      'HttpEndpoint',
      http(
        {
          BufferingHints: { SizeInMBs: 1, IntervalInSeconds: 60 },
          RequestConfiguration: {
            ContentEncoding: 'GZIP',
            CommonAttributes: [{ AttributeName: 'site', AttributeValue: 'north' }],
          },
          RetryOptions: { DurationInSeconds: 60 },
        },
        { AccessKey: 'hush' },
      ),
    );
    assert.ok('http' in to);
    const { url, accessKey, compression, commonAttributes, sourceArn } = to.http;
    assert.deepEqual(
      { url, accessKey, compression, commonAttributes, sourceArn },
      {
        ...{ url: Url, accessKey: 'hush', compression: 'gzip' },
        commonAttributes: { site: 'north' },
        sourceArn: 'arn:aws:firehose:us-east-1:000000000000:deliverystream/orders',
      },
    );
    assert.deepEqual(buffer, { maxBytes: 2 ** 20, maxSeconds: 60 });
    assert.equal(retrySeconds, 60);
    assert.equal(mapped('HttpEndpoint', http()).retrySeconds, 300);
  });

  test('is one of the hosts that are allowed, by name and port', () => {
    for (const address of [
      'https://logs.example.net/in',
      'https://logs.example.net:8089/in',
      'https://169.254.169.254:8088/',
      'https://logs.example.net.evil.example:8088/',
      'https://logs.example.net:8088@evil.example/',
      'https://evil.example/?logs.example.net:8088',
      'https://u:p@logs.example.net:8088/',
      'https://',
    ]) {
      assert.notEqual(refusal('HttpEndpoint', http({}, { Url: address })), 'taken', address);
    }
    assert.equal(refusal('HttpEndpoint', http({}, { Url: Url.toUpperCase() })), 'taken');
    const SecretsManagerConfiguration = { Enabled: true };
    assert.match(refusal('HttpEndpoint', http({ SecretsManagerConfiguration })), /Secrets Manager/);
  });
});

test('Splunk gets events or raw data, and says when it has them', () => {
  const splunk = {
    ...{ HECEndpoint: 'https://logs.example.net:8088', HECEndpointType: 'Raw', HECToken: 'hush' },
    ...{ HECAcknowledgmentTimeoutInSeconds: 240, S3Configuration: bucket },
  };
  const { to, buffer } = mapped('Splunk', splunk);
  assert.ok('splunk' in to);
  assert.deepEqual(
    [to.splunk.endpoint, to.splunk.mode, to.splunk.token, to.splunk.ackTimeoutSeconds],
    ['https://logs.example.net:8088', 'raw', 'hush', 240],
  );
  assert.deepEqual(buffer, { maxBytes: 5 * 2 ** 20, maxSeconds: 60 });
  assert.match(refusal('Splunk', { ...splunk, HECToken: undefined }), /HECToken/);
});

test('OpenSearch gets documents into an index that changes by the day, or as is said', () => {
  const search = {
    ...{ RoleARN: role, IndexName: 'orders', S3Configuration: bucket },
    ClusterEndpoint: 'https://search.example.net',
  };
  for (const kind of ['Amazonopensearchservice', 'Elasticsearch'] as const) {
    const { to } = mapped(kind, search);
    assert.ok('opensearch' in to);
    const { endpoint, index, rotation, documentId } = to.opensearch;
    assert.deepEqual(
      [endpoint, index, rotation, documentId],
      ['https://search.example.net', 'orders', 'day', 'record'],
    );
  }
  const kind = 'Amazonopensearchservice';
  const hourly = mapped(kind, { ...search, IndexRotationPeriod: 'OneHour' }).to;
  assert.ok('opensearch' in hourly && hourly.opensearch.rotation === 'hour');
  assert.match(
    refusal(kind, { ...search, IndexName: 'UPPER' }),
    /^Amazon.*Configuration\.IndexName: is not allowed\. Allowed: 1 to 200/,
  );
  assert.match(refusal(kind, { ...search, TypeName: 'doc' }), /TypeName/);
  assert.match(refusal(kind, { ...search, VpcConfiguration: {} }), /VpcConfiguration/);
  assert.match(refusal(kind, { ...search, ClusterEndpoint: undefined }), /ClusterEndpoint/);
});

test('OpenSearch is signed for with the key that the configuration has for it, if any', () => {
  const search = {
    ...{ RoleARN: role, IndexName: 'orders', S3Configuration: bucket },
    ClusterEndpoint: 'https://search.example.net',
  };
  const accessOf = ({ to }: DeliveryOptions): unknown => {
    assert.ok('opensearch' in to);
    const { service, region, accessKeyId, secretAccessKey } = to.opensearch;
    return { service, region, accessKeyId, secretAccessKey };
  };
  const kind = 'Amazonopensearchservice';
  const key = { region: 'eu-central-1', accessKeyId: 'AKIASEARCH', secretAccessKey: 'hush' };
  assert.deepEqual(accessOf(mapped(kind, search, { ...bucketsAllowed, opensearch: key })), {
    ...{ service: 'es', ...key },
  });
  assert.deepEqual(accessOf(mapped(kind, search)), {
    ...{ service: null, region: null, accessKeyId: null, secretAccessKey: null },
  });
});

describe('a backup of all that is put', () => {
  const other = {
    ...{ RoleARN: role, BucketARN: 'arn:aws:s3:::other', Prefix: 'all/' },
    ...{ CompressionFormat: 'GZIP', BufferingHints: { SizeInMBs: 2, IntervalInSeconds: 60 } },
  };
  const search = {
    ...{ RoleARN: role, IndexName: 'orders', ClusterEndpoint: 'https://search.example.net' },
    ...{ S3Configuration: other, S3BackupMode: 'AllDocuments' },
  };
  const kinds: readonly (readonly [DestinationKind, object])[] = [
    ['ExtendedS3', { ...bucket, S3BackupMode: 'Enabled', S3BackupConfiguration: other }],
    [
      'Redshift',
      {
        ...{ RoleARN: role, CopyCommand: { DataTableName: 'orders' }, S3Configuration: bucket },
        ClusterJDBCURL: 'jdbc:redshift://warehouse.example.net:5439/plant',
        ...{ Username: 'loader', Password: 'hush-hush' },
        ...{ S3BackupMode: 'Enabled', S3BackupConfiguration: other },
      },
    ],
    [
      'HttpEndpoint',
      {
        EndpointConfiguration: { Url: 'https://logs.example.net:8088/in' },
        ...{ S3Configuration: other, S3BackupMode: 'AllData' },
      },
    ],
    [
      'Splunk',
      {
        HECEndpoint: 'https://logs.example.net:8088',
        ...{ HECEndpointType: 'Event', HECToken: 'hush' },
        ...{ S3Configuration: other, S3BackupMode: 'AllEvents' },
      },
    ],
    ['Amazonopensearchservice', search],
    ['Elasticsearch', search],
  ];

  test('is a backup of the delivery, into the bucket that is meant', () => {
    for (const [kind, configuration] of kinds) {
      const { backup, layout } = mapped(kind, configuration);
      assert.ok(typeof backup === 'object' && backup !== null && 's3' in backup.to, kind);
      const { to, format, buffer } = backup;
      assert.deepEqual([to.s3.bucket, to.s3.prefix], ['other', 'all/'], kind);
      assert.equal(to.s3.endpoint, 'http://127.0.0.1:9');
      assert.deepEqual(
        [format?.type, format?.compression, format?.delimiter],
        ['raw', 'gzip', null],
      );
      assert.deepEqual(buffer, { maxBytes: 2 * 2 ** 20, maxSeconds: 60 });
      assert.deepEqual([layout?.objectName, backup.layout?.objectName], ['orders', 'orders']);
    }
  });

  test('is not there unless it is asked for', () => {
    for (const [kind, configuration] of kinds) {
      assert.equal(mapped(kind, { ...configuration, S3BackupMode: undefined }).backup, null, kind);
    }
    assert.equal(s3({ S3BackupConfiguration: other }).backup, null);
  });

  test('goes where it may, and is told apart by nothing that is in records', () => {
    const withBackup = (more: object): string =>
      s3Refusal({ S3BackupMode: 'Enabled', S3BackupConfiguration: { ...other, ...more } });
    assert.equal(withBackup({}), 'taken');
    assert.match(s3Refusal({ S3BackupMode: 'Enabled' }), /S3BackupConfiguration: is needed/);
    assert.match(withBackup({ BucketARN: 'arn:aws:s3:::secret' }), /bucket secret is not among/);
    assert.match(withBackup({ BufferingHints: { SizeInMBs: 2 } }), /both/);
    assert.match(withBackup({ Prefix: '!{timestamp:yyyy}/' }), /ErrorOutputPrefix/);
    assert.match(
      withBackup({ Prefix: '!{partitionKeyFromQuery:site}/', ErrorOutputPrefix: 'e/' }),
      /dynamic partitioning/,
    );
    const key = { KMSEncryptionConfig: { AWSKMSKeyARN: 'arn:aws:kms:x' } };
    assert.match(withBackup({ EncryptionConfiguration: key }), /KMSEncryptionConfig/);
    const [, , , [, splunk] = []] = kinds;
    assert.match(
      refusal('Splunk', { ...splunk, S3Configuration: { ...other, BucketARN: 'arn:aws:s3:::x' } }),
      /bucket x is not among/,
    );
  });
});

describe('what fails', () => {
  const failures = {
    ...{ RoleARN: role, BucketARN: 'arn:aws:s3:::other', Prefix: 'all/' },
    ErrorOutputPrefix: 'lost/!{firehose:error-output-type}/',
    ...{ CompressionFormat: 'GZIP', BufferingHints: { SizeInMBs: 2, IntervalInSeconds: 60 } },
  };
  const endpoint = { EndpointConfiguration: { Url: 'https://logs.example.net:8088/in' } };
  const search = {
    ...{ RoleARN: role, IndexName: 'orders', ClusterEndpoint: 'https://search.example.net' },
  };
  const splunk = {
    ...{ HECEndpoint: 'https://logs.example.net:8088', HECEndpointType: 'Event', HECToken: 'hush' },
  };
  const kinds: readonly (readonly [DestinationKind, object, all: string])[] = [
    ['HttpEndpoint', endpoint, 'AllData'],
    ['Splunk', splunk, 'AllEvents'],
    ['Amazonopensearchservice', search, 'AllDocuments'],
    ['Elasticsearch', search, 'AllDocuments'],
  ];

  test('goes into the bucket of S3Configuration, whatever else does', () => {
    for (const [kind, configuration, all] of kinds) {
      for (const S3BackupMode of [undefined, all]) {
        const given = { ...configuration, S3Configuration: failures, S3BackupMode };
        const { failed, backup } = mapped(kind, given);
        assert.equal((backup ?? null) === null, S3BackupMode === undefined, kind);
        assert.ok(typeof failed === 'object' && failed !== null && 's3' in failed.to, kind);
        const { bucket: name, prefix, endpoint: address } = failed.to.s3;
        assert.deepEqual(
          [name, prefix, address],
          ['other', 'lost/!{firehose:error-output-type}/', 'http://127.0.0.1:9'],
        );
        assert.deepEqual(failed.format, { compression: 'gzip' });
        assert.deepEqual(failed.buffer, { maxBytes: 2 * 2 ** 20, maxSeconds: 60 });
        assert.equal(failed.layout?.objectName, 'orders');
      }
    }
    assert.equal(s3({}).failed, null, 'a bucket has its own error prefix');
  });

  test('goes below the Prefix where it has no prefix of its own', () => {
    for (const ErrorOutputPrefix of [undefined, '']) {
      const S3Configuration = { ...failures, ErrorOutputPrefix };
      const { failed } = mapped('HttpEndpoint', { ...endpoint, S3Configuration });
      assert.ok(failed && 's3' in failed.to);
      assert.equal(failed.to.s3.prefix, 'all/');
    }
  });

  test('goes into no bucket that is not possible, and the others are sent', () => {
    for (const [wrong, why] of [
      [{ BucketARN: 'arn:aws:s3:::secret' }, /bucket secret is not among/],
      [{ Prefix: '!{timestamp:yyyy}/', ErrorOutputPrefix: undefined }, /ErrorOutputPrefix/],
      [{ ErrorOutputPrefix: '!{timestamp:yyyy}/' }, /ErrorOutputPrefix/],
      [
        { EncryptionConfiguration: { KMSEncryptionConfig: { AWSKMSKeyARN: 'arn:aws:kms:x' } } },
        /KMSEncryptionConfig/,
      ],
    ] as const) {
      const given = { ...endpoint, S3Configuration: { ...failures, ...wrong } };
      assert.match(mapped('HttpEndpoint', given).failed?.withheld ?? '', why);
    }
  });
});

test('Redshift loads what lies in a bucket, by the role that it is given', () => {
  const redshift = {
    RoleARN: role,
    ClusterJDBCURL: 'jdbc:redshift://warehouse.example.net:5439/plant',
    CopyCommand: {
      ...{ DataTableName: 'sales.orders', DataTableColumns: 'id, price' },
      CopyOptions: "JSON 'auto' GZIP",
    },
    ...{ Username: 'loader', Password: 'hush-hush' },
    S3Configuration: { ...bucket, Prefix: 'staging/', CompressionFormat: 'GZIP' },
  };
  const { to, format, retrySeconds } = mapped('Redshift', redshift);
  assert.ok('redshift' in to);
  const { host, port, database, username, password, schema, table, columns } = to.redshift;
  assert.deepEqual(
    { host, port, database, username, password, schema, table, columns },
    {
      ...{ host: 'warehouse.example.net', port: 5439, database: 'plant', username: 'loader' },
      ...{ password: 'hush-hush', schema: 'sales', table: 'orders', columns: ['id', 'price'] },
    },
  );
  const { iamRole, copyOptions, staging } = to.redshift;
  assert.deepEqual([iamRole, copyOptions], [role, "JSON 'auto' GZIP"]);
  assert.deepEqual([staging.bucket, staging.prefix], ['archive', 'staging/']);
  assert.deepEqual([format?.type, format?.compression, retrySeconds], ['raw', 'gzip', 3600]);
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ ClusterJDBCURL: 'jdbc:redshift://other.example.net:5439/plant' }, /not among the hosts/],
    [{ S3Configuration: { ...bucket, BucketARN: 'arn:aws:s3:::secret' } }, /bucket secret/],
    [{ S3Configuration: { ...bucket, CompressionFormat: 'ZIP' } }, /UNCOMPRESSED or GZIP/],
    [
      { CopyCommand: { DataTableName: 'a', CopyOptions: '; DROP TABLE a' } },
      /Configuration\.CopyCommand\.CopyOptions: is not/,
    ],
    [
      { CopyCommand: { DataTableName: 'a', CopyOptions: 'BZIP2' } },
      /CopyOptions: has BZIP2, and S3Configuration\.CompressionFormat is GZIP\./,
    ],
    [{ CopyCommand: { DataTableName: 'a.b.c' } }, /not the name of a table/],
    [{ Password: undefined }, /Password/],
    [{ S3BackupMode: 'Enabled' }, /S3BackupConfiguration: is needed/],
  ];
  for (const [more, reason] of cases) {
    assert.match(refusal('Redshift', { ...redshift, ...more }), reason);
  }
});
