/**
 * Writes fragmented MP4 (ISO/IEC 14496-12, 14496-14, 14496-15): an init for the tracks of a
 * Matroska stream, and chunks (`moof` + `mdat`) of its frames, as ffmpeg makes them for every other
 * camera.
 */
import { Mp4Error } from '../../storage/video/boxes.ts';
import type { MkvTrack } from './tracks.ts';

export interface Mp4Track {
  readonly trackId: number;
  readonly timescale: number;
  readonly from: MkvTrack;
}

export interface Mp4Sample {
  readonly bytes: Buffer;
  readonly durationTicks: number;
  /** Presentation minus decode time. */
  readonly compositionTicks: number;
  readonly keyframe: boolean;
}

/** The samples of one track in a chunk: at least one. */
export interface Mp4Run {
  readonly trackId: number;
  /** Of the first sample. */
  readonly decodeTicks: number;
  readonly samples: readonly Mp4Sample[];
}

/** An AudioSpecificConfig has 2 to some 20 bytes; descriptors here have a length of 7 bits. */
const specificConfigBytesMax = 64;
const opusHeadBytesMin = 19;
const sideMax = 0xffff;

/**
 * `ftyp` and `moov`.
 * @throws Mp4Error `unsupported` for a codec that can't be recorded, `malformed` for a
 *   configuration that is none
 */
export function writeInit(tracks: readonly Mp4Track[]): Buffer {
  const nextTrackId = Math.max(...tracks.map(({ trackId }) => trackId)) + 1;
  return Buffer.concat([
    box('ftyp', ascii('iso5'), u32(512), ascii('iso5iso6mp41')),
    box(
      'moov',
      fullBox(
        'mvhd',
        0,
        u32(0, 0, 1000, 0, 0x10000),
        u16(0x100, 0),
        u32(0, 0),
        matrix,
        ...[...[Buffer.alloc(24), u32(nextTrackId)]],
      ),
      ...tracks.map(trak),
      box('mvex', ...tracks.map(({ trackId }) => fullBox('trex', 0, u32(trackId, 1, 0, 0, 0)))),
    ),
  ]);
}

/** One `moof` with its `mdat`. @param sequence counts the chunks */
export function writeChunk(sequence: number, runs: readonly Mp4Run[]): Buffer {
  const sizes = runs.map(({ samples }) => samples.length * 16);
  // moof and mfhd; for each track traf, tfhd, tfdt and trun with its table.
  const moofBytes = 8 + 16 + sizes.reduce((sum, size) => sum + 8 + 16 + 20 + 20 + size, 0);
  let dataAt = moofBytes + 8;
  const fragments = runs.map(({ trackId, decodeTicks, samples }) => {
    const table = Buffer.allocUnsafe(samples.length * 16);
    let bytes = 0;
    for (const [index, sample] of samples.entries()) {
      const at = index * 16;
      table.writeUInt32BE(sample.durationTicks, at);
      table.writeUInt32BE(sample.bytes.length, at + 4);
      table.writeUInt32BE(sample.keyframe ? syncSample : otherSample, at + 8);
      table.writeInt32BE(sample.compositionTicks, at + 12);
      bytes += sample.bytes.length;
    }
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(BigInt(decodeTicks));
    const run = box(
      'traf',
      fullBox('tfhd', 0x20000, u32(trackId)),
      box('tfdt', u32(0x01000000), time),
      // Version 1: a picture may be shown before it would be decoded by our reckoning.
      box('trun', u32(0x01000f01, samples.length, dataAt), table),
    );
    dataAt += bytes;
    return run;
  });
  const moof = box('moof', fullBox('mfhd', 0, u32(sequence)), ...fragments);
  const data = runs.flatMap(({ samples }) => samples.map(({ bytes }) => bytes));
  return Buffer.concat([moof, box('mdat', ...data)]);
}

/** Depends on no other. */
const syncSample = 0x02000000;
/** Depends on others, and is no sync sample. */
const otherSample = 0x01010000;

const matrix = u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000);

