/**
 * Makes of a camera's H.264 packets (RFC 6184) what a browser can play: none larger than the path
 * takes, since over TCP cameras send what they like; parameter sets before every keyframe, which
 * many cameras tell only in their session description; numbered without holes but where packets are
 * missing.
 *
 * Nothing waits for a whole picture: what comes goes at once.
 */
import { nalTypes } from '../../../ingest/rtsp/h264-packets.ts';
import { readRtp, type RtpPacket } from '../../../ingest/rtsp/rtp.ts';

/** With what comes around it, it stays below the 1,280 bytes that every path carries. */
const payloadBytesMax = 1_180;
const headerBytes = 12;

export interface RepacketizerOptions {
  readonly payloadType: number;
  readonly ssrc: number;
  /** Of the session description: parameter sets, without start codes. */
  readonly parameterSets: readonly Buffer[];
}

export class H264Repacketizer {
  readonly #payloadType: number;
  readonly #ssrc: number;
  /** The newest ones, by NAL type; of cameras with several, all that the description has. */
  #sets: readonly Buffer[];
  /** The picture that has had its parameter sets. */
  #setsTimestamp: number | null = null;
  #lastIn: number | null = null;
  #nextOut = 0;

  constructor({ payloadType, ssrc, parameterSets }: RepacketizerOptions) {
    this.#payloadType = payloadType;
    this.#ssrc = ssrc;
    this.#sets = parameterSets;
  }

