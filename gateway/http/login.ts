/**
 * Logging in and out of a browser's session.
 *
 * `GET /login?token=<code>` is the one-time link that the gateway prints; `POST /api/v1/login`
 * takes a token (or a code) from the page's form; `POST /api/v1/logout` ends the session.
 * The link's code is good once: opened again in a browser that is logged in, it simply leads to
 * the page. A long-lived token is not taken from a URL, because URLs are remembered.
 */
import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { remoteAddress, type AppEnv, type AuthenticationOptions } from './authentication.ts';
import { HttpError } from './errors.ts';

const bodyBytesMax = 4_096;

/** The routes; they are mounted before authentication. */
export function loginRoutes(options: AuthenticationOptions): Hono<AppEnv> {
  const { tokens, attempts, cookieName } = options;
  const app = new Hono<AppEnv>();

  app.get('/login', async (c) => {
    const code = c.req.query('token');
    // A HEAD is a program's look at the link, a mail scanner's for instance: it must not spend it.
    if (code === undefined || c.req.method === 'HEAD') return c.redirect('/', 303);
    const address = remoteAddress(c.env);
    attempts.check(address);
    if (await tokens.redeemLoginCode(code)) {
      await begin(c, options);
      return c.redirect('/', 303);
    }
    const session = getCookie(c, cookieName);
    if (session !== undefined && (await tokens.checkSession(session))) return c.redirect('/', 303);
    attempts.failed(address);
    return c.html(spentLink, 401, { 'cache-control': 'no-store' });
  });

  app.post(
    '/api/v1/login',
    bodyLimit({
      maxSize: bodyBytesMax,
      onError: () => {
        throw new HttpError('too-large', `The body exceeds ${bodyBytesMax} bytes.`);
      },
    }),
    async (c) => {
      const address = remoteAddress(c.env);
      attempts.check(address);
      const body: unknown = await c.req.json().catch(() => null);
      const token = tokenOf(body);
      if (token === null) {
        throw new HttpError('bad-request', 'The body must be JSON such as {"token": "hg_…"}.');
      }
      if ((await tokens.checkToken(token)) || (await tokens.redeemLoginCode(token))) {
        await begin(c, options);
        return c.body(null, 204);
      }
      attempts.failed(address);
      throw new HttpError('unauthorized', 'This token is wrong or was revoked.');
    },
  );

  app.post('/api/v1/logout', async (c) => {
    const session = getCookie(c, cookieName);
    if (session !== undefined) await tokens.endSession(session);
    deleteCookie(c, cookieName, { path: '/' });
    return c.body(null, 204);
  });

  return app;
}

async function begin(c: Context<AppEnv>, options: AuthenticationOptions): Promise<void> {
  const { secret, lifeMs } = await options.tokens.createSession();
  // Who lies about the proxy harms only a cookie of their own.
  const overTls =
    new URL(c.req.url).protocol === 'https:' || c.req.header('x-forwarded-proto') === 'https';
  setCookie(c, options.cookieName, secret, {
    path: '/',
    httpOnly: true,
    sameSite: 'Strict',
    secure: overTls,
    maxAge: Math.floor(lifeMs / 1_000),
  });
}

function tokenOf(body: unknown): string | null {
  if (typeof body !== 'object' || body === null || !('token' in body)) return null;
  return typeof body.token === 'string' && body.token !== '' ? body.token : null;
}

const spentLink = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Headgate</title>
<h1>This login link opens nothing any more</h1>
<p>It has been used already, or is older than 15 minutes, or was mistyped.</p>
<p><a href="/">Log in with a token</a> instead, or restart the gateway, or run
<code>headgate token</code> on the box.</p>
</html>
`;
