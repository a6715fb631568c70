/** WebRTC through a whole gateway, with a client that is none of ours: published, recorded, watched. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { CameraFragments, Cameras } from '../../gateway/api/rest/camera-schemas.ts';
import { offer } from '../ingest/webrtc/offers.ts';
import { makeClip } from '../ingest/rtsp/media.ts';
import { aroundNow } from '../support/footage-check.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { capturePackets, PacketCamera } from '../support/packet-camera.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { needsMediaWorker } from '../support/tools.ts';
import { post, publish, sendClip, watch } from '../support/webrtc-client.ts';

const camera = { username: 'front', password: 'camera-password' };
const sections = (substream: string): string => `
cameras:
  front:
    source: { push: { username: front, password: camera-password } }
    substream: { rtsp: '${substream}' }
  yard:
    source: { push: { username: front, password: camera-password } }
    substream: { rtsp: 'rtsp://127.0.0.1:1/nothing' }
`;
/** Parameter sets before every keyframe, as encoders for WebRTC send them. */
const video = [
  ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline'],
  ...['-x264-params', 'repeat-headers=1'],
];

it('records what is published by WHIP, and shows it by WHEP', { timeout: 600_000 }, async (t) => {
  if (!(await needsMediaWorker(t))) return;
  const folder = await temporaryFolder(t);
  const clip = await makeClip(folder, { name: 'clip', seconds: 10, video });
  const small = await PacketCamera.start(t, await capturePackets(t, clip), { pace: 1, loop: true });
  const gateway = await GatewayProcess.start(t, folder, sections(small.url));
  const login = `Bearer ${gateway.token}`;
  const publisher = await publish(
    t,
    `${gateway.url}/whip/front`,
    `Bearer ${camera.username}:${camera.password}`,
  );
  await sendClip(t, publisher, clip);

  const viewer = await watch(t, `${gateway.url}/whep/front`, login);
  await viewer.until(({ pictures, keyframes }) => pictures > 50 && keyframes > 1);
  await gateway.until<CameraFragments>(
    `/cameras/front/fragments?${aroundNow()}`,
    ({ fragments }) => fragments.length >= 2,
  );

  const { cameras } = await gateway.get<Cameras>('/cameras');
  assert.deepEqual(
    cameras.map(({ name, substream }) => [name, substream]),
    ['front', 'yard'].map((name) => [
      name,
      { liveUrl: `/hls/${name}~sub/live.m3u8`, whepUrl: `/whep/${name}~sub`, lastError: null },
    ]),
  );
  assert.equal(small.connections, 0);
  const other = await watch(t, `${gateway.url}/whep/front~sub`, login);
  await other.until(({ pictures }) => pictures > 10);
  const playlist = await gateway.fetch('/hls/front~sub/live.m3u8');
  assert.equal(playlist.status, 200);
  assert.match(await playlist.text(), /#EXTINF:/);
  assert.equal(small.connections, 1);
  assert.equal((await gateway.get<Cameras>('/cameras')).cameras.length, 2);
  const refused = await gateway.fetch('/hls/yard~sub/live.m3u8');
  assert.equal(refused.status, 503);
  assert.match(await refused.text(), /can not be fetched now: .*connection refused/);
  const unseen = await post(
    `${gateway.url}/whep/yard~sub`,
    offer({ direction: 'recvonly' }),
    login,
  );
  assert.equal(unseen.status, 503);
  assert.match(unseen.sdp, /can not be fetched now: .*connection refused/);
});