  /**
   * @param packet an RTP packet of the camera
   * @param timestamp for it; its own when left out
   * @returns RTP packets; none for what is no packet, came twice or too late
   */
  take(packet: Buffer, timestamp?: number): readonly Buffer[] {
    const rtp = readRtp(packet);
    if (rtp === null || rtp.payload.length < 2 || !this.#follows(rtp.sequence)) return [];
    const at = timestamp ?? rtp.timestamp;
    const pieces = [...this.#missingSets(rtp), ...split(rtp.payload)];
    return pieces.map((piece, index) =>
      this.#packet(piece, at, rtp.marker && index === pieces.length - 1),
    );
  }

  /** Something else is sent from here on, whose packets have numbers of their own. */
  startOver(): void {
    this.#lastIn = null;
    this.#setsTimestamp = null;
  }

  #follows(sequence: number): boolean {
    const ahead = this.#lastIn === null ? 1 : (sequence - this.#lastIn) & 0xffff;
    if (ahead === 0 || (ahead > 0x8000 && ahead > 0x10000 - 1_000)) return false;
    this.#lastIn = sequence;
    // A hole tells the browser that it has to wait for a keyframe.
    if (ahead > 1 && ahead < 1_000) this.#nextOut = (this.#nextOut + ahead - 1) & 0xffff;
    return true;
  }

  /** Parameter sets for a keyframe that comes without, as one packet if they fit. */
  #missingSets({ payload, timestamp }: RtpPacket): readonly Buffer[] {
    let needed = false;
    for (const unit of unitsOf(payload)) {
      const type = (unit[0] ?? 0) & 0x1f;
      if (type === nalTypes.sps || type === nalTypes.pps) {
        this.#keep(unit, type);
        this.#setsTimestamp = timestamp;
      } else if (type === nalTypes.idr && this.#setsTimestamp !== timestamp) needed = true;
    }
    const begins = fragmentStart(payload);
    if (begins === nalTypes.idr && this.#setsTimestamp !== timestamp) needed = true;
    if (!needed || this.#sets.length === 0) return [];
    this.#setsTimestamp = timestamp;
    const together = aggregated(this.#sets);
    return together.length <= payloadBytesMax ? [together] : this.#sets.flatMap(split);
  }

  #keep(unit: Buffer, type: number): void {
    if (this.#sets.some((set) => set.equals(unit))) return;
    const others = this.#sets.filter((set) => ((set[0] ?? 0) & 0x1f) !== type);
    // Copied: a piece of a read buffer would keep the whole of it alive.
    const sets = [...others, Buffer.from(unit)];
    this.#sets = sets.sort((a, b) => ((a[0] ?? 0) & 0x1f) - ((b[0] ?? 0) & 0x1f));
  }

  #packet(payload: Buffer, timestamp: number, marker: boolean): Buffer {
    const packet = Buffer.allocUnsafe(headerBytes + payload.length);
    packet[0] = 0x80;
    packet[1] = (marker ? 0x80 : 0) | this.#payloadType;
    packet.writeUInt16BE(this.#nextOut, 2);
    packet.writeUInt32BE(timestamp >>> 0, 4);
    packet.writeUInt32BE(this.#ssrc, 8);
    payload.copy(packet, headerBytes);
    this.#nextOut = (this.#nextOut + 1) & 0xffff;
    return packet;
  }
}

/**
 * The parameter sets that a camera tells in `sprop-parameter-sets` of its `a=fmtp` (RFC 6184
 * section 8.1). What is none is left out.
 */
export function parameterSetsOf(lines: readonly string[]): readonly Buffer[] {
  const text = /[; ]sprop-parameter-sets=([A-Za-z0-9+/=,]{1,4096})/.exec(
    lines.find((line) => line.startsWith('a=fmtp:')) ?? '',
  )?.[1];
  return (text ?? '')
    .split(',')
    .map((one) => Buffer.from(one, 'base64'))
    .filter((set) => set.length > 2 && [nalTypes.sps, nalTypes.pps].some(isTypeOf(set)));
}

/** `profile-level-id` of what a camera sends, in hexadecimal; null: it does not tell. */
export function profileOf(sets: readonly Buffer[]): string | null {
  const sps = sets.find((set) => isTypeOf(set)(nalTypes.sps));
  return sps === undefined ? null : sps.subarray(1, 4).toString('hex');
}

function isTypeOf(unit: Buffer): (type: number) => boolean {
  return (type) => ((unit[0] ?? 0) & 0x1f) === type;
}

/** The whole NAL units of a payload. */
function unitsOf(payload: Buffer): readonly Buffer[] {
  const type = (payload[0] ?? 0) & 0x1f;
  if (type >= 1 && type <= 23) return [payload];
  if (type !== nalTypes.stapA) return [];
  const units: Buffer[] = [];
  for (let at = 1; at + 2 < payload.length;) {
    const length = payload.readUInt16BE(at);
    const unit = payload.subarray(at + 2, at + 2 + length);
    if (unit.length > 0) units.push(unit);
    at += 2 + length;
  }
  return units;
}

/** The type of the NAL unit whose first fragment this is, or null. */
function fragmentStart(payload: Buffer): number | null {
  const header = payload[1] ?? 0;
  const isStart = ((payload[0] ?? 0) & 0x1f) === nalTypes.fuA && (header & 0x80) !== 0;
  return isStart ? header & 0x1f : null;
}

/** A payload as such that fit into a packet. */
function split(payload: Buffer): readonly Buffer[] {
  if (payload.length <= payloadBytesMax) return [payload];
  const type = (payload[0] ?? 0) & 0x1f;
  if (type === nalTypes.fuA) {
    const header = payload[1] ?? 0;
    return fragments(payload[0] ?? 0, header & 0x1f, payload.subarray(2), {
      first: (header & 0x80) !== 0,
      last: (header & 0x40) !== 0,
    });
  }
  return unitsOf(payload).flatMap((unit) =>
    unit.length <= payloadBytesMax
      ? [unit]
      : fragments(unit[0] ?? 0, (unit[0] ?? 0) & 0x1f, unit.subarray(1), {
          first: true,
          last: true,
        }),
  );
}

/** Fragments (FU-A) of a NAL unit, or of a piece of one. */
function fragments(
  indicator: number,
  type: number,
  body: Buffer,
  ends: { readonly first: boolean; readonly last: boolean },
): readonly Buffer[] {
  const pieceBytes = payloadBytesMax - 2;
  const pieces: Buffer[] = [];
  for (let at = 0; at < body.length; at += pieceBytes) {
    const isFirst = ends.first && at === 0;
    const isLast = ends.last && at + pieceBytes >= body.length;
    const header = Buffer.from([
      (indicator & 0xe0) | nalTypes.fuA,
      (isFirst ? 0x80 : 0) | (isLast ? 0x40 : 0) | type,
    ]);
    pieces.push(Buffer.concat([header, body.subarray(at, at + pieceBytes)]));
  }
  return pieces;
}

/** Several NAL units as one payload (STAP-A). */
function aggregated(units: readonly Buffer[]): Buffer {
  const importance = Math.max(...units.map((unit) => (unit[0] ?? 0) & 0x60));
  const parts = units.flatMap((unit) => {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(unit.length);
    return [length, unit];
  });
  return Buffer.concat([Buffer.from([importance | nalTypes.stapA]), ...parts]);
}
