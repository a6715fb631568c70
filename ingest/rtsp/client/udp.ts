/**
 * RTP and RTCP of one track over UDP: a pair of ports, and packets put back into their order.
 *
 * Only what comes from the camera's own address is taken. At most `waitingMax` packets wait for
 * an earlier one, at most `waitMsMax`; then it counts as lost, which shows as a gap in the
 * sequence numbers of what is handed on.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { Clock } from '../../../storage/ports.ts';
import { SourceError } from '../../source.ts';
import { sequenceOf } from '../rtp.ts';

export const waitingMax = 64;
export const waitMsMax = 200;
const portAttempts = 16;
/** A keyframe of a 4K camera, all at once; the system may grant less. */
const receiveBufferBytes = 2 * 1024 * 1024;

/** Puts packets back into the order of their sequence numbers (RFC 3550, appendix A.1). */
export class Reorder {
  readonly #deliver: (packet: Buffer) => void;
  readonly #waiting = new Map<number, { readonly packet: Buffer; readonly sinceMs: number }>();
  #next: number | null = null;

  constructor(deliver: (packet: Buffer) => void) {
    this.#deliver = deliver;
  }

  push(packet: Buffer, nowMs: number): void {
    const sequence = sequenceOf(packet);
    if (sequence === null) return;
    const ahead = this.#next === null ? 0 : (sequence - this.#next) & 0xffff;
    // It was given up on, or came twice.
    if (ahead > 0xffff - waitingMax) return;
    if (ahead > waitingMax) this.#startOver();
    if (ahead !== 0 && this.#next !== null) {
      this.#waiting.set(sequence, { packet, sinceMs: nowMs });
      this.#giveUp(nowMs);
      return;
    }
    this.#pass(packet, sequence);
  }

  #pass(packet: Buffer, sequence: number): void {
    this.#deliver(packet);
    this.#next = (sequence + 1) & 0xffff;
    for (;;) {
      const waiting = this.#waiting.get(this.#next);
      if (waiting === undefined) return;
      this.#waiting.delete(this.#next);
      this.#deliver(waiting.packet);
      this.#next = (this.#next + 1) & 0xffff;
    }
  }

  /** Goes on behind the gap once it was waited for long enough. */
  #giveUp(nowMs: number): void {
    const [oldest] = this.#waiting.values();
    const isLate = oldest !== undefined && nowMs - oldest.sinceMs >= waitMsMax;
    if (!isLate && this.#waiting.size < waitingMax) return;
    const first = this.#inOrder()[0];
    const found = first === undefined ? undefined : this.#waiting.get(first);
    if (first === undefined || found === undefined) return;
    this.#waiting.delete(first);
    this.#pass(found.packet, first);
  }

  /** The camera begins to count anew: what waited is handed on as it is. */
  #startOver(): void {
    for (const sequence of this.#inOrder()) {
      const found = this.#waiting.get(sequence);
      if (found !== undefined) this.#deliver(found.packet);
    }
    this.#waiting.clear();
    this.#next = null;
  }

  #inOrder(): readonly number[] {
    const from = this.#next ?? 0;
    return [...this.#waiting.keys()].sort((a, b) => ((a - from) & 0xffff) - ((b - from) & 0xffff));
  }
}

/** The two ports of one track. */
export class UdpTrack {
  readonly port: number;
  readonly #rtp: Socket;
  readonly #rtcp: Socket;
  #camera: { readonly address: string; readonly rtcpPort: number | null } | null = null;
  #isClosed = false;

  private constructor(rtp: Socket, rtcp: Socket, port: number) {
    this.#rtp = rtp;
    this.#rtcp = rtcp;
    this.port = port;
  }

  /**
   * @param camera its IP address: nobody else is listened to
   * @param onPacket takes packets in order, RTCP as it comes
   */
  static async open(options: {
    readonly camera: string;
    readonly clock: Clock;
    readonly onPacket: (isRtcp: boolean, packet: Buffer) => void;
  }): Promise<UdpTrack> {
    const { camera, clock, onPacket } = options;
    const [rtp, rtcp] = await bindPair(isIPv6(camera) ? 'udp6' : 'udp4');
    const track = new UdpTrack(rtp, rtcp, rtp.address().port);
    const reorder = new Reorder((packet) => {
      onPacket(false, packet);
    });
    rtp.on('message', (packet, { address }) => {
      if (address === camera) reorder.push(packet, clock.monotonicMs());
    });
    rtcp.on('message', (packet, { address }) => {
      if (address === camera) onPacket(true, packet);
    });
    return track;
  }

  /** Tells where the camera takes receiver reports; null: it did not say. */
  aim(address: string, rtcpPort: number | null): void {
    this.#camera = { address, rtcpPort };
  }

  report(packet: Buffer): void {
    const { address, rtcpPort } = this.#camera ?? { address: '', rtcpPort: null };
    if (this.#isClosed || rtcpPort === null) return;
    this.#rtcp.send(packet, rtcpPort, address, () => undefined);
  }

  /** Twice is harmless. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#rtcp.close();
    this.#rtp.close();
  }
}

/** RTP wants an even port, and RTCP the next one (RFC 3550, section 11). */
async function bindPair(type: 'udp4' | 'udp6'): Promise<readonly [Socket, Socket]> {
  for (let attempt = 0; attempt < portAttempts; attempt += 1) {
    const first = await bound(type, 0);
    const { port } = first?.address() ?? { port: 0 };
    const other = first === null ? null : await bound(type, port % 2 === 0 ? port + 1 : port - 1);
    if (first !== null && other !== null) return port % 2 === 0 ? [first, other] : [other, first];
    first?.close();
  }
  throw new SourceError('unreachable', 'there are no two UDP ports free for RTP and RTCP');
}

async function bound(type: 'udp4' | 'udp6', port: number): Promise<Socket | null> {
  const socket = createSocket({ type, recvBufferSize: receiveBufferBytes });
  socket.bind(port);
  try {
    await once(socket, 'listening');
    // A camera that closed its ports answers reports with an ICMP message, which is no error.
    socket.on('error', () => undefined);
    return socket;
  } catch {
    socket.close();
    return null;
  }
}
