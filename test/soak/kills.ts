import { killOnce, writeFootage } from '../crash/support/runs.ts';
import { seededRandom } from '../storage/support/open.ts';
import { memoryFolder } from '../support/temporary-folder.ts';
import type { Soak } from './soak.ts';

/** A store is killed this often before the next seed begins with an empty one. */
const killsMax = 10;

export const soak: Soak = {
  name: 'kills',
  title: `a store under load is killed, ${killsMax} times at most`,
  seeds: 200,
  run: async (context) => {
    const random = seededRandom(context.seed);
    const folder = await memoryFolder(context);
    const footage = await writeFootage(folder);
    let acknowledged = 0;
    const kills = 1 + Math.floor(random() * killsMax);
    for (let kill = 0; kill < kills; kill += 1) {
      const seed = context.seed * 1000 + kill;
      const run = { folder: `${folder}/run`, footage, seed, appends: 1_000_000 };
      acknowledged = await killOnce(context, run);
    }
    return { kills, acknowledged };
  },
};
