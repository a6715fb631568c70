/**
 * The RTSP server (RFC 2326, RTP interleaved in TCP, over TLS as well): cameras push to
 * `rtsp://box:8554/<camera>`, our own ffmpeg and whoever is allowed to watch play from the same
 * address. What is fetched from a camera (pull-source.ts) passes through here too, so all cameras
 * are recorded and played alike.
 *
 * One publisher per camera: a second one is refused with 503 and Retry-After, since a camera that
 * lost its connection without a word holds its path until `publisherTimeoutMs` have passed.
 *
 * Limits: `connectionsMax` in all (further ones are closed at once), of which at most
 * `pendingMax` without packets yet (the oldest makes room, so strangers can't keep cameras out).
 * Which cameras there are, and their passwords, is asked of `path` every time.
 * Recording is not done here: push-source.ts.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import type { RtspUser } from './authentication.ts';
import { Connection } from './connection.ts';
import type { ConnectionHost, ConnectionLimits } from './contracts.ts';
import { RtspError } from './errors.ts';
import { Publication, type PublicationLimits, type Publisher } from './publication.ts';
import { pacedSocket } from '../reading-pace.ts';
import { Refusals } from './refusals.ts';
import type { SessionDescription } from './sdp.ts';
import { makeMetrics, type RtspMetrics } from './server-metrics.ts';
import { WriteBlocks } from './write-blocks.ts';

/** What the configuration says of a camera's path. */
export interface RtspPath {
  /** Who may push; null: this camera takes no push. */
  readonly publisher: RtspUser | null;
  readonly readers: readonly RtspUser[];
}

export interface RtspLimits extends ConnectionLimits, PublicationLimits {
  readonly connectionsMax: number;
  readonly pendingMax: number;
}

export const defaultRtspLimits: RtspLimits = {
  setupTimeoutMs: 10_000,
  publisherTimeoutMs: 10_000,
  queueBytesMax: 8 * 1024 * 1024,
  heldBytesMax: 8 * 1024 * 1024,
  heldMsMax: 10_000,
  groupBytesMax: 0,
  // Ten times what a 4K camera at its best sends.
  bytesPerSecondMax: 32 * 1024 * 1024,
  connectionsMax: 512,
  pendingMax: 64,
};

export interface RtspTls {
  readonly host: string;
  /** 0: any free one, told by `tlsAddress`. */
  readonly port: number;
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface RtspServerOptions {
  /** The address to listen on, such as `127.0.0.1`. */
  readonly host: string;
  /** 0: any free port, told by `address`. */
  readonly port: number;
  /** Where RTSP over TLS (`rtsps://`) is served as well; null or left out: nowhere. */
  readonly tls?: RtspTls | null;
  /** The path of a camera, by name; undefined: there is no such camera. */
  readonly path: (camera: string) => RtspPath | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly limits?: Partial<RtspLimits>;
  /** Where nonces, session names and tickets come from; the system's by default. */
  readonly randomHex?: (bytes: number) => string;
}

export interface PublicationStatus {
  readonly camera: string;
  /** Address and port of the camera. */
  readonly remote: string;
  readonly sinceMs: number;
  /** We fetch from it; otherwise it pushes. */
  readonly isFetched: boolean;
  /** Those that play it now, our recorder among them. */
  readonly readers: number;
  /** The same without our recorder. */
  readonly players: number;
}

export interface RtspAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * @example
 * const server = new RtspServer({ host: '127.0.0.1', port: 8554, path, clock, logger, metrics });
 * await server.listen();
 * const publication = await server.waitForPublication('gate', signal);
 */
export class RtspServer {
  readonly #options: RtspServerOptions;
  readonly #limits: RtspLimits;
  readonly #randomHex: (bytes: number) => string;
  readonly #metrics: RtspMetrics;
  readonly #blocks = new WriteBlocks();
  readonly #refusals: Refusals;
  readonly #server: Server;
  readonly #tlsServer: TlsServer | null;
  readonly #connections = new Set<Connection>();
  /** Those without packets yet, oldest first. */
  readonly #pending = new Set<Connection>();
  readonly #publications = new Map<string, Publication>();
  readonly #fetched = new WeakSet<Publication>();
  readonly #waiters = new Map<string, Set<(publication: Publication | null) => void>>();
  #isClosed = false;

  constructor(options: RtspServerOptions) {
    this.#options = options;
    this.#limits = { ...defaultRtspLimits, ...options.limits };
    this.#randomHex = options.randomHex ?? ((bytes) => randomBytes(bytes).toString('hex'));
    this.#metrics = makeMetrics(options.metrics);
    this.#refusals = new Refusals(options.clock, options.logger);
    this.#server = createServer(pacedSocket, (socket) => this.#accept(socket));
    this.#tlsServer = this.#makeTlsServer(options.tls ?? null);
  }

