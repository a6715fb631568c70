/**
 * The writing end of one media file: bytes go to its end, fsync when asked.
 *
 * Invariants: `bytes` is what was written whole; a write that fails leaves the file cut back to it
 * as far as the disk lets us. When the file is new, the first `sync` covers the directories that
 * lead to it too, else a power cut could forget the file and keep its rows.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { diskErrors } from '../disk-errors.ts';

export class MediaWriter {
  readonly #handle: FileHandle;
  readonly #directories: readonly string[];
  #bytes = 0;
  #directoriesSynced = false;
  #closed: Promise<void> | null = null;

  private constructor(handle: FileHandle, directories: readonly string[]) {
    this.#handle = handle;
    this.#directories = directories;
  }

  /**
   * Creates the file and the directories below `folder` that it needs.
   * @param path relative to `folder`.
   * @throws StorageError `disk-full`, `write-failed`
   */
  static create(folder: string, path: string): Promise<MediaWriter> {
    return diskErrors(`create ${path}`, async () => {
      const file = join(folder, path);
      await mkdir(dirname(file), { recursive: true });
      const handle = await open(file, 'wx');
      const directories = [folder];
      const steps = relative(folder, dirname(file)).split(sep);
      for (const step of steps) directories.unshift(join(directories[0] ?? folder, step));
      return new MediaWriter(handle, directories);
    });
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @throws StorageError `disk-full`, `write-failed` */
  async append(...pieces: readonly Buffer[]): Promise<void> {
    try {
      const written = await this.#write(pieces, this.#bytes);
      this.#bytes += written;
    } catch (error) {
      await this.#handle.truncate(this.#bytes).catch(() => undefined);
      throw error;
    }
  }

  /** Replaces bytes that were written before. @throws StorageError `disk-full`, `write-failed` */
  async overwrite(bytes: Buffer, at: number): Promise<void> {
    await this.#write([bytes], at);
  }

  /** Cuts the file back. @throws StorageError `write-failed` */
  async truncate(bytes: number): Promise<void> {
    await diskErrors('truncate a media file', () => this.#handle.truncate(bytes));
    this.#bytes = bytes;
  }

  /** Makes what was written outlast a power cut. @throws StorageError `write-failed` */
  async sync(): Promise<void> {
    await diskErrors('fsync a media file', async () => {
      await this.#handle.datasync();
      if (this.#directoriesSynced) return;
      for (const directory of this.#directories) await syncDirectory(directory);
      this.#directoriesSynced = true;
    });
  }

  /** Closing twice is harmless. */
  close(): Promise<void> {
    this.#closed ??= this.#handle.close();
    return this.#closed;
  }

  /** Answers how many bytes they are. */
  #write(pieces: readonly Buffer[], at: number): Promise<number> {
    return diskErrors('write to a media file', async () => {
      let done = 0;
      for (let left = pieces; left.length > 0; left = behind(pieces, done)) {
        done += (await this.#handle.writev(left, at + done)).bytesWritten;
      }
      return done;
    });
  }
}

/** What is left of the pieces without their first bytes. */
function behind(pieces: readonly Buffer[], bytes: number): readonly Buffer[] {
  let start = 0;
  return pieces.flatMap((piece) => {
    const skipped = Math.max(0, bytes - start);
    start += piece.length;
    return skipped < piece.length ? [piece.subarray(skipped)] : [];
  });
}

export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
