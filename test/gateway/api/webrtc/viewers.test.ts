/** Cameras watched over WHEP by an independent client, and what can not be watched so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { offer } from '../../../ingest/webrtc/offers.ts';
import { addressOf, makeClip, pushClip } from '../../../ingest/rtsp/media.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needsMediaWorker } from '../../../support/tools.ts';
import { post, watch } from '../../../support/webrtc-client.ts';
import { publishing, startRig, user } from './rig.ts';

test(
  'a camera that pushes over RTSP is watched at once, from its group of pictures',
  { timeout: 600_000 },
  async (t) => {
    if (!(await needsMediaWorker(t))) return;
    const rig = await startRig(t);
    const folder = await temporaryFolder(t);
    // A keyframe every 50 s: whoever had to wait for the next one would wait.
    const video = ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '0', '-sc_threshold', '0'];
    const long = ['-force_key_frames', 'expr:eq(n,0)', '-keyint_min', '1250'];
    const clip = await makeClip(folder, {
      ...{ name: 'clip', seconds: 30, video: [...video, ...long, '-x264-params', 'keyint=1250'] },
      audio: ['-c:a', 'libopus', '-ac', '2'],
    });
    const { port } = rig.relay.address;
    pushClip(t, clip, addressOf(port, 'yard', user));
    const publication = await rig.relay.waitForPublication('yard', new AbortController().signal);
    assert.ok(publication !== null);
    while (publication.group().length === 0) await new Promise((wake) => setImmediate(wake));
    const viewer = await watch(t, `${rig.url}/whep/yard`, rig.login);
    await viewer.until(({ keyframes, pictures, audio }) => {
      return keyframes === 1 && pictures > 20 && audio > 5;
    });
  },
);

test('sound in AAC is heard as Opus', { timeout: 600_000 }, async (t) => {
  if (!(await needsMediaWorker(t))) return;
  const rig = await startRig(t);
  const folder = await temporaryFolder(t);
  const clip = await makeClip(folder, { name: 'clip', seconds: 10, audio: ['-c:a', 'aac'] });
  pushClip(t, clip, addressOf(rig.relay.address.port, 'yard', user), { loop: true });
  const publication = await rig.relay.waitForPublication('yard', new AbortController().signal);
  assert.ok(publication !== null);
  const viewer = await watch(t, `${rig.url}/whep/yard`, rig.login);
  await viewer.until(({ pictures, audio }) => pictures > 20 && audio > 20);
});

test('fifty watch, and the camera has one reader', { timeout: 600_000 }, async (t) => {
  if (!(await needsMediaWorker(t))) return;
  const rig = await startRig(t);
  const { publication } = await publishing(t, rig);
  const viewers = [];
  for (let index = 0; index < 50; index += 1) {
    viewers.push(await watch(t, `${rig.url}/whep/gate`, rig.login));
  }
  await Promise.all(viewers.map((viewer) => viewer.until(({ keyframes }) => keyframes > 0)));
  assert.equal(publication.playerCount, 1);
  assert.equal(rig.metrics.values.get('headgate_webrtc_sessions{kind="whep"}'), 50);
});

test(
  'what browsers do not play is said, and where it is played',
  { timeout: 600_000 },
  async (t) => {
    if (!(await needsMediaWorker(t))) return;
    const rig = await startRig(t);
    const folder = await temporaryFolder(t);
    const hevc = ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', 'log-level=none'];
    const withB = ['-c:v', 'libx264', '-preset', 'medium', '-bf', '3'];
    const { port } = rig.relay.address;
    for (const [camera, video, reason] of [
      ['gate', hevc, /H\.265.*HLS/],
      ['yard', withB, /B-frames.*HLS/],
    ] as const) {
      const clip = await makeClip(folder, { name: camera, seconds: 20, video });
      pushClip(t, clip, addressOf(port, camera, user));
      const publication = await rig.relay.waitForPublication(camera, new AbortController().signal);
      assert.ok(publication !== null);
      while (camera === 'yard' && publication.group().length < 20) {
        await new Promise((wake) => setImmediate(wake));
      }
      const refused = await post(
        `${rig.url}/whep/${camera}`,
        offer({ direction: 'recvonly' }),
        rig.login,
      );
      assert.equal(refused.status, 406, refused.sdp);
      assert.match(refused.sdp, reason);
    }
  },
);
