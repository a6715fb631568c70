/**
 * Parameter sets (SPS, PPS, VPS): where an init keeps them, which ones a keyframe brings along, and
 * a new init when they differ.
 *
 * A camera whose resolution changes goes on sending; ffmpeg goes on under the old `moov`, and what
 * it stores from then on can't be decoded with it. The new sets are in the stream, before each
 * keyframe. So they are read there, and an init with them is made here.
 *
 * Sources: ISO/IEC 14496-15, 5.3.3 (avcC) and 8.3.3 (hvcC).
 */
import {
  type Box,
  boxesIn,
  type InitTrack,
  Mp4Error,
  readInit,
  type Sample,
} from '../../storage/video/boxes.ts';
import {
  hevcProfileTierLevel,
  readAvcPpsId,
  readAvcSps,
  readHevcPpsId,
  readHevcSps,
  readHevcVpsId,
  type SequenceParameters,
} from './sps.ts';

export interface CodecConfiguration {
  readonly kind: 'avc' | 'hevc';
  /** Bytes of the length that precedes each NAL unit in a sample. */
  readonly lengthBytes: number;
  /** NAL units with their headers. */
  readonly sets: readonly Buffer[];
}

/** Sets kept for one track: more than a standard allows to be used at once. */
const setsMax = 128;
const avcSps = 7;
const avcPps = 8;
const hevcVps = 32;
const hevcSps = 33;
const hevcPps = 34;

/**
 * The codec configuration of a video track; null for codecs other than H.264 and H.265.
 * @throws Mp4Error
 */
export function readCodecConfiguration(bytes: Buffer, track: InitTrack): CodecConfiguration | null {
  const { configuration } = track;
  if (configuration === null) return null;
  const body = bytes.subarray(configuration.bodyStart, configuration.end);
  if (configuration.type === 'avcC') {
    const lengthBytes = (byteAt(body, 4) & 3) + 1;
    const sps = readSets(body, 6, byteAt(body, 5) & 0x1f);
    const pps = readSets(body, sps.end + 1, byteAt(body, sps.end));
    return { kind: 'avc', lengthBytes, sets: [...sps.sets, ...pps.sets] };
  }
  if (configuration.type !== 'hvcC') return null;
  const sets = hevcArrays(body).flatMap((array) =>
    array.type >= hevcVps && array.type <= hevcPps ? array.sets : [],
  );
  return { kind: 'hevc', lengthBytes: (byteAt(body, 21) & 3) + 1, sets };
}

/**
 * Compares the parameter sets that a keyframe brings along with the configuration. Answers null
 * when nothing is new, else the configuration with the new ones in the places of those that they
 * replace. What can't be read as a parameter set is passed over: it is the decoder's to judge.
 */
export function changedConfiguration(
  configuration: CodecConfiguration,
  bytes: Buffer,
  sample: Sample,
): CodecConfiguration | null {
  const { kind, lengthBytes } = configuration;
  let sets: Map<string, Buffer> | null = null;
  const end = sample.start + sample.sizeBytes;
  let at = sample.start;
  while (at + lengthBytes < end) {
    const nalStart = at + lengthBytes;
    const nalEnd = nalStart + bytes.readUIntBE(at, lengthBytes);
    if (nalEnd > end || nalEnd === nalStart) break;
    const nal = bytes.subarray(nalStart, nalEnd);
    at = nalEnd;
    if (isPicture(kind, nal)) break;
    if (!isParameterSet(kind, nal) || nal.length > 0xffff) continue;
    if (configuration.sets.some((known) => known.equals(nal))) continue;
    const key = keyOf(kind, nal);
    if (key === null) continue;
    sets ??= new Map(
      configuration.sets.map((known, index) => [keyOf(kind, known) ?? `unread ${index}`, known]),
    );
    sets.set(key, Buffer.from(nal));
  }
  if (sets === null || sets.size > setsMax) return null;
  return { kind, lengthBytes, sets: [...sets.values()] };
}

/**
 * The init with another configuration for its video track: parameter sets, profile, dimensions.
 * @throws Mp4Error when the new sets can't be read
 */
