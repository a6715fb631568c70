/**
 * Writes stored fragments as Matroska, the way GetMedia gives them and PutMedia takes them: a
 * segment of unknown size, H.264 or H.265 with AAC or Opus, times in milliseconds.
 *
 * ```ts
 * const tags = { AWS_KINESISVIDEO_FRAGMENT_NUMBER: number };
 * send(segmentOf(init, await video.readFragment(fragment), { tags, clusterTimecodeMs }));
 * send(tagsOf({ AWS_KINESISVIDEO_MILLIS_BEHIND_NOW: '0' })); // of the same segment
 * ```
 * A sender of many fragments over one connection writes `headerOf` once and `clusterOf` for each.
 *
 * Sources: RFC 9559; its codec registry for what CodecPrivate holds.
 */
import { ids } from '../../../../ingest/mkv/ebml.ts';
import {
  boxesIn,
  type InitSegment,
  type InitTrack,
  Mp4Error,
  readInit,
  readMovieFragments,
  type Sample,
  sampleDefaults,
} from '../../../../storage/video/boxes.ts';
import { element, elementHeader, float, text, unsigned } from './elements.ts';

export type MkvTags = Readonly<Record<string, string>>;

export interface SegmentOptions {
  /** Written before the cluster; left out, or without any: none. */
  readonly tags?: MkvTags;
  /** When the fragment's first picture is shown, in milliseconds since whenever. */
  readonly clusterTimecodeMs: number;
}

/** What is kept of a stored init (`Init` of the video store has it). */
interface InitBytes {
  readonly bytes: Buffer;
}

/** Times in a cluster count from its own, in 16 bits with a sign. */
const relativeMsMax = 30_000;
const relativeMsMin = -32_768;
const microsecond = 1_000;
const writer = 'Headgate';

/**
 * A whole document with one fragment.
 * @throws Mp4Error for bytes that are not what the store keeps, `unsupported` for other video
 */
export function segmentOf(
  init: InitBytes,
  fragment: Buffer,
  { tags = {}, clusterTimecodeMs }: SegmentOptions,
): Buffer {
  return Buffer.concat([
    headerOf(init),
    ...(Object.keys(tags).length > 0 ? [tagsOf(tags)] : []),
    clusterOf(init, fragment, clusterTimecodeMs),
  ]);
}

/** What comes before clusters: EBML, the beginning of the segment, its tracks. @throws Mp4Error */
export function headerOf(init: InitBytes): Buffer {
  const tracks = writtenTracks(init.bytes, readInit(init.bytes));
  return Buffer.concat([
    element(
      ids.EBML,
      unsigned(ids.EBMLVersion, 1),
      unsigned(ids.EBMLReadVersion, 1),
      unsigned(ids.EBMLMaxIDLength, 4),
      unsigned(ids.EBMLMaxSizeLength, 8),
      text(ids.DocType, 'matroska'),
      unsigned(ids.DocTypeVersion, 4),
      unsigned(ids.DocTypeReadVersion, 2),
    ),
    elementHeader(ids.Segment, null),
    element(
      ids.Info,
      unsigned(ids.TimestampScale, 1_000_000),
      text(ids.MuxingApp, writer),
      text(ids.WritingApp, writer),
    ),
    element(ids.Tracks, ...tracks.map(trackEntry)),
  ]);
}

/** Tags of the segment, before or after a cluster. */
export function tagsOf(tags: MkvTags): Buffer {
  const written = Object.entries(tags).map(([name, value]) =>
    element(ids.SimpleTag, text(ids.TagName, name), text(ids.TagString, value)),
  );
  return element(ids.Tags, element(ids.Tag, ...written));
}

/**
 * A fragment's frames, in the order of decoding: one cluster, and another wherever 30 s have gone
 * by, which is as far as times in a cluster reach.
 * @throws Mp4Error
 */
export function clusterOf(init: InitBytes, fragment: Buffer, clusterTimecodeMs: number): Buffer {
  const segment = readInit(init.bytes);
  const tracks = writtenTracks(init.bytes, segment);
  const frames = framesOf(segment, tracks, fragment);
  const firstUs = frames.find(({ track }) => track.kind === 'video')?.shownUs;
  if (firstUs === undefined) throw new Mp4Error('malformed', 'a fragment without a picture');
  const clusters: Buffer[] = [];
  let blocks: Buffer[] = [];
  let timecodeMs = clusterTimecodeMs;
  const close = (): void => {
    clusters.push(element(ids.Cluster, unsigned(ids.Timestamp, timecodeMs), ...blocks));
    blocks = [];
  };
  for (const { track, sample, shownUs } of frames) {
    const shownMs = clusterTimecodeMs + Math.round((shownUs - firstUs) / microsecond);
    if (shownMs - timecodeMs > relativeMsMax && blocks.length > 0) {
      close();
      timecodeMs = shownMs;
    }
    const relativeMs = Math.max(relativeMsMin, -timecodeMs, shownMs - timecodeMs);
    const header = Buffer.alloc(4);
    header.writeUInt8(0x80 | track.number, 0);
    header.writeInt16BE(relativeMs, 1);
    header.writeUInt8(sample.keyframe ? 0x80 : 0, 3);
    const bytes = fragment.subarray(sample.start, sample.start + sample.sizeBytes);
    blocks.push(elementHeader(ids.SimpleBlock, header.length + bytes.length), header, bytes);
  }
  close();
  return Buffer.concat(clusters);
}

