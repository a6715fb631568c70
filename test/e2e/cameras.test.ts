/**
 * Cameras, whole: pushed and fetched at the same time by one gateway, unplugged and plugged in
 * again, disturbed by strangers and by silence, and then played, decoded and measured.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Page } from 'playwright-core';
import type {
  CameraFragment,
  CameraFragments,
  CameraRuns,
  Timeline,
} from '../../gateway/api/rest/camera-schemas.ts';
import { addressOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { launchBrowser } from '../support/browser.ts';
import type { Child } from '../support/child.ts';
import {
  aroundNow,
  assertContiguous,
  decodeFragment,
  fragmentsByRun,
  frameMsOf,
  longestWaitMs,
  msOf,
  runsOf,
  totalMs,
  type Decoded,
} from '../support/footage-check.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { startRtspCamera } from '../support/rtsp-camera.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { ffmpegPath, needs, sharedFile } from '../support/tools.ts';

/**
 * Those that push: `hall` and `dock` lose their audio (AAC, and G.711 that is transcoded); `lane`
 * sends a keyframe every ten seconds, B-frames, and frames as it likes.
 */
const pushing = ['gate', 'road', 'hall', 'dock', 'lane'];
const laneGroupMs = 10_000;
/** The longest time between two of its frames. */
const laneFrameMsMax = 400;
const soundSeconds = 6;
const lastRunMs = 22_000;
const unpluggedForMs = 2_000;

const userOf = (camera: string) => ({ username: camera, password: `${camera}-password` });

interface Clips {
  /** A keyframe each second, no sound. */
  readonly walk: string;
  /** With sound, short: it comes round again. */
  readonly cars: string;
  readonly hall: string;
  readonly dock: string;
  readonly lane: string;
}

