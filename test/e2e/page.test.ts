/** The page as a person uses it: a gateway with a camera, sensors, deliveries and a function, in Chromium. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { createFile, MP4BoxBuffer } from 'mp4box';
import { connectAsync } from 'mqtt';
import type { Page } from 'playwright-core';
import type { Cameras, CameraFragments } from '../../gateway/api/rest/camera-schemas.ts';
import type { Keys } from '../../gateway/api/rest/stream-schemas.ts';
import { addressOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { launchBrowser } from '../support/browser.ts';
import { aroundNow } from '../support/footage-check.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { capturePackets, PacketCamera } from '../support/packet-camera.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { sharedFile } from '../support/tools.ts';

const camera = { username: 'front', password: 'camera-password' };
const sections = `
streams: { readings: {}, letters: {} }
cameras:
  front: { source: { push: { username: ${camera.username}, password: ${camera.password} } } }
deliveries:
  archive:
    from: { stream: readings }
    to: { folder: { path: ./archive } }
    buffer: { maxSeconds: 1 }
    backup: { to: { folder: { path: ./originals } }, buffer: { maxSeconds: 1 } }
  sorted:
    from: { stream: readings }
    to: { folder: { path: ./sorted, prefix: '!{partitionKeyFromQuery:site}/' } }
    layout: { partitionBy: { site: site } }
    buffer: { maxSeconds: 1 }
functions:
  alarms:
    from: { stream: readings }
    function: { module: { path: ./alarms.mjs } }
    retries: 0
    deadLetter: { stream: letters }
`;
const alarms = `
import { existsSync } from 'node:fs';
export function handler() {
  if (!existsSync('./mended')) throw new Error('the siren is broken');
}
`;
const hevcType = 'video/mp4; codecs="hvc1.1.6.L60.90"';
const routes = "[{ topic: 'site/+', stream: readings, partitionKey: '{topic[1]}' }]";

it(
  'shows cameras, their past, telemetry and deliveries, on a phone too',
  { timeout: 600_000 },
  async (t) => {
    const browser = await launchBrowser(t);
    if (browser === null) return;
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, 'alarms.mjs'), alarms);
    const gateway = await GatewayProcess.start(t, folder, sections, undefined, routes);
    if (!(await (await fetch(`${gateway.url}/`)).text()).includes('id="app"')) {
      t.skip('needs the page, which `npm test` compiles; it is not compiled here');
      return;
    }
    const clip =
      sharedFile('footage', 'one-by-one-person-detection.mp4') ??
      (await makeClip(folder, { name: 'clip', seconds: 60 }));
    const url = addressOf(gateway.rtspPort, 'front', camera);
    const pushing = pushClip(t, clip, url, { loop: true });
    await publishReadings(t, gateway);
    await gateway.until<CameraFragments>(
      `/cameras/front/fragments?${aroundNow()}`,
      ({ fragments }) => fragments.length >= 4,
    );

    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text());
    });
    await page.goto(gateway.loginLink);

    await t.test('the camera is there, and its picture moves', async () => {
      await page.getByRole('button', { name: /front.*768×432|front.*320×240/ }).waitFor();
      await pictureMoves(page);
      assert.equal(await liveButton(page).getAttribute('aria-pressed'), 'true');
    });

    await t.test('the keys of the telemetry are offered, and drawn', async () => {
      const telemetry = page.getByRole('region', { name: 'Telemetry' });
      for (const key of ['oven', 'press']) {
        await telemetry.getByRole('button', { name: key, exact: true }).waitFor();
        await telemetry.locator('.u-legend').getByText(key, { exact: true }).waitFor();
      }
      await until(page, isDrawn);
    });

    await t.test('the delivery is listed with what it sent, and its backup behind it', async () => {
      const rows = page.getByRole('region', { name: 'Deliveries' }).getByRole('article');
      for (const [at, name] of ['archive', 'archive.backup'].entries()) {
        const row = rows.nth(at);
        await row.getByText(name, { exact: true }).waitFor();
        await row.getByText('nothing waiting').waitFor();
        await row.getByText('40 records sent').waitFor();
      }
      await rows
        .nth(1)
        .getByText(/^backup of archive: readings → .*originals$/)
        .waitFor();
    });

    await t.test('what a delivery failed is told with the reason, and sent again', async () => {
      const deliveries = page.getByRole('region', { name: 'Deliveries' });
      await deliveries.getByText(/^40 records failed · .*site/).waitFor();
      const answer = page.waitForResponse((response) => response.url().endsWith('/sorted/replay'));
      await deliveries.getByRole('button', { name: 'replay sorted' }).click();
      assert.deepEqual(await (await answer).json(), { name: 'sorted', records: 40 });
    });

    await t.test(
      'a function is listed, paused, resumed and given again what it failed',
      async () => {
        const functions = page.getByRole('region', { name: 'Functions' });
        await functions.getByText('alarms', { exact: true }).waitFor();
        await functions.getByText('nothing waiting').waitFor();
        await functions.getByText(/^[\d]+ batch(es)? failed · .*the siren is broken/).waitFor();
        await functions.getByRole('button', { name: 'pause alarms' }).click();
        await functions.getByText(/waits: paused since 20/).waitFor();
        await writeFile(join(folder, 'mended'), '');
        await functions.getByRole('button', { name: 'replay alarms' }).click();
        await functions.getByRole('button', { name: 'replay alarms', disabled: true }).waitFor();
        await functions.getByRole('button', { name: 'resume alarms' }).click();
        await functions.getByText(/failed/).waitFor({ state: 'detached' });
        await functions.getByText('40 records done').waitFor();
      },
    );

    await t.test('the delivery is paused and resumed', async () => {
      const delivery = page
        .getByRole('region', { name: 'Deliveries' })
        .getByRole('article')
        .first();
      await delivery.getByRole('button', { name: 'pause archive' }).click();
      await delivery.getByText(/waits: paused since 20/).waitFor();
      await delivery.getByRole('button', { name: 'resume archive' }).click();
      await delivery.getByText(/last success/).waitFor();
    });

    await t.test('a click on the timeline replays that time', async () => {
      await page.getByRole('button', { name: '5 min' }).click();
      const wantedMs = (await firstMs(gateway)) + 2_500;
      const clickedMs = Date.now();
      await clickTimeline(page, wantedMs);
      await page.getByRole('button', { name: 'Live', pressed: false }).waitFor();
      await pictureMoves(page);
      const shownMs = await cursorMs(page);
      const lateMs = shownMs - wantedMs;
      const playedMs = Date.now() - clickedMs;
      assert.ok(
        lateMs > -2_500 && lateMs < playedMs + 5_000,
        `${lateMs} ms after what was clicked`,
      );
      await pictureMoves(page);
      assert.ok((await cursorMs(page)) > shownMs - 1_000, 'the cursor goes on from there');
      await liveButton(page).click();
      await page.getByRole('button', { name: 'Live', pressed: true }).waitFor();
      await pictureMoves(page);
      assert.ok((await cursorMs(page)) > Date.now() - 20_000, 'back to what happens now');
    });

    await t.test('a small picture shows what was recorded under the pointer', async () => {
      const slider = page.getByRole('slider', { name: 'Time' });
      const preview = page.locator('.preview');
      const at = await placeOf(page, (await firstMs(gateway)) + 4_000);
      // The view moves on meanwhile: nothing may be recorded where the pointer comes to lie.
      const shows = "(document.querySelector('.preview img')?.naturalWidth ?? 0) > 0";
      for (let step = 0; !(await page.evaluate<boolean>(shows)); step += 1) {
        await slider.hover({ position: { x: at.x + (step % 10), y: at.y } });
        await preview.getByText('front · ').waitFor();
        await new Promise((wake) => setTimeout(wake, 500));
      }
      const small = await page.evaluate<number>(
        "document.querySelector('.preview img').naturalWidth",
      );
      assert.ok(small <= 320, `${small} pixels wide`);
      await page.getByRole('region', { name: 'Telemetry' }).hover();
      await preview.waitFor({ state: 'detached' });
    });

    await t.test('a piece of time is marked by hand or by key, and exported', async () => {
      const slider = page.getByRole('slider', { name: 'Time' });
      const link = page.getByRole('link', { name: 'Export front' });
      const box = await slider.boundingBox();
      assert.ok(box !== null);
      const beganMs = await firstMs(gateway);
      const at = await placeOf(page, beganMs + 500);
      await page.keyboard.down('Shift');
      await page.mouse.move(box.x + at.x, box.y + at.y);
      await page.mouse.down();
      await page.mouse.move(box.x + (await placeOf(page, beganMs + 4_500)).x, box.y + at.y);
      await page.mouse.up();
      await page.keyboard.up('Shift');
      const downloading = page.waitForEvent('download');
      await link.click();
      const exported = join(folder, 'exported.mp4');
      await (await downloading).saveAs(exported);
      const seconds = secondsOf(await readFile(exported));
      // A pixel of the timeline is a quarter of a second, and the view moves on meanwhile.
      assert.ok(seconds > 0.5 && seconds < 60, `${seconds} s`);
      await slider.press('Escape');
      await link.waitFor({ state: 'detached' });
      await clickTimeline(page, beganMs + 2_500);
      await slider.press('i');
      await slider.press('ArrowRight');
      await slider.press('o');
      await link.waitFor();
      await slider.press('Escape');
      await liveButton(page).click();
      await page.getByRole('button', { name: 'Live', pressed: true }).waitFor();
    });

    await t.test('on a phone nothing is wider than the screen', async () => {
      await page.setViewportSize({ width: 390, height: 844 });
      // The chart follows a moment later.
      await until(page, 'document.documentElement.scrollWidth <= 390');
    });

    assert.deepEqual(problems, []);

    await t.test('a camera that stops is not shown as live, and comes back by itself', async () => {
      pushing.process.kill('SIGKILL');
      await page.getByText(/^Not sending since .*\d\d:\d\d:\d\d\.$/).waitFor();
      await page.getByRole('button', { name: 'Live', pressed: false }).waitFor();
      await page.getByRole('button', { name: /^front.*waiting for \d\d s$/ }).waitFor();
      await page.reload();
      await page.getByText(/^Not sending since /).waitFor();
      await until(page, cursorStandsAtTheEnd);
      const wentMs = Date.now();
      pushClip(t, clip, url, { loop: true });
      await page.getByRole('button', { name: 'Live', pressed: true }).waitFor();
      await pictureMoves(page);
      assert.ok((await cursorMs(page)) > wentMs - 2_000, 'what is old is not played');
    });
  },
);

it(
  'says that the browser does not play H.265, plays the next camera, and small pictures of both',
  { timeout: 600_000 },
  async (t) => {
    const browser = await launchBrowser(t);
    if (browser === null) return;
    const page = await browser.newPage();
    if (await page.evaluate<boolean>(`MediaSource.isTypeSupported('${hevcType}')`)) {
      t.skip('needs a browser that does not play H.265');
      return;
    }
    const folder = await temporaryFolder(t);
    const scaled = ['-vf', 'scale=160:120', '-c:v', 'libx264', '-profile:v', 'baseline'];
    const smallClip = await makeClip(folder, { name: 'small', seconds: 4, video: scaled });
    const smallCapture = await capturePackets(t, smallClip);
    const small = await PacketCamera.start(t, smallCapture, { pace: 1, loop: true });
    const cameras = ['attic', 'front'].map(
      (name) =>
        `  ${name}: { source: { push: { username: front, password: camera-password } }, substream: { rtsp: '${small.url}' } }`,
    );
    const gateway = await GatewayProcess.start(t, folder, `cameras:\n${cameras.join('\n')}`);
    if (!(await (await fetch(`${gateway.url}/`)).text()).includes('id="app"')) {
      t.skip('needs the page, which `npm test` compiles; it is not compiled here');
      return;
    }
    const video = ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', 'log-level=none'];
    const clips = {
      attic: await makeClip(folder, { name: 'attic', seconds: 4, video }),
      front: await makeClip(folder, { name: 'front', seconds: 4 }),
    };
    for (const [name, clip] of Object.entries(clips)) {
      pushClip(t, clip, addressOf(gateway.rtspPort, name, camera), { loop: true });
      await gateway.until<CameraFragments>(
        `/cameras/${name}/fragments?${aroundNow()}`,
        ({ fragments }) => fragments.length >= 2,
      );
    }

    let asked = 0;
    page.on('request', (request) => {
      if (request.url().endsWith('.m4s')) asked += 1;
    });
    await page.goto(gateway.loginLink);
    const said = page.getByText('This browser does not play H.265');
    await said.waitFor();
    const before = asked;
    // The page itself looks again now and then, so time passes here.
    const poll = (): Promise<unknown> => page.waitForResponse('**/api/v1/cameras');
    await poll();
    await poll();
    assert.equal(asked, before, 'what can not be played is not fetched');
    assert.equal(await said.isVisible(), true);
    const controls = "document.querySelector('video').controls";
    assert.equal(await page.evaluate<boolean>(controls), false, 'nothing lies under what is said');
    await page.getByRole('button', { name: /^front/ }).click();
    await pictureMoves(page);
    assert.equal(await said.isVisible(), false);
    assert.equal(await page.evaluate<boolean>(controls), true);
    assert.equal(small.connections, 0);
    await page.getByRole('button', { name: 'All cameras' }).click();
    const tiles = page.locator('.grid .tile');
    const moving = '({ videoWidth, currentTime }) => videoWidth === 160 && currentTime > 1';
    await until(
      page,
      `[...document.querySelectorAll('.tile video')].filter(${moving}).length === 2`,
    );
    assert.equal(small.connections, 2, 'one for each camera');
    assert.deepEqual(await tiles.locator('.name').allTextContents(), ['attic', 'front']);
    await tiles.filter({ hasText: 'front' }).click();
    await tiles.first().waitFor({ state: 'detached' });
    await pictureMoves(page);
  },
);

