/** The tracks of a segment (RFC 9559, 5.1.4), as far as a recording needs to know them. */
import { type Element, elementsIn, floatOf, ids, MkvError, textOf, unsignedOf } from './ebml.ts';

export interface MkvTrack {
  readonly number: number;
  readonly kind: 'video' | 'audio' | 'other';
  /** As in the Matroska codec registry: `V_MPEG4/ISO/AVC`, `A_AAC` … */
  readonly codecId: string;
  /** The decoder's configuration; null where the stream has none. */
  readonly codecPrivate: Buffer | null;
  /** How long a frame is, in nanoseconds, 10 s at most; null: not said. */
  readonly frameNs: number | null;
  /** By how much its times are later than when its frames are to be heard, 10 s at most. */
  readonly delayNs: number;
  readonly width: number;
  readonly height: number;
  readonly sampleRate: number;
  readonly channels: number;
}

/** Far more than a camera sends. */
const tracksMax = 64;
const codecIdBytesMax = 64;
const nsMax = 10_000_000_000;

/** @throws MkvError */
export function readTracks(bytes: Buffer, element: Element): readonly MkvTrack[] {
  const tracks: MkvTrack[] = [];
  for (const entry of elementsIn(bytes, element.bodyStart, element.end)) {
    if (entry.id !== ids.TrackEntry) continue;
    if (tracks.length >= tracksMax)
      throw new MkvError('too-large', `more than ${tracksMax} tracks`);
    const track = readTrack(bytes, entry);
    if (tracks.some(({ number }) => number === track.number)) {
      throw new MkvError('malformed', `two tracks with the number ${track.number}`);
    }
    tracks.push(track);
  }
  return tracks;
}

function readTrack(bytes: Buffer, entry: Element): MkvTrack {
  let track: MkvTrack = {
    ...{ number: 0, kind: 'other', codecId: '', codecPrivate: null, frameNs: null, delayNs: 0 },
    ...{ width: 0, height: 0, sampleRate: 8_000, channels: 1 },
  };
  for (const child of elementsIn(bytes, entry.bodyStart, entry.end)) {
    switch (child.id) {
      case ids.TrackNumber:
        track = { ...track, number: unsignedOf(bytes, child) };
        break;
      case ids.TrackType:
        track = { ...track, kind: kindOf(unsignedOf(bytes, child)) };
        break;
      case ids.CodecID:
        if (child.end - child.bodyStart > codecIdBytesMax) {
          throw new MkvError('too-large', `a codec's name of more than ${codecIdBytesMax} bytes`);
        }
        track = { ...track, codecId: textOf(bytes, child) };
        break;
      case ids.CodecPrivate:
        track = { ...track, codecPrivate: Buffer.from(bytes.subarray(child.bodyStart, child.end)) };
        break;
      case ids.DefaultDuration:
        track = { ...track, frameNs: Math.min(unsignedOf(bytes, child), nsMax) || null };
        break;
      case ids.CodecDelay:
        track = { ...track, delayNs: Math.min(unsignedOf(bytes, child), nsMax) };
        break;
      case ids.ContentEncodings:
        throw new MkvError('unsupported', 'a track that is compressed or encrypted as a whole');
      case ids.Video:
        track = { ...track, ...readVideo(bytes, child) };
        break;
      case ids.Audio:
        track = { ...track, ...readAudio(bytes, child) };
        break;
    }
  }
  if (track.number === 0) throw new MkvError('malformed', 'a track without a number');
  return track;
}

function kindOf(type: number): MkvTrack['kind'] {
  return type === 1 ? 'video' : type === 2 ? 'audio' : 'other';
}

function readVideo(bytes: Buffer, element: Element): Pick<MkvTrack, 'width' | 'height'> {
  let [width, height] = [0, 0];
  for (const child of elementsIn(bytes, element.bodyStart, element.end)) {
    if (child.id === ids.PixelWidth) width = unsignedOf(bytes, child);
    else if (child.id === ids.PixelHeight) height = unsignedOf(bytes, child);
  }
  return { width, height };
}

function readAudio(bytes: Buffer, element: Element): Pick<MkvTrack, 'sampleRate' | 'channels'> {
  let [sampleRate, channels] = [8_000, 1];
  for (const child of elementsIn(bytes, element.bodyStart, element.end)) {
    if (child.id === ids.SamplingFrequency) sampleRate = floatOf(bytes, child);
    else if (child.id === ids.Channels) channels = unsignedOf(bytes, child);
  }
  if (!(sampleRate >= 1 && sampleRate <= 1_000_000) || channels < 1 || channels > 255) {
    throw new MkvError('malformed', `${channels} channels of ${sampleRate} Hz`);
  }
  return { sampleRate: Math.round(sampleRate), channels };
}
