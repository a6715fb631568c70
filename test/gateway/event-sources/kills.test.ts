import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killEventSource } from './support/kills-run.ts';

const kills = 3;

// The function fails at random meanwhile, at times a part of a batch; `npm run soak -- functions` does
// it many more times.
test(`killed ${kills} times within windows: each record is once in the last state of its window`, async (context) => {
  const { windows } = await killEventSource(context, { seed: 1, mode: 'windows', kills });
  assert.ok(windows > 0);
});

test(`killed ${kills} times while batches are halved: nothing is left out, what fails is kept`, async (context) => {
  const { failed } = await killEventSource(context, { seed: 1, mode: 'bisecting', kills });
  assert.ok(failed > 0);
});

test(`killed ${kills} times with several calls at once: nothing is left out, each key in order`, async (context) => {
  const { records } = await killEventSource(context, { seed: 1, mode: 'lanes', kills });
  assert.ok(records > 0);
});
