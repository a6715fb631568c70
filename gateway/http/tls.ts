/**
 * TLS on the port that also speaks plaintext: connections whose first byte is that of a handshake
 * come here, and leave as sockets that say which HTTP was agreed on (ALPN, RFC 7301).
 *
 * Where plaintext is for this machine only, what comes from elsewhere without TLS is sent over:
 * a browser is led to `https:`, anything else is told. Nothing it sent is looked at but its
 * address line, since a token may be among it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type Server as TlsServer,
  type TLSSocket,
} from 'node:tls';
import { HttpError } from './errors.ts';

/** A certificate with its chain, and its key; PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface TlsFrontOptions {
  readonly pair: KeyPair;
  readonly handshakeTimeoutMs: number;
  readonly secured: (socket: TLSSocket, protocol: 'http1' | 'http2') => void;
  /** A handshake that came to nothing; its socket is gone. */
  readonly failed: () => void;
}

/** Makes connections secure; they are the caller's before and after. */
export class TlsFront {
  readonly #server: TlsServer;

  /** @throws the system's error for a certificate or key that is none, or of another */
  constructor({ pair, handshakeTimeoutMs, secured, failed }: TlsFrontOptions) {
    this.#server = createTlsServer(
      { ...pair, handshakeTimeout: handshakeTimeoutMs, ALPNProtocols: ['h2', 'http/1.1'] },
      (socket) => secured(socket, socket.alpnProtocol === 'h2' ? 'http2' : 'http1'),
    );
    this.#server.on('tlsClientError', (_error, socket) => {
      failed();
      socket.destroy();
    });
  }

  /** @param socket whose first bytes, put back, begin a handshake */
  accept(socket: Socket): void {
    this.#server.emit('connection', socket);
  }
}

/** Whether a peer is on this machine. */
export function isLocalPeer(address: string | undefined): boolean {
  if (address === undefined) return false;
  const bare = address.replace(/^::ffff:/i, '');
  return bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

/** An HTTP server without a port of its own, which sends everybody to `https:`. */
export function createRedirector(timeoutMs: number): Server {
  const server = createServer(
    { headersTimeout: timeoutMs, requestTimeout: timeoutMs, maxHeaderSize: 16_384 },
    redirect,
  );
  server.setTimeout(timeoutMs);
  return server;
}

const notInTheClear = new HttpError(
  'bad-request',
  'This gateway speaks TLS to other machines: use https instead of http.',
);

function redirect(incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { method, url, headers } = incoming;
  const target = `https://${headers.host ?? ''}${url ?? ''}`;
  outgoing.setHeader('connection', 'close');
  if ((method === 'GET' || method === 'HEAD') && headers.host && URL.canParse(target)) {
    outgoing.writeHead(307, { location: new URL(target).href }).end();
  } else {
    outgoing.writeHead(notInTheClear.status, { 'content-type': 'application/json' });
    outgoing.end(JSON.stringify(notInTheClear.body()));
  }
}
