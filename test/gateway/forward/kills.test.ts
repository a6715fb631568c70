import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killDelivery } from './support/kills.ts';
import { needsPostgres } from './support/postgres.ts';

const kills = 3;

// The destination fails at random meanwhile, a function answers otherwise each time it is asked, and
// records fail; `npm run soak -- deliveries redshift` does it hundreds of times.
for (const target of ['s3', 'folder'] as const) {
  test(`killed ${kills} times on its way to ${target}: nothing lost, nothing twice`, async (context) => {
    const { failed } = await killDelivery(context, { seed: 1, target, kills });
    assert.ok(failed > 0);
  });
}

test(`killed ${kills} times on its way in batches: nothing lost, and what came twice had one id`, async (context) => {
  const { failed } = await killDelivery(context, { seed: 1, target: 'batches', kills });
  assert.ok(failed > 0);
});

test(`killed ${kills} times on its way into Redshift: nothing lost, nothing twice`, async (context) => {
  if (!needsPostgres(context)) return;
  const { failed } = await killDelivery(context, { seed: 1, target: 'redshift', kills });
  assert.ok(failed > 0);
});

// Every start is by chance of one that shapes records, and so goes by plans, or of one that does not.
test(`killed 5 times on its way to kinesis, by plans and without: nothing lost, in order per key`, async (context) => {
  await killDelivery(context, { seed: 3, target: 'kinesis', kills: 5 });
});
