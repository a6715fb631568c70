/**
 * The box structure of MP4 (ISO/IEC 14496-12, 4.2): walking boxes that lie in a Buffer, and the one
 * error for bytes that are not what they claim to be.
 *
 * Invariant: nothing here reads outside the range it was given, whatever the bytes say; what does
 * not fit is an `Mp4Error`. What the boxes mean is in `init.ts` and `fragment.ts`; reading boxes
 * off a stream that arrives piece by piece is in `ingest/camera/box-reader.ts`.
 */

export type Mp4ErrorCode =
  /** The bytes end before the box does. */
  | 'truncated'
  /** The bytes contradict themselves or the standard. */
  | 'malformed'
  /** Right, but nothing this gateway knows how to store. */
  | 'unsupported'
  /** Past a limit in bytes or samples. */
  | 'too-large';

/** Bytes that are not the MP4 they should be. Never retryable: the same bytes fail again. */
export class Mp4Error extends Error {
  override readonly name = 'Mp4Error';
  readonly code: Mp4ErrorCode;

  constructor(code: Mp4ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** A box as a range of the Buffer it was found in. */
export interface Box {
  /** Four characters, as Latin-1. */
  readonly type: string;
  /** Offset of the box's first byte. */
  readonly start: number;
  /** Offset of its first content byte, after size and type. */
  readonly bodyStart: number;
  /** Offset after its last byte. */
  readonly end: number;
}

export interface BoxHeader {
  readonly type: string;
  readonly headerBytes: number;
  /** Of the whole box. */
  readonly sizeBytes: number;
}

/**
 * Reads the size and type at `at`. Answers null when more bytes are needed to know them.
 *
 * A size of 0 ("to the end of the file") is refused: nothing that is cut into fragments has it.
 * @throws Mp4Error `malformed`, `too-large`
 */
export function readBoxHeader(bytes: Buffer, at: number, end = bytes.length): BoxHeader | null {
  if (end - at < 8) return null;
  const type = bytes.toString('latin1', at + 4, at + 8);
  const size32 = bytes.readUInt32BE(at);
  if (size32 === 1) {
    if (end - at < 16) return null;
    const sizeBytes = bytes.readUInt32BE(at + 8) * 2 ** 32 + bytes.readUInt32BE(at + 12);
    if (sizeBytes < 16) throw new Mp4Error('malformed', `box ${name(type)} of ${sizeBytes} bytes`);
    if (!Number.isSafeInteger(sizeBytes)) {
      throw new Mp4Error('too-large', `box ${name(type)} of more than 2^53 bytes`);
    }
    return { type, headerBytes: 16, sizeBytes };
  }
  if (size32 < 8) throw new Mp4Error('malformed', `box ${name(type)} of ${size32} bytes`);
  return { type, headerBytes: 8, sizeBytes: size32 };
}

/**
 * The boxes between two offsets, in order; they must fill the range exactly.
 * @throws Mp4Error `truncated`, `malformed`
 */
export function* boxesIn(bytes: Buffer, start = 0, end = bytes.length): Generator<Box, void> {
  let at = start;
  while (at < end) {
    const header = readBoxHeader(bytes, at, end);
    if (header === null || header.sizeBytes > end - at) {
      throw new Mp4Error('truncated', `a box at byte ${at} goes past its end at ${end}`);
    }
    const boxEnd = at + header.sizeBytes;
    yield { type: header.type, start: at, bodyStart: at + header.headerBytes, end: boxEnd };
    at = boxEnd;
  }
}

/** The first box of a type among the children of `parent`, or null. @throws Mp4Error */
export function findBox(bytes: Buffer, parent: Box, type: string): Box | null {
  for (const box of boxesIn(bytes, parent.bodyStart, parent.end)) {
    if (box.type === type) return box;
  }
  return null;
}

/** The first box of a type among the children of `parent`. @throws Mp4Error `malformed` without it */
export function needBox(bytes: Buffer, parent: Box, type: string): Box {
  const box = findBox(bytes, parent, type);
  if (box === null) throw new Mp4Error('malformed', `${name(parent.type)} without ${type}`);
  return box;
}

/**
 * Reads fields of one box one after the other.
 * Every read past the box's end is an `Mp4Error`, so that a short box needs no check of its own.
 */
export class BoxFields {
  readonly #bytes: Buffer;
  readonly #box: Box;
  #at: number;

  constructor(bytes: Buffer, box: Box) {
    this.#bytes = bytes;
    this.#box = box;
    this.#at = box.bodyStart;
  }

  /** Offset of the next field in the Buffer. */
  get at(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#box.end - this.#at;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u24(): number {
    return this.#bytes.readUIntBE(this.#take(3), 3);
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  i32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  /** 64 bits that fit a double exactly. @throws Mp4Error `too-large` */
  u64(): number {
    const at = this.#take(8);
    const value = this.#bytes.readUInt32BE(at) * 2 ** 32 + this.#bytes.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) {
      throw new Mp4Error('too-large', `a number of more than 2^53 in ${name(this.#box.type)}`);
    }
    return value;
  }

  skip(bytes: number): void {
    this.#take(bytes);
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#box.end) {
      throw new Mp4Error('truncated', `${name(this.#box.type)} is shorter than its fields`);
    }
    this.#at = at + bytes;
    return at;
  }
}

/** A type as it may be shown: what is not printable ASCII becomes `?`. */
function name(type: string): string {
  return type.replace(/[^\x20-\x7e]/g, '?');
}
