/**
 * Streaming sessions of every mode and container, played by ffmpeg, GStreamer and hls.js. Each picture
 * shows its number, so that one which is missing, comes twice or comes late is noticed.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { CreateStreamCommand } from '@aws-sdk/client-kinesis-video';
import * as archived from '@aws-sdk/client-kinesis-video-archived-media';
import { launchBrowser } from '../../../support/browser.ts';
import { countPictures } from '../../../support/gstreamer.ts';
import { needs } from '../../../support/tools.ts';
import { clockFootage, numbersOf } from '../../media/clock-footage.ts';
import type { Footage } from '../hls/footage.ts';
import { earlyFragments, recordLive } from '../hls/live-footage.ts';
import { camera, serveKinesisVideo, type Served } from './support.ts';

const hlsJs = join(import.meta.dirname, '../../../../node_modules/hls.js/dist/hls.light.min.js');
/** Of a fragment. */
const pictures = 50;
const liveCamera = 'yard';
/** What is played of it: the last of that is recorded while it is played. */
const livePictures = (earlyFragments + 1) * pictures;

interface Session {
  readonly name: string;
  readonly kind: 'HLS of fragmented MP4' | 'HLS of MPEG-TS' | 'DASH';
  readonly url: string;
  /** The numbers of its pictures; null: it is live. */
  readonly numbers: readonly number[] | null;
}

/** What pictures show: they are counted from 0 again after 1,023. */
const numbered = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, index) => (from + index) % 1_024);

/** Longer than players that come late need. */
const longFootage = clockFootage({ seconds: 80, sound: true });
longFootage.catch(() => undefined);

/** A session of each mode for each kind of player. */
async function sessionsOf(box: Served, kinds: readonly Session['kind'][]): Promise<Session[]> {
  const { archived: client } = box.clients();
  const at = (index: number): Date => new Date((box.fragments[index]?.startUs ?? 0) / 1000);
  const range = (from: number, to: number) => ({
    FragmentSelectorType: 'PRODUCER_TIMESTAMP' as const,
    TimestampRange: { StartTimestamp: at(from), EndTimestamp: at(to) },
  });
  const modes = [
    { PlaybackMode: 'ON_DEMAND', from: 1, to: 4 },
    { PlaybackMode: 'LIVE_REPLAY', from: 2, to: 4 },
    { PlaybackMode: 'LIVE', from: 0, to: 0 },
  ] as const;
  // GStreamer 1.22 follows no timeline of DASH that moves on: it adds the start of the first segment
  // twice; and ffmpeg 5.1 asks for a manifest again and again, without a pause, while it waits.
  const asked = kinds.flatMap((kind) =>
    modes
      .filter(({ PlaybackMode }) => kind !== 'DASH' || PlaybackMode === 'ON_DEMAND')
      .map((mode) => ({ kind, ...mode })),
  );
  return Promise.all(
    asked.map(async ({ kind, PlaybackMode, from, to }) => {
      const isLive = PlaybackMode === 'LIVE';
      const selector = isLive ? undefined : range(from, to);
      const common = { StreamName: isLive ? liveCamera : camera, PlaybackMode };
      // What is replayed begins with two fragments; the next is listed when their time has gone by.
      const listed = PlaybackMode === 'LIVE_REPLAY' ? 2 : undefined;
      const dash = new archived.GetDASHStreamingSessionURLCommand({
        ...{ ...common, DASHFragmentSelector: selector },
      });
      const hls = new archived.GetHLSStreamingSessionURLCommand({
        ...{ ...common, HLSFragmentSelector: selector, MaxMediaPlaylistFragmentResults: listed },
        ContainerFormat: kind === 'HLS of MPEG-TS' ? 'MPEG_TS' : 'FRAGMENTED_MP4',
        DiscontinuityMode: 'ON_DISCONTINUITY',
      });
      const url =
        kind === 'DASH'
          ? (await client.send(dash)).DASHStreamingSessionURL
          : (await client.send(hls)).HLSStreamingSessionURL;
      return {
        ...{ name: `${kind}, ${PlaybackMode}`, kind, url: url ?? '' },
        numbers: isLive ? null : numbered(from * pictures, (to + 1) * pictures),
      };
    }),
  );
}

interface Scene {
  readonly sessions: readonly Session[];
  /** To be told that nobody watches any more. */
  readonly over: () => Promise<void>;
}

/** So many groups of pictures, each a second long. */
function beginningOf({ init, chunks }: Footage, groups: number): Footage {
  let begun = 0;
  const end = chunks.findIndex(({ keyframe }) => keyframe && (begun += 1) > groups);
  return { init, chunks: chunks.slice(0, end) };
}

/** A camera with a past, and another that goes on at its pace until it is over. */
async function scene(t: TestContext, kinds: readonly Session['kind'][]): Promise<Scene> {
  const footage = await longFootage;
  const box = await serveKinesisVideo(t, { footage: beginningOf(footage, 12) });
  await box.clients().control.send(new CreateStreamCommand({ StreamName: liveCamera }));
  const live = await recordLive(box.video, liveCamera, footage);
  t.after(() => live.over());
  return { sessions: await sessionsOf(box, kinds), over: () => live.over() };
}

