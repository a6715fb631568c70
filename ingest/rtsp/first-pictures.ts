/**
 * When the first pictures are shown that a recorder is sent, in the order in which they come, from
 * the first keyframe on. Their RTP timestamps say so; ffmpeg, where pictures are reordered
 * (B-frames), loses what it says of the first few (camera/first-times.ts).
 *
 * H.264 (RFC 6184) and H.265 (RFC 7798). A picture is what has a slice, and a timestamp of its own.
 */
import { nalTypes, payloadStart } from './h264-packets.ts';
import { ticksBetween, timestampOf } from './rtp.ts';

export type PictureCodec = 'H264' | 'H265';

const frameHeaderBytes = 4;
/** More than ffmpeg puts into its first chunk. */
const picturesMax = 64;

export class FirstPictures {
  readonly #codec: PictureCodec;
  readonly #clockRate: number;
  readonly #seconds: number[] = [];
  #first = 0;
  #last = 0;

  /** @param clockRate ticks per second of the timestamps */
  constructor(codec: PictureCodec, clockRate: number) {
    this.#codec = codec;
    this.#clockRate = clockRate;
  }

  /** Seconds since the first keyframe is shown: 64 at most. */
  get seconds(): readonly number[] {
    return this.#seconds;
  }

  /** @param frame an RTP packet of the video with its four header bytes */
  look(frame: Buffer): void {
    if (this.#seconds.length >= picturesMax) return;
    const timestamp = timestampOf(frame, frameHeaderBytes);
    const start = payloadStart(frame, frameHeaderBytes);
    if (timestamp === null || start === null) return;
    const isFirst = this.#seconds.length === 0;
    if (!isFirst && timestamp === this.#last) return;
    const slice = sliceOf(frame, start, this.#codec);
    if (slice === null || (isFirst && slice !== 'keyframe')) return;
    if (isFirst) this.#first = timestamp;
    this.#last = timestamp;
    this.#seconds.push(ticksBetween(this.#first, timestamp) / this.#clockRate);
  }
}

/** What kind of picture a payload has slices of; null: it has none. */
function sliceOf(bytes: Buffer, at: number, codec: PictureCodec): 'keyframe' | 'other' | null {
  const types = codec === 'H264' ? typesOfH264(bytes, at) : typesOfH265(bytes, at);
  const [lastSlice, firstKey, lastKey] = codec === 'H264' ? [5, 5, 5] : [31, 16, 23];
  const firstSlice = codec === 'H264' ? 1 : 0;
  const slice = types.find((type) => type >= firstSlice && type <= lastSlice);
  if (slice === undefined) return null;
  return slice >= firstKey && slice <= lastKey ? 'keyframe' : 'other';
}

function typesOfH264(bytes: Buffer, at: number): readonly number[] {
  const typeAt = (offset: number): number => (bytes[offset] ?? 0) & 0x1f;
  const type = typeAt(at);
  if (type === nalTypes.fuA) return at + 1 < bytes.length ? [typeAt(at + 1)] : [];
  return type === nalTypes.stapA ? aggregated(bytes, at + 1).map(typeAt) : [type];
}

function typesOfH265(bytes: Buffer, at: number): readonly number[] {
  const [aggregation, fragmentation] = [48, 49];
  const typeAt = (offset: number): number => ((bytes[offset] ?? 0) >> 1) & 0x3f;
  const type = typeAt(at);
  if (type === fragmentation) return at + 2 < bytes.length ? [(bytes[at + 2] ?? 0) & 0x3f] : [];
  return type === aggregation ? aggregated(bytes, at + 2).map(typeAt) : [type];
}

/** Where the NAL units of an aggregation packet begin, each after its length. */
function aggregated(bytes: Buffer, from: number): readonly number[] {
  const starts: number[] = [];
  for (let at = from; at + 2 < bytes.length; at += 2 + bytes.readUInt16BE(at)) starts.push(at + 2);
  return starts;
}
