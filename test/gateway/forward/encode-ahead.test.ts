import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AheadBudget, ObjectAhead } from '../../../gateway/forward/encode-ahead.ts';
import { formatOf } from '../../../gateway/forward/format/formats.ts';
import { openShaping, plainShape } from '../../../gateway/forward/shape/shaping.ts';
import { asTheyAre } from '../../../gateway/forward/shape/source.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { LogRecord } from '../../../storage/model.ts';

const format = formatOf({ type: 'ndjson' }, { shardIndex: 0 });
const records = Array.from({ length: 5_000 }, (_, sequence): LogRecord => ({
  ...{ sequence, partitionKey: 'k', arrivalMs: 0 },
  data: Buffer.from(sequence % 10 === 3 ? 'rubbish' : JSON.stringify({ sequence })),
}));

function begin(budget: AheadBudget, filter: string | null = null): ObjectAhead {
  const turns = { clock: systemClock, signal: new AbortController().signal };
  const shaping = openShaping({ ...plainShape, filter });
  return new ObjectAhead({ budget, maxBytes: 100, shaping, format, turns });
}

test('it is the object that is made of the plan later, however its records come', async () => {
  const ahead = begin(new AheadBudget(100));
  for (const at of [0, 1, 700, 4_000]) {
    const to = { 0: 1, 1: 700, 700: 4_000, 4_000: 5_000 }[at];
    await ahead.add(records.slice(at, to));
  }
  const { object } = await ahead.end();
  const encoder = format.encoder();
  await encoder.add(asTheyAre(records));
  const { object: later } = await encoder.end();
  assert.equal(object?.sha256, later?.sha256);
  assert.equal(object?.records, 5_000);
});

test('what fails is told, and of what is filtered out nothing is made', async () => {
  const ahead = begin(new AheadBudget(100), 'sequence < `4`');
  await ahead.add(records.slice(0, 20));
  const { object, failures } = await ahead.end();
  assert.equal(object?.records, 3);
  assert.deepEqual(
    failures.map(({ sequence }) => sequence),
    [3, 13],
  );
  const empty = begin(new AheadBudget(100), 'sequence < `0`');
  await empty.add(records.slice(0, 3));
  assert.deepEqual(await empty.end(), { object: null, failures: [] });
});

test('it takes up its part of the budget from its first record on, until it is closed', async () => {
  const budget = new AheadBudget(150);
  const waiting = begin(budget);
  const first = begin(budget);
  await first.add(records.slice(0, 1));
  const second = begin(budget);
  await second.add(records.slice(0, 1));
  assert.deepEqual([first.isClosed, second.isClosed], [false, true], 'there is none left');
  second.close();
  first.close();
  first.close();
  await waiting.add(records.slice(0, 1));
  assert.equal(waiting.isClosed, false);
  waiting.close();
  assert.deepEqual([budget.take(150), budget.take(1)], [true, false], 'all was given back, once');
});
