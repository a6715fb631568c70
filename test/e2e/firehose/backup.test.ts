/**
 * Source backup over Firehose's API of a whole gateway, as awscli, boto3 and the JavaScript SDK ask for
 * it: what is put lies in the bucket as it came, beside what becomes of it, once each over a kill. What
 * is not installed is skipped.
 */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type {
  Deliveries,
  DeliveryMeteringAnswer,
} from '../../../gateway/api/rest/delivery-schemas.ts';
import {
  accessKey,
  startFirehoseEndpoint,
  type FirehoseEndpoint,
} from '../../gateway/forward/support/firehose-endpoint.ts';
import {
  startOpenSearch,
  type OpenSearchStub,
} from '../../gateway/forward/support/opensearch-stub.ts';
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
import { createDeliveryStream, processor, putRecords, role } from './support.ts';

const key = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'secret-of-the-owner' };
const hints = { SizeInMBs: 1, IntervalInSeconds: 0 };
const at = (Prefix: string) => ({
  ...{ RoleARN: role, BucketARN: 'arn:aws:s3:::bucket', Prefix, BufferingHints: hints },
});

interface Site {
  readonly gateway: GatewayProcess;
  readonly endpoint: FirehoseEndpoint;
  /** Takes what is signed for `es`, and nothing else. */
  readonly search: OpenSearchStub;
  /** What lies in the bucket below a prefix, and what the objects are called. */
  contentOf(prefix: string): Promise<{ readonly names: readonly string[]; readonly text: string }>;
}

interface Destination {
  readonly ExtendedS3DestinationDescription?: {
    readonly S3BackupMode: string;
    readonly S3BackupDescription: { readonly Prefix: string };
  };
  readonly HttpEndpointDestinationDescription?: { readonly S3BackupMode: string };
}

async function startSite(t: TestContext): Promise<Site> {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 's3'));
  const s3 = await startS3(t, join(folder, 's3'));
  const endpoint = await startFirehoseEndpoint(t);
  const search = await startOpenSearch(t, 'es');
  const hosts = [endpoint.url, search.url].map((url) => new URL(url).host);
  const bucket = s3Client(t, s3.endpoint);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `auth: { keys: ${JSON.stringify([{ name: 'owner', ...key }])} }
firehose:
  allowed: ${JSON.stringify({ buckets: ['bucket'], hosts })}
  opensearch: ${JSON.stringify({ region: 'us-east-1', ...credentials })}
  s3: ${JSON.stringify({ endpoint: s3.endpoint, region: 'us-east-1', ...credentials })}`,
  );
  return {
    ...{ gateway, endpoint, search },
    contentOf: async (prefix) => {
      const keys = (await listKeys(bucket)).filter((one) => one.startsWith(prefix)).sort();
      const names = keys.map((one) => one.slice(one.lastIndexOf('/') + 1));
      return { names, text: Buffer.concat(await getObjects(bucket, keys)).toString() };
    },
  };
}

/** Puts records, and waits until the delivery and its backups have sent them. */
async function put(
  { gateway }: Site,
  client: Client,
  stream: string,
  texts: readonly string[],
): Promise<void> {
  await putRecords(client, stream, texts);
  await gateway.until<Deliveries>('/deliveries', ({ deliveries }) => {
    const all = deliveries.filter(({ name, backupOf }) => name === stream || backupOf === stream);
    return all.length >= 2 && all.every(({ state }) => state === 'idle');
  });
}

async function backsUpAll(site: Site, client: Client, name: string): Promise<void> {
  const taken = site.endpoint.taken.length;
  const told = await createDeliveryStream<Destination>(client, name, {
    HttpEndpointDestinationConfiguration: {
      EndpointConfiguration: { Url: site.endpoint.url, AccessKey: accessKey },
      ...{ BufferingHints: hints, S3Configuration: at(`${name}/`), S3BackupMode: 'AllData' },
    },
  });
  assert.equal(told.HttpEndpointDestinationDescription?.S3BackupMode, 'AllData');
  const texts = Array.from({ length: 20 }, (_, index) => `(${name} ${index})`);
  await put(site, client, name, texts.slice(0, 10));
  await site.gateway.kill();
  await site.gateway.restart();
  await put(site, client, name, texts.slice(10));
  assert.deepEqual(
    site.endpoint.taken.slice(taken).map(({ data }) => data.toString()),
    texts,
  );
  const { names, text } = await site.contentOf(`${name}/`);
  assert.equal(text, texts.join(''));
  for (const one of names)
    assert.match(one, new RegExp(`^${name}-1-\\d{4}(-\\d\\d){5}-[0-9a-f-]{36}$`));
  const { metrics } = await site.gateway.get<DeliveryMeteringAnswer>(
    `/deliveries/${name}/metering`,
  );
  const totals = new Map(metrics.map((one) => [one.name, one.total]));
  assert.equal(totals.get('BackupToS3.Records'), 10, 'since the restart');
  assert.equal(totals.get('DeliveryToHttpEndpoint.Records'), 10);
}

