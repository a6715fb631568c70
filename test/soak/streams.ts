import { killKinesis } from '../gateway/api/kinesis/model/kills.ts';
import { kinesisAgainstModel } from '../gateway/api/kinesis/model/run.ts';
import type { Soak, SoakFigures } from './soak.ts';

/** Each so many seeds one run is killed too: that takes as long as a hundred others. */
const killEvery = 50;

export const soak: Soak = {
  name: 'streams',
  title: 'random work on the Kinesis API, with restarts and kills, against a plain model',
  seeds: 5000,
  run: async ({ after, seed }): Promise<SoakFigures> => {
    const records = await kinesisAgainstModel({ after }, seed);
    if (seed % killEvery !== 0) return { records };
    const killed = await killKinesis({ after }, seed);
    return { records, kills: killed.kills, recordsOverKills: killed.records };
  },
};
