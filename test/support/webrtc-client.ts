/**
 * A WebRTC client that is not of our making and no browser either: werift, with its own ICE, DTLS
 * and SRTP. It publishes what it is given by WHIP, and counts what it gets by WHEP.
 */
import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } from 'werift';
import { readRtp } from '../../ingest/rtsp/rtp.ts';
import { capturePackets } from './packet-camera.ts';
import type { Scope } from './scope.ts';

export interface WebRtcAnswer {
  readonly status: number;
  readonly location: string;
  readonly etag: string;
  readonly sdp: string;
}

const h264 = new RTCRtpCodecParameters({
  mimeType: 'video/H264',
  clockRate: 90_000,
  payloadType: 102,
  parameters: 'level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f',
  rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }],
});
const opus = new RTCRtpCodecParameters({
  mimeType: 'audio/opus',
  clockRate: 48_000,
  channels: 2,
  payloadType: 111,
});
const pcmu = new RTCRtpCodecParameters({
  mimeType: 'audio/PCMU',
  clockRate: 8_000,
  channels: 1,
  payloadType: 0,
});

function connection(scope: Scope): RTCPeerConnection {
  const made = new RTCPeerConnection({
    codecs: { video: [h264], audio: [opus, pcmu] },
    iceServers: [],
    bundlePolicy: 'max-bundle',
    iceUseIpv6: false,
    iceAdditionalHostAddresses: ['127.0.0.1'],
  });
  scope.after(() => made.close());
  return made;
}

/** An offer with its candidates, as a client without trickling sends it. */
async function offerOf(peer: RTCPeerConnection): Promise<string> {
  await peer.setLocalDescription(await peer.createOffer());
  if (peer.iceGatheringState !== 'complete') {
    await new Promise<void>((resolve) => {
      peer.iceGatheringStateChange.subscribe((state) => {
        if (state === 'complete') resolve();
      });
    });
  }
  return peer.localDescription?.sdp ?? '';
}

/** Asks WHIP or WHEP. */
export async function post(
  url: string,
  offer: string,
  authorization: string,
): Promise<WebRtcAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/sdp', authorization },
    body: offer,
  });
  return {
    status: response.status,
    location: response.headers.get('location') ?? '',
    etag: response.headers.get('etag') ?? '',
    sdp: await response.text(),
  };
}

async function connect(peer: RTCPeerConnection, answer: WebRtcAnswer): Promise<void> {
  if (answer.status !== 201) throw new Error(`${answer.status}: ${answer.sdp}`);
  const connected = new Promise<void>((resolve, reject) => {
    peer.connectionStateChange.subscribe((state) => {
      if (state === 'connected') resolve();
      if (state === 'failed' || state === 'closed') reject(new Error(`the connection ${state}`));
    });
  });
  await peer.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
  if (peer.connectionState !== 'connected') await connected;
}

export interface TestPublisher {
  readonly peer: RTCPeerConnection;
  readonly answer: WebRtcAnswer;
  /** Sends a packet of a clip, numbered as it came. */
  send(track: 'video' | 'audio', packet: Buffer): void;
}

/** Publishes by WHIP; resolves when it has got through. */
export async function publish(
  scope: Scope,
  url: string,
  authorization: string,
): Promise<TestPublisher> {
  const peer = connection(scope);
  const tracks = {
    video: new MediaStreamTrack({ kind: 'video' }),
    audio: new MediaStreamTrack({ kind: 'audio' }),
  };
  peer.addTransceiver(tracks.video, { direction: 'sendonly' });
  peer.addTransceiver(tracks.audio, { direction: 'sendonly' });
  const answer = await post(url, await offerOf(peer), authorization);
  await connect(peer, answer);
  return {
    peer,
    answer,
    send: (track, packet) => {
      tracks[track].writeRtp(packet);
    },
  };
}

export interface TestViewer {
  readonly peer: RTCPeerConnection;
  readonly answer: WebRtcAnswer;
  readonly counts: { video: number; audio: number; keyframes: number; pictures: number };
  /** Resolves once the counts are as wanted. */
  until(wanted: (counts: TestViewer['counts']) => boolean): Promise<void>;
  /** Resolves when the connection is over. */
  readonly over: Promise<void>;
}

