/** TLS and plaintext on one port, as real clients meet it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { request } from 'node:https';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { connect as connectTls } from 'node:tls';
import { test, type TestContext } from 'node:test';
import { createHttpServer, type HttpLimits } from '../../../gateway/http/server.ts';
import { isLocalPeer } from '../../../gateway/http/tls.ts';
import { ownCertificate, ownNames } from '../../../gateway/security/certificates.ts';
import { systemClock } from '../../../storage/clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { needs } from '../../support/tools.ts';

/** An address of this machine that is not loopback, or undefined. */
const outside = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

async function start(t: TestContext, limits: HttpLimits = {}) {
  const folder = await temporaryFolder(t);
  const pair = await ownCertificate({ folder, names: ownNames(), nowMs: Date.now() });
  const metrics = new MemoryMetrics();
  const server = await createHttpServer({
    host: '0.0.0.0',
    port: 0,
    tls: pair,
    plaintextFor: 'loopback',
    fetch: async (asked) => new Response(`${new URL(asked.url).protocol} ${await asked.text()}`),
    limits: { drainMs: 1000, ...limits },
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics,
  });
  t.after(() => server.close());
  const caFile = pair.caFile ?? '';
  return { server, metrics, caFile, ca: readFileSync(caFile, 'utf8'), port: server.address.port };
}

/** What a client with the authority's certificate gets. */
async function get(port: number, ca: string, body = ''): Promise<string> {
  const asked = request({ host: '127.0.0.1', port, ca, method: 'POST', agent: false });
  asked.end(body);
  const [answer] = (await once(asked, 'response')) as [AsyncIterable<Buffer>];
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part);
  return Buffer.concat(parts).toString();
}

test('one port answers HTTP/1.1 and HTTP/2, with TLS and without', async (t) => {
  const { server, port, ca } = await start(t);
  assert.equal(await get(port, ca, 'x'.repeat(200_000)), `https: ${'x'.repeat(200_000)}`);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'http: ');
  for (const scheme of ['https', 'http']) {
    const session = connectHttp2(`${scheme}://127.0.0.1:${port}`, { ca });
    const stream = session.request({ ':path': '/' });
    let text = '';
    stream.setEncoding('utf8').on('data', (part: string) => (text += part));
    await once(stream, 'end');
    assert.equal(text, `${scheme}: `);
    session.close();
  }
  await assert.rejects(get(port, ''), /self-signed|unable to verify/, 'an unknown authority');
  await server.close();
});

test('plaintext from elsewhere is sent over to TLS, and nothing is served in it', async (t) => {
  if (outside === undefined) {
    t.skip('this machine has no address but loopback');
    return;
  }
  const { port, ca } = await start(t);
  const url = `http://${outside}:${port}/login?token=once_1`;
  const moved = await fetch(url, { redirect: 'manual' });
  assert.equal(moved.status, 307);
  assert.equal(moved.headers.get('location'), url.replace('http:', 'https:'));
  const posted = await fetch(`http://${outside}:${port}/api/v1/login`, {
    method: 'POST',
    body: '{}',
  });
  assert.equal(posted.status, 400);
  assert.match(await posted.text(), /use https/);
  const session = connectHttp2(`http://${outside}:${port}`);
  const refused = once(session, 'error');
  session.request({ ':path': '/' }).on('error', () => undefined);
  assert.match(String(await refused), /Protocol error/, 'no HTTP/2 either');
  const asked = request({ host: outside, port, ca, agent: false }).end();
  const [answer] = (await once(asked, 'response')) as [{ statusCode: number; resume(): void }];
  answer.resume();
  assert.equal(answer.statusCode, 200, 'the certificate has the address');
});

test('curl and openssl agree', async (t) => {
  if (!needs(t, 'curl', 'openssl')) return;
  const { port, caFile } = await start(t);
  const output = (program: string, args: readonly string[]): Promise<string> =>
    new Promise((resolve) => {
      const child = execFile(program, args, (_error, stdout, stderr) => resolve(stdout + stderr));
      child.stdin?.end();
    });
  for (const version of ['--http1.1', '--http2']) {
    const args = ['-s', version, '--cacert', caFile, '-d', 'hello', `https://localhost:${port}/`];
    assert.equal(await output('curl', args), 'https: hello', version);
  }
  const args = [
    's_client',
    '-connect',
    `127.0.0.1:${port}`,
    '-CAfile',
    caFile,
    '-verify_return_error',
  ];
  const said = await output('openssl', [...args, '-verify_ip', '127.0.0.1', '-alpn', 'h2']);
  assert.match(said, /Verify return code: 0 \(ok\)/);
  assert.match(said, /ALPN protocol: h2/);
});

test('rubbish, silence and half a handshake cost a connection each, and nobody else notices', async (t) => {
  const { server, port, ca, metrics } = await start(t, { headersTimeoutMs: 300 });
  const hello = Buffer.from('160301020001000001fc0303', 'hex');
  const gone = [Buffer.alloc(600, 0x16), hello, Buffer.from([0x16])].map(async (bytes) => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write(bytes);
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
  });
  // A handshake, and then nothing.
  const silent = connectTls({ port, host: '127.0.0.1', ca }).on('error', () => undefined);
  silent.resume();
  const closed = new Promise((resolve) => silent.once('close', resolve));
  assert.equal(await get(port, ca), 'https: ');
  await Promise.all([...gone, closed]);
  assert.ok(
    (metrics.values.get('headgate_http_malformed_total{protocol="tls"}') ?? 0) >= 2,
    'counted',
  );
  const open = connectTls({ port, host: '127.0.0.1', ca }).on('error', () => undefined);
  await once(open, 'secureConnect');
  await server.close();
  open.destroy();
});

test('who is on this machine', () => {
  for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) {
    assert.ok(isLocalPeer(address), address);
  }
  for (const address of ['192.0.2.1', '::ffff:192.0.2.1', 'fe80::1', '0.0.0.0', '127.0.0.1.x']) {
    assert.ok(!isLocalPeer(address), address);
  }
  assert.equal(isLocalPeer(undefined), false);
});
