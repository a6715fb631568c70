import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { test } from 'node:test';
import { ErrorSchema } from '../../../gateway/api/rest/error-schemas.ts';
import { loadPage } from '../../../gateway/http/page.ts';
import { StorageError } from '../../../storage/errors.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { startGateway, type TestGateway } from './gateway.ts';

const base = 'http://localhost';

async function codeOf(response: Response): Promise<string> {
  return ErrorSchema.parse(await response.json()).error.code;
}

function ask(
  { app }: TestGateway,
  path: string,
  headers: Record<string, string> = {},
  init: RequestInit = {},
): Promise<Response> {
  return Promise.resolve(app.request(`${base}${path}`, { ...init, headers }));
}

function postToken(gateway: TestGateway, token: unknown, headers = {}): Promise<Response> {
  return ask(
    gateway,
    '/api/v1/login',
    { 'content-type': 'application/json', origin: base, ...headers },
    { method: 'POST', body: JSON.stringify({ token }) },
  );
}

/** The cookie of a login, as a browser would send it back. */
function cookieOf(response: Response): string {
  const [cookie = ''] = (response.headers.get('set-cookie') ?? '').split(';');
  return cookie;
}

const guarded = ['/api/v1/status', '/api/v1/openapi.json', '/hls/gate/live.m3u8', '/metrics'];

test('nothing but the probes, the login and the page answers without a credential', async (context) => {
  const gateway = await startGateway(context);
  for (const path of [...guarded, '/api/v1/nothing', '/api', '/hls/x/y']) {
    const response = await ask(gateway, path);
    assert.equal(response.status, 401, path);
    assert.equal(await codeOf(response), 'unauthorized');
    assert.match(response.headers.get('www-authenticate') ?? '', /^Bearer/);
  }
  for (const path of ['/healthz', '/readyz']) {
    assert.equal((await ask(gateway, path)).status, 200, path);
  }
});

test('a token opens everything, a wrong or revoked one nothing', async (context) => {
  const gateway = await startGateway(context);
  for (const path of guarded.filter((guard) => !guard.startsWith('/hls'))) {
    assert.equal((await gateway.get(path)).status, 200, path);
  }
  for (const authorization of ['', 'Bearer', 'Bearer x', `Basic ${gateway.token}`, gateway.token]) {
    assert.equal((await ask(gateway, '/api/v1/status', { authorization })).status, 401);
  }
  await gateway.tokens.revokeAll();
  assert.equal((await gateway.get('/api/v1/status')).status, 401);
});

test('the login link works once, sets a cookie and leads to the page', async (context) => {
  const gateway = await startGateway(context);
  const link = `/login?token=${await gateway.tokens.createLoginCode()}`;
  const look = await gateway.app.request(link, { method: 'HEAD' });
  assert.equal(look.headers.get('set-cookie'), null, 'a look at the link does not spend it');
  const first = await ask(gateway, link);
  assert.equal(first.status, 303);
  assert.equal(first.headers.get('location'), '/');
  const setCookie = first.headers.get('set-cookie') ?? '';
  for (const part of ['HttpOnly', 'SameSite=Strict', 'Path=/', 'Max-Age=604800']) {
    assert.ok(setCookie.includes(part), `${part} in ${setCookie}`);
  }
  const cookie = cookieOf(first);
  assert.equal((await ask(gateway, '/api/v1/status', { cookie })).status, 200);

  const again = await ask(gateway, link);
  assert.equal(again.status, 401);
  assert.match(await again.text(), /used already/);
  assert.equal((await ask(gateway, link, { cookie })).status, 303, 'a second click does no harm');
});

test('a long-lived token is not taken from a URL', async (context) => {
  const gateway = await startGateway(context);
  assert.equal((await ask(gateway, `/login?token=${gateway.token}`)).status, 401);
  assert.equal((await ask(gateway, `/api/v1/status?token=${gateway.token}`)).status, 401);
});

test('the form of the page logs in with a token, and out', async (context) => {
  const gateway = await startGateway(context);
  assert.equal((await postToken(gateway, 'hg_wrong')).status, 401);
  assert.equal((await postToken(gateway, 5)).status, 400);
  const login = await postToken(gateway, gateway.token);
  assert.equal(login.status, 204);
  const cookie = cookieOf(login);
  assert.equal((await ask(gateway, '/api/v1/status', { cookie })).status, 200);
  const headers = { cookie, origin: base };
  const out = await ask(gateway, '/api/v1/logout', headers, { method: 'POST' });
  assert.equal(out.status, 204);
  assert.equal((await ask(gateway, '/api/v1/status', { cookie })).status, 401);
});

