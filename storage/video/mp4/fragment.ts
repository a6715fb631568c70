/**
 * Movie fragments: `moof` with the `mdat` that follows (ISO/IEC 14496-12, 8.8), read for the times,
 * sizes and keyframes of their samples, and moved in time.
 *
 * Only data that lies inside the fragment itself, addressed relative to its `moof`
 * (default-base-is-moof, as CMAF and ffmpeg have it), is accepted: that is what lets a fragment be
 * stored and served anywhere.
 */
import { type Box, BoxFields, boxesIn, findBox, Mp4Error, needBox } from './box.ts';
import type { SampleDefaults } from './init.ts';

export interface Sample {
  readonly durationTicks: number;
  readonly sizeBytes: number;
  /** Presentation minus decode time. */
  readonly compositionTicks: number;
  readonly keyframe: boolean;
  /** Offset of its first byte in the Buffer that was read. */
  readonly start: number;
}

export interface TrackFragment {
  readonly trackId: number;
  /** Of its first sample, in the track's ticks. */
  readonly decodeTime: number;
  /** The sum of its samples' durations. */
  readonly durationTicks: number;
  readonly samples: readonly Sample[];
}

/** One `moof` and its `mdat`. */
export interface MovieFragment {
  /** Offset of the moof. */
  readonly start: number;
  /** Offset after the mdat. */
  readonly end: number;
  readonly tracks: readonly TrackFragment[];
}

/**
 * How many samples one moof may announce. A box of a few bytes can announce 2^32 of them; 200 ms
 * of video and audio are about twenty.
 */
const samplesMax = 65_536;

const nonSyncSample = 0x0001_0000;

/**
 * Reads every moof + mdat in `bytes`; other boxes between them (prft, free, uuid) are passed over.
 * @param defaults of each track, from its `trex`.
 * @throws Mp4Error
 */
export function readMovieFragments(
  bytes: Buffer,
  defaults: ReadonlyMap<number, SampleDefaults>,
): readonly MovieFragment[] {
  const found: MovieFragment[] = [];
  let moof: Box | null = null;
  for (const box of boxesIn(bytes)) {
    if (box.type === 'moof') {
      if (moof !== null) throw new Mp4Error('malformed', 'moof without mdat');
      moof = box;
    } else if (box.type === 'mdat') {
      if (moof === null) throw new Mp4Error('malformed', 'mdat without moof');
      found.push(readMovieFragment(bytes, moof, box, defaults));
      moof = null;
    }
  }
  if (moof !== null) throw new Mp4Error('truncated', 'moof without mdat');
  return found;
}

/**
 * A copy of `bytes` in which every fragment's decode times are moved by `shiftTicksByTrack`
 * (track id → ticks of that track, of either sign). Tracks that are not named stay as they are.
 * A time that would fall before 0 becomes 0.
 *
 * ```ts
 * // Serve a fragment 60 s later than its media file has it.
 * shiftDecodeTimes(await video.readFragment(fragment), new Map([[1, 60n * 90_000n]]));
 * ```
 * @throws Mp4Error also when a 32-bit time would overflow
 */
export function shiftDecodeTimes(
  bytes: Buffer,
  shiftTicksByTrack: ReadonlyMap<number, bigint>,
): Buffer {
  const shifted = Buffer.from(bytes);
  moveDecodeTimes(shifted, shiftTicksByTrack);
  return shifted;
}

/** As `shiftDecodeTimes`, in the bytes themselves. @throws Mp4Error */
export function moveDecodeTimes(
  bytes: Buffer,
  shiftTicksByTrack: ReadonlyMap<number, bigint>,
): void {
  for (const { trackId, traf } of trackFragments(bytes)) {
    const shift = shiftTicksByTrack.get(trackId);
    const time = findBox(bytes, traf, 'tfdt');
    if (shift !== undefined && time !== null) shiftTime(bytes, time, shift);
  }
}

