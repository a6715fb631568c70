/**
 * Everything at once, for as long as is wanted: a hundred flapping devices, ten flapping cameras, a
 * slow sink, a dead sink, and readers that never read. Beside them five devices, one camera, one
 * sink and one viewer that behave, and must not notice.
 *
 * What has to hold is asserted; what is a matter of the machine (times, memory over time) is
 * returned as figures.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { checkStore } from '../../storage/check.ts';
import type { Timeline } from '../../gateway/api/rest/camera-schemas.ts';
import type { Deliveries } from '../../gateway/api/rest/delivery-schemas.ts';
import { quantile } from '../bench/bench.ts';
import { startProxy } from '../gateway/forward/support/proxy.ts';
import { credentials, startWholeS3 } from '../gateway/forward/support/servers.ts';
import { addressOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { seededRandom } from '../storage/support/open.ts';
import { freePort, GatewayProcess } from '../support/gateway.ts';
import { FlappingCamera } from '../support/load/cameras.ts';
import { Device, type Reading } from '../support/load/devices.ts';
import { metricOf, Probe } from '../support/load/probe.ts';
import { stuckHttpReader, stuckPlayer, stuckSubscriber } from '../support/load/stuck-readers.ts';
import type { Scope } from '../support/scope.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import type { Soak } from './soak.ts';

export interface EverythingOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly note: (text: string) => void;
}

export interface EverythingFigures {
  readonly acknowledgedReadings: number;
  readonly deviceConnections: number;
  readonly cameraSessions: number;
  readonly acknowledgeP50Ms: number;
  readonly acknowledgeP99Ms: number;
  readonly pageP99Ms: number;
  /** Of the worst ten seconds. */
  readonly loopDelayP99Ms: number;
  readonly memoryAfterStartBytes: number;
  readonly memoryMaxBytes: number;
  readonly memoryAtEndBytes: number;
  readonly cpuShare: number;
  readonly walMaxBytes: number;
  readonly logMaxBytes: number;
  readonly droppedForDeadSinks: number;
  readonly drainedInMs: number;
}

export const soak: Soak = {
  name: 'everything',
  title: 'flapping devices and cameras, slow and dead sinks, stuck readers, for ten minutes',
  seeds: 1,
  run: async ({ after, seed, note }) => ({
    ...(await everythingAtOnce({ after }, { seconds: 600, seed, note })),
  }),
};

const flappingDevices = 100;
const steadyDevices = 5;
const flappingCameras = 10;
const mqttUser = { username: 'device', password: 'device-password' };
const viewer = { username: 'viewer', password: 'viewer-password' };
const cameraUser = { username: 'camera', password: 'camera-password' };
/** What is never passed, whatever happens; a box with 512 MB has to do. */
const memoryMaxBytes = 400 * 2 ** 20;

