/** Cameras that are fetched from, with real packets and whatever lies there are about them. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { authenticate, challenges } from '../../../ingest/rtsp/authentication.ts';
import type { RtspRequest } from '../../../ingest/rtsp/parser.ts';
import { retryAfterRefusalMs, rtspPullSource } from '../../../ingest/rtsp/pull-source.ts';
import { SourceError } from '../../../ingest/source.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Fragment, Run } from '../../../storage/model.ts';
import { selfSigned } from '../../support/certificate.ts';
import {
  capturePackets,
  LeapingClock,
  PacketCamera,
  type Answer,
  type Capture,
  type PacketCameraOptions,
} from '../../support/packet-camera.ts';
import { reader, startServer, type TestServer } from './helpers.ts';
import { addressOf, framesOf, makeClip, playFrames } from './media.ts';
import { fragmentsOf, setUp, storedFrames, type Recording } from './recordings.ts';
import type { RtspServerOptions } from '../../../ingest/rtsp/server.ts';

interface Scene extends Recording, TestServer {
  readonly camera: PacketCamera;
  readonly clip: string;
  /** Runs the source once. @throws SourceError */
  fetch(more?: {
    url?: string;
    verifyTls?: boolean;
    transport?: 'tcp' | 'udp';
    stallTimeoutMs?: number;
    signal?: AbortSignal;
  }): Promise<void>;
  runs(): Promise<readonly Run[]>;
  allFragments(): Promise<readonly Fragment[]>;
}

const sound = ['-c:a', 'aac'];

async function scene(
  t: TestContext,
  options: PacketCameraOptions,
  more: {
    readonly seconds?: number;
    readonly audio?: readonly string[];
    readonly video?: readonly string[];
    readonly change?: (capture: Capture) => Capture;
    readonly server?: Partial<RtspServerOptions>;
  } = {},
): Promise<Scene> {
  const recording = await setUp(t);
  const { seconds = 6, audio = sound, video, change = (capture: Capture) => capture } = more;
  const clip = await makeClip(recording.folder, {
    name: 'clip',
    seconds,
    audio,
    ...(video === undefined ? {} : { video }),
  });
  const served = await startServer(t, more.server);
  const camera = await PacketCamera.start(t, change(await capturePackets(t, clip)), options);
  const { store, record } = recording;
  const fetch: Scene['fetch'] = async ({
    url = camera.url,
    verifyTls = true,
    transport = 'tcp',
    stallTimeoutMs,
    signal,
  } = {}): Promise<void> =>
    rtspPullSource({
      camera: 'gate',
      ...{ url, verifyTls, transport },
      server: served.server,
      clock: systemClock,
      record: (request) =>
        record({ ...request, ...(stallTimeoutMs === undefined ? {} : { stallTimeoutMs }) }),
    }).run({ signal: signal ?? new AbortController().signal, ready: () => undefined });
  const everything = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1e4 };
  return {
    ...recording,
    ...served,
    camera,
    clip,
    fetch,
    runs: () => store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER),
    allFragments: () => store.video.fragments(everything),
  };
}

/** No instant is claimed twice, by whatever run. */
function assertApart(fragments: readonly Fragment[]): void {
  for (const [index, { startUs, durationUs }] of fragments.entries()) {
    const before = fragments[index - 1];
    assert.ok(durationUs > 0, `fragment ${index} lasts ${durationUs} µs`);
    if (before === undefined) continue;
    const endUs = before.startUs + before.durationUs;
    assert.ok(startUs >= endUs, `fragment ${index} begins ${endUs - startUs} µs too early`);
  }
}

