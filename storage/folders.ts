/** Folders that a power cut does not forget: a name is safe once the folder that holds it is synced. */
import { mkdir, open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { diskErrors } from './disk-errors.ts';

/**
 * Makes a folder, and those above it that are missing.
 * @throws StorageError `disk-full`, `write-failed`
 */
export async function makeFolder(folder: string): Promise<void> {
  await diskErrors(`create the folder ${folder}`, async () => {
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    // Also when it was there: the start that made it may have been killed before it could sync.
    await syncFolders(folder, made);
  });
}

/**
 * Syncs a folder and those above it, up to the one that holds `made`: the first that was made with
 * it; undefined when none was.
 */
export async function syncFolders(folder: string, made: string | undefined): Promise<void> {
  const top = dirname(resolve(made ?? folder));
  for (let current = resolve(folder); ; current = dirname(current)) {
    const handle = await open(current, 'r');
    await handle.sync().finally(() => handle.close());
    if (current === top || current === dirname(current)) return;
  }
}
