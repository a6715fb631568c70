import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordLine } from '../../../../gateway/forward/format/ndjson.ts';
import type { LogRecord } from '../../../../storage/model.ts';

function record(data: Buffer | string): LogRecord {
  return {
    sequence: 41,
    partitionKey: 'sensor "1"',
    data: Buffer.from(data),
    arrivalMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  };
}

function line(data: Buffer | string, format: 'data' | 'envelope' = 'data'): string {
  return Buffer.concat(recordLine(record(data), format, 12)).toString('utf8');
}

test('JSON stands on its line as it came', () => {
  const data = '{"b":1.10, "a":12345678901234567890, "b":2, "é":"\\u00e9"}';
  assert.equal(line(data), `${data}\n`);
  assert.equal(line('12.5'), '12.5\n');
});

test('JSON over several lines becomes one line that means the same', () => {
  const data = '{\r\n  "id": 12345678901234567890,\n  "text": "a\\nb"\n}\r\n';
  const result = line(data);
  assert.equal(result.split('\n').length, 2);
  assert.match(result, /12345678901234567890/);
  assert.deepEqual(JSON.parse(result), JSON.parse(data));
});

test('what is not JSON arrives as base64, to the byte', () => {
  const rubbish = [
    Buffer.of(0xff, 0x00, 0x0a),
    Buffer.alloc(0),
    Buffer.from('{"cut": '),
    Buffer.from('NaN'),
    Buffer.from('\ufeff{}'),
    Buffer.from('{}{}'),
    Buffer.concat([Buffer.from('"'), Buffer.of(0xc3, 0x28), Buffer.from('"')]),
    Buffer.from('['.repeat(200_000)),
  ];
  for (const data of rubbish) {
    const result = line(data);
    assert.equal(result.indexOf('\n'), result.length - 1);
    const parsed = JSON.parse(result) as { data: string };
    assert.deepEqual(Buffer.from(parsed.data, 'base64'), data);
  }
});

test('the envelope tells where a record was and when it came', () => {
  assert.deepEqual(JSON.parse(line('{"v":\n1}', 'envelope')), {
    shard: 'shardId-000000000012',
    sequence: 41,
    partitionKey: 'sensor "1"',
    arrival: '2026-01-02T03:04:05.006Z',
    data: { v: 1 },
  });
  const binary = JSON.parse(line(Buffer.of(1, 2), 'envelope')) as Record<string, unknown>;
  assert.equal(binary['dataBase64'], 'AQI=');
  assert.equal('data' in binary, false);
});
