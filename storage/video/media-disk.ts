/**
 * Whether the media folder is the one that the index speaks of. It may be on a disk of its own, which
 * can be pulled, swapped or not mounted: an empty folder is in its place then, and what is written
 * into that lands on another disk.
 *
 * A file `.headgate` in the folder holds an id that the database has as well. Where they differ the
 * folder counts as ours only if there is no footage in the index, or the newest of it is there (the
 * store was restored, or the file was deleted): then the id is written anew.
 *
 * While the folder is not there nothing is recorded, nothing deleted and nothing counted as lost.
 * Whoever is about to do one of these asks `check`.
 */
import { randomUUID } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { diskErrors } from '../disk-errors.ts';
import { StorageError } from '../errors.ts';
import { makeFolder } from '../folders.ts';
import type { Logger } from '../ports.ts';
import type { Writer } from '../writer.ts';
import type { Reader } from './context.ts';
import { mediaFilePath } from './media-files.ts';

export const mediaIdFile = '.headgate';
/** Files looked for: retention or damage may have taken some of them. */
const newestFiles = 8;
const idPattern = /^[0-9a-f-]{36}$/;

export interface MediaDiskOptions {
  readonly folder: string;
  readonly writer: Pick<Writer, 'transact'>;
  readonly reader: Reader;
  readonly logger: Logger;
}

export class MediaDisk {
  readonly #options: MediaDiskOptions;
  #id: string | null = null;
  #trouble: string | null = null;
  /** What to do when it is there again. */
  #onReturn: () => Promise<void> = () => Promise.resolve();

  private constructor(options: MediaDiskOptions) {
    this.#options = options;
  }

  /** Looks for the folder, and makes it where there was none. @throws StorageError */
  static async open(options: MediaDiskOptions): Promise<MediaDisk> {
    const disk = new MediaDisk(options);
    const row = await options.reader.get<{ id: string }>('SELECT id FROM media_place LIMIT 1');
    disk.#id = row?.id ?? null;
    // The folder is made for the first time only: later it is part of a disk that may be missing.
    if (disk.#id === null) await makeFolder(options.folder);
    await disk.check().catch((error: unknown) => {
      if (!(error instanceof StorageError && error.code === 'media-missing')) throw error;
    });
    return disk;
  }

  /** Why the folder is not there, in words; null when it was when it was last looked for. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** @param work may fail with a StorageError, which is logged */
  whenBack(work: () => Promise<void>): void {
    this.#onReturn = work;
  }

  /** @throws StorageError `media-missing` while the folder is not there */
  async check(): Promise<void> {
    const before = this.#trouble;
    const { folder, logger } = this.#options;
    this.#trouble = await this.#look();
    if (this.#trouble !== null) {
      if (before === null) {
        logger.error(
          { folder, trouble: this.#trouble },
          'The media folder is not there: nothing is recorded, and no footage is served.',
        );
      }
      throw new StorageError('media-missing', `${folder}: ${this.#trouble}`);
    }
    if (before === null) return;
    logger.info({ folder }, 'The media folder is there again.');
    await this.#onReturn().catch((error: unknown) => {
      logger.error({ error, folder }, 'What was left open on the media disk was not recovered.');
    });
  }

  async #look(): Promise<string | null> {
    const { folder } = this.#options;
    const found = await stat(folder).catch(() => null);
    if (found?.isDirectory() !== true) return 'it is not there: is its disk mounted?';
    const there = await readFile(join(folder, mediaIdFile), 'latin1').catch(() => null);
    const id = there?.trim() ?? '';
    if (this.#id !== null && id === this.#id) return null;
    if (!(await this.#isOurs())) {
      return id === ''
        ? 'nothing of the footage is in it: is its disk mounted?'
        : 'it is that of another gateway, or of another disk';
    }
    await this.#adopt(idPattern.test(id) ? id : (this.#id ?? randomUUID()), id);
    return null;
  }

  /** Whether there is no footage, or the newest of it is there. */
  async #isOurs(): Promise<boolean> {
    const { reader, folder } = this.#options;
    const files = await reader.all<{ path: string }>(
      'SELECT path FROM media_file ORDER BY id DESC LIMIT ?',
      newestFiles,
    );
    for (const { path } of files) {
      const found = await stat(mediaFilePath(folder, path)).catch(() => null);
      if (found?.isFile() === true) return true;
    }
    return files.length === 0;
  }

  async #adopt(id: string, there: string): Promise<void> {
    const { folder, writer } = this.#options;
    if (there !== id) {
      await diskErrors('write the id of the media folder', async () => {
        const file = await open(join(folder, mediaIdFile), 'w', 0o600);
        try {
          await file.writeFile(`${id}\n`);
          await file.sync();
        } finally {
          await file.close();
        }
      });
    }
    if (this.#id === id) return;
    await writer.transact(async (tx) => {
      await tx.run('DELETE FROM media_place');
      await tx.run('INSERT INTO media_place (id) VALUES (?)', id);
    });
    this.#id = id;
  }
}
