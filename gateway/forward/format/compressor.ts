/** What becomes of an object's bytes before they leave. */
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { crc32, createDeflateRaw, createGzip, type DeflateRaw, type Gzip } from 'node:zlib';
import type { EncoderThreads } from './thread/threads.ts';
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

export type OnPiece = (piece: Buffer) => void;

export function noCompressor(onPiece: OnPiece): Compressor {
  return {
    async write(block) {
      onPiece(block);
      // Whoever feeds it would otherwise not let go of the event loop.
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

/** Of what Node does not have: in a thread, several blocks at a time. */
export function threadCompressor(
  kind: 'snappy' | 'hadoop-snappy' | 'zstd',
  threads: EncoderThreads,
  onPiece: OnPiece,
): Compressor {
  const session = threads.open({ kind });
  const blocksAtOnce = kind === 'zstd' ? 16 : 1;
  let gathered: Buffer[] = [];
  const flush = async (): Promise<void> => {
    const bytes = new Uint8Array(Buffer.concat(gathered));
    gathered = [];
    const lengths = Uint32Array.of(bytes.length);
    const { pieces } = await session.ask({ type: 'add', bytes, lengths }, [bytes.buffer]);
    for (const piece of pieces) onPiece(asBuffer(piece));
  };
  return {
    async write(block) {
      gathered.push(block);
      if (gathered.length === blocksAtOnce) await flush();
      else await setImmediate();
    },
    async end(rest) {
      gathered.push(rest);
      await flush();
    },
    close: () => {
      session.close();
    },
  };
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
