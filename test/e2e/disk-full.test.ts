/**
 * The whole gateway on a disk that fills: by its own data behind a dead delivery, and by a file of
 * another program. It must say plainly what is the matter, go on with what needs no room, lose
 * nothing that it acknowledged, and be well again by itself.
 */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { connect, type MqttClient } from 'mqtt';
import type { Cameras } from '../../gateway/api/rest/camera-schemas.ts';
import type { Deliveries } from '../../gateway/api/rest/delivery-schemas.ts';
import type { Status } from '../../gateway/api/rest/status-schemas.ts';
import type { StreamRecords } from '../../gateway/api/rest/stream-schemas.ts';
import { checkStore } from '../../storage/check.ts';
import { addressOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { openTestStore } from '../storage/support/open.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  parseFootage,
  recordGroups,
} from '../storage/video/footage.ts';
import { LONGEST_WAIT_MS, within } from '../support/deadline.ts';
import { GatewayProcess } from '../support/gateway.ts';
import type { Scope } from '../support/scope.ts';
import { ForeignFile, freeBytesOf, onSmallDisk } from '../support/small-disk.ts';

const MB = 1_000_000;
const cameraUser = { username: 'camera', password: 'camera-password' };
const routes = "[{ topic: 'site/#', stream: readings, partitionKey: '{topic[1]}' }]";
const archive = `
  archive:
    from: { stream: readings }
    to: { folder: { path: ./delivered } }
    record: envelope
    buffer: { maxBytes: 1000000, maxSeconds: 1 }`;

describe('on a disk that fills', { concurrency: true }, () => {
  it('holds back its devices when nothing may go, and goes on when the delivery works again', (t) =>
    onSmallDisk(t, 64, async ({ folder, mount }, scope) => {
      const delivered = join(folder, 'delivered');
      await writeFile(delivered, 'a file is in the place of the folder');
      const gateway = await GatewayProcess.start(
        scope,
        folder,
        `streams: { readings: { shards: 2 } }\ndeliveries:${archive}`,
        undefined,
        routes,
      );
      const fleet = [1, 2, 3].map(
        (id) => new Device(scope, gateway.mqttPort, `device-${id}`, flood),
      );

      await gateway.child.line(/the log refuses messages; their acknowledgement is withheld/);
      const { health } = await gateway.get<Status>('/status');
      const disk = health.checks.find(({ name }) => name === 'disk');
      assert.equal(disk?.status, 'failing');
      assert.match(disk.message ?? '', /nothing is appended.* MiB free: make room/);
      const acknowledged = total(fleet);
      assert.ok(acknowledged * readingBytes > 30 * MB, `${acknowledged} fit`);
      await within(
        Promise.race(fleet.map((device) => device.dropped)),
        () => 'no device is disconnected',
      );
      assert.equal(total(fleet), acknowledged, 'nothing is acknowledged that is not stored');
      await gateway.child.line(/refused-by-log.*see the stream in the status/);
      const read = await gateway.get<StreamRecords>('/streams/readings/shards/0/records?limit=5');
      assert.equal(read.records.length, 5, 'what is there is served');

      await rm(delivered);
      await grown(fleet, 60);
      const foreign = new ForeignFile(scope, mount);
      const foreignBytes = await foreign.grow();
      await grown(fleet, 60);
      await given(mount, MB);
      t.diagnostic(`${foreignBytes} bytes taken by another program`);

      await Promise.all(fleet.map((device) => device.finish()));
      await gateway.until<Deliveries>(
        '/deliveries',
        ({ deliveries }) => deliveries[0]?.backlog.records === 0,
      );
      await stopAndCheck(gateway);
      await assertDelivered(delivered, fleet);
      t.diagnostic(`${total(fleet)} readings, all delivered`);
    }));

  it('lets footage go for a file of another program, and waits where there is nothing to let go', (t) =>
    onSmallDisk(t, 64, async ({ folder, mount }, scope) => {
      const before = await recordBefore(mount);
      const clip = await makeClip(folder, { name: 'clip', seconds: 10 });
      const gateway = await GatewayProcess.start(
        scope,
        folder,
        `
streams: { readings: { shards: 2 } }
video: { minFreeBytes: 1000000 }
cameras: { front: { source: { push: ${JSON.stringify(cameraUser)} } } }
deliveries:${archive}`,
        undefined,
        routes,
      );
      pushClip(scope, clip, addressOf(gateway.rtspPort, 'front', cameraUser), { loop: true });
      const fleet = [1, 2].map(
        (id) => new Device(scope, gateway.mqttPort, `device-${id}`, trickle),
      );
      await gateway.until<Cameras>('/cameras', isFront('recording'));
      await grown(fleet, 20);

      const foreign = new ForeignFile(scope, mount);
      await fill(foreign, gateway);
      await gateway.child.line(/There is room on the disk again/);
      await grown(fleet, 20);
      await gateway.until<Cameras>('/cameras', isFront('recording'));
      const { cameras } = await gateway.get<Cameras>('/cameras');
      assert.ok(Date.parse(cameras[0]?.firstTime ?? '') > before.startMs, 'the oldest went');
      assert.equal(await plays(gateway, before.lastMs), true, 'the newest is still played');

      // Whatever is let go is taken at once: now there is nothing that the gateway could do.
      const taking = new AbortController();
      const taken = takeAll(foreign, taking.signal);
      scope.after(() => {
        taking.abort();
      });
      await gateway.until<Cameras>('/cameras', isFront('backing-off', /disk/));
      await gateway.until<Status>('/status', ({ health }) =>
        health.checks.some(
          ({ name, message }) => name === 'disk' && /the disk is full/.test(message ?? ''),
        ),
      );
      const shown = await gateway.get<StreamRecords>('/streams/readings/shards/0/records?limit=1');
      assert.ok(
        shown.records.length <= 1,
        'what is there is served, if delivered records are left',
      );
      taking.abort();
      await taken;
      const refused = total(fleet);
      await foreign.remove();

      await grown(fleet, refused - total(fleet) + 20);
      await gateway.until<Cameras>('/cameras', isFront('recording'));
      await Promise.all(fleet.map((device) => device.finish()));
      await gateway.until<Deliveries>(
        '/deliveries',
        ({ deliveries }) => deliveries[0]?.backlog.records === 0,
      );
      assert.equal(gateway.child.process.exitCode, null);
      await stopAndCheck(gateway);
      await assertDelivered(join(folder, 'delivered'), fleet);
    }));
});

