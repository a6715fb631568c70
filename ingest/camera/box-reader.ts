/**
 * Cuts a byte stream, arriving in pieces of any size, into whole MP4 boxes.
 *
 * Invariants: never holds more than the largest box allowed plus one piece; a box that claims to be
 * larger than its kind may be is refused as soon as its header is there. What boxes mean, and in
 * which order they may come, is in `chunk-reader.ts`.
 */
import { Mp4Error, readBoxHeader } from '../../storage/video/boxes.ts';
import { GatheredBytes } from '../gathered-bytes.ts';

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

export class BoxReader {
  readonly #bytes = new GatheredBytes();

  /** Bytes held that are not yet a whole box. */
  get pendingBytes(): number {
    return this.#bytes.length;
  }

  /**
   * Takes the next piece and yields the boxes that it completes. Iterate to the end before the
   * next piece.
   * @throws Mp4Error `malformed`, `too-large`; the stream can't be read on after it
   */
  *push(piece: Buffer): Generator<StreamBox, void> {
    const gathered = this.#bytes;
    gathered.append(piece);
    for (;;) {
      const header = readBoxHeader(gathered.buffer, gathered.start, gathered.end);
      this.#checkType();
      if (header === null) return;
      const limit = bytesMax[header.type] ?? otherBytesMax;
      if (header.sizeBytes > limit) {
        throw new Mp4Error(
          'too-large',
          `a ${header.type} of ${header.sizeBytes} bytes; at most ${limit} are taken`,
        );
      }
      if (header.sizeBytes > gathered.length) return;
      const { start } = gathered;
      const bytes = gathered.buffer.subarray(start, start + header.sizeBytes);
      gathered.advance(header.sizeBytes);
      yield { type: header.type, bytes };
    }
  }

  /** Refuses what is no MP4 at its first box, rather than waiting for a box that never ends. */
  #checkType(): void {
    const { buffer, start, end } = this.#bytes;
    for (let at = start + 4; at < Math.min(start + 8, end); at += 1) {
      const byte = buffer[at] ?? 0;
      if (byte < 0x20 || byte > 0x7e) throw new Mp4Error('malformed', 'not a stream of MP4 boxes');
    }
  }
}
