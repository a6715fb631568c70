import { killWhilePutting, makeStream } from '../crash/support/put-media.ts';
import { memoryFolder } from '../support/temporary-folder.ts';
import type { Soak } from './soak.ts';

/** A store is killed this often before the next seed begins with an empty one. */
const kills = 10;

export const soak: Soak = {
  name: 'put-media',
  title: `a box that takes PutMedia is killed, ${kills} times`,
  seeds: 20,
  run: async (context) => {
    const folder = await memoryFolder(context);
    const stream = await makeStream();
    const { seed } = context;
    const acknowledged = await killWhilePutting(context, { folder, stream, seed, kills });
    return { kills, acknowledged };
  },
};
