/**
 * Cuts a byte stream, arriving in pieces of any size, into whole MP4 boxes.
 *
 * Invariants: never holds more than the largest box allowed plus one piece; a box that claims to be
 * larger than its kind may be is refused as soon as its header is there. What boxes mean, and in
 * which order they may come, is in `chunk-reader.ts`.
 */
import { Mp4Error, readBoxHeader } from '../../storage/video/boxes.ts';

export interface StreamBox {
  readonly type: string;
  /** The whole box, header included: as it lies here, until the next one is asked for. */
  readonly bytes: Buffer;
}

const mebibyte = 1024 * 1024;

/**
 * Limits in bytes by type of box. 200 ms of 100 Mb/s video are 2.5 MB; the largest keyframe of an
 * 8K camera stays below 16 MB.
 */
const bytesMax: Readonly<Partial<Record<string, number>>> = {
  moov: mebibyte,
  moof: mebibyte,
  mdat: 32 * mebibyte,
};
const otherBytesMax = 256 * 1024;

const initialCapacity = 64 * 1024;
/** What is kept allocated between boxes. */
const idleCapacity = mebibyte;

export class BoxReader {
  #buffer: Buffer = Buffer.allocUnsafe(initialCapacity);
  #start = 0;
  #end = 0;

  /** Bytes held that are not yet a whole box. */
  get pendingBytes(): number {
    return this.#end - this.#start;
  }

  /**
   * Takes the next piece and yields the boxes that it completes. Iterate to the end before the
   * next piece.
   * @throws Mp4Error `malformed`, `too-large`; the stream can't be read on after it
   */
  *push(piece: Buffer): Generator<StreamBox, void> {
    this.#append(piece);
    for (;;) {
      const header = readBoxHeader(this.#buffer, this.#start, this.#end);
      this.#checkType();
      if (header === null) return;
      const limit = bytesMax[header.type] ?? otherBytesMax;
      if (header.sizeBytes > limit) {
        throw new Mp4Error(
          'too-large',
          `a ${header.type} of ${header.sizeBytes} bytes; at most ${limit} are taken`,
        );
      }
      if (header.sizeBytes > this.pendingBytes) return;
      const boxEnd = this.#start + header.sizeBytes;
      const bytes = this.#buffer.subarray(this.#start, boxEnd);
      this.#start = boxEnd;
      yield { type: header.type, bytes };
    }
  }

  /** Refuses what is no MP4 at its first box, rather than waiting for a box that never ends. */
  #checkType(): void {
    for (let at = this.#start + 4; at < Math.min(this.#start + 8, this.#end); at += 1) {
      const byte = this.#buffer[at] ?? 0;
      if (byte < 0x20 || byte > 0x7e) throw new Mp4Error('malformed', 'not a stream of MP4 boxes');
    }
  }

  #append(piece: Buffer): void {
    const pending = this.pendingBytes;
    const needed = pending + piece.length;
    if (pending === 0 && this.#buffer.length > idleCapacity) {
      this.#move(Buffer.allocUnsafe(Math.max(initialCapacity, needed)));
    } else if (needed > this.#buffer.length) {
      this.#move(Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2)));
    } else if (this.#end + piece.length > this.#buffer.length) {
      this.#move(this.#buffer);
    }
    piece.copy(this.#buffer, this.#end);
    this.#end += piece.length;
  }

  #move(to: Buffer): void {
    this.#buffer.copy(to, 0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    this.#buffer = to;
  }
}
