/**
 * What players of a session get: playlists, a manifest, inits and fragments. The token in the URL is
 * all that is asked for, so these are answered to pages of any site; it opens the fragments that the
 * session is for, and no others.
 *
 * Limits: 128 MiB of fragments are in memory at once, more are refused for a moment; of live sessions
 * it is known what was listed, up to 50,000 fragments in all. What is forgotten begins anew.
 */
import { Hono, type Context } from 'hono';
import type { Fragment, Init, VideoStore } from '../../../../storage/model.ts';
import type { Clock, Logger } from '../../../../storage/ports.ts';
import { whenAnswered, type AppEnv } from '../../../http/authentication.ts';
import { ByteBudget } from '../../../http/byte-budget.ts';
import { fragmentOfTrack, initOfTrack } from '../../dash/one-track.ts';
import type { TrackKind } from '../../dash/manifest.ts';
import { Inits } from '../../hls/inits.ts';
import { servedFragment } from '../../hls/served-fragment.ts';
import { initFile, parseInitFile } from '../../hls/urls.ts';
import { notFound, toKinesisVideoError } from '../errors.ts';
import { fragmentNumber, parseFragmentNumber } from '../fragment-numbers.ts';
import { timestampMs } from '../selection.ts';
import { dashPath, hlsPath, relativeTo } from './addresses.ts';
import { sessionManifest } from './dash.ts';
import { masterPlaylist, mediaPlaylist, type SessionAddresses } from './hls.ts';
import type { Session, SessionTokens } from './tokens.ts';
import { transportSegment } from './transport-stream.ts';
import { SessionWindow, type Listing } from './window.ts';

export interface SessionRoutesOptions {
  readonly video: VideoStore;
  readonly tokens: SessionTokens;
  readonly clock: Clock;
  readonly logger: Logger;
}

const bytesInFlightMax = 128 * 2 ** 20;
const rememberedMax = 50_000;
const copies = 3;

type Bytes = Uint8Array<ArrayBuffer>;

/** To be mounted at `/`, before what looks at hosts and origins. */
export function sessionRoutes(options: SessionRoutesOptions): Hono<AppEnv> {
  const sessions = new Sessions(options);
  const app = new Hono<AppEnv>();
  const get = (
    path: string,
    protocol: Session['protocol'],
    answer: (opened: Opened, c: Context<AppEnv>) => Promise<Response>,
  ): void => {
    app.get(path, (c) => sessions.answer(c, protocol, (opened) => answer(opened, c)));
  };
  get(hlsPath.master, 'hls', (opened) => sessions.master(opened));
  get(hlsPath.media, 'hls', (opened) => sessions.playlist(opened));
  get(hlsPath.init, 'hls', (opened, c) => sessions.init(opened, c, null));
  get(hlsPath.fragment, 'hls', (opened, c) =>
    sessions.media(opened, c, 'video/mp4', (bytes) => bytes),
  );
  get(hlsPath.transport, 'hls', (opened, c) =>
    sessions.media(opened, c, 'video/mp2t', (bytes, init) => transportSegment(init.bytes, bytes)),
  );
  get(dashPath.manifest, 'dash', (opened) => sessions.manifest(opened));
  get(dashPath.init, 'dash', (opened, c) => sessions.init(opened, c, kindOf(c)));
  get(dashPath.fragment, 'dash', (opened, c) => {
    const kind = kindOf(c);
    return sessions.media(opened, c, `${kind}/mp4`, (bytes, init) =>
      fragmentOfTrack(bytes, init.bytes, trackIdOf(init, kind)),
    );
  });
  return app;
}

interface Opened {
  readonly session: Session;
  readonly token: string;
}

interface Remembered {
  readonly window: SessionWindow;
  /** Where live periods began, by their first fragment's run and init. */
  readonly periods: Map<string, number>;
  readonly listed: number;
  last: Promise<unknown>;
}

class Sessions {
  readonly #options: SessionRoutesOptions;
  readonly #budget = new ByteBudget(bytesInFlightMax);
  readonly #remembered = new Map<string, Remembered>();
  #listed = 0;

  constructor(options: SessionRoutesOptions) {
    this.#options = options;
  }

  async answer(
    c: Context<AppEnv>,
    protocol: Session['protocol'],
    work: (opened: Opened) => Promise<Response>,
  ): Promise<Response> {
    const headers = { 'access-control-allow-origin': '*', 'x-content-type-options': 'nosniff' };
    try {
      const token = c.req.query('SessionToken') ?? '';
      const session = this.#options.tokens.open(token, protocol);
      const { id } = await this.#options.video.camera(session.camera);
      if (id !== session.cameraId) throw notFound('The stream of this session was deleted.');
      const response = await work({ session, token });
      for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
      return response;
    } catch (thrown) {
      const { type, message, status, ours, cause } = toKinesisVideoError(thrown);
      if (ours) {
        const { logger } = this.#options;
        logger.error({ error: cause ?? thrown }, 'A request of a streaming session failed');
      }
      return Response.json(
        { Message: message },
        { status, headers: { ...headers, 'x-amzn-errortype': type } },
      );
    }
  }

  async master(opened: Opened): Promise<Response> {
    const listing = await this.#listing(opened);
    const [first] = listing.listed;
    if (first === undefined) throw nothing();
    const init = await this.#options.video.init(first.fragment.initId);
    return playlistResponse(masterPlaylist(listing, init, addressesOf(opened)));
  }

  async playlist(opened: Opened): Promise<Response> {
    const listing = await this.#listing(opened);
    if (listing.listed.length === 0) throw nothing();
    const inits = await this.#initsOf(listing);
    return playlistResponse(
      mediaPlaylist(listing, opened.session, (id) => inits.get(id), addressesOf(opened)),
    );
  }

