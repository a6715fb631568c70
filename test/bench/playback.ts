/** Footage on its way out: playing from a random moment of a month, exports, images. */
import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { Hono } from 'hono';
import { hlsRoutes } from '../../gateway/api/hls/routes.ts';
import { createHttpServer, type HttpServer } from '../../gateway/http/server.ts';
import { streamed } from '../../gateway/http/streamed.ts';
import { Exports } from '../../gateway/media/export.ts';
import { Images } from '../../gateway/media/images.ts';
import { systemClock } from '../../storage/clock.ts';
import { describeTrack, readInit, shiftDecodeTimes } from '../../storage/video/boxes.ts';
import { openStore, type Store } from '../../storage/store.ts';
import { type Footage, makeFootage, record } from '../gateway/api/hls/footage.ts';
import { seededRandom } from '../storage/support/open.ts';
import { cameraOptions, newYearUs } from '../storage/video/footage.ts';
import { fillMonth, fragmentUs, monthFragments } from '../storage/video/month.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';
import type { Scope } from '../support/scope.ts';
import { ffmpegPath } from '../support/tools.ts';
import { type Benchmark, type Figure, median, quantile } from './bench.ts';

const run = promisify(execFile);

const playlists = 1_000;
/** What the page asks for when it begins to play. */
const stretchFragments = 300;
const footageSeconds = 10;
const repetitions = 30;
const rounds = 5;
const images = 20;

export const benchmark: Benchmark = {
  name: 'playback',
  title: 'Footage played from a random moment, exported, and as images',
  run: async ({ folder, note, after }) => {
    note('filling a month');
    const month = await openFolder(join(folder, 'month'), { after });
    const startsMs = await timePlaylists(month, { after });
    note('recording');
    const store = await openFolder(join(folder, 'footage'), { after });
    const fromUs = newYearUs;
    await store.video.ensureCamera(cameraOptions('gate'));
    const footage = await makeFootage(footageSeconds, '1920x1080', 440, ['-b:v', '8M']);
    const { fragments } = await record(store.video, 'gate', [repeated(footage)], fromUs);
    const last = fragments.at(-1);
    // What ends where the newest fragment begins is complete, so it is kept to be asked for again.
    const toUs = last?.startUs ?? 0;
    note('exporting');
    return [
      {
        name: `HLS, ten minutes from a random moment of ${monthFragments.toLocaleString('en-US')} fragments, first byte, p50`,
        value: quantile(startsMs, 0.5),
        unit: 'ms',
      },
      {
        name: 'the same, p99',
        value: quantile(startsMs, 0.99),
        unit: 'ms',
        target: { atMost: 20 },
      },
      ...(await exportFigures(store, folder, { fromUs, toUs }, { after })),
      await imageFigure(store, { fromUs, toUs }, { after }),
    ];
  },
};

/** The footage again and again, with times that go on. */
function repeated({ init, chunks }: Footage): Footage {
  const { tracks } = readInit(init);
  const seconds = chunks.reduce((sum, { durationUs }) => sum + durationUs, 0) / 1e6;
  const again = Array.from({ length: repetitions }, (_, round) => {
    const shifts = tracks.map(({ trackId, timescale }) => {
      const ticks = Math.round(round * seconds * timescale);
      return [trackId, BigInt(ticks)] as const;
    });
    return chunks.map((chunk) => ({
      ...chunk,
      bytes: shiftDecodeTimes(chunk.bytes, new Map(shifts)),
    }));
  });
  return { init, chunks: again.flat() };
}

async function openFolder(folder: string, { after }: Scope): Promise<Store> {
  const store = await openStore({
    folder,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
    video: { minFreeBytes: 0 },
  });
  after(() => store.close());
  return store;
}

async function serve(app: Hono, { after }: Scope): Promise<HttpServer> {
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, fetch: app.fetch, clock: systemClock },
    ...{ logger: new MemoryLogger(), metrics: new MemoryMetrics() },
  });
  after(() => server.close());
  return server;
}