describe('a camera that is fetched from', { concurrency: 2 }, () => {
  it('is connected to once, whatever its audio is, and played from there', async (t) => {
    const audio = ['-c:a', 'pcm_alaw', '-ar', '8000', '-f', 'mov'];
    const s = await scene(t, { pace: 1 }, { audio });
    const abort = new AbortController();
    const done = s.fetch({ signal: abort.signal });
    const { run } = await s.next('run-started');
    const url = addressOf(s.port, 'gate', reader);
    const viewer = playFrames(t, s.folder, url, undefined, ['-frames:v', '30']);
    const seen = await viewer.frames;
    const all = await framesOf(['-i', s.clip]);
    assert.equal(seen.filter((frame) => !all.includes(frame)).length, 0);
    assert.equal(seen.length, 30, viewer.child.lines.join('\n'));
    await s.fragments(run, 2);
    abort.abort();
    await done;
    assert.equal(s.camera.connections, 1);
    assert.ok(
      s.camera.requests.some(({ method }) => method === 'TEARDOWN'),
      'it is told goodbye',
    );
    const init = await s.store.video.init((await fragmentsOf(s.store, run))[0]!.initId);
    assert.deepEqual(
      init.tracks.map(({ codec }) => codec.slice(0, 4)),
      ['avc1', 'mp4a'],
    );
    const stored = await storedFrames(s, run);
    assert.deepEqual(stored, all.slice(0, stored.length), 'from its first frame on');
  });

  const nowMs = Date.now();
  for (const [name, reportMs] of [
    ['agree', (mediaMs: number) => nowMs + mediaMs],
    ['are hours off', (mediaMs: number) => nowMs + mediaMs - 7_200_000],
    ['are a day ahead', (mediaMs: number) => nowMs + mediaMs + 86_400_000],
    [
      'jump about',
      (mediaMs: number) => nowMs + mediaMs + (Math.floor(mediaMs / 1000) % 3) * 3_600_000,
    ],
    ['go back', (mediaMs: number) => nowMs - mediaMs * 5],
    ['stand still', () => nowMs],
    ['drift', (mediaMs: number) => nowMs + mediaMs * 1.1],
    [
      'are of another clock for each track',
      (mediaMs: number, track: number) => nowMs + mediaMs + track * 86_400_000,
    ],
    ['are from 1900', () => -2_208_988_800_000],
    ['are from 2036', () => 2_085_978_495_999],
  ] as const) {
    it(`is one run, every frame in its place, when its sender reports ${name}`, async (t) => {
      const s = await scene(t, { hangUp: true, reportMs });
      await s.fetch();
      const runs = await s.runs();
      assert.deepEqual(
        runs.map(({ endReason }) => endReason),
        ['ended'],
      );
      const fragments = await s.allFragments();
      assertApart(fragments);
      const lastedUs = fragments.reduce((sum, { durationUs }) => sum + durationUs, 0);
      assert.ok(Math.abs(lastedUs - 6_000_000) < 200_000, `it lasted ${lastedUs} µs`);
      assert.ok(Math.abs((runs[0]?.startUs ?? 0) / 1000 - Date.now()) < 60_000, 'and it was now');
      assert.deepEqual(await storedFrames(s, runs[0]!), await framesOf(['-i', s.clip]));
    });
  }

  it('goes on in another run when its media clock leaps, and by arrival when it does so again', async (t) => {
    const clock = new LeapingClock();
    const { change } = clock;
    const s = await scene(t, { pace: 0.8, loop: true, change }, { audio: [], seconds: 4 });
    const abort = new AbortController();
    const done = s.fetch({ signal: abort.signal });
    for (let run = 0; run < 3; run += 1) {
      await s.fragments((await s.next('run-started')).run, run === 2 ? 2 : 1);
      if (run < 2) clock.leap(1_000);
    }
    abort.abort();
    await done;
    assert.equal(s.camera.connections, 1, 'the camera notices nothing');
    const runs = await s.runs();
    assert.equal(runs.length, 3);
    for (const { endReason } of runs.slice(0, 2)) {
      assert.match(endReason ?? '', /^failed: .*its media clock jumped by \d+/);
    }
    const fragments = await s.allFragments();
    assertApart(fragments);
    const byArrival = fragments.filter(({ runId }) => runId === runs[2]?.id);
    // Two groups of pictures of a second, in 1.6 s when nothing stalls; the clock leaps by 1,000 s.
    for (const { durationUs } of byArrival.slice(0, -1)) {
      assert.ok(durationUs > 500_000 && durationUs < 10_000_000, `${durationUs} µs by arrival`);
    }
  });

  for (const [name, factor] of [
    ['runs ten times too fast', 10],
    ['stands still', 0],
  ] as const) {
    it(`is timed by arrival when its media clock ${name}`, async (t) => {
      const firstOf = new Map<number, number>();
      const change = (packet: Buffer, { track }: { track: number }): readonly Buffer[] => {
        const timestamp = packet.readUInt32BE(4);
        const first = firstOf.get(track) ?? timestamp;
        firstOf.set(track, first);
        packet.writeUInt32BE((first + ((timestamp - first) | 0) * factor) >>> 0, 4);
        return [packet];
      };
      const s = await scene(t, { pace: 1, loop: true, change }, { audio: [], seconds: 4 });
      const abort = new AbortController();
      const done = s.fetch({ signal: abort.signal });
      await s.next('run-started');
      await s.fragments((await s.next('run-started')).run, 3);
      abort.abort();
      await done;
      assert.equal(s.camera.connections, 1, 'the camera notices nothing');
      const [lying, byArrival, ...others] = await s.runs();
      assert.deepEqual(others, []);
      assert.match(lying?.endReason ?? '', /^failed: .*its media clock/);
      const fragments = await s.allFragments();
      assertApart(fragments);
      const seconds = fragments
        .filter(({ runId }) => runId === byArrival?.id)
        .map(({ durationUs }) => durationUs / 1e6);
      // Two groups of pictures of a second; by what the clock says it would be 20 s, or nothing.
      for (const one of seconds.slice(0, -1)) assert.ok(one > 0.5 && one < 10, seconds.join());
    });
  }

  it('marks the fragment from which packets are missing', async (t) => {
    for (const transport of ['tcp', 'udp'] as const) {
      let lost = 0;
      const change = (packet: Buffer, { track, index }: { track: number; index: number }) => {
        const isLost = track === 0 && index > 200 && lost < 3;
        if (isLost) lost += 1;
        return isLost ? [] : [packet];
      };
      const s = await scene(t, { pace: 0.5, change }, { seconds: 12 });
      const abort = new AbortController();
      const done = s.fetch({
        signal: abort.signal,
        transport,
      });
      const { run } = await s.next('run-started');
      await s.fragments(run, 4);
      abort.abort();
      await done;
      const marks = (await s.allFragments()).map(({ damaged }) => damaged);
      assert.ok(lost === 3 && marks.includes(true), `${transport}: ${marks.join()}`);
      assert.ok(marks.slice(0, 1).includes(false) && marks.includes(false), marks.join());
      assert.equal((await s.runs()).length, 1, 'a loss ends nothing');
    }
  });

  it('is given up when it sends bytes and no pictures', async (t) => {
    for (const change of [
      // One byte of each packet, or RTCP without end, or pictures without a keyframe.
      (packet: Buffer) => [packet.subarray(0, 13)],
      (packet: Buffer) => [Buffer.concat([packet.subarray(0, 12), Buffer.alloc(30, 0xff)])],
    ]) {
      const s = await scene(t, { pace: 1, loop: true, change }, { audio: [], seconds: 2 });
      await assert.rejects(
        s.fetch({ stallTimeoutMs: 1_500 }),
        isSourceError('stalled', 'malformed', 'ended'),
      );
      assert.deepEqual(await s.allFragments(), []);
    }
    const silent = await scene(t, {}, { seconds: 3 });
    await assert.rejects(silent.fetch({ stallTimeoutMs: 1_500 }), isSourceError('stalled'));
    assert.ok((await silent.allFragments()).length >= 1, 'what came before is there');
  });

  for (const transport of ['tcp', 'udp'] as const)
    it(`is cut off when it floods over ${transport}, with bounded memory`, async (t) => {
      const more = { audio: [], server: { limits: { bytesPerSecondMax: 4 * 1024 * 1024 } } };
      let sent = 0;
      const flood = (packet: Buffer): readonly Buffer[] => {
        sent += packet.length;
        return [packet];
      };
      const s = await scene(t, { loop: true, change: flood }, more);
      const before = process.memoryUsage().rss;
      await assert.rejects(s.fetch({ transport }), isSourceError('unsupported'));
      const grownBytes = process.memoryUsage().rss - before;
      assert.ok(grownBytes < 150e6, `${grownBytes} bytes more`);
      assert.ok(sent < 200e6, `${sent} bytes were taken`);
      assertApart(await s.allFragments());
    });

  it('can be left while it is asked to play, or while an earlier session of it is open', async (t) => {
    const abort = new AbortController();
    const silent = await scene(t, {
      answer: ({ method }) => {
        if (method !== 'PLAY') return undefined;
        abort.abort();
        return { status: '100 Continue' };
      },
    });
    await silent.fetch({ signal: abort.signal });
    const { server, camera } = silent;
    const session = { lines: ['v=0'], media: [] };
    const other = server.relay('gate', session, [], {
      remote: 'elsewhere',
      report: () => undefined,
      dismiss: () => undefined,
    });
    await assert.rejects(silent.fetch(), isSourceError('unreachable'));
    other.close('left');
    assert.equal(camera.connections, 2);
    assert.deepEqual(await silent.runs(), []);
  });

  it('is recorded whole over TLS, behind a login and a redirect', async (t) => {
    const tls = await selfSigned(t);
    if (tls === null) return;
    const user = { username: 'viewer', password: 'p@ss/word' };
    const answer = (request: RtspRequest, { url }: PacketCamera): Answer | undefined => {
      if (authenticate(request, [user], 'n1', 'cam').kind !== 'accepted') {
        const [digest = ''] = challenges('n1', false);
        return { status: '401 Unauthorized', headers: { 'WWW-Authenticate': digest } };
      }
      if (request.method !== 'DESCRIBE' || request.url.endsWith('/2')) return undefined;
      return { status: '302 Found', headers: { Location: `${url}/2` } };
    };
    const s = await scene(t, { tls, answer, hangUp: true });
    const url = s.camera.url.replace('//', `//viewer:${encodeURIComponent(user.password)}@`);
    await s.fetch({ url, verifyTls: false });
    const [run] = await s.runs();
    assert.deepEqual(await storedFrames(s, run!), await framesOf(['-i', s.clip]));
    assert.equal(s.camera.connections, 2, 'where it was asked for, and where it is');
  });

  it('is recorded over UDP as it was sent', async (t) => {
    const s = await scene(t, { pace: 0.5 });
    const abort = new AbortController();
    const done = s.fetch({ transport: 'udp', signal: abort.signal });
    const { run } = await s.next('run-started');
    await s.fragments(run, 2);
    abort.abort();
    await done;
    const stored = await storedFrames(s, run);
    const sent = await framesOf(['-i', s.clip]);
    assert.ok(stored.length >= 100, `${stored.length} frames`);
    assert.deepEqual(stored, sent.slice(0, stored.length));
  });

  it('is not asked again soon after it refused a password', async (t) => {
    const answer = (): { status: string; headers: Record<string, string> } => ({
      status: '401 Unauthorized',
      headers: { 'WWW-Authenticate': 'Digest realm="x", nonce="y"' },
    });
    const recording = await setUp(t);
    const { server } = await startServer(t);
    const camera = await PacketCamera.start(
      t,
      { sdp: '', packets: [], lengthMs: 0, rates: [] },
      { answer },
    );
    const failing = (url: string): Promise<unknown> =>
      rtspPullSource({ camera: 'gate', url, server, clock: systemClock, record: recording.record })
        .run({ signal: new AbortController().signal, ready: () => undefined })
        .then(
          () => null,
          (error: unknown) => error,
        );
    const refused = await failing(camera.url.replace('//', '//admin:secret@'));
    assert.ok(refused instanceof SourceError && refused.code === 'unauthorized', String(refused));
    assert.equal(refused.retryAfterMs, retryAfterRefusalMs);
    assert.match(refused.message, /^rtsp:\/\/127\.0\.0\.1:\d+\/cam: 401/);
    const asked = await failing(camera.url);
    assert.ok(asked instanceof SourceError && asked.retryAfterMs === null, 'nothing was guessed');
  });
});

function isSourceError(...codes: readonly string[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SourceError, String(error));
    assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
    return true;
  };
}
