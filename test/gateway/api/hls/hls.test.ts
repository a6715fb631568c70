import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import {
  CameraSchema,
  CamerasSchema,
  FragmentsSchema,
  RunsSchema,
  TimelineSchema,
  type CameraFragment,
} from '../../../../gateway/api/rest/camera-schemas.ts';
import { ErrorSchema } from '../../../../gateway/api/rest/error-schemas.ts';
import { fragmentFile } from '../../../../gateway/api/hls/urls.ts';
import { isoFromUs } from '../../../../gateway/api/rest/times.ts';
import { createHttpServer, type HttpServer } from '../../../../gateway/http/server.ts';
import { systemClock } from '../../../../storage/clock.ts';
import {
  describeTrack,
  readInit,
  readMovieFragments,
  sampleDefaults,
} from '../../../../storage/video/boxes.ts';
import { ffmpegPath, needs } from '../../../support/tools.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';
import { makeFootage, record, type Footage } from './footage.ts';

const run = promisify(execFile);
const startUs = Date.UTC(2026, 0, 1, 12) * 1_000 + 250;

async function withCamera(context: TestContext, mediaFileMs = 60_000): Promise<TestGateway> {
  const gateway = await startGateway(context, { mediaFileMs });
  await gateway.video.ensureCamera({
    name: 'gate',
    retentionMs: null,
    maxBytes: null,
    events: null,
  });
  return gateway;
}

async function serve(
  context: TestContext,
  { app, logger, metrics }: TestGateway,
): Promise<HttpServer> {
  const server = await createHttpServer({
    host: '127.0.0.1',
    port: 0,
    fetch: app.fetch,
    clock: systemClock,
    logger,
    metrics,
  });
  context.after(() => server.close());
  return server;
}

const range = (fromUs: number, toUs: number): string =>
  `from=${isoFromUs(fromUs)}&to=${isoFromUs(toUs)}`;

/** Frame hashes, in order of decoding, of one track. */
async function frames(args: readonly string[], track: string): Promise<string[]> {
  const { stdout } = await run(
    ffmpegPath,
    ['-v', 'error', ...args, '-map', track, '-c', 'copy', '-f', 'framemd5', 'pipe:1'],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  return stdout
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(',').at(-1)?.trim() ?? '');
}

/** The same of footage as ffmpeg made it. */
async function framesOf(footage: Footage, track: string): Promise<string[]> {
  const bytes = Buffer.concat([footage.init, ...footage.chunks.map((chunk) => chunk.bytes)]);
  const child = run(
    ffmpegPath,
    ['-v', 'error', '-i', 'pipe:0', '-map', track, '-c', 'copy', '-f', 'framemd5', 'pipe:1'],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  child.child.stdin?.end(bytes);
  const { stdout } = await child;
  return stdout
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(',').at(-1)?.trim() ?? '');
}

/** What a client with the token hands to ffmpeg. */
function input(server: HttpServer, token: string, path: string): string[] {
  return ['-headers', `Authorization: Bearer ${token}\r\n`, '-i', `${server.url}${path}`];
}

/** Decode times of every track of served fragments, in seconds, in order. */
async function decodeTimes(
  gateway: TestGateway,
  fragments: readonly CameraFragment[],
): Promise<{ kind: string; first: number; end: number }[][]> {
  const all = [];
  for (const { url, initUrl } of fragments) {
    const init = readInit(Buffer.from(await (await gateway.get(initUrl)).arrayBuffer()));
    const media = Buffer.from(await (await gateway.get(url)).arrayBuffer());
    const movies = readMovieFragments(media, sampleDefaults(init));
    all.push(
      init.tracks.map(({ trackId, kind, timescale }) => {
        const pieces = movies.flatMap(({ tracks }) =>
          tracks.filter((track) => track.trackId === trackId && track.samples.length > 0),
        );
        const last = pieces.at(-1);
        return {
          kind,
          first: (pieces[0]?.decodeTime ?? 0) / timescale,
          end: ((last?.decodeTime ?? 0) + (last?.durationTicks ?? 0)) / timescale,
        };
      }),
    );
  }
  return all;
}

