import { logAgainstModel } from '../storage/log/model.ts';
import type { Soak } from './soak.ts';

export const soak: Soak = {
  name: 'model',
  title: 'random work on the log, against a model that is too simple to be wrong',
  seeds: 5000,
  run: async ({ after, seed }) => {
    await logAgainstModel({ after }, seed);
    return {};
  },
};
