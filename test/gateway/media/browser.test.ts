import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Page as BrowserPage } from 'playwright-core';
import type { Page } from '../../../gateway/http/page.ts';
import { createHttpServer } from '../../../gateway/http/server.ts';
import { systemClock } from '../../../storage/clock.ts';
import { launchBrowser } from '../../support/browser.ts';
import { cameraOptions } from '../../storage/video/footage.ts';
import { startGateway, type TestGateway } from '../http/gateway.ts';
import { record } from '../api/hls/footage.ts';
import { clockFootage, framesPerSecond } from './clock-footage.ts';

const startUs = Date.UTC(2026, 0, 1) * 1_000;
const hlsLibrary = join(import.meta.dirname, '../../../node_modules/hls.js/dist/hls.light.min.js');

/** Goes to places in an export, and says which picture is shown there. */
const exportScript = `
  const video = document.querySelector('video');
  const context = new OffscreenCanvas(160, 32).getContext('2d');
  const shown = () => {
    context.drawImage(video, 0, 0, 160, 32);
    const { data } = context.getImageData(0, 16, 160, 1);
    return [...Array(10).keys()].reduce((sum, bit) => sum + (data[(bit * 16 + 8) * 4] > 128 ? 2 ** bit : 0), 0);
  };
  const said = (what) => console.log('seen ' + JSON.stringify(what));
  const at = (seconds) => new Promise((resolve) => {
    video.requestVideoFrameCallback(() => resolve(shown()));
    video.currentTime = seconds;
  });
  video.addEventListener('error', () => said({ error: video.error.message }));
  video.addEventListener('loadeddata', async () => {
    const numbers = [];
    for (let second = 1; second < video.duration - 0.5; second += 1) numbers.push(await at(second + 0.02));
    said({ numbers, duration: video.duration });
  }, { once: true });
  video.src = '/api/v1/cameras/gate/export.mp4' + location.search;
`;

/** Plays live as close to now as it can, and says how that went after some seconds of it. */
const liveScript = `
  const video = document.querySelector('video');
  const problems = [];
  const hls = new Hls({ lowLatencyMode: true });
  // So close to now a player that is not given its time has to wait, which is none of ours.
  hls.on(Hls.Events.ERROR, (_event, { details, fatal }) => {
    if (details !== 'bufferStalledError') problems.push(details + ' ' + fatal);
  });
  let beganAt = null;
  video.addEventListener('timeupdate', () => {
    beganAt ??= video.currentTime;
    if (video.currentTime < beganAt + 4) return;
    hls.destroy();
    console.log('seen ' + JSON.stringify({ problems }));
  });
  hls.loadSource('/hls/gate/live.m3u8');
  hls.attachMedia(video);
  video.play();
`;

async function testPage(script: string): Promise<Page> {
  const file = (type: string, text: string | Buffer) => ({
    ...{ type, etag: '"1"', immutable: false, gzipped: null },
    bytes: new Uint8Array(Buffer.from(text)),
  });
  const html =
    '<!doctype html><video muted></video><script src="/hls.js"></script><script src="/play.js"></script>';
  return new Map([
    ['/index.html', file('text/html; charset=utf-8', '<!doctype html>home')],
    ['/play.html', file('text/html; charset=utf-8', html)],
    ['/play.js', file('text/javascript', script)],
    ['/hls.js', file('text/javascript', await readFile(hlsLibrary))],
  ]);
}

interface Opened {
  readonly gateway: TestGateway;
  readonly page: BrowserPage;
  readonly url: string;
}

/** @param asked is told the address of each request */
async function open(
  context: TestContext,
  script: string,
  asked: (url: string) => void = () => undefined,
): Promise<Opened | null> {
  const browser = await launchBrowser(context);
  if (browser === null) return null;
  const gateway = await startGateway(context, { page: await testPage(script) });
  await gateway.video.ensureCamera(cameraOptions('gate'));
  const { app, logger, metrics } = gateway;
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock, logger, metrics },
    fetch: (request, env) => {
      asked(request.url);
      return app.fetch(request, env);
    },
  });
  context.after(() => server.close());
  const page = await browser.newPage();
  await page.goto(`${server.url}/login?token=${await gateway.tokens.createLoginCode()}`);
  return { gateway, page, url: server.url };
}

async function seenBy(page: BrowserPage, url: string): Promise<Record<string, unknown>> {
  const told = page.waitForEvent('console', (message) => message.text().startsWith('seen '));
  await page.goto(url);
  const message = await told;
  return JSON.parse(message.text().slice('seen '.length)) as Record<string, unknown>;
}

test('Chromium shows the right picture of an export, over changes of resolution and run', async (t) => {
  const opened = await open(t, exportScript);
  if (opened === null) return;
  const { gateway, page, url } = opened;
  const small = await clockFootage({ seconds: 4, bFrames: 2 });
  const large = await clockFootage({ seconds: 4, bFrames: 2, scale: 2 });
  await record(gateway.video, 'gate', [small, large], startUs);
  await record(gateway.video, 'gate', [small], startUs + 3_600_000_000);
  const fromMs = startUs / 1_000;
  const { numbers, duration, error } = await seenBy(
    page,
    `${url}/play.html?from=${fromMs}&to=${fromMs + 7_200_000}`,
  );
  assert.equal(error, undefined);
  assert.ok(Math.abs(Number(duration) - 12) < 0.05, `${String(duration)} s`);
  const seconds = [1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3];
  assert.deepEqual(
    numbers,
    seconds.map((second) => second * framesPerSecond),
  );
});

test('hls.js plays the parts of a live camera in Chromium', async (t) => {
  let parts = 0;
  const opened = await open(t, liveScript, (url) => {
    if (/\.\d+\.m4s$/.test(url)) parts += 1;
  });
  if (opened === null) return;
  const { gateway, page, url } = opened;
  const footage = await clockFootage({ seconds: 60, bFrames: 2, sound: true });
  let fragments = 0;
  let seen: Record<string, unknown> | null = null;
  const playing: Promise<void>[] = [];
  await record(gateway.video, 'gate', [footage], startUs, {
    fragment: () => Promise.resolve(void (fragments += 1)),
    chunk: async () => {
      if (fragments < 4 || seen !== null) return;
      if (playing.length === 0) {
        playing.push(seenBy(page, `${url}/play.html`).then((told) => void (seen = told)));
      }
      // At a camera's pace.
      await new Promise((resolve) => setTimeout(resolve, 200));
    },
  });
  await Promise.all(playing);
  assert.deepEqual(seen, { problems: [] });
  assert.ok(parts >= 5, `${parts} parts were asked for`);
});
