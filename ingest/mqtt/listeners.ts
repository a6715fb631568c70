/** The broker's sockets: plain TCP, and TLS beside it where there is a certificate. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { MqttError } from './errors.ts';

export interface MqttTls {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** PEM: the certificate with what it is signed by, and its key. */
  readonly cert: string;
  readonly key: string;
  /** PEM of the authorities whose certificates devices must show; null: none is asked for. */
  readonly clientCa: string | null;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ListenersOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: MqttTls | null;
  /** TLS connections at once, those in their handshake included. */
  readonly tlsConnectionsMax: number;
  readonly handshakeTimeoutMs: number;
  /** `identity`: the common name of a verified client certificate. */
  accept(socket: Socket, identity: string | null): void;
  /** A TLS handshake did not succeed. `remote`: null when it had gone by then. */
  refused(remote: string | null, error: MqttError): void;
  /** The system would not hand over a connection. */
  troubled(error: Error): void;
}

export class Listeners {
  readonly #options: ListenersOptions;
  readonly #plain: Server;
  readonly #tls: Server | null;
  readonly #handshakes = new Set<Socket>();

  /** @throws MqttError `invalid-options` */
  constructor(options: ListenersOptions) {
    this.#options = options;
    this.#plain = createServer((socket) => options.accept(socket, null));
    this.#tls = options.tls === null ? null : this.#createTls(options.tls);
  }

  /** Null before and after listening. */
  get address(): Address | null {
    return addressOf(this.#plain);
  }

  get tlsAddress(): Address | null {
    return this.#tls === null ? null : addressOf(this.#tls);
  }

  /** @throws MqttError `listen-failed` */
  async listen(): Promise<void> {
    const { host, port, tls } = this.#options;
    await this.#listen(this.#plain, host, port);
    if (this.#tls !== null && tls !== null) await this.#listen(this.#tls, tls.host, tls.port);
  }

  /** Resolves when every connection is closed; it takes no more at once. */
  async close(): Promise<void> {
    const servers = this.#tls === null ? [this.#plain] : [this.#plain, this.#tls];
    const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
    for (const socket of this.#handshakes) socket.destroy();
    await Promise.all(closed);
  }

  async #listen(server: Server, host: string, port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => {
        const message = `can't listen for MQTT on ${host}:${port}: ${cause.message}`;
        reject(new MqttError('listen-failed', message, { cause }));
      });
      server.listen({ host, port }, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', (error) => this.#options.troubled(error));
  }

  #createTls({ cert, key, clientCa }: MqttTls): Server {
    const options = this.#options;
    let server;
    try {
      server = createTlsServer({
        cert,
        key,
        minVersion: 'TLSv1.2',
        handshakeTimeout: options.handshakeTimeoutMs,
        ...(clientCa === null ? {} : { ca: clientCa, requestCert: true }),
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const message = `the TLS certificate, its key or the authority of clients: ${reason}`;
      throw new MqttError('invalid-options', message, { cause });
    }
    server.maxConnections = options.tlsConnectionsMax;
    server.on('connection', (socket: Socket) => {
      this.#handshakes.add(socket);
      socket.once('close', () => this.#handshakes.delete(socket));
    });
    server.on('secureConnection', (socket) => {
      // An error here is one of a connection that is taken: `accept` hears of it by its close.
      socket.on('error', () => undefined);
      options.accept(socket, clientCa === null ? null : commonNameOf(socket));
    });
    server.on('tlsClientError', (cause, socket) => {
      const { remoteAddress, remotePort } = socket;
      const remote = remoteAddress === undefined ? null : `${remoteAddress}:${remotePort ?? 0}`;
      options.refused(remote, handshakeError(cause));
      socket.destroy();
    });
    return server;
  }
}

function addressOf(server: Server): Address | null {
  const address = server.address() as AddressInfo | null;
  return address === null ? null : { host: address.address, port: address.port };
}

/** Alerts by which devices say that they don't accept our certificate (RFC 8446, 6.2). */
const distrust =
  /^ERR_SSL_\w*ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_(UNKNOWN|EXPIRED|REVOKED))$/;

function handshakeError(cause: Error): MqttError {
  const code = 'code' in cause ? String(cause.code) : '';
  // The message of OpenSSL has addresses and files of its sources in it.
  const reason = 'reason' in cause ? String(cause.reason) : cause.message.trim();
  const distrusted = distrust.test(code);
  return new MqttError(distrusted ? 'certificate-not-trusted' : 'tls-failed', reason, { cause });
}

function commonNameOf(socket: TLSSocket): string | null {
  const { subject } = socket.getPeerCertificate();
  const name: unknown = subject.CN;
  return typeof name === 'string' && name !== '' ? name : null;
}