/** Watches by WHEP; resolves when it has got through. */
export async function watch(scope: Scope, url: string, authorization: string): Promise<TestViewer> {
  const peer = connection(scope);
  peer.addTransceiver('video', { direction: 'recvonly' });
  peer.addTransceiver('audio', { direction: 'recvonly' });
  const counts = { video: 0, audio: 0, keyframes: 0, pictures: 0 };
  const waiting = new Set<() => void>();
  peer.onTrack.subscribe((track) => {
    track.onReceiveRtp.subscribe((packet) => {
      counts[track.kind as 'video' | 'audio'] += 1;
      if (track.kind === 'video' && packet.header.marker) counts.pictures += 1;
      if (track.kind === 'video' && isKeyframe(packet.payload)) counts.keyframes += 1;
      for (const look of waiting) look();
    });
  });
  const over = new Promise<void>((resolve) => {
    peer.connectionStateChange.subscribe((state) => {
      if (state === 'closed' || state === 'failed' || state === 'disconnected') resolve();
    });
  });
  const answer = await post(url, await offerOf(peer), authorization);
  await connect(peer, answer);
  const until: TestViewer['until'] = (wanted) =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!wanted(counts)) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  return { peer, answer, counts, until, over };
}

/** What a viewer that deciphers nothing has got. */
export interface LightCounts {
  pictures: number;
  packets: number;
  bytes: number;
}

/**
 * Watches by WHEP and only counts, which costs so little that there can be many of them: it looks at
 * the headers of the video's packets, which SRTP leaves in the open. Resolves when it has got through.
 */
export async function watchLightly(
  scope: Scope,
  url: string,
  authorization: string,
): Promise<LightCounts> {
  const peer = connection(scope);
  peer.addTransceiver('video', { direction: 'recvonly' });
  const counts = { pictures: 0, packets: 0, bytes: 0 };
  const offer = await offerOf(peer);
  const [transport] = peer.dtlsTransports;
  if (transport === undefined) throw new Error('no transport was made');
  transport.startSrtp = () => {
    // For the reports that it sends, as every viewer does.
    transport.updateSrtpSession();
    transport.iceTransport.connection.onData.subscribe((packet) => {
      const [first = 0, second = 0] = packet;
      const isVideo = first >> 6 === 2 && (second & 0x7f) === h264.payloadType;
      if (!isVideo) return;
      counts.packets += 1;
      counts.bytes += packet.length;
      if (second >= 0x80) counts.pictures += 1;
    });
  };
  await connect(peer, await post(url, offer, authorization));
  return counts;
}

/** Whether there are parameter sets in it, with which a picture that stands alone begins. */
function isKeyframe(payload: Buffer): boolean {
  const type = (payload[0] ?? 0) & 0x1f;
  return type === 7 || (type === 24 && ((payload[3] ?? 0) & 0x1f) === 7);
}

/**
 * Sends a clip over and over in real time, until the scope ends: with its parameter sets in the
 * stream, as WebRTC has them.
 */
export async function sendClip(
  scope: Scope,
  publisher: TestPublisher,
  clip: string,
  options: {
    /** One in so many packets never leaves. */
    readonly loseEvery?: number;
  } = {},
): Promise<void> {
  const { packets, lengthMs } = await capturePackets(scope, clip);
  const startMs = performance.now();
  let [index, round, sequence] = [0, 0, 0];
  let timer: NodeJS.Timeout | undefined;
  const step = (): void => {
    for (;;) {
      const next = packets[index];
      if (next === undefined) {
        [index, round] = [0, round + 1];
        continue;
      }
      const dueMs = round * lengthMs + next.atMs;
      const leftMs = dueMs - (performance.now() - startMs);
      if (leftMs > 1) {
        timer = setTimeout(step, leftMs);
        return;
      }
      index += 1;
      if (next.track !== 0 || readRtp(next.packet) === null) continue;
      const packet = Buffer.from(next.packet);
      packet.writeUInt16BE(sequence & 0xffff, 2);
      packet.writeUInt32BE(Math.round(dueMs * 90) >>> 0, 4);
      sequence += 1;
      if (sequence % (options.loseEvery ?? Infinity) !== 0) publisher.send('video', packet);
    }
  };
  scope.after(() => clearTimeout(timer));
  step();
}
