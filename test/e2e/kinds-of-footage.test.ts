/**
 * Footage of every kind that cameras send, from its packets to a player: fetched over RTSP, recorded
 * encrypted, indexed, and played over HLS; every frame is compared, and when it is shown. All kinds
 * are cameras of one gateway.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { isoFromUs } from '../../gateway/api/rest/times.ts';
import { createHttpServer } from '../../gateway/http/server.ts';
import { recordSession } from '../../ingest/camera/session.ts';
import { rtspPullSource } from '../../ingest/rtsp/pull-source.ts';
import type { RtspServer } from '../../ingest/rtsp/server.ts';
import { systemClock } from '../../storage/clock.ts';
import type { Fragment, Run } from '../../storage/model.ts';
import { startGateway, type TestGateway } from '../gateway/http/gateway.ts';
import { startServer } from '../ingest/rtsp/helpers.ts';
import { cameraOptions, underKey } from '../storage/video/footage.ts';
import { type Capture, capturePackets, PacketCamera } from '../support/packet-camera.ts';
import { type ShownFrame, shownFrames } from '../support/shown-frames.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { ffmpegPath, needs } from '../support/tools.ts';

const run = promisify(execFile);

/** Media-second by media-second, what a camera's clock says; left out: it says nothing. */
type ReportMs = (mediaMs: number, nowMs: number) => number;

interface Footage {
  readonly name: string;
  readonly video: readonly string[];
  readonly seconds?: number;
  /** The picture is larger from here on, and there is no sound. */
  readonly largerFromSecond?: number;
}

interface Kind {
  readonly name: string;
  readonly footage: Footage;
  readonly isSilent?: boolean;
  readonly reportMs?: ReportMs;
  /** How long each fragment is, where that is the point. */
  readonly fragmentsMs?: readonly number[];
  /** How fast it comes; real time is 1. Left out: all at once. */
  readonly pace?: number;
}

const usualSeconds = 4;
const h264 = ['-c:v', 'libx264', '-preset', 'ultrafast'];
const h265 = (bframes: number): readonly string[] => [
  ...['-c:v', 'libx265', '-preset', 'ultrafast'],
  ...['-x265-params', `log-level=none:bframes=${bframes}:keyint=25:min-keyint=25:scenecut=0`],
];
const groups = (frames: number): readonly string[] => [
  ...[...h264, '-bf', '0'],
  ...['-x264-params', `keyint=${frames}:min-keyint=${frames}:scenecut=0`],
];

const usual: Footage = { name: 'usual', video: [...h264, '-bf', '0'] };
const bFrames: Footage = {
  name: 'b-frames',
  video: [...h264, '-bf', '4', '-b_strategy', '0'],
};
const hevc: Footage = { name: 'hevc', video: h265(0) };
const hevcBFrames: Footage = { name: 'hevc-b-frames', video: h265(3) };
const uneven: Footage = {
  name: 'uneven',
  video: [
    ...['-vf', "select='lt(mod(n,40),15)+not(mod(n,9))'", '-fps_mode', 'vfr'],
    ...[...h264, '-bf', '0'],
  ],
};

const kinds: readonly Kind[] = [
  {
    name: 'a keyframe every 20 s',
    ...{ footage: { name: '20-s', video: groups(500), seconds: 22 }, fragmentsMs: [20_000, 2_000] },
    // What came all at once would be a clock that runs away.
    pace: 0.5,
  },
  { name: 'H.264 with sound', footage: usual },
  { name: 'H.264 without sound', footage: usual, isSilent: true },
  { name: 'B-frames with sound', footage: bFrames },
  { name: 'B-frames without sound', footage: bFrames, isSilent: true },
  { name: 'H.265 with sound', footage: hevc },
  { name: 'H.265 with B-frames, without sound', footage: hevcBFrames, isSilent: true },
  { name: 'a frame rate that varies', footage: uneven },
  {
    name: 'a keyframe every half second',
    ...{ footage: { name: 'half-second', video: groups(12) }, fragmentsMs: [2_400, 1_600] },
  },
  {
    name: 'a picture that grows in mid-stream',
    footage: { name: 'grows', video: [...h264, '-bf', '0'], largerFromSecond: 2 },
  },
  {
    name: 'a clock that is a day ahead',
    footage: usual,
    reportMs: (mediaMs, nowMs) => nowMs + mediaMs + 86_400_000,
  },
  {
    name: 'a clock that is a day behind and drifts',
    footage: bFrames,
    reportMs: (mediaMs, nowMs) => nowMs - 86_400_000 + mediaMs * 1.0002,
  },
];

