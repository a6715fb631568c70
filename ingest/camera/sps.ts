/**
 * The few fields of H.264 and H.265 parameter sets that an `avcC`, an `hvcC` and a sample entry
 * repeat: ids, dimensions, chroma format, bit depth.
 *
 * Sources: ITU-T H.264 7.3.2.1.1 and 7.3.2.2; ITU-T H.265 7.3.2.1 to 7.3.2.3 and 7.3.3. Every read
 * past the end is an `Mp4Error`, so rubbish costs an error and nothing else.
 */
import { Mp4Error } from '../../storage/video/boxes.ts';

export interface SequenceParameters {
  readonly id: number;
  readonly width: number;
  readonly height: number;
  readonly chromaFormat: number;
  readonly bitDepthLuma: number;
  readonly bitDepthChroma: number;
}

/** Profiles whose SPS says its chroma format and bit depth. */
const highProfiles = new Set([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]);

/** @param nal with its one-byte header. @throws Mp4Error */
export function readAvcSps(nal: Buffer): SequenceParameters {
  const bits = new BitReader(nal, 1);
  const profile = bits.u(8);
  bits.skip(16);
  const id = bits.ue();
  let chromaFormat = 1;
  let bitDepthLuma = 8;
  let bitDepthChroma = 8;
  if (highProfiles.has(profile)) {
    chromaFormat = bits.ue();
    if (chromaFormat === 3) bits.skip(1);
    bitDepthLuma = 8 + bits.ue();
    bitDepthChroma = 8 + bits.ue();
    bits.skip(1);
    if (bits.u(1) === 1) skipScalingMatrix(bits, chromaFormat === 3 ? 12 : 8);
  }
  bits.ue();
  skipPictureOrder(bits);
  bits.ue();
  bits.skip(1);
  const widthBlocks = bits.ue() + 1;
  const heightUnits = bits.ue() + 1;
  const framesOnly = bits.u(1);
  if (framesOnly === 0) bits.skip(1);
  bits.skip(1);
  const unitX = chromaFormat === 1 || chromaFormat === 2 ? 2 : 1;
  const unitY = (chromaFormat === 1 ? 2 : 1) * (2 - framesOnly);
  const crop = readCrop(bits);
  return {
    id,
    chromaFormat,
    bitDepthLuma,
    bitDepthChroma,
    width: widthBlocks * 16 - crop.x * unitX,
    height: heightUnits * 16 * (2 - framesOnly) - crop.y * unitY,
  };
}

/** @param nal with its two-byte header. @throws Mp4Error */
export function readHevcSps(nal: Buffer): SequenceParameters {
  const bits = new BitReader(nal, 2);
  bits.skip(4);
  const subLayers = bits.u(3);
  bits.skip(1 + 88 + 8);
  skipSubLayers(bits, subLayers);
  const id = bits.ue();
  const chromaFormat = bits.ue();
  if (chromaFormat === 3) bits.skip(1);
  const width = bits.ue();
  const height = bits.ue();
  const unitX = chromaFormat === 1 || chromaFormat === 2 ? 2 : 1;
  const unitY = chromaFormat === 1 ? 2 : 1;
  const crop = readCrop(bits);
  return {
    id,
    chromaFormat,
    width: width - crop.x * unitX,
    height: height - crop.y * unitY,
    bitDepthLuma: 8 + bits.ue(),
    bitDepthChroma: 8 + bits.ue(),
  };
}

/** The id of an H.264 picture parameter set. @throws Mp4Error */
export function readAvcPpsId(nal: Buffer): number {
  return new BitReader(nal, 1).ue();
}

/** The id of an H.265 picture parameter set. @throws Mp4Error */
export function readHevcPpsId(nal: Buffer): number {
  return new BitReader(nal, 2).ue();
}

/** The id of an H.265 video parameter set. @throws Mp4Error */
export function readHevcVpsId(nal: Buffer): number {
  return new BitReader(nal, 2).u(4);
}

/** The 12 bytes of an H.265 SPS that an hvcC repeats: general profile, tier and level. */
export function hevcProfileTierLevel(nal: Buffer): Buffer {
  const payload = withoutEmulation(nal.subarray(2, 64));
  if (payload.length < 13) throw new Mp4Error('truncated', 'a short H.265 SPS');
  return payload.subarray(1, 13);
}

/** Left and right, top and bottom, added up. */
function readCrop(bits: BitReader): { x: number; y: number } {
  if (bits.u(1) === 0) return { x: 0, y: 0 };
  const x = bits.ue() + bits.ue();
  return { x, y: bits.ue() + bits.ue() };
}

function skipScalingMatrix(bits: BitReader, lists: number): void {
  for (let list = 0; list < lists; list += 1) {
    if (bits.u(1) === 0) continue;
    let last = 8;
    let next = 8;
    for (let index = 0; index < (list < 6 ? 16 : 64); index += 1) {
      if (next !== 0) next = (last + bits.se() + 256) % 256;
      if (next !== 0) last = next;
    }
  }
}

function skipPictureOrder(bits: BitReader): void {
  const type = bits.ue();
  if (type === 0) bits.ue();
  if (type !== 1) return;
  bits.skip(1);
  bits.ue();
  bits.ue();
  const frames = bits.ue();
  if (frames > 255) throw new Mp4Error('malformed', 'an H.264 SPS with too many reference frames');
  for (let frame = 0; frame < frames; frame += 1) bits.ue();
}

function skipSubLayers(bits: BitReader, subLayers: number): void {
  const present: { profile: number; level: number }[] = [];
  for (let layer = 0; layer < subLayers; layer += 1) {
    present.push({ profile: bits.u(1), level: bits.u(1) });
  }
  if (subLayers > 0) bits.skip(2 * (8 - subLayers));
  for (const { profile, level } of present) bits.skip(profile * 88 + level * 8);
}

/** Drops the byte 3 that encoders put after two zero bytes. */
function withoutEmulation(bytes: Buffer): Buffer {
  const plain: number[] = [];
  let zeros = 0;
  for (const byte of bytes) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    zeros = byte === 0 ? zeros + 1 : 0;
    plain.push(byte);
  }
  return Buffer.from(plain);
}

/** What is read of a parameter set lies well within its first kilobyte. */
const readBytesMax = 1024;

class BitReader {
  readonly #bytes: Buffer;
  #bit = 0;

  constructor(nal: Buffer, headerBytes: number) {
    this.#bytes = withoutEmulation(nal.subarray(headerBytes, headerBytes + readBytesMax));
  }

  /** An unsigned number of up to 32 bits. */
  u(bits: number): number {
    let value = 0;
    for (let index = 0; index < bits; index += 1) {
      const byte = this.#bytes[this.#bit >> 3];
      if (byte === undefined) throw new Mp4Error('truncated', 'a short parameter set');
      value = value * 2 + ((byte >> (7 - (this.#bit & 7))) & 1);
      this.#bit += 1;
    }
    return value;
  }

  skip(bits: number): void {
    this.#bit += bits;
  }

  /** Exp-Golomb, unsigned. */
  ue(): number {
    let zeros = 0;
    while (this.u(1) === 0) {
      zeros += 1;
      if (zeros > 31) throw new Mp4Error('malformed', 'a parameter set with an endless number');
    }
    return 2 ** zeros - 1 + this.u(zeros);
  }

  /** Exp-Golomb, signed. */
  se(): number {
    const code = this.ue();
    return code % 2 === 0 ? -code / 2 : (code + 1) / 2;
  }
}
