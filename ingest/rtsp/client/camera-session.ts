/**
 * Opens a camera that is fetched from, as far as packets: DESCRIBE, SETUP, PLAY, with redirects
 * and credentials on the way, and keeps the session alive until it is closed.
 *
 * - All of it together has `openTimeoutMs`: a camera that answers a byte a second gets no further.
 * - A redirect is followed `redirectsMax` times, never from TLS to plain text. Credentials go to
 *   another host only where the redirect itself gives them.
 * - At most one guess at a password is made per session.
 *
 * What the packets are for is not known here (`../pull-source.ts`, `probe.ts`).
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../storage/ports.ts';
import { SourceError } from '../../source.ts';
import { RtspError } from '../errors.ts';
import type { RtspResponse } from '../parser.ts';
import {
  parseDescribed,
  recordedTracks,
  sessionAttribute,
  type SessionDescription,
} from '../sdp.ts';
import { parseCameraUrl, plainUrl, type CameraAddress } from './address.ts';
import { CameraConnection } from './connection.ts';
import { dial } from './dial.ts';
import type { AddressGuard } from './guard.ts';
import { UdpTrack } from './udp.ts';

export interface OpenOptions {
  readonly url: string;
  readonly transport: 'tcp' | 'udp';
  readonly verifyTls: boolean;
  readonly guard: AddressGuard;
  /** For a host that the camera redirects to. */
  readonly redirectGuard: AddressGuard;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly openTimeoutMs?: number;
  /** Nonces of the client; the system's by default. */
  readonly randomHex?: (bytes: number) => string;
}

/** @param frame with its four header bytes: good until this returns */
export type PacketSink = (track: number, isRtcp: boolean, frame: Buffer) => void;

export const defaultOpenTimeoutMs = 10_000;
const redirectsMax = 5;
const sessionTimeoutSeconds = 60;
const frameHeaderBytes = 4;

/**
 * Connects, and asks the camera what it has.
 *
 * @throws SourceError
 */
export async function openCamera(options: OpenOptions): Promise<CameraSession> {
  const { clock, openTimeoutMs = defaultOpenTimeoutMs } = options;
  const stop = new AbortController();
  const cancel = clock.setTimer(openTimeoutMs, () => {
    const seconds = Math.round(openTimeoutMs / 1000);
    stop.abort(new SourceError('unreachable', `no answer within ${seconds} s`));
  });
  const abort = (): void => {
    stop.abort(new SourceError('ended', 'told to stop'));
  };
  options.signal.addEventListener('abort', abort, { once: true });
  if (options.signal.aborted) abort();
  try {
    return await follow(options, stop.signal);
  } finally {
    cancel();
    options.signal.removeEventListener('abort', abort);
  }
}

async function follow(options: OpenOptions, signal: AbortSignal): Promise<CameraSession> {
  let address = parseCameraUrl(options.url);
  let guard = options.guard;
  for (let hops = 0; hops <= redirectsMax; hops += 1) {
    const opened = await describe(address, { ...options, guard }, signal).catch(
      (error: unknown) => {
        throw hops === 0 ? error : ofRedirect(error, address);
      },
    );
    if (opened instanceof CameraSession) return opened;
    const next = redirected(address, opened.location);
    if (next.host.toLowerCase() !== address.host.toLowerCase()) guard = options.redirectGuard;
    address = next;
  }
  throw new SourceError('malformed', `the camera redirects more than ${redirectsMax} times`);
}

async function describe(
  address: CameraAddress,
  options: OpenOptions,
  signal: AbortSignal,
): Promise<CameraSession | { readonly location: string }> {
  const { guard, verifyTls } = options;
  const socket = await dial({ address, guard, verifyTls, signal });
  const connection = new CameraConnection({
    socket,
    stopsAtOnce: !address.tls,
    user: address.user,
    clock: options.clock,
    randomHex: options.randomHex ?? ((bytes) => randomBytes(bytes).toString('hex')),
  });
  const close = (): void => {
    connection.close(signal.reason as SourceError);
  };
  signal.addEventListener('abort', close, { once: true });
  try {
    const url = plainUrl(address);
    const methods = (await connection.request('OPTIONS', url)).headers.get('public') ?? '';
    const answer = await connection.request('DESCRIBE', url, { Accept: 'application/sdp' });
    const location = answer.headers.get('location');
    if (answer.status >= 300 && answer.status < 400 && location !== undefined) {
      connection.close();
      return { location };
    }
    requireOk('DESCRIBE', answer);
    const session = new CameraSession(connection, {
      session: described(answer),
      base: baseOf(answer, url),
      keepAliveMethod: /GET_PARAMETER/i.test(methods) ? 'GET_PARAMETER' : 'OPTIONS',
      transport: options.transport,
      clock: options.clock,
    });
    await session.setUp();
    return session;
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    signal.removeEventListener('abort', close);
  }
}

