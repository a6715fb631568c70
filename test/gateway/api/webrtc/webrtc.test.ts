/** Cameras published over WHIP by an independent client, watched, and ended in every way. */
import assert from 'node:assert/strict';
import { kill } from 'node:process';
import { test } from 'node:test';
import { offer } from '../../../ingest/webrtc/offers.ts';
import { needsMediaWorker } from '../../../support/tools.ts';
import { post, watch } from '../../../support/webrtc-client.ts';
import { asCamera, publishing, startRig } from './rig.ts';

test('a camera is published, watched by two, and ended', { timeout: 600_000 }, async (t) => {
  if (!(await needsMediaWorker(t))) return;
  const rig = await startRig(t);
  const { publisher, publication } = await publishing(t, rig);
  const first = await watch(t, `${rig.url}/whep/gate`, rig.login);
  const second = await watch(t, `${rig.url}/whep/gate`, rig.login);
  await first.until(({ keyframes, pictures }) => keyframes > 1 && pictures > 30);
  await second.until(({ keyframes, pictures }) => keyframes > 0 && pictures > 10);
  assert.equal(publication.playerCount, 1, 'however many watch');
  assert.equal(publication.missingPackets, 0);

  const other = await post(`${rig.url}/whip/gate`, offer(), asCamera);
  assert.equal(other.status, 409);

  const { location } = publisher.answer;
  const remove = (path: string): Promise<Response> =>
    fetch(`${rig.url}${path}`, { method: 'DELETE', headers: { authorization: asCamera } });
  assert.equal((await remove(location.replace('gate', 'yard'))).status, 404);
  assert.equal((await remove(location)).status, 200);
  assert.equal((await remove(location)).status, 404);
  assert.equal(publication.hasDeparted || publication.end === 'left', true);
  publication.giveUpWaiting();
  assert.equal(rig.metrics.values.get('headgate_webrtc_sessions{kind="whep"}'), 0);
  const again = await post(`${rig.url}/whip/gate`, offer(), asCamera);
  assert.equal(again.status, 201);
});

test('a publisher that is sent away frees its path', { timeout: 600_000 }, async (t) => {
  if (!(await needsMediaWorker(t))) return;
  const rig = await startRig(t);
  const { publication } = await publishing(t, rig);
  const pid = await rig.webRtc.processId();
  assert.ok(pid !== null);
  publication.publisher.dismiss();
  publication.giveUpWaiting();
  assert.equal(publication.end, 'left');
  assert.equal(rig.relay.publication('gate'), null);
});

test('what is lost on the way is counted as missing', { timeout: 600_000 }, async (t) => {
  if (!(await needsMediaWorker(t))) return;
  const rig = await startRig(t);
  // The recorder marks the fragments in which this number grows as damaged.
  const { publication } = await publishing(t, rig, { loseEvery: 20 });
  while (publication.missingPackets < 3) await new Promise((wake) => setImmediate(wake));
});

test(
  'the worker is killed while two sessions run: both end, and the next one has another',
  { timeout: 600_000 },
  async (t) => {
    if (!(await needsMediaWorker(t))) return;
    const rig = await startRig(t);
    const { publication } = await publishing(t, rig);
    const viewer = await watch(t, `${rig.url}/whep/gate`, rig.login);
    await viewer.until(({ pictures }) => pictures > 5);
    const pid = await rig.webRtc.processId();
    assert.ok(pid !== null);
    publication.confirmRecorded();
    const over = new Promise<string>((resolve) => {
      publication.onClosed(resolve);
    });
    kill(pid, 'SIGKILL');
    assert.equal(await over, 'left');
    assert.equal(rig.relay.publication('gate'), null);
    const gone = await fetch(`${rig.url}${viewer.answer.location}`, {
      method: 'DELETE',
      headers: { authorization: rig.login },
    });
    assert.equal(gone.status, 404);

    await publishing(t, rig);
    const next = await watch(t, `${rig.url}/whep/gate`, rig.login);
    await next.until(({ pictures }) => pictures > 5);
    assert.notEqual(await rig.webRtc.processId(), pid);
  },
);
