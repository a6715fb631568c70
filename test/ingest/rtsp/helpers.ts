/** A server with two cameras, and a client that says exactly what a test wants said. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { RtspServer, type RtspServerOptions } from '../../../ingest/rtsp/server.ts';
import { systemClock } from '../../../storage/clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';

export const reader = { username: 'viewer', password: 'watch me' };
export const publishers = new Map([
  ['gate', { username: 'gate-camera', password: 'gate-secret' }],
  ['yard', { username: 'yard-camera', password: 'yard-secret' }],
]);

export interface TestServer {
  readonly server: RtspServer;
  readonly port: number;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
}

/** Cameras `gate` and `yard` may push, `pulled` may not; `viewer` may read all three. */
export async function startServer(
  context: TestContext,
  options: Partial<RtspServerOptions> = {},
): Promise<TestServer> {
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const server = new RtspServer({
    host: '127.0.0.1',
    port: 0,
    path: (camera) => {
      const publisher = publishers.get(camera) ?? null;
      return publisher || camera === 'pulled' ? { publisher, readers: [reader] } : undefined;
    },
    clock: systemClock,
    logger,
    metrics,
    ...options,
  });
  await server.listen();
  context.after(() => server.close());
  return { server, port: server.address.port, logger, metrics };
}

export interface Reply {
  readonly status: number;
  readonly reason: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** What has come is either replies or frames; both are kept in order, apart. */
export class RawClient {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  readonly #port: number;
  readonly #frames: Buffer[] = [];
  readonly #replies: Reply[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #cseq = 0;
  #session: string | null = null;
  #wake: () => void = () => undefined;

