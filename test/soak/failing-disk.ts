import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  countOperations,
  diskFailures,
  failOperation,
  writeFootage,
} from '../crash/support/runs.ts';
import { buildShim } from '../crash/support/shim.ts';
import { memoryFolder } from '../support/temporary-folder.ts';
import type { Soak } from './soak.ts';

/** So many seeds do every operation between them: each takes every twentieth, from its own on. */
const slices = 20;

export const soak: Soak = {
  name: 'failing-disk',
  title: 'operation 1, 2, 3 … of the disk fails, alone and with all that follow',
  seeds: slices,
  run: async (context) => {
    const folder = await memoryFolder(context);
    const footage = await writeFootage(folder);
    const library = await buildShim(folder);
    const run = { folder: join(folder, 'run'), footage, seed: 1, appends: 40 };
    const operations = await countOperations(context, library, run);
    let failures = 0;
    // The order of what happens at once differs from run to run: some more, to be sure of the last.
    for (let operation = context.seed; operation <= operations + slices; operation += slices) {
      for (const failure of diskFailures) {
        await rm(run.folder, { recursive: true, force: true });
        const outcome = await failOperation(context, library, run, { operation, ...failure });
        if (outcome !== 'ENDED') failures += 1;
      }
      context.note(`${operation} of ${operations}`);
    }
    return { operations, failures };
  },
};
