/** Opening cameras that answer as real ones do, as no camera should, and not at all. */
import assert from 'node:assert/strict';
import type { LookupAddress, LookupAllOptions } from 'node:dns';
import dns from 'node:dns/promises';
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { authenticate, challenges } from '../../../../ingest/rtsp/authentication.ts';
import { openCamera, type OpenOptions } from '../../../../ingest/rtsp/client/camera-session.ts';
import { allowedAddresses } from '../../../../ingest/rtsp/client/dial.ts';
import { anywhere, onlyNetworks, privateNetworks } from '../../../../ingest/rtsp/client/guard.ts';
import { Reorder, waitingMax, waitMsMax } from '../../../../ingest/rtsp/client/udp.ts';
import type { RtspRequest } from '../../../../ingest/rtsp/parser.ts';
import { readRtp } from '../../../../ingest/rtsp/rtp.ts';
import { SourceError } from '../../../../ingest/source.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { selfSigned } from '../../../support/certificate.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { PacketCamera, type Answer, type Capture } from '../../../support/packet-camera.ts';

/** Twenty pictures that nobody decodes. */
const capture: Capture = {
  sdp: [
    ...['v=0', 'o=- 0 0 IN IP4 127.0.0.1', 's=x', 't=0 0', 'X-Vendor: nonsense'],
    ...['m=video 0 RTP/AVP 96', 'a=rtpmap:96 H264/90000', 'a=control:trackID=0'],
    ...['m=audio 0 RTP/AVP 8', 'a=control:trackID=1'],
    ...['m=application 0 RTP/SAVP 107', 'a=rtpmap:107 vnd.onvif.metadata/90000', 'a=control:meta'],
  ].join('\r\n'),
  packets: Array.from({ length: 20 }, (_, index) => {
    const packet = Buffer.alloc(40);
    const ofItsTrack = Math.floor(index / 2);
    packet.writeUInt32BE(0x8060_0000 + ((65_530 + ofItsTrack) & 0xffff), 0);
    packet.writeUInt32BE(index * 3600, 4);
    return { track: index % 2, packet, atMs: index * 40 };
  }),
  lengthMs: 800,
  rates: [90_000, 8000],
};

function options(url: string, more: Partial<OpenOptions> = {}): OpenOptions {
  return {
    ...{ url, transport: 'tcp', verifyTls: true, guard: anywhere, redirectGuard: anywhere },
    ...{ clock: systemClock, signal: new AbortController().signal },
    ...more,
  };
}

/** What opening ends with: `ok`, or the code and the text of its error. */
async function outcome(url: string, more: Partial<OpenOptions> = {}): Promise<string> {
  try {
    (await openCamera(options(url, more))).close();
    return 'ok';
  } catch (error) {
    assert.ok(error instanceof SourceError, String(error));
    assert.doesNotMatch(error.message, /secret|wrong-password/, 'no password in a message');
    return `${error.code}: ${error.message}`;
  }
}

function locked(user: { username: string; password: string }, offered: readonly string[]) {
  const guesses: string[] = [];
  const answer = (request: RtspRequest): Answer | undefined => {
    const isGuess = request.headers.has('authorization') && request.method !== 'TEARDOWN';
    if (isGuess) guesses.push(request.method);
    if (authenticate(request, [user], 'n1', 'cam').kind === 'accepted') return undefined;
    const headers = { 'WWW-Authenticate': offered.join('\r\nWWW-Authenticate: ') };
    return { status: '401 Unauthorized', headers };
  };
  return { guesses, answer };
}

