/**
 * The HTTP application: what answers which path, in which order, and what every answer carries.
 * It needs no socket: `app.request('/healthz')` is how tests ask it.
 *
 *   POST /                      the AWS APIs; signed requests, which say who asks themselves
 *   POST /listFragments …       the Kinesis Video API: the same
 *   /healthz /readyz            for whoever restarts or balances; open, and say one word
 *   /login /api/v1/login …      the ways in; open, rate-limited
 *   / and its assets            the page's program, which holds no data; open
 *   /api/v1 /hls /dash /metrics with a token or a session
 *   /whip /whep                 WebRTC: the same, or the user of a camera that publishes
 *
 * Every thrown error becomes an answer here, and is logged here when it is ours to mend.
 */
import { Hono, type Context, type MiddlewareHandler } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { bodyLimit } from 'hono/body-limit';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import { dashRoutes } from '../api/dash/routes.ts';
import { hlsRoutes, type HlsOptions } from '../api/hls/routes.ts';
import { crossOrigin, isWebRtcPath, webRtcRoutes, type WebRtc } from '../api/webrtc/routes.ts';
import { isKinesisVideoPath } from '../api/kinesis-video/routes.ts';
import { isPut, limitPuts } from '../api/rest/puts.ts';
import { restRoutes, type RestOptions } from '../api/rest/rest.ts';
import type { StatusSources } from '../api/rest/status.ts';
import type { Tokens } from '../security/tokens.ts';
import { Attempts, authenticated, sameSite, type AppEnv } from './authentication.ts';
import { errorResponse, HttpError, jsonWanted, toHttpError } from './errors.ts';
import { loginRoutes } from './login.ts';
import { servePage, type Page } from './page.ts';

export interface AppSources extends StatusSources {
  /** Whether the process should go on; false asks for a restart. */
  readonly live: () => Promise<boolean>;
  /** Prometheus' text format. */
  readonly renderMetrics: () => Promise<string>;
}

export interface AppOptions extends Omit<RestOptions, 'sources'> {
  readonly sources: AppSources;
  readonly tokens: Tokens;
  /** Names under which this gateway may be called, besides localhost and any literal address. */
  readonly hostNames: readonly string[];
  /** From `loadPage`; null: it was not built. */
  readonly page: Page | null;
  /** The AWS APIs; left out: they are not served. */
  readonly kinesis?: Hono<AppEnv>;
  /** The Kinesis Video API, and the sessions that it gives URLs of; left out: it is not served. */
  readonly kinesisVideo?: Hono<AppEnv>;
  /** Publishing and watching over WebRTC; left out: it is not served. */
  readonly webRtc?: WebRtc;
  /** As `hlsRoutes` takes it. */
  readonly wake?: HlsOptions['wake'];
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export type App = Hono<AppEnv>;

const bodyBytesMax = 64 * 1024;

/** The page comes as it was built: nothing inline, nothing from elsewhere. hls.js needs blobs. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "media-src 'self' blob:",
  "worker-src 'self' blob:",
  "manifest-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

const securityHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': contentSecurityPolicy,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

/**
 * Builds the application; its `fetch` goes to `createHttpServer`.
 *
 * @example
 * const app = createApp({ gatewayId, version, startMs, clock, log, video, sources, tokens, … });
 * const server = await createHttpServer({ host, port, fetch: app.fetch, clock, logger, metrics });
 */
export function createApp(options: AppOptions): App {
  const { clock, logger, sources } = options;
  const access = {
    tokens: options.tokens,
    attempts: new Attempts(clock),
    // Cookies know no ports: two gateways on one machine must not take each other's.
    cookieName: `headgate_${options.gatewayId.replace(/[^a-zA-Z0-9]/g, '').slice(0, 12)}`,
  };
  const app: App = new Hono<AppEnv>();

  app.onError((error, c) => answerError(error, c, logger));
  app.notFound((c) => errorResponse(new HttpError('not-found', `There is no ${c.req.path} here.`)));
  app.use(counted(clock, options.metrics));
  // Before what looks at hosts, origins and bodies: a signed request has its own rules and limits.
  if (options.kinesis !== undefined) app.route('/', options.kinesis);
  if (options.kinesisVideo !== undefined) app.route('/', options.kinesisVideo);
  app.use(secured);
  if (options.webRtc !== undefined) {
    for (const path of ['/whip/*', '/whep/*']) app.use(path, crossOrigin);
  }
  app.use(sameSite(options.hostNames, isWebRtcPath));
  const limit = bodyLimit({
    maxSize: bodyBytesMax,
    onError: () => {
      throw new HttpError('too-large', `The body exceeds ${bodyBytesMax} bytes.`);
    },
  });
  // Records may be larger, once it is known who sends them.
  app.use((c, next) => (isPut(c.req) ? next() : limit(c, next)));

  app.get('/healthz', async (c) =>
    (await sources.live()) ? c.text('ok\n') : c.text('failing\n', 503),
  );
  app.get('/readyz', async (c) => {
    const { status } = await sources.health();
    return c.text(`${status}\n`, status === 'failing' ? 503 : 200);
  });

  app.route('/', loginRoutes(access));
  for (const path of ['/api/*', '/hls/*', '/dash/*', '/metrics'])
    app.use(path, authenticated(access));
  app.use('/api/v1/*', limitPuts());
  app.route('/api/v1', restRoutes(options));
  app.route('/hls', hlsRoutes(options));
  app.route('/dash', dashRoutes(options));
  if (options.webRtc !== undefined) app.route('/', webRtcRoutes(options.webRtc, access));
  app.get('/metrics', async (c) =>
    c.body(await sources.renderMetrics(), 200, {
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
    }),
  );
  app.get('*', (c) => answerPage(c, options.page));
  return app;
}

function answerPage(c: Context<AppEnv>, page: Page | null): Response {
  if (page === null && c.req.path === '/') {
    return c.text(
      'The page was not built. Run `npm start` once, which builds it, or ask the API under /api/v1.\n',
      503,
    );
  }
  const answer = page === null ? null : servePage(page, c.req.path, c.req.raw.headers);
  if (answer === null) throw new HttpError('not-found', `There is no ${c.req.path} here.`);
  return answer;
}

const secured: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next();
  for (const [name, value] of Object.entries(securityHeaders)) c.header(name, value);
  // What needed a login is nobody else's to keep.
  if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store');
};

