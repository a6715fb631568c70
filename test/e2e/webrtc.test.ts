/** WebRTC in Chromium: one page publishes by WHIP, another watches by WHEP and by HLS. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { kill } from 'node:process';
import { it } from 'node:test';
import type { Cameras, CameraFragments } from '../../gateway/api/rest/camera-schemas.ts';
import { addressOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { launchBrowser } from '../support/browser.ts';
import {
  indexOffsetMs,
  pageOf,
  publishClock,
  watchClock,
  watchHls,
} from '../support/browser-webrtc.ts';
import { aroundNow, msOf, runsOf } from '../support/footage-check.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { needsMediaWorker } from '../support/tools.ts';

const camera = { username: 'front', password: 'camera-password' };
const sections = `
cameras:
  front: { source: { push: { username: ${camera.username}, password: ${camera.password} } } }
  yard: { source: { push: { username: ${camera.username}, password: ${camera.password} } } }
`;
const hlsJs = join(import.meta.dirname, '../../node_modules/hls.js/dist/hls.light.min.js');

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

it(
  'Chromium publishes a camera, and another page sees it by WHEP and by HLS',
  { timeout: 600_000 },
  async (t) => {
    const browser = await launchBrowser(t);
    if (browser === null || !(await needsMediaWorker(t))) return;
    const folder = await temporaryFolder(t);
    const gateway = await GatewayProcess.start(t, folder, sections);
    const publisher = await pageOf(t, browser, gateway);
    const viewer = await pageOf(t, browser, gateway);
    const location = await publishClock(publisher, '/whip/front');
    assert.match(location, /^\/whip\/front\/[0-9a-f]{32}$/);
    await gateway.until<CameraFragments>(
      `/cameras/front/fragments?${aroundNow()}`,
      ({ fragments }) => fragments.length >= 1,
    );

    const beganMs = Date.now();
    const seen = await watchClock(viewer, '/whep/front', 60);
    t.diagnostic(`60 pictures over WHEP took ${Date.now() - beganMs} ms`);
    assert.ok(seen.agesMs.length > 30, `${seen.agesMs.length} clocks of ${seen.frames} read`);
    assert.ok(
      seen.agesMs.every((ageMs) => ageMs >= 0),
      'nothing is seen before it happened',
    );
    assert.ok(seen.hasSound);
    t.diagnostic(`glass to glass over WHEP: ${median(seen.agesMs)} ms`);

    await t.test('a picture is in the index where its clock says', async () => {
      const { fragments } = await gateway.until<CameraFragments>(
        `/cameras/front/fragments?${aroundNow()}`,
        (answer) => answer.fragments.length >= 3,
      );
      const offsetsMs: number[] = [];
      for (const { startTime, durationMs } of fragments.slice(1, 3)) {
        for (const share of [0.2, 0.5, 0.8]) {
          const at = new Date(msOf(startTime) + share * durationMs).toISOString();
          const offsetMs = await indexOffsetMs(viewer, 'front', at);
          if (offsetMs !== null) offsetsMs.push(offsetMs);
        }
      }
      assert.ok(offsetsMs.length >= 3, `${offsetsMs.length} clocks read`);
      t.diagnostic(`later in the index than by their clocks: ${offsetsMs.join(', ')} ms`);
      // It is drawn and encoded before it is in the index.
      assert.ok(Math.abs(median(offsetsMs)) <= 500, `${median(offsetsMs)} ms`);
    });

    await viewer.addScriptTag({ path: hlsJs });
    await watchHls(viewer, '/hls/front/live.m3u8', 30);

    await t.test('a page that is closed is a camera that has left', async () => {
      await publisher.close();
      await gateway.until<Cameras>('/cameras', ({ cameras }) =>
        cameras.some(({ name, state }) => name === 'front' && state === 'waiting'),
      );
      const runs = await runsOf(gateway, 'front');
      assert.ok(runs.every(({ endReason }) => endReason !== null));
    });
  },
);

it(
  'Chromium sees a camera that pushes over RTSP, and worker after worker',
  { timeout: 600_000 },
  async (t) => {
    const browser = await launchBrowser(t);
    if (browser === null || !(await needsMediaWorker(t))) return;
    const folder = await temporaryFolder(t);
    const clip = await makeClip(folder, { name: 'clip', seconds: 10 });
    const gateway = await GatewayProcess.start(t, folder, sections);
    pushClip(t, clip, addressOf(gateway.rtspPort, 'yard', camera), { loop: true });
    await gateway.until<Cameras>('/cameras', ({ cameras }) =>
      cameras.some(({ name, state }) => name === 'yard' && state === 'recording'),
    );
    const viewer = await pageOf(t, browser, gateway);
    const seen = await watchClock(viewer, '/whep/yard', 50);
    assert.equal(seen.width, 320);

    await t.test('the page plays it so, and by HLS when that ends', async (inner) => {
      if (!(await (await gateway.fetch('/')).text()).includes('id="app"')) {
        inner.skip('needs the page, which `npm test` compiles; it is not compiled here');
        return;
      }
      const page = await viewer.context().newPage();
      await page.goto(`${gateway.url}/`);
      await page.getByRole('button', { name: /^yard/ }).click();
      const plays = (how: string): Promise<unknown> =>
        page.waitForFunction(
          `(() => {
            const video = document.querySelector('video');
            return video.readyState >= 2 && !video.paused && ${how};
          })()`,
          undefined,
          { timeout: 240_000 },
        );
      await plays('video.srcObject !== null');
      kill(await gateway.webRtcProcess(), 'SIGKILL');
      await plays("video.srcObject === null && video.src !== ''");
      await page.close();
    });

    assert.equal((await watchClock(viewer, '/whep/yard', 20)).width, 320, 'by the next worker');
  },
);
