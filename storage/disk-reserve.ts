/**
 * Some space kept back for the moment when the disk is full.
 *
 * At zero bytes free even deleting fails: it too writes to the write-ahead log. So a file of real
 * bytes stands by; when a write finds the disk full it is deleted, and what it leaves is for
 * checkpoints of readers, deletion and giving pages back. Until it could be made again, with as
 * much room to spare, nothing new is appended (`full`).
 *
 * Copying the write-ahead log back may grow the database by all of the log before the log can be
 * cut. So the log is kept to half of the reserve (`maxWalBytes`): a longer one would use up the
 * reserve without ever getting to its end, and nothing could be deleted any more.
 *
 * Who deletes: `retention.ts`. Who refuses: `writer.ts`.
 */
import { open, rm, stat, statfs, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from './ports.ts';

const fileName = 'reserve';
const writeBytes = 1024 * 1024;

export class DiskReserve {
  readonly #folder: string;
  readonly #path: string;
  readonly #bytes: number;
  readonly #logger: Logger;
  readonly #onRelease: () => void;
  #full = false;
  #releasing: Promise<void> | null = null;

  /** @param options.bytes how much to keep back; 0: nothing */
  constructor(options: {
    readonly folder: string;
    readonly bytes: number;
    readonly logger: Logger;
    readonly onRelease: () => void;
  }) {
    this.#folder = options.folder;
    this.#path = join(options.folder, fileName);
    this.#bytes = options.bytes;
    this.#logger = options.logger;
    this.#onRelease = options.onRelease;
  }

  /** The disk was found full, and there is not yet room again. */
  get full(): boolean {
    return this.#full;
  }

  /**
   * The longest that the write-ahead log may get, so that the reserve carries it back.
   * @param wantedBytes what it may get if the reserve allows
   */
  maxWalBytes(wantedBytes: number): number {
    return this.#bytes === 0 ? wantedBytes : Math.min(wantedBytes, this.#bytes / 2);
  }

  /** A write found the disk full: gives up the reserve, so that deleting works. */
  release(): void {
    this.#full = true;
    this.#releasing ??= this.#giveUp().finally(() => {
      this.#releasing = null;
    });
  }

  async #giveUp(): Promise<void> {
    try {
      await unlink(this.#path);
    } catch (error) {
      // Already given up: what was tried then is tried again in time, not at once.
      if (!isMissing(error)) {
        this.#logger.error({ error }, 'The disk reserve could not be released.');
      }
      return;
    }
    this.#onRelease();
  }

  /** Makes the reserve when it is missing and there is room for it, and as much again. */
  async restore(): Promise<void> {
    await this.#releasing;
    if (this.#bytes === 0) {
      this.#full = false;
      return;
    }
    const size = await stat(this.#path).then(
      (found) => found.size,
      () => 0,
    );
    if (size < this.#bytes) {
      const disk = await statfs(this.#folder);
      if (disk.bavail * disk.bsize < 2 * this.#bytes || !(await this.#make())) {
        this.#setFull();
        return;
      }
    }
    if (this.#full) this.#logger.info({}, 'There is room on the disk again: appends are taken.');
    this.#full = false;
  }

  async #make(): Promise<boolean> {
    let file: FileHandle | null = null;
    try {
      file = await open(this.#path, 'w', 0o600);
      const zeros = Buffer.alloc(writeBytes);
      for (let at = 0; at < this.#bytes; at += writeBytes) {
        await file.write(zeros, 0, Math.min(writeBytes, this.#bytes - at), at);
      }
      // Some file systems allocate only now, and say only now that they can't.
      await file.sync();
      return true;
    } catch (error) {
      await rm(this.#path, { force: true });
      this.#logger.warn({ error }, 'The disk reserve could not be made.');
      return false;
    } finally {
      await file?.close();
    }
  }

  #setFull(): void {
    if (!this.#full) {
      this.#logger.error(
        { reserveBytes: this.#bytes },
        'The disk is almost full: nothing is appended until there is room again.',
      );
    }
    this.#full = true;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
