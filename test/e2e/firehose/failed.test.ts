/**
 * What an endpoint refuses, over Firehose's API of a whole gateway: it lies in the bucket as Firehose
 * leaves it there, once each over kills, and can be sent again from the gateway all the same.
 */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type {
  Deliveries,
  DeliveryMeteringAnswer,
} from '../../../gateway/api/rest/delivery-schemas.ts';
import {
  accessKey,
  startFirehoseEndpoint,
} from '../../gateway/forward/support/firehose-endpoint.ts';
import {
  credentials,
  getObjects,
  listKeys,
  s3Client,
  startS3,
} from '../../gateway/forward/support/servers.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { javaScriptSdk } from '../aws/clients.ts';
import { createDeliveryStream, putRecords, role } from './support.ts';

const key = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'secret-of-the-owner' };
const hints = { SizeInMBs: 1, IntervalInSeconds: 0 };
const rounds = 3;

interface Line {
  readonly errorCode: string;
  readonly rawData: string;
}

test('what an endpoint refuses lies in the bucket, once each over kills, and is replayed', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 's3'));
  const s3 = await startS3(t, join(folder, 's3'));
  const bucket = s3Client(t, s3.endpoint);
  const endpoint = await startFirehoseEndpoint(t);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `auth: { keys: ${JSON.stringify([{ name: 'owner', ...key }])} }
firehose:
  allowed: ${JSON.stringify({ buckets: ['bucket'], hosts: [new URL(endpoint.url).host] })}
  s3: ${JSON.stringify({ endpoint: s3.endpoint, region: 'us-east-1', ...credentials })}`,
  );
  const client = javaScriptSdk(t, { url: gateway.url, ...key });
  /** The lines of all objects, and the names of those. */
  const found = async (): Promise<{ names: readonly string[]; lines: readonly Line[] }> => {
    const names = [...(await listKeys(bucket))].sort();
    const text = Buffer.concat(await getObjects(bucket, names)).toString();
    const lines = text === '' ? [] : text.trimEnd().split('\n');
    return { names, lines: lines.map((line) => JSON.parse(line) as Line) };
  };
  const sent = async (failed: number): Promise<void> => {
    await gateway.until<Deliveries>('/deliveries', ({ deliveries }) => {
      const [owner, backup] = ['orders', 'orders.failed'].map((name) =>
        deliveries.find((one) => one.name === name),
      );
      return (
        owner?.failed === failed &&
        owner.backlog.records === 0 &&
        backup?.state === 'idle' &&
        backup.backlog.records === 0
      );
    });
  };
  const replay = (): Promise<Response> =>
    fetch(`${gateway.url}/api/v1/deliveries/orders/replay`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.token}` },
    });

  await createDeliveryStream(client, 'orders', {
    HttpEndpointDestinationConfiguration: {
      EndpointConfiguration: { Url: endpoint.url, AccessKey: 'not-ours' },
      ...{ BufferingHints: hints, RetryOptions: { DurationInSeconds: 0 } },
      S3BackupMode: 'FailedDataOnly',
      S3Configuration: {
        ...{ RoleARN: role, BucketARN: 'arn:aws:s3:::bucket', BufferingHints: hints },
        ErrorOutputPrefix: 'lost/!{firehose:error-output-type}/!{timestamp:yyyy}/',
      },
    },
  });
  const texts: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const some = Array.from({ length: 10 }, (_, index) => `order ${round}/${index}`);
    texts.push(...some);
    const refused = endpoint.requests.length;
    const objects = (await listKeys(bucket)).length;
    await putRecords(client, 'orders', some);
    // In the middle of it: while it is put aside, or once an object has just arrived.
    await endpoint.came(refused + 1);
    if (round === 1) while ((await listKeys(bucket)).length === objects) await setImmediate();
    await gateway.kill();
    await gateway.restart();
  }
  await sent(texts.length);
  const before = await found();
  const dataOf = (lines: readonly Line[]): string[] =>
    lines.map(({ rawData }) => Buffer.from(rawData, 'base64').toString()).sort();
  assert.deepEqual(dataOf(before.lines), texts.toSorted());
  for (const name of before.names) {
    assert.match(
      name,
      /^lost\/http-endpoint-failed\/\d{4}\/orders-1-\d{4}(-\d\d){5}-[0-9a-f-]{36}$/,
    );
  }
  assert.deepEqual(
    [...new Set(before.lines.map(({ errorCode }) => errorCode))],
    ['HttpEndpoint.DestinationException'],
  );

  await client.ask('UpdateDestination', {
    ...{ DeliveryStreamName: 'orders', CurrentDeliveryStreamVersionId: '1' },
    DestinationId: 'destinationId-000000000001',
    HttpEndpointDestinationUpdate: {
      EndpointConfiguration: { Url: endpoint.url, AccessKey: accessKey },
    },
  });
  assert.equal((await replay()).status, 200);
  await sent(0);
  assert.deepEqual(endpoint.taken.map(({ data }) => data.toString()).sort(), texts.toSorted());
  assert.deepEqual((await found()).names, before.names, 'a replay makes none of them again');
  const { metrics } = await gateway.get<DeliveryMeteringAnswer>('/deliveries/orders/metering');
  assert.ok(metrics.some(({ name }) => name.startsWith('BackupToS3.')));

  await client.ask('DeleteDeliveryStream', { DeliveryStreamName: 'orders' });
  const left = await gateway.get<Deliveries>('/deliveries');
  assert.deepEqual([left.deliveries, left.removed], [[], []]);
});