function counted(clock: Clock, metrics: Metrics): MiddlewareHandler<AppEnv> {
  const requests = metrics.counter('headgate_http_requests_total', 'HTTP requests, by status.');
  const seconds = metrics.histogram(
    'headgate_http_request_duration_seconds',
    'Time to the head of the answer.',
    [0.005, 0.02, 0.1, 0.5, 2, 10],
  );
  return async (c, next) => {
    const sinceMs = clock.monotonicMs();
    await next();
    const isSigned = c.req.path === '/' && c.req.method === 'POST';
    const area = isSigned
      ? awsArea(c.req.header('x-amz-target'))
      : isKinesisVideoPath(c.req.path)
        ? 'kinesis-video'
        : (/^\/(api|hls|dash|whip|whep|metrics|login)/.exec(c.req.path)?.[1] ?? 'page');
    requests.add(1, { area, status: String(c.res.status) });
    seconds.observe((clock.monotonicMs() - sinceMs) / 1_000, { area });
  };
}

function awsArea(target: string | undefined): string {
  if (target?.startsWith('DynamoDB_') === true) return 'dynamodb';
  return target?.startsWith('Firehose_') === true ? 'firehose' : 'kinesis';
}

/** Bodies that can't be read are refused before any route sees them. */
function ofFramework(thrown: HTTPException): HttpError {
  const cause = { cause: thrown };
  if (thrown.status === 415) {
    const message = `The body is of another type: ${jsonWanted}.`;
    return new HttpError('unsupported-media-type', message, cause);
  }
  const isJson = thrown.message.startsWith('Malformed JSON');
  const message = isJson ? `The body is empty, or no JSON: ${jsonWanted}.` : thrown.message;
  return new HttpError('bad-request', message, cause);
}

function answerError(thrown: unknown, c: Context<AppEnv>, logger: Logger): Response {
  const error = thrown instanceof HTTPException ? ofFramework(thrown) : toHttpError(thrown);
  if (error.ours) {
    const { method, path } = c.req;
    logger.error({ error: error.cause ?? error, method, path }, 'An HTTP request failed');
  }
  return errorResponse(error);
}
