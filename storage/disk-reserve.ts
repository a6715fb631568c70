/**
 * Some space kept back for the moment when the disk is full. On a small disk it is a sixteenth of it.
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
 * At the start too: a database can't even be opened for reading at zero bytes free (its `-shm` has to
 * be made), so the reserve goes first where it is needed for that.
 *
 * Who deletes: `retention.ts`. Who refuses: `writer.ts`, and for footage `video/recording.ts`.
 */
import { open, rm, stat, statfs, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from './ports.ts';

const fileName = 'reserve';
const writeBytes = 1024 * 1024;
const commonBytes = 64 * 1024 * 1024;
const diskShareMax = 1 / 16;
/** Less than this, and opening the database may fail. */
const openingBytesMin = 1024 * 1024;

/** How much to keep back in a folder unless somebody says otherwise: 64 MiB, less on a small disk. */
export async function reserveBytesFor(folder: string): Promise<number> {
  const { blocks, bsize } = await statfs(folder);
  return Math.min(commonBytes, Math.floor(blocks * bsize * diskShareMax));
}

/** Gives up the reserve of a store that nobody has open. */
export async function dropReserve(folder: string): Promise<void> {
  await rm(join(folder, fileName), { force: true });
}

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

  /** Before the database is opened: gives up the reserve where there is no room for that. */
  async releaseToOpen(): Promise<void> {
    const { bavail, bsize } = await statfs(this.#folder);
    if (bavail * bsize >= openingBytesMin) return;
    this.#foundFull();
    await rm(this.#path, { force: true });
  }

  /** A write found the disk full: gives up the reserve, so that deleting works. */
  release(): void {
    this.#foundFull();
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

  /** Free space from which on the reserve can be made again. */
  get wantedFreeBytes(): number {
    return 2 * this.#bytes;
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
      if (disk.bavail * disk.bsize < this.wantedFreeBytes || !(await this.#make())) {
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

  #foundFull(): void {
    if (!this.#full) {
      this.#logger.error({}, 'The disk is full: nothing is appended until there is room again.');
    }
    this.#full = true;
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
