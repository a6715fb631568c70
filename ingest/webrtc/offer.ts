/**
 * Reads the session description that a WebRTC client offers (RFC 8866, 8829, 9725), as far as a
 * server needs it that has one transport for everything (BUNDLE), is ICE-lite and never offers.
 *
 * What is read is checked here once; the rest of this folder relies on it. What of it is taken is
 * codecs.ts's business.
 */
import type { DtlsFingerprint, FingerprintAlgorithm } from 'mediasoup/types';
import { parse, parseParams, type ParsedMedia, type ParsedSession } from 'sdp-transform';
import { WebRtcError } from './errors.ts';

export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

export interface OfferedCodec {
  readonly payloadType: number;
  /** Encoding name in lower case, such as `h264`. */
  readonly name: string;
  readonly clockRate: number;
  /** 1 where the offer does not say. */
  readonly channels: number;
  /** Of `a=fmtp`, names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Such as `nack pli`. */
  readonly feedback: readonly string[];
  /** Of the retransmission stream for this codec (RFC 4588). */
  readonly rtxPayloadType: number | null;
}

export interface OfferedMedia {
  /** `video`, `audio`, `application`, … */
  readonly kind: string;
  readonly mid: string;
  readonly protocol: string;
  /** The formats of the `m=` line as they came, for an answer that refuses it. */
  readonly formats: string;
  readonly direction: Direction;
  /** It is taken only when the other side can receive it over the one transport. */
  readonly isUsable: boolean;
  readonly codecs: readonly OfferedCodec[];
  readonly extensions: readonly { readonly id: number; readonly uri: string }[];
  /** Of the one stream that is sent; null: only its MID tells. */
  readonly ssrc: number | null;
  readonly rtxSsrc: number | null;
}

export interface IceCredentials {
  readonly usernameFragment: string;
  readonly password: string;
}

export interface Offer {
  readonly ice: IceCredentials;
  readonly fingerprints: readonly DtlsFingerprint[];
  /** Which end begins the DTLS handshake. */
  readonly dtlsClient: 'they' | 'we';
  readonly media: readonly OfferedMedia[];
}

export const offerBytesMax = 64 * 1024;
const linesMax = 4_000;
const mediaMax = 32;
const codecsMax = 128;
const algorithms: ReadonlySet<string> = new Set([
  'sha-1',
  'sha-224',
  'sha-256',
  'sha-384',
  'sha-512',
]);
const directions: ReadonlySet<string> = new Set(['sendrecv', 'sendonly', 'recvonly', 'inactive']);

/** @throws WebRtcError `malformed`; `not-acceptable` for one that needs more than one transport */
export function parseOffer(text: string): Offer {
  if (Buffer.byteLength(text) > offerBytesMax) throw malformed('it is too long');
  if (!/^v=0\r?\n/.test(text)) throw malformed('the first line is not v=0');
  if (text.split('\n').length > linesMax) throw malformed('it has too many lines');
  const session = parse(text);
  const { media } = session;
  if (media.length === 0) throw malformed('it has no media');
  if (media.length > mediaMax) throw malformed(`it has more than ${mediaMax} media`);
  const bundled = bundledOf(session);
  const read = media.map((one, index) => mediaOf(one, index, bundled));
  if (new Set(read.map(({ mid }) => mid)).size < read.length)
    throw malformed('a mid is there twice');
  // The transport is that of the first of the bundle (RFC 9143).
  const first = media[read.findIndex(({ isUsable }) => isUsable)];
  if (first === undefined) {
    throw new WebRtcError(
      'not-acceptable',
      'Nothing in the offer can go over one transport: BUNDLE, rtcp-mux and UDP/TLS/RTP/SAVPF are needed.',
    );
  }
  return {
    ice: iceOf(first, session),
    fingerprints: [fingerprintOf(first, session)],
    dtlsClient: dtlsClientOf(first, session),
    media: read,
  };
}

