/**
 * HLS of a camera, mounted at `/hls`: the live playlist, a playlist of any piece of its past,
 * its inits and its fragments, each under an address of its own.
 *
 * On disk a fragment's decode times count from its media file's start. Served, they count from
 * the start of its run (plus a second), taken from the timeline: so within a run they go on
 * across media files, and stay in step with EXT-X-PROGRAM-DATE-TIME however long the run is.
 * Between two fragments they may so move by what the timeline was slewed meanwhile, which is
 * less than a frame. Where its sound stopped, a served fragment has silence.
 *
 * What is live is being sent, or was a moment ago: a camera that comes back within 15 s goes on in
 * the same playlist. After that there is no live playlist, and one of a camera that came back begins
 * with what it has sent since: players would show what is old as what happens now.
 *
 * Limits: a playlist of the past lists 21,600 fragments (12 hours at one per 2 s), more are
 * refused; 256 MiB of fragments are in memory at once, more are `busy`; the live windows of 1,000
 * cameras are kept.
 */
import { Hono, type Context } from 'hono';
import type { Fragment, Init, VideoStore } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { shiftDecodeTimes } from '../../../storage/video/boxes.ts';
import { whenAnswered, type AppEnv } from '../../http/authentication.ts';
import { ByteBudget } from '../../http/byte-budget.ts';
import { HttpError } from '../../http/errors.ts';
import { isoFromMs, timeQuery } from '../rest/times.ts';
import { withSilence } from './silence.ts';
import { LiveWindow, playlistText, segmentsOf, targetDurationS } from './playlist.ts';
import { fragmentFile, initFile, parseFragmentFile, parseInitFile } from './urls.ts';

const liveFragments = 8;
const awayMsMax = 15_000;
const rangeFragmentsMax = 21_600;
const windowsMax = 1_000;
const bytesInFlightMax = 256 * 1024 * 1024;
/** Room below the first video frame for audio that begins before it. */
const originUs = 1_000_000;

const playlistHeaders = {
  'content-type': 'application/vnd.apple.mpegurl',
  'cache-control': 'no-cache',
};
const mediaHeaders = { 'cache-control': 'private, max-age=31536000, immutable' };

export function hlsRoutes(options: {
  readonly video: VideoStore;
  readonly clock: Clock;
}): Hono<AppEnv> {
  const { video, clock } = options;
  const windows = new Map<number, LiveWindow>();
  const budget = new ByteBudget(bytesInFlightMax);
  const app = new Hono<AppEnv>();

  app.get('/:camera/live.m3u8', async (c) => {
    const camera = await video.camera(c.req.param('camera'));
    const latest = await video.latestFragments(camera.name, liveFragments);
    const newest = latest.at(-1);
    if (newest === undefined) throw nothing(`Nothing of ${camera.name} is recorded yet.`);
    const seenMs = arrivedMs(newest);
    if (clock.nowMs() - seenMs > awayMsMax && !(await goesOn(video, newest))) {
      throw nothing(`${camera.name} is not sending. It was last seen at ${isoFromMs(seenMs)}.`);
    }
    const rows = sinceAway(latest);
    const window = windowOf(windows, camera.id);
    window.update(rows);
    const { playlist } = window;
    const inits = await initsOf(
      video,
      playlist.segments.map(({ row }) => row.initId),
    );
    const text = playlistText({
      ...playlist,
      ended: false,
      startOffsetS: 0,
      segmentUri: fragmentFile,
      initUri: (id) => initFile(needed(inits, id)),
    });
    return c.body(text, 200, playlistHeaders);
  });

  app.get('/:camera/range.m3u8', async (c) => {
    const camera = await video.camera(c.req.param('camera'));
    const { fromUs, toUs } = rangeOf(c);
    const rows = await video.fragments({
      camera: camera.name,
      fromUs,
      toUs,
      limit: rangeFragmentsMax + 1,
    });
    const [first] = rows;
    if (first === undefined) throw nothing(`Nothing of ${camera.name} was recorded in this time.`);
    if (rows.length > rangeFragmentsMax) {
      throw new HttpError(
        'bad-request',
        `A playlist holds ${rangeFragmentsMax} fragments (about 12 hours): ask for less time.`,
      );
    }
    const inits = await initsOf(
      video,
      rows.map((row) => row.initId),
    );
    const text = playlistText({
      segments: segmentsOf(rows),
      mediaSequence: 0,
      discontinuitySequence: 0,
      targetDurationS: targetDurationS(rows),
      ended: true,
      startOffsetS: Math.max(0, (fromUs - first.startUs) / 1e6),
      segmentUri: fragmentFile,
      initUri: (id) => initFile(needed(inits, id)),
    });
    return c.body(text, 200, playlistHeaders);
  });

  app.get('/:camera/:file', async (c) => {
    const { camera, file } = c.req.param();
    const initName = parseInitFile(file);
    if (initName !== null) {
      const init = await video.init(initName.id);
      if (!init.hash.startsWith(initName.hash)) throw nothing('There is no such init.');
      const headers = { ...mediaHeaders, 'content-type': 'video/mp4' };
      return c.body(new Uint8Array(init.bytes), 200, headers);
    }
    const name = parseFragmentFile(file);
    if (name === null) throw nothing('There is no such file.');
    const fragment = await video.fragment(name.number);
    if (fragment.camera !== camera || fragment.startUs !== name.startUs) {
      throw nothing('There is no such fragment.');
    }
    // Read, and once more shifted.
    const release = budget.take(2 * fragment.plainBytes);
    try {
      const bytes = await servedFragment(video, fragment);
      whenAnswered(c.env, release);
      const headers = { ...mediaHeaders, 'content-type': 'video/iso.segment' };
      return c.body(bytes, 200, headers);
    } catch (error) {
      release();
      throw error;
    }
  });

  return app;
}

