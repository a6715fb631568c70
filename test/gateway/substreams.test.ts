/** Small pictures of cameras: connected to while somebody watches, and at no other time. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { startCameras, type Cameras } from '../../gateway/cameras.ts';
import { parseConfig } from '../../gateway/config/load.ts';
import type { Config } from '../../gateway/config/schema.ts';
import type { Substream } from '../../gateway/substreams.ts';
import { Supervisor } from '../../gateway/supervisor.ts';
import { PutMediaEntrance } from '../../ingest/mkv/entrance.ts';
import type { Publication } from '../../ingest/rtsp/publication.ts';
import { makeClip } from '../ingest/rtsp/media.ts';
import { openTestStore, type TestStore } from '../storage/support/open.ts';
import { capturePackets, PacketCamera, type Capture } from '../support/packet-camera.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const silent: Capture = {
  sdp: ['v=0', 'm=video 0 RTP/AVP 96', 'a=rtpmap:96 H264/90000', 'a=control:trackID=0', ''].join(
    '\r\n',
  ),
  packets: [],
  lengthMs: 0,
  rates: [90_000],
};

interface Scene extends TestStore {
  readonly cameras: Cameras;
  readonly small: Substream;
}

/** @param more settings of the camera */
function configOf(more: string): Config['cameras'] {
  const gate = `source: { push: { username: cam, password: camera-password } }${more}`;
  const text = `cameras:\n  gate: { ${gate} }\n`;
  const result = parseConfig({ name: 'test', text, folder: '/', env: {} });
  assert.ok(result.ok);
  return result.config.cameras;
}

async function scene(t: TestContext, url: string, more = ''): Promise<Scene> {
  const opened = await openTestStore(t);
  const { store, clock, logger, metrics } = opened;
  const supervisor = new Supervisor({ clock, logger, metrics, random: () => 0.5 });
  const closers: (() => Promise<void>)[] = [];
  const cameras = await startCameras({
    cameras: configOf(`, substream: { rtsp: '${url}' }${more}`),
    allowedNetworks: [],
    ...{ rtspServer: null, onClose: (close) => void closers.push(close), ffmpegPath: 'ffmpeg' },
    hasWebRtc: true,
    putMedia: new PutMediaEntrance(clock),
    ...{ video: store.video, supervisor, clock, logger, metrics },
  });
  t.after(async () => {
    await supervisor.close();
    await Promise.all(closers.map((close) => close()));
  });
  const small = cameras.substream('gate~sub');
  assert.ok(small !== null);
  return { ...opened, cameras, small };
}

async function ended(publication: Publication): Promise<void> {
  if (publication.end !== null) return;
  await new Promise<void>((resolve) => {
    publication.onClosed(() => {
      resolve();
    });
  });
}

describe('the sub-stream of a camera', { timeout: 600_000 }, () => {
  it('is fetched once for all, until half a minute after the last; nothing is stored', async (t) => {
    const folder = await temporaryFolder(t);
    const capture = await capturePackets(t, await makeClip(folder, { name: 'clip', seconds: 2 }));
    const camera = await PacketCamera.start(t, capture, { pace: 1, loop: true });
    const { small, clock, store, cameras } = await scene(t, camera.url, ', stallSeconds: 3600');
    assert.equal(camera.connections, 0);
    const [first, second] = await Promise.all([small.watch(), small.watch()]);
    const { publication } = first;
    assert.equal(second.publication, publication);
    while (publication.group().length === 0) await new Promise((wake) => setImmediate(wake));
    first.left();
    second.left();
    clock.advance(29_000);
    const third = await small.watch();
    assert.equal(third.publication, publication);
    assert.equal(camera.connections, 1);
    assert.deepEqual(
      cameras.statuses().map(({ name, substream }) => [name, substream]),
      [['gate', { name: 'gate~sub', hasWhep: true, lastError: null }]],
    );
    assert.deepEqual(await store.video.latestFragments('gate~sub', 1), []);
    third.left();
    clock.advance(30_000);
    await ended(publication);
    const next = await small.watch();
    assert.notEqual(next.publication, publication);
    assert.equal(camera.connections, 2);
  });

  it('that falls silent is a failure, which the next one is told of', async (t) => {
    const camera = await PacketCamera.start(t, silent);
    const { small, clock } = await scene(t, camera.url);
    const { publication } = await small.watch();
    clock.advance(10_000);
    await ended(publication);
    await assert.rejects(small.watch(), { code: 'stalled' });
    assert.equal(camera.connections, 1);
  });

  it('that can not be had is tried when somebody watches, and no more often than others', async (t) => {
    const camera = await PacketCamera.start(t, silent, {
      answer: () => ({ status: '404 Not Found' }),
    });
    const { small, cameras, store } = await scene(t, camera.url);
    await assert.rejects(small.watch(), { code: 'not-found' });
    await assert.rejects(small.watch(), { code: 'not-found' });
    await assert.rejects(small.watchStored(), { code: 'not-found' });
    assert.equal(camera.connections, 1);
    assert.match(cameras.statuses()[0]?.substream?.lastError ?? '', /404|not found/i);
    await cameras.update(configOf(''));
    assert.equal(cameras.substream('gate~sub'), null);
    assert.deepEqual(
      (await store.video.cameras()).map(({ name }) => name),
      ['gate'],
    );
    await assert.rejects(small.watch(), { code: 'ended' });
  });
});
