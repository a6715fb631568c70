import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  compileLayout,
  objectKey,
  type LayoutOptions,
} from '../../../../gateway/forward/layout/layout.ts';
import {
  partitioner,
  partitionsMax,
  type Partitioner,
} from '../../../../gateway/forward/layout/partitioner.ts';
import type {
  FailedRecord,
  PartitionValues,
  ShapedRecord,
} from '../../../../gateway/forward/shape/shaped-record.ts';
import { randomFrom } from '../../../support/random.ts';

const scope = { gatewayId: 'box-1', delivery: 'archive', version: 2_147_483_647 };
const extension = `.${'x'.repeat(127)}`;
const stream = 's'.repeat(128);

function recordOf(data: string | Buffer, partition: PartitionValues | null = null): ShapedRecord {
  const bytes = Buffer.from(data);
  return { sequence: 1, subSequence: 0, partitionKey: 'k', arrivalMs: 0, data: bytes, partition };
}

function partitionerOf(options: LayoutOptions): Partitioner {
  const made = partitioner(compileLayout(options));
  assert.ok(made !== null);
  return made;
}

/** What the key begins with. */
function prefixOf(options: LayoutOptions, record: ShapedRecord): string {
  const placed = partitionerOf(options).place(record);
  assert.ok('partitionId' in placed, JSON.stringify(placed));
  const key = keyOf(options, placed.record.partition);
  return key.slice(0, key.lastIndexOf(`${stream}-`));
}

function keyOf(
  options: LayoutOptions,
  partition: PartitionValues | null,
  oldestArrivalMs = 0,
): string {
  const range = { streamCreatedMs: 1, shardId: 7, from: 100, to: 200 };
  return objectKey(compileLayout(options), scope, {
    ...{ ...range, stream, oldestArrivalMs, partition, extension },
  });
}

function failureOf(options: LayoutOptions, record: ShapedRecord): FailedRecord {
  const placed = partitionerOf(options).place(record);
  assert.ok('stage' in placed, JSON.stringify(placed));
  assert.equal(placed.stage, 'dynamic-partitioning-failed');
  assert.equal(placed.record, record);
  return placed;
}

/** One partition by one query. */
function by(query: string, queryLanguage: 'jmespath' | 'jq' = 'jmespath'): LayoutOptions {
  return { prefix: 'p/!{partitionKeyFromQuery:v}/', partitionBy: { v: query }, queryLanguage };
}

// https://docs.aws.amazon.com/firehose/latest/dev/dynamic-partitioning-partitioning-keys.html
test("Firehose's example of partitioning keys", () => {
  const names = ['customer_id', 'device', 'year', 'month', 'day', 'hour'];
  const options: LayoutOptions = {
    prefix: names.map((name) => `${name}=!{partitionKeyFromQuery:${name}}/`).join(''),
    partitionBy: {
      customer_id: '.customer_id',
      device: '.type.device',
      year: '.event_timestamp| strftime("%Y")',
      month: '.event_timestamp| strftime("%m")',
      day: '.event_timestamp| strftime("%d")',
      hour: '.event_timestamp| strftime("%H")',
    },
    queryLanguage: 'jq',
  };
  const record = recordOf(
    `{
      "type": { "device": "mobile", "event": "user_clicked_submit_button" },
      "customer_id": "1234567890",
      "event_timestamp": 1565382027,
      "region": "sample_region"
    }`,
  );
  assert.equal(
    prefixOf(options, record),
    'customer_id=1234567890/device=mobile/year=2019/month=08/day=09/hour=20/',
  );
});

test('without partitions in the prefix, records are not told apart', () => {
  assert.equal(partitioner(compileLayout({ prefix: 'a/!{timestamp:yyyy}/' })), null);
});

test('texts, numbers and booleans make partitions, those of the function as well', () => {
  const cases = [
    ['{"a":"x y"}', 'p/x y/'],
    ['{"a":12.5}', 'p/12.5/'],
    ['{"a":1565382027123}', 'p/1565382027123/'],
    ['{"a":false}', 'p/false/'],
    ['{"a":"2026/11/22"}', 'p/2026/11/22/'],
    ['{"a":"ünïcödé 水"}', 'p/ünïcödé 水/'],
  ] as const;
  for (const [data, prefix] of cases) assert.equal(prefixOf(by('a'), recordOf(data)), prefix);
  const options = {
    prefix: '!{partitionKeyFromLambda:a}/!{partitionKeyFromQuery:v}/',
    partitionBy: { v: 'a' },
  };
  const record = recordOf('{"a":1}', { query: {}, lambda: { a: 'of-the-function' } });
  assert.equal(prefixOf(options, record), 'of-the-function/1/');
  // A function alone needs no JSON.
  const alone = { prefix: '!{partitionKeyFromLambda:a}/' };
  assert.equal(prefixOf(alone, recordOf(Buffer.of(0xff), record.partition)), 'of-the-function/');
});

test('a value stays inside its prefix, and can be shown', () => {
  const cases = [
    ['/etc/passwd', 'p/etc/passwd/'],
    ['../../x', 'p/__/__/x/'],
    ['..', 'p/__/'],
    ['.', 'p/_/'],
    ['a/./b//c/', 'p/a/_/b/c/'],
    ['a..b/...', 'p/a..b/.../'],
    ['a\u0000b\nc\u007f\u0085', 'p/a_b_c__/'],
    ['\ud800x', 'p/\ufffdx/'],
    ['!{timestamp:yyyy}', 'p/!{timestamp:yyyy}/'],
  ] as const;
  for (const [value, prefix] of cases) {
    assert.equal(prefixOf(by('a'), recordOf(JSON.stringify({ a: value }))), prefix, value);
  }
});

