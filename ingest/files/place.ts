/**
 * How far a file was read, and how to tell it again: by device and inode, and by what its first and
 * its last read bytes were. A number of an inode is used again, a file is truncated and filled anew,
 * a rotated one is copied or compressed: the bytes tell.
 */
import { createHash } from 'node:crypto';
import type { Content } from './content.ts';
import type { Skipping } from './split.ts';

/** SHA-256 of some bytes, the first half of it. */
export interface Print {
  readonly bytes: number;
  readonly hash: string;
}

export interface Place {
  /** Where the file was found first. */
  readonly path: string;
  /** Everything before is stored. */
  readonly offset: number;
  /** The first bytes of what was read. */
  readonly head: Print;
  /** The last ones, right before the offset. */
  readonly tail: Print;
  readonly skipping: Skipping;
  /** When the file was seen last; the wall clock. */
  readonly seenMs: number;
}

export const headBytesMax = 1024;
export const tailBytesMax = 256;
const nothing = printOf(Buffer.alloc(0));

export function printOf(bytes: Buffer): Print {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
  return { bytes: bytes.length, hash };
}

/** The place at the beginning of a file. */
export function firstPlace(path: string, seenMs: number): Place {
  return { path, offset: 0, head: nothing, tail: nothing, skipping: 'nothing', seenMs };
}

/** The place further on, as the content has it there now. */
export async function placeAt(content: Content, place: Place, offset: number): Promise<Place> {
  const headBytes = Math.min(headBytesMax, offset);
  const head =
    headBytes === place.head.bytes ? place.head : printOf(await content.read(0, headBytes));
  const tailBytes = Math.min(tailBytesMax, offset);
  const tail = printOf(await content.read(offset - tailBytes, tailBytes));
  return { ...place, offset, head, tail };
}

/** The place behind what was read right after this one. */
export async function placeBehind(content: Content, place: Place, used: Buffer): Promise<Place> {
  const { offset, head } = place;
  const from = offset < headBytesMax ? 0 : offset - tailBytesMax;
  const before = await content.read(from, offset - from);
  const first = Buffer.concat([before, used.subarray(0, headBytesMax)]).subarray(0, headBytesMax);
  const last = Buffer.concat([before, used.subarray(-tailBytesMax)]).subarray(-tailBytesMax);
  return {
    ...place,
    offset: offset + used.length,
    head: head.bytes === headBytesMax ? head : printOf(first),
    tail: printOf(last),
  };
}

/** Whether the content is what was read up to the place. */
export async function holds(content: Content, { offset, head, tail }: Place): Promise<boolean> {
  return (
    isPrint(await content.read(0, head.bytes), head) &&
    isPrint(await content.read(offset - tail.bytes, tail.bytes), tail)
  );
}

function isPrint(bytes: Buffer, print: Print): boolean {
  return bytes.length === print.bytes && printOf(bytes).hash === print.hash;
}

/** A place as it was stored; null when it is none. */
export function parsePlace(value: unknown): Place | null {
  if (typeof value !== 'object' || value === null) return null;
  const { path, offset, head, tail, skipping, seenMs } = value as Partial<Record<string, unknown>>;
  if (
    typeof path !== 'string' ||
    !isCount(offset) ||
    !isPrintValue(head) ||
    !isPrintValue(tail) ||
    (skipping !== 'nothing' && skipping !== 'line' && skipping !== 'record') ||
    !isCount(seenMs) ||
    head.bytes > offset ||
    tail.bytes > offset
  ) {
    return null;
  }
  return { path, offset, head, tail, skipping, seenMs };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isPrintValue(value: unknown): value is Print {
  return (
    typeof value === 'object' &&
    value !== null &&
    'bytes' in value &&
    isCount(value.bytes) &&
    'hash' in value &&
    typeof value.hash === 'string'
  );
}
