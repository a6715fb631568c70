/** A camera into Kinesis Video: what arrives, what is sent again, and what is believed. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it, type TestContext } from 'node:test';
import type { Delivery } from '../../../gateway/forward/delivery.ts';
import { SinkError } from '../../../gateway/forward/sink.ts';
import { kinesisVideoSink } from '../../../gateway/forward/sinks/kinesis-video/kinesis-video-sink.ts';
import type { Fragment, VideoStore } from '../../../storage/model.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  frameHashes,
  groupsOf,
  makeFootage,
  newYearUs,
  type ParsedFootage,
  parseFootage,
  recordGroups,
} from '../../storage/video/footage.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { MemorySink } from './support/memory-sink.ts';
import { openRig, type Rig, settle } from './support/rig.ts';
import { credentials } from './support/servers.ts';
import {
  type Behaviour,
  lyingService,
  ownService,
  type Stub,
  type StubConnection,
} from './support/video-services.ts';

/** Four fragments of a second. */
let footage: ParsedFootage;
const secondUs = 1_000_000;

function startDelivery(rig: Rig, endpoint: string): Delivery {
  const { clock } = rig;
  const sink = kinesisVideoSink({ stream: 'gate', endpoint, credentials, clock });
  const to = { kinesisVideo: { stream: 'gate' } };
  return rig.start({ name: 'video', from: { camera: 'front' }, to }, sink);
}

/** Records the four fragments, or some of them. */
async function record(rig: Rig, startUs: number, from = 0, to = 4): Promise<void> {
  await rig.store.video.ensureCamera(cameraOptions('front'));
  const run = await beginRun(rig.store, 'front', footage, startUs);
  await recordGroups(run, footage, groupsOf(footage.chunks).slice(from, to), startUs);
  await run.end('ended');
}

function fragmentsOf(video: VideoStore, camera: string): Promise<readonly Fragment[]> {
  return video.fragments({ camera, fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 100 });
}

async function framesOf(folder: string, video: VideoStore, camera: string): Promise<string[]> {
  const frames: string[] = [];
  for (const fragment of await fragmentsOf(video, camera)) {
    const path = join(folder, 'fragment.mp4');
    const init = await video.init(fragment.initId);
    await writeFile(path, Buffer.concat([init.bytes, await video.readFragment(fragment)]));
    frames.push(...(await frameHashes(path)));
  }
  return frames;
}

async function until(rig: Rig, wanted: () => boolean): Promise<void> {
  while (!wanted()) await settle(rig);
}

interface Scene {
  readonly rig: Rig;
  readonly clock: ManualClock;
  readonly stub: Stub;
  readonly delivery: Delivery;
  /** Waits for so many failed attempts, and for the back-off after each. */
  readonly failures: (count: number) => Promise<void>;
}

/** Four recorded fragments, and a service that meets each connection as the script says. */
async function scene(
  t: TestContext,
  script: readonly Behaviour[],
  endpoint?: Parameters<typeof lyingService>[2],
): Promise<Scene> {
  const clock = new ManualClock();
  const rig = await openRig(t, { clock, video: { minFreeBytes: 0 } });
  await record(rig, newYearUs);
  const stub = await lyingService(t, script, endpoint);
  const delivery = startDelivery(rig, stub.url);
  const failures = async (count: number): Promise<void> => {
    for (let seen = 1; seen <= count; seen += 1) {
      await rig.metrics.until(
        (metrics) => metrics.total('headgate_delivery_failures_total') >= seen,
      );
      await settle(rig);
      clock.advance(60_000);
    }
  };
  return { rig, clock, stub, delivery, failures };
}

/** When the four fragments begin, as they are acknowledged. */
const timecodes = [0, 1, 2, 3].map((second) => (newYearUs + second * secondUs) / 1000);

