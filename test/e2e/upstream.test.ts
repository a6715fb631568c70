/**
 * The main job, whole: readings over MQTT and a camera over RTSP, forwarded to an S3 server and to
 * a Kinesis server that run as programs of their own, through an outage and through kills.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import type { Deliveries } from '../../gateway/api/rest/delivery-schemas.ts';
import { assertExactlyOnce, idsOf } from '../gateway/forward/support/lines.ts';
import { startProxy } from '../gateway/forward/support/proxy.ts';
import {
  createStream,
  credentials,
  getObject,
  getObjects,
  listKeys,
  passWhole,
  readStream,
  s3Client,
  startKinesis,
  startS3,
} from '../gateway/forward/support/servers.ts';
import { addressOf, framesOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { needs, sharedFile } from '../support/tools.ts';

const outageMs = 60_000;
const kills = 20;
const camera = { username: 'front', password: 'camera-password' };
const routes = "[{ topic: 'site/+', stream: readings, partitionKey: '{topic[1]}' }]";

it('forwards every record and every frame through an outage of S3', async (t) => {
  if (!needs(t, 'ffprobe')) return;
  const folder = await temporaryFolder(t);
  const objects = await temporaryFolder(t);
  const clip =
    sharedFile('footage', 'bottle-detection.mp4') ??
    (await makeClip(folder, { name: 'clip', seconds: 30, audio: ['-c:a', 'aac'] }));
  let s3 = await startS3(t, objects);
  // s3rver acknowledges before its last bytes are on disk; the proxy waits for them.
  const { endpoint } = await startProxy(t, s3.endpoint, passWhole);
  const kinesis = await startKinesis(t);
  await createStream(kinesis.client, 'readings', 2);
  await createStream(kinesis.client, 'camera-events', 1);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    configuration({ s3: endpoint, kinesis: kinesis.endpoint, bufferBytes: 20_000 }),
    undefined,
    routes,
  );
  const publisher = new Publisher(await connectDevice(t, gateway.mqttPort));

  const push = pushClip(t, clip, addressOf(gateway.rtspPort, 'front', camera));
  await publisher.publish(500);
  await gateway.until<Deliveries>('/deliveries', (all) => sentBy(all, 'archive') > 0);
  await s3.child.stop('SIGKILL');
  const steady = setInterval(() => void publisher.publish(20), 500);
  await new Promise((wake) => setTimeout(wake, outageMs));
  clearInterval(steady);
  const during = await gateway.get<Deliveries>('/deliveries');
  assert.equal(stateOf(during, 'archive'), 'backing-off', 'the outage shows');
  assert.ok(sentBy(during, 'live') > 500, 'the other sink is not held up');
  const ready = await fetch(`${gateway.url}/readyz`);
  assert.deepEqual([ready.status, (await ready.text()).trim()], [200, 'degraded']);

  s3 = await startS3(t, objects, s3.port);
  await publisher.publish(500);
  await push.exited;
  await publisher.finish();
  await gateway.until<Deliveries>(
    '/deliveries',
    ({ deliveries }) =>
      deliveries.every(({ backlog }) => backlog.records === 0) &&
      sentBy({ deliveries, removed: [] }, 'footage') > 0,
  );
  assert.equal(await gateway.stop(), 0);

  const client = s3Client(t, s3.endpoint);
  const keys = await listKeys(client);
  const lines = await getObjects(
    client,
    keys.filter((key) => key.endsWith('.ndjson.gz')),
  );
  assertExactlyOnce(idsOf(lines), publisher.count);
  const arrived = (await readStream(kinesis.client, 'readings')).map(
    ({ data }) => (JSON.parse(data.toString()) as { id: number }).id,
  );
  assert.equal(new Set(arrived).size, publisher.count, 'every record reached the data stream');

  const media = keys.filter((key) => key.endsWith('.mp4')).sort();
  assert.ok(media.length > 0);
  const delivered: string[] = [];
  for (const key of media) {
    const path = join(folder, 'download.mp4');
    await writeFile(path, await getObject(client, key));
    delivered.push(...(await framesOf(['-i', path])));
    assert.ok(keys.includes(key.replace(/mp4$/, 'json')), 'its index lies beside it');
  }
  const events = await readStream(kinesis.client, 'camera-events');
  assert.ok(events.length > 0, 'fragments announced themselves');
  assertSameFrames(delivered, await framesOf(['-i', clip]));
});

it(`is killed ${kills} times during uploads: nothing lost, nothing twice in S3`, async (t) => {
  const folder = await temporaryFolder(t);
  const objects = await temporaryFolder(t);
  const s3 = await startS3(t, objects);
  const kinesis = await startKinesis(t);
  await createStream(kinesis.client, 'readings', 2);
  await createStream(kinesis.client, 'camera-events', 1);
  let killNow = false;
  let gateway: GatewayProcess | null = null;
  const puts = new Map<string, number>();
  const { endpoint } = await startProxy(t, s3.endpoint, async (passing) => {
    const { method, url = '' } = passing.request;
    if (method === 'PUT') puts.set(url, (puts.get(url) ?? 0) + 1);
    if (!killNow || method !== 'PUT' || gateway === null) {
      await passWhole(passing);
      return;
    }
    killNow = false;
    // Every other time the object arrives and only its acknowledgement is lost.
    if (puts.size % 2 === 0) await passing.ask(await passing.body());
    gateway.child.process.kill('SIGKILL');
    passing.response.destroy();
  });
  gateway = await GatewayProcess.start(
    t,
    folder,
    configuration({ s3: endpoint, kinesis: kinesis.endpoint, bufferBytes: 2_000 }),
    undefined,
    routes,
  );
  const publisher = new Publisher(await connectDevice(t, gateway.mqttPort));
  for (let kill = 0; kill < kills; kill += 1) {
    killNow = true;
    void publisher.publish(200);
    const exit: { signal: string | null } = await gateway.child.exited;
    assert.equal(exit.signal, 'SIGKILL');
    await gateway.restart();
  }
  await publisher.finish();
  await gateway.until<Deliveries>('/deliveries', ({ deliveries }) =>
    deliveries.every(({ backlog }) => backlog.records === 0),
  );
  const client = s3Client(t, s3.endpoint);
  const keys = await listKeys(client);
  const ids = idsOf(await getObjects(client, keys));
  // QoS 1 may publish a reading again when its PUBACK was lost; the log may hold it twice then.
  assert.equal(new Set(ids).size, publisher.count, 'no reading is missing');
  const { storedRecords } = await gateway.get<{ storedRecords: number }>('/streams/readings');
  assert.equal(ids.length, storedRecords, 'each record of the log is in S3 once');
  assert.equal(await gateway.stop(), 0);
});

function configuration(options: { s3: string; kinesis: string; bufferBytes: number }): string {
  const { accessKeyId, secretAccessKey } = credentials;
  const keys = `accessKeyId: ${accessKeyId}, secretAccessKey: ${secretAccessKey}, region: us-east-1`;
  const s3 = `s3: { bucket: bucket, endpoint: '${options.s3}', forcePathStyle: true, ${keys} }`;
  const kinesis = (stream: string): string =>
    `kinesis: { stream: ${stream}, endpoint: '${options.kinesis}', ${keys} }`;
  const buffer = `buffer: { maxBytes: ${options.bufferBytes}, maxSeconds: 1 }`;
  return `
streams: { readings: { shards: 2 }, camera-events: {} }
cameras:
  front:
    source: { push: { username: ${camera.username}, password: ${camera.password} } }
    events: camera-events
deliveries:
  archive: { from: { stream: readings }, to: { ${s3} }, ${buffer} }
  live: { from: { stream: readings }, to: { ${kinesis('readings')} } }
  events: { from: { stream: camera-events }, to: { ${kinesis('camera-events')} } }
  footage: { from: { camera: front }, to: { ${s3} } }
`;
}

const named = ({ deliveries }: Deliveries, name: string) =>
  deliveries.find((delivery) => delivery.name === name);
const sentBy = (all: Deliveries, name: string): number => named(all, name)?.sentRecords ?? 0;
const stateOf = (all: Deliveries, name: string): string => named(all, name)?.state ?? 'missing';

async function connectDevice(t: TestContext, port: number): Promise<MqttClient> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
    username: 'device',
    password: 'device-password',
    reconnectPeriod: 100,
  });
  client.on('error', () => undefined);
  t.after(() => client.end(true));
  return client;
}

/** Publishes readings with rising ids, from seven devices in turn. */
class Publisher {
  readonly #client: MqttClient;
  readonly #sent: Promise<unknown>[] = [];
  count = 0;

  constructor(client: MqttClient) {
    this.#client = client;
  }

  async publish(count: number): Promise<void> {
    const sent = Array.from({ length: count }, () => {
      const id = this.count++;
      return this.#publish(`site/device-${id % 7}`, JSON.stringify({ id, value: Math.sin(id) }));
    });
    this.#sent.push(...sent);
    await Promise.all(sent);
  }

  /** As devices do: what was not acknowledged when the connection broke is published again. */
  async #publish(topic: string, payload: string): Promise<void> {
    for (let acknowledged = false; !acknowledged;) {
      acknowledged = await this.#client.publishAsync(topic, payload, { qos: 1 }).then(
        () => true,
        () => false,
      );
    }
  }

  /** Resolves when everything is acknowledged. */
  async finish(): Promise<void> {
    await Promise.all(this.#sent);
    await this.#client.endAsync();
  }
}

/** What was delivered is the clip, from the first keyframe that was caught to the last frame. */
function assertSameFrames(delivered: readonly string[], original: readonly string[]): void {
  assert.ok(delivered.length > original.length / 2, `${delivered.length} of ${original.length}`);
  assert.deepEqual(delivered, original.slice(original.length - delivered.length));
}