async function timePlaylists(store: Store, scope: Scope): Promise<readonly number[]> {
  const { id } = await store.video.ensureCamera(cameraOptions('gate'));
  await fillMonth(store.writer, id);
  const { init } = await makeFootage(1);
  const hash = createHash('sha256').update(init).digest('hex');
  const tracks = JSON.stringify(readInit(init).tracks.map(describeTrack));
  await store.writer.transact((tx) =>
    tx.run('INSERT INTO init (id, hash, tracks, bytes) VALUES (1, ?, ?, ?)', hash, tracks, init),
  );
  const closing = new AbortController().signal;
  const { video } = store;
  const app = new Hono();
  app.route('/hls', hlsRoutes({ video, clock: systemClock, closing }));
  const server = await serve(app, scope);
  const random = seededRandom(1);
  const timesMs: number[] = [];
  for (let asked = 0; asked < playlists; asked += 1) {
    const first = Math.floor(random() * (monthFragments - stretchFragments));
    const fromMs = (newYearUs + first * fragmentUs) / 1_000;
    const toMs = fromMs + (stretchFragments * fragmentUs) / 1_000;
    const startedMs = performance.now();
    const response = await fetch(`${server.url}/hls/gate/range.m3u8?from=${fromMs}&to=${toMs}`);
    timesMs.push(performance.now() - startedMs);
    const segments = (await response.text()).match(/#EXTINF/g)?.length;
    if (segments !== stretchFragments) throw new Error(`${segments} segments were listed`);
  }
  return timesMs;
}

async function exportFigures(
  { video }: Store,
  folder: string,
  range: { readonly fromUs: number; readonly toUs: number },
  scope: Scope,
): Promise<readonly Figure[]> {
  const { signal } = new AbortController();
  const wanted = { camera: 'gate', ...range };
  const file = join(folder, 'export.mp4');
  const { movie } = await new Exports(video).of(wanted, signal);
  await writeFile(file, movie.read());
  const { size } = await stat(file);
  const headers = { 'content-length': String(size) };
  const app = new Hono();
  app.get('/export', async () => {
    const made = await new Exports(video).of(wanted, signal);
    return new Response(streamed(made.movie.read()), { headers });
  });
  const kept = new Exports(video);
  app.get('/kept', async () => {
    const made = await kept.of(wanted, signal);
    return new Response(streamed(made.movie.read()), { headers });
  });
  app.get('/file', () => {
    const bytes = Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>;
    return new Response(bytes, { headers });
  });
  const server = await serve(app, scope);
  const rates: Record<string, number[]> = { export: [], kept: [], file: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const [path, seen] of Object.entries(rates)) {
      const url = `${server.url}/${path}`;
      const output = ['-s', '-o', '/dev/null', '-w', '%{time_total} %{size_download}'];
      const { stdout } = await run('curl', [...output, url]);
      const [seconds = 0, bytes = 0] = stdout.split(' ').map(Number);
      if (bytes !== size) throw new Error(`${bytes} of ${size} bytes came`);
      seen.push(bytes / seconds / 1e6);
    }
  }
  const [fresh, again, plain] = ['export', 'kept', 'file'].map((path) => median(rates[path] ?? []));
  if (fresh === undefined || again === undefined || plain === undefined) return [];
  const against = { name: 'a plain file, same server', value: plain };
  const megabytes = Math.round(size / 1e6);
  return [
    {
      ...{ name: `export of ${megabytes} MB as MP4`, value: fresh, unit: 'MB/s', against },
      ...{ ratio: fresh / plain, target: { atLeast: 0.7 } },
    },
    {
      ...{ name: 'the same export again', value: again, unit: 'MB/s', against },
      ratio: again / plain,
    },
  ];
}

async function imageFigure(
  { video }: Store,
  { fromUs, toUs }: { readonly fromUs: number; readonly toUs: number },
  { after }: Scope,
): Promise<Figure> {
  const metrics = new MemoryMetrics();
  const made = new Images({ video, ffmpegPath, cpuShare: 64, clock: systemClock, metrics });
  after(() => {
    made.close();
  });
  const random = seededRandom(2);
  for (let count = 0; count < images; count += 1) {
    const atUs = fromUs + Math.floor(random() * (toUs - fromUs));
    await made.imageAt('gate', atUs, { format: 'jpeg' });
  }
  const seconds = metrics.values.get('headgate_images_cpu_seconds_total') ?? 0;
  const name = 'CPU of an image of 1080p, JPEG, a group of 25 pictures';
  return { name, value: (seconds / images) * 1_000, unit: 'ms' };
}