/** A port where a program answers that is no camera. */
async function stranger(t: TestContext, act: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    act(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `rtsp://127.0.0.1:${(server.address() as AddressInfo).port}/cam`;
}

/** Takes over what a name stands for: each time it is looked up, the next of these answers. */
function answersOf(t: TestContext, name: string): string[][] {
  const answers: string[][] = [];
  const real = dns.lookup;
  const lookup = (host: string, options: LookupAllOptions): Promise<LookupAddress[]> =>
    host === name
      ? Promise.resolve((answers.shift() ?? []).map((address) => ({ address, family: 0 })))
      : real(host, options);
  t.mock.method(dns, 'lookup', lookup);
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  return answers;
}

describe('a camera that is fetched from', { concurrency: true }, () => {
  it('sends its packets over TCP as they are, and over UDP in their order', async (t) => {
    for (const transport of ['tcp', 'udp'] as const) {
      let held: Buffer | null = null;
      const camera = await PacketCamera.start(t, capture, {
        // Two of them come the wrong way round.
        change: (packet, { index }) => {
          if (index === 8) held = packet;
          return index === 8 ? [] : index === 10 && held !== null ? [packet, held] : [packet];
        },
      });
      const session = await openCamera(options(camera.url, { transport }));
      assert.deepEqual(session.tracks, [0, 1], 'metadata is not asked for');
      const seen: number[] = [];
      await new Promise<void>((resolve, reject) => {
        const sink = (track: number, isRtcp: boolean, frame: Buffer): void => {
          assert.equal(isRtcp, false);
          assert.equal(frame.readUInt16BE(2), 40);
          const picture = (readRtp(frame.subarray(4))?.timestamp ?? 0) / 3600;
          if (track === 0) seen.push(picture);
          if (picture === 18) resolve();
        };
        session.play(sink).catch(reject);
      });
      session.close();
      const inOrder = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18];
      const asSent = [0, 2, 4, 6, 10, 8, 12, 14, 16, 18];
      assert.deepEqual(seen, transport === 'tcp' ? asSent : inOrder);
      const methods = camera.requests.map(({ method }) => method);
      assert.deepEqual(methods.slice(0, 5), ['OPTIONS', 'DESCRIBE', 'SETUP', 'SETUP', 'PLAY']);
    }
  });

  it('is logged in to with what it offers, and a wrong password is tried once', async (t) => {
    const user = { username: 'admin', password: 'se:cret@/' };
    const [sha = '', md5 = '', basic = ''] = challenges('n1', false);
    for (const offered of [[sha], [md5], [basic], [basic, sha, md5]]) {
      const { answer, guesses } = locked(user, offered);
      const camera = await PacketCamera.start(t, capture, { answer });
      const at = (password: string): string =>
        camera.url.replace('//', `//admin:${encodeURIComponent(password)}@`);
      assert.equal(await outcome(at(user.password)), 'ok', offered.join());
      guesses.length = 0;
      assert.match(await outcome(at('wrong-password')), /^unauthorized: 401/);
      assert.deepEqual(guesses, ['OPTIONS'], 'one guess');
      assert.match(await outcome(camera.url), /^unauthorized: .*wants a user/);
    }
    const { answer } = locked(user, ['Negotiate', 'Digest realm="x", nonce="y", algorithm=XYZ']);
    const camera = await PacketCamera.start(t, capture, { answer });
    const url = camera.url.replace('//', '//admin:secret@');
    assert.match(await outcome(url), /^unsupported: no known way to log in/);
  });

  it('is told apart by what is wrong with it', async (t) => {
    const on = async (answer: (request: RtspRequest) => Answer | undefined): Promise<string> =>
      outcome((await PacketCamera.start(t, capture, { answer })).url);
    const to = (method: string, status: string) => (request: RtspRequest) =>
      request.method === method ? { status } : undefined;
    assert.match(await on(to('DESCRIBE', '404 Not Found')), /^not-found: .*no such path/);
    assert.match(await on(to('DESCRIBE', '403 Forbidden')), /^unauthorized/);
    assert.match(await on(to('DESCRIBE', '503 Busy')), /^unreachable: .*503 Busy/);
    assert.match(await on(to('SETUP', '461 Unsupported')), /^unsupported: 461.*transport: udp/);
    assert.match(await on(to('SETUP', '454 Session')), /^unsupported: SETUP answered with 454/);
    const sdpOf =
      (...media: readonly string[]) =>
      (request: RtspRequest) =>
        request.method === 'DESCRIBE'
          ? { status: '200 OK', body: ['v=0', ...media, ''].join('\r\n') }
          : undefined;
    assert.match(
      await on(sdpOf('m=video 0 RTP/AVP 26', 'm=audio 0 RTP/AVP 0')),
      /^unsupported: no H.264 or H.265 video among: video JPEG, audio PCMU/,
    );
    assert.match(await on(sdpOf('m=audio 0 RTP/AVP 8')), /^unsupported: .*audio PCMA/);
    assert.match(await on(sdpOf()), /^malformed: .*no media/);
    assert.match(
      await on(sdpOf('m=video 0 RTP/AVP 96', 'a=rtpmap:96 H264/90000', 'a=control:a b')),
      /^malformed: /,
    );
    const gone = await PacketCamera.start(t, capture);
    await gone.close();
    assert.match(await outcome(gone.url), /^unreachable: connection refused/);
    assert.match(await outcome('rtsp://camera.invalid/x'), /^unreachable: there is no host/);
    const web = await stranger(t, (socket) => {
      socket.once('data', () =>
        socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'),
      );
    });
    assert.match(await outcome(web), /^malformed: what answers is not RTSP/);
    const rubbish = await stranger(t, (socket) => socket.write(Buffer.alloc(100_000, 0xff)));
    assert.match(await outcome(rubbish), /^malformed: /);
    const hangsUp = await stranger(t, (socket) => socket.once('data', () => socket.end()));
    assert.match(await outcome(hangsUp), /^ended: the camera closed the connection/);
    const large = await stranger(t, (socket) => {
      socket.once('data', () => {
        socket.write('RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 999999999\r\n\r\n');
      });
    });
    assert.match(await outcome(large), /^malformed: /);
  });

  it('has ten seconds for it all, however many bytes trickle in', async (t) => {
    const clock = new ManualClock();
    const text = 'RTSP/1.0 200 OK\r\nCSeq: 1\r\nServer: very slow\r\n';
    let sent = 0;
    const url = await stranger(t, (socket) => {
      const next = (): void => {
        if (sent >= text.length || socket.destroyed) return;
        socket.write(text.charAt(sent), () => {
          clock.advance(1000);
          sent += 1;
          setImmediate(next);
        });
      };
      socket.once('data', next);
    });
    assert.match(await outcome(url, { clock }), /^unreachable: no answer within 10 s/);
    assert.ok(sent >= 9 && sent <= 12, `${sent} bytes`);
    const abort = new AbortController();
    const silent = await stranger(t, () => abort.abort());
    assert.match(await outcome(silent, { signal: abort.signal }), /^ended: /);
  });

  it('is followed where it redirects to, as far as that is allowed', async (t) => {
    const target = await PacketCamera.start(t, capture);
    const redirecting = async (location: string): Promise<PacketCamera> =>
      PacketCamera.start(t, capture, {
        answer: ({ method }) =>
          method === 'DESCRIBE'
            ? { status: '302 Moved', headers: { Location: location } }
            : undefined,
      });
    assert.equal(await outcome((await redirecting(target.url)).url), 'ok');
    const elsewhere = target.url.replace('127.0.0.1', 'localhost');
    const guarded = { redirectGuard: onlyNetworks(privateNetworks) };
    assert.match(
      await outcome((await redirecting(elsewhere)).url, guarded),
      /^forbidden: redirected to localhost.*is this machine/,
    );
    for (const location of [
      'http://10.0.0.1/',
      '/other',
      'rtsp://169.254.169.254/',
      'rtsp://[::ffff:127.0.0.1]/',
    ]) {
      const found = await outcome((await redirecting(location)).url, guarded);
      assert.match(found, /^(forbidden|unsupported): /, location);
    }
    const loop: PacketCamera = await PacketCamera.start(t, capture, {
      answer: ({ method }, self) =>
        method === 'DESCRIBE'
          ? { status: '301 Moved', headers: { Location: self.url } }
          : undefined,
    });
    assert.match(await outcome(loop.url), /^malformed: .*redirects more than 5 times/);
    assert.equal(loop.connections, 6);
  });

  it('does not get credentials that were meant for another host', async (t) => {
    const user = { username: 'admin', password: 'secret' };
    const { answer, guesses } = locked(user, challenges('n1', false).slice(2));
    const target = await PacketCamera.start(t, capture, { answer });
    const from = async (host: string): Promise<string> => {
      const location = target.url.replace('127.0.0.1', host);
      const camera = await PacketCamera.start(t, capture, {
        answer: ({ method }) =>
          method === 'DESCRIBE'
            ? { status: '302 Moved', headers: { Location: location } }
            : undefined,
      });
      return outcome(camera.url.replace('//', '//admin:secret@'));
    };
    assert.match(await from('localhost'), /^unauthorized: redirected to localhost.*wants a user/);
    assert.deepEqual(guesses, []);
    assert.equal(await from('127.0.0.1'), 'ok');
  });

  it('is connected to at an address that was checked, whatever its name stands for', async (t) => {
    const camera = await PacketCamera.start(t, capture);
    const guard = onlyNetworks(privateNetworks);
    for (const host of [
      '127.0.0.1',
      'localhost',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0.0.0.0',
      '127.1',
      '0x7f000001',
      '2130706433',
      '017700000001',
    ]) {
      const found = await outcome(`rtsp://${host}:${camera.port}/cam`, { guard });
      assert.match(
        found,
        /^(forbidden: .*(is this machine|not connect)|unreachable: there is no host)/,
        host,
      );
    }
    assert.equal(camera.connections, 0);
  });

  it('is looked up once for each connection, and checked each time', async (t) => {
    const camera = await PacketCamera.start(t, capture);
    const url = camera.url.replace('127.0.0.1', 'turncoat.test');
    const guard = onlyNetworks(privateNetworks);
    const answers = answersOf(t, 'turncoat.test');

    answers.push(['10.0.0.9'], ['127.0.0.1']);
    const { signal } = new AbortController();
    assert.deepEqual(await allowedAddresses('turncoat.test', guard, signal), ['10.0.0.9']);
    assert.match(await outcome(url, { guard }), /^forbidden: turncoat\.test \(127\.0\.0\.1\)/);
    answers.push(['10.0.0.9', '::ffff:127.0.0.1']);
    assert.match(await outcome(url, { guard }), /^forbidden: .*is this machine/);
    assert.equal(camera.connections, 0);

    answers.push(['127.0.0.1'], ['10.0.0.9']);
    const here = (address: string): string | null =>
      address === '127.0.0.1' ? null : 'is elsewhere';
    assert.equal(await outcome(url, { guard: here }), 'ok');
    assert.equal(answers.length, 1, 'what was checked is what was connected to');
  });

  it('over TLS needs a certificate that is trusted, unless told otherwise', async (t) => {
    const tls = await selfSigned(t);
    if (tls === null) return;
    const camera = await PacketCamera.start(t, capture, { tls });
    assert.match(
      await outcome(camera.url),
      /^unsupported: its certificate is not trusted.*verifyTls/,
    );
    assert.equal(await outcome(camera.url, { verifyTls: false }), 'ok');
    const plain = await PacketCamera.start(t, capture);
    const url = plain.url.replace('rtsp:', 'rtsps:');
    assert.match(await outcome(url, { verifyTls: false }), /^unsupported: no TLS|^unreachable/);
    const downgrade = await PacketCamera.start(t, capture, {
      tls,
      answer: ({ method }) =>
        method === 'DESCRIBE' ? { status: '302 x', headers: { Location: plain.url } } : undefined,
    });
    assert.match(await outcome(downgrade.url, { verifyTls: false }), /^forbidden: .*rtsps/);
  });

  it('is kept alive, and tells when it hangs up', async (t) => {
    const clock = new ManualClock();
    let alive = (): void => undefined;
    const kept = new Promise<void>((resolve) => (alive = resolve));
    const camera = await PacketCamera.start(t, capture, {
      answer: ({ method }) => {
        if (method === 'GET_PARAMETER') alive();
        return undefined;
      },
    });
    const session = await openCamera(options(camera.url, { clock }));
    await session.play(() => undefined);
    clock.advance(30_000);
    await kept;
    camera.unplug();
    const end = await session.closed;
    assert.ok(end === null || end.code === 'ended', String(end));
    session.close();
    session.close();
  });
});

