/**
 * HLS of a camera, mounted at `/hls`: the live playlist, a playlist of any piece of its past,
 * its inits and its fragments, each under an address of its own.
 *
 * Limits: a playlist of the past lists 21,600 fragments (12 hours at one per 2 s), more are
 * refused; 256 MiB of fragments are in memory at once, more are `busy`.
 */
import { Hono, type Context } from 'hono';
import type { VideoStore } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { untilFirstAbort } from '../../../ingest/first-abort.ts';
import { whenAnswered, type AppEnv } from '../../http/authentication.ts';
import { ByteBudget } from '../../http/byte-budget.ts';
import { HttpError } from '../../http/errors.ts';
import { Inits } from './inits.ts';
import { livePart } from './live-part.ts';
import { LiveParts } from './live-parts.ts';
import { LivePlaylists, type Wanted } from './live-playlist.ts';
import { rangeOf, rangeRows } from './range.ts';
import { servedFragment } from './served-fragment.ts';
import { playlistText, segmentsOf, targetDurationS } from './playlist.ts';
import { fragmentFile, initFile, parseFragmentFile, parseInitFile, parsePartFile } from './urls.ts';

const bytesInFlightMax = 256 * 1024 * 1024;

const playlistHeaders = {
  'content-type': 'application/vnd.apple.mpegurl',
  'cache-control': 'no-cache',
};
const mediaHeaders = { 'cache-control': 'private, max-age=31536000, immutable' };

export interface HlsOptions {
  readonly video: VideoStore;
  readonly clock: Clock;
  /** Aborted when the gateway closes: nobody waits any longer. */
  readonly closing: AbortSignal;
  /**
   * Told before each live playlist, for cameras that are fetched only while somebody watches:
   * resolves when there is something to be played. @throws HttpError
   */
  readonly wake?: ((camera: string) => Promise<void>) | undefined;
}

export function hlsRoutes(options: HlsOptions): Hono<AppEnv> {
  const { video, clock, closing } = options;
  const liveParts = new LiveParts(video, clock);
  const playlists = new LivePlaylists(video, clock, liveParts);
  const budget = new ByteBudget(bytesInFlightMax);
  const app = new Hono<AppEnv>();

  app.get('/:camera/live.m3u8', async (c) => {
    await options.wake?.(c.req.param('camera'));
    const text = await untilFirstAbort([closing, c.req.raw.signal], (signal) =>
      playlists.text(c.req.param('camera'), wantedOf(c), signal),
    );
    return c.body(text, 200, playlistHeaders);
  });

  app.get('/:camera/range.m3u8', async (c) => {
    const camera = await video.camera(c.req.param('camera'));
    const range = rangeOf(c);
    const rows = await rangeRows(video, camera.name, range);
    const [first] = rows;
    const inits = await Inits.of(video, rows);
    const text = playlistText({
      segments: segmentsOf(rows),
      mediaSequence: 0,
      discontinuitySequence: 0,
      targetDurationS: targetDurationS(rows),
      ended: true,
      startOffsetS: Math.max(0, (range.fromUs - first.startUs) / 1e6),
      segmentUri: fragmentFile,
      initUri: (id) => initFile(inits.get(id)),
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
    const part = parsePartFile(file);
    if (part !== null) {
      const bytes = await untilFirstAbort([closing, c.req.raw.signal], (signal) =>
        livePart(video, liveParts, camera, part, { budget, signal }),
      );
      if (bytes === null) throw nothing('There is no such part.');
      const headers = { ...mediaHeaders, 'content-type': 'video/iso.segment' };
      return c.body(bytes as Uint8Array<ArrayBuffer>, 200, headers);
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
      return c.body(bytes as Uint8Array<ArrayBuffer>, 200, headers);
    } catch (error) {
      release();
      throw error;
    }
  });

  return app;
}

/** What a player asks to be waited for. @throws HttpError `bad-request` */
function wantedOf(c: Context<AppEnv>): Wanted | null {
  const [segment, part] = (['_HLS_msn', '_HLS_part'] as const).map((name) => {
    const text = c.req.query(name);
    if (text === undefined) return null;
    if (/^\d{1,15}$/.test(text)) return Number(text);
    throw new HttpError('bad-request', `${name} is a whole number.`);
  });
  if (segment != null) return { segment, part: part ?? null };
  if (part == null) return null;
  throw new HttpError('bad-request', '_HLS_part goes with _HLS_msn.');
}

function nothing(message: string): HttpError {
  return new HttpError('not-found', message);
}
