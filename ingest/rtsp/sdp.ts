/**
 * Session descriptions (RFC 8866): as much of them as a relay needs. What a camera announces is
 * passed on to readers line by line; only the control addresses become ours.
 *
 * What the codecs' parameters mean is ffmpeg's business.
 */
import { RtspError } from './errors.ts';

export interface Media {
  readonly kind: string;
  /** As the camera calls it in SETUP; empty when it gave none. */
  readonly control: string;
  /** Encoding name in upper case, such as `H264`; null where the description does not say. */
  readonly codec: string | null;
  /** `RTP/AVP` for what is served here. */
  readonly profile: string;
  /** The lines of this media, `m=` first. */
  readonly lines: readonly string[];
}

export interface SessionDescription {
  readonly lines: readonly string[];
  readonly media: readonly Media[];
}

const mediaMax = 8;
const recordedVideo: ReadonlySet<string> = new Set(['H264', 'H265']);
/** Payload types that need no rtpmap (RFC 3551 section 6). */
const staticCodecs: ReadonlyMap<string, string> = new Map([
  ['0', 'PCMU'],
  ['3', 'GSM'],
  ['4', 'G723'],
  ['8', 'PCMA'],
  ['9', 'G722'],
  ['10', 'L16'],
  ['11', 'L16'],
  ['14', 'MPA'],
  ['18', 'G729'],
  ['26', 'JPEG'],
  ['32', 'MPV'],
]);

/**
 * Reads what a publisher announces.
 *
 * @throws RtspError `bad-request` for what is not SDP, `unsupported-media` when there is no
 *   H.264 or H.265 in it, or the media is encrypted (SRTP)
 */
export function parseAnnounced(body: Buffer): SessionDescription {
  const lines = linesOf(body);
  if (lines[0] !== 'v=0') throw invalid('the first line is not v=0');
  const wrong = lines.find((line) => !/^[a-z]=/.test(line));
  if (wrong !== undefined) throw invalid('a line without a type');
  const session = sessionOf(lines);
  const other = session.media.find(({ profile }) => profile !== 'RTP/AVP');
  if (other !== undefined) {
    throw new RtspError('unsupported-media', `media over ${other.profile.slice(0, 32)}`);
  }
  requireVideo(session);
  return session;
}

/**
 * Reads what a camera describes itself as. Cameras add lines and media of their own making, which
 * are passed over: only one video and one audio track are of interest (`recordedTracks`).
 *
 * @throws RtspError as `parseAnnounced`
 */
export function parseDescribed(body: Buffer): SessionDescription {
  const session = sessionOf(linesOf(body).filter((line) => /^[a-z]=/.test(line)));
  requireVideo(session);
  return session;
}

/** The tracks of a camera that are recorded: the first video that can be, the first audio. */
export function recordedTracks({ media }: SessionDescription): readonly number[] {
  const video = media.findIndex(isRecordedVideo);
  const audio = media.findIndex(({ kind, profile }) => kind === 'audio' && profile === 'RTP/AVP');
  return [video, audio].filter((index) => index !== -1);
}

/** What an attribute of the session as a whole says, or null. */
export function sessionAttribute(session: SessionDescription, name: string): string | null {
  return attribute(session.lines, `${name}:`)?.trim() ?? null;
}

/** What an attribute of a media says, or null. */
export function mediaAttribute(media: Media, name: string): string | null {
  return attribute(media.lines, `${name}:`)?.trim() ?? null;
}

/** Ticks per second of a media's RTP timestamps. */
export function clockRate(media: Media | undefined): number {
  const named = /^\d+ [^/]+\/(\d{1,6})/.exec(
    media === undefined ? '' : (mediaAttribute(media, 'rtpmap') ?? ''),
  );
  const rate = Number(named?.[1] ?? 0);
  // What needs no rtpmap is telephone audio (RFC 3551 section 6).
  return rate > 0 ? rate : media?.kind === 'audio' ? 8_000 : 90_000;
}