async function backsUpSources(site: Site, client: Client, name: string): Promise<void> {
  const told = await createDeliveryStream<Destination>(client, name, {
    ExtendedS3DestinationConfiguration: {
      ...at(`${name}/out/`),
      ProcessingConfiguration: {
        Enabled: true,
        Processors: [
          processor('RecordDeAggregation', { SubRecordType: 'JSON' }),
          processor('AppendDelimiterToRecord', { Delimiter: '\\n' }),
        ],
      },
      ...{ S3BackupMode: 'Enabled', S3BackupConfiguration: at(`${name}/originals/`) },
    },
  });
  const { ExtendedS3DestinationDescription: described } = told;
  assert.equal(described?.S3BackupMode, 'Enabled');
  assert.equal(described.S3BackupDescription.Prefix, `${name}/originals/`);
  await put(site, client, name, ['{"a":1}{"a":2}', 'no JSON', '{"a":3}']);
  assert.equal((await site.contentOf(`${name}/out/`)).text, '{"a":1}\n{"a":2}\n{"a":3}\n');
  assert.equal((await site.contentOf(`${name}/originals/`)).text, '{"a":1}{"a":2}no JSON{"a":3}');
  const update = {
    ...{ DeliveryStreamName: name, CurrentDeliveryStreamVersionId: '1' },
    DestinationId: 'destinationId-000000000001',
    ExtendedS3DestinationUpdate: { S3BackupMode: 'Disabled' },
  };
  await assert.rejects(client.ask('UpdateDestination', update), {
    name: 'InvalidArgumentException',
  });
}

async function backsUpDocuments(site: Site, client: Client, name: string): Promise<void> {
  await createDeliveryStream(client, name, {
    AmazonopensearchserviceDestinationConfiguration: {
      ...{ RoleARN: role, ClusterEndpoint: site.search.url, IndexName: name },
      ...{ IndexRotationPeriod: 'NoRotation', BufferingHints: hints },
      ...{ S3Configuration: at(`${name}/`), S3BackupMode: 'AllDocuments' },
    },
  });
  const texts = Array.from({ length: 10 }, (_, id) => JSON.stringify({ id }));
  await put(site, client, name, [...texts, 'no document']);
  const documents = [...(site.search.indexes.get(name)?.values() ?? [])];
  assert.deepEqual(
    documents.map((document) => JSON.stringify(document)),
    texts,
  );
  const year = new Date().getUTCFullYear();
  assert.equal((await site.contentOf(`${name}/${year}/`)).text, `${texts.join('')}no document`);
  const failed = await site.contentOf(`${name}/AmazonOpenSearchService-failed/`);
  const { rawData } = JSON.parse(failed.text) as { rawData: string };
  assert.equal(Buffer.from(rawData, 'base64').toString(), 'no document');
}

test('what is put is kept as it came, beside what becomes of it', async (t) => {
  const site = await startSite(t);
  const options = { url: site.gateway.url, ...key };
  const found: Readonly<Record<string, Client | null>> = {
    'javascript-sdk': javaScriptSdk(t, options),
    boto3: await pythonClient(t, 'boto3', options),
    awscli: await pythonClient(t, 'awscli', options),
  };
  for (const [name, client] of Object.entries(found)) {
    if (client === null) continue;
    await t.test(name, async () => {
      await backsUpAll(site, client, `${name}-all`);
      await backsUpSources(site, client, `${name}-sources`);
      await backsUpDocuments(site, client, `${name}-documents`);
      for (const kind of ['all', 'sources', 'documents']) {
        await client.ask('DeleteDeliveryStream', { DeliveryStreamName: `${name}-${kind}` });
      }
      const left = await site.gateway.get<Deliveries>('/deliveries');
      assert.deepEqual([left.deliveries, left.removed], [[], []]);
    });
  }
});
