/** What was seen of a camera, in words: what it sends, what works with it, and what will not. */
import type { CameraFindings } from '../../ingest/rtsp/client/probe.ts';
import { formatAge, formatBytes } from './table.ts';

/** `fine`: nothing to do; `note`: good to know; `problem`: something will not work. */
export type RemarkKind = 'fine' | 'note' | 'problem';

export interface Remark {
  readonly kind: RemarkKind;
  readonly text: string;
}

export interface CameraReport {
  /** Name and value of each fact, for a table. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly remarks: readonly Remark[];
}

const longGroupSeconds = 4.5;
const clockOffMs = 500;
/** Past this the camera's time is not believed (`ingest/camera/timeline.ts`). */
const clockDisbelievedMs = 5_000;
/** What goes to browsers as it is; AAC is made into Opus for them (gateway/api/webrtc/feed.ts). */
const heardOverWebRtc: ReadonlySet<string> = new Set(['PCMA', 'PCMU', 'OPUS']);
const secondsPerDay = 86_400;

const codecNames: Readonly<Record<string, string>> = {
  H264: 'H.264',
  H265: 'H.265',
  PCMA: 'G.711 A-law',
  PCMU: 'G.711 µ-law',
  'MPEG4-GENERIC': 'AAC',
  'MP4A-LATM': 'AAC',
  OPUS: 'Opus',
};

export function reportOn(findings: CameraFindings): CameraReport {
  return { facts: factsOf(findings), remarks: remarksOn(findings) };
}

function factsOf({
  remote,
  videoCodec,
  video,
  audioCodec,
  clockAheadMs,
}: CameraFindings): CameraReport['facts'] {
  const size = video.width === null ? [] : [`${video.width} × ${video.height ?? 0}`];
  const rate = video.framesPerSecond === null ? [] : [`${round(video.framesPerSecond)} frames/s`];
  const bits = video.bitsPerSecond === null ? [] : [`${round(video.bitsPerSecond / 1e6)} Mb/s`];
  const codec = [nameOf(videoCodec), video.profile].filter((part) => part !== null).join(' ');
  return [
    ['Address', remote],
    ['Video', [codec, ...size, ...rate, ...bits].join(', ')],
    ['Keyframes', keyframesOf(video)],
    ['Audio', audioCodec === null ? 'none' : nameOf(audioCodec)],
    ['Clock', clockOf(clockAheadMs)],
  ];
}

function keyframesOf({ groupSeconds, keyframes }: CameraFindings['video']): string {
  if (groupSeconds !== null) return `every ${round(groupSeconds)} s`;
  return keyframes === 0 ? 'none was seen' : 'only one was seen';
}

function clockOf(aheadMs: number | null): string {
  if (aheadMs === null) return 'it sends no time';
  if (Math.abs(aheadMs) <= clockOffMs) return 'as on this machine';
  const by =
    Math.abs(aheadMs) < 10_000
      ? `${round(Math.abs(aheadMs) / 1000)} s`
      : formatAge(Math.abs(aheadMs));
  return `${by} ${aheadMs > 0 ? 'ahead' : 'behind'}`;
}

function remarksOn(found: CameraFindings): readonly Remark[] {
  return [
    ...onVideo(found),
    ...onKeyframes(found),
    ...onAudio(found),
    ...onClock(found),
    ...onLoss(found),
    ...onSpace(found),
  ];
}

function onVideo({ videoCodec, video }: CameraFindings): readonly Remark[] {
  const remarks: Remark[] = [];
  if (videoCodec === 'H265') {
    remarks.push({
      kind: 'problem',
      text: 'H.265 is recorded, but most browsers do not play it: Safari does, Chrome and Edge only where the graphics hardware decodes it, Firefox mostly not, and over WebRTC it goes to none. Set the camera to H.264 if the page is to show it everywhere.',
    });
  } else if (isBeyondBrowsers(video)) {
    remarks.push({
      kind: 'problem',
      text: `H.264 with ${video.bitDepth ?? 8} bits and chroma ${video.chroma ?? '4:2:0'} is recorded, but many browsers do not play it: all of them take 8 bits and 4:2:0. Set the camera to the profile "Baseline", "Main" or "High".`,
    });
  } else {
    remarks.push({ kind: 'fine', text: 'It can be recorded, and browsers play it.' });
  }
  if (video.hasBFrames) {
    remarks.push({
      kind: 'note',
      text: 'It sends B-frames: recorded and played back as they are, but WebRTC viewers can not show them. The profile "Baseline", or B-frames 0, switches them off in the camera.',
    });
  }
  return remarks;
}

function isBeyondBrowsers({ bitDepth, chroma }: CameraFindings['video']): boolean {
  return (bitDepth ?? 8) > 8 || chroma === '4:2:2' || chroma === '4:4:4';
}

function onKeyframes({ video, watchedMs }: CameraFindings): readonly Remark[] {
  const { groupSeconds, keyframes } = video;
  const watched = `${Math.round(watchedMs / 1000)} s`;
  const advice =
    'Set the I-frame interval to 1 or 2 s, and "smart codec", "H.264+" and the like off.';
  if (keyframes === 0) {
    const text = `No keyframe came in ${watched}. Recording begins with one, and a camera that never sends one can't be recorded. ${advice}`;
    return [{ kind: 'problem', text }];
  }
  if (groupSeconds === null) {
    const text = `Only one keyframe came in ${watched}: fragments last from one to the next, so playback starts and clips are cut as coarsely. ${advice}`;
    return [{ kind: 'problem', text }];
  }
  if (groupSeconds < longGroupSeconds) return [];
  const text = `There are up to ${round(groupSeconds)} s from keyframe to keyframe: fragments are as long, viewers wait as long for the first picture, and a power cut takes as much. ${advice}`;
  return [{ kind: 'note', text }];
}

function onAudio({ audioCodec }: CameraFindings): readonly Remark[] {
  if (audioCodec === null || nameOf(audioCodec) === 'AAC') return [];
  const text = `The audio (${nameOf(audioCodec)}) is transcoded to AAC, which takes about a hundredth of a processor core. Set the camera to AAC to spare it.${heardOverWebRtc.has(audioCodec) ? '' : ' Viewers over WebRTC do not hear it.'}`;
  return [{ kind: 'note', text }];
}

function onClock({ clockAheadMs, video }: CameraFindings): readonly Remark[] {
  const remarks: Remark[] = [];
  const off = Math.abs(clockAheadMs ?? 0);
  if (clockAheadMs === null) {
    const text =
      'It sends no time (RTCP sender reports): its footage is timed by when it arrives, to a fraction of a second.';
    remarks.push({ kind: 'note', text });
  } else if (off > clockDisbelievedMs) {
    const text = `Its clock is ${clockOf(clockAheadMs)} and is not believed: its footage is timed by when it arrives. Give the camera an NTP server.`;
    remarks.push({ kind: 'note', text });
  } else if (off > clockOffMs) {
    const text = `Its clock is ${clockOf(clockAheadMs)}, and its footage will be timed by it. Give the camera an NTP server.`;
    remarks.push({ kind: 'note', text });
  }
  const rate = video.clockRate;
  if (rate !== null && (rate < 0.8 || rate > 1.25)) {
    const text = `Its timestamps advance ${round(rate)} s in a second: they can't be used, and its footage is timed by when it arrives.`;
    remarks.push({ kind: 'problem', text });
  }
  return remarks;
}

function onLoss({ video }: CameraFindings): readonly Remark[] {
  if (video.missingPackets === 0) return [];
  const text = `${video.missingPackets} packets were missing: the network, or the camera, does not keep up. Damaged fragments are marked.`;
  return [{ kind: 'problem', text }];
}

function onSpace({ video }: CameraFindings): readonly Remark[] {
  if (video.bitsPerSecond === null) return [];
  const perDay = formatBytes((video.bitsPerSecond / 8) * secondsPerDay);
  return [{ kind: 'fine', text: `At this rate a day of it takes ${perDay}.` }];
}

function nameOf(codec: string): string {
  return codecNames[codec] ?? codec.replace(/[^\x20-\x7e]/g, '?').slice(0, 32);
}

function round(value: number): string {
  return String(Number(value.toPrecision(value >= 100 ? 3 : 2)));
}
