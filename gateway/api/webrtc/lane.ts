/**
 * What the viewers of one camera share: one producer in mediasoup, however many they are. A browser
 * takes only the payload types that it has offered, and mediasoup numbers those per router: so
 * browsers that offer other ones have a lane of their own.
 *
 * Nothing is sent until a viewer has got through. The first one is given the group of pictures that
 * the camera has begun, in fast motion, so that it has a picture at once and stands in the present
 * when that is over; whoever comes while another watches begins with the next keyframe.
 */
import { randomBytes, randomInt } from 'node:crypto';
import type {
  DirectTransport,
  Producer,
  Router,
  RtpCodecCapability,
  WebRtcServer,
} from 'mediasoup/types';
import type { CancelTimer, Clock } from '../../../storage/ports.ts';
import { readRtp } from '../../../ingest/rtsp/rtp.ts';
import { h264Parameters, mimeTypeOf, type TakenMedia } from '../../../ingest/webrtc/codecs.ts';
import type { MediaWorker } from '../../../ingest/webrtc/worker.ts';
import { H264Repacketizer } from './h264-repacketizer.ts';

export interface LaneOptions {
  readonly worker: MediaWorker;
  readonly taken: TakenMedia;
  readonly parameterSets: readonly Buffer[];
  /** The video since its last keyframe, RTP packets. */
  readonly group: () => readonly Buffer[];
  /** A viewer needs a picture that can be decoded by itself. */
  readonly keyframeWanted: () => void;
  /** The router is gone, with all viewers. */
  readonly closed: () => void;
  readonly clock: Clock;
}

/** 80 Mb/s: an old picture must not crowd out the network. */
const burstBytes = 48 * 1024;
const burstMs = 5;
/** What waits behind a group; past it a viewer begins with the next keyframe after all. */
const queuedBytesMax = 16 * 1024 * 1024;
/** Between the pictures of a group that is shown in fast motion, on the clock of RTP. */
const fastTicks = 90;

export class Lane {
  readonly router: Router;
  readonly server: WebRtcServer;
  readonly cname = randomBytes(8).toString('hex');
  readonly #options: LaneOptions;
  readonly #direct: DirectTransport;
  readonly #repacketizer: H264Repacketizer;
  readonly #ssrcs: { readonly video: number; readonly audio: number };
  #video: Producer | null = null;
  #audio: Producer | null = null;
  #connected = 0;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #cancelBurst: CancelTimer | null = null;
  #audioSequence = 0;