/**
 * Writes other durations into the samples of a track, in the bytes themselves. A sample whose
 * duration is not its own but its track's default keeps that.
 *
 * @param durationOf the duration of the sample at an index, given the one it has; in ticks
 * @throws Mp4Error
 */
export function rewriteDurations(
  bytes: Buffer,
  trackId: number,
  durationOf: (index: number, durationTicks: number) => number,
): void {
  rewriteField(bytes, trackId, 0x100, durationOf);
}

/**
 * Writes other composition offsets into the samples of a track, in the bytes themselves. A sample
 * that has none is shown when it is decoded, and keeps that.
 *
 * @param compositionOf presentation minus decode time of the sample at an index, given the one it
 *   has; in ticks
 * @throws Mp4Error
 */
export function rewriteCompositions(
  bytes: Buffer,
  trackId: number,
  compositionOf: (index: number, compositionTicks: number) => number,
): void {
  rewriteField(bytes, trackId, 0x800, compositionOf);
}

/** What a sample of a `trun` has, by its flag, in this order; each is of 32 bits. */
const sampleFields = [0x100, 0x200, 0x400, 0x800];

function rewriteField(
  bytes: Buffer,
  trackId: number,
  field: 0x100 | 0x800,
  valueOf: (index: number, value: number) => number,
): void {
  let index = 0;
  for (const found of trackFragments(bytes)) {
    if (found.trackId !== trackId) continue;
    for (const box of boxesIn(bytes, found.traf.bodyStart, found.traf.end)) {
      if (box.type !== 'trun') continue;
      const fields = new BoxFields(bytes, box);
      fields.skip(1);
      const flags = fields.u24();
      const count = fields.u32();
      if ((flags & field) === 0) {
        index += count;
        continue;
      }
      fields.skip(((flags & 0x001) !== 0 ? 4 : 0) + ((flags & 0x004) !== 0 ? 4 : 0));
      const present = sampleFields.filter((flag) => (flags & flag) !== 0);
      const before = present.indexOf(field) * 4;
      const after = present.length * 4 - before - 4;
      for (let left = count; left > 0; left -= 1) {
        fields.skip(before);
        const { at } = fields;
        const value = field === 0x800 ? fields.i32() : fields.u32();
        bytes.writeUInt32BE(valueOf(index, value) >>> 0, at);
        fields.skip(after);
        index += 1;
      }
    }
  }
}

function* trackFragments(
  bytes: Buffer,
): Generator<{ readonly trackId: number; readonly traf: Box }> {
  for (const moof of boxesIn(bytes)) {
    if (moof.type !== 'moof') continue;
    for (const traf of boxesIn(bytes, moof.bodyStart, moof.end)) {
      if (traf.type !== 'traf') continue;
      const header = new BoxFields(bytes, needBox(bytes, traf, 'tfhd'));
      header.skip(4);
      yield { trackId: header.u32(), traf };
    }
  }
}

function shiftTime(bytes: Buffer, box: Box, shift: bigint): void {
  const fields = new BoxFields(bytes, box);
  const version = fields.u8();
  fields.skip(3);
  const at = fields.at;
  const before = version === 1 ? BigInt(fields.u64()) : BigInt(fields.u32());
  const after = before + shift < 0n ? 0n : before + shift;
  if (version === 1) {
    if (after >= 2n ** 63n) throw new Mp4Error('too-large', 'a decode time of more than 63 bits');
    bytes.writeBigUInt64BE(after, at);
  } else {
    if (after >= 2n ** 32n) throw new Mp4Error('too-large', 'a decode time of more than 32 bits');
    bytes.writeUInt32BE(Number(after), at);
  }
}

function readMovieFragment(
  bytes: Buffer,
  moof: Box,
  mdat: Box,
  defaults: ReadonlyMap<number, SampleDefaults>,
): MovieFragment {
  const tracks: TrackFragment[] = [];
  let samples = 0;
  for (const traf of boxesIn(bytes, moof.bodyStart, moof.end)) {
    if (traf.type !== 'traf') continue;
    const track = readTrackFragment(bytes, moof, mdat, traf, defaults, samplesMax - samples);
    samples += track.samples.length;
    tracks.push(track);
  }
  return { start: moof.start, end: mdat.end, tracks };
}