  async manifest(opened: Opened): Promise<Response> {
    const { video, clock } = this.#options;
    const { session, token } = opened;
    const listing = await this.#listing(opened);
    if (listing.listed.length === 0) throw nothing();
    const inits = await this.#initsOf(listing);
    const text = await sessionManifest({
      ...{ video, session, listing, inits, nowMs: clock.nowMs() },
      periods: this.#remember(opened).periods,
      // Without leading zeros: ffmpeg cuts off what is more than 64 bytes longer than the manifest's
      // own address.
      segmentUri: ({ number }, kind) =>
        relativeTo(dashPath.fragment, {
          FragmentNumber: String(number),
          ...{ Track: kind, SessionToken: token },
        }),
      initUri: (id, kind) =>
        relativeTo(dashPath.init, {
          Init: initFile(inits.get(id)),
          ...{ Track: kind, SessionToken: token },
        }),
    });
    return new Response(text, {
      headers: { 'content-type': 'application/dash+xml', 'cache-control': 'no-cache' },
    });
  }

  async init(_opened: Opened, c: Context<AppEnv>, kind: TrackKind | null): Promise<Response> {
    const named = parseInitFile(c.req.query('Init') ?? '');
    const init = named === null ? null : await this.#options.video.init(named.id);
    // Its hash can't be guessed, so whoever names it has it from a playlist.
    if (named === null || init === null || !init.hash.startsWith(named.hash)) throw nothing();
    const bytes = kind === null ? init.bytes : initOfTrack(init.bytes, trackIdOf(init, kind));
    return mediaResponse(bytes, `${kind ?? 'video'}/mp4`);
  }

  async media(
    { session }: Opened,
    c: Context<AppEnv>,
    contentType: string,
    made: (bytes: Buffer, init: Init) => Buffer,
  ): Promise<Response> {
    const { video } = this.#options;
    const number = parseFragmentNumber(c.req.query('FragmentNumber') ?? '');
    const fragment = number === null ? null : await video.fragment(number);
    if (fragment === null || !isOf(session, fragment)) throw nothing();
    const release = this.#budget.take(copies * fragment.plainBytes);
    try {
      const zeroUs = session.protocol === 'hls' ? session.zeroUs : undefined;
      const served = await servedFragment(video, fragment, zeroUs);
      const bytes = made(served, await video.init(fragment.initId));
      whenAnswered(c.env, release);
      return mediaResponse(bytes, contentType);
    } catch (error) {
      release();
      throw error;
    }
  }

  #listing(opened: Opened): Promise<Listing> {
    const { video, clock } = this.#options;
    if (opened.session.mode === 'ON_DEMAND') {
      return new SessionWindow(opened.session, video).update(clock.nowMs());
    }
    const remembered = this.#remember(opened);
    const next = remembered.last.then(() => remembered.window.update(clock.nowMs()));
    remembered.last = next.catch(() => undefined);
    return next;
  }

  #remember({ session, token }: Opened): Remembered {
    const known = this.#remembered.get(token);
    if (known !== undefined) return known;
    const made: Remembered = {
      window: new SessionWindow(session, this.#options.video),
      periods: new Map(),
      listed: session.listed,
      last: Promise.resolve(),
    };
    if (session.mode === 'ON_DEMAND') return made;
    this.#remembered.set(token, made);
    this.#listed += made.listed;
    for (const [oldest, { listed }] of this.#remembered) {
      if (this.#listed <= rememberedMax) break;
      this.#remembered.delete(oldest);
      this.#listed -= listed;
    }
    return made;
  }

  #initsOf({ listed }: Listing): Promise<Inits> {
    return Inits.of(
      this.#options.video,
      listed.map(({ fragment }) => fragment),
    );
  }
}

/** Whether a session is for a fragment. */
function isOf(session: Session, fragment: Fragment): boolean {
  const { camera, mode, origin, fromMs, toMs, zeroUs } = session;
  if (fragment.camera !== camera || fragment.startUs < zeroUs) return false;
  if (mode === 'LIVE') return true;
  const atMs = timestampMs(fragment, origin);
  return atMs >= (fromMs ?? 0) && atMs <= (toMs ?? Infinity);
}

function addressesOf({ session, token }: Opened): SessionAddresses {
  const isTransport = session.container === 'MPEG_TS';
  const SessionToken = token;
  return {
    playlist: () => relativeTo(hlsPath.media, { SessionToken }),
    init: (init) => relativeTo(hlsPath.init, { Init: initFile(init), SessionToken }),
    fragment: (number) =>
      relativeTo(isTransport ? hlsPath.transport : hlsPath.fragment, {
        FragmentNumber: fragmentNumber(number),
        SessionToken,
      }),
  };
}

function kindOf(c: Context<AppEnv>): TrackKind {
  return c.req.query('Track') === 'audio' ? 'audio' : 'video';
}

/** @throws KinesisVideoError `ResourceNotFoundException` */
function trackIdOf({ tracks }: Init, wanted: TrackKind): number {
  const track = tracks.find(({ kind }) => kind === wanted);
  if (track === undefined) throw notFound(`There is no ${wanted} in it.`);
  return track.trackId;
}

function playlistResponse(text: string): Response {
  return new Response(text, {
    headers: { 'content-type': 'application/vnd.apple.mpegurl', 'cache-control': 'no-cache' },
  });
}

function mediaResponse(bytes: Buffer, contentType: string): Response {
  return new Response(bytes as Bytes, {
    headers: { 'content-type': contentType, 'cache-control': 'private, max-age=3600' },
  });
}

function nothing(): Error {
  return notFound('The session has nothing of that name.');
}
