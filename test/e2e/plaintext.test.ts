/**
 * Whoever takes the disk, or a backup, has nothing of an encrypted stream: what came in on every way
 * is looked for, as it is and as it is commonly encoded, in every file that the gateway has.
 */
import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { KinesisClient, PutRecordCommand, PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { connectAsync } from 'mqtt';
import type { Deliveries } from '../../gateway/api/rest/delivery-schemas.ts';
import type { Records } from '../../gateway/api/rest/stream-schemas.ts';
import { Database } from '../../storage/sqlite.ts';
import { databaseFileName } from '../../storage/store.ts';
import { headgate } from '../gateway/cli/command.ts';
import { freePort, GatewayProcess } from '../support/gateway.ts';
import { filesWith } from '../support/plaintext.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** In all keys and data. */
const secret = 'only-we-may-read-this';
const credentials = { accessKeyId: 'AKIAPLANT', secretAccessKey: 'secret-of-the-plant' };

function sections(bucketPort: number): string {
  return `
streams: { readings: { encryption: none }, app: { encryption: none } }
files: { app: { path: logs/*.log, stream: app } }
auth:
  keys: [{ name: plant, accessKeyId: AKIAPLANT, secretAccessKey: secret-of-the-plant }]
deliveries:
  out: { from: { stream: readings }, to: { folder: { path: ./out } }, buffer: { maxSeconds: 0.1 } }
  stuck:
    from: { stream: readings }
    to: { s3: { bucket: b, region: us-east-1, endpoint: 'http://127.0.0.1:${bucketPort}', accessKeyId: a, secretAccessKey: b } }
    buffer: { maxSeconds: 0.1 }
`;
}

/** Records of each stream that one `writeAll` makes. */
const written = { readings: 6, app: 2 };

/** Puts records on every way there is; resolves when they are acknowledged and committed. */
async function writeAll(t: TestContext, gateway: GatewayProcess, round: number): Promise<void> {
  const key = `${secret} key`;
  const text = (way: string): string =>
    JSON.stringify({ key, text: `${secret} by ${way}, round ${round}` });
  const kinesis = new KinesisClient({ region: 'us-east-1', endpoint: gateway.url, credentials });
  t.after(() => {
    kinesis.destroy();
  });
  const record = (way: string) => ({ PartitionKey: key, Data: Buffer.from(text(way)) });
  await kinesis.send(new PutRecordCommand({ StreamName: 'readings', ...record('PutRecord') }));
  await kinesis.send(
    new PutRecordsCommand({ StreamName: 'readings', Records: [record('first'), record('second')] }),
  );

  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
    ...{ username: 'device', password: 'device-password', reconnectPeriod: 0 },
  });
  for (const qos of [1, 2] as const) {
    await device.publishAsync('plant', text(`QoS ${qos}`), { qos });
  }
  await device.endAsync();

  const response = await fetch(`${gateway.url}/api/v1/streams/readings/records`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ records: [{ partitionKey: key, data: text('REST') }] }),
  });
  assert.ok(response.ok, await response.text());

  await appendFile(
    join(gateway.folder, 'logs/app.log'),
    `${text('a file')}\n${text('a second line of it')}\n`,
  );
  await gateway.until<Records>(
    '/streams/app/shards/0/records',
    ({ records }) => records.length === written.app * round,
  );
}

async function everythingIsThere(gateway: GatewayProcess, rounds: number): Promise<void> {
  for (const [stream, count] of Object.entries(written)) {
    const { records } = await gateway.get<Records>(`/streams/${stream}/shards/0/records`);
    assert.equal(records.length, count * rounds);
    for (const { partitionKey, data } of records) {
      assert.ok(data.includes(secret), data);
      assert.ok(stream === 'app' || partitionKey.startsWith(secret), partitionKey);
    }
  }
}

/** Until a delivery has sent everything, and the other has a plan for what it can not send. */
async function deliveriesHavePlanned(gateway: GatewayProcess): Promise<void> {
  await gateway.until<Deliveries>('/deliveries', ({ deliveries }) => {
    const state = new Map(deliveries.map((delivery) => [delivery.name, delivery.state]));
    return state.get('out') === 'idle' && state.get('stuck') === 'backing-off';
  });
}

async function savedPlans(gateway: GatewayProcess): Promise<number> {
  const path = join(gateway.dataFolder, databaseFileName);
  const database = await Database.open(path, { readOnly: true });
  try {
    return (await database.all('SELECT 1 FROM plan')).length;
  } finally {
    await database.close();
  }
}

/** What the objects below a folder hold. */
async function deliveredTo(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const objects = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.gz'));
  const contents = await Promise.all(
    objects.map(({ parentPath, name }) => readFile(join(parentPath, name))),
  );
  return contents.map((bytes) => gunzipSync(bytes).toString()).join('');
}

test('no file of a gateway, nor of its backup, shows anything of an encrypted stream', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'logs'));
  const gateway = await GatewayProcess.start(
    ...([t, folder, sections(await freePort()), undefined] as const),
    "[{ topic: plant, stream: readings, partitionKey: '{payload.key}' }]",
  );
  const onDisk = (): Promise<readonly string[]> => filesWith(gateway.dataFolder, secret);

  await writeAll(t, gateway, 1);
  await deliveriesHavePlanned(gateway);
  assert.ok((await onDisk()).includes(`${databaseFileName}-wal`), 'in the open it is found');

  // Encryption begins: what was written before follows.
  const path = join(folder, 'headgate.yaml');
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replaceAll('encryption: none', 'encryption: aes-256-gcm'));
  await gateway.kill();
  await gateway.restart();
  while ((await onDisk()).length > 0) {
    await new Promise((wake) => setTimeout(wake, 1000));
  }
  await everythingIsThere(gateway, 1);

  await writeAll(t, gateway, 2);
  await deliveriesHavePlanned(gateway);
  assert.deepEqual(await onDisk(), [], 'while it runs');
  await gateway.kill();
  assert.equal(await savedPlans(gateway), 1);
  assert.deepEqual(await onDisk(), [], 'after a kill');
  await gateway.restart();
  await everythingIsThere(gateway, 2);

  const backup = await headgate(folder, ['backup', 'backup']);
  assert.equal(backup.code, 0, backup.stderr);
  assert.equal(await gateway.stop(), 0);
  assert.deepEqual(await filesWith(join(folder, 'backup'), secret), []);
  assert.deepEqual(await onDisk(), [], 'after a stop');
  assert.ok(!gateway.child.lines.some((line) => line.includes(secret)));
  // Where it is sent to it is in the open: that is what a delivery is for.
  const sent = await deliveredTo(join(folder, 'out'));
  assert.equal(sent.split(`${secret} by`).length - 1, written.readings * 2);
});