  private constructor(
    options: LaneOptions,
    made: { readonly router: Router; readonly server: WebRtcServer },
    direct: DirectTransport,
  ) {
    this.#options = options;
    this.router = made.router;
    this.server = made.server;
    this.#direct = direct;
    const video = randomInt(1, 2 ** 32 - 1);
    this.#ssrcs = { video, audio: video + 1 };
    this.#repacketizer = new H264Repacketizer({
      payloadType: options.taken.video.codec.payloadType,
      ssrc: video,
      parameterSets: options.parameterSets,
    });
    direct.on('rtcp', (packet) => {
      if (asksForKeyframe(packet)) options.keyframeWanted();
    });
    made.router.observer.on('close', () => {
      this.#letGo();
      options.closed();
    });
  }

  /** @throws WebRtcError `unavailable` */
  static async open(options: LaneOptions): Promise<Lane> {
    const { video, audio } = options.taken;
    // Audio first: what mediasoup numbers by itself, it numbers while it takes the video.
    const codecs = [...(audio === null ? [] : [capability(audio.codec)]), capability(video.codec)];
    const made = await options.worker.router({ mediaCodecs: codecs });
    const lane = new Lane(options, made, await made.router.createDirectTransport());
    await lane.#produce();
    return lane;
  }

  get producers(): { readonly video: Producer; readonly audio: Producer | null } {
    if (this.#video === null) throw new Error('not opened');
    return { video: this.#video, audio: this.#audio };
  }

  /** What a viewer says it takes, for its consumers. */
  capabilities(): RtpCodecCapability[] {
    const { video, audio } = this.#options.taken;
    return [...(audio === null ? [] : [capability(audio.codec)]), capability(video.codec)];
  }

  /** A viewer has got through. */
  viewerCame(): void {
    this.#connected += 1;
    if (this.#connected === 1) this.#replay();
  }

  viewerLeft(): void {
    this.#connected -= 1;
    if (this.#connected === 0) this.#letGo();
  }

  /** @param packet an RTP packet of the camera's video */
  sendVideo(packet: Buffer): void {
    if (this.#connected === 0) return;
    for (const made of this.#repacketizer.take(packet)) this.#send(made);
  }

  /** @param packet an RTP packet of audio, in the codec that was taken */
  sendAudio(packet: Buffer): void {
    const rtp = this.#connected === 0 ? null : readRtp(packet);
    const payloadType = this.#options.taken.audio?.codec.payloadType;
    if (rtp === null || payloadType === undefined || this.#audio?.closed !== false) return;
    const made = Buffer.allocUnsafe(12 + rtp.payload.length);
    made[0] = 0x80;
    made[1] = (rtp.marker ? 0x80 : 0) | payloadType;
    made.writeUInt16BE(this.#audioSequence, 2);
    made.writeUInt32BE(rtp.timestamp, 4);
    made.writeUInt32BE(this.#ssrcs.audio, 8);
    rtp.payload.copy(made, 12);
    this.#audioSequence = (this.#audioSequence + 1) & 0xffff;
    this.#audio.send(made);
  }

  /** Ends every viewer's session. Twice is harmless. */
  close(): void {
    this.#letGo();
    this.router.close();
  }

  async #produce(): Promise<void> {
    const { video, audio } = this.#options.taken;
    this.#video = await this.#direct.produce({
      kind: 'video',
      rtpParameters: {
        codecs: [
          {
            mimeType: 'video/H264',
            payloadType: video.codec.payloadType,
            clockRate: 90_000,
            parameters: { ...h264Parameters },
            rtcpFeedback: [
              { type: 'nack', parameter: 'pli' },
              { type: 'ccm', parameter: 'fir' },
            ],
          },
        ],
        encodings: [{ ssrc: this.#ssrcs.video }],
        rtcp: { cname: this.cname },
      },
    });
    if (audio === null) return;
    const { name, payloadType, clockRate, channels } = audio.codec;
    this.#audio = await this.#direct.produce({
      kind: 'audio',
      rtpParameters: {
        codecs: [{ mimeType: mimeTypeOf(name), payloadType, clockRate, channels }],
        encodings: [{ ssrc: this.#ssrcs.audio }],
        rtcp: { cname: this.cname },
      },
    });
  }

  #replay(): void {
    const group = this.#options.group();
    this.#repacketizer.startOver();
    const pictures = new Set(group.map((packet) => packet.readUInt32BE(4))).size;
    const last = group.at(-1)?.readUInt32BE(4) ?? 0;
    let shown = 0;
    let before: number | null = null;
    for (const packet of group) {
      const timestamp = packet.readUInt32BE(4);
      if (timestamp !== before) shown += 1;
      before = timestamp;
      const fast = last - (pictures - shown) * fastTicks;
      for (const made of this.#repacketizer.take(packet, fast)) this.#enqueue(made);
    }
    if (group.length === 0) this.#options.keyframeWanted();
    this.#burst();
  }

  #send(packet: Buffer): void {
    if (this.#cancelBurst !== null) this.#enqueue(packet);
    else if (this.#video?.closed === false) this.#video.send(packet);
  }

  #enqueue(packet: Buffer): void {
    this.#queue.push(packet);
    this.#queuedBytes += packet.length;
    if (this.#queuedBytes > queuedBytesMax) this.#letGo();
  }

  #burst(): void {
    this.#cancelBurst = null;
    let sentBytes = 0;
    let count = 0;
    while (sentBytes < burstBytes) {
      const packet = this.#queue[count];
      if (packet === undefined || this.#video?.closed !== false) break;
      this.#video.send(packet);
      sentBytes += packet.length;
      count += 1;
    }
    this.#queue.splice(0, count);
    this.#queuedBytes -= sentBytes;
    if (this.#queue.length === 0) return;
    this.#cancelBurst = this.#options.clock.setTimer(burstMs, () => {
      this.#burst();
    });
  }

  #letGo(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#cancelBurst?.();
    this.#cancelBurst = null;
  }
}

/** What the lanes of a camera differ in. */
export function laneKey({ video, audio }: TakenMedia): string {
  const sound = audio === null ? '' : ` ${audio.codec.name} ${audio.codec.payloadType}`;
  return `${video.codec.payloadType}${sound}`;
}

function capability(codec: {
  readonly name: string;
  readonly payloadType: number;
  readonly clockRate: number;
  readonly channels: number;
}): RtpCodecCapability {
  const { name, payloadType, clockRate, channels } = codec;
  const shared = { mimeType: mimeTypeOf(name), preferredPayloadType: payloadType, clockRate };
  if (name !== 'h264') return { ...shared, kind: 'audio', channels };
  return {
    ...shared,
    kind: 'video',
    parameters: { ...h264Parameters },
    rtcpFeedback: [
      { type: 'nack' },
      { type: 'nack', parameter: 'pli' },
      { type: 'ccm', parameter: 'fir' },
    ],
  };
}

/** Whether a compound packet of RTCP has a picture loss indication or a full intra request. */
function asksForKeyframe(packet: Buffer): boolean {
  const payloadSpecific = 206;
  for (let at = 0; at + 4 <= packet.length; at += 4 + 4 * packet.readUInt16BE(at + 2)) {
    const format = (packet[at] ?? 0) & 0x1f;
    if (packet[at + 1] === payloadSpecific && (format === 1 || format === 4)) return true;
  }
  return false;
}