function trak(track: Mp4Track): Buffer {
  const { trackId, timescale, from } = track;
  const isVideo = from.kind === 'video';
  const [width, height] = isVideo ? [from.width, from.height] : [0, 0];
  const empty = ['stts', 'stsc', 'stco'].map((type) => fullBox(type, 0, u32(0)));
  return box(
    'trak',
    fullBox(
      'tkhd',
      3,
      u32(0, 0, trackId, 0, 0, 0, 0),
      u16(0, 0, isVideo ? 0 : 0x100, 0),
      matrix,
      ...[u32(width * 0x10000, height * 0x10000)],
    ),
    box(
      'mdia',
      fullBox('mdhd', 0, u32(0, 0, timescale, 0), u16(0x55c4, 0)),
      fullBox('hdlr', 0, u32(0), ascii(isVideo ? 'vide' : 'soun'), Buffer.alloc(13)),
      box(
        'minf',
        isVideo ? fullBox('vmhd', 1, Buffer.alloc(8)) : fullBox('smhd', 0, Buffer.alloc(4)),
        box('dinf', fullBox('dref', 0, u32(1), fullBox('url ', 1))),
        box(
          'stbl',
          fullBox('stsd', 0, u32(1), isVideo ? videoEntry(from) : audioEntry(from)),
          ...empty,
          fullBox('stsz', 0, u32(0, 0)),
        ),
      ),
    ),
  );
}

function videoEntry({ codecId, codecPrivate, width, height }: MkvTrack): Buffer {
  const [type, configuration] = /^V_MPEG4?\/ISO\/AVC$/.test(codecId)
    ? ['avc1', 'avcC']
    : /^V_MPEGH\/ISO\/HEVC$/.test(codecId)
      ? ['hev1', 'hvcC']
      : ['', ''];
  if (type === '') {
    throw new Mp4Error('unsupported', `${codecId} video; H.264 and H.265 can be recorded`);
  }
  if (codecPrivate?.[0] !== 1) {
    throw new Mp4Error('malformed', `${codecId} video without its ${configuration}`);
  }
  if (width < 1 || height < 1 || width > sideMax || height > sideMax) {
    throw new Mp4Error('malformed', `${width}x${height} video`);
  }
  return box(
    type,
    ...[Buffer.alloc(6), u16(1), Buffer.alloc(16), u16(width, height), u32(0x480000, 0x480000, 0)],
    ...[u16(1), Buffer.alloc(32), u16(0x18, 0xffff), box(configuration, codecPrivate)],
  );
}

function audioEntry({ codecId, codecPrivate, sampleRate, channels }: MkvTrack): Buffer {
  const isOpus = codecId === 'A_OPUS';
  if (!isOpus && codecId !== 'A_AAC') {
    throw new Mp4Error('unsupported', `${codecId} audio; AAC and Opus can be recorded`);
  }
  // The field has 16 bits before the point; players take the rate from the configuration.
  const rate = sampleRate > 0xffff ? 0 : sampleRate;
  return box(
    isOpus ? 'Opus' : 'mp4a',
    ...[Buffer.alloc(6), u16(1), Buffer.alloc(8), u16(channels, 16, 0, 0, rate, 0)],
    isOpus ? opusBox(codecPrivate) : elementaryStream(codecPrivate),
  );
}

/** ISO/IEC 14496-1, 7.2.6 */
function elementaryStream(config: Buffer | null): Buffer {
  if (config === null || config.length < 2 || config.length > specificConfigBytesMax) {
    throw new Mp4Error('malformed', 'AAC without its AudioSpecificConfig');
  }
  const info = Buffer.concat([Buffer.from([0x05, config.length]), config]);
  const decoder = Buffer.concat([
    Buffer.from([0x04, 13 + info.length, 0x40, 0x15]),
    ...[Buffer.alloc(11), info],
  ]);
  const sync = Buffer.from([0x06, 1, 2]);
  const stream = Buffer.from([0x03, 3 + decoder.length + sync.length, 0, 1, 0]);
  return fullBox('esds', 0, stream, decoder, sync);
}

/** Encapsulation of Opus in ISOBMFF, 4.3.2: the header of Ogg and Matroska, big-endian. */
function opusBox(head: Buffer | null): Buffer {
  if (
    head === null ||
    head.length < opusHeadBytesMin ||
    head.toString('latin1', 0, 8) !== 'OpusHead'
  ) {
    throw new Mp4Error('malformed', 'Opus without its OpusHead');
  }
  const body = Buffer.from(head.subarray(8));
  body.writeUInt8(0, 0);
  body.writeUInt16BE(head.readUInt16LE(10), 2);
  body.writeUInt32BE(head.readUInt32LE(12), 4);
  body.writeInt16BE(head.readInt16LE(16), 8);
  return box('dOps', body);
}

function box(type: string, ...parts: readonly Buffer[]): Buffer {
  const bytes = parts.reduce((sum, { length }) => sum + length, 8);
  return Buffer.concat([u32(bytes), ascii(type), ...parts], bytes);
}

function fullBox(type: string, flags: number, ...parts: readonly Buffer[]): Buffer {
  return box(type, u32(flags), ...parts);
}

function u16(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, index * 2);
  return bytes;
}

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4);
  return bytes;
}

function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
