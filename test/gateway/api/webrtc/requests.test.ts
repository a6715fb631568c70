/** What is asked over HTTP for WebRTC, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dataChannel, offer } from '../../../ingest/webrtc/offers.ts';
import { seededRandom } from '../../../storage/support/open.ts';
import { mutate } from '../../../support/load/mutate.ts';
import { needsMediaWorker } from '../../../support/tools.ts';
import { post } from '../../../support/webrtc-client.ts';
import { asCamera, startRig } from './rig.ts';

test('who may publish and who may watch', { timeout: 600_000 }, async (t) => {
  const rig = await startRig(t);
  const ask = (path: string, headers: Record<string, string>, method = 'POST') =>
    fetch(`${rig.url}${path}`, {
      method,
      headers: { 'content-type': 'application/sdp', ...headers },
      ...(method === 'POST' ? { body: 'v=0\r\n' } : {}),
    });
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
  // An offer that is none is looked at only once it is known who sends it.
  const allowed = [
    ['/whip/gate', asCamera],
    ['/whip/gate', basic('cam:camera-password')],
    ['/whip/gate', rig.login],
    ['/whep/gate', rig.login],
  ] as const;
  for (const [path, authorization] of allowed) {
    assert.equal((await ask(path, { authorization })).status, 400, `${path} ${authorization}`);
  }
  const refused = [
    ['/whip/gate', 'Bearer cam:wrong'],
    ['/whip/gate', basic('cam:wrong')],
    ['/whip/gate', 'Bearer hg_wrong'],
    ['/whip/fetched', asCamera],
    ['/whip/none', asCamera],
    ['/whep/gate', asCamera],
  ] as const;
  for (const [path, authorization] of refused) {
    assert.equal((await ask(path, { authorization })).status, 401, `${path} ${authorization}`);
  }
  assert.equal((await ask('/whip/gate', {})).status, 401);
  assert.equal((await ask('/whep/gate', {})).status, 401);
  const authorization = rig.login;
  assert.equal((await ask('/whep/gate', { authorization }, 'GET')).status, 405);
  const noType = await ask('/whep/gate', { authorization, 'content-type': 'text/plain' });
  assert.equal(noType.status, 415);
});

test('pages of other sites may ask with a token, and with nothing else', async (t) => {
  const rig = await startRig(t);
  const elsewhere = { origin: 'https://studio.example', 'sec-fetch-site': 'cross-site' };
  const preflight = await fetch(`${rig.url}/whip/gate`, { method: 'OPTIONS', headers: elsewhere });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
  assert.equal(preflight.headers.get('access-control-allow-credentials'), null);
  assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /Authorization/);
  const ask = async (headers: Record<string, string>): Promise<number> => {
    const { app } = rig.gateway;
    const type = { 'content-type': 'application/sdp' };
    const request = { method: 'POST', headers: { ...type, ...elsewhere, ...headers }, body: 'v=0' };
    return (await app.request('http://127.0.0.1/whep/gate', request)).status;
  };
  assert.equal(await ask({ authorization: rig.login }), 400);
  assert.equal(await ask({ cookie: 'headgate_0197test=anything' }), 403);
});

test(
  'a camera that is not there, not sending, or fetched from',
  { timeout: 600_000 },
  async (t) => {
    const rig = await startRig(t);
    const watching = offer({ direction: 'recvonly' });
    const cases = [
      ['/whep/none', watching, 404, /no camera named none/],
      ['/whep/gate', watching, 404, /not sending now/],
      ['/whep/stored', watching, 406, /PutMedia.*HLS/],
      ['/whip/fetched', offer(), 404, /takes no push/],
    ] as const;
    for (const [path, body, status, reason] of cases) {
      const answer = await post(`${rig.url}${path}`, body, rig.login);
      assert.equal(answer.status, status);
      assert.match(answer.sdp, reason);
    }
    const vp8 = { types: '96', lines: ['a=rtpmap:96 VP8/90000'] };
    const refused = await post(`${rig.url}/whip/gate`, offer({ codecs: vp8 }), rig.login);
    assert.equal(refused.status, 406);
    assert.match(refused.sdp, /H\.264.*vp8/);
  },
);

test('sessions have a limit', { timeout: 600_000 }, async (t) => {
  if (!(await needsMediaWorker(t))) return;
  const rig = await startRig(t, '{ port: 0, maxSessions: 1 }');
  assert.equal((await post(`${rig.url}/whip/gate`, offer(), asCamera)).status, 201);
  const more = await post(`${rig.url}/whip/yard`, offer(), asCamera);
  assert.equal(more.status, 503);
  assert.match(more.sdp, /1 WebRTC sessions already/);
});

test(
  'a session is trickled to, restarted, and its tag is heeded',
  { timeout: 600_000 },
  async (t) => {
    if (!(await needsMediaWorker(t))) return;
    const rig = await startRig(t);
    const body = offer({ bundle: '0 1 2', more: dataChannel });
    const answer = await post(`${rig.url}/whip/gate`, body, asCamera);
    assert.equal(answer.status, 201, answer.sdp);
    assert.match(answer.sdp, /m=application 0 /);
    const patch = (fragment: string, headers: Record<string, string>): Promise<Response> =>
      fetch(`${rig.url}${answer.location}`, {
        method: 'PATCH',
        headers: {
          authorization: asCamera,
          'content-type': 'application/trickle-ice-sdpfrag',
          ...headers,
        },
        body: fragment,
      });
    const trickled = 'a=ice-ufrag:wd3F\r\na=ice-pwd:0123456789abcdefghijklmn\r\nm=video 9 x 0\r\n';
    assert.equal((await patch(trickled, {})).status, 428);
    assert.equal((await patch(trickled, { 'if-match': '"other"' })).status, 412);
    assert.equal((await patch(trickled, { 'if-match': answer.etag })).status, 204);
    assert.equal((await patch('rubbish', { 'if-match': answer.etag })).status, 400);
    const restart = 'a=ice-ufrag:next\r\na=ice-pwd:nextnextnextnextnextnext\r\n';
    const restarted = await patch(restart, { 'if-match': '*' });
    assert.equal(restarted.status, 200);
    assert.match(await restarted.text(), /a=ice-ufrag:\S+\r\na=ice-pwd:/);
    const etag = restarted.headers.get('etag') ?? '';
    assert.notEqual(etag, answer.etag);
    assert.equal((await patch(restart, { 'if-match': answer.etag })).status, 412);
    assert.equal((await patch(restart, { 'if-match': etag })).status, 204);
  },
);

test('without its worker, WebRTC says so and the path is free', { timeout: 600_000 }, async (t) => {
  const rig = await startRig(t, undefined, '/nonexistent/mediasoup-worker');
  for (const camera of ['gate', 'gate']) {
    const answer = await post(`${rig.url}/whip/${camera}`, offer(), asCamera);
    assert.equal(answer.status, 503);
    assert.match(answer.sdp, /mediasoup's worker.*npm run setup/);
  }
  assert.equal(rig.relay.publication('gate'), null);
});
test('no damaged offer harms the worker or holds a path', { timeout: 600_000 }, async (t) => {
  if (!(await needsMediaWorker(t))) return;
  const rig = await startRig(t);
  const seeds = [offer(), offer({ bundle: '0 1 2', more: dataChannel })].map((text) =>
    Buffer.from(text),
  );
  assert.equal((await post(`${rig.url}/whip/yard`, offer(), asCamera)).status, 201);
  const pid = await rig.webRtc.processId();
  const statuses = new Map<number, number>();
  for (let seed = 1; seed <= 150; seed += 1) {
    const text = mutate(seededRandom(seed), seeds[seed % 2]!, seeds).toString('utf8');
    // What is larger is refused while it is still sent.
    if (Buffer.byteLength(text) > 60_000) continue;
    const answer = await post(`${rig.url}/whip/gate`, text, asCamera);
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    if (answer.status !== 201) continue;
    const ended = await fetch(`${rig.url}${answer.location}`, {
      method: 'DELETE',
      headers: { authorization: asCamera },
    });
    assert.equal(ended.status, 200);
  }
  const unexpected = [...statuses.keys()].filter((one) => ![201, 400, 406].includes(one));
  assert.deepEqual(unexpected, [], JSON.stringify([...statuses]));
  assert.ok((statuses.get(201) ?? 0) > 10 && (statuses.get(400) ?? 0) > 10);
  assert.equal(await rig.webRtc.processId(), pid);
  assert.equal((await post(`${rig.url}/whip/gate`, offer(), asCamera)).status, 201);
});