test('a session ends after seven days', async (context) => {
  const gateway = await startGateway(context);
  const cookie = cookieOf(await postToken(gateway, gateway.token));
  gateway.clock.advance(7 * 24 * 3_600_000 - 1);
  assert.equal((await ask(gateway, '/api/v1/status', { cookie })).status, 200);
  gateway.clock.advance(1);
  assert.equal((await ask(gateway, '/api/v1/status', { cookie })).status, 401);
});

test('ten wrong tokens in a minute, and the address must wait; who is known goes on', async (context) => {
  const gateway = await startGateway(context);
  const cookie = cookieOf(await postToken(gateway, gateway.token));
  for (let i = 0; i < 5; i++) {
    assert.equal((await postToken(gateway, `hg_${i}`)).status, 401);
    const authorization = `Bearer hg_${i}`;
    assert.equal((await ask(gateway, '/metrics', { authorization })).status, 401);
  }
  const refused = await ask(gateway, '/metrics', { authorization: 'Bearer hg_once_more' });
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get('retry-after'), '60');
  assert.equal((await postToken(gateway, gateway.token)).status, 429);
  assert.equal((await ask(gateway, '/login?token=once_x')).status, 429);
  assert.equal((await ask(gateway, '/api/v1/status', { cookie })).status, 200);
  assert.equal((await gateway.get('/api/v1/status')).status, 200, 'a right token');
  gateway.clock.advance(60_000);
  assert.equal((await postToken(gateway, gateway.token)).status, 204);
});

test('only names that are ours are answered: DNS rebinding gets nothing', async (context) => {
  const { app, token } = await startGateway(context);
  const headers = { authorization: `Bearer ${token}` };
  const status = async (host: string): Promise<number> =>
    (await app.request(`http://${host}/api/v1/status`, { headers })).status;
  for (const host of [
    'localhost:8080',
    '127.0.0.1',
    '[::1]:8080',
    '192.168.7.4',
    'Gateway.example.net',
  ]) {
    assert.equal(await status(host), 200, host);
  }
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    'gateway.example.net.evil.example',
  ]) {
    assert.equal(await status(host), 421, host);
  }
});

test("another site's page can do nothing with a browser's cookie", async (context) => {
  const gateway = await startGateway(context);
  const cookie = cookieOf(await postToken(gateway, gateway.token));
  const foreign: Record<string, string>[] = [
    { origin: 'http://evil.example' },
    { origin: 'http://localhost:9999' },
    { origin: 'https://localhost:8443' },
    { origin: 'file://localhost' },
    { origin: 'null' },
    { origin: base, 'sec-fetch-site': 'cross-site' },
    { origin: base, 'sec-fetch-site': 'same-site' },
  ];
  const post = { method: 'POST' };
  for (const headers of foreign) {
    const said = JSON.stringify(headers);
    const all = { cookie, ...headers };
    assert.equal((await ask(gateway, '/api/v1/logout', all, post)).status, 403, said);
    assert.equal((await postToken(gateway, gateway.token, headers)).status, 403, said);
    const read = await ask(gateway, '/api/v1/status', all);
    assert.equal(read.status, headers['origin'] === base ? 200 : 403, said);
  }
  assert.equal(
    await codeOf(await ask(gateway, '/api/v1/streams', { cookie }, post)),
    'wrong-origin',
    'with a cookie, one must say where one comes from',
  );
  const proxied = { origin: 'https://localhost', 'x-forwarded-proto': 'https' };
  const login = await postToken(gateway, gateway.token, proxied);
  assert.equal(login.status, 204, 'a proxy that speaks TLS for us is not another site');
  assert.match(login.headers.get('set-cookie') ?? '', /; Secure/);
  const ours = await ask(gateway, '/api/v1/streams', { cookie, origin: base }, post);
  assert.equal(await codeOf(ours), 'not-found', 'ours gets as far as the route, which is none');
});

test('every answer says what a browser may do with it', async (context) => {
  const gateway = await startGateway(context);
  for (const response of [
    await gateway.get('/api/v1/status'),
    await ask(gateway, '/api/v1/status'),
    await gateway.get('/nothing'),
    await ask(gateway, '/healthz'),
  ]) {
    assert.match(response.headers.get('content-security-policy') ?? '', /default-src 'none'/);
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(response.headers.get('cache-control'), 'no-store');
  }
});