it('records cameras through unplugging, strangers and silence', { timeout: 600_000 }, async (t) => {
  if (!needs(t, 'ffprobe')) return;
  const folder = await temporaryFolder(t);
  const clips = await prepareClips(t, folder);
  const yardOptions = ['--file', clips.walk, '--user', 'viewer', '--password', 'yard-password'];
  const yard = await startRtspCamera(t, ...yardOptions);
  if (yard === null) return;
  const gateway = await GatewayProcess.start(t, folder, configuration(yard.port));
  const site = new Site(t, gateway, clips);

  site.push('road');
  site.push('hall');
  site.push('dock');
  site.push('lane');
  const gateStartMs = Date.now();
  site.push('gate');
  await Promise.all([atLeast(gateway, 'gate', 0, 3), atLeast(gateway, 'yard', 0, 3)]);
  await t.test('strangers are refused, each with its reason', () => site.refuseStrangers());

  const unpluggedMs = Date.now();
  await Promise.all([site.unplug('gate'), yard.child.stop('SIGKILL')]);
  await Promise.all([ended(gateway, 'gate', 1), ended(gateway, 'yard', 1)]);
  // ffmpeg sends some tenths of a second ahead of its clock: the gap is to be longer.
  await setTimeout(unpluggedForMs);
  const pluggedMs = Date.now();
  site.push('gate');
  const again = await startRtspCamera(t, ...yardOptions, '--port', String(yard.port));
  await Promise.all([longerThan(gateway, 'gate', 1), longerThan(gateway, 'yard', 1)]);
  const endMs = Date.now();
  await Promise.all([
    ...pushing.map((camera) => site.unplug(camera)),
    again?.child.stop('SIGKILL'),
  ]);
  await Promise.all(pushing.map((camera) => ended(gateway, camera, camera === 'gate' ? 2 : 1)));

  await t.test('two runs of the cameras that were unplugged, and the gap between', async () => {
    for (const camera of ['gate', 'yard']) {
      const [first, second, ...more] = await runsOf(gateway, camera);
      assert.ok(first?.endTime != null && second !== undefined && more.length === 0, camera);
      const timeline = await gateway.get<Timeline>(`/cameras/${camera}/timeline?${aroundNow()}`);
      assert.equal(timeline.spans.length, 2, camera);
      assert.deepEqual(
        timeline.gaps,
        [{ startTime: first.endTime, endTime: second.startTime, reason: first.endReason }],
        camera,
      );
      assert.ok(first.endReason !== null && first.endReason !== '', camera);
      assertNear(msOf(first.endTime), unpluggedMs, 3_000, `${camera} ends when it was unplugged`);
      assert.ok(msOf(second.startTime) > pluggedMs - 1_000, camera);
    }
    const [first] = await runsOf(gateway, 'gate');
    assert.ok(msOf(first?.startTime ?? '') >= gateStartMs, 'nothing from before it was plugged in');
    for (const camera of ['road', 'hall', 'dock', 'lane']) {
      assert.equal((await runsOf(gateway, camera)).length, 1, `${camera} was not disturbed`);
    }
  });

  const cameras = [...pushing, 'yard'];
  const decoded = new Map<string, Decoded>();
  await t.test('every fragment can be decoded by itself', async () => {
    const runs = await Promise.all(cameras.map((camera) => fragmentsByRun(gateway, camera)));
    const waiting = runs.flat(2);
    const decodeAll = async (): Promise<void> => {
      for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
        decoded.set(one.url, await decodeFragment(gateway, one));
      }
    };
    await Promise.all([decodeAll(), decodeAll()]);
  });

  await t.test('runs are without a hole, and as long as they took', async () => {
    for (const camera of cameras.filter((name) => name !== 'lane')) {
      const frameMs = await frameMsOf(site.clipOf(camera));
      const runs = await fragmentsByRun(gateway, camera);
      for (const [index, run] of runs.entries()) {
        const unplugged = index === runs.length - 1 ? endMs : unpluggedMs;
        // Where the sound stops, fragments come later from then on; they are no longer for it.
        const steady = camera !== 'hall' && camera !== 'dock';
        assertTrueToTime(run, decoded, { frameMs, unpluggedMs: unplugged, steady });
      }
    }
  });

  await t.test(
    'groups of ten seconds are fragments of ten seconds, however frames come',
    async () => {
      const [run] = await fragmentsByRun(gateway, 'lane');
      const last = run?.at(-1);
      assert.ok(run !== undefined && last !== undefined && run.length >= 3);
      assertContiguous(run, laneFrameMsMax);
      for (const { durationMs } of run.slice(0, -1)) {
        assertNear(durationMs, laneGroupMs, laneFrameMsMax, 'a group');
      }
      assertNear(msOf(last.startTime) + last.durationMs, endMs, 1_000, 'its end');
    },
  );

  await t.test('audio that stops in mid-stream stalls nothing', async () => {
    for (const camera of ['hall', 'dock']) {
      const [run] = await fragmentsByRun(gateway, camera);
      assert.ok(run !== undefined);
      const sound = run.map(({ url }) => decoded.get(url)?.sounds ?? 0);
      assert.ok((sound[0] ?? 0) > 2, `${camera} began with sound`);
      // What was transcoded has a rest of its sound at the very end.
      assert.ok(
        sound.slice(5, -2).every((count) => count <= 2),
        `${camera} lost its sound`,
      );
      // A fragment lasts 2 s here; ffmpeg by itself would wait 10 s for the sound.
      const waitMs = longestWaitMs(run);
      assert.ok(waitMs < 8_000, `${camera}: ${waitMs} ms without a fragment`);
    }
  });

  await t.test('Chromium plays over the gap, and on without sound, to the end', async (s) => {
    const browser = await launchBrowser(s);
    if (browser === null) return;
    const page = await browser.newPage();
    await page.goto(gateway.loginLink);
    for (const camera of ['gate', 'hall', 'dock', 'lane']) {
      const runs = await fragmentsByRun(gateway, camera);
      const seen = await playThrough(page, `/hls/${camera}/range.m3u8?${aroundNow()}`);
      assert.deepEqual(seen.problems, [], camera);
      assert.deepEqual(seen.warnings, [], camera);
      assert.deepEqual(
        [...new Set(seen.continuities)],
        runs.map((_, index) => index),
        camera,
      );
      // Nobody knows how long the last frame lasts where they come as they like.
      const withinMs = 1_000 + (camera === 'lane' ? laneFrameMsMax : 0);
      assertNear(seen.seconds * 1000, totalMs(runs.flat()), withinMs, `${camera}, length`);
    }
  });
});

interface Seen {
  readonly seconds: number;
  readonly continuities: readonly number[];
  /** What playing could not go on after. */
  readonly problems: readonly string[];
  /** What it got over by itself. */
  readonly warnings: readonly string[];
}

