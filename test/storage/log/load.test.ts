import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  adviseSplit,
  busyForMs,
  decide,
  newLoad,
  nextLoad,
  type ShardLoad,
} from '../../../storage/log/load.ts';
import type { LogRecord } from '../../../storage/model.ts';

const limits = { floor: 1, ceiling: 16 };

function load(index: number, change: Partial<ShardLoad> = {}): ShardLoad {
  return { index, share: 0, busyMs: 0, peak: 0, ...change };
}

const busy = (index: number, share: number): ShardLoad =>
  load(index, { share, busyMs: busyForMs, peak: share });

test('busy shards are split, the busiest first, up to the ceiling', () => {
  const loads = [busy(0, 0.9), load(1, { share: 0.7 }), busy(2, 5), busy(3, 2)];
  assert.deepEqual(decide(loads, limits), { split: [2, 3, 0], merge: null });
  assert.deepEqual(decide(loads, { floor: 1, ceiling: 6 }).split, [2, 3]);
  assert.deepEqual(decide(loads, { floor: 1, ceiling: 2 }).split, []);
});

test('a shard that was not busy for long enough is left alone, and so are its neighbours', () => {
  const loads = [load(0), load(1), load(2, { share: 9, busyMs: busyForMs - 1, peak: 9 })];
  assert.deepEqual(decide(loads, limits), { split: [], merge: null });
});

test('of idle neighbours those with the least load are merged, down to the floor', () => {
  const loads = [
    load(4, { peak: 0.1 }),
    load(7, { peak: 0.2 }),
    load(5, { peak: 0.05 }),
    load(6, { peak: 0.9 }),
  ];
  assert.deepEqual(decide(loads, limits), { split: [], merge: [7, 5] });
  assert.equal(decide(loads, { floor: 4, ceiling: 16 }).merge, null);
  const apart = [load(0, { peak: 0 }), load(1, { peak: 0.4 }), load(2, { peak: 0 })];
  assert.equal(decide(apart, limits).merge, null, 'only neighbours');
});

test('load is the larger of bytes and records; one pause ends being busy; peaks fade', () => {
  const second = { records: 0, bytes: 0, durationMs: 1000 };
  const byRecords = nextLoad(newLoad(0), { ...second, records: 900, bytes: 1000 });
  assert.deepEqual([byRecords.share, byRecords.busyMs], [0.9, 1000]);
  const byBytes = nextLoad(byRecords, { ...second, records: 1, bytes: 2 * 1024 * 1024 });
  assert.deepEqual([byBytes.share, byBytes.busyMs, byBytes.peak], [2, 2000, 2]);
  const calm = nextLoad(byBytes, { ...second, records: 790 });
  assert.deepEqual([calm.share, calm.busyMs], [0.79, 0]);
  let idle = calm;
  let minutes = 0;
  for (; idle.peak > 0.15; minutes += 1) idle = nextLoad(idle, { ...second, durationMs: 60_000 });
  assert.ok(minutes >= 15 && minutes <= 30, `${minutes} minutes`);
});

const range = { first: 0n, last: 999n };
const hashes = new Map([
  ['a', 10n],
  ['b', 20n],
  ['c', 30n],
  ['d', 40n],
  ['far', 5000n],
]);
const hashOf = (key: string): bigint => hashes.get(key)!;

function sample(keys: string, bytes = 100): LogRecord[] {
  return keys.split(' ').map((partitionKey, sequence) => ({
    ...{ sequence, partitionKey, arrivalMs: 0 },
    data: Buffer.alloc(partitionKey === 'd' ? bytes : 100),
  }));
}

test('a shard is split where half of its load lies on either side', () => {
  assert.deepEqual(adviseSplit(range, sample('a b c d'), hashOf), { kind: 'split', at: 30n });
  assert.deepEqual(adviseSplit(range, sample('d d b b a c'), hashOf), { kind: 'split', at: 30n });
  assert.deepEqual(adviseSplit(range, sample('a b c d', 2300), hashOf), { kind: 'split', at: 40n });
  const two = adviseSplit({ first: 10n, last: 20n }, sample('a b'), hashOf);
  assert.deepEqual(two, { kind: 'split', at: 20n });
});

test('a key with most of the load is told, not split', () => {
  const advice = adviseSplit(range, sample('a b a c a'), hashOf);
  assert.deepEqual([advice.kind, advice], ['dominated', { ...advice, partitionKey: 'a' }]);
  const byBytes = adviseSplit(range, sample('a b c d', 100_000), hashOf);
  assert.equal(byBytes.kind === 'dominated' && byBytes.partitionKey, 'd');
});

test('where keys say nothing, the middle is taken; a single hash key is not split', () => {
  assert.deepEqual(adviseSplit(range, [], hashOf), { kind: 'split', at: 500n });
  assert.deepEqual(adviseSplit(range, sample('far far far a b'), hashOf), {
    kind: 'split',
    at: 500n,
  });
  assert.deepEqual(adviseSplit({ first: 7n, last: 7n }, sample('a b'), hashOf), { kind: 'single' });
});