test('a camera without footage is a clear 404, and so is a time without', async (context) => {
  const gateway = await withCamera(context);
  const paths = {
    '/hls/none/live.m3u8': /none/,
    '/hls/gate/live.m3u8': /nothing of gate is recorded yet/i,
    [`/hls/gate/range.m3u8?${range(startUs, startUs + 1e6)}`]: /nothing of gate was recorded/i,
    '/hls/gate/1-1.m4s': /fragment/,
    '/hls/gate/init-1-0123456789abcdef.mp4': /init/,
    '/hls/gate/..%2f..%2fheadgate.db': /no such file/i,
  };
  for (const [path, message] of Object.entries(paths)) {
    const response = await gateway.get(path);
    assert.equal(response.status, 404, path);
    assert.match(ErrorSchema.parse(await response.json()).error.message, message);
  }
  for (const query of ['', '?from=x&to=y', '?from=5&to=5']) {
    assert.equal((await gateway.get(`/hls/gate/range.m3u8${query}`)).status, 400, query);
  }
});

test('two runs with a gap and two inits play to the last frame', async (context) => {
  const gateway = await withCamera(context);
  const server = await serve(context, gateway);
  const [small, large, later] = await Promise.all([
    makeFootage(5),
    makeFootage(5, '320x240'),
    makeFootage(5, '160x120', 880),
  ]);
  const first = await record(gateway.video, 'gate', [small, large], startUs);
  const secondUs = startUs + 60_000_000;
  const second = await record(gateway.video, 'gate', [later], secondUs);
  const path = `/hls/gate/range.m3u8?${range(startUs, secondUs + 60_000_000)}`;

  const playlist = await (await gateway.get(path)).text();
  assert.equal(playlist.match(/#EXT-X-DISCONTINUITY$/gm)?.length, 2, 'a new init, and a new run');
  assert.match(playlist, /#EXT-X-PROGRAM-DATE-TIME:2026-01-01T12:00:00\.000250Z/);
  assert.equal(
    playlist.match(/#EXTINF/g)?.length,
    first.fragments.length + second.fragments.length,
  );

  for (const track of ['0:a', '0:v']) {
    const source = [small, large, later].map((footage) => framesOf(footage, track));
    const expected = (await Promise.all(source)).flat();
    assert.deepEqual(await frames(input(server, gateway.token, path), track), expected, track);
  }
});

test('within a run time goes on across media files, and no frame is lost', async (context) => {
  if (!needs(context, 'ffprobe')) return;
  const gateway = await withCamera(context, 5_000);
  const server = await serve(context, gateway);
  const footage = await makeFootage(16);
  const { fragments } = await record(gateway.video, 'gate', [footage], startUs);
  const files = new Set(fragments.map(({ mediaFileId }) => mediaFileId));
  assert.ok(files.size >= 3, `${files.size} media files`);
  const whole = range(startUs, startUs + 100e6);
  const path = `/hls/gate/range.m3u8?${whole}`;
  assert.doesNotMatch(await (await gateway.get(path)).text(), /#EXT-X-DISCONTINUITY$/m);

  const listed = FragmentsSchema.parse(
    await gateway.json(`/api/v1/cameras/gate/fragments?${whole}`),
  ).fragments;
  const times = await decodeTimes(gateway, listed);
  for (const track of [0, 1]) {
    for (let i = 1; i < times.length; i++) {
      const before = times[i - 1]?.[track];
      const after = times[i]?.[track];
      assert.ok(before !== undefined && after !== undefined);
      assert.ok(Math.abs(after.first - before.end) < 0.001, `${after.kind} ${i}`);
    }
  }

  const args = input(server, gateway.token, path);
  const { stdout } = await run('ffprobe', [
    ...[
      '-v',
      'error',
      '-select_streams',
      'v',
      '-show_entries',
      'packet=dts_time',
      '-of',
      'csv=p=0',
    ],
    ...args,
  ]);
  const dts = stdout.split('\n').filter(Boolean).map(Number.parseFloat);
  assert.equal(dts.length, 16 * 25);
  const steps = dts.slice(1).map((time, i) => time - (dts[i] ?? 0));
  // ffmpeg itself lengthens the first frame by the encoder's delay of the audio.
  const uneven = steps.slice(1).filter((step) => Math.abs(step - 0.04) >= 0.001);
  assert.deepEqual(uneven, [], 'one frame after the other');
  assert.deepEqual(await frames(args, '0:v'), await framesOf(footage, '0:v'));
});

test('a slewed timeline moves the served times with it, and never back', async (context) => {
  const gateway = await withCamera(context);
  const footage = await makeFootage(8);
  // The camera's clock is 500 ppm slow and fast: fragments are a millisecond longer or shorter.
  for (const [index, ppm] of [500, -500].entries()) {
    const slewed = {
      ...footage,
      chunks: footage.chunks.map((chunk) => ({
        ...chunk,
        durationUs: Math.round(chunk.durationUs * (1 + ppm / 1e6)),
      })),
    };
    const fromUs = startUs + index * 60_000_000;
    await record(gateway.video, 'gate', [slewed], fromUs);
    const { fragments } = FragmentsSchema.parse(
      await gateway.json(`/api/v1/cameras/gate/fragments?${range(fromUs, fromUs + 30e6)}`),
    );
    const times = await decodeTimes(gateway, fragments);
    for (let i = 1; i < times.length; i++) {
      for (const track of [0, 1]) {
        const step = (times[i]?.[track]?.first ?? 0) - (times[i - 1]?.[track]?.end ?? 0);
        assert.ok(Math.abs(step) < 0.002, `${ppm} ppm: ${step} s`);
      }
    }
    const [first, last] = [fragments[0], fragments.at(-1)];
    const served = (times.at(-1)?.[0]?.first ?? 0) - (times[0]?.[0]?.first ?? 0);
    const wall = (Date.parse(last?.startTime ?? '') - Date.parse(first?.startTime ?? '')) / 1_000;
    assert.ok(Math.abs(served - wall) < 0.001, 'in step with the wall clock');
  }
});

test('live: each reload goes on, a new run is marked, and media stay cacheable', async (context) => {
  const gateway = await withCamera(context);
  const footage = await makeFootage(6);
  const seen = new Map<string, number>();
  let marks = 0;
  for (let i = 0; i < 5; i++) {
    await record(gateway.video, 'gate', [footage], startUs + i * 20_000_000);
    for (let reload = 0; reload < 2; reload++) {
      const response = await gateway.get('/hls/gate/live.m3u8');
      assert.equal(response.headers.get('cache-control'), 'no-cache');
      assert.equal(response.headers.get('content-type'), 'application/vnd.apple.mpegurl');
      const playlist = await response.text();
      assert.doesNotMatch(playlist, /ENDLIST/);
      const sequence = Number(/#EXT-X-MEDIA-SEQUENCE:(\d+)/.exec(playlist)?.[1]);
      const names = playlist.split('\n').filter((line) => line.endsWith('.m4s'));
      assert.ok(names.length <= 8);
      names.forEach((name, index) => {
        assert.equal(seen.get(name) ?? sequence + index, sequence + index, name);
        seen.set(name, sequence + index);
      });
      marks = playlist.match(/#EXT-X-DISCONTINUITY$/gm)?.length ?? 0;
    }
  }
  assert.equal(seen.size, 15);
  assert.ok(marks >= 2, 'runs are marked');

  const [name = ''] = [...seen.keys()].slice(-1);
  const fragment = await gateway.get(`/hls/gate/${name}`);
  assert.equal(fragment.status, 200);
  assert.equal(fragment.headers.get('cache-control'), 'private, max-age=31536000, immutable');
  const wrongStart = name.replace(/-\d+/, '-1');
  assert.equal((await gateway.get(`/hls/gate/${wrongStart}`)).status, 404);
  assert.equal((await gateway.get(`/hls/other/${name}`)).status, 404);
});

test('a camera that is away has no live playlist, and comes back without what is old', async (context) => {
  const gateway = await withCamera(context);
  const footage = await makeFootage(6);
  const live = () => gateway.get('/hls/gate/live.m3u8');
  const at = (us: number): void => gateway.clock.advance(us / 1_000 - gateway.clock.nowMs());
  await record(gateway.video, 'gate', [footage], startUs);

  at(startUs + 16e6);
  assert.equal((await live()).status, 200, 'it may come back at once');
  at(startUs + 26e6);
  const away = await live();
  assert.equal(away.status, 404);
  const { message } = ErrorSchema.parse(await away.json()).error;
  assert.match(message, /^gate is not sending\. It was last seen at 2026-01-01T12:00:06\.\d+Z\.$/);

  const backUs = startUs + 1_800e6;
  const back = await gateway.video.startRun('gate', backUs);
  await back.setInit(footage.init, readInit(footage.init).tracks.map(describeTrack));
  await back.openFragment({
    startUs: backUs,
    producerMs: null,
    serverMs: Math.round(backUs / 1_000),
  });
  for (const chunk of footage.chunks) await back.appendChunk(chunk);
  const fragment = await back.closeFragment({ durationUs: 6e6, damaged: false });
  at(backUs + 60e6);
  const playlist = await (await live()).text();
  assert.deepEqual(playlist.match(/.*\.m4s/g), [fragmentFile(fragment)], 'one that goes on, alone');
  await back.end('ended');
  assert.equal((await live()).status, 404);
});

test('cameras, runs, fragments page by page, and the timeline', async (context) => {
  const gateway = await withCamera(context);
  const empty = CameraSchema.parse(await gateway.json('/api/v1/cameras/gate'));
  assert.deepEqual([empty.state, empty.tracks, empty.lastTime], ['disabled', [], null]);
  const footage = await makeFootage(10);
  const one = await record(gateway.video, 'gate', [footage], startUs);
  const two = await record(gateway.video, 'gate', [footage], startUs + 13_000_000);
  gateway.sources.cameras = () => [
    {
      name: 'gate',
      state: 'backing-off',
      sinceMs: gateway.clock.nowMs(),
      source: 'rtsp://10.0.0.7/main',
      lastError: 'no route to host',
      restarts: 2,
      retryAtMs: gateway.clock.nowMs() + 1_000,
    },
  ];
  const { cameras } = CamerasSchema.parse(await gateway.json('/api/v1/cameras'));
  const [camera] = cameras;
  assert.ok(camera !== undefined);
  assert.equal(camera.lastError, 'no route to host');
  assert.equal(camera.firstTime, '2026-01-01T12:00:00.000250Z');
  assert.deepEqual(
    camera.tracks.map(({ kind, codec, width }) => [kind, codec.slice(0, 4), width]),
    [
      ['video', 'avc1', 160],
      ['audio', 'mp4a', null],
    ],
  );
  assert.ok((camera.bitsPerSecond ?? 0) > 1_000);

  const whole = range(startUs - 5e6, startUs + 60e6);
  const { runs } = RunsSchema.parse(await gateway.json(`/api/v1/cameras/gate/runs?${whole}`));
  assert.deepEqual(
    runs.map(({ id, endReason }) => [id, endReason]),
    [one, two].map(({ run: { id } }) => [id, 'ended']),
  );

  const numbers: number[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page: ReturnType<typeof FragmentsSchema.parse> = FragmentsSchema.parse(
      await gateway.json(
        `/api/v1/cameras/gate/fragments?${whole}&limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`,
      ),
    );
    assert.ok(page.fragments.length <= 3);
    numbers.push(...page.fragments.map(({ number }) => number));
    cursor = page.nextCursor;
  }
  const expected = [...one.fragments, ...two.fragments].map(({ number }) => number);
  assert.deepEqual(numbers, expected);

  const read = async (query: string) =>
    TimelineSchema.parse(await gateway.json(`/api/v1/cameras/gate/timeline?${query}`));
  const endUs = (recorded: typeof one): number => {
    const last = recorded.fragments.at(-1);
    return (last?.startUs ?? 0) + (last?.durationUs ?? 0);
  };
  const timeline = await read(whole);
  assert.deepEqual(timeline.spans, [
    { startTime: isoFromUs(startUs), endTime: isoFromUs(endUs(one)) },
    { startTime: isoFromUs(startUs + 13e6), endTime: isoFromUs(endUs(two)) },
  ]);
  assert.deepEqual(timeline.gaps, [
    { startTime: isoFromUs(endUs(one)), endTime: isoFromUs(startUs + 13e6), reason: 'ended' },
  ]);
  assert.equal((await read(`${whole}&mergeGapMs=5000`)).spans.length, 1);
  const inside = await read(range(startUs + 1e6, startUs + 2e6));
  assert.deepEqual(inside.spans, [
    { startTime: isoFromUs(startUs + 1e6 - 250), endTime: isoFromUs(startUs + 2e6 - 250) },
  ]);
});
