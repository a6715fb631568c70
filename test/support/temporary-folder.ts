import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Scope } from './scope.ts';

/** A new empty folder that is removed when the test ends. */
export async function temporaryFolder(context: Scope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'headgate-test-'));
  context.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
