import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import {
  createHttpServer,
  type HttpLimits,
  type HttpServer,
  type HttpServerOptions,
} from '../../../gateway/http/server.ts';
import { systemClock } from '../../../storage/clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';

interface Started {
  readonly server: HttpServer;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
}

async function start(
  context: TestContext,
  fetch: HttpServerOptions['fetch'],
  limits: HttpLimits = {},
): Promise<Started> {
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const server = await createHttpServer({
    host: '127.0.0.1',
    port: 0,
    fetch,
    limits: { drainMs: 1_000, ...limits },
    clock: systemClock,
    logger,
    metrics,
  });
  context.after(() => server.close());
  return { server, logger, metrics };
}

/** Sends bytes over a bare connection and returns all that comes back until it is closed. */
async function exchange(server: HttpServer, ...parts: (string | Buffer)[]): Promise<string> {
  const socket = connect(server.address.port, '127.0.0.1');
  const answer = received(socket);
  for (const part of parts) socket.write(part);
  return answer;
}

async function received(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on('error', () => undefined);
  socket.on('data', (part: Buffer) => parts.push(part));
  await closed(socket);
  return Buffer.concat(parts).toString('latin1');
}

async function getOverHttp2(
  server: HttpServer,
  path: string,
  body?: string,
): Promise<{ status: number; body: string }> {
  const session = connectHttp2(server.url);
  session.on('error', () => undefined);
  const stream = session.request({
    ':path': path,
    ':method': body === undefined ? 'GET' : 'POST',
  });
  let status = 0;
  let text = '';
  stream.on('response', (headers) => (status = headers[':status'] ?? 0));
  stream.on('data', (part: Buffer) => (text += part.toString()));
  stream.on('error', () => undefined);
  stream.end(body);
  await closed(stream);
  session.close();
  return { status, body: text };
}

/** Waits for the end, whatever the end is. */
function closed(emitter: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => emitter.once('close', resolve));
}

