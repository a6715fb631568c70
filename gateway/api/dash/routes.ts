/**
 * DASH of a camera, mounted at `/dash`: the live manifest, a manifest of any piece of its past, and
 * each track of its inits and fragments under an address of its own. The media is that of HLS; what
 * is live, and how much is listed, is as there.
 *
 * Limits: 128 MiB of fragments are in memory at once, more are `busy`; of 1,000 live periods it is
 * known where they began.
 */
import { Hono } from 'hono';
import type { VideoStore } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { whenAnswered, type AppEnv } from '../../http/authentication.ts';
import { ByteBudget } from '../../http/byte-budget.ts';
import { HttpError } from '../../http/errors.ts';
import { Inits } from '../hls/inits.ts';
import { liveRows } from '../hls/live.ts';
import { rangeOf, rangeRows } from '../hls/range.ts';
import { runOf, servedFragment } from '../hls/served-fragment.ts';
import {
  type DashPeriod,
  type DashRow,
  manifestText,
  periodsOf,
  type TrackKind,
} from './manifest.ts';
import { fragmentOfTrack, initOfTrack } from './one-track.ts';
import { parseTrackFile, trackFragmentFile, trackInitFile } from './urls.ts';

const bytesInFlightMax = 128 * 1024 * 1024;
const periodsMax = 1_000;

const manifestHeaders = { 'content-type': 'application/dash+xml', 'cache-control': 'no-cache' };

export function dashRoutes(options: {
  readonly video: VideoStore;
  readonly clock: Clock;
}): Hono<AppEnv> {
  const { video, clock } = options;
  const budget = new ByteBudget(bytesInFlightMax);
  const livePeriods = new PeriodStarts();
  const app = new Hono<AppEnv>();

  app.get('/:camera/live.mpd', async (c) => {
    const camera = await video.camera(c.req.param('camera'));
    const rows = await liveRows(video, clock, camera.name);
    const inits = await Inits.of(video, rows);
    const text = manifestText({
      periods: await periodsFor(video, camera.name, rows, inits, (row) => livePeriods.of(row)),
      live: { nowMs: clock.nowMs() },
      segmentUri: (row, kind) => trackFragmentFile(kind, row),
      initUri: (id, kind) => trackInitFile(kind, inits.get(id)),
    });
    return c.body(text, 200, manifestHeaders);
  });

  app.get('/:camera/range.mpd', async (c) => {
    const camera = await video.camera(c.req.param('camera'));
    const range = rangeOf(c);
    const rows = await rangeRows(video, camera.name, range);
    const inits = await Inits.of(video, rows);
    const text = manifestText({
      periods: await periodsFor(video, camera.name, rows, inits, (row) => row.startUs),
      live: null,
      ...range,
      segmentUri: (row, kind) => trackFragmentFile(kind, row),
      initUri: (id, kind) => trackInitFile(kind, inits.get(id)),
    });
    return c.body(text, 200, manifestHeaders);
  });

  app.get('/:camera/:file', async (c) => {
    const { camera, file } = c.req.param();
    const wanted = parseTrackFile(file);
    if (wanted?.init != null) {
      const init = await video.init(wanted.init.id);
      if (!init.hash.startsWith(wanted.init.hash)) throw nothing('init');
      const trackId = trackIdOf(init.tracks, wanted.kind);
      return c.body(answered(initOfTrack(init.bytes, trackId)), 200, mediaHeaders(wanted.kind));
    }
    if (wanted?.fragment == null) throw nothing('file');
    const fragment = await video.fragment(wanted.fragment.number);
    if (fragment.camera !== camera || fragment.startUs !== wanted.fragment.startUs) {
      throw nothing('fragment');
    }
    const init = await video.init(fragment.initId);
    const trackId = trackIdOf(init.tracks, wanted.kind);
    // Read, shifted, and once more without the other tracks.
    const release = budget.take(3 * fragment.plainBytes);
    try {
      const served = await servedFragment(video, fragment);
      const bytes = fragmentOfTrack(served, init.bytes, trackId);
      whenAnswered(c.env, release);
      return c.body(answered(bytes), 200, mediaHeaders(wanted.kind));
    } catch (error) {
      release();
      throw error;
    }
  });

  return app;
}

async function periodsFor(
  video: VideoStore,
  camera: string,
  rows: readonly DashRow[],
  inits: Inits,
  startOf: (first: DashRow) => number,
): Promise<readonly DashPeriod[]> {
  const starts = new Map<number, number>();
  for (const row of rows) {
    if (!starts.has(row.runId))
      starts.set(row.runId, (await runOf(video, { camera, ...row }))?.startUs ?? 0);
  }
  return periodsOf(rows, (first) => ({
    tracks: inits.get(first.initId).tracks,
    runStartUs: starts.get(first.runId) ?? 0,
    startUs: startOf(first),
  }));
}

/** Where periods that are live began, so that they stay there while their rows go. */
class PeriodStarts {
  readonly #starts = new Map<string, number>();

  of({ runId, initId, startUs }: DashRow): number {
    const key = `${runId}-${initId}`;
    const known = this.#starts.get(key);
    if (known !== undefined) return known;
    const oldest = this.#starts.keys().next();
    if (this.#starts.size >= periodsMax && oldest.done !== true) this.#starts.delete(oldest.value);
    this.#starts.set(key, startUs);
    return startUs;
  }
}

function trackIdOf(
  tracks: readonly { readonly trackId: number; readonly kind: TrackKind }[],
  wanted: TrackKind,
): number {
  const track = tracks.find(({ kind }) => kind === wanted);
  if (track === undefined) throw nothing(`${wanted} track`);
  return track.trackId;
}

function mediaHeaders(kind: TrackKind): Record<string, string> {
  return {
    'content-type': `${kind}/mp4`,
    'cache-control': 'private, max-age=31536000, immutable',
  };
}

function answered(bytes: Buffer): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}

function nothing(what: string): HttpError {
  return new HttpError('not-found', `There is no such ${what}.`);
}
