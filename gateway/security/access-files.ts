/**
 * Files of the folder `access`, which hold what lets somebody in: mode 0600 in folders of mode
 * 0700, written under another name first, so that nobody ever reads half of one and a power cut
 * leaves all of it or nothing.
 */
import { randomBytes } from 'node:crypto';
import { chown, link, mkdir, open, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';

/** Where they are. */
export function accessFolder(dataDir: string): string {
  return join(dataDir, 'access');
}

/** Makes a folder in `access`; what root makes belongs to whose data folder it is. */
export async function makeAccessFolder(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (made === undefined || userInfo().uid !== 0) return;
  const { uid, gid } = await stat(dirname(made));
  if (uid === 0) return;
  for (let current = folder; ; current = dirname(current)) {
    await chown(current, uid, gid);
    if (current === made || current === dirname(current)) return;
  }
}

/**
 * Writes a file, in place of one that may be there.
 * @param ownedLike what root writes gets the owner of this folder; that of the file when left out
 */
export async function writeAccessFile(
  path: string,
  content: string,
  ownedLike = dirname(path),
): Promise<void> {
  await writeNew(path, content, ownedLike, (made) => rename(made, path));
}

/** Writes a file unless there is one; returns whether it did. Of several at once, one does. */
export async function createAccessFile(path: string, content: string): Promise<boolean> {
  try {
    await writeNew(path, content, dirname(path), async (made) => {
      await link(made, path);
      await unlink(made);
    });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function writeNew(
  path: string,
  content: string,
  ownedLike: string,
  place: (made: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  await makeAccessFolder(folder);
  const made = `${path}.new-${randomBytes(6).toString('hex')}`;
  const file = await open(made, 'wx', 0o600);
  try {
    try {
      await giveToOwner(file, ownedLike);
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await place(made);
  } catch (error) {
    await unlink(made).catch(() => undefined);
    throw error;
  }
  const handle = await open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}

/** What root makes for another user's gateway has to be readable for that. */
async function giveToOwner(file: FileHandle, folder: string): Promise<void> {
  if (userInfo().uid !== 0) return;
  const { uid, gid } = await stat(folder);
  if (uid !== 0) await file.chown(uid, gid);
}

/** The system's code of an error, such as ENOENT. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}
