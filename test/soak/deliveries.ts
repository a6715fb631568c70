import type { KillsTarget } from '../gateway/forward/support/kills-run.ts';
import { killDelivery } from '../gateway/forward/support/kills.ts';
import type { Soak } from './soak.ts';

const targets: readonly KillsTarget[] = ['s3', 'folder', 'batches', 'kinesis'];
const killsEach = 3;

export const soak: Soak = {
  name: 'deliveries',
  title: `a delivery is killed ${killsEach} times, while its destination and its function fail`,
  seeds: 100,
  run: async ({ seed, after }) => {
    const target = targets[seed % targets.length] ?? 's3';
    const kills = { seed, target, kills: killsEach };
    const figures = await killDelivery({ after }, kills);
    return { kills: killsEach, ...figures };
  },
};
