/**
 * One delivery stream with everything that Firehose has for a lake, made and fed over its API: records go
 * through a Lambda function, are told apart by what it and a query say, and arrive as Parquet, which
 * DuckDB reads; their originals are kept.
 */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type {
  Deliveries,
  DeliveryMeteringAnswer,
} from '../../../gateway/api/rest/delivery-schemas.ts';
import { asParquet, readByDuckDb } from '../../gateway/forward/format/support/duckdb.ts';
import {
  credentials,
  getObject,
  getObjects,
  listKeys,
  s3Client,
  startS3,
} from '../../gateway/forward/support/servers.ts';
import { keys as lambdaKeys, serveLambda } from '../../gateway/functions/support/functions.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { javaScriptSdk } from '../aws/clients.ts';
import { createDeliveryStream, processor, putRecords, role } from './support.ts';

const key = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'secret-of-the-owner' };
const functionArn = 'arn:aws:lambda:us-east-1:000000000000:function:clean';
const count = 400;

interface Reading {
  readonly id: number;
  readonly site: string;
  readonly value: number;
}

const readingOf = (id: number): Reading => ({ id, site: `s${id % 2}`, value: id / 8 });
const outcomeOf = ({ id }: Reading): 'Ok' | 'Dropped' | 'ProcessingFailed' =>
  id % 10 === 3 ? 'Dropped' : id % 10 === 7 ? 'ProcessingFailed' : 'Ok';
const kindOf = ({ id }: Reading): string => (id % 3 === 0 ? 'third' : 'other');

function clean(event: unknown): unknown {
  const { records } = event as { records: readonly { recordId: string; data: string }[] };
  return {
    records: records.map(({ recordId, data }) => {
      const reading = JSON.parse(Buffer.from(data, 'base64').toString()) as Reading;
      const made = JSON.stringify({ ...reading, cleaned: true });
      return {
        ...{ recordId, result: outcomeOf(reading), data: Buffer.from(made).toString('base64') },
        metadata: { partitionKeys: { kind: kindOf(reading) } },
      };
    }),
  };
}

test('a function, partitions by two sources and Parquet, in one delivery stream', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 's3'));
  const s3 = await startS3(t, join(folder, 's3'));
  const bucket = s3Client(t, s3.endpoint);
  const lambda = await serveLambda(t, functionArn, clean);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `auth: { keys: ${JSON.stringify([{ name: 'owner', ...key }])} }
firehose:
  allowed: { buckets: [bucket], functions: [clean] }
  s3: ${JSON.stringify({ endpoint: s3.endpoint, region: 'us-east-1', ...credentials })}
  lambda: ${JSON.stringify({ endpoint: lambda, region: 'us-east-1', ...lambdaKeys })}`,
  );
  const client = javaScriptSdk(t, { url: gateway.url, ...key });
  const at = { RoleARN: role, BucketARN: 'arn:aws:s3:::bucket' };
  await createDeliveryStream(client, 'lake', {
    ExtendedS3DestinationConfiguration: {
      ...at,
      Prefix: 'site=!{partitionKeyFromQuery:site}/kind=!{partitionKeyFromLambda:kind}/',
      ErrorOutputPrefix: 'failed/!{firehose:error-output-type}/',
      BufferingHints: { SizeInMBs: 64, IntervalInSeconds: 0 },
      DynamicPartitioningConfiguration: { Enabled: true },
      ProcessingConfiguration: {
        Enabled: true,
        Processors: [
          processor('Lambda', { LambdaArn: functionArn, NumberOfRetries: '1' }),
          processor('MetadataExtraction', {
            ...{ MetadataExtractionQuery: '{site:.site}', JsonParsingEngine: 'JQ-1.6' },
          }),
        ],
      },
      DataFormatConversionConfiguration: {
        Enabled: true,
        InputFormatConfiguration: { Deserializer: { OpenXJsonSerDe: {} } },
        OutputFormatConfiguration: { Serializer: { ParquetSerDe: { Compression: 'GZIP' } } },
      },
      S3BackupMode: 'Enabled',
      S3BackupConfiguration: {
        ...{ ...at, Prefix: 'originals/', BufferingHints: { SizeInMBs: 1, IntervalInSeconds: 0 } },
      },
    },
  });
  await gateway.until<Deliveries>('/deliveries', ({ deliveries }) => deliveries.length === 2);
  const readings = Array.from({ length: count }, (_, id) => readingOf(id));
  await putRecords(
    client,
    'lake',
    readings.map((reading) => JSON.stringify(reading)),
  );
  await gateway.until<Deliveries>('/deliveries', ({ deliveries }) =>
    deliveries.every(({ state }) => state === 'idle'),
  );

  const stored = await listKeys(bucket);
  const wanted = new Map<string, number[]>();
  for (const reading of readings.filter((one) => outcomeOf(one) === 'Ok')) {
    const prefix = `site=${reading.site}/kind=${kindOf(reading)}/`;
    wanted.set(prefix, [...(wanted.get(prefix) ?? []), reading.id]);
  }
  const partitions = stored.filter((one) => one.startsWith('site='));
  assert.deepEqual(
    new Set(partitions.map((one) => one.slice(0, one.lastIndexOf('/') + 1))),
    new Set(wanted.keys()),
  );
  for (const [prefix, its] of wanted) {
    const ids: number[] = [];
    for (const one of partitions.filter((name) => name.startsWith(prefix))) {
      assert.match(one.slice(prefix.length), /^lake-1-\d{4}(-\d\d){5}-[0-9a-f-]{36}\.parquet$/);
      const read = await readByDuckDb(t, await getObject(bucket, one), asParquet);
      if (read === null) return;
      assert.deepEqual(read.types, {
        ...{ id: 'BIGINT', site: 'VARCHAR', value: 'DOUBLE', cleaned: 'BOOLEAN' },
      });
      for (const { id, site, value, cleaned } of read.rows) {
        const reading = readingOf(Number(id));
        assert.deepEqual([site, value, cleaned], [reading.site, reading.value, true]);
        ids.push(reading.id);
      }
    }
    assert.deepEqual(
      ids.sort((a, b) => a - b),
      its,
    );
  }

  const failed = stored.filter((one) => one.startsWith('failed/processing-failed/lake-1-'));
  const lines = Buffer.concat(await getObjects(bucket, failed))
    .toString()
    .trim()
    .split('\n');
  assert.deepEqual(
    lines.map((line) => {
      const { rawData } = JSON.parse(line) as { rawData: string };
      return JSON.parse(Buffer.from(rawData, 'base64').toString()) as Reading;
    }),
    readings.filter((reading) => outcomeOf(reading) === 'ProcessingFailed'),
  );
  const originals = stored.filter((one) => one.startsWith('originals/'));
  assert.equal(
    Buffer.concat(await getObjects(bucket, originals)).toString(),
    readings.map((reading) => JSON.stringify(reading)).join(''),
  );
  assert.equal(stored.length, partitions.length + failed.length + originals.length);

  const { metrics } = await gateway.get<DeliveryMeteringAnswer>('/deliveries/lake/metering');
  const measured = new Map(
    metrics.map(({ name, total, lastMinute }) => [name, total ?? lastMinute]),
  );
  assert.equal(measured.get('PartitionCount'), wanted.size);
  assert.equal(measured.get('PartitionCountExceeded'), 0);
  assert.equal(measured.get('BackupToS3.Records'), count);
});