/** Plays a playlist to its end with the hls.js that the page brings along. */
async function playThrough(page: Page, playlist: string): Promise<Seen> {
  const main = await page.locator('script[type=module]').first().getAttribute('src');
  const text = await (await page.request.get(new URL(main ?? '', page.url()).href)).text();
  const library = /import\("\.\/(hls[^"]*)"\)/.exec(text)?.[1];
  assert.ok(library !== undefined, 'the page brings a player');
  const script = `(async () => {
    const { default: Hls } = await import('/assets/${library}');
    const seen = { seconds: 0, continuities: [], problems: [], warnings: [] };
    document.addEventListener('securitypolicyviolation', ({ blockedURI }) =>
      seen.problems.push(blockedURI));
    const video = document.createElement('video');
    video.muted = true;
    document.body.append(video);
    const hls = new Hls();
    hls.on(Hls.Events.ERROR, (_, { details, fatal, buffer }) => {
      // A browser that decodes too slowly for this pace has footage ahead of it; at a hole it has
      // none, and what can't be decoded makes the player say more than this.
      if (details === 'bufferStalledError' && buffer > 0.5) return;
      (fatal ? seen.problems : seen.warnings).push(details);
    });
    hls.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => seen.continuities.push(frag.cc));
    const ended = new Promise((resolve) => video.addEventListener('ended', resolve));
    hls.loadSource('${playlist}');
    hls.attachMedia(video);
    video.playbackRate = 4;
    await video.play();
    await ended;
    seen.seconds = video.duration;
    hls.destroy();
    video.remove();
    return seen;
  })()`;
  return page.evaluate<Seen>(script);
}

/**
 * A run is contiguous to one frame and as long as it took: by its pictures, by the clock on the
 * wall, and by when the camera was unplugged.
 */
function assertTrueToTime(
  run: readonly CameraFragment[],
  decoded: ReadonlyMap<string, Decoded>,
  clock: { readonly frameMs: number; readonly unpluggedMs: number; readonly steady: boolean },
): void {
  const { frameMs, unpluggedMs, steady } = clock;
  assertContiguous(run, frameMs);
  const pictures = run.reduce((sum, { url }) => sum + (decoded.get(url)?.pictures ?? 0), 0);
  const shownMs = pictures * frameMs;
  const withinMs = Math.max(shownMs / 100, 150);
  assertNear(totalMs(run), shownMs, withinMs, 'by its pictures');
  const [, , third] = run;
  const last = run.at(-1);
  assert.ok(third !== undefined && last !== undefined, 'three fragments at least');
  assertNear(msOf(last.startTime) + last.durationMs, unpluggedMs, 3_000, 'its end');
  if (!steady) return;
  // What came while ffmpeg was starting came all at once; on a busy machine frames come late.
  const wallMs = msOf(last.serverTime) - msOf(third.serverTime);
  assertNear(totalMs(run.slice(2, -1)), wallMs, Math.max(wallMs / 100, 1_500), 'by the clock');
}

function assertNear(actual: number, wanted: number, within: number, what: string): void {
  assert.ok(Math.abs(actual - wanted) <= within, `${what}: ${actual}, not ${wanted}`);
}

/** The cameras that push, with their plugs. */
class Site {
  readonly #context: TestContext;
  readonly #gateway: GatewayProcess;
  readonly #clips: Clips;
  readonly #plugs = new Map<string, Child>();

  constructor(context: TestContext, gateway: GatewayProcess, clips: Clips) {
    this.#context = context;
    this.#gateway = gateway;
    this.#clips = clips;
  }

  push(camera: string): void {
    const options = { loop: camera === 'gate' || camera === 'road', unevenTracks: true };
    const push = this.#pushTo(camera, userOf(camera), this.clipOf(camera), options);
    this.#plugs.set(camera, push);
  }

  clipOf(camera: string): string {
    const { walk, cars, hall, dock, lane } = this.#clips;
    return { road: cars, hall, dock, lane }[camera] ?? walk;
  }

  async unplug(camera: string): Promise<void> {
    await this.#plugs.get(camera)?.stop('SIGKILL');
  }

