/** Repairs the store in a folder as a process of its own, to be run on a disk that fails. */
import { join } from 'node:path';
import { StorageError } from '../../../storage/errors.ts';
import { repairStore } from '../../../storage/repair.ts';

const folder = process.argv[2] ?? '';

async function main(): Promise<void> {
  const options = { folder, mediaFolder: join(folder, 'media'), nowMs: Date.now() };
  try {
    for await (const done of repairStore(options)) console.log(done);
    console.log('REPAIRED');
  } catch (error) {
    // What storage throws is told; a failure of the folder's own calls has a code of the system.
    const isTold = error instanceof StorageError || (error instanceof Error && 'code' in error);
    console.log(isTold ? `TOLD ${String(error)}` : `CRASHED ${String(error)}`);
  }
}

void main();
