/**
 * The listener: one port for HTTP/1.1 and for HTTP/2 in clear text with prior knowledge (h2c,
 * RFC 9113 section 3.3), because the AWS SDK for JavaScript speaks nothing else to a plaintext
 * endpoint while every other client speaks HTTP/1.1; and, given a certificate, for both over TLS
 * (tls.ts).
 *
 * How: the HTTP/1 server owns the port (so that its own time-outs and its closing work); its
 * connections are looked at first. One whose first bytes are the HTTP/2 preface is handed, bytes
 * put back, to an HTTP/2 server that shares the request listener. One that begins a handshake
 * comes back as a secure one, and goes where its ALPN says.
 *
 * Invariants:
 * - Every connection is in `#sockets` from accept to close, and there are at most
 *   `maxConnections` of them; more are closed at once, counted and logged once a minute.
 * - No connection waits for ever: for its first bytes, its headers, its body, the next request,
 *   or its reader, each has its time.
 * - `close()` ends within `drainMs`: what is under way may finish, the rest is cut.
 *
 * Routes, bodies' sizes and who may ask what are the app's business (app.ts).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener, type Http2Bindings, type HttpBindings } from '@hono/node-server';
import type { Clock, Counter, Gauge, Logger, Metrics } from '../../storage/ports.ts';
import { errorResponse, HttpError, toHttpError } from './errors.ts';
import { headerBytes, hostsOf, malformedAnswer, malformedBody, messages } from './malformed.ts';
import { Pipelines } from './pipeline.ts';
import { peek, type Protocol } from './preface.ts';
import { createRedirector, isLocalPeer, TlsFront, type KeyPair } from './tls.ts';

/** What the app finds in `c.env`: Node's own request and response. */
export type Bindings = HttpBindings | Http2Bindings;

export type StreamedRequest = IncomingMessage | Http2ServerRequest;
export type StreamedResponse = ServerResponse | Http2ServerResponse;

/**
 * Answers requests whose body and answer come at once, for as long as they like: they are no app's,
 * and no time is set to them. Answers false for a request that is none.
 */
export type StreamingHandler = (request: StreamedRequest, response: StreamedResponse) => boolean;

/** Each has a default that suits a box at the edge. */
export interface HttpLimits {
  /** 512. */
  readonly maxConnections?: number;
  /** Request line and headers together, 16 KiB; answered 431. */
  readonly maxHeaderBytes?: number;
  /** Streams at once on one HTTP/2 connection, 128. */
  readonly maxHttp2Streams?: number;
  /** From the first byte to the end of the headers, 10 s; answered 408. */
  readonly headersTimeoutMs?: number;
  /** From the first byte to the end of the body, 60 s; answered 408. */
  readonly requestTimeoutMs?: number;
  /** Without a byte in either direction, 60 s: a reader that does not read. */
  readonly idleTimeoutMs?: number;
  /** Between two requests of a connection, 30 s. */
  readonly keepAliveTimeoutMs?: number;
  /** How long `close()` lets requests finish, 5 s. */
  readonly drainMs?: number;
}

export interface HttpServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly fetch: (request: Request, env: Bindings) => Response | Promise<Response>;
  /** Is asked before `fetch`; left out: there are none. */
  readonly streaming?: StreamingHandler;
  readonly limits?: HttpLimits;
  /** Speaks TLS as well; null or left out: plaintext only. */
  readonly tls?: KeyPair | null;
  /** Whom plaintext is for; `loopback`: others are sent to TLS. Default `everybody`. */
  readonly plaintextFor?: 'everybody' | 'loopback';
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const defaults: Required<HttpLimits> = {
  maxConnections: 512,
  maxHeaderBytes: 16_384,
  maxHttp2Streams: 128,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  idleTimeoutMs: 60_000,
  keepAliveTimeoutMs: 30_000,
  drainMs: 5_000,
};

