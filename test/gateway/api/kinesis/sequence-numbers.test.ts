import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  SequenceNumbers,
  isOfShard,
  parseSequenceNumber,
  parseShardId,
  shardIdOf,
} from '../../../../gateway/api/kinesis/sequence-numbers.ts';

const createdMs = Date.UTC(2026, 0, 1);
const arrivalMs = createdMs + 1_234_567;

describe('sequence numbers', () => {
  test('have 56 digits and the layout of the service', () => {
    const text = new SequenceNumbers({ createdMs, index: 0x2b }).of(0x1234, arrivalMs);
    assert.equal(text.length, 56);
    const created = (createdMs / 1000).toString(16).padStart(8, '0');
    const arrived = Math.floor(arrivalMs / 1000)
      .toString(16)
      .padStart(8, '0');
    assert.equal(BigInt(text).toString(16), `20${created}b0000000000001235000${arrived}0000002b2`);
  });

  test('say what they were made of', () => {
    for (const index of [0, 1, 15, 16, 9_999, 0x7fff_ffff]) {
      for (const sequence of [0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER - 1]) {
        const shard = { createdMs, index };
        const parsed = parseSequenceNumber(new SequenceNumbers(shard).of(sequence, arrivalMs));
        assert.deepEqual(parsed, {
          createdSeconds: createdMs / 1000,
          shardIndex: index,
          arrivalSeconds: Math.floor(arrivalMs / 1000),
          sequence,
        });
        assert.ok(isOfShard(parsed, shard));
        assert.ok(!isOfShard(parsed, { createdMs: createdMs + 1000, index }));
        assert.ok(!isOfShard(parsed, { createdMs, index: index ^ 16 }));
      }
    }
  });

  test('are the same when they are counted on from one before', () => {
    for (const index of [0, 15, 4_711]) {
      const shard = { createdMs, index };
      const numbers = new SequenceNumbers(shard);
      for (const from of [0, 1_000, 2 ** 31 - 600, 2 ** 40, 2 ** 52]) {
        for (let sequence = from; sequence < from + 1_200; sequence += 1) {
          const atMs = arrivalMs + Math.floor(sequence / 700) * 1_000;
          const alone = new SequenceNumbers(shard).end(atMs);
          const step = (0x7fff_ffff_ffff_ffffn - BigInt(sequence) - 1n) << 80n;
          assert.equal(numbers.of(sequence, atMs), (BigInt(alone) - step).toString());
        }
      }
    }
  });

  test('order the records of a shard between its beginning and its end', () => {
    const numbers = new SequenceNumbers({ createdMs, index: 3 });
    const ordered = [
      numbers.beginning(createdMs),
      numbers.of(0, createdMs),
      // A clock that stepped back does not count.
      numbers.of(1, arrivalMs),
      numbers.of(2, createdMs),
      numbers.of(2 ** 40, arrivalMs),
      numbers.end(arrivalMs),
    ].map(BigInt);
    assert.deepEqual(
      ordered.toSorted((a, b) => (a < b ? -1 : 1)),
      ordered,
    );
    assert.equal(parseSequenceNumber(numbers.beginning(createdMs))?.sequence, -1);
    assert.equal(parseSequenceNumber(numbers.end(arrivalMs))?.sequence, Infinity);
  });

  test('of a child come after those of its parent', () => {
    const parent = new SequenceNumbers({ createdMs, index: 15 });
    const child = new SequenceNumbers({ createdMs: createdMs + 1000, index: 0 });
    assert.ok(BigInt(child.beginning(createdMs)) > BigInt(parent.end(arrivalMs)));
  });

  test('are told from forged ones', () => {
    const real = BigInt(new SequenceNumbers({ createdMs, index: 5 }).of(77, arrivalMs));
    const forged = [
      '',
      '0',
      'abc',
      '-1',
      '1e55',
      `0${real}`,
      ` ${real}`,
      '9'.repeat(56),
      '1'.repeat(128),
      String(real + 1n), // another version
      String(real ^ (1n << 144n)), // the shard's last digit is another's
      String(real | (1n << 70n)), // what is nothing is something
      String(real | (0xfn << 140n)), // beyond any number
      String(real ^ (1n << 181n)),
    ];
    for (const text of forged) assert.equal(parseSequenceNumber(text), null, text);
  });
});

test('shard ids', () => {
  assert.equal(shardIdOf(12), 'shardId-000000000012');
  assert.equal(parseShardId('shardId-000000000012'), 12);
  assert.equal(parseShardId('12'), 12);
  for (const wrong of ['', 'shardId-', 'shardId-x', 'shardId--1', 'shardId-002147483648', '1.5']) {
    assert.equal(parseShardId(wrong), null, wrong);
  }
});
