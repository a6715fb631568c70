import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ShardLimits } from '../../../../gateway/api/kinesis/throttling.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const MiB = 2 ** 20;

function taken(limits: ShardLimits, shardId: number, bytes: number, attempts: number): number {
  let count = 0;
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    if (limits.takeRecord(shardId, bytes)) count += 1;
  }
  return count;
}

describe('the limits of a shard', () => {
  test('let 1,000 records a second in, each shard for itself', () => {
    const clock = new ManualClock();
    const limits = new ShardLimits(clock);
    assert.equal(taken(limits, 1, 10, 1500), 1000);
    assert.equal(taken(limits, 2, 10, 1500), 1000);
    clock.advance(100);
    assert.equal(taken(limits, 1, 10, 1500), 100);
    clock.advance(60_000);
    assert.equal(taken(limits, 1, 10, 1500), 1000);
  });

  test('let 1 MiB a second in', () => {
    const clock = new ManualClock();
    const limits = new ShardLimits(clock);
    assert.equal(taken(limits, 1, MiB / 8, 20), 8);
    clock.advance(500);
    assert.equal(taken(limits, 1, MiB / 8, 20), 4);
  });

  test('let a record in that is larger than a second allows, which is paid for afterwards', () => {
    const clock = new ManualClock();
    const limits = new ShardLimits(clock);
    assert.ok(limits.takeRecord(1, 10 * MiB));
    clock.advance(9_000);
    assert.ok(!limits.takeRecord(1, 1));
    clock.advance(1_001);
    assert.ok(limits.takeRecord(1, 1));
  });

  test('let five reads and 2 MiB a second out', () => {
    const clock = new ManualClock();
    const limits = new ShardLimits(clock);
    const reads = (): number => [1, 2, 3, 4, 5, 6, 7].filter(() => limits.takeRead(1)).length;
    assert.equal(reads(), 5);
    clock.advance(1_000);
    assert.ok(limits.takeRead(1));
    limits.countRead(1, 10 * MiB);
    clock.advance(3_900);
    assert.equal(reads(), 0);
    clock.advance(200);
    assert.equal(reads(), 5);
  });

  test('do not care for a wall clock that steps', () => {
    const clock = new ManualClock();
    const limits = new ShardLimits(clock);
    assert.equal(taken(limits, 1, 10, 1500), 1000);
    clock.stepWall(3_600_000);
    assert.equal(taken(limits, 1, 10, 1500), 0);
    clock.stepWall(-7_200_000);
    clock.advance(1_000);
    assert.equal(taken(limits, 1, 10, 1500), 1000);
  });

  test('are remembered for busy shards, however many idle ones come', () => {
    const clock = new ManualClock();
    const limits = new ShardLimits(clock);
    for (let shardId = 0; shardId < 10_000; shardId += 1) limits.takeRecord(shardId, 1);
    clock.advance(1_000);
    assert.equal(taken(limits, 5, 10, 1500), 1000);
    for (let shardId = 10_000; shardId < 20_000; shardId += 1) limits.takeRecord(shardId, 1);
    assert.equal(taken(limits, 5, 10, 1500), 0);
  });
});
