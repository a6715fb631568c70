/**
 * A camera in the test's hand: real packets of a real clip, sent over RTSP as the test wants it,
 * with whatever lies the test has in mind. The server of the gateway is not used here, so that two
 * mistakes of ours can't agree with each other; only its parser of requests is.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { RtspParser, type RtspRequest } from '../../ingest/rtsp/parser.ts';
import { timestampOf } from '../../ingest/rtsp/rtp.ts';
import { RtspServer } from '../../ingest/rtsp/server.ts';
import { systemClock } from '../../storage/clock.ts';
import { startChild } from './child.ts';
import { MemoryLogger } from './memory-logger.ts';
import { MemoryMetrics } from './memory-metrics.ts';
import type { Scope } from './scope.ts';
import { ffmpegPath } from './tools.ts';

export interface CapturedPacket {
  readonly track: number;
  /** An RTP packet. */
  readonly packet: Buffer;
  /** Since the first picture. */
  readonly atMs: number;
}

export interface Capture {
  readonly sdp: string;
  readonly packets: readonly CapturedPacket[];
  readonly lengthMs: number;
  /** Ticks per second, by track. */
  readonly rates: readonly number[];
}

/** The packets that ffmpeg makes of a clip. */
export async function capturePackets(scope: Scope, clip: string): Promise<Capture> {
  const user = { username: 'capture', password: 'capture' };
  const server = new RtspServer({
    ...{ host: '127.0.0.1', port: 0, clock: systemClock },
    ...{ logger: new MemoryLogger(), metrics: new MemoryMetrics() },
    path: () => ({ publisher: user, readers: [] }),
    limits: { heldBytesMax: 2 ** 30, heldMsMax: 600_000 },
  });
  await server.listen();
  const url = `rtsp://capture:capture@127.0.0.1:${server.address.port}/clip`;
  const options = ['-v', 'error', '-nostdin', '-i', clip, '-c', 'copy', '-f', 'rtsp'];
  const push = startChild(scope, ffmpegPath, [...options, '-rtsp_transport', 'tcp', url]);
  const publication = await server.waitForPublication('clip', new AbortController().signal);
  if (publication === null) throw new Error('nothing was pushed');
  await push.exited;
  // What it sent last may still be on its way through the socket.
  while (!publication.hasDeparted) await new Promise((wake) => setImmediate(wake));
  const frames: { track: number; packet: Buffer }[] = [];
  publication.play({
    isRecorder: true,
    send: (track, isRtcp, frame) => {
      if (!isRtcp) frames.push({ track, packet: Buffer.from(frame.subarray(4)) });
    },
    cork: () => undefined,
    uncork: () => undefined,
    publicationEnded: () => undefined,
  });
  const sdp = publication.describe();
  await server.close();
  const rates = [...sdp.matchAll(/^a=rtpmap:\d+ [^/]+\/(\d+)/gm)].map(([, rate]) => Number(rate));
  const first = new Map<number, number>();
  const packets = frames.map(({ track, packet }) => {
    const timestamp = timestampOf(packet) ?? 0;
    if (!first.has(track)) first.set(track, timestamp);
    const ticks = (timestamp - (first.get(track) ?? 0)) | 0;
    return { track, packet, atMs: Math.max(0, (ticks / (rates[track] ?? 90_000)) * 1000) };
  });
  const lastMs = Math.max(...packets.map(({ atMs }) => atMs));
  const times = [...new Set(packets.filter(({ track }) => track === 0).map(({ atMs }) => atMs))];
  return { sdp, packets, lengthMs: lastMs + lastMs / Math.max(1, times.length - 1), rates };
}