/** When its last picture was here, by our clock. */
function arrivedMs({ serverMs, durationUs }: Fragment): number {
  return Math.round(serverMs + durationUs / 1_000);
}

async function goesOn(video: VideoStore, { camera, startUs, runId }: Fragment): Promise<boolean> {
  const runs = await video.runs(camera, startUs, startUs + 1);
  return runs.find(({ id }) => id === runId)?.endUs === null;
}

/** Those after the last time that the camera was away for too long, in the order they came. */
function sinceAway(rows: readonly Fragment[]): readonly Fragment[] {
  const last = rows.findLastIndex((row, index) => {
    const before = rows[index - 1];
    return before !== undefined && row.serverMs - arrivedMs(before) > awayMsMax;
  });
  return rows.slice(Math.max(0, last));
}

/** The fragment's boxes, their decode times counted from the start of its run. */
async function servedFragment(
  video: VideoStore,
  fragment: Fragment,
): Promise<Uint8Array<ArrayBuffer>> {
  const [bytes, init, runs] = await Promise.all([
    video.readFragment(fragment),
    video.init(fragment.initId),
    video.runs(fragment.camera, fragment.startUs, fragment.startUs + 1),
  ]);
  const run = runs.find(({ id }) => id === fragment.runId);
  const moved = shiftDecodeTimes(bytes, shifts(fragment, run?.startUs ?? 0, init));
  const shifted = withSilence(moved, init);
  return new Uint8Array(shifted.buffer as ArrayBuffer, shifted.byteOffset, shifted.byteLength);
}

/** Per track, in its ticks: all tracks move by the same time, that of the video. */
function shifts(
  fragment: Fragment,
  runStartUs: number,
  { tracks }: Init,
): ReadonlyMap<number, bigint> {
  const video = tracks.find((track) => track.kind === 'video') ?? tracks[0];
  if (video === undefined) return new Map();
  const startUs = fragment.startUs - runStartUs + originUs;
  const shiftS = startUs / 1e6 - fragment.decodeTime / video.timescale;
  return new Map(
    tracks.map(({ trackId, timescale }) => [trackId, BigInt(Math.round(shiftS * timescale))]),
  );
}

function windowOf(windows: Map<number, LiveWindow>, cameraId: number): LiveWindow {
  const known = windows.get(cameraId);
  if (known !== undefined) return known;
  const oldest = windows.keys().next();
  if (windows.size >= windowsMax && oldest.done !== true) windows.delete(oldest.value);
  const window = new LiveWindow();
  windows.set(cameraId, window);
  return window;
}

async function initsOf(
  video: VideoStore,
  ids: readonly number[],
): Promise<ReadonlyMap<number, Init>> {
  const inits = new Map<number, Init>();
  for (const id of new Set(ids)) inits.set(id, await video.init(id));
  return inits;
}

function needed(inits: ReadonlyMap<number, Init>, id: number): Init {
  const init = inits.get(id);
  if (init === undefined) throw new Error(`init ${id} was not fetched`);
  return init;
}

function rangeOf(c: Context<AppEnv>): { fromUs: number; toUs: number } {
  const [fromMs, toMs] = (['from', 'to'] as const).map((field) => {
    const parsed = timeQuery.safeParse(c.req.query(field) ?? '');
    if (parsed.success) return parsed.data;
    const message = parsed.error.issues[0]?.message ?? 'is no time';
    throw new HttpError('bad-request', `${field} ${message}`, { details: [{ field, message }] });
  }) as [number, number];
  if (fromMs >= toMs) throw new HttpError('bad-request', '`to` must come after `from`.');
  return { fromUs: fromMs * 1_000, toUs: toMs * 1_000 };
}

function nothing(message: string): HttpError {
  return new HttpError('not-found', message);
}