async function publishReadings(t: TestContext, gateway: GatewayProcess): Promise<void> {
  const client = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
    username: 'device',
    password: 'device-password',
  });
  t.after(() => client.end(true));
  for (let i = 0; i < 20; i += 1) {
    for (const [device, value] of [
      ['oven', 180 + i],
      ['press', 20 - i],
    ] as const) {
      await client.publishAsync(`site/${device}`, JSON.stringify({ value }), { qos: 1 });
    }
  }
  await gateway.until<Keys>(
    `/streams/readings/keys?${aroundNow()}`,
    ({ keys }) => keys.length === 2,
  );
}

const liveButton = (page: Page) => page.getByRole('button', { name: 'Live' });

/** Whether the chart shows readings in the colour of the first key, #0d9488, not its axes alone. */
const isDrawn = `(() => {
  const canvas = document.querySelector('.chart canvas');
  const { data } = canvas?.getContext('2d').getImageData(0, 0, canvas.width, canvas.height) ?? {};
  for (let at = 0; at < (data?.length ?? 0); at += 4) {
    if (data[at] === 0x0d && data[at + 1] === 0x94 && data[at + 2] === 0x88) return true;
  }
  return false;
})()`;

/** Whether the chart's cursor is where the present is. */
const cursorStandsAtTheEnd = `(() => {
  const line = document.querySelector('.chart .cursor-line');
  const share = line === null ? 0 : parseFloat(line.style.left) / line.parentElement.clientWidth;
  return share > 0.9 && share < 1;
})()`;

