/**
 * Opening a media file that may not be one: after damage, or by somebody's hand, there can be a
 * folder, a pipe or a link in its place. A pipe would make whoever opens it wait for ever, and what
 * is written through a link lands in a file of somebody else: so only regular files are opened, and
 * everything else counts as missing.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;
/** Nothing there; a link; a pipe or socket that nobody is at; a folder; a name in the place of one. */
const notFiles = new Set(['ENOENT', 'ELOOP', 'ENXIO', 'EISDIR', 'ENOTDIR']);

/** @param path of a row, which damage may have made no text: then there is no file of that name */
export function mediaFilePath(folder: string, path: unknown): string {
  return join(folder, typeof path === 'string' ? path : 'damaged');
}

/** null: there is no file of that name. @throws the system's error where it can't be opened */
export async function openMediaFile(
  path: string,
  access: 'read' | 'change',
): Promise<FileHandle | null> {
  let handle: FileHandle;
  try {
    const flags = access === 'read' ? O_RDONLY : O_RDWR;
    handle = await open(path, flags | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (error instanceof Error && 'code' in error && notFiles.has(String(error.code))) return null;
    throw error;
  }
  try {
    if ((await handle.stat()).isFile()) return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return null;
}