test('the probes: an uplink that is down is degraded, not unready', async (context) => {
  const gateway = await startGateway(context);
  const set = (status: 'ok' | 'degraded' | 'failing'): void => {
    const message = 'the bucket at 10.0.0.5 is away';
    gateway.sources.health = () =>
      Promise.resolve({ status, checks: [{ name: 'uplink', status, message }] });
  };
  set('degraded');
  const degraded = await ask(gateway, '/readyz');
  assert.deepEqual([degraded.status, await degraded.text()], [200, 'degraded\n']);
  set('failing');
  const failing = await ask(gateway, '/readyz');
  assert.deepEqual([failing.status, await failing.text()], [503, 'failing\n']);
  assert.equal((await ask(gateway, '/healthz')).status, 200);
  gateway.sources.live = () => Promise.resolve(false);
  assert.equal((await ask(gateway, '/healthz')).status, 503);
});

test('metrics are given as Prometheus reads them', async (context) => {
  const gateway = await startGateway(context);
  const response = await gateway.get('/metrics');
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  assert.equal(await response.text(), 'headgate_up 1\n');
});

test('bodies past the limit are refused, whether they say so or not', async (context) => {
  const gateway = await startGateway(context);
  const large = 'x'.repeat(100_000);
  assert.equal(await codeOf(await postToken(gateway, large)), 'too-large');
  const streamed = await gateway.app.request(`${base}/api/v1/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: base },
    body: new Blob([large]).stream(),
    duplex: 'half',
  });
  assert.equal(await codeOf(streamed), 'too-large');
});

test('an error that is ours is logged once and tells the client nothing of its cause', async (context) => {
  const gateway = await startGateway(context);
  gateway.sources.deliveries = () => Promise.reject(new Error('secret path /etc/headgate'));
  const response = await gateway.get('/api/v1/deliveries');
  assert.equal(response.status, 500);
  assert.ok(!(await response.text()).includes('/etc'));
  const errors = gateway.logger.lines.filter(({ level }) => level === 'error');
  assert.equal(errors.length, 1);
  assert.match(String(errors[0]?.fields['error']), /secret path/);

  gateway.sources.deliveries = () => Promise.reject(new StorageError('closed', 'closing'));
  assert.equal(await codeOf(await gateway.get('/api/v1/deliveries')), 'unavailable');
  gateway.sources.deliveries = () => Promise.reject(new StorageError('overloaded', 'busy'));
  const busy = await gateway.get('/api/v1/deliveries');
  assert.equal(busy.headers.get('retry-after'), '1');
  assert.equal(await codeOf(busy), 'busy');
});

test('the page: types, caching, compression, and nothing outside it', async (context) => {
  const folder = await temporaryFolder(context);
  await mkdir(join(folder, 'page', 'assets'), { recursive: true });
  await writeFile(join(folder, 'page', 'index.html'), '<!doctype html><title>Headgate</title>');
  await writeFile(join(folder, 'page', 'assets', 'app-1a2b.js'), 'export {};'.repeat(50));
  await writeFile(join(folder, 'page', 'assets', 'app-1a2b.js.map'), '{}');
  await writeFile(join(folder, 'secret.txt'), 'secret');
  const page = await loadPage(join(folder, 'page'));
  assert.ok(page !== null);
  const gateway = await startGateway(context, { page });

  const index = await ask(gateway, '/');
  assert.equal(index.headers.get('content-type'), 'text/html; charset=utf-8');
  assert.equal(index.headers.get('cache-control'), 'no-cache');
  const etag = index.headers.get('etag') ?? '';
  assert.equal((await ask(gateway, '/', { 'if-none-match': etag })).status, 304);

  const script = await ask(gateway, '/assets/app-1a2b.js', { 'accept-encoding': 'br, gzip' });
  assert.equal(script.headers.get('content-type'), 'text/javascript; charset=utf-8');
  assert.match(script.headers.get('cache-control') ?? '', /immutable/);
  assert.equal(script.headers.get('content-encoding'), 'gzip');
  const unzipped = gunzipSync(Buffer.from(await script.arrayBuffer())).toString();
  assert.equal(unzipped, 'export {};'.repeat(50));
  const plain = await ask(gateway, '/assets/app-1a2b.js', { 'accept-encoding': 'gzip;q=0' });
  assert.equal(plain.headers.get('content-encoding'), null);

  for (const path of [
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/assets/..%2f..%2fsecret.txt',
    '/x',
  ]) {
    assert.equal((await ask(gateway, path)).status, 404, path);
  }
  assert.equal((await ask(gateway, '/assets/app-1a2b.js.map')).status, 404);
});

test('a page that was not built is a sentence that helps', async (context) => {
  const folder = await temporaryFolder(context);
  assert.equal(await loadPage(join(folder, 'nowhere')), null);
  const gateway = await startGateway(context);
  const response = await ask(gateway, '/');
  assert.equal(response.status, 503);
  assert.match(await response.text(), /npm start/);
});
