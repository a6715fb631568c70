/** A disk so small that a test can fill it. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, open, rm, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { withScope, type Scope } from './scope.ts';

const run = promisify(execFile);

export interface SmallDisk {
  /** A folder on an ordinary disk. */
  readonly folder: string;
  /** `data` in that folder: the whole of the small disk. */
  readonly mount: string;
}

/**
 * Runs the work with a disk of so many megabytes mounted; what the work makes is undone before the
 * disk goes. Skips the test, saying why, where this user may not mount one.
 */
export async function onSmallDisk(
  context: TestContext,
  megabytes: number,
  work: (disk: SmallDisk, scope: Scope) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'headgate-small-disk-'));
  const mount = join(folder, 'data');
  await mkdir(mount);
  try {
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', mount]);
    } catch {
      context.skip('mounting a small disk takes root');
      return;
    }
    try {
      await withScope((scope) => work({ folder, mount }, scope));
    } finally {
      // Lazily: something that is being stopped may still look at it.
      await run('umount', ['--lazy', mount]);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const mostAtOnce = 1024 * 1024;

export async function freeBytesOf(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** What another program keeps on the disk: a file that takes all there is. */
export class ForeignFile {
  readonly #path: string;
  #handle: FileHandle | null = null;
  #bytes = 0;

  constructor(scope: Scope, mount: string) {
    scope.after(() => this.remove());
    this.#path = join(mount, 'foreign');
  }

  /**
   * Takes what is free just now, to the last block, and nothing of what others give up meanwhile.
   * Answers how many bytes it has now.
   */
  async grow(): Promise<number> {
    this.#handle ??= await open(this.#path, 'a');
    let left = await freeBytesOf(dirname(this.#path));
    for (let step = mostAtOnce; step >= 512 && left > 0;) {
      try {
        const { bytesWritten } = await this.#handle.write(Buffer.alloc(Math.min(step, left), 1));
        this.#bytes += bytesWritten;
        left -= bytesWritten;
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
        step /= 2;
      }
    }
    return this.#bytes;
  }

  async remove(): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
    await rm(this.#path, { force: true });
  }
}
