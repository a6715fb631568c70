import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decode, encode } from 'cbor-x';
import { CborError, decodeCbor, encodeCbor } from '../../../../gateway/api/kinesis/cbor.ts';

function encoded(value: unknown): Buffer {
  const pieces: Buffer[] = [];
  encodeCbor(value, pieces);
  return Buffer.concat(pieces);
}

const values: readonly unknown[] = [
  0,
  23,
  24,
  255,
  256,
  65_535,
  65_536,
  2 ** 32 - 1,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
  -1,
  -24,
  -25,
  -(2 ** 40),
  1.5,
  -0.1,
  '',
  'ü€😀',
  'x'.repeat(70_000),
  true,
  false,
  null,
  [],
  [1, ['two', { three: 3 }]],
  { Records: [{ Data: Buffer.from([1, 2, 3]), PartitionKey: 'k' }] },
  Buffer.alloc(300, 9),
];

describe('CBOR', () => {
  test('comes back as it went', () => {
    for (const value of values) {
      const back = decodeCbor(encoded(value));
      assert.deepEqual(JSON.parse(JSON.stringify(back)), JSON.parse(JSON.stringify(value)));
    }
  });

  test('is what another encoder and decoder mean', () => {
    for (const value of values) {
      // It reads integers above 32 bits as BigInts.
      const theirs: unknown = decode(encoded(value));
      assert.deepEqual(typeof theirs === 'bigint' ? Number(theirs) : theirs, value);
      assert.equal(JSON.stringify(decodeCbor(Buffer.from(encode(value)))), JSON.stringify(value));
    }
  });

  test('has instants in milliseconds, as the Java clients write them', () => {
    const atMs = 1_787_036_486_712;
    assert.equal(encoded(new Date(atMs)).toString('hex'), 'c11b000001a013accc38');
    assert.deepEqual(decodeCbor(Buffer.from('c11b000001a013accc38', 'hex')), new Date(atMs));
  });

  test('takes strings and lists of open length', () => {
    assert.deepEqual(
      decodeCbor(Buffer.from('5f42010243030405ff', 'hex')),
      Buffer.from([1, 2, 3, 4, 5]),
    );
    assert.equal(decodeCbor(Buffer.from('7f6161626263ff', 'hex')), 'abc');
    assert.deepEqual(decodeCbor(Buffer.from('9f0102ff', 'hex')), [1, 2]);
    assert.equal(JSON.stringify(decodeCbor(Buffer.from('bf616101ff', 'hex'))), '{"a":1}');
    assert.equal(decodeCbor(Buffer.from('f93e00', 'hex')), 1.5);
  });

  test('that is torn anywhere is refused', () => {
    const whole = encoded({
      Records: [{ Data: Buffer.alloc(40, 1), PartitionKey: 'key', At: new Date(1e12), N: 1.25 }],
      StreamName: 'readings',
    });
    for (let length = 0; length < whole.length; length += 1) {
      assert.throws(() => decodeCbor(whole.subarray(0, length)), CborError, `${length} bytes`);
    }
    assert.throws(() => decodeCbor(Buffer.concat([whole, Buffer.from([0])])), CborError);
  });

  test('that lies about its size or its depth costs nothing', () => {
    const lies = [
      '9bffffffffffffffff', // a list of 2^64 - 1
      'bb00000000ffffffff', // a map of 2^32 - 1
      '5bffffffffffffffff', // bytes
      '7a7fffffff61', // a text
      '81'.repeat(100), // lists in lists
      'c1'.repeat(100), // tags of tags
      'a1'.repeat(100),
      '5f5f4101ffff', // chunks in chunks
      '5f6161ff', // text among bytes
      'a10102', // a key that is no text
      'c16161', // an instant that is no number
      '62c328', // not UTF-8
      'ff',
      'fc',
      '1c',
    ];
    for (const hex of lies) {
      assert.throws(() => decodeCbor(Buffer.from(hex, 'hex')), CborError, hex);
    }
  });

  test('can not reach into the prototype of what it becomes', () => {
    const bytes = encoded(JSON.parse('{"__proto__":{"polluted":1},"constructor":2}'));
    const value = decodeCbor(bytes) as Record<string, unknown>;
    assert.equal(Object.getPrototypeOf(value), null);
    assert.equal(value['polluted'], undefined);
    assert.deepEqual(Object.keys(value), ['__proto__', 'constructor']);
  });
});