interface WrittenTrack {
  readonly number: number;
  readonly kind: 'video' | 'audio';
  readonly codecId: string;
  readonly codecPrivate: Buffer;
  readonly from: InitTrack;
}

interface Frame {
  readonly track: WrittenTrack;
  readonly sample: Sample;
  readonly decodedUs: number;
  readonly shownUs: number;
}

function framesOf(
  init: InitSegment,
  tracks: readonly WrittenTrack[],
  fragment: Buffer,
): readonly Frame[] {
  const frames: Frame[] = [];
  for (const movie of readMovieFragments(fragment, sampleDefaults(init))) {
    for (const { trackId, decodeTime, samples } of movie.tracks) {
      const track = tracks.find(({ from }) => from.trackId === trackId);
      if (track === undefined) continue;
      const us = 1e6 / track.from.timescale;
      let at = decodeTime;
      for (const sample of samples) {
        const shownUs = (at + sample.compositionTicks) * us;
        frames.push({ track, sample, decodedUs: at * us, shownUs });
        at += sample.durationTicks;
      }
    }
  }
  return frames.sort((one, other) => one.decodedUs - other.decodedUs);
}

/** Video first. Sound of a codec that Matroska has no name for here is left out. */
function writtenTracks(bytes: Buffer, { tracks }: InitSegment): readonly WrittenTrack[] {
  const video = tracks.find(({ kind }) => kind === 'video');
  const codec = video === undefined ? null : videoCodec(bytes, video);
  if (video === undefined || codec === null) {
    throw new Mp4Error('unsupported', `${video?.codec ?? 'no'} video in Matroska`);
  }
  const written: WrittenTrack[] = [{ number: 1, kind: 'video', from: video, ...codec }];
  const audio = tracks.find(({ kind }) => kind === 'audio');
  const sound = audio === undefined ? null : audioCodec(bytes, audio);
  if (audio !== undefined && sound !== null) {
    written.push({ number: 2, kind: 'audio', from: audio, ...sound });
  }
  return written;
}

interface Codec {
  readonly codecId: string;
  readonly codecPrivate: Buffer;
}

function videoCodec(bytes: Buffer, { configuration }: InitTrack): Codec | null {
  if (configuration === null) return null;
  const codecPrivate = bytes.subarray(configuration.bodyStart, configuration.end);
  if (configuration.type === 'avcC') return { codecId: 'V_MPEG4/ISO/AVC', codecPrivate };
  if (configuration.type === 'hvcC') return { codecId: 'V_MPEGH/ISO/HEVC', codecPrivate };
  return null;
}

function audioCodec(bytes: Buffer, track: InitTrack): Codec | null {
  const { configuration, sampleEntry, codec } = track;
  if (configuration !== null && codec.startsWith('mp4a.40')) {
    const codecPrivate = specificConfig(bytes.subarray(configuration.bodyStart, configuration.end));
    return codecPrivate === null ? null : { codecId: 'A_AAC', codecPrivate };
  }
  if (sampleEntry.type !== 'Opus') return null;
  const audioEntryBytes = 28;
  for (const box of boxesIn(bytes, sampleEntry.bodyStart + audioEntryBytes, sampleEntry.end)) {
    if (box.type !== 'dOps') continue;
    return { codecId: 'A_OPUS', codecPrivate: opusHead(bytes.subarray(box.bodyStart, box.end)) };
  }
  return null;
}

/** The AudioSpecificConfig in an `esds` (ISO/IEC 14496-1, 7.2.6); null: there is none. */
export function specificConfig(esds: Buffer): Buffer | null {
  const [esTag, decoderTag, infoTag] = [0x03, 0x04, 0x05];
  let at = 4;
  for (const [tag, fixedBytes] of [
    [esTag, 3],
    [decoderTag, 13],
    [infoTag, 0],
  ] as const) {
    if (esds[at] !== tag) return null;
    let size = 0;
    for (let more = true; more;) {
      at += 1;
      const byte = esds[at] ?? 0;
      size = size * 128 + (byte & 0x7f);
      more = (byte & 0x80) !== 0;
    }
    at += 1;
    if (tag === infoTag) return size > 0 ? esds.subarray(at, at + size) : null;
    at += fixedBytes;
  }
  return null;
}

/** `dOps` (Opus in ISOBMFF, 4.3.2) as the header that Matroska has: little-endian, version 1. */
function opusHead(box: Buffer): Buffer {
  const head = Buffer.concat([Buffer.from('OpusHead'), box]);
  head.writeUInt8(1, 8);
  head.writeUInt16LE(box.readUInt16BE(2), 10);
  head.writeUInt32LE(box.readUInt32BE(4), 12);
  head.writeInt16LE(box.readInt16BE(8), 16);
  return head;
}

function trackEntry({ number, kind, codecId, codecPrivate, from }: WrittenTrack): Buffer {
  return element(
    ids.TrackEntry,
    unsigned(ids.TrackNumber, number),
    unsigned(ids.TrackUID, number),
    unsigned(ids.TrackType, kind === 'video' ? 1 : 2),
    unsigned(ids.FlagLacing, 0),
    text(ids.CodecID, codecId),
    element(ids.CodecPrivate, codecPrivate),
    kind === 'video'
      ? element(
          ids.Video,
          unsigned(ids.PixelWidth, from.width ?? 0),
          unsigned(ids.PixelHeight, from.height ?? 0),
        )
      : element(
          ids.Audio,
          float(ids.SamplingFrequency, from.sampleRate ?? 0),
          unsigned(ids.Channels, from.channels ?? 1),
        ),
  );
}