export interface Answer {
  readonly status: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface PacketCameraOptions {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Real time is 1; 0, the default, is all at once. */
  readonly pace?: number;
  /** Begins again at the end; otherwise the camera then falls silent. */
  readonly loop?: boolean;
  /** Hangs up at the end. */
  readonly hangUp?: boolean;
  /** Another answer than the usual one; undefined: the usual one. */
  readonly answer?: (request: RtspRequest, camera: PacketCamera) => Answer | undefined;
  /** What is sent for a packet; may write into it. `index` counts from 0 over all loops. */
  readonly change?: (packet: Buffer, at: { track: number; index: number }) => readonly Buffer[];
  /** The time that the sender report of each second of media tells; null: none is sent. */
  readonly reportMs?: (mediaMs: number, track: number) => number | null;
}

/** The clock of a camera, which leaps when the test says so: `change` of its options. */
export class LeapingClock {
  #leapTicks = 0;
  /** Of the picture that is being sent. */
  #ticks = 0;
  #last = -1;

  /** From the next picture on. */
  leap(bySeconds: number): void {
    this.#leapTicks += bySeconds * 90_000;
  }

  readonly change = (packet: Buffer): readonly Buffer[] => {
    const timestamp = packet.readUInt32BE(4);
    if (timestamp !== this.#last) this.#ticks = this.#leapTicks;
    this.#last = timestamp;
    packet.writeUInt32BE((timestamp + this.#ticks) >>> 0, 4);
    return [packet];
  };
}

interface Track {
  send(isRtcp: boolean, packet: Buffer): void;
}

export class PacketCamera {
  readonly port: number;
  /** Every request that came, oldest first. */
  readonly requests: RtspRequest[] = [];
  connections = 0;
  readonly #capture: Capture;
  /** Packets by track. */
  readonly #counts = new Map<number, number>();
  readonly #options: PacketCameraOptions;
  readonly #sockets = new Set<Socket>();
  readonly #udp = new Set<UdpSocket>();
  readonly #server: Server;
  #isClosed = false;

  private constructor(server: Server, capture: Capture, options: PacketCameraOptions) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.#capture = capture;
    this.#options = options;
    for (const { track } of capture.packets) {
      this.#counts.set(track, (this.#counts.get(track) ?? 0) + 1);
    }
  }

  static async start(
    scope: Scope,
    capture: Capture,
    options: PacketCameraOptions = {},
  ): Promise<PacketCamera> {
    const server = options.tls === undefined ? createTcpServer() : createTlsServer(options.tls);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const camera = new PacketCamera(server, capture, options);
    server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
      camera.#accept(socket);
    });
    server.on('tlsClientError', () => undefined);
    scope.after(() => camera.close());
    return camera;
  }

  get url(): string {
    const scheme = this.#options.tls === undefined ? 'rtsp' : 'rtsps';
    return `${scheme}://127.0.0.1:${this.port}/cam`;
  }

