/**
 * Looks at a camera without recording it: connects as recording would, watches for some seconds,
 * and says what was seen. What that means for people is told by `gateway/cli/camera.ts`.
 */
import { SourceError } from '../../source.ts';
import { readSenderReport } from '../rtp.ts';
import { mediaAttribute, type Media } from '../sdp.ts';
import { openCamera, type CameraSession, type OpenOptions } from './camera-session.ts';
import { VideoWatch, type VideoFindings } from './media-watch.ts';

export interface CameraFindings {
  /** Address and port that were connected to. */
  readonly remote: string;
  /** `H264` or `H265`. */
  readonly videoCodec: string;
  readonly video: VideoFindings;
  /** As the camera calls it, like `PCMA` or `MPEG4-GENERIC`; null: no audio. */
  readonly audioCodec: string | null;
  /** How far the camera's clock is ahead of ours; null: it sends no time. */
  readonly clockAheadMs: number | null;
  readonly watchedMs: number;
}

/** Two keyframes of a camera that sends one every 15 s come within this. */
const watchMsMax = 30_000;
/** Enough to tell a frame rate by, and for groups of pictures of a second or two. */
const watchMsMin = 4_000;
/** Sender reports come every five seconds or so. */
const reportMsMax = 8_000;
/** How many keyframes are waited for, first, and after `patientMs`; without any picture, no longer. */
const keyframesEnough = 3;
const patientMs = 12_000;
const keyframesAtLeast = 2;

/**
 * @throws SourceError as `openCamera`, and `stalled` when no picture comes
 */
export async function probeCamera(options: OpenOptions): Promise<CameraFindings> {
  const session = await openCamera(options);
  try {
    return await watch(session, options);
  } finally {
    session.close();
  }
}

async function watch(session: CameraSession, options: OpenOptions): Promise<CameraFindings> {
  const { clock, signal } = options;
  // Once it has hung up nobody knows any more.
  const { remote } = session;
  const [videoTrack = 0, audioTrack] = session.tracks;
  const media = session.session.media[videoTrack];
  const codec = media?.codec === 'H265' ? 'H265' : 'H264';
  const video = new VideoWatch(codec, media === undefined ? null : describedSps(media, codec));
  const startMs = clock.monotonicMs();
  let clockAheadMs: number | null = null;
  let enough = (): void => undefined;
  const watched = new Promise<void>((resolve) => {
    enough = resolve;
  });
  const cancel = clock.setTimer(watchMsMax, enough);
  const cancelEmpty = clock.setTimer(patientMs, () => {
    if (video.findings().frames === 0) enough();
  });
  signal.addEventListener('abort', enough, { once: true });
  let failure = null as SourceError | null;
  void session.closed.then((broken) => {
    failure = broken;
    enough();
  });
  try {
    await session.play((track, isRtcp, frame) => {
      const report = isRtcp ? readSenderReport(frame, 4) : null;
      if (report !== null) clockAheadMs = report.ntpMs - clock.nowMs();
      if (track === videoTrack && !isRtcp) video.push(frame.subarray(4), clock.monotonicMs());
      const sinceMs = clock.monotonicMs() - startMs;
      const toldTime = clockAheadMs !== null || sinceMs >= reportMsMax;
      const wanted = sinceMs < patientMs ? keyframesEnough : keyframesAtLeast;
      if (sinceMs >= watchMsMin && video.keyframes >= wanted && toldTime) enough();
    });
    await watched;
  } finally {
    cancel();
    cancelEmpty();
    signal.removeEventListener('abort', enough);
  }
  const findings = video.findings();
  if (findings.frames === 0) {
    if (failure !== null) throw failure;
    const seconds = patientMs / 1000;
    throw new SourceError(
      'stalled',
      `it lets itself be played, and no picture came in ${seconds} s`,
    );
  }
  return {
    remote,
    videoCodec: codec,
    video: findings,
    audioCodec:
      audioTrack === undefined ? null : (session.session.media[audioTrack]?.codec ?? 'unknown'),
    clockAheadMs,
    watchedMs: clock.monotonicMs() - startMs,
  };
}

/** The sequence parameter set that the description carries (RFC 6184, 8.1; RFC 7798, 7.1). */
function describedSps(media: Media, codec: 'H264' | 'H265'): Buffer | null {
  const parameters = mediaAttribute(media, 'fmtp') ?? '';
  const name = codec === 'H264' ? 'sprop-parameter-sets' : 'sprop-sps';
  const value = new RegExp(`${name}=([A-Za-z0-9+/=]+)`).exec(parameters)?.[1];
  return value === undefined ? null : Buffer.from(value, 'base64');
}