  constructor(context: TestContext, port: number) {
    this.#port = port;
    this.socket = connect({ host: '127.0.0.1', port });
    this.socket.on('error', () => undefined);
    this.socket.on('data', (chunk: Buffer) => this.#read(chunk));
    this.socket.on('close', () => this.#wake());
    this.closed = once(this.socket, 'close').catch(() => undefined);
    context.after(() => this.socket.destroy());
  }

  url(path: string): string {
    return `rtsp://127.0.0.1:${this.#port}/${path}`;
  }

  raw(bytes: string | Buffer): void {
    this.socket.write(bytes);
  }

  /** Sends a request with Basic credentials, when given, and waits for its reply. */
  request(
    method: string,
    path: string,
    options: {
      headers?: Readonly<Record<string, string>>;
      body?: string;
      user?: { readonly username: string; readonly password: string } | undefined;
    } = {},
  ): Promise<Reply> {
    this.send(method, path, options);
    return this.reply();
  }

  send(
    method: string,
    path: string,
    options: {
      headers?: Readonly<Record<string, string>>;
      body?: string;
      user?: { readonly username: string; readonly password: string } | undefined;
    } = {},
  ): void {
    this.#cseq += 1;
    const headers: Record<string, string> = { CSeq: String(this.#cseq), ...options.headers };
    const { user, body = '' } = options;
    if (user !== undefined) {
      const basic = Buffer.from(`${user.username}:${user.password}`).toString('base64');
      headers.Authorization = `Basic ${basic}`;
    }
    if (this.#session !== null && !('Session' in headers)) headers.Session = this.#session;
    if (body !== '') headers['Content-Length'] = String(Buffer.byteLength(body));
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.raw(`${method} ${this.url(path)} RTSP/1.0\r\n${lines.join('')}\r\n${body}`);
  }

  async reply(): Promise<Reply> {
    const reply = await this.#next(this.#replies);
    const session = reply.headers.get('session');
    if (session !== undefined) this.#session = session.split(';')[0] ?? null;
    return reply;
  }

  /** The next frame, with its four header bytes. */
  frame(): Promise<Buffer> {
    return this.#next(this.#frames);
  }

  async #next<T>(from: T[]): Promise<T> {
    for (;;) {
      const first = from.shift();
      if (first !== undefined) return first;
      if (this.socket.destroyed) throw new Error('the connection is closed');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length > 0 && this.#readOne());
    this.#wake();
  }

  #readOne(): boolean {
    const rest = this.#rest;
    if (rest[0] === 0x24) {
      if (rest.length < 4 || rest.length < 4 + rest.readUInt16BE(2)) return false;
      const length = 4 + rest.readUInt16BE(2);
      this.#frames.push(rest.subarray(0, length));
      this.#rest = rest.subarray(length);
      return true;
    }
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) return false;
    const [line = '', ...lines] = rest.toString('latin1', 0, end).split('\r\n');
    const headers = new Map<string, string>();
    for (const header of lines) {
      const colon = header.indexOf(':');
      const name = header.slice(0, colon).toLowerCase();
      const before = headers.get(name);
      const value = header.slice(colon + 1).trim();
      headers.set(name, before === undefined ? value : `${before}, ${value}`);
    }
    const length = end + 4 + Number(headers.get('content-length') ?? 0);
    if (rest.length < length) return false;
    const [, status = '', reason = ''] = /^RTSP\/1\.0 (\d+) (.*)$/.exec(line) ?? [];
    const body = rest.toString('utf8', end + 4, length);
    this.#replies.push({ status: Number(status), reason, headers, body });
    this.#rest = rest.subarray(length);
    return true;
  }
}

export const sdp = [
  'v=0',
  'o=- 0 0 IN IP4 127.0.0.1',
  's=Test',
  't=0 0',
  'm=video 0 RTP/AVP 96',
  'a=rtpmap:96 H264/90000',
  'a=control:streamid=0',
  'm=audio 0 RTP/AVP 8',
  'a=control:streamid=1',
  '',
].join('\r\n');

export function frameOf(channel: number, payload: string | Buffer): Buffer {
  const bytes = Buffer.from(payload);
  const header = Buffer.from([0x24, channel, 0, 0]);
  header.writeUInt16BE(bytes.length, 2);
  return Buffer.concat([header, bytes]);
}

/** A camera that is past RECORD, video on channels 0-1 and, unless told otherwise, audio on 2-3. */
export async function publish(
  context: TestContext,
  port: number,
  camera = 'gate',
  tracks = [0, 1],
): Promise<RawClient> {
  const client = new RawClient(context, port);
  const user = publishers.get(camera);
  const replies = [await client.request('ANNOUNCE', camera, { user, body: sdp })];
  for (const track of tracks) {
    const Transport = `RTP/AVP/TCP;unicast;interleaved=${track * 2}-${track * 2 + 1};mode=record`;
    replies.push(
      await client.request('SETUP', `${camera}/streamid=${track}`, { headers: { Transport } }),
    );
  }
  replies.push(await client.request('RECORD', camera));
  expectOk(replies);
  return client;
}

/** A reader that is past SETUP: PLAY is left to the test. */
export async function prepareReader(
  context: TestContext,
  port: number,
  camera = 'gate',
  user: { readonly username: string; readonly password: string } = reader,
  channels = [0, 2],
): Promise<RawClient> {
  const client = new RawClient(context, port);
  const replies = [await client.request('DESCRIBE', camera, { user })];
  for (const [track, channel] of channels.entries()) {
    const Transport = `RTP/AVP/TCP;unicast;interleaved=${channel}-${channel + 1}`;
    replies.push(
      await client.request('SETUP', `${camera}/trackID=${track}`, { headers: { Transport } }),
    );
  }
  expectOk(replies);
  return client;
}

export async function play(
  context: TestContext,
  port: number,
  camera = 'gate',
  user: { readonly username: string; readonly password: string } = reader,
): Promise<RawClient> {
  const client = await prepareReader(context, port, camera, user);
  expectOk([await client.request('PLAY', camera)]);
  return client;
}

/** User and password of an address such as `recorderUrl` gives. */
export function credentialsOf(url: string): { username: string; password: string } {
  const { username, password } = new URL(url);
  return { username, password };
}

function expectOk(replies: readonly Reply[]): void {
  const wrong = replies.find((reply) => reply.status !== 200);
  if (wrong !== undefined) throw new Error(`expected 200: ${JSON.stringify(wrong)}`);
}