/**
 * Reads the fragment that a client sends while its session is set up, or to restart ICE (RFC 8840).
 * @returns its credentials; null: candidates alone
 * @throws WebRtcError `malformed`
 */
export function parseFragment(text: string): IceCredentials | null {
  if (Buffer.byteLength(text) > offerBytesMax) throw malformed('the fragment is too long');
  const lines = text.split(/\r?\n/).filter((line) => line !== '');
  if (lines.length === 0 || lines.some((line) => !/^[a-z]=/.test(line))) {
    throw malformed('the fragment is not SDP');
  }
  const value = (name: string): string | undefined =>
    lines.find((line) => line.startsWith(`a=${name}:`))?.slice(name.length + 3);
  const [usernameFragment, password] = [value('ice-ufrag'), value('ice-pwd')];
  if (usernameFragment === undefined && password === undefined) return null;
  return credentials(usernameFragment, password);
}

function bundledOf({ groups, media }: ParsedSession): ReadonlySet<string> {
  const mids = groups?.find(({ type }) => type === 'BUNDLE')?.mids;
  if (mids !== undefined) return new Set(String(mids).split(' '));
  // With one there is nothing to bundle.
  return new Set(media.length === 1 ? [String(media[0]?.mid ?? '0')] : []);
}

function mediaOf(media: ParsedMedia, index: number, bundled: ReadonlySet<string>): OfferedMedia {
  const mid = String(media.mid ?? index);
  if (!/^[\w!#$%&'*+\-.^`{|}~]{1,32}$/.test(mid)) throw malformed('a mid that is no token');
  const kind = String(media.type ?? '');
  const protocol = String(media.protocol ?? '');
  const formats = String(media.payloads ?? '');
  if (!/^[a-z]{1,32}$/.test(kind) || !/^[\w/]{1,64}$/.test(protocol)) {
    throw malformed('a media line that can not be read');
  }
  if (!/^[\w .-]{1,1000}$/.test(formats)) throw malformed('formats that can not be read');
  const direction = String(media.direction ?? 'sendrecv');
  const isRtp = /^(UDP\/TLS\/|TCP\/DTLS\/)?RTP\/SAVPF?$/.test(protocol);
  const ssrcs = ssrcsOf(media);
  return {
    ...{ kind, mid, protocol, formats, ...ssrcs },
    direction: directions.has(direction) ? (direction as Direction) : 'sendrecv',
    isUsable: isRtp && bundled.has(mid) && media.rtcpMux !== undefined,
    codecs: isRtp ? codecsOf(media, formats) : [],
    extensions: (media.ext ?? []).flatMap(({ value, uri }) => {
      const id = Number(String(value).split('/')[0]);
      return Number.isInteger(id) && id >= 1 && id <= 255 ? [{ id, uri: String(uri) }] : [];
    }),
  };
}

function codecsOf(media: ParsedMedia, formats: string): readonly OfferedCodec[] {
  const payloadTypes = formats.split(' ').map(Number);
  if (payloadTypes.length > codecsMax) throw malformed(`more than ${codecsMax} codecs`);
  const parameters = new Map<number, ReadonlyMap<string, string>>();
  for (const { payload, config } of media.fmtp) {
    if (config !== undefined) parameters.set(Number(payload), parametersOf(String(config)));
  }
  const named = new Map<number, { name: string; clockRate: number; channels: number }>(staticTypes);
  for (const { payload, codec, rate, encoding } of media.rtp) {
    const clockRate = Number(rate);
    if (!Number.isInteger(clockRate) || clockRate < 1 || clockRate > 1_000_000) continue;
    const channels = Number(encoding ?? 1);
    named.set(Number(payload), {
      name: String(codec).toLowerCase(),
      clockRate,
      channels: Number.isInteger(channels) && channels > 0 ? channels : 1,
    });
  }
  const rtx = new Map<number, number>();
  for (const payloadType of payloadTypes) {
    if (named.get(payloadType)?.name !== 'rtx') continue;
    rtx.set(Number(parameters.get(payloadType)?.get('apt')), payloadType);
  }
  return payloadTypes.flatMap((payloadType) => {
    const codec = named.get(payloadType);
    const isValid = Number.isInteger(payloadType) && payloadType >= 0 && payloadType <= 127;
    if (!isValid || codec === undefined || codec.name === 'rtx') return [];
    return [
      {
        ...{ payloadType, ...codec },
        parameters: parameters.get(payloadType) ?? new Map<string, string>(),
        feedback: feedbackOf(media, payloadType),
        rtxPayloadType: rtx.get(payloadType) ?? null,
      },
    ];
  });
}

/** Those that need no rtpmap and that a browser may name so (RFC 3551). */
const staticTypes: readonly [number, { name: string; clockRate: number; channels: number }][] = [
  [0, { name: 'pcmu', clockRate: 8_000, channels: 1 }],
  [8, { name: 'pcma', clockRate: 8_000, channels: 1 }],
];

function parametersOf(config: string): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(parseParams(config)).map(([name, value]) => [
      name.trim().toLowerCase(),
      String(value ?? '').trim(),
    ]),
  );
}