describe('a camera into Kinesis Video', () => {
  before(async () => {
    footage = parseFootage(await makeFootage({ seconds: 4, format: fragmentedFormat }));
  });

  it('arrives at a gateway of our own, picture for picture, at its times, as it is recorded', async (t) => {
    const service = await ownService(t);
    const rig = await openRig(t, { video: { minFreeBytes: 0 } });
    const { video } = rig.store;
    await video.ensureCamera(cameraOptions('front'));
    const delivery = startDelivery(rig, service.url);
    const startUs = Math.floor(Date.now() / 1000 - 30) * secondUs;
    const run = await beginRun(rig.store, 'front', footage, startUs);
    const groups = groupsOf(footage.chunks);
    await recordGroups(run, footage, groups.slice(0, 2), startUs);
    await rig.metrics.sent(2);
    assert.equal(
      rig.store.log.applications.list()[0]?.leases[0]?.checkpoint,
      0,
      'its file is open',
    );
    await run.end('ended');
    await record(rig, startUs + 10 * secondUs, 2);
    await rig.metrics.sent(4);

    const sent = await fragmentsOf(video, 'front');
    const kept = await fragmentsOf(service.video, 'gate');
    assert.deepEqual(
      kept.map((fragment) => fragment.startUs),
      sent.map((fragment) => fragment.startUs),
    );
    for (const [at, { durationUs }] of kept.entries()) {
      // Matroska has milliseconds.
      assert.ok(Math.abs(durationUs - sent[at]!.durationUs) <= 1_000, `${durationUs} us`);
    }
    const folder = await temporaryFolder(t);
    assert.deepEqual(
      await framesOf(folder, service.video, 'gate'),
      await framesOf(folder, video, 'front'),
    );
    const [last] = await video.closedMediaFiles(1, 2, 1);
    await until(rig, () => {
      const [application] = rig.store.log.applications.list();
      return application?.leases[0]?.checkpoint === (last?.id ?? 0) + 1;
    });
    const { failures, lostRecords, to } = await delivery.status();
    assert.deepEqual([failures, lostRecords], [0, 0]);
    assert.deepEqual(to, { kind: 'kinesis-video', description: 'kinesis-video:gate' });
  });

  it('is sent again after connections that break, end, talk rubbish or fail', async (t) => {
    const { rig, stub, delivery, failures } = await scene(t, [
      { fragment: (connection) => connection.cut() },
      { opened: (connection) => connection.end() },
      { opened: (connection) => connection.say('<html>Log in to the network</html>{}') },
      { opened: (connection) => connection.say('x'.repeat(100_000)) },
      { refuse: { status: 503, type: 'ServiceUnavailable' } },
      { fragment: (connection, at) => connection.ack('ERROR', at, { ErrorId: 5000 }) },
      {
        fragment: (connection, at) => {
          // The first alone is kept; of the others it speaks, and not the truth.
          connection.ack('PERSISTED', at + 500);
          connection.ack('PERSISTED', timecodes[0]!);
          connection.ack('BUFFERING', at);
          if (at === timecodes[3]) connection.end();
        },
      },
    ]);
    await failures(7);
    await rig.metrics.sent(4);
    assert.equal(rig.metrics.total('headgate_delivery_failures_total'), 7);
    assert.deepEqual(stub.connections.at(-1)?.timecodes, timecodes.slice(1), 'what was not kept');
    assert.equal(stub.asked.length, 8, 'the address is asked for each time');
    assert.deepEqual(JSON.parse(stub.asked[0]!), { StreamName: 'gate', APIName: 'PUT_MEDIA' });
    const status = await delivery.status();
    assert.deepEqual([status.sentRecords, status.lostRecords, status.state], [4, 0, 'idle']);
  });

  it('is sent again to somebody who takes everything and never confirms it', async (t) => {
    const { rig, clock, stub, delivery, failures } = await scene(t, [
      { fragment: (connection, at) => connection.ack('RECEIVED', at) },
    ]);
    await until(rig, () => stub.connections[0]?.timecodes.length === 4);
    clock.advance(120_000);
    await failures(1);
    await rig.metrics.sent(4);
    assert.equal((await delivery.status()).lastFailure?.code, 'timeout');
    assert.deepEqual(stub.connections[1]?.timecodes, timecodes);
  });

  it('passes what is refused for good, after a second try where that may help', async (t) => {
    const refuse = (at: number, ErrorId: number, ErrorCode: string): Behaviour => ({
      fragment: (connection: StubConnection, timecodeMs) => {
        if (timecodeMs < at) connection.ack('PERSISTED', timecodeMs);
        if (timecodeMs !== at) return;
        connection.ack('ERROR', at, { ErrorId, ErrorCode });
        connection.end();
      },
    });
    const { rig, stub, delivery, failures } = await scene(t, [
      refuse(timecodes[1]!, 4002, 'MAX_FRAGMENT_DURATION_REACHED'),
      refuse(timecodes[2]!, 4006, 'INVALID_MKV_DATA'),
      refuse(timecodes[2]!, 4006, 'INVALID_MKV_DATA'),
    ]);
    await failures(3);
    await rig.metrics.sent(2);
    assert.deepEqual(
      stub.connections.map((connection) => connection.timecodes[0]),
      [timecodes[0], timecodes[2], timecodes[2], timecodes[3]],
    );
    const { sentRecords, lostRecords, lastFailure } = await delivery.status();
    assert.deepEqual([sentRecords, lostRecords], [2, 2]);
    assert.match(lastFailure?.message ?? '', /INVALID_MKV_DATA \(4006\)/);
    const lost = rig.logger.lines.find(({ fields }) => fields['why'] === 'refused');
    assert.match(String(lost?.fields['reason']), /MAX_FRAGMENT_DURATION_REACHED/);
  });

  it('waits where there is no address, and says why', async (t) => {
    const answers = [
      { status: 400, type: 'ClientLimitExceededException:http://x/', body: '{"Message":"slow"}' },
      { status: 200, body: '{"DataEndpoint": "ftp://elsewhere"}' },
      { status: 404, type: 'ResourceNotFoundException', body: '{"message":"no such stream"}' },
    ];
    const seen: unknown[] = [];
    const { rig, delivery, clock } = await scene(t, [], (url) => {
      const next = answers.shift();
      return next ?? { status: 200, body: JSON.stringify({ DataEndpoint: url }) };
    });
    for (let count = 1; count <= 3; count += 1) {
      await rig.metrics.until(
        (metrics) => metrics.total('headgate_delivery_failures_total') >= count,
      );
      const { lastFailure } = await delivery.status();
      seen.push([lastFailure?.code, lastFailure?.advice]);
      await settle(rig);
      clock.advance(60_000);
    }
    await rig.metrics.sent(4);
    assert.deepEqual(seen, [
      ['throttled', 'It goes on by itself, slower.'],
      ['unavailable', null],
      [
        'missing',
        'Create the video stream, or correct to.kinesisVideo.stream and to.kinesisVideo.region.',
      ],
    ]);
  });

  it('goes on after a restart where it was confirmed, within a media file too', async (t) => {
    const folder = await temporaryFolder(t);
    const clock = new ManualClock();
    const first = await openRig(t, { folder, clock, video: { minFreeBytes: 0 } });
    await record(first, newYearUs);
    const stub = await lyingService(t, [
      { fragment: (connection, at) => at < timecodes[2]! && connection.ack('PERSISTED', at) },
    ]);
    startDelivery(first, stub.url);
    await first.metrics.sent(2);
    await first.close();
    const second = await openRig(t, { folder, clock, video: { minFreeBytes: 0 } });
    startDelivery(second, stub.url);
    await second.metrics.sent(2);
    assert.deepEqual(stub.connections[1]?.timecodes, timecodes.slice(2));
  });

  it('takes over from another destination, and what that had planned pins nothing more', async (t) => {
    const folder = await temporaryFolder(t);
    const clock = new ManualClock();
    const first = await openRig(t, { folder, clock, video: { minFreeBytes: 0 } });
    await record(first, newYearUs);
    const sink = new MemorySink();
    const planned = new Promise<void>((resolve) => {
      sink.before = () => {
        resolve();
        throw new SinkError('unreachable', 'no link');
      };
    });
    const to = { folder: { path: '' } };
    first.start({ name: 'video', from: { camera: 'front' }, to }, sink);
    await planned;
    await first.close();
    const rig = await openRig(t, { folder, clock, video: { minFreeBytes: 0 } });
    const { applications } = rig.store.log;
    const lease = applications.list()[0]!.leases[0]!;
    assert.ok((await applications.plan(lease)) !== null);
    startDelivery(rig, (await lyingService(t, [])).url);
    await rig.metrics.sent(4);
    while ((await applications.plan(lease)) !== null) await settle(rig);
    const [file] = await rig.store.video.closedMediaFiles(1, 0, 1);
    assert.equal(applications.list()[0]?.leases[0]?.checkpoint, file!.id + 1);
  });

  it('begins another connection for what is dated before, and none without footage', async (t) => {
    const { rig, clock, stub } = await scene(t, []);
    await rig.metrics.sent(4);
    await settle(rig);
    // As many again may go at once, and the camera is not quiet yet.
    clock.advance(5_000);
    const earlierUs = newYearUs - 60 * secondUs;
    await record(rig, earlierUs);
    await rig.metrics.sent(8);
    const [, second] = stub.connections;
    assert.deepEqual(
      second?.timecodes,
      timecodes.map((timecodeMs) => timecodeMs - 60_000),
    );
    assert.equal(second.headers['x-amzn-fragment-timecode-type'], 'ABSOLUTE');
    await settle(rig);
    clock.advance(11_000);
    await second.closed;
    clock.advance(600_000);
    await settle(rig);
    assert.equal(stub.connections.length, 2, 'a quiet camera holds none open');
    assert.equal(rig.metrics.total('headgate_delivery_failures_total'), 0);
  });
});