  /** Begins to listen. @throws the system's error, such as EADDRINUSE */
  async listen(): Promise<void> {
    const { host, port, tls } = this.#options;
    await this.#listenOn(this.#server, { host, port });
    if (this.#tlsServer === null || tls == null) return;
    await this.#listenOn(this.#tlsServer, { host: tls.host, port: tls.port });
  }

  /** Where it listens. Only while it does. */
  get address(): RtspAddress {
    return addressOf(this.#server);
  }

  /** Where it listens for TLS; null: nowhere. Only while it does. */
  get tlsAddress(): RtspAddress | null {
    return this.#tlsServer === null ? null : addressOf(this.#tlsServer);
  }

  /** The cameras that send now. */
  status(): readonly PublicationStatus[] {
    return [...this.#publications.values()]
      .filter((publication) => publication.isRecording && !publication.hasDeparted)
      .map((publication) => ({
        camera: publication.camera,
        remote: publication.publisher.remote,
        sinceMs: publication.sinceMs,
        isFetched: this.#fetched.has(publication),
        readers: publication.readerCount,
        players: publication.playerCount,
      }));
  }

  /**
   * The session of a camera that pushes: the one there is, or the next one.
   * Null when the signal is aborted or the server closed first.
   */
  async waitForPublication(camera: string, signal: AbortSignal): Promise<Publication | null> {
    const now = this.#publications.get(camera);
    if (now?.isRecording === true) return now;
    if (signal.aborted || this.#isClosed) return null;
    const waiters = this.#waiters.get(camera) ?? new Set();
    this.#waiters.set(camera, waiters);
    return new Promise((resolve) => {
      const done = (publication: Publication | null): void => {
        signal.removeEventListener('abort', abort);
        waiters.delete(done);
        if (waiters.size === 0) this.#waiters.delete(camera);
        resolve(publication);
      };
      const abort = (): void => done(null);
      signal.addEventListener('abort', abort, { once: true });
      waiters.add(done);
    });
  }

  /**
   * Begins the session of a camera that is fetched from: whoever may read the camera can play it,
   * as if it had pushed. The caller forwards its packets to what comes back, and closes that.
   *
   * @param tracks the media of the description that the camera sends
   * @throws RtspError `busy` while an earlier session of the camera is open
   */
  relay(
    camera: string,
    session: SessionDescription,
    tracks: readonly number[],
    publisher: Publisher,
  ): Publication {
    const publication = this.#announce(camera, session, publisher);
    this.#fetched.add(publication);
    for (const track of tracks) publication.trackSetUp(track);
    publication.record();
    return publication;
  }

  /**
   * Takes the path of a camera that sends by another protocol: it is recorded and played as if it
   * had pushed, from `begin` on. The caller forwards its packets to what comes back, and closes
   * that.
   *
   * @param tracks the media of the description that the camera sends
   * @throws RtspError `busy` while the camera has a publisher
   */
  reserve(
    camera: string,
    session: SessionDescription,
    tracks: readonly number[],
    publisher: Publisher,
  ): Publication {
    const publication = this.#announce(camera, session, publisher);
    for (const track of tracks) publication.trackSetUp(track);
    return publication;
  }

  /** The camera of a reserved path sends now. */
  begin(publication: Publication): void {
    this.#recording(publication);
  }

  /** The session of a camera that can be played now, or null. */
  publication(camera: string): Publication | null {
    const publication = this.#publications.get(camera);
    return publication?.isRecording === true && !publication.hasDeparted ? publication : null;
  }

  /** Counts what came from a camera that is fetched from, or sends by another protocol. */
  fetched(camera: string, bytes: number): void {
    this.#metrics.received.add(bytes, { camera });
  }

  /**
   * An address from which one reader at a time may play this session as its recorder: it gets
   * every packet since the camera began. The address carries a secret, which is good until the
   * session ends, the ticket is revoked or another is issued.
   */
  recorderUrl(publication: Publication): string {
    const ticket = { username: `recorder-${this.#randomHex(4)}`, password: this.#randomHex(16) };
    publication.issueTicket(ticket);
    const { host, port } = this.address;
    const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
    const bracketed = reachable.includes(':') ? `[${reachable}]` : reachable;
    const path = encodeURIComponent(publication.camera);
    return `rtsp://${ticket.username}:${ticket.password}@${bracketed}:${port}/${path}`;
  }

  /** Ends every connection and stops listening. Twice is harmless. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const waiters of [...this.#waiters.values()]) {
      for (const waiter of [...waiters]) waiter(null);
    }
    for (const connection of [...this.#connections]) connection.close('server-closed');
    for (const publication of [...this.#publications.values()]) publication.giveUpWaiting();
    for (const server of [this.#tlsServer, this.#server]) {
      if (server?.listening !== true) continue;
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
    }
  }

  #makeTlsServer(tls: RtspTls | null): TlsServer | null {
    if (tls === null) return null;
    const { connectionsMax, setupTimeoutMs } = this.#limits;
    const { cert, key } = tls;
    const server = createTlsServer({ cert, key, handshakeTimeout: setupTimeoutMs }, (socket) => {
      this.#accept(socket);
    });
    // Those that have not shaken hands yet are no connections of ours.
    server.maxConnections = connectionsMax;
    server.on('tlsClientError', (error, socket) => {
      this.#options.logger.debug({ error }, 'an RTSP client did not get through TLS');
      socket.destroy();
    });
    return server;
  }

  async #listenOn(server: Server, where: RtspAddress): Promise<void> {
    const { logger } = this.#options;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ ...where }, () => {
        server.off('error', reject);
        server.on('error', (error) => logger.error({ error }, 'the RTSP port failed'));
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    if (this.#isClosed || this.#connections.size >= this.#limits.connectionsMax) {
      socket.on('error', () => undefined);
      const remote = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
      socket.destroy();
      this.#refused(remote, new RtspError('busy', 'too many connections'));
      return;
    }
    const [oldest] = this.#pending;
    if (this.#pending.size >= this.#limits.pendingMax) oldest?.close('left');
    const connection = new Connection(socket, this.#host);
    this.#connections.add(connection);
    this.#pending.add(connection);
    this.#metrics.connections.set(this.#connections.size);
  }

  /** The server as its connections see it. */
  get #host(): ConnectionHost<Connection> {
    const { clock, logger } = this.#options;
    return {
      clock,
      logger,
      limits: this.#limits,
      blocks: this.#blocks,
      randomHex: this.#randomHex,
      publisherOf: (camera) => this.#publisherOf(camera),
      readersOf: (camera) => this.#pathOf(camera).readers,
      publicationOf: (camera) => this.#publicationOf(camera),
      announce: (camera, session, publisher) => this.#announce(camera, session, publisher),
      recording: (publication) => this.#recording(publication),
      received: (camera, bytes) => this.#metrics.received.add(bytes, { camera }),
      sent: (camera, bytes) => this.#metrics.sent.add(bytes, { camera }),
      readerDropped: (camera, remote) => {
        this.#metrics.dropped.add(1, { camera });
        logger.warn({ camera, remote }, 'an RTSP reader did not keep up and was dropped');
      },
      refused: (remote, error) => this.#refused(remote, error),
      established: (connection) => void this.#pending.delete(connection),
      closed: (connection) => {
        this.#pending.delete(connection);
        this.#connections.delete(connection);
        this.#metrics.connections.set(this.#connections.size);
      },
    };
  }

  #pathOf(camera: string): RtspPath {
    const path = this.#options.path(camera);
    if (path === undefined) throw new RtspError('not-found', `no camera named ${shown(camera)}`);
    return path;
  }

  #publisherOf(camera: string): RtspUser {
    const { publisher } = this.#pathOf(camera);
    if (publisher === null) throw new RtspError('not-found', `${shown(camera)} takes no push`);
    return publisher;
  }

  #publicationOf(camera: string): Publication {
    const publication = this.#publications.get(camera);
    if (publication?.isRecording === true) return publication;
    throw new RtspError('not-found', `${shown(camera)} is not sending now`);
  }

  #announce(camera: string, session: SessionDescription, publisher: Publisher): Publication {
    const { clock, logger } = this.#options;
    const other = this.#publications.get(camera);
    if (other?.hasDeparted === false) {
      throw new RtspError('busy', `${shown(camera)} has a publisher already`);
    }
    other?.giveUpWaiting();
    const publication = new Publication(camera, session, publisher, clock, this.#limits);
    this.#publications.set(camera, publication);
    publication.onClosed((end) => {
      this.#publications.delete(camera);
      if (publication.lostPackets > 0) {
        this.#metrics.lost.add(publication.lostPackets, { camera });
        const fields = { camera, packets: publication.lostPackets };
        logger.warn(fields, 'packets of a camera were let go before its recorder came');
      }
      const { missingPackets, withheldReports } = publication;
      if (missingPackets > 0) this.#metrics.missing.add(missingPackets, { camera });
      if (withheldReports > 0) {
        const fields = { camera, reports: withheldReports };
        logger.warn(fields, 'sender reports of a camera contradicted each other');
      }
      if (publication.isRecording) {
        logger.info({ camera, end, missingPackets }, 'the session of a camera is over');
      }
    });
    return publication;
  }

  #recording(publication: Publication): void {
    const { camera, publisher } = publication;
    publication.record();
    this.#options.logger.info({ camera, remote: publisher.remote }, 'a camera pushes');
    for (const waiter of [...(this.#waiters.get(camera) ?? [])]) waiter(publication);
  }

  #refused(remote: string, error: RtspError): void {
    this.#metrics.refused.add(1, { code: error.code });
    this.#refusals.note(remote, error);
  }
}

function addressOf(server: Server): RtspAddress {
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

/** A name that somebody else chose, fit for a message. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}