function feedbackOf({ rtcpFb }: ParsedMedia, payloadType: number): readonly string[] {
  return (rtcpFb ?? [])
    .filter(({ payload }) => payload === '*' || Number(payload) === payloadType)
    .map(({ type, subtype }) =>
      subtype === undefined ? String(type) : `${type ?? ''} ${subtype}`,
    );
}

function ssrcsOf({ ssrcs, ssrcGroups }: ParsedMedia): {
  readonly ssrc: number | null;
  readonly rtxSsrc: number | null;
} {
  const group = ssrcGroups?.find(({ semantics }) => semantics === 'FID');
  const [main, rtx] = String(group?.ssrcs ?? '')
    .split(' ')
    .map(Number);
  const isSsrc = (value: number | undefined): value is number =>
    value !== undefined && Number.isInteger(value) && value > 0 && value < 2 ** 32;
  if (isSsrc(main) && isSsrc(rtx)) return { ssrc: main, rtxSsrc: rtx };
  const only = Number(ssrcs?.[0]?.id ?? 0);
  return { ssrc: isSsrc(only) ? only : null, rtxSsrc: null };
}

function iceOf(media: ParsedMedia, session: ParsedSession): IceCredentials {
  return credentials(
    String(media.iceUfrag ?? session.iceUfrag ?? ''),
    String(media.icePwd ?? session.icePwd ?? ''),
  );
}

/** RFC 8839 section 5.4. */
function credentials(
  usernameFragment: string | undefined,
  password: string | undefined,
): IceCredentials {
  if (
    usernameFragment === undefined ||
    password === undefined ||
    !/^[a-zA-Z0-9+/=\-_]{4,256}$/.test(usernameFragment) ||
    !/^[a-zA-Z0-9+/=\-_]{22,256}$/.test(password)
  ) {
    throw malformed('its ICE credentials are missing, or none');
  }
  return { usernameFragment, password };
}

function fingerprintOf(media: ParsedMedia, session: ParsedSession): DtlsFingerprint {
  const { type, hash } = media.fingerprint ?? session.fingerprint ?? {};
  const algorithm = String(type ?? '').toLowerCase();
  const value = String(hash ?? '');
  if (!algorithms.has(algorithm) || !/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){15,63}$/.test(value)) {
    throw malformed('the fingerprint of its certificate is missing, or none');
  }
  return { algorithm: algorithm as FingerprintAlgorithm, value: value.toUpperCase() };
}

function dtlsClientOf(media: ParsedMedia, session: ParsedSession): 'they' | 'we' {
  const setup = String(media.setup ?? session.setup ?? 'actpass');
  if (setup === 'passive') return 'we';
  if (setup === 'actpass' || setup === 'active') return 'they';
  throw malformed('its a=setup is unknown');
}

function malformed(what: string): WebRtcError {
  return new WebRtcError('malformed', `The session description can't be used: ${what}.`);
}