interface Clip {
  readonly path: string;
  readonly capture: Capture;
  readonly frames: readonly ShownFrame[];
}

interface Scene {
  readonly run: Run;
  readonly fragments: readonly Fragment[];
  /** What was sent. */
  readonly clip: Clip;
}

test('a camera that sends', { concurrency: 2 }, async (t) => {
  const gateway = await startGateway(t, { masterKeys: underKey() });
  // However long ffmpeg takes to come, all that was sent is there for it.
  const { server } = await startServer(t, {
    ...{ limits: { heldMsMax: 100_000 }, path: () => ({ publisher: null, readers: [] }) },
  });
  const { app, logger, metrics, token, video } = gateway;
  const http = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, fetch: app.fetch, clock: systemClock, logger, metrics },
  });
  t.after(() => http.close());
  const folder = await temporaryFolder(t);
  const clips = new Map<Footage, Promise<Clip>>();
  const sceneOf = async (camera: string, kind: Kind): Promise<Scene> => {
    const clip = clips.get(kind.footage) ?? clipOf(t, folder, kind.footage);
    clips.set(kind.footage, clip);
    return recorded(t, { gateway, server }, camera, kind, await clip);
  };
  const tests = kinds.map((kind, index) =>
    t.test(`${kind.name} is recorded, indexed and played, each frame in its time`, async () => {
      const camera = `camera-${index}`;
      const { run: recording, fragments, clip } = await sceneOf(camera, kind);
      const { seconds = usualSeconds, largerFromSecond } = kind.footage;
      assertContiguous(fragments);
      assert.equal(recording.startUs, fragments[0]?.startUs);
      assert.ok(Math.abs(recording.startUs / 1000 - Date.now()) < 300_000, 'it was now');
      for (const [at, ms] of (kind.fragmentsMs ?? []).entries()) {
        assertNear((fragments[at]?.durationUs ?? 0) / 1000, ms, 60, `fragment ${at}`);
      }
      const inits = new Set(fragments.map(({ initId }) => initId));
      assert.equal(inits.size, largerFromSecond === undefined ? 1 : 2);

      const range = `from=${isoFromUs(recording.startUs)}&to=${isoFromUs(recording.startUs + 60e6)}`;
      const url = `${http.url}/hls/${camera}/range.m3u8?${range}`;
      const headers = ['-headers', `Authorization: Bearer ${token}\r\n`];
      assertSameFrames(await shownFrames([...headers, '-i', url]), clip.frames);
      // The last frame of an uneven clip lasts as long as anybody cares to say.
      const withinMs = kind.footage === uneven ? 400 : 60;
      const lastedUs = fragments.reduce((sum, { durationUs }) => sum + durationUs, 0);
      assertNear(lastedUs / 1000, seconds * 1000, withinMs, 'all of it');
    }),
  );
  const byGStreamer = t.test('H.265 is played by GStreamer, frame for frame', async (inner) => {
    if (!needs(inner, 'gst-launch-1.0', 'gst-inspect-1.0')) return;
    const decoder = await run('gst-inspect-1.0', ['libde265dec']).catch(() => null);
    if (decoder === null) {
      inner.skip('needs libde265dec of GStreamer, not on this machine');
      return;
    }
    const kind = { name: 'H.265 with B-frames and sound', footage: hevcBFrames };
    const { fragments, clip } = await sceneOf('gstreamer', kind);
    const [path, pictures] = [join(folder, 'stored.mp4'), join(folder, 'pictures.yuv')];
    const { bytes } = await video.init(fragments[0]?.initId ?? -1);
    const parts = await Promise.all(fragments.map((one) => video.readFragment(one)));
    await writeFile(path, Buffer.concat([bytes, ...parts]));
    await run('gst-launch-1.0', [
      ...['-q', 'filesrc', `location=${path}`, '!', 'qtdemux', '!', 'h265parse', '!'],
      ...['libde265dec', '!', 'video/x-raw,format=I420', '!', 'filesink', `location=${pictures}`],
    ]);
    const { stdout: sent } = await run(
      ffmpegPath,
      ['-v', 'error', '-i', clip.path, '-map', '0:v', '-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-'],
      { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 },
    );
    assert.ok(sent.equals(await readFile(pictures)), 'all pictures are those that were sent');
  });
  await Promise.all([...tests, byGStreamer]);
});

