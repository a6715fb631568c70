/**
 * The bytes of an open file, plain or as gzip compressed them.
 *
 * What is open can be read to its end whatever happens to its name. A compressed file is read from
 * its beginning on, and again when something before is asked for: it is a rotated one, that nobody
 * writes to any more.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip, type Gunzip } from 'node:zlib';

/** Device and inode, as the system counts them: which file it is, whatever its name. */
export type FileKey = `${string}:${string}`;

export interface Content {
  readonly key: FileKey;
  readonly compressed: boolean;
  /** From `position` on, at most `length` bytes; fewer only at the end. */
  read(position: number, length: number): Promise<Buffer>;
  /** Bytes, where they are known before reading; names that the file still has. */
  stat(): Promise<{ readonly bytes: number | null; readonly names: number }>;
  close(): Promise<void>;
}

/** Opened, but not to be read: a folder, a device, or compressed by something else than gzip. */
export class UnfitFile extends Error {
  override readonly name = 'UnfitFile';
}

const magics: readonly (readonly [string, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b, 0x08]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
];

/** What compressed a file that begins like this; null: nothing, as far as can be seen. */
export function compressionOf(head: Buffer): string | null {
  const found = magics.find(([, magic]) => magic.every((byte, index) => head[index] === byte));
  return found?.[0] ?? null;
}

/** @throws UnfitFile; what `open` throws */
export async function openContent(path: string): Promise<Content> {
  // A pipe under the name must not make us wait for its writer.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
  const handle = await open(path, flags);
  try {
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile()) throw new UnfitFile('it is no file');
    const key: FileKey = `${stats.dev}:${stats.ino}`;
    const head = await readFully(handle, 0, 6);
    const compression = compressionOf(head);
    if (compression === null) return new PlainContent(handle, key);
    if (compression === 'gzip') return new GzipContent(handle, key);
    throw new UnfitFile(`it is compressed by ${compression}`);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readFully(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

class PlainContent implements Content {
  readonly key: FileKey;
  readonly compressed = false;
  readonly #handle: FileHandle;

  constructor(handle: FileHandle, key: FileKey) {
    this.#handle = handle;
    this.key = key;
  }

  read(position: number, length: number): Promise<Buffer> {
    return readFully(this.#handle, position, length);
  }

  async stat(): Promise<{ bytes: number; names: number }> {
    const { size, nlink } = await this.#handle.stat();
    return { bytes: size, names: nlink };
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** What is kept of what was read already, for the piece that was not used up. */
const keptBytes = 1024 * 1024;

class GzipContent implements Content {
  readonly key: FileKey;
  readonly compressed = true;
  readonly #handle: FileHandle;
  #stream: { source: Readable; gunzip: Gunzip; pieces: AsyncIterator<Buffer> } | null = null;
  /** The plain bytes from `#begin` on that are in memory. */
  #window = Buffer.alloc(0);
  #begin = 0;
  #ended = false;

  constructor(handle: FileHandle, key: FileKey) {
    this.#handle = handle;
    this.key = key;
  }

  /** What can't be decompressed, as it is damaged or still being written, ends there. */
  async read(position: number, length: number): Promise<Buffer> {
    if (this.#stream === null || position < this.#begin) this.#rewind();
    while (!this.#ended && this.#begin + this.#window.length < position + length) {
      const piece = await this.#next();
      if (piece === null) break;
      const window = Buffer.concat([this.#window, piece]);
      // All but what is asked for, and a piece before it.
      const surplus = Math.min(position - this.#begin, window.length) - keptBytes;
      const dropped = Math.max(0, surplus);
      this.#window = window.subarray(dropped);
      this.#begin += dropped;
    }
    const from = position - this.#begin;
    return this.#window.subarray(from, from + length);
  }

  async #next(): Promise<Buffer | null> {
    try {
      const next = await this.#stream?.pieces.next();
      if (next !== undefined && next.done !== true) return next.value;
    } catch {
      // Read again from the beginning when the file has changed.
    }
    this.#ended = true;
    return null;
  }

  #rewind(): void {
    this.#stop();
    const gunzip = createGunzip({ chunkSize: 256 * 1024 });
    const source = this.#handle.createReadStream({ start: 0, autoClose: false });
    source.on('error', (error) => gunzip.destroy(error));
    source.pipe(gunzip);
    const pieces = gunzip[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    this.#stream = { source, gunzip, pieces };
    this.#window = Buffer.alloc(0);
    this.#begin = 0;
    this.#ended = false;
  }

  #stop(): void {
    this.#stream?.source.destroy();
    this.#stream?.gunzip.on('error', () => undefined).destroy();
    this.#stream = null;
  }

  async stat(): Promise<{ bytes: null; names: number }> {
    const { nlink } = await this.#handle.stat();
    return { bytes: null, names: nlink };
  }

  async close(): Promise<void> {
    this.#stop();
    await this.#handle.close();
  }
}
