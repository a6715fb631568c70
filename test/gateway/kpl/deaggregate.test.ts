import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { aggregate, magic } from '../../../gateway/kpl/aggregate.ts';
import { deaggregate } from '../../../gateway/kpl/deaggregate.ts';
import { aggregateOf, type UserRecord } from '../../support/aws-kinesis-agg.ts';

const recordsMax = 10_000;

function userRecords(count: number): UserRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    partitionKey: `gerät-${index % 7}`,
    data: Buffer.alloc((index * 37) % 300, index),
    // The module confuses keys that could be the index of an array, so they are larger.
    ...(index % 3 === 0 ? { explicitHashKey: String(2n ** BigInt(64 + (index % 64))) } : {}),
  }));
}

/** A message under the magic number, with its checksum. */
function wrapped(message: Buffer): Buffer {
  return Buffer.concat([magic, message, createHash('md5').update(message).digest()]);
}

test('what AWS’s module has aggregated is taken apart, keys and hash keys and order', () => {
  for (const count of [1, 2, 150, 3000]) {
    const given = userRecords(count);
    assert.deepEqual(
      deaggregate(aggregateOf(given).data, recordsMax),
      given.map(({ partitionKey, data, explicitHashKey: hashKey }) => ({
        partitionKey,
        data,
        ...(hashKey === undefined ? {} : { explicitHashKey: BigInt(hashKey) }),
      })),
    );
  }
});

test('what is aggregated for an uplink is taken apart again', () => {
  const given = userRecords(500).map(({ partitionKey, data }) => ({ partitionKey, data }));
  const { count, record } = aggregate(given, 1024 ** 2);
  assert.equal(count, given.length);
  assert.deepEqual(deaggregate(record.data, recordsMax), given);
});

test('one of more records than are wanted is left as it is', () => {
  const { data } = aggregateOf(userRecords(50));
  assert.equal(deaggregate(data, 50)?.length, 50);
  assert.equal(deaggregate(data, 49), null);
});

test('what is damaged or cut is a plain record', () => {
  const { data } = aggregateOf(userRecords(20));
  for (let at = 0; at < data.length; at += 1) {
    const damaged = Buffer.from(data);
    damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at);
    assert.equal(deaggregate(damaged, recordsMax), null);
    assert.equal(deaggregate(data.subarray(0, at), recordsMax), null);
  }
  assert.equal(deaggregate(Buffer.concat([data, Buffer.of(0)]), recordsMax), null);
});

test('with a checksum that holds, a message that does not is a plain record', () => {
  const malformed = {
    'no record': '',
    'keys alone': '0a016b',
    'a key that is not there': '0a016b 1a050801 1a0164'.replaceAll(' ', ''),
    'no key': '0a016b1a031a0164',
    'no data': '0a016b1a020800',
    'an empty key': '0a001a0508001a0164',
    'a key that is not UTF-8': '0a01ff1a0508001a0164',
    'a hash key that is not there': '0a016b1a07080010001a0164',
    'a hash key that is no number': '0a016b1201781a07080010001a0164',
    'a hash key that is too large': `0a016b1227${Buffer.from('9'.repeat(39)).toString('hex')}1a07080010001a0164`,
    'a length past the end': '0a016b1a0508001a7f64',
    'a number without an end': 'ffffffffffffffffffff01',
    'a group': '0a016b1a0508001a01642b2c',
    'a key of a wrong type': '0801',
  };
  for (const [what, message] of Object.entries(malformed)) {
    assert.equal(deaggregate(wrapped(Buffer.from(message, 'hex')), recordsMax), null, what);
  }
  const tooLong = 'k'.repeat(257);
  const record = { data: Buffer.from('d'), partitionKey: tooLong };
  assert.equal(deaggregate(aggregateOf([record, record]).data, recordsMax), null);
});

test('tables behind the records and fields that are not known are no hindrance', () => {
  // A record, a tag in it, a field 9 of eight bytes, then the key.
  const message = Buffer.from(
    '1a0b08001a0164220412026162490102030405060708 0a016b'.replace(' ', ''),
    'hex',
  );
  assert.deepEqual(deaggregate(wrapped(message), recordsMax), [
    { partitionKey: 'k', data: Buffer.from('d') },
  ]);
});

test('bytes at random under a checksum that holds are taken without an error', () => {
  const { data } = aggregateOf(userRecords(10));
  const message = data.subarray(4, -16);
  // A linear congruential generator: the same bytes in every run.
  let state = 1;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
  let plain = 0;
  for (let run = 0; run < 5000; run += 1) {
    const changed = Buffer.from(message.subarray(0, 1 + random(message.length)));
    for (let flips = random(4); flips >= 0; flips -= 1) {
      changed.writeUInt8(random(256), random(changed.length));
    }
    if (deaggregate(wrapped(changed), recordsMax) === null) plain += 1;
  }
  assert.ok(plain > 1000 && plain < 5000, `${plain} of 5000 were plain records`);
});