export async function everythingAtOnce(
  scope: Scope,
  options: EverythingOptions,
): Promise<EverythingFigures> {
  const { seconds, seed, note } = options;
  const random = seededRandom(seed);
  const between = (fromMs: number, toMs: number): number => fromMs + random() * (toMs - fromMs);
  const folder = await temporaryFolder(scope);
  const objects = await temporaryFolder(scope);
  const clip = await makeClip(folder, { name: 'clip', seconds: 20, audio: ['-c:a', 'aac'] });
  const { endpoint, server } = await startWholeS3(scope, objects);
  const slow = await startProxy(scope, server.endpoint, async (passing) => {
    const answer = await passing.ask();
    await new Promise((wake) => setTimeout(wake, 4000));
    passing.response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  // Small enough to be full after half of the time, so that the policy has work to do.
  const budgetBytes = Math.max(1, seconds / 2) * 120_000;
  const gateway = await GatewayProcess.start(
    scope,
    folder,
    configuration({
      budgetBytes,
      s3: endpoint,
      slow: slow.endpoint,
      dead: `http://127.0.0.1:${await freePort()}`,
    }),
    JSON.stringify([mqttUser]),
    "[{ topic: 'site/#', stream: readings, partitionKey: '{topic[1]}' }]",
    JSON.stringify([viewer]),
  );
  const probe = new Probe(scope, gateway, 2000);
  await probe.sample();

  note(`${flappingDevices + steadyDevices} devices, ${flappingCameras + 1} cameras come`);
  const devices = Array.from({ length: flappingDevices + steadyDevices }, (_, index) => {
    const flapping = index >= steadyDevices;
    return new Device(scope, {
      port: gateway.mqttPort,
      ...mqttUser,
      name: `${flapping ? 'flapping' : 'steady'}-${index}`,
      everyMs: 200,
      paddingBytes: 150,
      connectionMs: flapping ? () => between(200, 5000) : null,
    });
  });
  const url = (camera: string, user = cameraUser): string =>
    addressOf(gateway.rtspPort, camera, user);
  const steadyCamera = pushClip(scope, clip, url('steady'), { loop: true });
  const cameras = Array.from(
    { length: flappingCameras },
    (_, index) =>
      new FlappingCamera(scope, clip, url(`flapping-${index}`), () => between(1000, 10_000)),
  );
  await gateway.until<{ state: string }>('/cameras/steady', ({ state }) => state === 'recording');
  await stuckSubscriber(scope, gateway.mqttPort, mqttUser);
  await stuckPlayer(scope, url('steady', viewer));
  await stuckHttpReader(scope, gateway, '/api/v1/streams/readings/shards/0/records?limit=1000');

  const pageMs: number[] = [];
  const untilMs = performance.now() + seconds * 1000;
  while (performance.now() < untilMs) {
    const startedMs = performance.now();
    await gateway.get('/status');
    pageMs.push(performance.now() - startedMs);
    await new Promise((wake) => setTimeout(wake, 500));
    assert.equal(gateway.child.process.exitCode, null, 'the gateway runs');
  }

  note('devices and cameras leave; what is behind is sent');
  const drainFromMs = performance.now();
  await Promise.all(devices.map((device) => device.finish()));
  const deliveries = await gateway.until<Deliveries>(
    '/deliveries',
    (all) => deliveryOf(all, 'archive').backlog.records === 0,
  );
  const drainedInMs = performance.now() - drainFromMs;
  await probe.sample();
  await probe.stop();
  const timeline = await gateway.get<Timeline>(`/cameras/steady/timeline?${lastHours(2)}`);
  await steadyCamera.stop('SIGKILL');
  await Promise.all(cameras.map((camera) => camera.stop()));
  assert.equal(await gateway.stop(), 0, 'it leaves in good order although readers are stuck');

  note('what arrived is compared with what was acknowledged');
  for await (const finding of checkStore({ folder: gateway.dataFolder })) {
    assert.fail(`the store is not sound: ${JSON.stringify(finding)}`);
  }
  const acknowledged = devices.reduce((sum, device) => sum + device.acknowledged.size, 0);
  assert.ok(acknowledged > seconds * steadyDevices, `${acknowledged} readings are acknowledged`);
  assert.equal(deliveryOf(deliveries, 'archive').lost, 0, 'the sink that works lost nothing');
  await assertDelivered(objects, devices);
  assert.ok(deliveryOf(deliveries, 'slow').backlog.records > 0, 'the slow sink is behind');
  assert.deepEqual(timeline.gaps, [], 'the steady camera has no gap');
  const [first, last] = [probe.samples[0], probe.samples.at(-1)];
  assert.ok(first !== undefined && last !== undefined, 'there are samples');
  const logMaxBytes = Math.max(...probe.samples.map(logBytesOf));
  assert.ok(logMaxBytes <= budgetBytes * 1.1, `the log takes ${logMaxBytes} of ${budgetBytes}`);
  const memory = probe.samples.map(({ memoryBytes }) => memoryBytes);
  assert.ok(Math.max(...memory) <= memoryMaxBytes, `${Math.max(...memory)} bytes of memory`);

  const dropped = metricOf(last.metrics, 'headgate_log_dropped_records_total');
  assert.ok(dropped > 0, 'past the budget the policy acts, and says so');
  const latenciesMs = devices.slice(0, steadyDevices).flatMap((device) => device.latenciesMs);
  return {
    acknowledgedReadings: acknowledged,
    deviceConnections: devices.reduce((sum, { connections }) => sum + connections, 0),
    cameraSessions: cameras.reduce((sum, { sessions }) => sum + sessions, 0),
    acknowledgeP50Ms: quantile(latenciesMs, 0.5),
    acknowledgeP99Ms: quantile(latenciesMs, 0.99),
    pageP99Ms: quantile(pageMs, 0.99),
    loopDelayP99Ms: Math.max(...probe.samples.map(({ loopDelayP99Ms }) => loopDelayP99Ms)),
    memoryAfterStartBytes: first.memoryBytes,
    memoryMaxBytes: Math.max(...memory),
    memoryAtEndBytes: last.memoryBytes,
    cpuShare: ((last.cpuSeconds - first.cpuSeconds) * 1000) / (last.atMs - first.atMs),
    walMaxBytes: Math.max(...probe.samples.map(({ walBytes }) => walBytes)),
    logMaxBytes,
    droppedForDeadSinks: dropped,
    drainedInMs,
  };
}

function configuration(options: {
  readonly budgetBytes: number;
  readonly s3: string;
  readonly slow: string;
  readonly dead: string;
}): string {
  const { accessKeyId, secretAccessKey } = credentials;
  const keys = `accessKeyId: ${accessKeyId}, secretAccessKey: ${secretAccessKey}, region: us-east-1`;
  const s3 = (endpoint: string, prefix: string): string =>
    `s3: { bucket: bucket, prefix: ${prefix}/, endpoint: '${endpoint}', forcePathStyle: true, ${keys} }`;
  const names = ['steady', ...Array.from({ length: flappingCameras }, (_, i) => `flapping-${i}`)];
  const push = `{ source: { push: ${JSON.stringify(cameraUser)} }, events: camera-events }`;
  return `
streams:
  readings: { shards: 4, maxBytes: ${Math.round(options.budgetBytes)}, whenFull: drop-oldest }
  camera-events: {}
cameras:
${names.map((name) => `  ${name}: ${push}`).join('\n')}
deliveries:
  archive:
    from: { stream: readings }
    to: { ${s3(options.s3, 'archive')} }
    record: envelope
    buffer: { maxBytes: 200000, maxSeconds: 1 }
  slow:
    from: { stream: readings }
    to: { ${s3(options.slow, 'slow')} }
    buffer: { maxBytes: 20000, maxSeconds: 1 }
  dead:
    from: { stream: readings }
    to: { kinesis: { stream: readings, endpoint: '${options.dead}', ${keys} } }
  footage:
    from: { camera: steady }
    to: { folder: { path: ./delivered } }
`;
}

/**
 * Every acknowledged reading is in the archive, and no record of the log is there twice. The
 * objects are read from s3rver's folder: its own listing fails past a thousand of them.
 */
async function assertDelivered(objects: string, devices: readonly Device[]): Promise<void> {
  const arrived = new Map<string, Set<number>>();
  const places = new Set<string>();
  for (const file of await readdir(join(objects, 'bucket/archive'), { recursive: true })) {
    if (!file.endsWith('._S3rver_object')) continue;
    const object = await readFile(join(objects, 'bucket/archive', file));
    for (const line of gunzipSync(object).toString().split('\n').slice(0, -1)) {
      const { shard, sequence, data } = JSON.parse(line) as Line;
      const place = `${shard} ${sequence}`;
      assert.ok(!places.has(place), `${place} was delivered twice`);
      places.add(place);
      const numbers = arrived.get(data.device) ?? new Set();
      arrived.set(data.device, numbers.add(data.number));
    }
  }
  for (const { name, acknowledged } of devices) {
    const there = arrived.get(name) ?? new Set();
    const missing = [...acknowledged].filter((number) => !there.has(number));
    assert.deepEqual(missing, [], `readings of ${name} that did not arrive`);
  }
}

interface Line {
  readonly shard: string;
  readonly sequence: number;
  readonly data: Reading;
}

function deliveryOf({ deliveries }: Deliveries, name: string): Deliveries['deliveries'][number] {
  const found = deliveries.find((delivery) => delivery.name === name);
  assert.ok(found !== undefined, `the delivery ${name} is shown`);
  return found;
}

function logBytesOf({ metrics }: { readonly metrics: string }): number {
  return metricOf(metrics, 'headgate_log_stored_bytes', 'stream="readings"');
}

function lastHours(hours: number): string {
  const nowMs = Date.now();
  const [start, end] = [new Date(nowMs - hours * 3_600_000), new Date(nowMs + 60_000)];
  return `from=${start.toISOString()}&to=${end.toISOString()}`;
}