  /** Cuts every connection. */
  unplug(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.unplug();
    for (const socket of this.#udp) socket.close();
    this.#udp.clear();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    this.connections += 1;
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
    const parser = new RtspParser();
    const tracks = new Map<number, Track>();
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const input of parser.push(chunk)) {
          if (input.kind === 'request') void this.#handle(socket, tracks, input.request);
        }
      } catch {
        socket.destroy();
      }
    });
  }

  async #handle(socket: Socket, tracks: Map<number, Track>, request: RtspRequest): Promise<void> {
    this.requests.push(request);
    const other = this.#options.answer?.(request, this);
    const answer = other ?? (await this.#usual(socket, tracks, request));
    const { status, headers = {}, body = '' } = answer;
    const lines = Object.entries({
      CSeq: request.headers.get('cseq') ?? '',
      Session: 'abc123;timeout=60',
      ...(body === '' ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }),
      ...headers,
    }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`RTSP/1.0 ${status}\r\n${lines.join('')}\r\n${body}`);
    if (request.method === 'PLAY' && status.startsWith('200')) void this.#play(socket, tracks);
  }

  async #usual(
    socket: Socket,
    tracks: Map<number, Track>,
    { method, url, headers }: RtspRequest,
  ): Promise<Answer> {
    if (method === 'OPTIONS') {
      return {
        status: '200 OK',
        headers: { Public: 'OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER' },
      };
    }
    if (method === 'DESCRIBE') {
      const described = { 'Content-Base': `${url}/`, 'Content-Type': 'application/sdp' };
      return { status: '200 OK', headers: described, body: this.#capture.sdp };
    }
    if (method !== 'SETUP') return { status: '200 OK' };
    const track = Number(/trackID=(\d+)$/.exec(url)?.[1]);
    const wanted = headers.get('transport') ?? '';
    const channel = /interleaved=(\d+)/.exec(wanted)?.[1];
    if (channel !== undefined) {
      tracks.set(track, {
        send: (isRtcp, packet) => {
          const header = Buffer.from([0x24, Number(channel) + (isRtcp ? 1 : 0), 0, 0]);
          header.writeUInt16BE(packet.length, 2);
          socket.write(Buffer.concat([header, packet]));
        },
      });
      return { status: '200 OK', headers: { Transport: wanted } };
    }
    const [rtp, rtcp] = [createSocket('udp4'), createSocket('udp4')];
    for (const one of [rtp, rtcp]) {
      this.#udp.add(one);
      one.bind(0, '127.0.0.1');
      await once(one, 'listening');
    }
    const port = Number(/client_port=(\d+)/.exec(wanted)?.[1]);
    tracks.set(track, {
      send: (isRtcp, packet) => {
        if (this.#isClosed) return;
        (isRtcp ? rtcp : rtp).send(packet, port + (isRtcp ? 1 : 0), '127.0.0.1', () => undefined);
      },
    });
    const ports = `server_port=${rtp.address().port}-${rtcp.address().port}`;
    return { status: '200 OK', headers: { Transport: `${wanted};${ports}` } };
  }

  async #play(socket: Socket, tracks: ReadonlyMap<number, Track>): Promise<void> {
    const { packets, lengthMs } = this.#capture;
    const { pace = 0, loop = false, hangUp = false } = this.#options;
    const startMs = performance.now();
    let index = 0;
    for (let round = 0; round === 0 || loop; round += 1) {
      for (const { track, packet, atMs } of packets) {
        const mediaMs = round * lengthMs + atMs;
        const waitMs = startMs + mediaMs * pace - performance.now();
        if (pace > 0 && waitMs > 2) await new Promise((wake) => setTimeout(wake, waitMs));
        // UDP has no back-pressure: what comes all at once would be lost.
        else if (pace === 0 && index % 32 === 0) await new Promise((wake) => setImmediate(wake));
        if (socket.destroyed) return;
        const target = tracks.get(track);
        if (target === undefined) continue;
        this.#report(target, track, mediaMs, packet);
        const again = this.#inRound(packet, track, round);
        const changed = this.#options.change?.(again, { track, index }) ?? [again];
        for (const one of changed) target.send(false, one);
        index += 1;
      }
    }
    if (hangUp) socket.end();
  }

  #inRound(packet: Buffer, track: number, round: number): Buffer {
    const copy = Buffer.from(packet);
    if (round === 0) return copy;
    const { lengthMs, rates } = this.#capture;
    const count = this.#counts.get(track) ?? 0;
    copy.writeUInt16BE((copy.readUInt16BE(2) + round * count) & 0xffff, 2);
    const ticks = Math.round((round * lengthMs * (rates[track] ?? 90_000)) / 1000);
    copy.writeUInt32BE((copy.readUInt32BE(4) + ticks) >>> 0, 4);
    return copy;
  }

  readonly #reported = new Map<Track, number>();

  #report(target: Track, track: number, mediaMs: number, packet: Buffer): void {
    const second = Math.floor(mediaMs / 1000);
    if (this.#reported.get(target) === second) return;
    this.#reported.set(target, second);
    const ntpMs = this.#options.reportMs?.(mediaMs, track) ?? null;
    if (ntpMs === null) return;
    const report = Buffer.alloc(28);
    report.writeUInt32BE(0x80c8_0006, 0);
    packet.copy(report, 4, 8, 12);
    report.writeUInt32BE((Math.floor(ntpMs / 1000) + 2_208_988_800) >>> 0, 8);
    report.writeUInt32BE(Math.floor(((ntpMs % 1000) / 1000) * 2 ** 32) >>> 0, 12);
    report.writeUInt32BE(timestampOf(packet) ?? 0, 16);
    target.send(true, report);
  }
}
