import { test } from 'node:test';
import { logAgainstModel } from './model.ts';

const seeds = 100;

for (let seed = 0; seed < seeds; seed += 1) {
  test(`random work, seed ${seed}`, (t) => logAgainstModel(t, seed));
}
