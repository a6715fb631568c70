import { cutPower, writeFootage } from '../crash/support/runs.ts';
import { buildShim } from '../crash/support/shim.ts';
import { memoryFolder } from '../support/temporary-folder.ts';
import type { Soak } from './soak.ts';

export const soak: Soak = {
  name: 'power-cuts',
  title: 'the power is cut at 50 moments of a run, what was not synced arriving or not',
  seeds: 20,
  run: async (context) => {
    const folder = await memoryFolder(context);
    const footage = await writeFootage(folder);
    const library = await buildShim(folder);
    const { seed } = context;
    const run = { folder: `${folder}/run`, footage, seed, appends: 1500, cuts: 50 };
    const { cuts, acknowledged, journalBytes } = await cutPower(context, library, run);
    return { cuts, acknowledged, journalBytes };
  },
};
