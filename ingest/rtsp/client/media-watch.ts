/**
 * What the packets of a video track say about it, without decoding: frames, keyframes, size,
 * B-frames, how its clock runs. For probing a camera; recording does not need it.
 *
 * Sources: RFC 6184 (H.264 over RTP), RFC 7798 (H.265 over RTP).
 */
import { readAvcSps, readHevcSps, type SequenceParameters } from '../../camera/sps.ts';
import { readRtp, SequenceWatch, ticksBetween, type RtpPacket } from '../rtp.ts';

export interface VideoFindings {
  readonly width: number | null;
  readonly height: number | null;
  /** `Baseline`, `Main`, `High`, …; null where it is not known. */
  readonly profile: string | null;
  /** Of its luma; null where it is not known. */
  readonly bitDepth: number | null;
  readonly chroma: '4:0:0' | '4:2:0' | '4:2:2' | '4:4:4' | null;
  readonly frames: number;
  readonly keyframes: number;
  readonly framesPerSecond: number | null;
  readonly bitsPerSecond: number | null;
  /** The longest time from a keyframe to the next; null before the second one. */
  readonly groupSeconds: number | null;
  /** Frames are sent in another order than they are shown in. */
  readonly hasBFrames: boolean;
  /** Seconds by the camera's media clock for a second of ours; null when too little was seen. */
  readonly clockRate: number | null;
  readonly missingPackets: number;
}

const videoRate = 90_000;
/** Below this the beginning, which may come in a burst, says too little about the clock. */
const clockRateSecondsMin = 3;

export class VideoWatch {
  readonly #isHevc: boolean;
  readonly #sequence = new SequenceWatch();
  #sps: Buffer | null;
  #missing = 0;
  #bytes = 0;
  #frames = 0;
  #keyframes = 0;
  #hasBFrames = false;
  #lastTimestamp: number | null = null;
  /** Media time since the first frame: of the frame that is coming, and the largest so far. */
  #ticks = 0;
  #ticksMax = 0;
  #isKeyframe = false;
  #keyframeTicks: number | null = null;
  #groupTicksMax: number | null = null;
  #firstMs: number | null = null;
  #lastMs = 0;

  /** @param sps from the session description, where it has one */
  constructor(codec: 'H264' | 'H265', sps: Buffer | null) {
    this.#isHevc = codec === 'H265';
    this.#sps = sps;
  }

  get keyframes(): number {
    return this.#keyframes;
  }

  push(packet: Buffer, nowMs: number): void {
    this.#missing += this.#sequence.missingBefore(packet);
    const rtp = readRtp(packet);
    if (rtp === null) return;
    this.#bytes += packet.length;
    this.#firstMs ??= nowMs;
    this.#lastMs = nowMs;
    if (rtp.timestamp !== this.#lastTimestamp) this.#beginFrame(rtp);
    for (const nal of this.#units(rtp.payload)) this.#see(nal);
  }

  findings(): VideoFindings {
    const seconds = this.#ticksMax / videoRate;
    const wallSeconds = this.#firstMs === null ? 0 : (this.#lastMs - this.#firstMs) / 1000;
    const parameters = this.#parameters();
    return {
      width: parameters?.width ?? null,
      height: parameters?.height ?? null,
      profile: this.#isHevc ? null : profileOf(this.#sps),
      bitDepth: parameters?.bitDepthLuma ?? null,
      chroma: chromaFormats[parameters?.chromaFormat ?? -1] ?? null,
      frames: this.#frames,
      keyframes: this.#keyframes,
      framesPerSecond: this.#frames < 2 || seconds <= 0 ? null : (this.#frames - 1) / seconds,
      bitsPerSecond: wallSeconds < 1 ? null : (this.#bytes * 8) / wallSeconds,
      groupSeconds: this.#groupTicksMax === null ? null : this.#groupTicksMax / videoRate,
      hasBFrames: this.#hasBFrames,
      clockRate: wallSeconds < clockRateSecondsMin ? null : seconds / wallSeconds,
      missingPackets: this.#missing,
    };
  }

  #beginFrame({ timestamp }: RtpPacket): void {
    const step = this.#lastTimestamp === null ? 0 : ticksBetween(this.#lastTimestamp, timestamp);
    // Backwards by less than a second is the order of B-frames; by more, a clock that was set.
    if (step < 0 && step > -videoRate) this.#hasBFrames = true;
    this.#lastTimestamp = timestamp;
    this.#ticks += step;
    this.#ticksMax = Math.max(this.#ticksMax, this.#ticks);
    this.#frames += 1;
    this.#isKeyframe = false;
  }

  #see(nal: { readonly type: number; readonly whole: Buffer | null }): void {
    const isKey = this.#isHevc ? nal.type >= 16 && nal.type <= 23 : nal.type === 5;
    if (nal.whole !== null && nal.type === (this.#isHevc ? 33 : 7)) {
      this.#sps = Buffer.from(nal.whole);
    }
    if (!isKey || this.#isKeyframe) return;
    this.#isKeyframe = true;
    this.#keyframes += 1;
    if (this.#keyframeTicks !== null) {
      this.#groupTicksMax = Math.max(this.#groupTicksMax ?? 0, this.#ticks - this.#keyframeTicks);
    }
    this.#keyframeTicks = this.#ticks;
  }

  /** The NAL units that begin in a payload: whole ones, those of an aggregate, heads of fragments. */
  *#units(payload: Buffer): Generator<{ readonly type: number; readonly whole: Buffer | null }> {
    const headerBytes = this.#isHevc ? 2 : 1;
    if (payload.length <= headerBytes) return;
    const type = this.#typeOf(payload);
    const [aggregate, fragment] = this.#isHevc ? [48, 49] : [24, 28];
    if (type === aggregate) {
      for (let at = headerBytes; at + 2 < payload.length;) {
        const end = at + 2 + payload.readUInt16BE(at);
        const unit = payload.subarray(at + 2, end);
        if (unit.length > headerBytes) yield { type: this.#typeOf(unit), whole: unit };
        at = end;
      }
    } else if (type === fragment) {
      const header = payload[headerBytes] ?? 0;
      const isStart = (header & 0x80) !== 0;
      if (isStart) yield { type: header & (this.#isHevc ? 0x3f : 0x1f), whole: null };
    } else {
      yield { type, whole: payload };
    }
  }

  #typeOf(nal: Buffer): number {
    const first = nal[0] ?? 0;
    return this.#isHevc ? (first >> 1) & 0x3f : first & 0x1f;
  }

  #parameters(): SequenceParameters | null {
    if (this.#sps === null) return null;
    try {
      return this.#isHevc ? readHevcSps(this.#sps) : readAvcSps(this.#sps);
    } catch {
      // A camera that describes itself wrongly may still be recorded.
      return null;
    }
  }
}

/** By chroma_format_idc (ITU-T H.264, table 6-1). */
const chromaFormats = ['4:0:0', '4:2:0', '4:2:2', '4:4:4'] as const;

/** Profiles of H.264 (ITU-T H.264, annex A.2) that cameras have. */
const profiles: ReadonlyMap<number, string> = new Map([
  [66, 'Baseline'],
  [77, 'Main'],
  [88, 'Extended'],
  [100, 'High'],
  [110, 'High 10'],
  [122, 'High 4:2:2'],
  [244, 'High 4:4:4'],
]);

function profileOf(sps: Buffer | null): string | null {
  return profiles.get(sps?.[1] ?? 0) ?? null;
}
