/**
 * WebRTC over HTTP: WHIP (RFC 9725) to publish a camera, WHEP (draft-ietf-wish-whep) to watch one.
 *
 *   POST    /whip/<camera> /whep/<camera>   an offer (application/sdp); 201 with the answer
 *   PATCH   …/<session>                     candidates, or a restart of ICE
 *   DELETE  …/<session>                     the end
 *
 * Whoever may log in may do both. A camera may publish with its own user as well, of the
 * configuration (source.push): over Basic, or as a bearer token `<user>:<password>`.
 *
 * Pages of other sites may ask too, with a token: they can't send one that they don't have, and a
 * cookie of ours is never looked at there (http/authentication.ts).
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Hono, type Context, type MiddlewareHandler } from 'hono';
import { WebRtcError, type WebRtcErrorCode } from '../../../ingest/webrtc/errors.ts';
import type { RtspUser } from '../../../ingest/rtsp/authentication.ts';
import {
  authenticated,
  remoteAddress,
  type AppEnv,
  type AuthenticationOptions,
} from '../../http/authentication.ts';
import { HttpError, type HttpErrorCode } from '../../http/errors.ts';
import type { Patched, SessionKind, SessionName } from './sessions.ts';

/** What the routes need of whoever holds the sessions (gateway/webrtc.ts). */
export interface WebRtc {
  /**
   * Who may publish this camera, beside those who may log in.
   * @throws WebRtcError `not-found` when there is none, or it takes no push
   */
  publisherOf(camera: string): RtspUser;
  /** @param remote where the client is @throws WebRtcError */
  open(
    kind: SessionKind,
    camera: string,
    offer: string,
    remote: Remote,
  ): Promise<SessionName & { readonly answer: string; readonly etag: string }>;
  /** @throws WebRtcError */
  patch(name: SessionName, fragment: string, ifMatch: string): Promise<Patched | null>;
  /** @throws WebRtcError */
  end(name: SessionName): void;
}

export interface Remote {
  /** Of the client. */
  readonly address: string;
  /** By which it reached us, without a port. */
  readonly host: string;
}

const offerType = 'application/sdp';
const fragmentType = 'application/trickle-ice-sdpfrag';

const httpCodes: Readonly<Record<WebRtcErrorCode, HttpErrorCode>> = {
  malformed: 'bad-request',
  'not-acceptable': 'not-acceptable',
  'not-found': 'not-found',
  conflict: 'conflict',
  full: 'busy',
  unavailable: 'webrtc-unavailable',
};

/** Whether a path is of WHIP or WHEP. */
export function isWebRtcPath(path: string): boolean {
  return /^\/wh[ie]p\//.test(path);
}

/** Answers preflights, and lets pages of other sites read the answers. Before authentication. */
export const crossOrigin: MiddlewareHandler<AppEnv> = async (c, next) => {
  c.header('access-control-allow-origin', '*');
  c.header('access-control-expose-headers', 'Location, ETag, Link, WWW-Authenticate, Retry-After');
  if (c.req.method !== 'OPTIONS') {
    await next();
    return undefined;
  }
  c.header('access-control-allow-methods', 'POST, PATCH, DELETE, OPTIONS');
  c.header('access-control-allow-headers', 'Authorization, Content-Type, If-Match');
  c.header('access-control-max-age', '3600');
  c.header('accept-post', offerType);
  c.header('accept-patch', fragmentType);
  return c.body(null, 204);
};

export function webRtcRoutes(webRtc: WebRtc, access: AuthenticationOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  const loggedIn = authenticated(access);
  app.use('/whip/:camera{.+}', publisherOrLoggedIn(webRtc, access, loggedIn));
  app.use('/whep/:camera{.+}', loggedIn);
  for (const kind of ['whip', 'whep'] as const) {
    app.post(`/${kind}/:camera`, (c) => told(() => begin(c, kind, webRtc)));
    app.patch(`/${kind}/:camera/:id`, (c) => told(() => patch(c, kind, webRtc)));
    app.delete(`/${kind}/:camera/:id`, (c) =>
      told(() => {
        webRtc.end(nameOf(c, kind));
        return Promise.resolve(c.body(null, 200));
      }),
    );
    for (const path of [`/${kind}/:camera`, `/${kind}/:camera/:id`]) {
      app.all(path, () => {
        throw new HttpError(
          'method-not-allowed',
          `POST an offer to /${kind}/<camera>; PATCH and DELETE what comes back as its Location.`,
        );
      });
    }
  }
  return app;
}

