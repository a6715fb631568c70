import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { ManualClock } from '../../support/manual-clock.ts';
import {
  credentialsOf,
  frameOf,
  play,
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

describe('RTSP server', () => {
  it('passes packets and sender reports of each track to every reader', async (t) => {
    const { port } = await startServer(t);
    const camera = await publish(t, port);
    const first = await play(t, port);
    const second = await prepareReader(t, port, 'gate', reader, [10, 4]);
    assert.equal((await second.request('PLAY', 'gate')).status, 200);
    camera.raw(Buffer.concat([frameOf(1, 'sender report'), frameOf(0, 'video')]));
    camera.raw(frameOf(2, 'audio'));
    assert.deepEqual(await first.frame(), frameOf(1, 'sender report'));
    assert.deepEqual(await first.frame(), frameOf(0, 'video'));
    assert.deepEqual(await first.frame(), frameOf(2, 'audio'));
    assert.deepEqual(await second.frame(), frameOf(11, 'sender report'));
    assert.deepEqual(await second.frame(), frameOf(10, 'video'));
    assert.deepEqual(await second.frame(), frameOf(4, 'audio'));
  });

  it('answers OPTIONS, DESCRIBE and GET_PARAMETER as players expect', async (t) => {
    const { port } = await startServer(t);
    await publish(t, port);
    const client = new RawClient(t, port);
    const options = await client.request('OPTIONS', 'gate');
    assert.match(options.headers.get('public') ?? '', /DESCRIBE.*SETUP.*PLAY/);
    const described = await client.request('DESCRIBE', 'gate', { user: reader });
    assert.equal(described.headers.get('content-base'), client.url('gate/'));
    assert.equal(described.headers.get('content-type'), 'application/sdp');
    assert.match(described.body, /a=control:trackID=0/);
    const setUp = await client.request('SETUP', 'gate/trackID=0', { headers: { Transport: tcp } });
    assert.equal(setUp.headers.get('transport'), 'RTP/AVP/TCP;unicast;interleaved=0-1');
    assert.match(setUp.headers.get('session') ?? '', /^[0-9a-f]{16};timeout=60$/);
    assert.equal((await client.request('GET_PARAMETER', 'gate')).status, 200);
  });

  it('describes to readers only the tracks that the camera sends', async (t) => {
    const { port } = await startServer(t);
    await publish(t, port, 'gate', [0]);
    const client = new RawClient(t, port);
    const described = await client.request('DESCRIBE', 'gate', { user: reader });
    assert.doesNotMatch(described.body, /audio/);
    const setUp = await client.request('SETUP', 'gate/trackID=1', { headers: { Transport: tcp } });
    assert.equal(setUp.status, 404);
  });

  it('gives the recorder every packet since the camera began, in order', async (t) => {
    const { server, port } = await startServer(t);
    const camera = await publish(t, port);
    camera.raw(Buffer.concat([frameOf(1, 'report'), frameOf(0, 'one')]));
    const viewer = await play(t, port);
    camera.raw(frameOf(0, 'two'));
    assert.deepEqual(await viewer.frame(), frameOf(0, 'two'), 'a viewer gets what comes');
    const publication = await server.waitForPublication('gate', signal);
    const recorder = await play(t, port, 'gate', credentialsOf(server.recorderUrl(publication!)));
    camera.raw(frameOf(0, 'three'));
    for (const expected of [frameOf(1, 'report'), ...['one', 'two', 'three']]) {
      const bytes = typeof expected === 'string' ? frameOf(0, expected) : expected;
      assert.deepEqual(await recorder.frame(), bytes);
    }
    recorder.raw(frameOf(1, 'receiver report'));
    assert.deepEqual(await camera.frame(), frameOf(1, 'receiver report'), 'reports go back');
    viewer.raw(frameOf(1, 'of a viewer'));
    recorder.raw(frameOf(1, 'another'));
    assert.deepEqual(await camera.frame(), frameOf(1, 'another'), 'only those of the recorder');
  });

  it('takes the recorder’s secret from one connection at a time, until it is revoked', async (t) => {
    const { server, port } = await startServer(t);
    await publish(t, port);
    const publication = await server.waitForPublication('gate', signal);
    const secret = credentialsOf(server.recorderUrl(publication!));
    const recorder = await play(t, port, 'gate', secret);
    const other = new RawClient(t, port);
    assert.equal((await other.request('DESCRIBE', 'gate', { user: secret })).status, 401);
    recorder.send('TEARDOWN', 'gate');
    await recorder.closed;
    assert.equal((await other.request('DESCRIBE', 'gate', { user: secret })).status, 200);
    other.socket.destroy();
    publication?.revokeTicket();
    const late = new RawClient(t, port);
    assert.equal((await late.request('DESCRIBE', 'gate', { user: secret })).status, 401);
  });

  it('gives everything again to a recorder that must begin again', async (t) => {
    const { server, port } = await startServer(t);
    const camera = await publish(t, port);
    const publication = await server.waitForPublication('gate', signal);
    const secret = credentialsOf(server.recorderUrl(publication!));
    camera.raw(frameOf(0, 'one'));
    const first = await play(t, port, 'gate', secret);
    assert.deepEqual(await first.frame(), frameOf(0, 'one'));
    first.send('TEARDOWN', 'gate');
    await first.closed;
    camera.raw(frameOf(0, 'two'));
    const second = await play(t, port, 'gate', secret);
    assert.deepEqual(await second.frame(), frameOf(0, 'one'));
    assert.deepEqual(await second.frame(), frameOf(0, 'two'));
    publication?.confirmRecorded();
    second.send('TEARDOWN', 'gate');
    await second.closed;
    const third = await play(t, port, 'gate', secret);
    camera.raw(frameOf(0, 'three'));
    assert.deepEqual(await third.frame(), frameOf(0, 'three'), 'what is stored is not held');
  });

  it('gives the recorder all that was held, however little a reader may lag', async (t) => {
    const limits = { queueBytesMax: 64 * 1024, heldBytesMax: 4 * 1024 * 1024 };
    const { server, port } = await startServer(t, { limits });
    const camera = await publish(t, port);
    const packet = Buffer.alloc(60_000, 1);
    for (let n = 0; n < 50; n += 1) camera.raw(frameOf(0, packet));
    await camera.request('GET_PARAMETER', 'gate');
    const publication = await server.waitForPublication('gate', signal);
    const recorder = await play(t, port, 'gate', credentialsOf(server.recorderUrl(publication!)));
    for (let n = 0; n < 50; n += 1) assert.equal((await recorder.frame()).length, 60_004);
  });

  it('lets held packets go past its limit in bytes, and says so', async (t) => {
    const limits = { heldBytesMax: 2000 };
    const { server, port, logger, metrics } = await startServer(t, { limits });
    const camera = await publish(t, port);
    const viewer = await play(t, port);
    for (let n = 0; n < 20; n += 1) camera.raw(frameOf(0, Buffer.alloc(500, n)));
    for (let n = 0; n < 20; n += 1) await viewer.frame();
    const publication = await server.waitForPublication('gate', signal);
    const recorder = await play(t, port, 'gate', credentialsOf(server.recorderUrl(publication!)));
    camera.raw(frameOf(0, 'live'));
    assert.deepEqual(await recorder.frame(), frameOf(0, 'live'));
    camera.send('TEARDOWN', 'gate');
    await recorder.closed;
    assert.match(logger.lines.map((line) => line.message).join(), /let go/);
    assert.equal(metrics.values.get('headgate_rtsp_lost_packets_total{camera="gate"}'), 4);
  });

  it('lets held packets go that are older than footage may be wrong about its time', async (t) => {
    const clock = new ManualClock();
    const { server, port } = await startServer(t, { clock });
    const camera = await publish(t, port);
    const viewer = await play(t, port);
    camera.raw(frameOf(0, 'old'));
    await viewer.frame();
    clock.advance(9_000);
    camera.raw(frameOf(0, 'still alive'));
    await viewer.frame();
    clock.advance(2_000);
    camera.raw(frameOf(0, 'past it'));
    await viewer.frame();
    const publication = await server.waitForPublication('gate', signal);
    const recorder = await play(t, port, 'gate', credentialsOf(server.recorderUrl(publication!)));
    camera.raw(frameOf(0, 'live'));
    assert.deepEqual(await recorder.frame(), frameOf(0, 'live'));
  });

  it('ends readers once they have everything when the camera leaves', async (t) => {
    const { server, port } = await startServer(t);
    const camera = await publish(t, port);
    const viewer = await play(t, port);
    camera.raw(frameOf(0, 'last'));
    assert.equal((await camera.request('TEARDOWN', 'gate')).status, 200);
    assert.deepEqual(await viewer.frame(), frameOf(0, 'last'));
    await Promise.all([viewer.closed, camera.closed]);
    assert.deepEqual(server.status(), []);
    await publish(t, port);
    assert.equal(server.status()[0]?.camera, 'gate');
  });

  it('keeps a short session for its recorder, which comes when the camera has left', async (t) => {
    const clock = new ManualClock();
    const { server, port } = await startServer(t, { clock });
    const send = async (text: string) => {
      const camera = await publish(t, port);
      camera.raw(frameOf(0, text));
      await camera.request('TEARDOWN', 'gate');
      await camera.closed;
      return server.waitForPublication('gate', signal);
    };
    const publication = await send('all there was');
    assert.deepEqual(server.status(), [], 'the camera is gone');
    const secret = credentialsOf(server.recorderUrl(publication!));
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const recorder = await play(t, port, 'gate', secret);
      assert.deepEqual(await recorder.frame(), frameOf(0, 'all there was'));
      await recorder.closed;
    }
    publication?.revokeTicket();
    assert.equal(publication?.end, 'left');

    const unrecorded = await send('nobody comes for this');
    const ends = [unrecorded?.end];
    clock.advance(10_000);
    ends.push(unrecorded?.end);
    assert.deepEqual(ends, [null, 'left']);
    assert.equal(unrecorded?.lostPackets, 1);
    const replaced = await send('nor for this');
    await publish(t, port);
    assert.equal(replaced?.end, 'left', 'the path is never kept from the camera');
  });

  it('drops a reader that does not read, and nobody else notices', async (t) => {
    const limits = { queueBytesMax: 256 * 1024 };
    const { port, logger, metrics } = await startServer(t, { limits });
    const camera = await publish(t, port);
    const deaf = await play(t, port);
    const viewer = await play(t, port);
    deaf.socket.pause();
    const packet = frameOf(0, Buffer.alloc(60_000, 1));
    let sent = 0;
    // The kernel's own buffers take some megabytes before ours begin to fill.
    while (!metrics.values.has('headgate_rtsp_readers_dropped_total{camera="gate"}')) {
      camera.raw(packet);
      sent += 1;
      assert.deepEqual(await viewer.frame(), packet);
      assert.ok(sent < 1000, 'the reader was not dropped');
    }
    assert.match(logger.lines.map((line) => line.message).join(), /did not keep up/);
    camera.raw(frameOf(0, 'on it goes'));
    assert.deepEqual(await viewer.frame(), frameOf(0, 'on it goes'));
  });

  it('counts a tiny packet as what it costs', async (t) => {
    const { port, metrics } = await startServer(t, { limits: { queueBytesMax: 256 * 1024 } });
    const camera = await publish(t, port);
    const deaf = await play(t, port);
    const viewer = await play(t, port);
    deaf.socket.pause();
    // Fill what the kernel holds with large packets first, then go on with empty ones.
    const large = Buffer.concat(Array.from({ length: 8 }, () => frameOf(0, Buffer.alloc(8000))));
    const tiny = Buffer.concat(Array.from({ length: 200 }, () => frameOf(0, '')));
    const key = 'headgate_rtsp_readers_dropped_total{camera="gate"}';
    for (let n = 0; n < 2000 && !metrics.values.has(key); n += 1) {
      camera.raw(large);
      for (let m = 0; m < 8; m += 1) await viewer.frame();
      camera.raw(tiny);
      for (let m = 0; m < 200; m += 1) await viewer.frame();
    }
    assert.equal(metrics.values.get(key), 1);
  });

  it('ends a camera that went silent, and only then gives its path away', async (t) => {
    const clock = new ManualClock();
    const { server, port } = await startServer(t, { clock });
    const silent = await publish(t, port);
    const viewer = await play(t, port);
    clock.advance(6_000);
    silent.raw(frameOf(0, 'alive'));
    await viewer.frame();
    clock.advance(6_000);
    const second = new RawClient(t, port);
    const refused = await second.request('ANNOUNCE', 'gate', { user: gate, body: sdp });
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '10');
    assert.match(refused.reason, /has a publisher already/);
    const publication = await server.waitForPublication('gate', signal);
    clock.advance(4_000);
    await Promise.all([silent.closed, viewer.closed]);
    assert.equal(publication?.end, 'timed-out');
    assert.equal((await second.request('ANNOUNCE', 'gate', { user: gate, body: sdp })).status, 200);
  });

  it('closes what connects and comes to nothing', async (t) => {
    const clock = new ManualClock();
    const { port } = await startServer(t, { clock });
    await publish(t, port);
    const quiet = new RawClient(t, port);
    const slow = new RawClient(t, port);
    const idler = await prepareReader(t, port);
    assert.equal((await quiet.request('OPTIONS', 'gate')).status, 200);
    slow.raw('OPTIONS rtsp://box/gate RTSP/1.0\r\nCSeq: ');
    clock.advance(10_000);
    await Promise.all([quiet.closed, slow.closed, idler.closed]);
  });

  it('keeps cameras while strangers open connections', async (t) => {
    const limits = { pendingMax: 4, connectionsMax: 6 };
    const { port } = await startServer(t, { limits });
    const camera = await publish(t, port);
    const strangers: RawClient[] = [];
    for (let n = 0; n < 10; n += 1) {
      const stranger = new RawClient(t, port);
      strangers.push(stranger);
      await stranger.request('OPTIONS', 'gate');
    }
    await strangers[5]?.closed;
    const viewer = await play(t, port);
    camera.raw(frameOf(0, 'still here'));
    assert.deepEqual(await viewer.frame(), frameOf(0, 'still here'));
  });

  it('closes connections past the limit at once', async (t) => {
    const { port } = await startServer(t, { limits: { connectionsMax: 1 } });
    const camera = await publish(t, port);
    const extra = new RawClient(t, port);
    await extra.closed;
    assert.equal((await camera.request('OPTIONS', 'gate')).status, 200);
  });

  it('cuts off a client that asks and never listens', async (t) => {
    const { port } = await startServer(t);
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => undefined);
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    t.after(() => socket.destroy());
    socket.pause();
    const request = 'OPTIONS rtsp://x/gate RTSP/1.0\r\nCSeq: 1\r\n\r\n'.repeat(1000);
    const more = (): void => {
      if (!socket.destroyed) socket.write(request, () => setImmediate(more));
    };
    more();
    await closed;
  });

  it('survives a whole session cut and changed at every byte', async (t) => {
    const { server, port } = await startServer(t);
    const basic = Buffer.from(`${gate!.username}:${gate!.password}`).toString('base64');
    const url = 'rtsp://x/gate';
    const whole = Buffer.concat([
      Buffer.from(
        `ANNOUNCE ${url} RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic ${basic}\r\n` +
          `Content-Length: ${sdp.length}\r\n\r\n${sdp}` +
          `SETUP ${url}/streamid=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: ${tcp};mode=record\r\n\r\n` +
          `RECORD ${url} RTSP/1.0\r\nCSeq: 3\r\n\r\n`,
      ),
      frameOf(0, 'video'),
      frameOf(1, 'report'),
      Buffer.from(`TEARDOWN ${url} RTSP/1.0\r\nCSeq: 4\r\n\r\n`),
    ]);
    /** Says it all at once and hangs up; resolves when the server has let go. */
    const say = async (bytes: Buffer): Promise<number> => {
      const client = new RawClient(t, port);
      let replies = 0;
      client.socket.end(bytes);
      try {
        for (;;) {
          await client.reply();
          replies += 1;
        }
      } catch {
        return replies;
      }
    };
    assert.equal(await say(whole), 4);
    for (let at = 0; at < whole.length; at += 1) {
      const mutated = Buffer.from(whole);
      mutated[at] = (at * 131 + 7) % 256;
      await say(at % 2 === 0 ? mutated : whole.subarray(0, at));
    }
    assert.equal(await say(whole), 4, 'the path is free, and all is well');
    assert.deepEqual(server.status(), []);
  });

  it('ends everything on close, twice', async (t) => {
    const { server, port } = await startServer(t);
    const camera = await publish(t, port);
    const viewer = await play(t, port);
    const publication = await server.waitForPublication('gate', signal);
    const waiting = server.waitForPublication('yard', signal);
    await Promise.all([server.close(), server.close()]);
    await Promise.all([camera.closed, viewer.closed]);
    assert.equal(publication?.end, 'server-closed');
    assert.equal(await waiting, null);
    assert.equal(await server.waitForPublication('gate', signal), null);
  });

  it('stops waiting for a camera when told to', async (t) => {
    const { server } = await startServer(t);
    const abort = new AbortController();
    const waiting = server.waitForPublication('gate', abort.signal);
    abort.abort();
    assert.equal(await waiting, null);
    assert.equal(await server.waitForPublication('gate', abort.signal), null);
  });
});