describe('packets over UDP', () => {
  const packet = (sequence: number): Buffer => {
    const bytes = Buffer.alloc(12);
    bytes.writeUInt32BE(0x8060_0000 + (sequence & 0xffff), 0);
    return bytes;
  };
  let seen: number[] = [];
  let reorder = new Reorder(() => undefined);
  const start = (): void => {
    seen = [];
    reorder = new Reorder((bytes) => seen.push(bytes.readUInt16BE(2)));
  };

  it('are put back into their order, also where the numbers wrap', () => {
    start();
    for (const sequence of [65_533, 65_535, 65_534, 1, 0, 0, 65_534, 2]) {
      reorder.push(packet(sequence), 0);
    }
    assert.deepEqual(seen, [65_533, 65_534, 65_535, 0, 1, 2], 'and each comes once');
  });

  it('are waited for no longer than the limits say', () => {
    start();
    reorder.push(packet(10), 0);
    reorder.push(packet(12), 0);
    reorder.push(packet(13), waitMsMax - 1);
    assert.deepEqual(seen, [10]);
    reorder.push(packet(14), waitMsMax);
    assert.deepEqual(seen, [10, 12, 13, 14]);
    for (let next = 16; next < 16 + waitingMax; next += 1) reorder.push(packet(next), waitMsMax);
    assert.equal(seen.at(-1), 15 + waitingMax, 'or by how many wait');
    reorder.push(packet(40_000), waitMsMax);
    reorder.push(packet(40_001), waitMsMax);
    assert.deepEqual(seen.slice(-2), [40_000, 40_001], 'a camera that counts anew');
    reorder.push(Buffer.from('rubbish'), waitMsMax);
  });
});
