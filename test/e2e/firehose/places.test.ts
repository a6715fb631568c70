/**
 * Where delivery streams may go, changed while the gateway runs: what is not allowed any more waits and
 * takes records, is told as such everywhere, and goes on where it was once it is allowed again.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Deliveries } from '../../../gateway/api/rest/delivery-schemas.ts';
import type { ReloadAnswer } from '../../../gateway/api/rest/operation-schemas.ts';
import type { Diagnosis } from '../../../gateway/doctor/diagnosis.ts';
import {
  credentials,
  getObjects,
  listKeys,
  s3Client,
  startS3,
} from '../../gateway/forward/support/servers.ts';
import { GatewayProcess, headgateCommand } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { javaScriptSdk, type Client } from '../aws/clients.ts';
import { createDeliveryStream, putRecords, role } from './support.ts';

const key = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'secret-of-the-owner' };
const toBucket = {
  ExtendedS3DestinationConfiguration: {
    ...{ RoleARN: role, BucketARN: 'arn:aws:s3:::bucket', Prefix: 'orders/' },
    BufferingHints: { SizeInMBs: 1, IntervalInSeconds: 0 },
  },
};

interface Site {
  readonly gateway: GatewayProcess;
  readonly client: Client;
  /** Says other things of `firehose`, and has them taken over. */
  reload(firehose: object): Promise<ReloadAnswer>;
  headgate(...args: readonly string[]): Promise<string>;
  /** What lies in the bucket. */
  content(): Promise<string>;
  /** Says where the buckets are. */
  readonly s3: object;
}

async function startSite(t: TestContext): Promise<Site> {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 's3'));
  const server = await startS3(t, join(folder, 's3'));
  const bucket = s3Client(t, server.endpoint);
  const { accessKeyId, secretAccessKey } = credentials;
  const s3 = { endpoint: server.endpoint, region: 'us-east-1', accessKeyId, secretAccessKey };
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `auth: { keys: ${JSON.stringify([{ name: 'owner', ...key }])} }
firehose: ${JSON.stringify({ allowed: { buckets: ['bucket'] }, s3 })}`,
  );
  const file = join(folder, 'headgate.yaml');
  return {
    ...{ gateway, s3, client: javaScriptSdk(t, { url: gateway.url, ...key }) },
    reload: async (firehose) => {
      const text = await readFile(file, 'utf8');
      const changed = text.replace(/^firehose: .*$/m, `firehose: ${JSON.stringify(firehose)}`);
      await writeFile(file, changed);
      const response = await fetch(`${gateway.url}/api/v1/reload`, {
        ...{ method: 'POST', headers: { authorization: `Bearer ${gateway.token}` } },
      });
      assert.equal(response.status, 200);
      return (await response.json()) as ReloadAnswer;
    },
    headgate: (...args) => {
      const [program, all] = headgateCommand(...args);
      const options = { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' } };
      return new Promise((resolve) => {
        execFile(program, all, options, (_error, stdout) => {
          resolve(stdout);
        });
      });
    },
    content: async () => {
      const keys = (await listKeys(bucket)).sort();
      return Buffer.concat(await getObjects(bucket, keys)).toString();
    },
  };
}

function inState({ gateway }: Site, state: string): Promise<Deliveries> {
  return gateway.until<Deliveries>(
    '/deliveries',
    ({ deliveries }) => deliveries.length === 1 && deliveries[0]?.state === state,
  );
}

async function found(site: Site): Promise<readonly Diagnosis[]> {
  const findings = JSON.parse(await site.headgate('doctor', '--json')) as Diagnosis[];
  return findings.filter(({ name }) => name === 'Delivery orders');
}

test('what is not allowed any more waits with its records, until it is again', async (t) => {
  const site = await startSite(t);
  const { client, gateway, s3 } = site;
  await createDeliveryStream(client, 'orders', toBucket);
  await putRecords(client, 'orders', ['(one)']);
  await inState(site, 'idle');
  assert.equal(await site.content(), '(one)');
  const [well] = await found(site);
  assert.deepEqual([well?.status, well?.message], ['ok', 'bucket bucket is there']);
  assert.match(await site.headgate('status'), /^orders \(Firehose\) +idle /m);

  const { needsRestart } = await site.reload({ allowed: { buckets: [] }, s3 });
  assert.deepEqual(needsRestart, []);
  const { deliveries, removed } = await inState(site, 'waiting');
  assert.deepEqual(removed, [], 'it is there, and nobody is told to forget it');
  const [waiting] = deliveries;
  assert.deepEqual(
    [waiting?.name, waiting?.origin, waiting?.held?.by, waiting?.held?.isFault],
    ['orders', 'firehose', 'permission', true],
  );
  assert.match(waiting?.held?.reason ?? '', /BucketARN: The bucket bucket is not among/);
  await putRecords(client, 'orders', ['(two)', '(three)']);
  const { deliveries: behind } = await gateway.get<Deliveries>('/deliveries');
  assert.equal(behind[0]?.backlog.records, 2);
  const status = await site.headgate('status');
  assert.match(
    status,
    /degraded: deliveries: orders: it waits: .* \(list it under firehose\.allowed/,
  );
  assert.match(status, /^orders: list it under firehose\.allowed .*UpdateDestination\.$/m);
  const [held] = await found(site);
  assert.equal(held?.status, 'warn');
  assert.match(held.message, /^it waits: .*The bucket bucket is not among/);
  assert.match(held.advice ?? '', /firehose\.allowed.*UpdateDestination/);
  await assert.rejects(
    createDeliveryStream(client, 'others', toBucket),
    /BucketARN: The bucket bucket is not among/,
  );
  assert.equal(await site.content(), '(one)');

  await gateway.kill();
  await gateway.restart();
  await inState(site, 'waiting');
  await site.reload({ allowed: { buckets: ['bucket'] }, s3 });
  await inState(site, 'idle');
  assert.equal(await site.content(), '(one)(two)(three)');
});

test('access, and whether the API is served, follow the configuration', async (t) => {
  const site = await startSite(t);
  const { client, s3 } = site;
  const allowed = { buckets: ['bucket'] };
  const away = { allowed, s3: { ...s3, endpoint: 'http://127.0.0.1:1' } };
  const { changed, needsRestart } = await site.reload(away);
  assert.deepEqual([changed, needsRestart], [['firehose.s3'], []]);
  await createDeliveryStream(client, 'orders', toBucket);
  await putRecords(client, 'orders', ['(one)']);
  const { deliveries } = await inState(site, 'backing-off');
  const advice = /Check firehose\.s3\.endpoint, and whether the server runs\.$/;
  assert.match(deliveries[0]?.lastError?.advice ?? '', advice);
  const [unreached] = await found(site);
  assert.equal(unreached?.status, 'warn');
  assert.match(unreached.message, /^bucket bucket: .*ECONNREFUSED/);
  assert.match(unreached.advice ?? '', advice);

  // It has planned what it sends, and goes on with that.
  await site.reload({ ...away, allowed: {} });
  await inState(site, 'waiting');
  await site.reload({ ...away, enabled: false });
  await assert.rejects(
    putRecords(client, 'orders', ['(two)']),
    /UnknownOperationException.*switched off here \(firehose\.enabled/,
  );
  await site.reload({ allowed, s3 });
  await putRecords(client, 'orders', ['(three)']);
  await inState(site, 'idle');
  assert.equal(await site.content(), '(one)(three)');
});