/** Plays all at once, and says of each that failed which it was. */
async function playAll(
  { sessions, over }: Scene,
  play: (session: Session) => Promise<void>,
): Promise<void> {
  const played = await Promise.allSettled(sessions.map(play));
  await over();
  const failed = played.flatMap((outcome, index) =>
    outcome.status === 'rejected' ? [`${sessions[index]?.name}: ${String(outcome.reason)}`] : [],
  );
  assert.deepEqual(failed, []);
}

/** Whole fragments: of a replay the first may have gone by when a player comes. */
function assertCount(count: number, numbers: readonly number[]): void {
  const missing = (numbers.length - count) / pictures;
  assert.ok(count > 0 && Number.isInteger(missing) && missing <= 1, `${count} pictures`);
}

const allKinds = ['HLS of fragmented MP4', 'HLS of MPEG-TS', 'DASH'] as const;

test('ffmpeg shows every picture once and in order', async (t) => {
  await playAll(await scene(t, allKinds), async ({ url, numbers }) => {
    const frames = numbers === null ? ['-frames:v', String(livePictures)] : [];
    const found = await numbersOf(['-i', url, ...frames]);
    const [first = NaN] = found;
    const wanted = numbers ?? numbered(first, first + livePictures);
    assertCount(found.length, wanted);
    assert.deepEqual(found, wanted.slice(-found.length));
  });
});

test('GStreamer plays every picture', async (t) => {
  if (!needs(t, 'gst-launch-1.0')) return;
  const demuxers: Readonly<Record<Session['kind'], readonly string[]>> = {
    'HLS of fragmented MP4': ['hlsdemux', '!', 'qtdemux'],
    'HLS of MPEG-TS': ['hlsdemux', '!', 'tsdemux'],
    DASH: ['dashdemux', 'name=d', 'd.video_00', '!', 'queue', '!', 'qtdemux'],
  };
  await playAll(await scene(t, allKinds), async ({ kind, url, numbers }) => {
    const most = numbers === null ? livePictures : Infinity;
    const count = await countPictures(t, url, demuxers[kind], most);
    if (numbers === null) assert.equal(count, livePictures);
    else assertCount(count, numbers);
  });
});

interface Shown {
  readonly numbers: readonly number[];
  readonly problems: readonly string[];
}

/** Plays in a page, to the end or for four seconds of what is live, and tells each picture's number. */
const playInPage = `async ({ url, isLive }) => {
  const video = document.createElement('video');
  video.muted = true;
  document.body.append(video);
  const context = new OffscreenCanvas(160, 32).getContext('2d', { willReadFrequently: true });
  const [numbers, problems] = [[], []];
  const look = () => {
    context.drawImage(video, 0, 0, 160, 32);
    const { data } = context.getImageData(0, 16, 160, 1);
    const bits = [...Array(10).keys()];
    numbers.push(bits.reduce((sum, bit) => sum + (data[(bit * 16 + 8) * 4] > 128 ? 2 ** bit : 0), 0));
  };
  const follow = () => {
    look();
    video.requestVideoFrameCallback(follow);
  };
  video.requestVideoFrameCallback(follow);
  const hls = new Hls();
  await new Promise((resolve) => {
    hls.on(Hls.Events.ERROR, (_event, { details, fatal }) => {
      // A player that is not given its time has to wait, which is none of ours.
      if (details !== 'bufferStalledError') problems.push(details);
      if (fatal) resolve();
    });
    video.addEventListener('ended', () => {
      look();
      resolve();
    });
    let beganAt = null;
    video.addEventListener('timeupdate', () => {
      beganAt ??= video.currentTime;
      if (isLive && video.currentTime > beganAt + 4) resolve();
    });
    hls.loadSource(url);
    hls.attachMedia(video);
    void video.play();
  });
  hls.destroy();
  return { numbers, problems };
}`;

test('hls.js plays in Chromium, to the end of what has one', async (t) => {
  const browser = await launchBrowser(t);
  if (browser === null) return;
  const page = await browser.newPage();
  await page.addScriptTag({ path: hlsJs });
  await playAll(await scene(t, allKinds.slice(0, 2)), async ({ url, numbers: wanted }) => {
    const asked = JSON.stringify({ url, isLive: wanted === null });
    const { numbers, problems } = await page.evaluate<Shown>(`(${playInPage})(${asked})`);
    assert.deepEqual(problems, []);
    const [first = NaN] = numbers;
    const after = numbers.map((number) => (number - first + 1_024) % 1_024);
    // A browser that is busy leaves pictures out, but shows none before another.
    assert.deepEqual(
      after,
      [...after].sort((one, other) => one - other),
    );
    if (wanted === null) assert.ok((after.at(-1) ?? 0) >= (3 * pictures) / 2, String(after.at(-1)));
    else assert.equal(numbers.at(-1), wanted.at(-1));
    assert.ok(first >= (wanted?.[0] ?? 0));
  });
});