function readTrackFragment(
  bytes: Buffer,
  moof: Box,
  mdat: Box,
  traf: Box,
  defaults: ReadonlyMap<number, SampleDefaults>,
  samplesLeft: number,
): TrackFragment {
  const { trackId, sample } = readTrackHeader(bytes, needBox(bytes, traf, 'tfhd'), defaults);
  const decodeTime = readDecodeTime(bytes, needBox(bytes, traf, 'tfdt'));
  const samples: Sample[] = [];
  for (const box of boxesIn(bytes, traf.bodyStart, traf.end)) {
    if (box.type !== 'trun') continue;
    readRun(bytes, box, moof, mdat, sample, samples, samplesLeft);
  }
  const durationTicks = samples.reduce((sum, { durationTicks }) => sum + durationTicks, 0);
  return { trackId, decodeTime, durationTicks, samples };
}

/** 8.8.7 */
function readTrackHeader(
  bytes: Buffer,
  box: Box,
  defaults: ReadonlyMap<number, SampleDefaults>,
): { trackId: number; sample: SampleDefaults } {
  const fields = new BoxFields(bytes, box);
  fields.skip(1);
  const flags = fields.u24();
  const trackId = fields.u32();
  const fallback = defaults.get(trackId) ?? { durationTicks: 0, sizeBytes: 0, flags: 0 };
  if ((flags & 0x01) !== 0) {
    throw new Mp4Error('unsupported', 'a fragment addressed from the start of its file');
  }
  if ((flags & 0x02) !== 0) fields.skip(4);
  return {
    trackId,
    sample: {
      durationTicks: (flags & 0x08) !== 0 ? fields.u32() : fallback.durationTicks,
      sizeBytes: (flags & 0x10) !== 0 ? fields.u32() : fallback.sizeBytes,
      flags: (flags & 0x20) !== 0 ? fields.u32() : fallback.flags,
    },
  };
}

/** 8.8.12 */
function readDecodeTime(bytes: Buffer, box: Box): number {
  const fields = new BoxFields(bytes, box);
  const version = fields.u8();
  fields.skip(3);
  return version === 1 ? fields.u64() : fields.u32();
}

/** 8.8.8 */
function readRun(
  bytes: Buffer,
  box: Box,
  moof: Box,
  mdat: Box,
  defaults: SampleDefaults,
  samples: Sample[],
  samplesMaxHere: number,
): void {
  const fields = new BoxFields(bytes, box);
  fields.skip(1);
  const flags = fields.u24();
  const count = fields.u32();
  if (samples.length + count > samplesMaxHere) {
    throw new Mp4Error('too-large', `more than ${samplesMax} samples in a fragment`);
  }
  const previous = samples.at(-1);
  let start =
    (flags & 0x001) !== 0
      ? moof.start + fields.i32()
      : previous === undefined
        ? mdat.bodyStart
        : previous.start + previous.sizeBytes;
  const firstFlags = (flags & 0x004) !== 0 ? fields.u32() : null;
  for (let index = 0; index < count; index += 1) {
    const durationTicks = (flags & 0x100) !== 0 ? fields.u32() : defaults.durationTicks;
    const sizeBytes = (flags & 0x200) !== 0 ? fields.u32() : defaults.sizeBytes;
    const ownFlags = (flags & 0x400) !== 0 ? fields.u32() : defaults.flags;
    const sampleFlags = index === 0 && firstFlags !== null ? firstFlags : ownFlags;
    const compositionTicks = (flags & 0x800) !== 0 ? fields.i32() : 0;
    if (start < mdat.bodyStart || start + sizeBytes > mdat.end) {
      throw new Mp4Error('malformed', 'a sample outside its mdat');
    }
    samples.push({
      durationTicks,
      sizeBytes,
      compositionTicks,
      keyframe: (sampleFlags & nonSyncSample) === 0,
      start,
    });
    start += sizeBytes;
  }
}
