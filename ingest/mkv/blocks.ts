/**
 * Blocks of a cluster (RFC 9559, 10): the frames that lie in them, one or, laced, several.
 */
import { type Element, elementsIn, ids, MkvError, readNumber, unsignedOf } from './ebml.ts';

export interface MkvFrame {
  readonly trackNumber: number;
  /** When it is shown, from the beginning of the segment; of the first frame where it is laced. */
  readonly ticks: number;
  /** How many frames of the same block come before it, each as long as a frame is. */
  readonly index: number;
  /** How long it is shown, where the block says so. */
  readonly durationTicks: number | null;
  readonly keyframe: boolean;
  readonly bytes: Buffer;
}

/** Frames in one block: its lacing counts them with a byte. */
const framesMax = 256;

/** The frames of a SimpleBlock. @throws MkvError */
export function readBlock(
  bytes: Buffer,
  { bodyStart, end }: Element,
  clusterTicks: number,
): readonly MkvFrame[] {
  const flagsAt = bodyStart + readNumber(bytes, bodyStart, end).bytes + 2;
  const keyframe = flagsAt < end && (bytes.readUInt8(flagsAt) & 0x80) !== 0;
  return framesOf(bytes, bodyStart, end, { clusterTicks, keyframe, durationTicks: null });
}

/** The frames of a BlockGroup: a keyframe is what refers to no other. @throws MkvError */
export function readBlockGroup(
  bytes: Buffer,
  group: Element,
  clusterTicks: number,
): readonly MkvFrame[] {
  let block: Element | null = null;
  let durationTicks: number | null = null;
  let keyframe = true;
  for (const child of elementsIn(bytes, group.bodyStart, group.end)) {
    if (child.id === ids.Block) {
      if (block !== null) throw new MkvError('malformed', 'two blocks in a group');
      block = child;
    } else if (child.id === ids.BlockDuration) {
      durationTicks = unsignedOf(bytes, child);
    } else if (child.id === ids.ReferenceBlock) {
      keyframe = false;
    }
  }
  if (block === null) throw new MkvError('malformed', 'a group without a block');
  const about = { clusterTicks, keyframe, durationTicks };
  return framesOf(bytes, block.bodyStart, block.end, about);
}

function framesOf(
  bytes: Buffer,
  start: number,
  end: number,
  about: {
    readonly clusterTicks: number;
    readonly keyframe: boolean;
    readonly durationTicks: number | null;
  },
): readonly MkvFrame[] {
  const track = readNumber(bytes, start, end);
  const timeAt = start + track.bytes;
  const dataStart = timeAt + 3;
  if (dataStart > end) throw new MkvError('truncated', 'a block shorter than its header');
  const ticks = about.clusterTicks + bytes.readInt16BE(timeAt);
  if (ticks < 0) throw new MkvError('malformed', 'a frame before the beginning');
  const lacing = (bytes.readUInt8(timeAt + 2) >> 1) & 3;
  const places = lacing === 0 ? [{ start: dataStart, end }] : laced(bytes, dataStart, end, lacing);
  const durationTicks = about.durationTicks === null ? null : about.durationTicks / places.length;
  return places.map((place, index) => ({
    trackNumber: track.value,
    ticks,
    index,
    durationTicks,
    keyframe: about.keyframe,
    bytes: bytes.subarray(place.start, place.end),
  }));
}

/** @param lacing 1: as in Xiph's Ogg, 2: all of one size, 3: as in EBML */
function laced(
  bytes: Buffer,
  start: number,
  end: number,
  lacing: number,
): readonly { readonly start: number; readonly end: number }[] {
  if (start >= end) throw new MkvError('truncated', 'lacing without its count');
  const count = bytes.readUInt8(start) + 1;
  if (count > framesMax) throw new MkvError('too-large', `${count} frames in a block`);
  const from = start + 1;
  const sizes =
    lacing === 2
      ? { at: from, sizes: equalSizes(end - from, count) }
      : lacing === 1
        ? xiphSizes(bytes, from, end, count)
        : ebmlSizes(bytes, from, end, count);
  let at = sizes.at;
  return sizes.sizes.map((size) => {
    const place = { start: at, end: at + size };
    at += size;
    return place;
  });
}

interface Sizes {
  /** Where the first frame begins. */
  readonly at: number;
  readonly sizes: readonly number[];
}

function equalSizes(total: number, count: number): readonly number[] {
  if (total % count !== 0) throw new MkvError('malformed', `${count} frames in ${total} bytes`);
  return Array.from({ length: count }, () => total / count);
}

function xiphSizes(bytes: Buffer, start: number, end: number, count: number): Sizes {
  const sizes: number[] = [];
  let at = start;
  while (sizes.length < count - 1) {
    let size = 0;
    for (;;) {
      if (at >= end) throw new MkvError('truncated', 'lacing past the end of its block');
      const byte = bytes.readUInt8(at);
      at += 1;
      size += byte;
      if (byte < 255) break;
    }
    sizes.push(size);
  }
  return withLast(sizes, at, end);
}

function ebmlSizes(bytes: Buffer, start: number, end: number, count: number): Sizes {
  const sizes: number[] = [];
  let at = start;
  while (sizes.length < count - 1) {
    const { value, bytes: length } = readNumber(bytes, at, end);
    at += length;
    const previous = sizes.at(-1);
    // All but the first are differences, around the middle of what fits the number.
    const size = previous === undefined ? value : previous + value - (2 ** (7 * length - 1) - 1);
    if (size < 0) throw new MkvError('malformed', 'a laced frame of less than no bytes');
    sizes.push(size);
  }
  return withLast(sizes, at, end);
}

/** The last frame has what is left. */
function withLast(sizes: readonly number[], at: number, end: number): Sizes {
  const left = end - at - sizes.reduce((sum, size) => sum + size, 0);
  if (left < 0) throw new MkvError('malformed', 'laced frames go past their block');
  return { at, sizes: [...sizes, left] };
}
