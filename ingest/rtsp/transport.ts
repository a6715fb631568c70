/**
 * The Transport header (RFC 2326 section 12.39): a client offers several, and the first that is
 * RTP over this very TCP connection is taken. UDP is refused with 461, upon which clients that
 * can do both (VLC, ffplay) ask again for TCP.
 */
import { RtspError } from './errors.ts';

export interface InterleavedTransport {
  /** The channel that the client asked for; RTCP goes on the next one. */
  readonly channel: number | null;
}

/** @throws RtspError `unsupported-transport`, or `bad-request` when the header is missing */
export function parseTransport(header: string | undefined): InterleavedTransport {
  if (header === undefined) throw new RtspError('bad-request', 'SETUP without Transport');
  for (const offer of header.split(',')) {
    const [profile = '', ...parameters] = offer.split(';').map((part) => part.trim());
    if (profile.toUpperCase() !== 'RTP/AVP/TCP') continue;
    const interleaved = parameters.find((part) => /^interleaved=/i.test(part));
    if (interleaved === undefined) return { channel: null };
    const match = /^interleaved=(\d{1,3})(?:-(\d{1,3}))?$/i.exec(interleaved);
    const channel = Number(match?.[1] ?? 256);
    const rtcp = Number(match?.[2] ?? channel + 1);
    if (channel > 254 || rtcp !== channel + 1) {
      throw new RtspError('bad-request', 'interleaved channels must be a pair below 256');
    }
    return { channel };
  }
  throw new RtspError('unsupported-transport', 'only RTP/AVP/TCP is served, interleaved');
}

/** The lowest even channel whose pair is free in `used`; null when all are taken. */
export function freeChannel(used: ReadonlySet<number>): number | null {
  for (let channel = 0; channel < 255; channel += 2) {
    if (!used.has(channel) && !used.has(channel + 1)) return channel;
  }
  return null;
}
