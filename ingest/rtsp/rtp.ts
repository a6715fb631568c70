/**
 * The fields of RTP and RTCP packets that somebody here looks at (RFC 3550). Media is not looked
 * into: that is ffmpeg's, except for what a probe wants to know (client/probe.ts).
 */

export interface RtpPacket {
  readonly sequence: number;
  readonly timestamp: number;
  /** Ends an access unit, for video. */
  readonly marker: boolean;
  readonly payload: Buffer;
}

export interface SenderReport {
  readonly ntpMs: number;
  /** The same instant on the track's own clock. */
  readonly timestamp: number;
}

/** Seconds from 1900 (NTP) to 1970. */
const ntpToUnixSeconds = 2_208_988_800;

/** The sequence number of the RTP packet that begins at `at`; null for what is none. */
export function sequenceOf(bytes: Buffer, at = 0): number | null {
  return isRtp(bytes, at) ? bytes.readUInt16BE(at + 2) : null;
}

/** The timestamp of the RTP packet that begins at `at`; null for what is none. */
export function timestampOf(bytes: Buffer, at = 0): number | null {
  return isRtp(bytes, at) ? bytes.readUInt32BE(at + 4) : null;
}

function isRtp(bytes: Buffer, at: number): boolean {
  return bytes.length >= at + 12 && (bytes[at] ?? 0) >> 6 === 2;
}

/** An RTP packet taken apart (section 5.1); null for what is none. */
export function readRtp(packet: Buffer): RtpPacket | null {
  const sequence = sequenceOf(packet);
  if (sequence === null) return null;
  const flags = packet.readUInt8(0);
  let start = 12 + 4 * (flags & 0x0f);
  if ((flags & 0x10) !== 0) {
    if (packet.length < start + 4) return null;
    start += 4 + 4 * packet.readUInt16BE(start + 2);
  }
  const padding = (flags & 0x20) !== 0 ? (packet.at(-1) ?? 0) : 0;
  if (start + padding > packet.length) return null;
  return {
    sequence,
    timestamp: packet.readUInt32BE(4),
    marker: (packet.readUInt8(1) & 0x80) !== 0,
    payload: packet.subarray(start, packet.length - padding),
  };
}

/**
 * The sender report at the head of the compound RTCP packet that begins at `at` (section 6.4.1), if
 * it has one.
 */
export function readSenderReport(bytes: Buffer, at = 0): SenderReport | null {
  const senderReport = 200;
  const bytesMin = 28;
  if (bytes.length < at + bytesMin || (bytes[at] ?? 0) >> 6 !== 2) return null;
  if (bytes[at + 1] !== senderReport) return null;
  const seconds = bytes.readUInt32BE(at + 8) - ntpToUnixSeconds;
  return {
    ntpMs: seconds * 1000 + (bytes.readUInt32BE(at + 12) / 2 ** 32) * 1000,
    timestamp: bytes.readUInt32BE(at + 16),
  };
}

/** `to - from` of two RTP timestamps, which wrap around; negative when `to` is the earlier one. */
export function ticksBetween(from: number, to: number): number {
  return (to - from) | 0;
}

/** Counts what is missing between the packets of one track. */
export class SequenceWatch {
  #last: number | null = null;

  /** How many packets are missing before the one that begins at `at`. */
  missingBefore(bytes: Buffer, at = 0): number {
    const sequence = sequenceOf(bytes, at);
    if (sequence === null) return 0;
    const last = this.#last;
    const ahead = last === null ? 1 : (sequence - last) & 0xffff;
    // Far ahead is a new beginning, and behind is late: neither says that something is missing.
    if (ahead === 0 || ahead > 0x8000) return 0;
    this.#last = sequence;
    return ahead > 3000 ? 0 : ahead - 1;
  }
}
