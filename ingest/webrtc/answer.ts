/**
 * Writes the answer to an offer (RFC 8829 section 5.3.1): the media that are taken, each with its
 * one codec, over one ICE-lite transport; everything else is refused in its place.
 */
import { isIP } from 'node:net';
import type { DtlsParameters, IceCandidate, IceParameters } from 'mediasoup/types';
import { feedbackOf, extensionsOf, type Taken, type TakenMedia } from './codecs.ts';
import type { IceCredentials, Offer, OfferedMedia } from './offer.ts';

/** One stream that we send. */
export interface SentStream {
  readonly ssrc: number;
  readonly cname: string;
}

export interface AnswerParts {
  readonly offer: Offer;
  readonly taken: TakenMedia;
  /** Numbers the session; digits. */
  readonly sessionId: string;
  readonly ice: IceParameters;
  readonly candidates: readonly IceCandidate[];
  readonly dtls: DtlsParameters;
  /** What is sent to a viewer; null: a publisher is answered, who sends. */
  readonly sends: { readonly video: SentStream; readonly audio: SentStream | null } | null;
}

export function writeAnswer(parts: AnswerParts): string {
  const { offer, taken } = parts;
  const accepted = [taken.video, ...(taken.audio === null ? [] : [taken.audio])];
  const mids = offer.media.filter((media) => accepted.some((one) => one.media === media));
  const lines = [
    'v=0',
    `o=- ${parts.sessionId} 1 IN IP4 127.0.0.1`,
    's=-',
    't=0 0',
    'a=ice-lite',
    `a=group:BUNDLE ${mids.map(({ mid }) => mid).join(' ')}`,
    'a=msid-semantic:WMS *',
    ...offer.media.flatMap((media) => {
      const one = accepted.find((candidate) => candidate.media === media);
      return one === undefined ? refused(media) : mediaLines(one, parts);
    }),
  ];
  return `${lines.join('\r\n')}\r\n`;
}

/** The server's side of a restarted ICE (RFC 9725 section 4.3.3). */
export function writeFragment(ice: IceParameters, candidates: readonly IceCandidate[]): string {
  const lines = [
    'a=ice-lite',
    `a=ice-ufrag:${ice.usernameFragment}`,
    `a=ice-pwd:${ice.password}`,
    ...candidateLines(candidates),
  ];
  return `${lines.join('\r\n')}\r\n`;
}

/** Whether a fragment speaks of another ICE session than the one there is. */
export function isRestart(now: IceCredentials, sent: IceCredentials | null): boolean {
  if (sent === null) return false;
  return sent.usernameFragment !== now.usernameFragment || sent.password !== now.password;
}

/**
 * The candidates that a client is told: where the transport listens on every address, those by
 * which this machine can be reached.
 */
export function candidatesFor(
  candidates: readonly IceCandidate[],
  addresses: readonly string[],
): readonly IceCandidate[] {
  return candidates.flatMap((candidate, index) => {
    const isAny = candidate.ip === '0.0.0.0' || candidate.ip === '::';
    if (!isAny) return [candidate];
    const family = candidate.ip === '::' ? 6 : 4;
    return addresses
      .filter((address) => isIP(address) === family || (isIP(address) === 0 && family === 4))
      .map((address, place) => ({
        ...candidate,
        address,
        foundation: `${candidate.protocol}${index}x${place}`,
        priority: candidate.priority - place,
      }));
  });
}

function refused({ kind, protocol, formats, mid }: OfferedMedia): readonly string[] {
  return [`m=${kind} 0 ${protocol} ${formats}`, 'c=IN IP4 0.0.0.0', `a=mid:${mid}`, 'a=inactive'];
}

function mediaLines(taken: Taken, parts: AnswerParts): readonly string[] {
  const { media, codec } = taken;
  const { ice, candidates, dtls, sends } = parts;
  const isVideo = media.kind === 'video';
  const rtx = sends === null && isVideo ? codec.rtxPayloadType : null;
  const stream = isVideo ? sends?.video : (sends?.audio ?? undefined);
  const [first] = candidates;
  const payloadTypes = [codec.payloadType, ...(rtx === null ? [] : [rtx])].join(' ');
  return [
    `m=${media.kind} ${first?.port ?? 9} ${media.protocol} ${payloadTypes}`,
    'c=IN IP4 0.0.0.0',
    `a=mid:${media.mid}`,
    `a=ice-ufrag:${ice.usernameFragment}`,
    `a=ice-pwd:${ice.password}`,
    ...candidateLines(candidates),
    ...dtls.fingerprints
      .filter(({ algorithm }) => algorithm === 'sha-256')
      .map(({ algorithm, value }) => `a=fingerprint:${algorithm} ${value}`),
    `a=setup:${parts.offer.dtlsClient === 'they' ? 'passive' : 'active'}`,
    sends === null ? 'a=recvonly' : 'a=sendonly',
    'a=rtcp-mux',
    'a=rtcp-rsize',
    ...codecLines(taken, rtx, sends === null ? 'published' : 'played'),
    ...(sends === null ? extensionsOf(taken) : []).map(({ id, uri }) => `a=extmap:${id} ${uri}`),
    ...(stream === undefined ? [] : streamLines(stream, media.kind)),
  ];
}

function codecLines(
  taken: Taken,
  rtx: number | null,
  way: 'published' | 'played',
): readonly string[] {
  const { codec } = taken;
  const { payloadType, clockRate, channels } = codec;
  const name = codec.name === 'opus' ? 'opus' : codec.name.toUpperCase();
  const suffix = channels > 1 ? `/${channels}` : '';
  return [
    `a=rtpmap:${payloadType} ${name}/${clockRate}${suffix}`,
    ...formatLines(taken),
    ...feedbackOf(taken, way).map(({ type, parameter }) =>
      parameter === undefined
        ? `a=rtcp-fb:${payloadType} ${type}`
        : `a=rtcp-fb:${payloadType} ${type} ${parameter}`,
    ),
    ...(rtx === null
      ? []
      : [`a=rtpmap:${rtx} rtx/${clockRate}`, `a=fmtp:${rtx} apt=${payloadType}`]),
  ];
}

function formatLines({ codec }: Taken): readonly string[] {
  if (codec.name === 'opus') return [`a=fmtp:${codec.payloadType} minptime=10;useinbandfec=1`];
  if (codec.name !== 'h264') return [];
  const offered = codec.parameters.get('profile-level-id') ?? '';
  const profile = /^[0-9a-fA-F]{6}$/.test(offered) ? offered : '42e01f';
  return [
    `a=fmtp:${codec.payloadType} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=${profile}`,
  ];
}

function streamLines({ ssrc, cname }: SentStream, kind: string): readonly string[] {
  // One name for both: they are played in step.
  return [`a=msid:${cname} ${kind}`, `a=ssrc:${ssrc} cname:${cname}`];
}

function candidateLines(candidates: readonly IceCandidate[]): readonly string[] {
  return [
    ...candidates.map(({ foundation, protocol, priority, address, port, type, tcpType }) => {
      const kind = tcpType === undefined ? '' : ` tcptype ${tcpType}`;
      return `a=candidate:${foundation} 1 ${protocol} ${priority} ${address} ${port} typ ${type}${kind}`;
    }),
    'a=end-of-candidates',
  ];
}
