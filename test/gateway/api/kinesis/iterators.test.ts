import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ShardIterators, javaDate } from '../../../../gateway/api/kinesis/iterators.ts';
import { PageTokens } from '../../../../gateway/api/kinesis/page-tokens.ts';
import { Sealer } from '../../../../gateway/api/aws/sealing.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const secret = Buffer.alloc(32, 1);
const place = { streamId: 7, shardId: 2 ** 40, sequence: Number.MAX_SAFE_INTEGER };

describe('shard iterators', () => {
  test('bring back the place, also after a restart', () => {
    const clock = new ManualClock();
    const text = new ShardIterators(new Sealer(secret, clock), clock).make(place);
    assert.ok(text.length <= 512);
    const restarted = new ShardIterators(new Sealer(secret, clock), clock);
    assert.deepEqual(restarted.open(text), place);
    clock.advance(300_000);
    assert.deepEqual(restarted.open(text), place);
  });

  test('expire after five minutes, in the words of the service', () => {
    const clock = new ManualClock(Date.UTC(2015, 0, 22, 1, 22, 2));
    const iterators = new ShardIterators(new Sealer(secret, clock), clock);
    const text = iterators.make(place);
    clock.advance(300_001);
    assert.throws(() => iterators.open(text), {
      type: 'ExpiredIteratorException',
      message:
        'Iterator expired. The iterator was created at time Thu Jan 22 01:22:02 UTC 2015 while ' +
        'right now it is Thu Jan 22 01:27:02 UTC 2015 which is further in the future than the ' +
        'tolerated delay of 300000 milliseconds.',
    });
  });

  test('can not be forged: every bit of them counts', () => {
    const clock = new ManualClock();
    const sealer = new Sealer(secret, clock);
    const iterators = new ShardIterators(sealer, clock);
    const bytes = Buffer.from(iterators.make(place), 'base64');
    const forged = [
      '',
      'AAAA',
      'not base64 at all',
      bytes.toString('base64url'),
      `${bytes.toString('base64')}=`,
      bytes.subarray(0, -1).toString('base64'),
      Buffer.concat([bytes, Buffer.alloc(1)]).toString('base64'),
      new ShardIterators(new Sealer(Buffer.alloc(32, 2), clock), clock).make(place),
      new PageTokens(sealer, clock).make('ListShards', place),
    ];
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      forged.push(flipped.toString('base64'));
    }
    for (const text of forged) {
      assert.throws(
        () => iterators.open(text),
        { type: 'InvalidArgumentException', message: 'Invalid ShardIterator.' },
        text,
      );
    }
  });
});

describe('page tokens', () => {
  test('are good for their list only, for five minutes', () => {
    const clock = new ManualClock();
    const sealer = new Sealer(secret, clock);
    const tokens = new PageTokens(sealer, clock);
    const token = tokens.make('ListShards', { after: 3 });
    assert.deepEqual(tokens.open('ListShards', token), { after: 3 });
    const invalid = { type: 'InvalidArgumentException' };
    assert.throws(() => tokens.open('ListStreams', token), invalid);
    const iterator = new ShardIterators(sealer, clock).make(place);
    assert.throws(() => tokens.open('ListShards', iterator), invalid);
    clock.advance(300_001);
    assert.throws(() => tokens.open('ListShards', token), { type: 'ExpiredNextTokenException' });
  });
});

test('dates are written as Java writes them', () => {
  assert.equal(javaDate(Date.UTC(2026, 10, 5, 9, 8, 7)), 'Thu Nov 05 09:08:07 UTC 2026');
});
