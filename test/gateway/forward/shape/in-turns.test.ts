import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shapedInTurns } from '../../../../gateway/forward/shape/in-turns.ts';
import type { ShapedRecord } from '../../../../gateway/forward/shape/shaped-record.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const records = Array.from({ length: 20 }, (_, sequence): ShapedRecord => ({
  ...{ sequence, subSequence: 0, partitionKey: 'k', arrivalMs: 0, partition: null },
  data: Buffer.from(String(sequence)),
}));

/** Counts the rounds of the event loop. */
function rounds(): { count: number; stop: () => void } {
  const counted = { count: 0, stop: () => clearImmediate(next) };
  const again = (): void => {
    counted.count += 1;
    next = setImmediate(again);
  };
  let next = setImmediate(again);
  return counted;
}

test('records that take long leave the event loop to others between them', async () => {
  const clock = new ManualClock();
  const loop = rounds();
  const seen: number[] = [];
  const { records: shaped, failures } = await shapedInTurns(
    records,
    (some) => {
      clock.advance(40);
      seen.push(loop.count);
      return { records: some, failures: [] };
    },
    clock,
    new AbortController().signal,
  );
  loop.stop();
  assert.deepEqual(shaped, records);
  assert.deepEqual(failures, []);
  assert.equal(new Set(seen).size, records.length, 'one record in a round');
});

test('those that are quick are shaped in one go', async () => {
  const loop = rounds();
  let last = 0;
  await shapedInTurns(
    records,
    (some) => {
      last = loop.count;
      return { records: some, failures: [] };
    },
    new ManualClock(),
    new AbortController().signal,
  );
  loop.stop();
  assert.equal(last, 0);
});

test('they are not gone on with once nobody wants them', async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  let shaped = 0;
  const work = shapedInTurns(
    records,
    (some) => {
      clock.advance(40);
      shaped += 1;
      if (shaped === 3) stop.abort(new Error('enough'));
      return { records: some, failures: [] };
    },
    clock,
    stop.signal,
  );
  await assert.rejects(work, /enough/);
  assert.equal(shaped, 3);
});
