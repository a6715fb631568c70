import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Page } from '../../../../gateway/http/page.ts';
import { createHttpServer } from '../../../../gateway/http/server.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { launchBrowser } from '../../../support/browser.ts';
import { startGateway } from '../../http/gateway.ts';
import { makeFootage, record } from './footage.ts';

const startUs = Date.UTC(2026, 0, 1, 12) * 1_000;
const player = join(import.meta.dirname, '../../../../node_modules/hls.js/dist/hls.light.min.js');

/** Plays a playlist to its end and says what it saw. */
const script = `
  const video = document.querySelector('video');
  const seen = { dates: [], problems: [], continuities: [] };
  document.addEventListener('securitypolicyviolation', (event) => seen.problems.push(event.blockedURI));
  const hls = new Hls();
  hls.on(Hls.Events.ERROR, (_event, { details, fatal }) => seen.problems.push(details + ' ' + fatal));
  hls.on(Hls.Events.FRAG_CHANGED, (_event, { frag }) => {
    seen.dates.push(frag.programDateTime);
    seen.continuities.push(frag.cc);
  });
  video.playbackRate = 2;
  video.addEventListener('ended', () => {
    seen.frames = video.getVideoPlaybackQuality().totalVideoFrames;
    seen.duration = video.duration;
    console.log('seen ' + JSON.stringify(seen));
  });
  hls.loadSource('/hls/gate/range.m3u8' + location.search);
  hls.attachMedia(video);
  video.play();
`;

function testPage(library: Buffer): Page {
  const file = (type: string, text: string | Buffer) => ({
    type,
    etag: '"1"',
    immutable: false,
    bytes: new Uint8Array(Buffer.from(text)),
    gzipped: null,
  });
  const html =
    '<!doctype html><video muted></video><script src="/hls.js"></script><script src="/play.js"></script>';
  return new Map([
    ['/index.html', file('text/html; charset=utf-8', '<!doctype html>home')],
    ['/play.html', file('text/html; charset=utf-8', html)],
    ['/play.js', file('text/javascript', script)],
    ['/hls.js', file('text/javascript', library)],
  ]);
}

test('Chromium logs in by the link and plays over a gap to the end', async (context) => {
  const browser = await launchBrowser(context);
  if (browser === null) return;
  const gateway = await startGateway(context, { page: testPage(await readFile(player)) });
  await gateway.video.ensureCamera({
    name: 'gate',
    retentionMs: null,
    maxBytes: null,
    events: null,
  });
  const [one, two] = await Promise.all([makeFootage(4), makeFootage(4, '320x240')]);
  await record(gateway.video, 'gate', [one], startUs);
  await record(gateway.video, 'gate', [two], startUs + 3_600_000_000);
  const { app, logger, metrics } = gateway;
  const server = await createHttpServer({
    host: '127.0.0.1',
    port: 0,
    fetch: app.fetch,
    clock: systemClock,
    logger,
    metrics,
  });
  context.after(() => server.close());

  const page = await browser.newPage();
  await page.goto(`${server.url}/login?token=${await gateway.tokens.createLoginCode()}`);
  assert.equal(page.url(), `${server.url}/`);
  const fromMs = startUs / 1_000;
  const told = page
    .waitForEvent('console', (message) => message.text().startsWith('seen '))
    .then((message) => message.text().slice('seen '.length));
  await page.goto(`${server.url}/play.html?from=${fromMs}&to=${fromMs + 7_200_000}`);
  const { problems, dates, continuities, duration, frames } = JSON.parse(await told) as {
    dates: number[];
    continuities: number[];
    problems: string[];
    frames: number;
    duration: number;
  };
  assert.deepEqual(problems, []);
  assert.equal(dates[0], fromMs);
  assert.ok(dates.includes(fromMs + 3_600_000), 'the second run at its own time');
  assert.deepEqual([...new Set(continuities)], [0, 1]);
  assert.ok(Math.abs(duration - 8) < 0.2, `${duration} s`);
  assert.ok(frames > 150, `${frames} of 200 frames`);
  await page.close();
});