export function withConfiguration(bytes: Buffer, configuration: CodecConfiguration): Buffer {
  const track = readInit(bytes).tracks.find((candidate) => candidate.kind === 'video');
  if (track?.configuration === undefined || track.configuration === null) {
    throw new Mp4Error('malformed', 'no video configuration to replace');
  }
  const { kind, sets } = configuration;
  const sps = sets.find((nal) => typeOf(kind, nal) === (kind === 'avc' ? avcSps : hevcSps));
  if (sps === undefined) throw new Mp4Error('malformed', 'no sequence parameter set');
  const parameters = kind === 'avc' ? readAvcSps(sps) : readHevcSps(sps);
  if (parameters.width > 0xffff || parameters.height > 0xffff) {
    throw new Mp4Error('malformed', `${parameters.width}x${parameters.height} video`);
  }
  const old = bytes.subarray(track.configuration.bodyStart, track.configuration.end);
  const body =
    kind === 'avc'
      ? avcConfiguration(configuration, sps, parameters)
      : hevcConfiguration(old, configuration, sps, parameters);
  const renewed = replaceBody(bytes, track.configuration, body);
  renewed.writeUInt16BE(parameters.width, track.sampleEntry.bodyStart + 24);
  renewed.writeUInt16BE(parameters.height, track.sampleEntry.bodyStart + 26);
  return renewed;
}

/**
 * Makes `hvc1` of an `hev1` track: the same samples, declared as needing no parameter sets but
 * those of the init (which `changedConfiguration` sees to). Other inits come back as they are.
 */
export function tagHevc(bytes: Buffer): Buffer {
  const track = readInit(bytes).tracks.find(({ sampleEntry }) => sampleEntry.type === 'hev1');
  if (track?.configuration === undefined || track.configuration === null) return bytes;
  const tagged = Buffer.from(bytes);
  tagged.write('hvc1', track.sampleEntry.start + 4, 'latin1');
  const body = tagged.subarray(track.configuration.bodyStart, track.configuration.end);
  for (const array of hevcArrays(body)) {
    if (array.type >= hevcVps && array.type <= hevcPps) {
      body.writeUInt8(byteAt(body, array.at) | 0x80, array.at);
    }
  }
  return tagged;
}

function avcConfiguration(
  { lengthBytes, sets }: CodecConfiguration,
  sps: Buffer,
  parameters: SequenceParameters,
): Buffer {
  const spsList = sets.filter((nal) => typeOf('avc', nal) === avcSps);
  const ppsList = sets.filter((nal) => typeOf('avc', nal) === avcPps);
  const profile = byteAt(sps, 1);
  const extended = profile === 66 || profile === 77 || profile === 88;
  return Buffer.concat([
    Buffer.from([1, profile, byteAt(sps, 2), byteAt(sps, 3), 0xfc | (lengthBytes - 1)]),
    Buffer.from([0xe0 | Math.min(31, spsList.length)]),
    ...spsList.slice(0, 31).map(withLength),
    Buffer.from([Math.min(255, ppsList.length)]),
    ...ppsList.slice(0, 255).map(withLength),
    extended
      ? Buffer.alloc(0)
      : Buffer.from([
          0xfc | (parameters.chromaFormat & 3),
          0xf8 | ((parameters.bitDepthLuma - 8) & 7),
          0xf8 | ((parameters.bitDepthChroma - 8) & 7),
          0,
        ]),
  ]);
}

function hevcConfiguration(
  old: Buffer,
  { lengthBytes, sets }: CodecConfiguration,
  sps: Buffer,
  parameters: SequenceParameters,
): Buffer {
  const fixed = Buffer.from(old.subarray(0, 22));
  hevcProfileTierLevel(sps).copy(fixed, 1);
  fixed[16] = 0xfc | (parameters.chromaFormat & 3);
  fixed[17] = 0xf8 | ((parameters.bitDepthLuma - 8) & 7);
  fixed[18] = 0xf8 | ((parameters.bitDepthChroma - 8) & 7);
  fixed[21] = (byteAt(fixed, 21) & 0xfc) | (lengthBytes - 1);
  const arrays = [hevcVps, hevcSps, hevcPps].map((type) => {
    const members = sets.filter((nal) => typeOf('hevc', nal) === type);
    const header = Buffer.from([0x80 | type, 0, 0]);
    header.writeUInt16BE(members.length, 1);
    return Buffer.concat([header, ...members.map(withLength)]);
  });
  return Buffer.concat([fixed, Buffer.from([arrays.length]), ...arrays]);
}

