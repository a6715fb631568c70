/**
 * Firehose of a whole gateway, signatures checked, as boto3, awscli and the JavaScript SDK ask for it:
 * a delivery stream of each is made, put to, redirected, found after a kill and a restart, and
 * deleted; its records lie in the buckets of a real S3 server. What is not installed is skipped.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { operations } from '../../../gateway/api/firehose/operations/operations.ts';
import type { Deliveries } from '../../../gateway/api/rest/delivery-schemas.ts';
import {
  credentials,
  getObjects,
  listKeys,
  s3Client,
  startS3,
} from '../../gateway/forward/support/servers.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { javaScriptSdk, pythonClient, type Client } from '../aws/clients.ts';
import { role } from './support.ts';

const key = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'secret-of-the-owner' };
const reader = { accessKeyId: 'AKIAREADER', secretAccessKey: 'secret-of-the-reader' };
const KiB = 1024;

/** A text: the older awscli takes nothing else. */
function makeRecord(): Buffer {
  return Buffer.from(randomBytes(100 * KiB).toString('hex'));
}

interface Description {
  readonly DeliveryStreamDescription: {
    readonly VersionId: string;
    readonly DeliveryStreamStatus: string;
    readonly Destinations: readonly {
      readonly ExtendedS3DestinationDescription?: { readonly Prefix?: string };
    }[];
  };
}

async function until<T>(ask: () => Promise<T>, isEnough: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (isEnough(answer)) return answer;
  }
}

async function nameOfError(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'none',
    (error: unknown) => (error as Error).name,
  );
}

/** Makes a delivery stream and puts more than a buffer to it. @returns what was put */
async function begin(client: Client, name: string): Promise<readonly Buffer[]> {
  const DeliveryStreamName = name;
  await client.ask('CreateDeliveryStream', {
    DeliveryStreamName,
    ExtendedS3DestinationConfiguration: {
      ...{ RoleARN: role, BucketARN: 'arn:aws:s3:::bucket', Prefix: `${name}/a/` },
      BufferingHints: { SizeInMBs: 1, IntervalInSeconds: 900 },
    },
    Tags: [{ Key: 'client', Value: name }],
  });
  const described = await until(
    () => client.ask<Description>('DescribeDeliveryStream', { DeliveryStreamName }),
    ({ DeliveryStreamDescription }) => DeliveryStreamDescription.DeliveryStreamStatus === 'ACTIVE',
  );
  assert.equal(described.DeliveryStreamDescription.VersionId, '1');
  const records = Array.from({ length: 8 }, makeRecord);
  const [first, ...others] = records;
  assert.ok(first !== undefined);
  const { RecordId } = await client.ask<{ RecordId: string }>('PutRecord', {
    DeliveryStreamName,
    Record: { Data: first.toString('base64') },
  });
  assert.match(RecordId, /^shardId-/);
  for (const some of [others.slice(0, 3), others.slice(3)]) {
    const answer = await client.ask<{ FailedPutCount: number }>('PutRecordBatch', {
      DeliveryStreamName,
      Records: some.map((data) => ({ Data: data.toString('base64') })),
    });
    assert.equal(answer.FailedPutCount, 0);
  }
  await client.ask('StartDeliveryStreamEncryption', { DeliveryStreamName });
  await client.ask('StopDeliveryStreamEncryption', { DeliveryStreamName });
  await client.ask('TagDeliveryStream', { DeliveryStreamName, Tags: [{ Key: 'k', Value: 'v' }] });
  await client.ask('UntagDeliveryStream', { DeliveryStreamName, TagKeys: ['k'] });
  return records;
}

/** Everything is as it was left; redirects it, and puts as much again. */
async function goOn(client: Client, name: string): Promise<readonly Buffer[]> {
  const DeliveryStreamName = name;
  const { Tags } = await client.ask<{ Tags: unknown }>('ListTagsForDeliveryStream', {
    DeliveryStreamName,
  });
  assert.deepEqual(Tags, [{ Key: 'client', Value: name }]);
  const update = {
    ...{ DeliveryStreamName, DestinationId: 'destinationId-000000000001' },
    CurrentDeliveryStreamVersionId: '1',
    ExtendedS3DestinationUpdate: { Prefix: `${name}/b/` },
  };
  await client.ask('UpdateDestination', update);
  assert.equal(
    await nameOfError(client.ask('UpdateDestination', update)),
    'ConcurrentModificationException',
  );
  const { DeliveryStreamDescription } = await client.ask<Description>('DescribeDeliveryStream', {
    DeliveryStreamName,
  });
  assert.equal(DeliveryStreamDescription.VersionId, '2');
  assert.equal(
    DeliveryStreamDescription.Destinations[0]?.ExtendedS3DestinationDescription?.Prefix,
    `${name}/b/`,
  );
  const records = Array.from({ length: 8 }, makeRecord);
  await client.ask('PutRecordBatch', {
    DeliveryStreamName,
    Records: records.map((data) => ({ Data: data.toString('base64') })),
  });
  return records;
}

