/** A few seeds of what `npm run soak -- streams` does with thousands. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withScope } from '../../../support/scope.ts';
import { killKinesis } from './model/kills.ts';
import { kinesisAgainstModel } from './model/run.ts';

test('random puts, reads, reshards and restarts are as in the model', async () => {
  let records = 0;
  for (let seed = 1; seed <= 8; seed += 1) {
    records += await withScope((scope) => kinesisAgainstModel(scope, seed));
  }
  assert.ok(records > 1000, 'something was put');
});

test('killed again and again, it has what it acknowledged, once and in order', async (t) => {
  const { records, reshards } = await killKinesis(t, 1);
  assert.ok(records > 100, 'something was put');
  assert.ok(reshards > 0, 'something was split or merged');
});
