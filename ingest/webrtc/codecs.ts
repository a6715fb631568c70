/**
 * What of an offer is taken: one video track of H.264 and, where there is one that fits, one of
 * audio. Nothing else can be recorded and played everywhere: VP8 does not go into MP4, and what
 * ffmpeg 5 takes of VP9 and AV1 over RTP it does not take well enough to be kept.
 */
import type { RtcpFeedback, RtpCodecParameters, RtpParameters } from 'mediasoup/types';
import { WebRtcError } from './errors.ts';
import type { Direction, Offer, OfferedCodec, OfferedMedia } from './offer.ts';

export type AudioCodec = 'opus' | 'pcmu' | 'pcma';

/** A medium of the offer that is taken, with the one codec that it will have. */
export interface Taken {
  readonly media: OfferedMedia;
  readonly codec: OfferedCodec;
}

export interface TakenMedia {
  readonly video: Taken;
  readonly audio: Taken | null;
}

const midUri = 'urn:ietf:params:rtp-hdrext:sdes:mid';
const absSendTimeUri = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time';
const transportCcUri = 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01';
/** Without abs-capture-time, which mediasoup waits for where it was agreed upon. */
const publishedExtensions: ReadonlySet<string> = new Set([midUri, absSendTimeUri, transportCcUri]);
const repairs: readonly string[] = ['nack', 'nack pli', 'ccm fir'];
const bandwidth: readonly string[] = ['goog-remb', 'transport-cc'];

/** What a publisher offers to send. @throws WebRtcError `not-acceptable` */
export function takeToPublish(offer: Offer): TakenMedia {
  const sends: readonly Direction[] = ['sendonly', 'sendrecv'];
  const video = find(offer, 'video', sends, isH264);
  if (video === null) throw noVideo(offer, 'publish');
  return { video, audio: find(offer, 'audio', sends, isAudio('opus')) };
}

/**
 * What a viewer offers to receive.
 * @param profile `profile-level-id` of what will be sent, in hexadecimal; null: not known
 * @param audioCodec of what will be sent; null: none
 * @throws WebRtcError `not-acceptable`
 */
export function takeToPlay(
  offer: Offer,
  profile: string | null,
  audioCodec: AudioCodec | null,
): TakenMedia {
  const receives: readonly Direction[] = ['recvonly', 'sendrecv'];
  // Decoders do not look at what was agreed upon, but some read it to choose one in hardware.
  const sameProfile = (codec: OfferedCodec): boolean =>
    isH264(codec) &&
    codec.parameters.get('profile-level-id')?.slice(0, 2).toLowerCase() ===
      profile?.slice(0, 2).toLowerCase();
  const video =
    find(offer, 'video', receives, sameProfile) ?? find(offer, 'video', receives, isH264);
  if (video === null) throw noVideo(offer, 'play');
  return {
    video,
    audio: audioCodec === null ? null : find(offer, 'audio', receives, isAudio(audioCodec)),
  };
}

function find(
  { media }: Offer,
  kind: string,
  ways: readonly Direction[],
  fits: (codec: OfferedCodec) => boolean,
): Taken | null {
  for (const one of media) {
    if (one.kind !== kind || !one.isUsable || !ways.includes(one.direction)) continue;
    const codec = one.codecs.find(fits);
    if (codec !== undefined) return { media: one, codec };
  }
  return null;
}

/** Mode 0 would have every picture in as many slices as it has packets; nobody sends it by choice. */
function isH264({ name, clockRate, parameters }: OfferedCodec): boolean {
  return name === 'h264' && clockRate === 90_000 && parameters.get('packetization-mode') === '1';
}

function isAudio(wanted: AudioCodec): (codec: OfferedCodec) => boolean {
  const clockRate = wanted === 'opus' ? 48_000 : 8_000;
  const channels = wanted === 'opus' ? 2 : 1;
  return (codec) =>
    codec.name === wanted && codec.clockRate === clockRate && codec.channels === channels;
}

function noVideo({ media }: Offer, what: 'publish' | 'play'): WebRtcError {
  const offered = media
    .filter(({ kind }) => kind === 'video')
    .flatMap(({ codecs }) => codecs.map(({ name }) => name.slice(0, 16)));
  const names = [...new Set(offered)].slice(0, 10).join(', ');
  return new WebRtcError(
    'not-acceptable',
    `H.264 (packetization-mode 1) is needed to ${what}; the offer has ${names === '' ? 'no video for that' : names}.`,
  );
}

/**
 * H.264 goes by one profile inside, whatever was agreed upon: mediasoup compares them, and there is
 * but one stream.
 */
export const h264Parameters = {
  'packetization-mode': 1,
  'profile-level-id': '42e01f',
  'level-asymmetry-allowed': 1,
} as const;

/** The codec in mediasoup's words. */
export function rtpCodec({ media, codec }: Taken): RtpCodecParameters {
  const isVideo = media.kind === 'video';
  return {
    mimeType: mimeTypeOf(codec.name),
    payloadType: codec.payloadType,
    clockRate: codec.clockRate,
    ...(isVideo ? {} : { channels: codec.channels }),
    parameters: isVideo ? { ...h264Parameters } : {},
    rtcpFeedback: feedbackOf({ media, codec }, 'published'),
  };
}

export function mimeTypeOf(name: string): string {
  return { h264: 'video/H264', opus: 'audio/opus', pcmu: 'audio/PCMU' }[name] ?? 'audio/PCMA';
}

/**
 * What is taken of the feedback that was offered. To viewers there is one stream as the camera
 * makes it, so what their network could carry besides is not asked.
 */
export function feedbackOf({ media, codec }: Taken, way: 'published' | 'played'): RtcpFeedback[] {
  const wanted = [
    ...(media.kind === 'video' ? repairs : []),
    ...(way === 'published' ? bandwidth : []),
  ];
  return codec.feedback
    .filter((one) => wanted.includes(one))
    .map((one) => {
      const [type = '', parameter] = one.split(' ');
      return parameter === undefined ? { type } : { type, parameter };
    });
}

/** The extensions that are taken from a publisher. */
export function extensionsOf({ media }: Taken): readonly { id: number; uri: string }[] {
  const seen = new Set<string>();
  return media.extensions.filter(({ uri }) => {
    const isNew = publishedExtensions.has(uri) && !seen.has(uri);
    seen.add(uri);
    return isNew;
  });
}

/** What a publisher will send of one medium, in mediasoup's words. */
export function publishedParameters(taken: Taken): RtpParameters {
  const { media, codec } = taken;
  const { rtxPayloadType } = codec;
  const hasRtx = rtxPayloadType !== null && media.kind === 'video';
  const rtx: RtpCodecParameters[] = hasRtx
    ? [
        {
          mimeType: 'video/rtx',
          payloadType: rtxPayloadType,
          clockRate: codec.clockRate,
          parameters: { apt: codec.payloadType },
        },
      ]
    : [];
  return {
    mid: media.mid,
    codecs: [rtpCodec(taken), ...rtx],
    headerExtensions: extensionsOf(taken).map(({ id, uri }) => ({
      id,
      uri: uri as NonNullable<RtpParameters['headerExtensions']>[number]['uri'],
    })),
    encodings: [
      {
        ...(media.ssrc === null ? {} : { ssrc: media.ssrc }),
        ...(hasRtx && media.rtxSsrc !== null ? { rtx: { ssrc: media.rtxSsrc } } : {}),
      },
    ],
    rtcp: { reducedSize: true },
  };
}
