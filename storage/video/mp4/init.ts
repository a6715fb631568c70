/**
 * What comes before a run's fragments: `ftyp` and `moov`, read for what the index and the players
 * need to know (tracks, codecs, dimensions, sample defaults).
 *
 * Sources: ISO/IEC 14496-12 (moov, trak, mvex), 14496-14 and -1 (esds), 14496-15 (avcC, hvcC and,
 * in annex E, the codec strings of HEVC), RFC 6381. Parameter sets inside avcC and hvcC are the
 * business of `ingest/camera/parameter-sets.ts`.
 */
import type { TrackDescription } from '../../model.ts';
import { type Box, BoxFields, boxesIn, findBox, Mp4Error, needBox } from './box.ts';

/** What a sample has where its fragment does not say otherwise (`trex`). */
export interface SampleDefaults {
  readonly durationTicks: number;
  readonly sizeBytes: number;
  readonly flags: number;
}

export interface InitTrack extends TrackDescription {
  readonly defaults: SampleDefaults;
  /** The decoder configuration (`avcC`, `hvcC` …) within the sample entry, if it has one. */
  readonly configuration: Box | null;
  /** The sample entry (`avc1`, `hvc1`, `mp4a` …). */
  readonly sampleEntry: Box;
}

export interface InitSegment {
  /** Video and audio tracks, in the order of the file; others are left out. */
  readonly tracks: readonly InitTrack[];
}

/** How many tracks of any kind a `moov` may have: far more than a camera sends. */
const tracksMax = 64;

const noDefaults: SampleDefaults = { durationTicks: 0, sizeBytes: 0, flags: 0 };

/**
 * Reads an `ftyp` + `moov` (other boxes are passed over).
 * @throws Mp4Error
 */
export function readInit(bytes: Buffer): InitSegment {
  for (const box of boxesIn(bytes)) {
    if (box.type === 'moov') return readMovie(bytes, box);
  }
  throw new Mp4Error('malformed', 'no moov');
}

/** A track without the positions in its bytes: what is kept in the index. */
export function describeTrack(track: InitTrack): TrackDescription {
  const { trackId, kind, codec, timescale, width, height, sampleRate, channels } = track;
  return {
    trackId,
    kind,
    codec,
    timescale,
    ...(width === undefined ? {} : { width }),
    ...(height === undefined ? {} : { height }),
    ...(sampleRate === undefined ? {} : { sampleRate }),
    ...(channels === undefined ? {} : { channels }),
  };
}

function readMovie(bytes: Buffer, movie: Box): InitSegment {
  const defaults = new Map<number, SampleDefaults>();
  const extends_ = findBox(bytes, movie, 'mvex');
  if (extends_ !== null) {
    for (const box of boxesIn(bytes, extends_.bodyStart, extends_.end)) {
      if (box.type !== 'trex') continue;
      const fields = new BoxFields(bytes, box);
      fields.skip(4);
      const trackId = fields.u32();
      fields.skip(4);
      const durationTicks = fields.u32();
      const sizeBytes = fields.u32();
      defaults.set(trackId, { durationTicks, sizeBytes, flags: fields.u32() });
    }
  }
  const tracks: InitTrack[] = [];
  let seen = 0;
  for (const box of boxesIn(bytes, movie.bodyStart, movie.end)) {
    if (box.type !== 'trak') continue;
    seen += 1;
    if (seen > tracksMax) throw new Mp4Error('too-large', `more than ${tracksMax} tracks`);
    const track = readTrack(bytes, box, defaults);
    if (track === null) continue;
    if (tracks.some((other) => other.trackId === track.trackId)) {
      throw new Mp4Error('malformed', `two tracks with the id ${track.trackId}`);
    }
    tracks.push(track);
  }
  return { tracks };
}

function readTrack(
  bytes: Buffer,
  trak: Box,
  defaults: ReadonlyMap<number, SampleDefaults>,
): InitTrack | null {
  const header = new BoxFields(bytes, needBox(bytes, trak, 'tkhd'));
  header.skip((header.u8() === 1 ? 16 : 8) + 3);
  const trackId = header.u32();
  const media = needBox(bytes, trak, 'mdia');
  const kind = handlerKind(bytes, needBox(bytes, media, 'hdlr'));
  if (kind === null) return null;
  const mediaHeader = new BoxFields(bytes, needBox(bytes, media, 'mdhd'));
  mediaHeader.skip((mediaHeader.u8() === 1 ? 16 : 8) + 3);
  const timescale = mediaHeader.u32();
  if (timescale === 0) throw new Mp4Error('malformed', `track ${trackId} has a timescale of 0`);

  const tables = needBox(bytes, needBox(bytes, media, 'minf'), 'stbl');
  const descriptions = needBox(bytes, tables, 'stsd');
  const [sampleEntry] = [...boxesIn(bytes, descriptions.bodyStart + 8, descriptions.end)];
  if (sampleEntry === undefined) throw new Mp4Error('malformed', `track ${trackId} has no codec`);
  const common = {
    trackId,
    timescale,
    sampleEntry,
    defaults: defaults.get(trackId) ?? noDefaults,
  };
  return kind === 'video'
    ? { ...common, kind, ...readVideoEntry(bytes, sampleEntry) }
    : { ...common, kind, ...readAudioEntry(bytes, sampleEntry) };
}

function handlerKind(bytes: Buffer, box: Box): 'video' | 'audio' | null {
  const fields = new BoxFields(bytes, box);
  fields.skip(8);
  const handler = fields.u32();
  if (handler === 0x76696465) return 'video'; // 'vide'
  if (handler === 0x736f756e) return 'audio'; // 'soun'
  return null;
}