function linesOf(body: Buffer): readonly string[] {
  const text = body.toString('utf8');
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text)) throw invalid('control characters');
  return text.split(/\r\n|\n|\r/).filter((line) => line !== '');
}

function sessionOf(lines: readonly string[]): SessionDescription {
  const starts = lines.flatMap((line, index) => (line.startsWith('m=') ? [index] : []));
  if (starts.length === 0) throw invalid('no media');
  if (starts.length > mediaMax) throw invalid(`more than ${mediaMax} media`);
  const media = starts.map((start, n) => parseMedia(lines.slice(start, starts[n + 1])));
  return { lines: lines.slice(0, starts[0]), media };
}

function requireVideo({ media }: SessionDescription): void {
  if (media.some(isRecordedVideo)) return;
  // Encrypted packets (RTP/SAVP) can't be read, whatever codec they hold.
  const found = media
    .map(({ kind, codec, profile }) => {
      const how = profile === 'RTP/AVP' ? '' : ` over ${profile}`;
      return `${kind} ${codec ?? 'unknown'}${how}`;
    })
    .join(', ');
  throw new RtspError('unsupported-media', `no H.264 or H.265 video among: ${found}`);
}

function isRecordedVideo({ kind, codec, profile }: Media): boolean {
  return kind === 'video' && profile === 'RTP/AVP' && recordedVideo.has(codec ?? '');
}

function parseMedia(lines: readonly string[]): Media {
  const match = /^m=([a-z]{1,32}) \d{1,5}(?:\/\d+)? (\S+) (\d{1,3})(?: |$)/.exec(lines[0] ?? '');
  if (match === null) throw invalid('a media line that can not be read');
  const [, kind = '', profile = '', payloadType = ''] = match;
  const rtpmap = attribute(lines, `rtpmap:${payloadType} `);
  const name = rtpmap === null ? staticCodecs.get(payloadType) : rtpmap.split('/')[0];
  return {
    kind,
    control: attribute(lines, 'control:')?.trim() ?? '',
    codec: name?.trim().toUpperCase() ?? null,
    profile,
    lines,
  };
}

function attribute(lines: readonly string[], start: string): string | null {
  return lines.find((line) => line.startsWith(`a=${start}`))?.slice(start.length + 2) ?? null;
}

/** The control address of a track, as readers see it, below the camera's own. */
export function trackControl(index: number): string {
  return `trackID=${index}`;
}

/**
 * The description for readers: the announced one with our control addresses, without ports and
 * directions, and with only those media that `included` says (the ones that were set up).
 */
export function describeToReaders(
  session: SessionDescription,
  included: (index: number) => boolean,
): string {
  const passed = (line: string): boolean =>
    !/^a=(control:|range:|sendonly|recvonly|sendrecv|inactive)/.test(line);
  const media = session.media.flatMap((one, index) => {
    if (!included(index)) return [];
    const [first = '', ...rest] = one.lines;
    const start = first.replace(/^(m=\S+) \S+/, '$1 0');
    return [start, ...rest.filter(passed), `a=control:${trackControl(index)}`];
  });
  return [...session.lines.filter(passed), ...media, ''].join('\r\n');
}

/**
 * Which track a publisher's SETUP means, by what follows the camera in its URL, or null.
 * Cameras give the control relative or as a whole URL, and name neither host nor query reliably.
 */
export function findTrack(media: readonly Media[], url: string, rest: string): number | null {
  const matches = (control: string): boolean =>
    control !== '' && (url === control || rest === control || url.endsWith(`/${control}`));
  const index = media.findIndex((one) => matches(one.control));
  if (index !== -1) return index;
  return media.length === 1 && rest === '' ? 0 : null;
}

function invalid(message: string): RtspError {
  return new RtspError('bad-request', `the session description is not SDP: ${message}`);
}
