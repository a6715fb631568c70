/**
 * Makes the pictures of the README anew, `dashboards/pictures/*.webp`: a gateway as a process of
 * its own, four cameras and three sensors made up on the spot, and the page in Chromium. It takes
 * as long as it records, some four minutes.
 *
 *     node --import tsx test/pictures/make.ts
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Page } from 'playwright-core';
import type { Cameras } from '../../gateway/api/rest/camera-schemas.ts';
import { demoSensorsTask } from '../../gateway/demonstration/sensors.ts';
import { systemClock } from '../../storage/clock.ts';
import { addressOf, pushClip } from '../ingest/rtsp/media.ts';
import { openBrowser } from '../support/browser.ts';
import type { Child } from '../support/child.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { withScope, type Scope } from '../support/scope.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { ffmpegPath, findProgram } from '../support/tools.ts';

const target = resolve(import.meta.dirname, '../../dashboards/pictures');
const user = { username: 'camera', password: 'camera-password' };
const device = { username: 'device', password: 'device-password' };
const recordMs = 180_000;

/** What each camera sees, of ffmpeg's own making. */
const views: Readonly<Record<string, string>> = {
  gate: 'testsrc2=s=960x540:r=15',
  yard: 'mandelbrot=s=960x540:r=15:start_scale=0.4:end_scale=0.01:end_pts=600',
  dock: 'life=s=240x136:r=15:mold=12:ratio=0.12:death_color=#0f766e:life_color=#f0fdfa,scale=960:540:flags=neighbor',
  store: 'smptehdbars=s=960x540:r=15',
};

const sections = `
streams: { readings: {} }
cameras:
${Object.keys(views)
  .map((name) => `  ${name}: { source: { push: ${JSON.stringify(user)} } }`)
  .join('\n')}
deliveries:
  archive: { from: { stream: readings }, to: { folder: { path: ./archive } }, buffer: { maxSeconds: 5 } }
  footage: { from: { camera: gate }, to: { folder: { path: ./archive } } }
`;
const routes = "[{ topic: 'sensors/+/reading', stream: readings, partitionKey: '{topic[1]}' }]";

await withScope(async (scope) => {
  const chromium = findProgram('chromium');
  if (chromium === null) throw new Error('needs chromium');
  const folder = await temporaryFolder(scope);
  const gateway = await GatewayProcess.start(scope, folder, sections, undefined, routes);
  const clips = await makeClips(folder);
  const push = (name: string): Child =>
    pushClip(scope, clips.get(name) ?? '', addressOf(gateway.rtspPort, name, user), { loop: true });
  publish(scope, gateway.mqttPort);
  const cameras = new Map(Object.keys(views).map((name) => [name, push(name)]));

  // One camera is away for a while, so that there is a gap to be seen.
  await pause(recordMs * 0.4);
  await cameras.get('dock')?.stop('SIGKILL');
  await pause(recordMs * 0.15);
  push('dock');
  await pause(recordMs * 0.45);

  const browser = await openBrowser(scope, chromium);
  const page = await browser.newPage({ viewport: { width: 1280, height: 980 }, bypassCSP: true });
  page.setDefaultTimeout(120_000);
  await page.goto(gateway.loginLink);
  await mkdir(target, { recursive: true });
  await showGrid(page);
  await save(page, 'grid');
  await showPast(page, gateway);
  await save(page, 'playback');
});

async function makeClips(folder: string): Promise<ReadonlyMap<string, string>> {
  const clips = new Map<string, string>();
  for (const [name, source] of Object.entries(views)) {
    const clip = join(folder, `${name}.mp4`);
    await promisify(execFile)(ffmpegPath, [
      ...['-v', 'error', '-f', 'lavfi', '-i', source, '-t', '40'],
      ...['-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-g', '30'],
      ...['-pix_fmt', 'yuv420p', clip],
    ]);
    clips.set(name, clip);
  }
  return clips;
}

/** Three sensors, until the scope ends. */
function publish(scope: Scope, port: number): void {
  const ending = new AbortController();
  const sensors = demoSensorsTask({
    ...{ url: `mqtt://127.0.0.1:${port}`, ...device },
    ...{ clock: systemClock, random: Math.random },
  });
  const published = sensors.run({ signal: ending.signal, ready: () => undefined });
  scope.after(async () => {
    ending.abort();
    await published;
  });
}

/** All cameras live, each of them moving. */
async function showGrid(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'All cameras' }).click();
  await page.getByRole('button', { name: '5 min' }).click();
  const moving = `(() => {
    const videos = [...document.querySelectorAll('.grid video')];
    return videos.length === ${Object.keys(views).length} &&
      videos.every((video) => video.readyState >= 2 && video.currentTime > 2);
  })()`;
  await page.waitForFunction(moving);
}

/** One camera played from the past, a piece of time marked, and the preview of another moment. */
async function showPast(page: Page, gateway: GatewayProcess): Promise<void> {
  await page.locator('.cameras').getByRole('button', { name: /^yard/ }).click();
  const { cameras } = await gateway.get<Cameras>('/cameras');
  const firstMs = Date.parse(cameras.find(({ name }) => name === 'yard')?.firstTime ?? '');
  await page.getByRole('button', { name: '5 min' }).click();
  const slider = page.getByRole('slider', { name: 'Time' });
  const box = await slider.boundingBox();
  if (box === null) throw new Error('there is no timeline');
  // The view of five minutes ends a little after now.
  const widthMs = 300_000;
  const fromMs = Date.now() + widthMs * 0.03 - widthMs;
  const xOf = (timeMs: number): number => box.x + ((timeMs - fromMs) / widthMs) * box.width;
  const row = Object.keys(views).toSorted().indexOf('yard');
  const y = box.y + row * 34 + 17;
  await page.mouse.click(xOf(firstMs + recordMs * 0.3), y);
  const plays = `(() => {
    const video = document.querySelector('.player video');
    return video.readyState >= 2 && video.currentTime > 0 && !video.paused;
  })()`;
  await page.getByRole('button', { name: 'Live', pressed: false }).waitFor();
  await page.waitForFunction(plays);
  await page.keyboard.down('Shift');
  await page.mouse.move(xOf(firstMs + recordMs * 0.5), y);
  await page.mouse.down();
  await page.mouse.move(xOf(firstMs + recordMs * 0.7), y, { steps: 5 });
  await page.mouse.up();
  await page.keyboard.up('Shift');
  await page.mouse.move(xOf(firstMs + recordMs * 0.85), y);
  await page.waitForFunction("document.querySelector('.preview img')?.naturalWidth > 0");
}

/** WebP keeps them small; Playwright's own method has PNG and JPEG only. */
async function save(page: Page, name: string): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 80 });
  await writeFile(join(target, `${name}.webp`), Buffer.from(data, 'base64'));
  await session.detach();
}