/**
 * Starts listening; rejects with the system's error (EADDRINUSE, EACCES) when it can't.
 *
 * @example
 * const server = await createHttpServer({ host: '127.0.0.1', port: 8080, fetch: app.fetch, … });
 * console.log(server.url); // http://127.0.0.1:8080
 * await server.close();
 */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const server = new HttpServer(options);
  await server.listen();
  return server;
}

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #limits: Required<HttpLimits>;
  readonly #http1: Server;
  readonly #http2: Http2Server;
  readonly #tls: TlsFront | null;
  readonly #redirector: Server;
  readonly #sockets = new Set<Socket>();
  /** Those that have not said yet what they speak. */
  readonly #silent = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #connections: Gauge;
  readonly #refused: Counter;
  readonly #malformed: Counter;
  /** Gives a connection to the HTTP/1 server. */
  #toHttp1: (socket: Socket) => void = () => undefined;
  #lastRefusalLogMs = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | null = null;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#limits = { ...defaults, ...options.limits };
    const { metrics } = options;
    this.#connections = metrics.gauge('headgate_http_connections', 'HTTP connections open now.');
    this.#refused = metrics.counter(
      'headgate_http_connections_refused_total',
      'HTTP connections closed at once because there were too many.',
    );
    this.#malformed = metrics.counter(
      'headgate_http_malformed_total',
      'Connections that sent something that is not HTTP, or too much or too slowly.',
    );
    const listener = this.#requestListener();
    this.#http1 = this.#createHttp1(listener);
    this.#http2 = this.#createHttp2(listener);
    this.#tls = this.#createTls();
    this.#redirector = createRedirector(this.#limits.headersTimeoutMs);
  }

  /** Called once, by createHttpServer. */
  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#http1.once('error', reject);
      this.#http1.listen({ host: this.#options.host, port: this.#options.port }, () => {
        this.#http1.off('error', reject);
        this.#http1.on('error', (error) =>
          this.#options.logger.error({ error }, 'The HTTP listener failed'),
        );
        resolve();
      });
    });
  }

  /** Where it listens; the real port when 0 was asked for. */
  get address(): AddressInfo {
    const address = this.#http1.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return address;
  }

  /** For a browser on this machine or, when it listens on one address, for others. */
  get url(): string {
    const { address, port, family } = this.address;
    const host = address === '0.0.0.0' || address === '::' ? 'localhost' : address;
    const scheme = host !== address || this.#speaksPlaintextTo(address) ? 'http' : 'https';
    return `${scheme}://${family === 'IPv6' && host === address ? `[${host}]` : host}:${port}`;
  }

  /** Takes no more, lets what is under way finish for `drainMs`, cuts the rest. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#http1.close(() => {
        resolve();
      });
    });
    for (const socket of this.#silent) socket.destroy();
    for (const session of this.#sessions) session.close();
    const cut = (): void => {
      for (const session of this.#sessions) session.destroy();
      for (const socket of this.#sockets) socket.destroy();
    };
    const cancel = this.#options.clock.setTimer(this.#limits.drainMs, cut);
    await closed;
    cancel();
    cut();
  }

  #requestListener(): NodeListener {
    const respond = getRequestListener((request, env) => this.#options.fetch(request, env), {
      errorHandler: (error) => errorResponse(asRequestError(error)),
    });
    return (incoming, outgoing) => {
      outgoing.once('close', () => {
        // A kept-alive connection that was busy when closing began becomes idle here.
        if (this.#closing !== null) setImmediate(() => this.#http1.closeIdleConnections());
      });
      if (this.#options.streaming?.(incoming, outgoing) === true) return;
      this.#limitBodyTime(incoming, outgoing);
      respond(incoming, outgoing).catch((error: unknown) => {
        this.#options.logger.error({ error }, 'An HTTP answer could not be written');
        outgoing.destroy();
      });
    };
  }

  #createHttp1(listener: NodeListener): Server {
    const limits = this.#limits;
    const pipelines = new Pipelines();
    const server = createServer(
      {
        maxHeaderSize: limits.maxHeaderBytes,
        headersTimeout: limits.headersTimeoutMs,
        // Each request has its own: `#limitBodyTime`.
        requestTimeout: 0,
        keepAliveTimeout: limits.keepAliveTimeoutMs,
        connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
        noDelay: true,
      },
      (incoming, outgoing) => {
        const begin = (): void => {
          if (hostsOf(incoming) <= 1) {
            listener(incoming, outgoing);
            return;
          }
          this.#malformed.add(1, { protocol: 'http/1.1' });
          outgoing.writeHead(400, { 'content-type': 'application/json', connection: 'close' });
          outgoing.end(malformedBody(messages.hosts));
        };
        if (pipelines.enter(incoming, outgoing, begin)) return;
        this.#malformed.add(1, { protocol: 'http/1.1' });
        incoming.socket.destroy();
      },
    );
    server.maxHeadersCount = 128;
    server.setTimeout(limits.idleTimeoutMs);
    server.on('clientError', (error, socket) => {
      this.#malformed.add(1, { protocol: 'http/1.1' });
      if (!socket.writable) socket.destroy();
      else socket.end(malformedAnswer((error as NodeJS.ErrnoException).code));
    });
    const handlers = server.listeners('connection');
    server.removeAllListeners('connection');
    this.#toHttp1 = (socket) => {
      for (const handler of handlers) Reflect.apply(handler, server, [socket]);
    };
    server.on('connection', (socket: Socket) => this.#accept(socket));
    return server;
  }

  #createTls(): TlsFront | null {
    const { tls } = this.#options;
    if (tls === undefined || tls === null) return null;
    return new TlsFront({
      pair: tls,
      handshakeTimeoutMs: this.#limits.headersTimeoutMs,
      secured: (socket, protocol) => {
        if (protocol === 'http1') this.#toHttp1(socket);
        else this.#http2.emit('connection', socket);
      },
      failed: () => this.#malformed.add(1, { protocol: 'tls' }),
    });
  }

  #speaksPlaintextTo(address: string | undefined): boolean {
    return this.#options.plaintextFor !== 'loopback' || isLocalPeer(address);
  }

  #createHttp2(listener: NodeListener): Http2Server {
    const limits = this.#limits;
    const server = createHttp2Server(
      {
        maxSessionMemory: 16,
        maxHeaderListPairs: 128,
        peerMaxConcurrentStreams: limits.maxHttp2Streams,
        settings: {
          enablePush: false,
          maxConcurrentStreams: limits.maxHttp2Streams,
          maxHeaderListSize: limits.maxHeaderBytes,
        },
      },
      (incoming, outgoing) => {
        if (headerBytes(incoming) > limits.maxHeaderBytes) {
          this.#malformed.add(1, { protocol: 'h2c' });
          outgoing.writeHead(431, { 'content-type': 'application/json' });
          outgoing.end(malformedBody(messages.largeHeaders));
          return;
        }
        listener(incoming, outgoing);
      },
    );
    server.on('session', (session) => {
      this.#watchSession(session);
    });
    server.on('sessionError', () => this.#malformed.add(1, { protocol: 'h2c' }));
    return server;
  }

  /** How long the body may take. Node's own limit would hold for what streams, too. */
  #limitBodyTime(incoming: StreamedRequest, outgoing: StreamedResponse): void {
    const cancel = this.#options.clock.setTimer(this.#limits.requestTimeoutMs, () => {
      if (incoming.complete) return;
      this.#malformed.add(1, { protocol: 'stream' in incoming ? 'h2c' : 'http/1.1' });
      if ('stream' in incoming) {
        incoming.stream.close(outgoing.headersSent ? 0x8 /* CANCEL */ : 0x2 /* INTERNAL_ERROR */);
      } else if (outgoing.headersSent) {
        incoming.socket.destroy();
      } else {
        incoming.socket.end(malformedAnswer('ERR_HTTP_REQUEST_TIMEOUT'));
      }
    });
    incoming.once('end', cancel);
    outgoing.once('close', cancel);
  }

  /**
   * A session must bring a request soon, and again and again: idle ones are closed. So is one that
   * resets far more streams than it lets be answered, which costs it nothing and us much
   * (CVE-2023-44487); nghttp2 itself only stops listening to it.
   */
  #watchSession(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    const cancel = this.#options.clock.setTimer(this.#limits.headersTimeoutMs, () => {
      session.destroy();
    });
    session.once('stream', cancel);
    let resets = 0;
    session.on('stream', (stream) => {
      stream.once('close', () => {
        resets = Math.max(0, resets + (stream.rstCode === 0 ? -1 : 1));
        if (resets <= excessResetsMax || session.destroyed) return;
        this.#malformed.add(1, { protocol: 'h2c' });
        session.destroy(undefined, 0xb /* ENHANCE_YOUR_CALM */);
      });
    });
    session.setTimeout(this.#limits.idleTimeoutMs, () => {
      session.destroy();
    });
    session.once('close', () => {
      cancel();
      this.#sessions.delete(session);
    });
    if (this.#closing !== null) session.close();
  }

  #accept(socket: Socket): void {
    if (this.#sockets.size >= this.#limits.maxConnections) {
      socket.destroy();
      this.#refused.add();
      this.#logRefusal();
      return;
    }
    this.#sockets.add(socket);
    this.#silent.add(socket);
    this.#connections.set(this.#sockets.size);
    const cancelPeek = this.#options.clock.setTimer(this.#limits.headersTimeoutMs, () => {
      this.#malformed.add(1, { protocol: 'none' });
      socket.destroy();
    });
    socket.once('close', () => {
      cancelPeek();
      this.#silent.delete(socket);
      this.#sockets.delete(socket);
      this.#connections.set(this.#sockets.size);
    });
    peek(socket, (protocol) => {
      cancelPeek();
      this.#silent.delete(socket);
      this.#hand(socket, protocol);
    });
  }

  #hand(socket: Socket, protocol: Protocol): void {
    // An HTTP/1 server leaves its half of a connection open when the peer closes the other.
    if (protocol !== 'http1') socket.allowHalfOpen = false;
    if (protocol === 'tls' && this.#tls !== null) {
      this.#tls.accept(socket);
    } else if (!this.#speaksPlaintextTo(socket.remoteAddress)) {
      this.#redirector.emit('connection', socket);
    } else if (protocol === 'http2') {
      this.#http2.emit('connection', socket);
    } else {
      this.#toHttp1(socket);
    }
  }

  #logRefusal(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#lastRefusalLogMs < 60_000) return;
    this.#lastRefusalLogMs = nowMs;
    const { maxConnections } = this.#limits;
    this.#options.logger.warn({ maxConnections }, 'Too many HTTP connections: more are refused');
  }
}

/** Streams of an HTTP/2 session that were reset, beyond those that were answered. */
const excessResetsMax = 500;

type NodeListener = (incoming: StreamedRequest, outgoing: StreamedResponse) => void;

/** What could not even become a request (a Host that is none, a path that is none). */
function asRequestError(error: unknown): HttpError {
  const known = error instanceof Error && error.name === 'RequestError';
  return known ? new HttpError('bad-request', error.message, { cause: error }) : toHttpError(error);
}
