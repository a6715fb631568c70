import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordFilter, recordSelect } from '../../../../gateway/forward/shape/filter.ts';
import type { ShapedRecord } from '../../../../gateway/forward/shape/shaped-record.ts';

function recordOf(data: string | Buffer): ShapedRecord {
  const bytes = Buffer.from(data);
  return {
    sequence: 5,
    subSequence: 2,
    partitionKey: 'k',
    arrivalMs: 9,
    data: bytes,
    partition: null,
  };
}

test('a filter keeps what its query is true of', () => {
  const filter = recordFilter("level == 'error' && (code >= `500` || tags[?@ == 'urgent'])");
  assert.equal(filter(recordOf('{"level":"error","code":500}')), true);
  assert.equal(filter(recordOf('{"level":"error","code":404}')), false);
  assert.equal(filter(recordOf('{"level":"error","code":404,"tags":["x","urgent"]}')), true);
  assert.equal(filter(recordOf('{"level":"info","code":500}')), false);
  assert.equal(filter(recordOf('[]')), false);
  for (const [data, kept] of [
    ['{"a":0}', true],
    ['{"a":""}', false],
    ['{"a":[]}', false],
    ['{"a":{}}', false],
    ['{}', false],
  ] as const) {
    assert.equal(recordFilter('a')(recordOf(data)), kept, data);
  }
});

test('what is selected is sent in place of the record, which stays what it is otherwise', () => {
  const select = recordSelect('{device: device.id, "__proto__": value, all: values[*].v}');
  const record = recordOf('{"device":{"id":"d1"},"value":1.50,"values":[{"v":1},{},{"v":"ü"}]}');
  const selected = select(record);
  assert.ok('data' in selected);
  assert.equal(selected.data.toString(), '{"device":"d1","__proto__":1.5,"all":[1,"ü"]}');
  assert.deepEqual({ ...selected, data: record.data }, record);
});

test('records that have no answer fail, with their data untouched', () => {
  const cases = [
    [recordFilter('a'), 'no JSON', 'Filter.QueryFailed', /the record is not JSON/],
    [recordFilter('a'), Buffer.of(0x22, 0xc3, 0x22), 'Filter.QueryFailed', /not JSON/],
    [recordFilter('length(a)'), '{"a":1}', 'Filter.QueryFailed', /length\(\)|something else/],
    [recordSelect('a.b'), '{"a":1}', 'Select.QueryFailed', /it gives nothing/],
    [recordSelect('a'), '', 'Select.QueryFailed', /the record is not JSON/],
    [
      recordSelect('@'),
      `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
      'Select.QueryFailed',
      /nested too deeply|not JSON/,
    ],
  ] as const;
  for (const [step, data, code, message] of cases) {
    const record = recordOf(data);
    const failed = step(record);
    assert.ok(typeof failed === 'object' && 'stage' in failed);
    assert.equal(failed.stage, 'processing-failed');
    assert.equal(failed.errorCode, code);
    assert.match(failed.errorMessage, message);
    assert.equal(failed.record, record);
  }
});

test('a query that is none is told at once', () => {
  for (const query of ['', 'a[', 'a b', 'nothing(a)', '`{`']) {
    assert.throws(() => recordFilter(query), { name: 'QueryError' }, query);
    assert.throws(() => recordSelect(query), { name: 'QueryError' }, query);
  }
});