/** Resolves when the gateway has given so many bytes of the disk back. */
async function given(mount: string, bytes: number): Promise<void> {
  const endMs = Date.now() + LONGEST_WAIT_MS;
  for (;;) {
    const free = await freeBytesOf(mount);
    if (free >= bytes) return;
    assert.ok(Date.now() < endMs, `${free} bytes are free`);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

/** Takes what is free until the gateway has found nothing left, and not what it gives up then. */
async function fill(foreign: ForeignFile, gateway: GatewayProcess): Promise<void> {
  const full = gateway.child.line(/The disk is (almost )?full/).then(() => true);
  do await foreign.grow();
  while (!(await Promise.race([full, new Promise((wake) => setTimeout(wake, 2000, false))])));
}

async function takeAll(foreign: ForeignFile, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await foreign.grow();
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

const readingBytes = 50_000;

interface Pace {
  /** From an acknowledgement to the next reading. */
  readonly everyMs: number;
  /** Readings that wait for their acknowledgement. */
  readonly windowSize: number;
}

const flood: Pace = { everyMs: 0, windowSize: 8 };
const trickle: Pace = { everyMs: 100, windowSize: 1 };

/** Publishes `{device, number}` with QoS 1, a few at a time; mqtt.js repeats what broke off. */
class Device {
  readonly name: string;
  readonly acknowledged = new Set<number>();
  readonly dropped: Promise<void>;
  onAcknowledged: () => void = () => undefined;
  readonly #client: MqttClient;
  readonly #everyMs: number;
  readonly #windowSize: number;
  #next = 0;
  #waiting = 0;
  #finishing: (() => void) | null = null;

  constructor(scope: Scope, port: number, name: string, { everyMs, windowSize }: Pace) {
    this.#windowSize = windowSize;
    this.name = name;
    this.#everyMs = everyMs;
    this.#client = connect(`mqtt://127.0.0.1:${port}`, {
      ...{ clientId: name, clean: false, username: 'device', password: 'device-password' },
      ...{ reconnectPeriod: 200 },
    });
    this.#client.on('error', () => undefined);
    this.#client.once('connect', () => {
      this.#fill();
    });
    this.dropped = new Promise((resolve) => this.#client.once('close', resolve));
    scope.after(() => {
      this.#finishing ??= () => undefined;
      this.#client.end(true);
    });
  }

  async finish(): Promise<void> {
    const answered = new Promise<void>((resolve) => {
      this.#finishing = resolve;
      if (this.#waiting === 0) resolve();
    });
    await within(answered, () => `${this.name} waits for ${this.#waiting} acknowledgements`);
    await within(this.#client.endAsync(), () => `${this.name} cannot end`);
  }

  #fill(): void {
    while (this.#waiting < this.#windowSize && this.#finishing === null) {
      const number = this.#next++;
      this.#waiting += 1;
      const reading = { device: this.name, number, padding: 'x'.repeat(readingBytes) };
      this.#client.publish(`site/${this.name}`, JSON.stringify(reading), { qos: 1 }, (error) => {
        this.#waiting -= 1;
        if (error == null) this.acknowledged.add(number);
        this.onAcknowledged();
        if (this.#waiting === 0) this.#finishing?.();
        setTimeout(() => {
          this.#fill();
        }, this.#everyMs);
      });
    }
  }
}

const total = (fleet: readonly Device[]): number =>
  fleet.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0);