test('what clients put into delivery streams lies in buckets, over a restart', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 's3'));
  const s3 = await startS3(t, join(folder, 's3'));
  const policy = '{"Statement": {"Effect": "Allow", "Action": "firehose:List*", "Resource": "*"}}';
  const keys = [
    { name: 'owner', ...key },
    { name: 'reader', ...reader, policies: [policy] },
  ];
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `auth: { keys: ${JSON.stringify(keys)} }
streams: { readings: {} }
deliveries: { local: { from: { stream: readings }, to: { folder: { path: out } } } }
firehose:
  allowed: { buckets: [bucket] }
  s3: ${JSON.stringify({ endpoint: s3.endpoint, region: 'us-east-1', ...credentials })}`,
  );
  const options = { url: gateway.url, ...key };
  const found: Readonly<Record<string, Client | null>> = {
    'javascript-sdk': javaScriptSdk(t, options),
    boto3: await pythonClient(t, 'boto3', options),
    awscli: await pythonClient(t, 'awscli', options),
  };
  const clients = Object.entries(found).flatMap(([name, client]) =>
    client === null ? [] : [{ name, client }],
  );
  const bucket = s3Client(t, s3.endpoint);
  const put = new Map<string, readonly Buffer[]>();
  for (const { name, client } of clients) put.set(name, await begin(client, name));

  await gateway.child.stop('SIGKILL');
  await gateway.restart();

  for (const { name, client } of clients) {
    const after = await goOn(client, name);
    const all = [...(put.get(name) ?? []), ...after];
    const bytes = all.reduce((sum, { length }) => sum + length, 0);
    await gateway.until<Deliveries>('/deliveries', ({ deliveries }) =>
      deliveries.some((one) => one.name === name && one.backlog.bytes < 1.2 * 2 ** 20),
    );
    const keysOf = (await listKeys(bucket)).filter((one) => one.startsWith(`${name}/`)).sort();
    const objects = await getObjects(bucket, keysOf);
    const sent = Buffer.concat(objects);
    assert.ok(sent.length > 2 ** 20 && sent.length <= bytes, `${name}: ${sent.length} of ${bytes}`);
    assert.ok(
      Buffer.concat([...all])
        .subarray(0, sent.length)
        .equals(sent),
      name,
    );
    for (const one of keysOf) assert.match(one, new RegExp(`^${name}/[ab]/\\d{4}/\\d\\d/\\d\\d/`));
    const { DeliveryStreamNames } = await client.ask<{ DeliveryStreamNames: string[] }>(
      'ListDeliveryStreams',
      {},
    );
    assert.ok(DeliveryStreamNames.includes(name) && DeliveryStreamNames.includes('local'));
    await client.ask('PutRecord', { DeliveryStreamName: 'local', Record: { Data: 'eA==' } });
    await client.ask('DeleteDeliveryStream', { DeliveryStreamName: name });
    await until(
      () => nameOfError(client.ask('DescribeDeliveryStream', { DeliveryStreamName: name })),
      (outcome) => outcome === 'ResourceNotFoundException',
    );
    assert.deepEqual([...client.succeeded].sort(), [...operations.keys()].sort());
  }

  const wrong = javaScriptSdk(t, { ...options, secretAccessKey: 'another' });
  assert.equal(
    await nameOfError(wrong.ask('ListDeliveryStreams', {})),
    'InvalidSignatureException',
  );
  const restricted = javaScriptSdk(t, { url: gateway.url, ...reader });
  await restricted.ask('ListDeliveryStreams', {});
  assert.equal(
    await nameOfError(
      restricted.ask('PutRecord', { DeliveryStreamName: 'local', Record: { Data: 'eA==' } }),
    ),
    'AccessDeniedException',
  );
});
