/** What becomes of an object's bytes before they leave: gzip, zip, or nothing. */
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { crc32, createDeflateRaw, createGzip, type DeflateRaw, type Gzip } from 'node:zlib';
import { zipHead, zipTail } from './zip.ts';

/** Of one object. Blocks of one size give the same bytes each time. */
export interface Compressor {
  /** Resolves when there is room for more. */
  write(block: Buffer): Promise<void>;
  /** Resolves when all has been handed on. */
  end(rest: Buffer): Promise<void>;
  /** Lets go of everything; harmless after `end`. */
  close(): void;
}

type OnPiece = (piece: Buffer) => void;

export function noCompressor(onPiece: OnPiece): Compressor {
  return {
    async write(block) {
      onPiece(block);
      // Whoever feeds it would otherwise never let go of the event loop.
      await setImmediate();
    },
    end(rest) {
      if (rest.length > 0) onPiece(rest);
      return Promise.resolve();
    },
    close: () => undefined,
  };
}

/** Its header carries no time. */
export function gzipCompressor(onPiece: OnPiece): Compressor {
  return new StreamCompressor(createGzip(), onPiece);
}

/** A zip with one file in it. */
export function zipCompressor(onPiece: OnPiece, name: string): Compressor {
  let sizeBytes = 0;
  let compressedBytes = 0;
  let checksum = 0;
  const deflate = new StreamCompressor(createDeflateRaw(), (piece) => {
    compressedBytes += piece.length;
    onPiece(piece);
  });
  const count = (block: Buffer): void => {
    sizeBytes += block.length;
    checksum = crc32(block, checksum);
  };
  onPiece(zipHead(name));
  return {
    write(block) {
      count(block);
      return deflate.write(block);
    },
    async end(rest) {
      count(rest);
      await deflate.end(rest);
      onPiece(zipTail({ name, sizeBytes, compressedBytes, checksum }));
    },
    close: () => {
      deflate.close();
    },
  };
}

class StreamCompressor implements Compressor {
  readonly #stream: Gzip | DeflateRaw;
  readonly #closed = new AbortController();
  readonly #ended: Promise<unknown>;

  constructor(stream: Gzip | DeflateRaw, onPiece: OnPiece) {
    this.#stream = stream;
    stream.on('data', onPiece);
    this.#ended = once(stream, 'end', { signal: this.#closed.signal });
    this.#ended.catch(() => undefined);
  }

  async write(block: Buffer): Promise<void> {
    if (this.#stream.write(block)) return;
    await once(this.#stream, 'drain', { signal: this.#closed.signal });
  }

  async end(rest: Buffer): Promise<void> {
    this.#stream.end(rest);
    await this.#ended;
  }

  close(): void {
    this.#closed.abort();
    this.#stream.destroy();
  }
}