/** Records all that a camera sends of a kind. */
async function recorded(
  t: TestContext,
  { gateway, server }: { readonly gateway: TestGateway; readonly server: RtspServer },
  camera: string,
  { isSilent = false, reportMs, pace = 0 }: Kind,
  clip: Clip,
): Promise<Scene> {
  const { video, logger, metrics } = gateway;
  await video.ensureCamera(cameraOptions(camera, { encryption: 'aes-256-gcm' }));
  const nowMs = Date.now();
  const capture = isSilent ? withoutSound(clip.capture) : clip.capture;
  const { url } = await PacketCamera.start(t, capture, {
    ...{ hangUp: true, pace },
    ...(reportMs === undefined ? {} : { reportMs: (mediaMs) => reportMs(mediaMs, nowMs) }),
  });
  await rtspPullSource({
    ...{ camera, url, transport: 'tcp', server, clock: systemClock },
    record: (request) =>
      recordSession({
        ...{ camera, video, ffmpegPath, logger, metrics, clock: systemClock, ...request },
        stallTimeoutMs: 100_000,
      }),
  }).run({ signal: new AbortController().signal, ready: () => undefined });
  const [first, ...others] = await video.runs(camera, 0, Number.MAX_SAFE_INTEGER);
  assert.ok(first !== undefined && others.length === 0, 'it is one run');
  const everything = { camera, fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 100 };
  return { run: first, fragments: await video.fragments(everything), clip };
}

function withoutSound(capture: Capture): Capture {
  const { sdp, packets } = capture;
  return {
    ...capture,
    sdp: sdp.slice(0, sdp.indexOf('m=audio')),
    packets: packets.filter(({ track }) => track === 0),
  };
}

async function clipOf(t: TestContext, folder: string, footage: Footage): Promise<Clip> {
  const path = await encode(folder, footage);
  const [capture, frames] = await Promise.all([capturePackets(t, path), shownFrames(['-i', path])]);
  return { path, capture, frames };
}

/** What a camera is to send, as a file. */
async function encode(folder: string, footage: Footage): Promise<string> {
  const { name, video, seconds = usualSeconds, largerFromSecond } = footage;
  const piece = async (size: string, pieceSeconds: number, isSilent: boolean): Promise<string> => {
    const path = join(folder, `${name}-${size}.mp4`);
    const source = `testsrc2=s=${size}:r=25:d=${pieceSeconds}`;
    const tone = ['-f', 'lavfi', '-i', `sine=r=48000:d=${pieceSeconds}`, '-c:a', 'aac'];
    await run(ffmpegPath, [
      ...['-v', 'error', '-f', 'lavfi', '-i', source, ...(isSilent ? [] : tone)],
      ...['-g', '25', ...video, '-pix_fmt', 'yuv420p', path],
    ]);
    return path;
  };
  if (largerFromSecond === undefined) return piece('192x108', seconds, false);
  const small = await piece('192x108', largerFromSecond, true);
  const large = await piece('320x180', seconds - largerFromSecond, true);
  const list = join(folder, `${name}.txt`);
  await writeFile(list, `file '${small}'\nfile '${large}'\n`);
  const path = join(folder, `${name}.ts`);
  const pieces = ['-f', 'concat', '-safe', '0', '-i', list];
  await run(ffmpegPath, ['-v', 'error', ...pieces, '-c', 'copy', path]);
  return path;
}

function assertSameFrames(played: readonly ShownFrame[], sent: readonly ShownFrame[]): void {
  assert.deepEqual(
    played.map(({ hash }) => hash),
    sent.map(({ hash }) => hash),
  );
  for (const [index, { leftMs }] of played.entries()) {
    assertNear(leftMs, sent[index]?.leftMs ?? NaN, 2, `frame ${index}`);
  }
}

function assertContiguous(fragments: readonly Fragment[]): void {
  for (const [index, { startUs }] of fragments.entries()) {
    const before = fragments[index - 1];
    if (before !== undefined) assert.equal(startUs, before.startUs + before.durationUs);
  }
}

function assertNear(actual: number, wanted: number, within: number, what: string): void {
  assert.ok(Math.abs(actual - wanted) <= within, `${what}: ${actual}, not ${wanted}`);
}
