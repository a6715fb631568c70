import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  frameOf,
  prepareReader,
  publish,
  publishers,
  RawClient,
  reader,
  sdp,
  startServer,
} from './helpers.ts';

const signal = new AbortController().signal;
const gate = publishers.get('gate');
const tcp = 'RTP/AVP/TCP;unicast;interleaved=0-1';

describe('RTSP requests', () => {
  it('asks for credentials in the order that old clients need', async (t) => {
    const { port } = await startServer(t);
    const client = new RawClient(t, port);
    const reply = await client.request('ANNOUNCE', 'gate', { body: sdp });
    assert.equal(reply.status, 401);
    const asked = reply.headers.get('www-authenticate') ?? '';
    assert.match(asked, /^Digest .*algorithm="SHA-256".*Digest realm="headgate", nonce="\w+", Ba/);
  });

  it('refuses wrong credentials with 401, and closes after three tries', async (t) => {
    const { port, logger } = await startServer(t);
    const client = new RawClient(t, port);
    for (const user of [
      { username: 'gate-camera', password: 'guess' },
      { username: 'yard-camera', password: 'yard-secret' },
      reader,
    ]) {
      assert.equal((await client.request('ANNOUNCE', 'gate', { user, body: sdp })).status, 401);
    }
    await client.closed;
    const warnings = logger.lines.filter((line) => line.level === 'warn');
    assert.equal(warnings.length, 1, 'said once, not three times');
    assert.match(String(warnings[0]?.fields.reason), /wrong user or password to publish gate/);
    assert.doesNotMatch(JSON.stringify(logger.lines), /guess|secret/);
    const pusher = new RawClient(t, port);
    assert.equal((await pusher.request('DESCRIBE', 'gate', { user: gate })).status, 401);
  });

  it('tells whether a camera is being pushed only to those who may read it', async (t) => {
    const { port } = await startServer(t);
    const client = new RawClient(t, port);
    assert.equal((await client.request('DESCRIBE', 'gate')).status, 401);
    assert.equal((await client.request('DESCRIBE', 'gate', { user: reader })).status, 404);
  });

  it('refuses wrong paths with 404', async (t) => {
    const { port } = await startServer(t);
    const client = new RawClient(t, port);
    for (const path of ['nowhere', '', 'Gate', '..%2Fgate', 'pulled']) {
      const reply = await client.request('ANNOUNCE', path, { user: gate, body: sdp });
      assert.equal(reply.status, 404, path);
    }
    assert.equal((await client.request('DESCRIBE', 'nowhere', { user: reader })).status, 404);
    assert.equal((await client.request('ANNOUNCE', '%ff', { user: gate })).status, 400);
  });

  it('refuses UDP with 461, for cameras and for readers', async (t) => {
    const { port } = await startServer(t);
    await publish(t, port, 'yard');
    const udp = { headers: { Transport: 'RTP/AVP;unicast;client_port=5000-5001' } };
    const camera = new RawClient(t, port);
    await camera.request('ANNOUNCE', 'gate', { user: gate, body: sdp });
    assert.equal((await camera.request('SETUP', 'gate/streamid=0', udp)).status, 461);
    const viewer = new RawClient(t, port);
    await viewer.request('DESCRIBE', 'yard', { user: reader });
    assert.equal((await viewer.request('SETUP', 'yard/trackID=0', udp)).status, 461);
    const both = { headers: { Transport: `RTP/AVP;unicast;client_port=5000-5001,${tcp}` } };
    assert.equal((await viewer.request('SETUP', 'yard/trackID=0', both)).status, 200);
  });

  it('refuses with 400 or 415 descriptions that it can not record', async (t) => {
    const { port } = await startServer(t);
    const client = new RawClient(t, port);
    for (const [body, status] of [
      ['rubbish', 400],
      ['', 400],
      ['v=0\r\nm=audio 0 RTP/AVP 0\r\n', 415],
    ] as const) {
      assert.equal((await client.request('ANNOUNCE', 'gate', { user: gate, body })).status, status);
    }
    const headers = { 'Content-Type': 'text/html' };
    const html = await client.request('ANNOUNCE', 'gate', { user: gate, body: sdp, headers });
    assert.equal(html.status, 415);
    assert.equal((await client.request('ANNOUNCE', 'gate', { user: gate, body: sdp })).status, 200);
  });

  it('refuses methods out of their order with 454 and 455', async (t) => {
    const { port } = await startServer(t);
    const client = new RawClient(t, port);
    assert.equal((await client.request('RECORD', 'gate')).status, 454);
    assert.equal((await client.request('PLAY', 'gate')).status, 454);
    assert.equal((await client.request('TEARDOWN', 'gate')).status, 454);
    await client.request('ANNOUNCE', 'gate', { user: gate, body: sdp });
    assert.equal((await client.request('RECORD', 'gate')).status, 455);
    assert.equal((await client.request('PLAY', 'gate')).status, 455);
    assert.equal((await client.request('DESCRIBE', 'gate', { user: reader })).status, 455);
    assert.equal((await client.request('ANNOUNCE', 'gate', { user: gate, body: sdp })).status, 455);
    const transport = { headers: { Transport: tcp } };
    assert.equal((await client.request('SETUP', 'gate/streamid=9', transport)).status, 404);
    assert.equal((await client.request('SETUP', 'gate/streamid=0')).status, 400);
    assert.equal((await client.request('SETUP', 'gate/streamid=0', transport)).status, 200);
    assert.equal((await client.request('SETUP', 'gate/streamid=0', transport)).status, 455);
    const session = { headers: { Session: 'another' } };
    assert.equal((await client.request('RECORD', 'gate', session)).status, 454);
    assert.equal((await client.request('RECORD', 'gate')).status, 200);
    assert.equal((await client.request('SETUP', 'gate/streamid=1', transport)).status, 455);
    assert.equal((await client.request('RECORD', 'gate')).status, 200, 'twice is harmless');
  });

  it('names what it does not offer', async (t) => {
    const { port } = await startServer(t);
    const client = new RawClient(t, port);
    const pause = await client.request('PAUSE', 'gate');
    assert.equal(pause.status, 405);
    assert.match(pause.headers.get('allow') ?? '', /PLAY/);
    assert.equal((await client.request('BREW', 'gate')).status, 501);
    client.raw('OPTIONS rtsp://x/gate RTSP/2.0\r\nCSeq: 5\r\n\r\n');
    const version = await client.reply();
    assert.equal(version.status, 505);
    assert.equal(version.headers.get('cseq'), '5');
    client.raw('OPTIONS rtsp://x/gate RTSP/1.0\r\n\r\n');
    assert.equal((await client.reply()).status, 400, 'no CSeq');
    assert.equal((await client.request('OPTIONS', 'gate')).status, 200, 'and goes on');
  });

  it('answers rubbish with 400 and closes, whoever sends it', async (t) => {
    const { server, port } = await startServer(t);
    const stranger = new RawClient(t, port);
    stranger.raw('GET / HTTP/1.1\r\n\r\n');
    assert.equal((await stranger.reply()).status, 400);
    await stranger.closed;
    const early = new RawClient(t, port);
    early.raw(frameOf(0, 'packets before anything'));
    assert.equal((await early.reply()).status, 400);
    await early.closed;
    const camera = await publish(t, port);
    const publication = await server.waitForPublication('gate', signal);
    camera.raw('\0\0\0 rubbish');
    await camera.closed;
    assert.equal(publication?.end, 'malformed');
    await publish(t, port);
  });

  it('ignores packets on channels that were never set up', async (t) => {
    const { port } = await startServer(t);
    const camera = await publish(t, port, 'gate', [0]);
    const viewer = await prepareReader(t, port, 'gate', reader, [0]);
    await viewer.request('PLAY', 'gate');
    camera.raw(Buffer.concat([frameOf(2, 'x'), frameOf(255, 'y'), frameOf(0, 'video')]));
    assert.deepEqual(await viewer.frame(), frameOf(0, 'video'));
    viewer.raw(Buffer.concat([frameOf(0, 'a reader sends no video'), frameOf(7, '')]));
    assert.equal((await viewer.request('GET_PARAMETER', 'gate')).status, 200);
  });

  it('gives other channels where the wanted ones are taken', async (t) => {
    const { port } = await startServer(t);
    await publish(t, port);
    const viewer = new RawClient(t, port);
    await viewer.request('DESCRIBE', 'gate', { user: reader });
    const transport = { headers: { Transport: tcp } };
    await viewer.request('SETUP', 'gate/trackID=0', transport);
    const second = await viewer.request('SETUP', 'gate/trackID=1', transport);
    assert.match(second.headers.get('transport') ?? '', /interleaved=2-3/);
  });
});