function redirected(from: CameraAddress, location: string): CameraAddress {
  const to = parseCameraUrl(location);
  if (from.tls && !to.tls) {
    throw new SourceError('forbidden', 'the camera redirects from rtsps:// to rtsp://');
  }
  const isSameHost = to.host.toLowerCase() === from.host.toLowerCase();
  return { ...to, user: to.user ?? (isSameHost ? from.user : null) };
}

function ofRedirect(error: unknown, { host, port }: CameraAddress): unknown {
  if (!(error instanceof SourceError)) return error;
  const message = `redirected to ${host}, port ${port}: ${error.message}`;
  return new SourceError(error.code, message, { cause: error });
}

function described(answer: RtspResponse): SessionDescription {
  try {
    return parseDescribed(answer.body);
  } catch (error) {
    if (!(error instanceof RtspError)) throw error;
    const code = error.code === 'unsupported-media' ? 'unsupported' : 'malformed';
    throw new SourceError(code, error.message, { cause: error });
  }
}

function baseOf(answer: RtspResponse, url: string): string {
  const { headers } = answer;
  const base = headers.get('content-base') ?? headers.get('content-location');
  return base !== undefined && /^rtsps?:\/\/\S+$/i.test(base) ? base : url;
}

interface SessionParts {
  readonly session: SessionDescription;
  readonly base: string;
  readonly keepAliveMethod: string;
  readonly transport: 'tcp' | 'udp';
  readonly clock: Clock;
}

/** A camera that is connected: described and set up; `play` lets it send. */
export class CameraSession {
  readonly session: SessionDescription;
  /** Which media of the description are set up: the video, and the audio if there is one. */
  readonly tracks: readonly number[];
  /** Resolves when the camera hung up (null) or the connection failed. */
  readonly closed: Promise<SourceError | null>;
  readonly #connection: CameraConnection;
  readonly #parts: SessionParts;
  /** Of interleaved frames, by even channel. */
  readonly #trackOf = new Map<number, number>();
  readonly #channelOf = new Map<number, number>();
  readonly #udp = new Map<number, UdpTrack>();
  #sink: PacketSink = () => undefined;
  #timeoutSeconds = sessionTimeoutSeconds;
  #cancelKeepAlive: () => void = () => undefined;

  constructor(connection: CameraConnection, parts: SessionParts) {
    this.#connection = connection;
    this.#parts = parts;
    this.session = parts.session;
    this.tracks = recordedTracks(parts.session);
    this.closed = connection.closed.then((failure) => {
      this.#release();
      return failure;
    });
  }

  get remote(): string {
    return this.#connection.remote;
  }

  /** Called around each piece that is read, so that what comes of it can be gathered. */
  set gather(gather: (read: () => void) => void) {
    this.#connection.gather = gather;
  }

  /** Asked after each piece: whether what comes may be let gather before it is read. */
  set mayRest(mayRest: () => boolean) {
    this.#connection.mayRest = mayRest;
  }

  /** Asks for each track; done by `openCamera`. @throws SourceError */
  async setUp(): Promise<void> {
    this.#connection.onFrame = (channel, frame) => {
      const track = this.#trackOf.get(channel & ~1);
      if (track !== undefined) this.#sink(track, channel % 2 === 1, frame);
    };
    for (const [index, track] of this.tracks.entries()) {
      if (this.#parts.transport === 'tcp') await this.#setUpTcp(track, index * 2);
      else await this.#setUpUdp(track);
    }
  }

