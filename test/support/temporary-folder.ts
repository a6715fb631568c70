import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Scope } from './scope.ts';

/** A new empty folder that is removed when the test ends. */
export async function temporaryFolder(context: Scope, parent = tmpdir()): Promise<string> {
  const folder = await mkdtemp(join(parent, 'headgate-test-'));
  context.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** The same in memory, where the system has a place for it: for tests that write much, and sync. */
export async function memoryFolder(context: Scope): Promise<string> {
  const inMemory = await access('/dev/shm', constants.W_OK).then(
    () => true,
    () => false,
  );
  return temporaryFolder(context, inMemory ? '/dev/shm' : tmpdir());
}