test('a record that has no place says why', () => {
  const cases = [
    ['not JSON', /it is not JSON/],
    [Buffer.from([0x22, 0xff, 0x22]), /it is not JSON/],
    ['{}', /partitionKey v must not be null or empty/],
    ['{"a":null}', /must not be null or empty/],
    ['{"a":""}', /must not be null or empty/],
    ['{"a":{}}', /is a list or an object/],
    ['{"a":[1]}', /is a list or an object/],
    ['{"a":"//"}', /nothing of v can stand in a key/],
    [`{"a":"${'x/'.repeat(260)}"}`, /longer than 512 characters/],
    [`{"a":"${'水/'.repeat(200)}"}`, /or 700 bytes/],
    [`{"a":"${'x'.repeat(300)}"}`, /a name of more than 240 bytes/],
  ] as const;
  for (const [data, message] of cases) {
    const failed = failureOf(by('a'), recordOf(data));
    assert.equal(failed.errorCode, 'DynamicPartitioning.MetadataExtractionFailed');
    assert.match(failed.errorMessage, message);
  }
  assert.match(failureOf(by('.a[]', 'jq'), recordOf('{"a":[1,2]}')).errorMessage, /several values/);
  assert.match(failureOf(by('empty', 'jq'), recordOf('{}')).errorMessage, /null or empty/);
  assert.match(
    failureOf(by('.a.b', 'jq'), recordOf('{"a":1}')).errorMessage,
    /Cannot index number/,
  );
  assert.match(failureOf(by('constructor'), recordOf('{}')).errorMessage, /null or empty/);
  const ofFunction = { prefix: '!{partitionKeyFromLambda:a}/' };
  assert.match(failureOf(ofFunction, recordOf('{}')).errorMessage, /the function gave no value/);
});

test('a query that would take for ever takes a moment', () => {
  const costly = [
    by('[range(1000000000)] | length', 'jq'),
    by('"x" * 1000000000', 'jq'),
    by(`[${Array.from({ length: 40 }, () => '[.,.]').join('|')}] | tojson`, 'jq'),
    by('.. | .. | .. | .. | ..', 'jq'),
    by(`to_string(${Array.from({ length: 40 }, () => '[@,@]').join('|')})`),
  ];
  const deep = recordOf(`${'[1,'.repeat(3000)}1${']'.repeat(3000)}`);
  for (const options of costly) failureOf(options, deep);
});

test('there are 500 partitions at most; records of those that are open still have a place', () => {
  const places = partitionerOf(by('a'));
  const place = (value: number) => places.place(recordOf(JSON.stringify({ a: value })));
  const ids = new Set<string>();
  for (let value = 0; value < partitionsMax; value += 1) {
    const placed = place(value);
    assert.ok('partitionId' in placed);
    ids.add(placed.partitionId);
  }
  assert.equal(ids.size, partitionsMax);
  const refused = place(partitionsMax);
  assert.ok('stage' in refused);
  assert.equal(refused.errorCode, 'DynamicPartitioning.ActivePartitionLimitExceeded');
  assert.ok('partitionId' in place(0));
});

test('whatever records say, keys stay below their prefix and within 1,024 bytes', () => {
  const random = randomFrom(20261122);
  const pieces = [
    ...[
      '.',
      '..',
      '/',
      '//',
      '\\',
      '\0',
      '\n',
      'a',
      '水',
      '😀',
      '\ud83d',
      '%',
      ':',
      '=',
      '*',
      '!{',
    ],
    ...['x'.repeat(100), 'é'.repeat(120), '../', 'C:', '~', '$', '&', '?', ' ', '}', '\u202e', '{'],
  ];
  const pick = (): string => pieces[Math.floor(random() * pieces.length)] ?? '';
  const prefix =
    "site-1/!{timestamp:EEEE/MMMM/'x'}!{partitionKeyFromQuery:v}.!{partitionKeyFromQuery:w}/";
  const months = Array.from({ length: 12 }, (_, month) => Date.UTC(2026, month, 1 + month));
  let kept = 0;
  for (let round = 0; round < 3000; round += 1) {
    const hive = round % 2 === 0;
    const options: LayoutOptions = { prefix, hive, partitionBy: { v: 'v', w: 'w' } };
    const text = (): string => Array.from({ length: Math.floor(random() * 6) }, pick).join('');
    const placed = partitionerOf(options).place(recordOf(JSON.stringify({ v: text(), w: text() })));
    if ('stage' in placed) continue;
    kept += 1;
    for (const oldestArrivalMs of months) {
      const key = keyOf(options, placed.record.partition, oldestArrivalMs);
      assert.ok(Buffer.byteLength(key) <= 1024, key);
      assert.ok(key.startsWith('site-1/'), key);
      const folders = key.split('/').slice(0, -1);
      assert.ok(
        folders.every((name) => name !== '' && name !== '.' && name !== '..'),
        key,
      );
      assert.ok(
        folders.every((name) => Buffer.byteLength(name) <= 255),
        key,
      );
      assert.doesNotMatch(key, /\p{Cc}|\p{Surrogate}/u);
      if (hive) assert.doesNotMatch(key.slice(0, -400), /["#*?\\^]/);
    }
  }
  assert.ok(kept > 500 && kept < 2500, String(kept));
});