/** VisualSampleEntry: ISO/IEC 14496-12, 12.1.3. */
function readVideoEntry(
  bytes: Buffer,
  entry: Box,
): { codec: string; width: number; height: number; configuration: Box | null } {
  const fields = new BoxFields(bytes, entry);
  fields.skip(24);
  const width = fields.u16();
  const height = fields.u16();
  fields.skip(50);
  let configuration: Box | null = null;
  for (const box of boxesIn(bytes, fields.at, entry.end)) {
    if (box.type === 'avcC' || box.type === 'hvcC') configuration = box;
  }
  return { codec: videoCodec(bytes, entry.type, configuration), width, height, configuration };
}

function videoCodec(bytes: Buffer, type: string, configuration: Box | null): string {
  if (configuration === null) return type.trim();
  const fields = new BoxFields(bytes, configuration);
  fields.skip(1);
  if (configuration.type === 'avcC') return `${type}.${hex(fields.u24(), 6)}`;
  return `${type}.${hevcProfile(fields)}`;
}

/** ISO/IEC 14496-15, annex E.3: e.g. `1.6.L93.B0`. */
function hevcProfile(fields: BoxFields): string {
  const profile = fields.u8();
  const space = ['', 'A', 'B', 'C'][profile >> 6] ?? '';
  const tier = (profile & 0x20) === 0 ? 'L' : 'H';
  const compatibility = reverseBits(fields.u32());
  const constraints = Array.from({ length: 6 }, () => fields.u8());
  const level = fields.u8();
  while (constraints.at(-1) === 0) constraints.pop();
  return [
    `${space}${profile & 0x1f}`,
    compatibility.toString(16).toUpperCase(),
    `${tier}${level}`,
    ...constraints.map((byte) => byte.toString(16).toUpperCase()),
  ].join('.');
}

function reverseBits(word: number): number {
  let reversed = 0;
  for (let bit = 0; bit < 32; bit += 1) reversed = (reversed << 1) | ((word >>> bit) & 1);
  return reversed >>> 0;
}

/** AudioSampleEntry: ISO/IEC 14496-12, 12.2.3, with QuickTime's longer versions 1 and 2. */
function readAudioEntry(
  bytes: Buffer,
  entry: Box,
): { codec: string; sampleRate: number; channels: number; configuration: Box | null } {
  const fields = new BoxFields(bytes, entry);
  fields.skip(8);
  const version = fields.u16();
  fields.skip(6);
  const channels = fields.u16();
  fields.skip(6);
  const sampleRate = fields.u32() >>> 16;
  if (version === 1) fields.skip(16);
  if (version === 2) fields.skip(36);
  let configuration: Box | null = null;
  for (const box of boxesIn(bytes, fields.at, entry.end)) {
    if (box.type === 'esds') configuration = box;
  }
  if (configuration === null) {
    const codec = entry.type.trim().replace(/^Opus$/, 'opus');
    return { codec, sampleRate, channels, configuration };
  }
  // Writers of MP4 put 2 channels into the entry whatever there is: the esds knows better.
  const stream = readElementaryStream(bytes, configuration);
  return {
    codec: `${entry.type}.${stream.codec}`,
    sampleRate,
    channels: stream.channels ?? channels,
    configuration,
  };
}

/**
 * The object type of an `esds` (ISO/IEC 14496-1, 7.2.6) as RFC 6381 writes it (`40.2` for AAC-LC,
 * `6B` for MP3), and the channels that AAC's AudioSpecificConfig (14496-3, 1.6.2.1) says.
 */
function readElementaryStream(bytes: Buffer, box: Box): { codec: string; channels: number | null } {
  const fields = new BoxFields(bytes, box);
  fields.skip(4);
  descriptor(fields, 0x03);
  fields.skip(2);
  const flags = fields.u8();
  if ((flags & 0x80) !== 0) fields.skip(2);
  if ((flags & 0x40) !== 0) fields.skip(fields.u8());
  if ((flags & 0x20) !== 0) fields.skip(2);
  descriptor(fields, 0x04);
  const objectType = fields.u8();
  if (objectType !== 0x40) return { codec: hex(objectType, 2).toUpperCase(), channels: null };
  fields.skip(12);
  // ffmpeg leaves the configuration out where it comes with the first frame only (ADTS).
  if (fields.remaining < 4 || fields.u8() !== 0x05) return { codec: '40', channels: null };
  descriptorLength(fields);
  const config = fields.u16();
  const audioObjectType = config >> 11;
  if (audioObjectType === 31) {
    return { codec: `40.${32 + ((config >> 5) & 0x3f)}`, channels: null };
  }
  const explicitRate = ((config >> 7) & 0x0f) === 15;
  const layout = explicitRate ? 0 : (config >> 3) & 0x0f;
  const channels = layout === 7 ? 8 : layout >= 1 && layout <= 6 ? layout : null;
  return { codec: `40.${audioObjectType}`, channels };
}

/** Steps over a descriptor's tag and length (1 to 4 bytes of 7 bits). */
function descriptor(fields: BoxFields, tag: number): void {
  if (fields.u8() !== tag) throw new Mp4Error('malformed', 'esds with an unknown descriptor');
  descriptorLength(fields);
}

function descriptorLength(fields: BoxFields): void {
  for (let bytes = 0; bytes < 4; bytes += 1) {
    if ((fields.u8() & 0x80) === 0) return;
  }
  throw new Mp4Error('malformed', 'esds with an endless descriptor');
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
