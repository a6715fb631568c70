/**
 * The element structure of EBML (RFC 8794) and the elements of Matroska (RFC 9559) that a stream of
 * video has: headers of elements, and the values that lie in a Buffer.
 *
 * Invariant: nothing here reads outside the range it was given, whatever the bytes say; what does
 * not fit is an `MkvError`. Reading elements off a stream that arrives piece by piece is in
 * `mkv-reader.ts`.
 */

export type MkvErrorCode =
  /** The bytes end before the element does. */
  | 'truncated'
  /** The bytes contradict themselves or the standard. */
  | 'malformed'
  /** Right, but nothing that is taken here. */
  | 'unsupported'
  /** Past a limit in bytes or elements. */
  | 'too-large';

/** Bytes that are not the Matroska they should be. Never retryable: the same bytes fail again. */
export class MkvError extends Error {
  override readonly name = 'MkvError';
  readonly code: MkvErrorCode;

  constructor(code: MkvErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Elements by their names in RFC 9559; identifiers with their length marker. */
export const ids = {
  EBML: 0x1a45dfa3,
  EBMLReadVersion: 0x42f7,
  EBMLMaxIDLength: 0x42f2,
  EBMLMaxSizeLength: 0x42f3,
  EBMLVersion: 0x4286,
  DocType: 0x4282,
  DocTypeVersion: 0x4287,
  DocTypeReadVersion: 0x4285,
  Void: 0xec,
  CRC32: 0xbf,
  Segment: 0x18538067,
  SeekHead: 0x114d9b74,
  Info: 0x1549a966,
  SegmentUUID: 0x73a4,
  TimestampScale: 0x2ad7b1,
  MuxingApp: 0x4d80,
  WritingApp: 0x5741,
  Tracks: 0x1654ae6b,
  TrackEntry: 0xae,
  TrackNumber: 0xd7,
  TrackUID: 0x73c5,
  TrackType: 0x83,
  FlagLacing: 0x9c,
  DefaultDuration: 0x23e383,
  CodecID: 0x86,
  CodecPrivate: 0x63a2,
  CodecDelay: 0x56aa,
  Video: 0xe0,
  PixelWidth: 0xb0,
  PixelHeight: 0xba,
  Audio: 0xe1,
  SamplingFrequency: 0xb5,
  Channels: 0x9f,
  ContentEncodings: 0x6d80,
  Cluster: 0x1f43b675,
  Timestamp: 0xe7,
  SimpleBlock: 0xa3,
  BlockGroup: 0xa0,
  Block: 0xa1,
  BlockDuration: 0x9b,
  ReferenceBlock: 0xfb,
  EncryptedBlock: 0xaf,
  Cues: 0x1c53bb6b,
  Chapters: 0x1043a770,
  Attachments: 0x1941a469,
  Tags: 0x1254c367,
  Tag: 0x7373,
  SimpleTag: 0x67c8,
  TagName: 0x45a3,
  TagString: 0x4487,
} as const;

/** An element as a range of the Buffer it was found in. */
export interface Element {
  readonly id: number;
  /** Offset of its first content byte. */
  readonly bodyStart: number;
  /** Offset after its last byte. */
  readonly end: number;
}

export interface ElementHeader {
  readonly id: number;
  readonly headerBytes: number;
  /** Of the content; null: unknown, it ends where something begins that can't be in it. */
  readonly sizeBytes: number | null;
}

/**
 * Reads the identifier and size at `at`. Answers null when more bytes are needed to know them.
 * @throws MkvError `malformed`, `too-large`
 */
export function readElementHeader(bytes: Buffer, at: number, end: number): ElementHeader | null {
  if (at >= end) return null;
  const idBytes = lengthOf(bytes.readUInt8(at));
  if (idBytes > 4) throw new MkvError('malformed', `no element begins with ${hex(bytes, at)}`);
  const sizeAt = at + idBytes;
  if (sizeAt >= end) return null;
  const sizeBytes = lengthOf(bytes.readUInt8(sizeAt));
  if (sizeBytes > 8) throw new MkvError('malformed', 'an element with a size of more than 8 bytes');
  if (sizeAt + sizeBytes > end) return null;
  return {
    id: bytes.readUIntBE(at, idBytes),
    headerBytes: idBytes + sizeBytes,
    sizeBytes: readSize(bytes, sizeAt, sizeBytes),
  };
}

/** A number of variable size (RFC 8794, 4) and how many bytes it takes. @throws MkvError */
export function readNumber(
  bytes: Buffer,
  at: number,
  end: number,
): { readonly value: number; readonly bytes: number } {
  if (at >= end) throw new MkvError('truncated', 'a number past the end of its element');
  const length = lengthOf(bytes.readUInt8(at));
  if (length > 8) throw new MkvError('malformed', 'a number of more than 8 bytes');
  if (at + length > end) throw new MkvError('truncated', 'a number past the end of its element');
  const value = readSize(bytes, at, length);
  if (value === null) throw new MkvError('malformed', 'a number that says it is unknown');
  return { value, bytes: length };
}

/**
 * The elements between two offsets, in order; they must fill the range exactly. Padding (Void) and
 * checksums are passed over: what carries the stream has checksums of its own.
 * @throws MkvError
 */
export function* elementsIn(bytes: Buffer, start: number, end: number): Generator<Element, void> {
  let at = start;
  while (at < end) {
    const header = readElementHeader(bytes, at, end);
    if (header === null) throw new MkvError('truncated', 'an element goes past its parent');
    if (header.sizeBytes === null) {
      throw new MkvError('malformed', `element ${name(header.id)} of unknown size`);
    }
    const bodyStart = at + header.headerBytes;
    if (header.sizeBytes > end - bodyStart) {
      throw new MkvError('truncated', `element ${name(header.id)} goes past its parent`);
    }
    at = bodyStart + header.sizeBytes;
    if (header.id !== ids.Void && header.id !== ids.CRC32) {
      yield { id: header.id, bodyStart, end: at };
    }
  }
}

/** An unsigned integer; 0 where the element is empty. @throws MkvError */
export function unsignedOf(bytes: Buffer, { id, bodyStart, end }: Element): number {
  const length = end - bodyStart;
  if (length > 8) throw new MkvError('malformed', `${name(id)} of ${length} bytes`);
  let value = 0;
  for (let at = bodyStart; at < end; at += 1) value = value * 256 + bytes.readUInt8(at);
  if (!Number.isSafeInteger(value)) {
    throw new MkvError('too-large', `${name(id)} is more than 2^53`);
  }
  return value;
}

/** A floating-point number; 0 where the element is empty. @throws MkvError */
export function floatOf(bytes: Buffer, { id, bodyStart, end }: Element): number {
  switch (end - bodyStart) {
    case 0:
      return 0;
    case 4:
      return bytes.readFloatBE(bodyStart);
    case 8:
      return bytes.readDoubleBE(bodyStart);
    default:
      throw new MkvError('malformed', `${name(id)} of ${end - bodyStart} bytes`);
  }
}

/** A text, up to the first zero byte: what follows is padding. */
export function textOf(bytes: Buffer, { bodyStart, end }: Element): string {
  const body = bytes.subarray(bodyStart, end);
  const zero = body.indexOf(0);
  return body.toString('utf8', 0, zero < 0 ? body.length : zero);
}

/** An identifier as the standard writes it: `0x1F43B675`. */
export function name(id: number): string {
  const known = Object.entries(ids).find(([, value]) => value === id);
  return known?.[0] ?? `0x${id.toString(16).toUpperCase()}`;
}

/** How many bytes a number has, by its first one; 9: more than there may be. */
function lengthOf(first: number): number {
  return Math.clz32(first) - 23;
}

/** null: all its bits are set. @throws MkvError `too-large` */
function readSize(bytes: Buffer, at: number, length: number): number | null {
  let value = bytes.readUInt8(at) & (0xff >> length);
  let unknown = value === 0xff >> length;
  for (let index = 1; index < length; index += 1) {
    const byte = bytes.readUInt8(at + index);
    unknown &&= byte === 0xff;
    value = value * 256 + byte;
  }
  if (unknown) return null;
  if (!Number.isSafeInteger(value)) throw new MkvError('too-large', 'a size of more than 2^53');
  return value;
}

function hex(bytes: Buffer, at: number): string {
  return bytes.toString('hex', at, at + 1);
}
