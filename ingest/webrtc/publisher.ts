/**
 * A camera that publishes over WebRTC (WHIP, RFC 9725): a browser, a phone, OBS, GStreamer. What it
 * sends passes from mediasoup into the relay of cameras, so it is recorded and played like any.
 *
 * - Retransmissions are mediasoup's; here packets are put back in order (reorder.ts). What is
 *   missing for good stays a gap, which the relay counts and the recorder marks as damage, and a
 *   keyframe is asked for.
 * - A keyframe is asked for whenever the last one is `keyframeMsMax` old: WebRTC sends none by
 *   itself, and fragments begin with one.
 * - The sender reports of the client go along, so that its audio and video are in step.
 * - The session ends with the client, with its transport, with the worker, or when the relay says
 *   so; each ends the others.
 */
import type { Consumer, DirectTransport, Producer, Router } from 'mediasoup/types';
import type { Clock, Logger } from '../../storage/ports.ts';
import { RtspError } from '../rtsp/errors.ts';
import { beginsKeyframe, payloadStart } from '../rtsp/h264-packets.ts';
import type { Publication, Publisher } from '../rtsp/publication.ts';
import { sequenceOf } from '../rtsp/rtp.ts';
import { parseAnnounced, type SessionDescription } from '../rtsp/sdp.ts';
import type { RtspServer } from '../rtsp/server.ts';
import {
  mimeTypeOf,
  h264Parameters,
  publishedParameters,
  takeToPublish,
  type Taken,
  type TakenMedia,
} from './codecs.ts';
import { asWebRtcError, WebRtcError } from './errors.ts';
import { parseOffer } from './offer.ts';
import { ReorderBuffer } from './reorder.ts';
import { ClientTransport, connectTimeoutMs, type ClientEnd } from './transport.ts';
import type { MediaWorker } from './worker.ts';

export interface PublisherOptions {
  readonly camera: string;
  /** The client's session description. */
  readonly offer: string;
  /** Address of the client, for logs and errors. */
  readonly remote: string;
  readonly addresses: readonly string[];
  readonly relay: RtspServer;
  readonly worker: MediaWorker;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called once when it is over. */
  readonly closed: () => void;
}

/** A fragment of footage closes at the first keyframe after this. */
const keyframeMsMax = 2_000;
const keyframeRequestMs = 500;
const frameHeaderBytes = 4;
const payloadTypes = { video: 96, audio: 97 } as const;

export class WebRtcPublisher implements Publisher {
  readonly remote: string;
  readonly protocol = 'WebRTC';
  readonly #options: PublisherOptions;
  readonly #publication: Publication;
  #client: ClientTransport | null = null;
  #router: Router | null = null;
  #video: Consumer | null = null;
  #reorder: readonly ReorderBuffer[] = [];
  #answer = '';
  #hasBegun = false;
  #isOver = false;
  #keyframeAtMs: number;
  #requestedAtMs = -Infinity;
  #lastSequence: number | null = null;
  #uncountedBytes = 0;
  #cancelStart = (): void => undefined;

  private constructor(options: PublisherOptions, taken: TakenMedia) {
    this.#options = options;
    this.remote = options.remote;
    this.#keyframeAtMs = options.clock.monotonicMs();
    const session = relayedSession(taken);
    const tracks = session.media.map((_, track) => track);
    try {
      this.#publication = options.relay.reserve(options.camera, session, tracks, this);
    } catch (error) {
      if (!(error instanceof RtspError) || error.code !== 'busy') throw error;
      throw new WebRtcError('conflict', `The camera ${options.camera} has a publisher already.`, {
        cause: error,
      });
    }
  }

  /**
   * Takes an offer; the camera sends once the client has got through.
   * @throws WebRtcError
   */
  static async open(options: PublisherOptions): Promise<WebRtcPublisher> {
    const offer = parseOffer(options.offer);
    const taken = takeToPublish(offer);
    const publisher = new WebRtcPublisher(options, taken);
    try {
      await publisher.#connect(taken, offer);
    } catch (error) {
      publisher.close('closed');
      throw asWebRtcError(error);
    }
    return publisher;
  }