/** Asks the page again and again, until what it says is true. */
async function until(page: Page, expression: string): Promise<void> {
  while (!(await page.evaluate<boolean>(expression))) {
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

/** Resolves when the picture has moved on by a second. */
async function pictureMoves(page: Page): Promise<void> {
  const video = "document.querySelector('video')";
  await until(page, `${video}.readyState >= 2 && !${video}.paused && ${video}.currentTime > 0`);
  const from = await page.evaluate<number>(`${video}.currentTime`);
  await until(page, `Math.abs(${video}.currentTime - ${from}) > 1`);
}

async function cursorMs(page: Page): Promise<number> {
  const slider = page.getByRole('slider', { name: 'Time' });
  return Number(await slider.getAttribute('aria-valuenow')) * 1000;
}

/** Clicks where a time is. */
async function clickTimeline(page: Page, timeMs: number): Promise<void> {
  const slider = page.getByRole('slider', { name: 'Time' });
  await slider.click({ position: await placeOf(page, timeMs) });
}

/** Where a time is in the first row of the timelines: the view of five minutes ends a little after now. */
async function placeOf(page: Page, timeMs: number): Promise<{ x: number; y: number }> {
  const box = await page.getByRole('slider', { name: 'Time' }).boundingBox();
  assert.ok(box !== null);
  const widthMs = 300_000;
  const toMs = Date.now() + widthMs * 0.03;
  return { x: (1 - (toMs - timeMs) / widthMs) * box.width, y: 17 };
}

/** When the footage of the first camera begins. */
async function firstMs(gateway: GatewayProcess): Promise<number> {
  const { cameras } = await gateway.get<Cameras>('/cameras');
  return Date.parse(cameras[0]?.firstTime ?? '');
}

/** How long a movie is, by another reader of MP4. */
function secondsOf(movie: Buffer): number {
  const file = createFile();
  file.onError = (_module: string, message: string) => assert.fail(message);
  file.appendBuffer(MP4BoxBuffer.fromArrayBuffer(new Uint8Array(movie).buffer, 0), true);
  file.flush();
  const { duration, timescale } = file.getInfo();
  return duration / timescale;
}
