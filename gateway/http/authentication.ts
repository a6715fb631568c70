/**
 * Who may ask: everything but the health probes, the way to log in and the page's own program
 * (which holds no data) needs a token (`Authorization: Bearer …`) or a session cookie.
 * `/metrics` too: Prometheus can send a bearer
 * token, and "from this machine" is no proof behind a reverse proxy.
 *
 * Besides the credential:
 * - The Host must be one of ours (a literal address, localhost, or a name from the
 *   configuration): a page elsewhere whose DNS name was rebound to this box gets nothing.
 * - A request whose Origin is another site's is refused, so that no page elsewhere acts with a
 *   browser's cookie; the cookie is SameSite=Strict too. With a cookie, a request that changes
 *   something must say where it comes from.
 * - Wrong credentials are counted per address (per /64 for IPv6): after 10 in a minute, further
 *   ones are told to wait. Right ones are let through all the while, so
 *   that a device with an old token behind the same address locks nobody out; tokens are too long
 *   to be guessed, whatever the number of attempts.
 *
 * The secrets themselves are security/tokens.ts's. The AWS APIs sign their requests instead.
 */
import type { MiddlewareHandler } from 'hono';
import { getCookie } from 'hono/cookie';
import { isIP } from 'node:net';
import type { Clock } from '../../storage/ports.ts';
import type { Tokens } from '../security/tokens.ts';
import { HttpError } from './errors.ts';
import type { Bindings } from './server.ts';

export interface AppEnv {
  Bindings: Partial<Bindings>;
}

const attemptsMax = 10;
const attemptsWindowMs = 60_000;
const addressesMax = 1_024;

/** Counts wrong credentials per address, for 1,024 addresses at most (the oldest give way). */
export class Attempts {
  readonly #clock: Clock;
  readonly #failures = new Map<string, { count: number; sinceMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws HttpError `too-many-attempts` */
  check(address: string): void {
    const key = groupOf(address);
    const failures = this.#failures.get(key);
    if (failures === undefined) return;
    const leftMs = failures.sinceMs + attemptsWindowMs - this.#clock.monotonicMs();
    if (leftMs <= 0) {
      this.#failures.delete(key);
      return;
    }
    if (failures.count < attemptsMax) return;
    throw new HttpError(
      'too-many-attempts',
      'Too many wrong tokens came from your address: wait a minute.',
      { retryAfterSeconds: Math.ceil(leftMs / 1_000) },
    );
  }

  failed(address: string): void {
    const key = groupOf(address);
    const failures = this.#failures.get(key);
    if (failures !== undefined) {
      failures.count += 1;
      return;
    }
    const oldest = this.#failures.keys().next();
    if (this.#failures.size >= addressesMax && oldest.done !== true) {
      this.#failures.delete(oldest.value);
    }
    this.#failures.set(key, { count: 1, sinceMs: this.#clock.monotonicMs() });
  }
}

/** Calls back once the answer is sent or its client gone; at once where there is no socket. */
export function whenAnswered(env: Partial<Bindings> | undefined, callback: () => void): void {
  if (env?.outgoing === undefined) callback();
  else (env.outgoing as NodeJS.EventEmitter).once('close', callback);
}

/** The address that asks, `unknown` where there is no socket. */
export function remoteAddress(env: Partial<Bindings> | undefined): string {
  return env?.incoming?.socket.remoteAddress ?? 'unknown';
}

/** An IPv4 address; of IPv6 the first 64 bits, which is what one household or machine holds. */
function groupOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('::');
  const groups = head.split(':');
  if (tail !== undefined) {
    const rest = tail === '' ? 0 : tail.split(':').length;
    while (groups.length + rest < 8) groups.push('0');
  }
  return groups.slice(0, 4).join(':');
}

/**
 * Refuses what was not addressed to us, and what another site's page sent.
 * @param isOpenToPages paths that pages of other sites may ask with a token
 */
export function sameSite(
  hostnames: readonly string[],
  isOpenToPages: (path: string) => boolean = () => false,
): MiddlewareHandler<AppEnv> {
  const ours = new Set(['localhost', ...hostnames.map((name) => name.toLowerCase())]);
  return async (c, next) => {
    if (!URL.canParse(c.req.url)) {
      throw new HttpError('bad-request', 'The host that the request names is no host.');
    }
    const url = new URL(c.req.url);
    const bare = url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(bare) === 0 && !ours.has(bare)) {
      throw new HttpError(
        'wrong-host',
        `This gateway does not answer to the name ${bare}: add it to http.hostnames.`,
      );
    }
    const origin = c.req.header('origin');
    if (origin !== undefined && hostOf(origin) !== url.host && !hasBearer(c.req.header())) {
      throw new HttpError('wrong-origin', 'The request comes from a page of another site.');
    }
    const site = c.req.header('sec-fetch-site');
    const unsafe = !['GET', 'HEAD', 'OPTIONS'].includes(c.req.method);
    // The page has shown a token, which no browser sends by itself.
    const isAllowed = isOpenToPages(c.req.path) && hasBearer(c.req.header());
    if (unsafe && !isAllowed && (site === 'cross-site' || site === 'same-site')) {
      throw new HttpError('wrong-origin', 'The request comes from a page of another site.');
    }
    await next();
  };
}

/** Of an Origin. Its scheme does not count: a proxy before us may speak TLS with the browser. */
function hostOf(origin: string): string | null {
  return /^https?:\/\//.test(origin) && URL.canParse(origin) ? new URL(origin).host : null;
}

function hasBearer(headers: Record<string, string>): boolean {
  return headers['authorization'] !== undefined;
}

export interface AuthenticationOptions {
  readonly tokens: Tokens;
  readonly attempts: Attempts;
  readonly cookieName: string;
}

/** Lets through who has a token or a session; everyone else gets `unauthorized`. */
export function authenticated(options: AuthenticationOptions): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const authorization = c.req.header('authorization');
    if (authorization !== undefined) {
      await checkBearer(options, authorization, remoteAddress(c.env));
      await next();
      return;
    }
    const session = getCookie(c, options.cookieName);
    if (session === undefined || !(await options.tokens.checkSession(session))) {
      throw new HttpError(
        'unauthorized',
        'Log in with the link that the gateway prints when it starts, or send a token.',
      );
    }
    const unsafe = !['GET', 'HEAD', 'OPTIONS'].includes(c.req.method);
    if (unsafe && c.req.header('origin') === undefined) {
      throw new HttpError('wrong-origin', 'With a cookie, the request must carry its Origin.');
    }
    await next();
  };
}

/** @throws HttpError `unauthorized`, `too-many-attempts` */
async function checkBearer(
  { tokens, attempts }: AuthenticationOptions,
  authorization: string,
  address: string,
): Promise<void> {
  const token = /^Bearer +([\w.~+/-]{1,256})$/i.exec(authorization)?.[1];
  if (token !== undefined && (await tokens.checkToken(token))) return;
  attempts.check(address);
  attempts.failed(address);
  throw new HttpError('unauthorized', 'The token is wrong or was revoked.');
}