  /** The session description to answer with. */
  get answer(): string {
    return this.#answer;
  }

  restartIce(): Promise<string> {
    if (this.#client === null) throw new Error('not connected');
    return this.#client.restartIce();
  }

  requestKeyframe(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#requestedAtMs < keyframeRequestMs || this.#video?.closed !== false) return;
    this.#requestedAtMs = nowMs;
    // It fails where the worker died, which ends the session.
    this.#video.requestKeyFrame().catch(() => undefined);
  }

  /** mediasoup reports to the client by itself. */
  report(): void {
    // Nothing to pass on.
  }

  dismiss(): void {
    this.close('closed');
  }

  /** Ends the session. Twice is harmless. */
  close(reason: ClientEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelStart();
    for (const buffer of this.#reorder) buffer.end();
    this.#count();
    this.#client?.close(reason);
    this.#router?.close();
    this.#publication.close(reason === 'lost' && this.#hasBegun ? 'timed-out' : 'left');
    this.#options.closed();
  }

  async #connect(taken: TakenMedia, offer: ReturnType<typeof parseOffer>): Promise<void> {
    const { worker, addresses, clock } = this.#options;
    const tracks = [taken.video, ...(taken.audio === null ? [] : [taken.audio])];
    const { router, server } = await worker.router({ mediaCodecs: tracks.map(routerCodec) });
    this.#router = router;
    const closed = (reason: ClientEnd): void => {
      this.close(reason);
    };
    this.#client = await ClientTransport.open({
      ...{ router, server, offer, addresses, clock, closed },
    });
    const direct = await router.createDirectTransport();
    const reorder: ReorderBuffer[] = [];
    this.#reorder = reorder;
    for (const [track, one] of tracks.entries()) {
      reorder.push(
        new ReorderBuffer({
          clock,
          deliver: (packet) => {
            this.#forward(track, packet);
          },
        }),
      );
      await this.#receive(track, one, direct, router);
    }
    this.#answer = await this.#client.answer(taken, null);
    // Aborted meanwhile: the camera was removed, or the worker died.
    if (this.#isOver) throw new WebRtcError('unavailable', 'The session was ended.');
    this.#cancelStart = clock.setTimer(2 * connectTimeoutMs, () => {
      if (!this.#hasBegun) this.close('lost');
    });
  }

  async #receive(
    track: number,
    taken: Taken,
    direct: DirectTransport,
    router: Router,
  ): Promise<void> {
    const kind = track === 0 ? 'video' : 'audio';
    const producer = await this.#client?.transport.produce({
      kind,
      rtpParameters: publishedParameters(taken),
    });
    if (producer === undefined) return;
    await this.#followReports(track, producer);
    const consumer = await direct.consume({
      producerId: producer.id,
      // Without retransmissions and extensions: it is the same process.
      rtpCapabilities: {
        codecs: (router.rtpCapabilities.codecs ?? []).filter(
          ({ mimeType }) => !mimeType.endsWith('/rtx'),
        ),
        headerExtensions: [],
      },
      enableRtx: false,
      paused: true,
    });
    if (track === 0) this.#video = consumer;
    consumer.on('rtp', (packet) => {
      const sequence = sequenceOf(packet);
      if (sequence !== null) this.#reorder[track]?.push(sequence, packet);
    });
    await consumer.resume();
  }

  /** The client's own reports: mediasoup's would tell when packets came, not when they were made. */
  async #followReports(track: number, producer: Producer): Promise<void> {
    producer.on('trace', ({ type, info }) => {
      if (type !== 'sr' || !this.#hasBegun) return;
      const frame = senderReport(info);
      if (frame !== null) this.#publication.forward(track, true, frame);
    });
    await producer.enableTraceEvent(['sr']);
  }

  #forward(track: number, packet: Buffer): void {
    if (this.#isOver) return;
    if (track === 0) this.#lookAtPicture(packet);
    // Only from the first picture on: a recorder has no use for sound before it.
    if (!this.#hasBegun) return;
    const frame = Buffer.allocUnsafe(frameHeaderBytes + packet.length);
    packet.copy(frame, frameHeaderBytes);
    frame[0] = 0x24;
    frame[1] = 2 * track;
    frame.writeUInt16BE(packet.length, 2);
    const payloadType = track === 0 ? payloadTypes.video : payloadTypes.audio;
    frame[frameHeaderBytes + 1] = ((packet[1] ?? 0) & 0x80) | payloadType;
    this.#uncountedBytes += packet.length;
    // A counter takes longer than a packet.
    if (this.#uncountedBytes > 1024 * 1024) this.#count();
    this.#publication.forward(track, false, frame);
  }

  #count(): void {
    if (this.#uncountedBytes > 0) {
      this.#options.relay.fetched(this.#options.camera, this.#uncountedBytes);
    }
    this.#uncountedBytes = 0;
  }

  #lookAtPicture(packet: Buffer): void {
    const { clock, relay } = this.#options;
    const nowMs = clock.monotonicMs();
    const start = payloadStart(packet);
    if (start !== null && beginsKeyframe(packet, start)) {
      this.#keyframeAtMs = nowMs;
      if (!this.#hasBegun) {
        this.#hasBegun = true;
        relay.begin(this.#publication);
      }
    }
    const sequence = packet.readUInt16BE(2);
    const isGap = this.#lastSequence !== null && sequence !== ((this.#lastSequence + 1) & 0xffff);
    this.#lastSequence = sequence;
    if (isGap || nowMs - this.#keyframeAtMs >= keyframeMsMax) this.requestKeyframe();
  }
}

function routerCodec(taken: Taken) {
  const { media, codec } = taken;
  const isVideo = media.kind === 'video';
  return {
    kind: isVideo ? ('video' as const) : ('audio' as const),
    mimeType: mimeTypeOf(codec.name),
    clockRate: codec.clockRate,
    ...(isVideo ? { parameters: { ...h264Parameters } } : { channels: codec.channels }),
  };
}

/** What the relay is told that the camera sends. */
function relayedSession({ audio }: TakenMedia): SessionDescription {
  const { video: videoType, audio: audioType } = payloadTypes;
  const sound = [
    `m=audio 0 RTP/AVP ${audioType}`,
    `a=rtpmap:${audioType} opus/48000/2`,
    'a=control:audio',
  ];
  const lines = [
    'v=0',
    'o=- 0 0 IN IP4 127.0.0.1',
    's=WebRTC',
    't=0 0',
    `m=video 0 RTP/AVP ${videoType}`,
    `a=rtpmap:${videoType} H264/90000`,
    `a=fmtp:${videoType} packetization-mode=1`,
    'a=control:video',
    ...(audio === null ? [] : sound),
  ];
  return parseAnnounced(Buffer.from(lines.join('\r\n')));
}

/** A sender report (RFC 3550 section 6.4.1) as a frame of the relay, of what a trace tells. */
function senderReport(info: Readonly<Record<string, unknown>>): Buffer | null {
  const fields = ['ssrc', 'ntpSec', 'ntpFrac', 'rtpTs', 'packetCount', 'octetCount'].map(
    (name) => info[name],
  );
  if (!fields.every((value): value is number => typeof value === 'number')) return null;
  const frame = Buffer.alloc(frameHeaderBytes + 28);
  frame.set([0x24, 0, 0, 28, 0x80, 200, 0, 6]);
  for (const [index, value] of fields.entries()) frame.writeUInt32BE(value >>> 0, 8 + 4 * index);
  return frame;
}