  /** Lets the camera send. @throws SourceError */
  async play(sink: PacketSink): Promise<void> {
    this.#sink = sink;
    const answer = await this.#connection.request('PLAY', this.#aggregateUrl, {
      Range: 'npt=0.000-',
    });
    requireOk('PLAY', answer);
    this.#keepAlive();
  }

  /** Passes a receiver report to the camera. @param frame with its four header bytes */
  report(track: number, frame: Buffer): void {
    this.#udp.get(track)?.report(frame.subarray(frameHeaderBytes));
    const channel = this.#channelOf.get(track);
    if (channel === undefined) return;
    const copy = Buffer.from(frame);
    copy[1] = channel + 1;
    this.#connection.send(copy);
  }

  /** Says goodbye. Twice is harmless. */
  close(): void {
    this.#release();
    this.#connection.leave(this.#aggregateUrl);
  }

  #release(): void {
    this.#cancelKeepAlive();
    for (const track of this.#udp.values()) track.close();
  }

  async #setUpTcp(track: number, channel: number): Promise<void> {
    const answer = await this.#request(
      track,
      `RTP/AVP/TCP;unicast;interleaved=${channel}-${channel + 1}`,
    );
    if (answer.status === 461) {
      throw new SourceError('unsupported', '461: it does not send over TCP; try transport: udp');
    }
    requireOk('SETUP', answer);
    const given = /interleaved=(\d{1,3})/i.exec(answer.headers.get('transport') ?? '')?.[1];
    const chosen = given === undefined ? channel : Number(given);
    this.#trackOf.set(chosen & ~1, track);
    this.#channelOf.set(track, chosen & ~1);
  }

  async #setUpUdp(track: number): Promise<void> {
    const camera = this.#connection.remoteAddress;
    const udp = await UdpTrack.open({
      camera,
      clock: this.#parts.clock,
      onPacket: (isRtcp, packet) => {
        this.#sink(track, isRtcp, framed(packet));
      },
    });
    this.#udp.set(track, udp);
    const answer = await this.#request(
      track,
      `RTP/AVP;unicast;client_port=${udp.port}-${udp.port + 1}`,
    );
    if (answer.status === 461) {
      throw new SourceError('unsupported', '461: it does not send over UDP; try transport: tcp');
    }
    requireOk('SETUP', answer);
    const ports = /server_port=\d{1,5}-(\d{1,5})/i.exec(answer.headers.get('transport') ?? '');
    const port = Number(ports?.[1] ?? 0);
    udp.aim(camera, port > 0 && port <= 65_535 ? port : null);
  }

  async #request(track: number, transport: string): Promise<RtspResponse> {
    const control = this.session.media[track]?.control ?? '';
    const url = controlUrl(this.#parts.base, control);
    const answer = await this.#connection.request('SETUP', url, { Transport: transport });
    const timeout = /;\s*timeout=(\d{1,6})/i.exec(answer.headers.get('session') ?? '')?.[1];
    if (timeout !== undefined && Number(timeout) > 0) this.#timeoutSeconds = Number(timeout);
    return answer;
  }

  get #aggregateUrl(): string {
    return controlUrl(this.#parts.base, sessionAttribute(this.session, 'control') ?? '');
  }

  /** A request now and then: without it cameras end a session. */
  #keepAlive(): void {
    const everyMs = Math.max(2, Math.min(this.#timeoutSeconds / 2, 30)) * 1000;
    this.#cancelKeepAlive = this.#parts.clock.setTimer(everyMs, () => {
      // What came of it shows in the packets; a camera may well refuse the method.
      this.#connection
        .request(this.#parts.keepAliveMethod, this.#aggregateUrl)
        .catch(() => undefined);
      this.#keepAlive();
    });
  }
}

/** As cameras mean it, and all clients do: appended, whatever RFC 3986 says of queries. */
function controlUrl(base: string, control: string): string {
  if (/\s/.test(control))
    throw new SourceError('malformed', 'a track with white space in its name');
  if (control === '' || control === '*') return base;
  if (/^rtsps?:\/\//i.test(control)) return control;
  return base.endsWith('/') ? `${base}${control}` : `${base}/${control}`;
}

function framed(packet: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(frameHeaderBytes + packet.length);
  frame.writeUInt16BE(0x2400, 0);
  frame.writeUInt16BE(packet.length, 2);
  packet.copy(frame, frameHeaderBytes);
  return frame;
}

/** @throws SourceError for every status but 200 */
function requireOk(method: string, { status, reason }: RtspResponse): void {
  if (status === 200) return;
  const said = `${method} answered with ${status} ${reason.replace(/[^\x20-\x7e]/g, '?').slice(0, 100)}`;
  if (status === 403) throw new SourceError('unauthorized', said);
  if (status === 404) {
    throw new SourceError('not-found', `${said}: the camera has no such path`);
  }
  if (status === 453 || status >= 500) throw new SourceError('unreachable', said);
  throw new SourceError('unsupported', said);
}
