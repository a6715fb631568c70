/**
 * How old the picture is that a browser shows: a clock in the picture, read from the screen of a page
 * that plays it by WHEP. It comes from a page that publishes it by WHIP, or from a camera that pushes
 * it over RTSP; beside that, from a page that sends it straight to the other one.
 */
import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import type { Browser } from 'playwright-core';
import type { Cameras } from '../../../gateway/api/rest/camera-schemas.ts';
import { addressOf } from '../../ingest/rtsp/media.ts';
import { launchBrowser } from '../../support/browser.ts';
import {
  answerWithClock,
  clockSquarePx,
  pageOf,
  publishClock,
  watchClock,
} from '../../support/browser-webrtc.ts';
import { startChild } from '../../support/child.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import { type Scope, withScope } from '../../support/scope.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { type BenchmarkContext, type Figure, quantile } from '../bench.ts';

const pictures = 600;
/** A viewer is shown what was there before it in fast motion: until it has caught up, that is old. */
const caughtUpPictures = 200;
const targetMs = 300;
const camera = { username: 'camera', password: 'camera-password' };
const [width, height, picturesPerSecond] = [640, 360, 30];

/** Nothing, with a note, where there is no browser. */
export async function glassToGlass(context: BenchmarkContext): Promise<readonly Figure[]> {
  const browser = await launchBrowser({ ...context, skip: context.note });
  if (browser === null) return [];
  const folder = join(context.folder, 'glass');
  await mkdir(folder);
  const push = `{ source: { push: { username: ${camera.username}, password: ${camera.password} } } }`;
  const sections = `cameras: { page: ${push}, yard: ${push} }`;
  const gateway = await GatewayProcess.start(context, folder, sections);
  context.note('from page to page');
  const direct = await agesOf(browser, gateway, '/direct');
  context.note('by WHIP and WHEP');
  const page = await agesOf(browser, gateway, '/whep/page');
  context.note('by RTSP and WHEP');
  const yard = await withScope(async (scope) => {
    await pushClock(scope, gateway, 'yard');
    return agesOf(browser, gateway, '/whep/yard');
  });
  await gateway.stop();
  const figures = (name: string, agesMs: readonly number[]): readonly Figure[] =>
    [0.5, 0.95].map((share) => ({
      ...{ name: `${name}, glass to glass, p${share * 100}`, unit: 'ms' },
      value: quantile(agesMs, share),
      against: { name: 'page to page, no server', value: quantile(direct, share) },
      target: { atMost: targetMs },
    }));
  return [
    ...figures('Chromium by WHIP to Chromium by WHEP', page),
    ...figures('camera by RTSP to Chromium by WHEP', yard),
  ];
}

/** Of the pictures that a page shows, once it has caught up. */
async function agesOf(
  browser: Browser,
  gateway: GatewayProcess,
  url: string,
): Promise<readonly number[]> {
  return withScope(async (scope) => {
    const viewer = await pageOf(scope, browser, gateway);
    if (url !== '/whep/yard') {
      const publisher = await pageOf(scope, browser, gateway);
      if (url === '/direct') await answerWithClock(publisher, viewer, url);
      else await publishClock(publisher, url.replace('whep', 'whip'));
    }
    const { agesMs } = await watchClock(viewer, url, pictures);
    const readable = agesMs.length / pictures;
    if (readable < 0.9) throw new Error(`of ${url} only ${readable} of the clocks can be read`);
    return agesMs.slice(caughtUpPictures);
  });
}

/** A camera whose picture is a clock, encoded as cameras do: without delay. */
async function pushClock(scope: Scope, gateway: GatewayProcess, name: string): Promise<void> {
  const { process: encoder } = startChild(scope, ffmpegPath, [
    ...['-v', 'error', '-f', 'rawvideo', '-pix_fmt', 'gray', '-s', `${width}x${height}`],
    ...['-r', String(picturesPerSecond), '-i', 'pipe:0', '-pix_fmt', 'yuv420p'],
    ...[
      '-c:v',
      'libx264',
      '-preset',
      'ultrafast',
      '-tune',
      'zerolatency',
      '-profile:v',
      'baseline',
    ],
    ...['-g', String(2 * picturesPerSecond), '-f', 'rtsp', '-rtsp_transport', 'tcp'],
    addressOf(gateway.rtspPort, name, camera),
  ]);
  const timer = setInterval(() => {
    encoder.stdin?.write(clockPicture(Date.now() % 2 ** 24));
  }, 1000 / picturesPerSecond);
  scope.after(() => {
    clearInterval(timer);
  });
  await gateway.until<Cameras>('/cameras', ({ cameras }) =>
    cameras.some((one) => one.name === name && one.state === 'recording'),
  );
}

/** Grey, with the squares that `watchClock` reads. */
function clockPicture(value: number): Buffer {
  const picture = Buffer.alloc(width * height, 128);
  let parity = 0;
  for (let bit = 0; bit < 25; bit += 1) {
    const isSet = bit < 24 ? (value >> bit) & 1 : parity & 1;
    parity += isSet;
    for (let row = 0; row < clockSquarePx; row += 1) {
      const from = row * width + bit * clockSquarePx;
      picture.fill(isSet === 1 ? 255 : 0, from, from + clockSquarePx);
    }
  }
  return picture;
}
