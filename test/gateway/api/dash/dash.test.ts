import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createHttpServer, type HttpServer } from '../../../../gateway/http/server.ts';
import { isoFromUs } from '../../../../gateway/api/rest/times.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { readInit } from '../../../../storage/video/boxes.ts';
import { cameraOptions } from '../../../storage/video/footage.ts';
import { countPictures } from '../../../support/gstreamer.ts';
import { needs } from '../../../support/tools.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';
import { beepsOf, clockFootage, picturesOf } from '../../media/clock-footage.ts';
import { record } from '../hls/footage.ts';

const startUs = Date.UTC(2026, 0, 1) * 1_000 - 60_000_000;

async function withCamera(context: TestContext): Promise<TestGateway> {
  const gateway = await startGateway(context, { mediaFileMs: 4_000 });
  await gateway.video.ensureCamera(cameraOptions('gate'));
  return gateway;
}

/** Serves it, as a proxy does that has the token: players of all kinds can ask. */
async function serve(context: TestContext, gateway: TestGateway): Promise<HttpServer> {
  const { app, logger, metrics, token } = gateway;
  const headers = { authorization: `Bearer ${token}` };
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock, logger, metrics },
    fetch: ({ url }, env) => app.fetch(new Request(url, { headers }), env),
  });
  context.after(() => server.close());
  return server;
}

const range = (fromUs: number, toUs: number): string =>
  `/dash/gate/range.mpd?from=${isoFromUs(fromUs)}&to=${isoFromUs(toUs)}`;

const periods = /<Period id="([^"]+)" start="([^"]+)">(.*?)<\/Period>/gs;

const numbered = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

test('ffmpeg plays a piece of the past with every picture and its sound', async (t) => {
  const gateway = await withCamera(t);
  const footage = await clockFootage({ seconds: 7, bFrames: 2, sound: true });
  await record(gateway.video, 'gate', [footage], startUs);
  const server = await serve(t, gateway);
  const from = ['-i', `${server.url}${range(startUs, startUs + 60_000_000)}`];
  const pictures = await picturesOf(from);
  assert.deepEqual(
    pictures.map(({ number }) => number),
    numbered(0, 175),
  );
  assert.equal((await beepsOf(from)).length, 7);
});

test('GStreamer plays it', async (t) => {
  if (!needs(t, 'gst-launch-1.0')) return;
  const gateway = await withCamera(t);
  const footage = await clockFootage({ seconds: 7, sound: true });
  await record(gateway.video, 'gate', [footage], startUs);
  const server = await serve(t, gateway);
  const demuxer = ['dashdemux', 'name=d', 'd.video_00', '!', 'queue', '!', 'qtdemux'];
  const url = `${server.url}${range(startUs, startUs + 60_000_000)}`;
  assert.equal(await countPictures(t, url, demuxer), 175);
});

test('each track comes by itself, and nothing else does', async (t) => {
  const gateway = await withCamera(t);
  const footage = await clockFootage({ seconds: 3, sound: true });
  await record(gateway.video, 'gate', [footage], startUs);
  const text = await (await gateway.get(range(startUs, startUs + 60_000_000))).text();
  const inits = [...text.matchAll(/sourceURL="([^"]+)"/g)].map(([, file]) => file);
  const kinds = [];
  for (const file of inits) {
    const response = await gateway.get(`/dash/gate/${file}`);
    assert.equal(response.status, 200);
    const { tracks } = readInit(Buffer.from(await response.arrayBuffer()));
    kinds.push(tracks.map(({ kind }) => kind));
  }
  assert.deepEqual(kinds, [['video'], ['audio']]);
  for (const path of [
    '/dash/gate/sound-1-1.m4s',
    '/dash/gate/video-1-1.m4s',
    '/dash/none/live.mpd',
  ]) {
    assert.equal((await gateway.get(path)).status, 404, path);
  }
});

test('a live manifest keeps the times of its segments and periods while it moves on', async (t) => {
  const gateway = await withCamera(t);
  const small = await clockFootage({ seconds: 14, group: 50 });
  const large = await clockFootage({ seconds: 24, group: 50, scale: 2 });
  const said = new Map<string, Set<string>>();
  let looks = 0;
  const look = async (): Promise<void> => {
    looks += 1;
    const text = await (await gateway.get('/dash/gate/live.mpd')).text();
    for (const [, id = '', start = '', body = ''] of text.matchAll(periods)) {
      said.set(id, (said.get(id) ?? new Set<string>()).add(start));
      const times = [...body.matchAll(/<S t="(\d+)"/g)].map(([, time]) => time);
      const offset = /presentationTimeOffset="(\d+)"/.exec(body)?.[1];
      [...body.matchAll(/media="([^"]+)"/g)].forEach(([, file = ''], index) => {
        const time = `${times[index]} after ${offset}`;
        said.set(file, (said.get(file) ?? new Set<string>()).add(time));
      });
    }
  };
  await record(gateway.video, 'gate', [small, large], startUs, { fragment: look });
  assert.ok(looks >= 19);
  assert.equal([...said.keys()].filter((key) => key.endsWith('.m4s')).length, looks);
  assert.equal(said.size - looks, 2, 'two periods');
  for (const [what, times] of said) assert.equal(times.size, 1, `${what}: ${[...times].join()}`);
});
