import { killDelivery } from '../gateway/forward/support/kills.ts';
import type { Soak } from './soak.ts';

/** A delivery is killed this often before the next seed begins with an empty table. */
const kills = 10;

export const soak: Soak = {
  name: 'redshift',
  title: `a delivery into Redshift is killed ${kills} times, while cluster, bucket and function fail`,
  seeds: 30,
  run: async ({ seed, after }) => {
    const figures = await killDelivery({ after }, { seed, target: 'redshift', kills });
    return { kills, ...figures };
  },
};
