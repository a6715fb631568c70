import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configSchema } from '../../../gateway/config/schema.ts';

function problems(delivery: Record<string, unknown>): string[] {
  const { error } = configSchema.safeParse({
    streams: { s: {} },
    deliveries: { d: { from: { stream: 's' }, to: { folder: { path: '/x' } }, ...delivery } },
  });
  return (error?.issues ?? []).map(({ path, message }) => `${path.slice(2).join('.')}: ${message}`);
}

test('a format that fits is taken', () => {
  assert.deepEqual(problems({}), []);
  assert.deepEqual(problems({ format: { type: 'raw', delimiter: '\n' } }), []);
  assert.deepEqual(problems({ format: { type: 'csv', delimiter: '\t' } }), []);
  const columns = [
    { name: 'at', type: 'timestamp', from: 'time' },
    { name: 'place', type: 'struct<lat:double,lon:double,tags:array<map<string,decimal(38,9)>>>' },
    { name: 'time' },
  ];
  assert.deepEqual(problems({ format: { type: 'parquet', compression: 'zstd', columns } }), [
    'format.columns.2.from: is the key of another column too',
  ]);
  assert.deepEqual(problems({ format: { type: 'parquet', columns: columns.slice(0, 2) } }), []);
});

test('what does not go together is refused', () => {
  assert.deepEqual(problems({ record: 'envelope', format: { type: 'raw' } }), [
    'record: does not go with format.type: raw',
  ]);
  assert.deepEqual(problems({ format: { delimiter: '\n' } }), [
    'format.delimiter: is of raw and csv',
  ]);
  for (const delimiter of [';;', '"', '\r']) {
    assert.deepEqual(problems({ format: { type: 'csv', delimiter } }), [
      'format.delimiter: does not go between columns',
    ]);
  }
  for (const compression of ['zip', 'hadoop-snappy']) {
    assert.deepEqual(problems({ format: { type: 'parquet', compression } }), [
      'format.compression: is not for parquet',
    ]);
  }
  assert.deepEqual(problems({ format: { type: 'ndjson', columns: [{ name: 'a' }] } }), [
    'format.columns: are of csv and parquet',
  ]);
  const twice = [{ name: 'a' }, { name: 'A' }];
  assert.deepEqual(problems({ format: { type: 'csv', columns: twice } }), [
    'format.columns.1.name: is there twice',
  ]);
  assert.deepEqual(problems({ format: { type: 'csv', columns: twice, ignoreCase: false } }), []);
});

test('what is sent without objects has no format', () => {
  const kinesis = { stream: 'x', region: 'eu-central-1' };
  assert.deepEqual(problems({ to: { kinesis }, format: { type: 'csv' } }), [
    'format.type: is of objects, and records are sent there as they are',
  ]);
  assert.deepEqual(problems({ to: { kinesis } }), []);
  const camera = { from: { camera: 'c' }, format: { type: 'parquet' } };
  assert.ok(problems(camera).includes('format.type: is of records, and footage is files'));
});

test('a type of a column that is none is refused, with what is wrong about it', () => {
  const reasons: [string, RegExp][] = [
    ['text', /"text" is not a type/],
    ['', /ends too early/],
    ['array<int', /ends too early/],
    ['array<int>>', /goes on after its type/],
    ['decimal(39,2)', /1 to 38 digits/],
    ['decimal(4,5)', /no more behind the point/],
    ['decimal(a)', /not a number of digits/],
    ['map<int,string>', /keys of a map are strings/],
    ['struct<a:int,a:int>', /has "a" twice/],
    ['struct<>', /ends too early/],
    ['struct<a int>', /lacks a :/],
    [`${'array<'.repeat(9)}int${'>'.repeat(9)}`, /nested deeper than 8/],
  ];
  for (const [type, reason] of reasons) {
    const [problem = '', ...more] = problems({
      format: { type: 'parquet', columns: [{ name: 'a', type }] },
    });
    assert.match(problem, /^format\.columns\.0\.type: is no type: /);
    assert.match(problem, reason);
    assert.deepEqual(more, []);
  }
});