function withLength(nal: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(nal.length);
  return Buffer.concat([length, nal]);
}

/** Puts another body into a box and corrects the sizes of all boxes around it. */
function replaceBody(bytes: Buffer, target: Box, body: Buffer): Buffer {
  const renewed = Buffer.concat([
    bytes.subarray(0, target.bodyStart),
    body,
    bytes.subarray(target.end),
  ]);
  const growth = body.length - (target.end - target.bodyStart);
  for (const box of enclosing(bytes, target)) {
    renewed.writeUInt32BE(bytes.readUInt32BE(box.start) + growth, box.start);
  }
  return renewed;
}

/** Where the boxes inside a box begin, counted from its body. */
const childrenOffset: Readonly<Partial<Record<string, number>>> = {
  stsd: 8,
  avc1: 78,
  avc3: 78,
  hvc1: 78,
  hev1: 78,
};

function enclosing(bytes: Buffer, target: Box): readonly Box[] {
  const found: Box[] = [];
  let range = { start: 0, end: bytes.length };
  for (;;) {
    const inner = [...boxesIn(bytes, range.start, range.end)].find(
      (box) => box.start <= target.start && target.end <= box.end,
    );
    if (inner === undefined) throw new Mp4Error('malformed', 'a box outside its parents');
    found.push(inner);
    if (inner.start === target.start) return found;
    range = { start: inner.bodyStart + (childrenOffset[inner.type] ?? 0), end: inner.end };
  }
}

function readSets(body: Buffer, start: number, count: number): { sets: Buffer[]; end: number } {
  const sets: Buffer[] = [];
  let at = start;
  for (let index = 0; index < count; index += 1) {
    const nalStart = at + 2;
    const nalEnd = nalStart + ((byteAt(body, at) << 8) | byteAt(body, at + 1));
    if (nalEnd > body.length || nalEnd === nalStart) {
      throw new Mp4Error('truncated', 'a parameter set goes past its configuration');
    }
    sets.push(Buffer.from(body.subarray(nalStart, nalEnd)));
    at = nalEnd;
  }
  return { sets, end: at };
}

function hevcArrays(body: Buffer): { type: number; at: number; sets: Buffer[] }[] {
  const arrays: { type: number; at: number; sets: Buffer[] }[] = [];
  let at = 23;
  for (let left = byteAt(body, 22); left > 0; left -= 1) {
    const type = byteAt(body, at) & 0x3f;
    const { sets, end } = readSets(
      body,
      at + 3,
      (byteAt(body, at + 1) << 8) | byteAt(body, at + 2),
    );
    arrays.push({ type, at, sets });
    at = end;
  }
  return arrays;
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new Mp4Error('truncated', 'a short codec configuration');
  return byte;
}

function typeOf(kind: 'avc' | 'hevc', nal: Buffer): number {
  const first = nal[0] ?? 0;
  return kind === 'avc' ? first & 0x1f : (first >> 1) & 0x3f;
}

/** A coded slice: parameter sets come before it. */
function isPicture(kind: 'avc' | 'hevc', nal: Buffer): boolean {
  const type = typeOf(kind, nal);
  return kind === 'avc' ? type >= 1 && type <= 5 : type < 32;
}

function isParameterSet(kind: 'avc' | 'hevc', nal: Buffer): boolean {
  const type = typeOf(kind, nal);
  return kind === 'avc' ? type === avcSps || type === avcPps : type >= hevcVps && type <= hevcPps;
}

/** Two sets with the same key replace each other. Null for what can't be read. */
function keyOf(kind: 'avc' | 'hevc', nal: Buffer): string | null {
  const type = typeOf(kind, nal);
  try {
    if (kind === 'avc')
      return `${type}/${type === avcSps ? readAvcSps(nal).id : readAvcPpsId(nal)}`;
    if (type === hevcVps) return `${type}/${readHevcVpsId(nal)}`;
    return `${type}/${type === hevcSps ? readHevcSps(nal).id : readHevcPpsId(nal)}`;
  } catch (error) {
    if (error instanceof Mp4Error) return null;
    throw error;
  }
}