/** Resolves when so many more readings are acknowledged. */
async function grown(fleet: readonly Device[], more: number): Promise<void> {
  const wanted = total(fleet) + more;
  const reached = new Promise<void>((resolve) => {
    for (const device of fleet) device.onAcknowledged = () => total(fleet) >= wanted && resolve();
  });
  await within(reached, () => `${wanted} readings are to be acknowledged, ${total(fleet)} are`);
}

const isFront =
  (state: string, error = /^/) =>
  ({ cameras }: Cameras): boolean =>
    cameras.some((camera) => camera.state === state && error.test(camera.lastError ?? ''));

/** Footage of an hour ago in files of a few megabytes. */
async function recordBefore(folder: string): Promise<{ startMs: number; lastMs: number }> {
  const footage = parseFootage(
    await makeFootage({
      ...{ seconds: 24, size: '1280x720', format: fragmentedFormat },
      video: ['-c:v', 'libx264', '-preset', 'ultrafast', '-qp', '5'],
    }),
  );
  const startMs = Date.now() - 3_600_000;
  const undo: (() => unknown)[] = [];
  const { store } = await openTestStore(
    { after: (work) => undo.push(work) },
    { folder, video: { minFreeBytes: 0, mediaFileMs: 2000 } },
  );
  await store.video.ensureCamera(cameraOptions('front'));
  const run = await beginRun(store, 'front', footage, startMs * 1000);
  const endUs = await recordGroups(run, footage, groupsOf(footage.chunks), startMs * 1000);
  await run.end('ended');
  for (const work of undo) await work();
  await mkdir(folder, { recursive: true });
  return { startMs, lastMs: endUs / 1000 - 500 };
}

/** Whether the playlist has footage of that moment, and all that it names is served. */
async function plays(gateway: GatewayProcess, atMs: number): Promise<boolean> {
  const at = (ms: number): string => new Date(ms).toISOString();
  const path = `/hls/front/range.m3u8?from=${at(atMs - 400)}&to=${at(atMs + 400)}`;
  const playlist = await gateway.fetch(path);
  assert.equal(playlist.status, 200, await playlist.clone().text());
  const lines = (await playlist.text()).split('\n');
  const parts = lines.filter((line) => line !== '' && !line.startsWith('#'));
  for (const part of parts) {
    const url = new URL(part, `${gateway.url}/hls/front/`);
    const response = await gateway.fetch(`${url.pathname}${url.search}`);
    assert.equal(response.status, 200, part);
    assert.ok((await response.arrayBuffer()).byteLength > 1000, `${part} is empty`);
  }
  return parts.length > 0;
}

async function stopAndCheck(gateway: GatewayProcess): Promise<void> {
  assert.equal(await gateway.stop(), 0, gateway.child.lines.slice(-20).join('\n'));
  for await (const finding of checkStore({ folder: gateway.dataFolder })) {
    assert.fail(`the store is not sound: ${JSON.stringify(finding)}`);
  }
}

async function assertDelivered(folder: string, fleet: readonly Device[]): Promise<void> {
  const arrived = new Map<string, Set<number>>();
  for (const name of await readdir(folder, { recursive: true })) {
    if (!name.endsWith('.gz')) continue;
    const lines = gunzipSync(await readFile(join(folder, name))).toString();
    for (const line of lines.split('\n').slice(0, -1)) {
      const { data } = JSON.parse(line) as { data: { device: string; number: number } };
      const numbers = arrived.get(data.device) ?? new Set();
      arrived.set(data.device, numbers.add(data.number));
    }
  }
  for (const { name, acknowledged } of fleet) {
    const there = arrived.get(name) ?? new Set();
    const missing = [...acknowledged].filter((number) => !there.has(number));
    assert.deepEqual(missing, [], `acknowledged readings of ${name} that did not arrive`);
  }
}