async function begin(c: Context<AppEnv>, kind: SessionKind, webRtc: WebRtc): Promise<Response> {
  requireType(c, offerType);
  const camera = c.req.param('camera') ?? '';
  const remote = {
    address: remoteAddress(c.env),
    host: new URL(c.req.url).hostname.replace(/^\[|\]$/g, ''),
  };
  const { id, answer, etag } = await webRtc.open(kind, camera, await c.req.text(), remote);
  return c.body(answer, 201, {
    'content-type': offerType,
    location: `/${kind}/${encodeURIComponent(camera)}/${id}`,
    etag,
    'accept-patch': fragmentType,
  });
}

async function patch(c: Context<AppEnv>, kind: SessionKind, webRtc: WebRtc): Promise<Response> {
  requireType(c, fragmentType);
  const ifMatch = c.req.header('if-match');
  if (ifMatch === undefined) {
    throw new HttpError('precondition-required', 'If-Match has to carry the ETag of the session.');
  }
  const patched = await webRtc.patch(nameOf(c, kind), await c.req.text(), ifMatch.trim());
  if (patched === null) {
    throw new HttpError('precondition-failed', 'The session has another ETag by now.');
  }
  const { etag, fragment } = patched;
  if (fragment === null) return c.body(null, 204, { etag });
  return c.body(fragment, 200, { 'content-type': fragmentType, etag });
}

function nameOf(c: Context<AppEnv>, kind: SessionKind): SessionName {
  return { kind, camera: c.req.param('camera') ?? '', id: c.req.param('id') ?? '' };
}

function requireType(c: Context<AppEnv>, wanted: string): void {
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== wanted) {
    throw new HttpError('unsupported-media-type', `The body has to be ${wanted}.`);
  }
}

/** Runs a handler; what is wrong with WebRTC is told as HTTP has it. */
async function told(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof WebRtcError)) throw error;
    const isBusy = error.code === 'full' || error.code === 'unavailable';
    throw new HttpError(httpCodes[error.code], error.message, {
      cause: error,
      ...(isBusy ? { retryAfterSeconds: 5 } : {}),
    });
  }
}

function publisherOrLoggedIn(
  webRtc: WebRtc,
  { attempts }: AuthenticationOptions,
  loggedIn: MiddlewareHandler<AppEnv>,
): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const given = ownCredentials(c.req.header('authorization'));
    if (given === null) return loggedIn(c, next);
    const camera = c.req.path.split('/')[2] ?? '';
    const address = remoteAddress(c.env);
    if (!isSame(given, expected(webRtc, decoded(camera)))) {
      attempts.check(address);
      attempts.failed(address);
      throw new HttpError('unauthorized', 'Wrong user or password for this camera.');
    }
    await next();
    return undefined;
  };
}

/** `<user>:<password>`, where the header has that; null: it is something else. */
function ownCredentials(authorization: string | undefined): string | null {
  const basic = /^Basic +([A-Za-z0-9+/=]{1,1024})$/i.exec(authorization ?? '')?.[1];
  if (basic !== undefined) return Buffer.from(basic, 'base64').toString('utf8');
  return /^Bearer +([^\s:]{1,256}:\S{1,256})$/i.exec(authorization ?? '')?.[1] ?? null;
}

/** Of a camera that there is not, nothing is given away here. */
function expected(webRtc: WebRtc, camera: string): string | null {
  try {
    const { username, password } = webRtc.publisherOf(camera);
    return `${username}:${password}`;
  } catch (error) {
    if (error instanceof WebRtcError) return null;
    throw error;
  }
}

function isSame(given: string, wanted: string | null): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted ?? '')) && wanted !== null;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}