  async refuseStrangers(): Promise<void> {
    const wrong = { username: 'gate', password: 'guessed' };
    const refused = [
      { push: this.#pushTo('gate', wrong), status: /ANNOUNCE failed: 401/ },
      { push: this.#pushTo('attic', userOf('gate')), status: /ANNOUNCE failed: 404/ },
      { push: this.#pushTo('road', userOf('road')), status: /ANNOUNCE failed: 503/ },
    ];
    for (const { push, status } of refused) {
      await push.line(status);
      assert.notEqual((await push.exited).code, 0);
    }
  }

  #pushTo(
    path: string,
    user: { username: string; password: string },
    clip = this.#clips.walk,
    options = {},
  ): Child {
    return pushClip(this.#context, clip, addressOf(this.#gateway.rtspPort, path, user), options);
  }
}

async function prepareClips(t: TestContext, folder: string): Promise<Clips> {
  const [realWalk, realCars] = ['one-by-one-person-detection.mp4', 'car-detection.mp4'].map(
    (name) => sharedFile('footage', name),
  );
  if (realWalk == null || realCars == null) {
    t.diagnostic("The test data's footage is not on this machine: made with ffmpeg instead.");
  }
  const walk = realWalk ?? (await makeClip(folder, { name: 'walk', seconds: 70 }));
  const cars =
    realCars ?? (await makeClip(folder, { name: 'cars', seconds: 20, audio: ['-c:a', 'aac'] }));
  const [hall, dock, lane] = await Promise.all([
    withShortSound(walk, join(folder, 'hall.mp4'), ['aac']),
    withShortSound(walk, join(folder, 'dock.mkv'), ['pcm_mulaw', '-ar', '8000']),
    makeClip(folder, {
      name: 'lane',
      seconds: 70,
      video: [
        ...['-vf', "select='lt(mod(n,40),15)+not(mod(n,9))'", '-fps_mode', 'vfr'],
        ...['-c:v', 'libx264', '-preset', 'veryfast', '-bf', '2'],
        ...['-force_key_frames', `expr:gte(t,n_forced*${laneGroupMs / 1000})`],
        ...['-x264-params', 'keyint=1000:scenecut=0'],
      ],
      audio: ['-c:a', 'pcm_alaw', '-ar', '8000', '-f', 'mov'],
    }),
  ]);
  return { walk, cars, hall, dock, lane };
}

async function withShortSound(
  clip: string,
  path: string,
  codec: readonly string[],
): Promise<string> {
  await promisify(execFile)(ffmpegPath, [
    ...['-v', 'error', '-i', clip, '-f', 'lavfi', '-i', `sine=r=48000:d=${soundSeconds}`],
    ...['-map', '0:v', '-map', '1:a', '-c:v', 'copy', '-c:a', ...codec, '-t', '70', path],
  ]);
  return path;
}

function configuration(yardPort: number): string {
  const push = pushing.map((camera) => {
    const { username, password } = userOf(camera);
    return `  ${camera}: { source: { push: { username: ${username}, password: ${password} } } }`;
  });
  return `
cameras:
${push.join('\n')}
  yard: { source: { rtsp: 'rtsp://viewer:yard-password@127.0.0.1:${yardPort}/cam' } }
`;
}

/** Waits until the run at `index` has this many fragments. */
async function atLeast(
  gateway: GatewayProcess,
  camera: string,
  index: number,
  count: number,
): Promise<void> {
  await gateway.until<CameraFragments>(
    `/cameras/${camera}/fragments?${aroundNow()}`,
    ({ fragments }) => {
      const runs = [...new Set(fragments.map(({ runId }) => runId))];
      return fragments.filter(({ runId }) => runId === runs[index]).length >= count;
    },
  );
}

/** Waits until the run at `index` lasts as long as is measured. */
async function longerThan(gateway: GatewayProcess, camera: string, index: number): Promise<void> {
  await gateway.until<CameraFragments>(
    `/cameras/${camera}/fragments?${aroundNow()}`,
    ({ fragments }) => {
      const runs = [...new Set(fragments.map(({ runId }) => runId))];
      return totalMs(fragments.filter(({ runId }) => runId === runs[index])) >= lastRunMs;
    },
  );
}

/** Waits until the camera has this many runs, and the last one has ended. */
async function ended(gateway: GatewayProcess, camera: string, runs: number): Promise<void> {
  await gateway.until<CameraRuns>(
    `/cameras/${camera}/runs?${aroundNow()}`,
    (answer) => answer.runs.length === runs && answer.runs.at(-1)?.endTime !== null,
  );
}
