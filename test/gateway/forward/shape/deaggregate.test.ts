import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  deaggregation,
  partsMax,
  type Deaggregation,
} from '../../../../gateway/forward/shape/deaggregate.ts';
import type {
  FailedRecord,
  ShapedRecord,
} from '../../../../gateway/forward/shape/shaped-record.ts';
import { aggregate } from '../../../../gateway/kpl/aggregate.ts';

function recordOf(data: string | Buffer): ShapedRecord {
  const bytes = Buffer.from(data);
  return {
    sequence: 5,
    subSequence: 0,
    partitionKey: 'k',
    arrivalMs: 9,
    data: bytes,
    partition: null,
  };
}

function partsOf(how: Deaggregation, data: string | Buffer): readonly string[] {
  const record = recordOf(data);
  const parts = deaggregation(how)(record);
  assert.ok(!('stage' in parts), JSON.stringify(parts));
  parts.forEach((part, index) => {
    assert.deepEqual({ ...part, data: record.data }, { ...record, subSequence: index });
  });
  return parts.map((part) => part.data.toString());
}

function failureOf(how: Deaggregation, data: string | Buffer): FailedRecord {
  const record = recordOf(data);
  const failed = deaggregation(how)(record);
  assert.ok('stage' in failed);
  assert.equal(failed.record, record);
  assert.equal(failed.stage, 'processing-failed');
  assert.equal(failed.errorCode, 'Deaggregation.Failed');
  return failed;
}

// https://docs.aws.amazon.com/firehose/latest/dev/dynamic-partitioning-multirecord-deaggergation.html
test("Firehose's examples", () => {
  const json = { type: 'json' } as const;
  assert.deepEqual(partsOf(json, '{"a":1}{"a":2}'), ['{"a":1}', '{"a":2}']);
  assert.deepEqual(partsOf(json, '{"a":1}\n{"a":2}'), ['{"a":1}', '{"a":2}']);
  assert.match(
    failureOf(json, '[{"a":1}, {"a":2}]').errorMessage,
    /no JSON object begins at byte 0/,
  );
  const delimited = { type: 'delimited', delimiter: '####' } as const;
  assert.deepEqual(partsOf(delimited, 'one####two####'), ['one', 'two']);
});

test('JSON objects are found whatever is in them', () => {
  const objects = [
    '{}',
    '{"a":{"b":[{}]}}',
    '{"}{":"\\"}{\\\\"}',
    '{ "ü" :\n"水" }',
    '{"a":"\\u007b"}',
  ];
  const json = { type: 'json' } as const;
  assert.deepEqual(partsOf(json, objects.join('')), objects);
  assert.deepEqual(partsOf(json, ` \r\n${objects.join('\t\n ')}\n`), objects);
  assert.deepEqual(partsOf(json, ''), []);
  for (const [data, at] of [
    ['{"a":1}{', 7],
    ['{"a":1}x{"a":2}', 7],
    ['{"a":1},{"a":2}', 7],
    ['{a:1}', 0],
    ['"text"', 0],
    ['1', 0],
    ['}', 0],
    ['{"a":"', 0],
    ['{"a":"\\', 0],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 0],
  ] as const) {
    assert.match(failureOf(json, data).errorMessage, new RegExp(`begins at byte ${at}\\.`));
  }
});

test('delimiters may be of several bytes; nothing between two of them is no record', () => {
  assert.deepEqual(partsOf({ type: 'delimited', delimiter: '\n' }, '\na\n\nb\r\n'), ['a', 'b\r']);
  assert.deepEqual(partsOf({ type: 'delimited', delimiter: '水' }, 'x水y\u6c34z'), ['x', 'y', 'z']);
  assert.deepEqual(partsOf({ type: 'delimited', delimiter: '##' }, 'a###b'), ['a', '#b']);
  assert.deepEqual(partsOf({ type: 'delimited', delimiter: ',' }, ',,'), []);
  assert.deepEqual(partsOf({ type: 'delimited', delimiter: ',' }, 'whole'), ['whole']);
});

test('a record of more than 500 fails whole', () => {
  for (const [how, each] of [
    [{ type: 'json' }, '{}'],
    [{ type: 'delimited', delimiter: ',' }, 'x,'],
  ] as const) {
    assert.equal(partsOf(how, each.repeat(partsMax)).length, partsMax);
    assert.match(failureOf(how, each.repeat(partsMax + 1)).errorMessage, /more than 500/);
  }
});

test('aggregates of the KPL are taken apart, with their keys; anything else goes on as it is', () => {
  const kpl = deaggregation({ type: 'kpl' });
  const inside = Array.from({ length: 700 }, (_, index) => ({
    partitionKey: `key-${index % 3}`,
    data: Buffer.from(`data ${index}`),
  }));
  const { record: packed } = aggregate(inside, 2 ** 20);
  const record = recordOf(packed.data);
  const parts = kpl(record);
  assert.ok(!('stage' in parts));
  assert.deepEqual(
    parts,
    inside.map(({ partitionKey, data }, subSequence) => ({
      ...record,
      partitionKey,
      data,
      subSequence,
    })),
  );
  const cut = recordOf(packed.data.subarray(0, -1));
  assert.deepEqual(kpl(cut), [cut]);
  const plain = recordOf('{"a":1}{"a":2}');
  assert.deepEqual(kpl(plain), [plain]);
  assert.deepEqual(deaggregation({ type: 'none' })(plain), [plain]);
});