interface Deferred {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

function deferred(): Deferred {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

const echo = async (request: Request): Promise<Response> =>
  new Response(`${request.method} ${new URL(request.url).pathname} ${await request.text()}`);

test('HTTP/1.1 and HTTP/2 with prior knowledge are answered on one port', async (context) => {
  const { server } = await start(context, echo);
  const over1 = await fetch(`${server.url}/one`, { method: 'POST', body: 'body' });
  assert.equal(await over1.text(), 'POST /one body');
  assert.deepEqual(await getOverHttp2(server, '/two', 'body'), {
    status: 200,
    body: 'POST /two body',
  });
});

test('a request that arrives byte by byte is understood, in both protocols', async (context) => {
  const { server } = await start(context, echo);
  const socket = connect(server.address.port, '127.0.0.1');
  socket.setNoDelay(true);
  const answer = received(socket);
  for (const byte of 'PRIVET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n') {
    await new Promise<void>((resolve) => {
      socket.write(byte, () => {
        resolve();
      });
    });
  }
  // No such method, but it was HTTP/1.1 that refused it, though it began like HTTP/2.
  assert.match(await answer, /^HTTP\/1\.1 400 /);

  const session = connectHttp2(server.url, {
    createConnection: () => {
      const slow = connect(server.address.port, '127.0.0.1');
      slow.setNoDelay(true);
      const write = slow._write.bind(slow);
      slow._write = (chunk: Buffer, encoding, done): void => {
        const step = (at: number): void => {
          if (at >= chunk.length) done();
          else write(chunk.subarray(at, at + 1), encoding, () => setImmediate(step, at + 1));
        };
        step(0);
      };
      Reflect.deleteProperty(slow, '_writev');
      return slow;
    },
  });
  const stream = session.request({ ':path': '/slow' });
  stream.resume();
  const [headers] = (await once(stream, 'response')) as [Record<string, number>];
  assert.equal(headers[':status'], 200);
  session.close();
});

test('keep-alive: several requests of one connection', async (context) => {
  const { server } = await start(context, echo);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  context.after(() => agent.destroy());
  const ports = new Set<number>();
  for (let i = 0; i < 3; i++) {
    const request = httpRequest(`${server.url}/${i}`, { agent }).end();
    const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
    ports.add(response.socket.localPort ?? 0);
    response.resume();
    await once(response, 'end');
  }
  assert.equal(ports.size, 1);
});

test('requests sent in a row are answered in a row, and a flood of them is cut', async (context) => {
  let underWay = 0;
  let underWayMax = 0;
  const { server } = await start(context, async (request) => {
    underWay += 1;
    underWayMax = Math.max(underWayMax, underWay);
    await new Promise((resolve) => setImmediate(resolve));
    underWay -= 1;
    return new Response(new URL(request.url).pathname);
  });
  const ask = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
  const answers = await exchange(
    server,
    ask('/one') + ask('/two') + ask('/three', 'Connection: close\r\n'),
  );
  assert.match(answers, /\/one.*\/two.*\/three$/s);
  assert.equal(underWayMax, 1, 'one at a time');

  const flooded = await exchange(server, ask('/flood').repeat(500));
  assert.ok(!flooded.includes('HTTP/1.1 500'), 'a flood is no failure of ours');
  assert.equal(underWay, 0, 'nothing is left under way');
  assert.match(await exchange(server, ask('/after', 'Connection: close\r\n')), /\/after$/);
});

test('rubbish on the port is refused and costs nobody else anything', async (context) => {
  const { server, metrics } = await start(context, echo);
  const rubbish = [
    Buffer.alloc(4096, 0xff),
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), // a TLS greeting
    'GET / HTTP/9.9\r\n\r\n',
    'GET / HTTP/1.1\r\nContent-Length: -5\r\nHost: a\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ];
  for (const bytes of rubbish) assert.match(await exchange(server, bytes), /^HTTP\/1\.1 400 /);
  // The preface of HTTP/2, and then what is no frame of it.
  await exchange(server, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', Buffer.alloc(4096, 0xff));
  const half = connect(server.address.port, '127.0.0.1');
  half.end('PRI * HT');
  await received(half);
  assert.equal(metrics.values.get('headgate_http_malformed_total{protocol="http/1.1"}'), 5);
  assert.equal((await fetch(`${server.url}/after`)).status, 200);
});

test('headers past the limit are answered 431, in HTTP/2 too', async (context) => {
  const { server } = await start(context, echo, { maxHeaderBytes: 4_096 });
  const large = `X-Large: ${'x'.repeat(8_000)}`;
  const answer = await exchange(server, `GET / HTTP/1.1\r\nHost: localhost\r\n${large}\r\n\r\n`);
  assert.match(answer, /^HTTP\/1\.1 431 /);

  for (const [bytes, expected] of [
    [8_000, '431'],
    [100_000, 'refused'],
  ] as const) {
    const session = connectHttp2(server.url);
    session.on('error', () => undefined);
    const stream = session.request({ ':path': '/', 'x-large': 'x'.repeat(bytes) });
    let outcome = 'refused';
    stream.on('error', () => undefined);
    stream.on('response', (headers) => (outcome = String(headers[':status'])));
    stream.resume();
    await closed(stream);
    session.destroy();
    assert.equal(outcome, expected);
  }
  assert.equal((await fetch(`${server.url}/after`)).status, 200);
});

test('slow-loris: headers that do not end and silence are both cut', async (context) => {
  const { server } = await start(context, echo, { headersTimeoutMs: 100 });
  const dripping = exchange(server, 'GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n');
  const silent = exchange(server);
  const prefaceOnly = exchange(server, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  assert.match(await dripping, /^HTTP\/1\.1 408 /);
  assert.equal(await silent, '');
  await prefaceOnly;
});

test('a body that never ends is cut, in both protocols', async (context) => {
  const { server } = await start(context, echo, { requestTimeoutMs: 150, headersTimeoutMs: 100 });
  const over1 = await exchange(
    server,
    'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nbegun',
  );
  assert.match(over1, /^HTTP\/1\.1 408 /);

  const session = connectHttp2(server.url);
  const stream = session.request({ ':path': '/', ':method': 'POST' });
  stream.on('error', () => undefined);
  stream.write('begun');
  await closed(stream);
  assert.notEqual(stream.rstCode, constants.NGHTTP2_NO_ERROR);
  session.destroy();
});

test('connections past the limit are closed at once and said so', async (context) => {
  const { server, logger, metrics } = await start(context, echo, { maxConnections: 2 });
  const held = [0, 1].map(() => connect(server.address.port, '127.0.0.1'));
  await Promise.all(held.map((socket) => once(socket, 'connect')));
  assert.equal(await exchange(server, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'), '');
  assert.equal(metrics.values.get('headgate_http_connections_refused_total'), 1);
  assert.deepEqual(
    logger.lines.map((line) => line.message),
    ['Too many HTTP connections: more are refused'],
  );
  await Promise.all(
    held.map((socket) => {
      const gone = closed(socket);
      socket.end();
      return gone;
    }),
  );
});

test('a peer of HTTP/2 that has gone is not waited for', { timeout: 120_000 }, async (context) => {
  const [headersTimeoutMs, requestTimeoutMs, idleTimeoutMs] = [600_000, 600_000, 600_000];
  const limits = { headersTimeoutMs, requestTimeoutMs, idleTimeoutMs };
  const { server } = await start(context, echo, limits);
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const settings = Buffer.from('000000040000000000', 'hex');
  const socket = connect(server.address.port, '127.0.0.1');
  const answer = received(socket);
  socket.end(Buffer.concat([preface, settings]));
  assert.notEqual(await answer, '', 'the server says its settings, and closes');
});

test('an impossible Host is a bad request', async (context) => {
  const { server } = await start(context, echo);
  const answer = await exchange(
    server,
    'GET / HTTP/1.1\r\nHost: a b/c\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer, /^HTTP\/1\.1 400 .*"code":"bad-request"/s);
});

test('of two Hosts none is believed', async (context) => {
  const { server } = await start(context, echo);
  for (const second of ['localhost', 'elsewhere.example.org']) {
    const answer = await exchange(
      server,
      `GET / HTTP/1.1\r\nHost: localhost\r\nhost: ${second}\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 400 .*"code":"bad-request"/s);
  }
});

test('closing lets what is under way finish and takes no more', async (context) => {
  const entered = deferred();
  const leave = deferred();
  let inside = 0;
  const { server } = await start(context, async () => {
    if (++inside === 2) entered.resolve();
    await leave.promise;
    return new Response('finished');
  });
  const over1 = fetch(`${server.url}/`);
  const over2 = getOverHttp2(server, '/');
  await entered.promise;
  const idle = connect(server.address.port, '127.0.0.1');
  idle.on('error', () => undefined);
  await once(idle, 'connect');
  const { port } = server.address;
  const closing = server.close();
  assert.equal(server.close(), closing, 'closing twice is one closing');
  leave.resolve();
  assert.equal(await (await over1).text(), 'finished');
  assert.equal((await over2).body, 'finished');
  await closing;
  await assert.rejects(fetch(`http://127.0.0.1:${port}/`));
});

test('closing is bounded: what does not finish is cut', async (context) => {
  const entered = deferred();
  const { server } = await start(
    context,
    () => {
      entered.resolve();
      return new Promise<Response>(() => undefined);
    },
    { drainMs: 50 },
  );
  const stuck = fetch(`${server.url}/`);
  await entered.promise;
  await server.close();
  await assert.rejects(stuck);
});

test('a port that is taken is an error that says so', async (context) => {
  const { server } = await start(context, echo);
  const second = createHttpServer({
    host: '127.0.0.1',
    port: server.address.port,
    fetch: echo,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
  });
  await assert.rejects(second, { code: 'EADDRINUSE' });
});
