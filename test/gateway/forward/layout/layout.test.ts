import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  compileLayout,
  errorKey,
  failedPrefix,
  objectKey,
  partitionIdOf,
  type LayoutOptions,
  type ObjectPlace,
} from '../../../../gateway/forward/layout/layout.ts';
import type { FailureStage } from '../../../../gateway/forward/shape/shaped-record.ts';

const scope = { gatewayId: 'box-1', delivery: 'archive', version: 1 };
const place: ObjectPlace = {
  stream: 'readings',
  streamCreatedMs: 1,
  shardId: 7,
  from: 100,
  to: 200,
  oldestArrivalMs: Date.parse('2018-08-27T10:30:00Z'),
  partition: null,
  extension: '.ndjson.gz',
};
const suffix =
  /readings-1-\d{4}(?:-\d\d){5}-[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?:\.ndjson\.gz)?$/;

function prefixOf(options: LayoutOptions, changes: Partial<ObjectPlace> = {}): string {
  const key = objectKey(compileLayout(options), scope, { ...place, ...changes });
  assert.match(key, suffix);
  return key.replace(suffix, '');
}

function errorPrefixOf(options: LayoutOptions): string {
  const failed = { ...place, extension: '', stage: 'processing-failed' } as const;
  return errorKey(compileLayout(options), scope, failed).replace(suffix, '');
}

test('the keys of before are the keys of now', () => {
  const before = [
    [
      { ...scope, version: 3 },
      { oldestArrivalMs: 1770091506789 },
      'site/',
      'site/2026/02/03/04/readings-3-2026-02-03-04-05-06-30ac1061-f998-5663-8dd7-0ec0ed0aa452.ndjson.gz',
    ],
    [
      scope,
      { oldestArrivalMs: 1770091506789 },
      '',
      '2026/02/03/04/readings-1-2026-02-03-04-05-06-c7b2860a-e110-5cf9-9b11-d02293e67f9e.ndjson.gz',
    ],
    [
      { gatewayId: 'a', delivery: 'b', version: 12 },
      {
        ...{ stream: 's', streamCreatedMs: 1767225600000, shardId: 0, from: 0, to: 1 },
        oldestArrivalMs: 0,
      },
      'x-',
      'x-1970/01/01/00/s-12-1970-01-01-00-00-00-981eef39-7c3d-5e17-8134-3b91220e6559.ndjson.gz',
    ],
    [
      { gatewayId: 'ü', delivery: 'b.c', version: 1 },
      { oldestArrivalMs: 1798761599999 },
      'a b/{}/$',
      'a b/{}/$2026/12/31/23/readings-1-2026-12-31-23-59-59-84e93203-f3da-587e-b58a-b25b3ed61de4.ndjson.gz',
    ],
  ] as const;
  for (const [of, changes, prefix, key] of before) {
    assert.equal(objectKey(compileLayout({ prefix }), of, { ...place, ...changes }), key);
  }
});

// https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html: "Example prefixes", at 10:30
// UTC on Aug 27, 2018. Where the table shows other hours and days than its heading says, these are
// those of the heading, and the hour that the rules there append.
test("Firehose's examples of prefixes", () => {
  assert.equal(prefixOf({}), '2018/08/27/10/');
  assert.equal(
    errorPrefixOf({ errorPrefix: 'myFirehoseFailures/!{firehose:error-output-type}/' }),
    'myFirehoseFailures/processing-failed/',
  );
  assert.match(
    prefixOf({
      prefix: 'myFirehose/DeliveredYear=!{timestamp:yyyy}/anyMonth/rand=!{firehose:random-string}',
    }),
    /^myFirehose\/DeliveredYear=2018\/anyMonth\/rand=[0-9a-f]{8}-[0-9a-f]{2}$/,
  );
  assert.equal(
    errorPrefixOf({
      errorPrefix:
        'myFirehoseFailures/!{firehose:error-output-type}/!{timestamp:yyyy}/anyMonth/!{timestamp:dd}',
    }),
    'myFirehoseFailures/processing-failed/2018/anyMonth/27',
  );
  assert.equal(
    prefixOf({
      prefix:
        'myPrefix/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/',
    }),
    'myPrefix/year=2018/month=08/day=27/hour=10/',
  );
  assert.equal(
    errorPrefixOf({
      errorPrefix:
        "myErrorPrefix/!{timestamp:'year='yyyy'/month='MM'/day='dd'/hour='HH}/!{firehose:error-output-type}",
    }),
    'myErrorPrefix/year=2018/month=08/day=27/hour=10/processing-failed',
  );
  assert.equal(prefixOf({ prefix: 'myFirehosePrefix/' }), 'myFirehosePrefix/2018/08/27/10/');
  assert.equal(
    errorPrefixOf({ prefix: 'myFirehosePrefix/' }),
    'myFirehosePrefix/processing-failed/2018/08/27/10/',
  );
  assert.equal(
    errorPrefixOf({
      errorPrefix: 'myPrefix/result=!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}',
    }),
    'myPrefix/result=processing-failed/2018/08/27',
  );
});

// https://docs.aws.amazon.com/firehose/latest/dev/dynamic-partitioning-s3bucketprefix.html and the
// guide of Athena to "custom prefixes and dynamic partitioning".
test("Firehose's examples of partitions", () => {
  const query = {
    ...{ customer_id: '1234567890', device: 'mobile' },
    ...{ year: '2019', month: '08', day: '09', hour: '20' },
  };
  assert.equal(
    prefixOf(
      {
        prefix:
          'customer_id=!{partitionKeyFromQuery:customer_id}/device=!{partitionKeyFromQuery:device}/year=!{partitionKeyFromQuery:year}/month=!{partitionKeyFromQuery:month}/day=!{partitionKeyFromQuery:day}/hour=!{partitionKeyFromQuery:hour}/',
      },
      { partition: { query, lambda: {} } },
    ),
    'customer_id=1234567890/device=mobile/year=2019/month=08/day=09/hour=20/',
  );
  assert.equal(
    prefixOf(
      {
        prefix:
          'prefix/!{timestamp:yyyy}-!{timestamp:MM}-!{timestamp:dd}/!{partitionKeyFromQuery:customer_id}/',
      },
      {
        oldestArrivalMs: Date.parse('2021-11-01T00:00:00Z'),
        partition: { query: { customer_id: 'customer-1234' }, lambda: {} },
      },
    ),
    'prefix/2021-11-01/customer-1234/',
  );
  assert.equal(
    prefixOf(
      { prefix: '!{partitionKeyFromLambda:customerId}/!{partitionKeyFromQuery:customerId}/' },
      { partition: { query: { customerId: 'q' }, lambda: { customerId: 'l' } } },
    ),
    'l/q/',
  );
});

test('the time zone is that of every time in a key', () => {
  const options = { prefix: '!{timestamp:yyyy/MM/dd/HH}/', timeZone: 'Asia/Tokyo' };
  const oldestArrivalMs = Date.parse('2025-12-31T15:04:05Z');
  assert.match(
    objectKey(compileLayout(options), scope, { ...place, oldestArrivalMs }),
    /^2026\/01\/01\/00\/readings-1-2026-01-01-00-04-05-/,
  );
  // The hour that comes twice in autumn has one folder, and keys that differ.
  const berlin = compileLayout({ timeZone: 'Europe/Berlin' });
  const [first = '', second = ''] = ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z'].map(
    (time, index) =>
      objectKey(berlin, scope, { ...place, from: index, oldestArrivalMs: Date.parse(time) }),
  );
  const stem = '2026/10/25/02/readings-1-2026-10-25-02-30-00-';
  assert.ok(first.startsWith(stem) && second.startsWith(stem));
  assert.notEqual(first, second);
});

test('folders as Hive has them: its names of times and of what partitions are by', () => {
  const at = Date.parse('2026-11-02T03:04:05Z');
  assert.equal(
    prefixOf({ prefix: 'table/', hive: true }, { oldestArrivalMs: at }),
    'table/year=2026/month=11/day=02/hour=03/',
  );
  const partitionBy = { site: 'site', line: 'line' };
  const partition = { query: { site: 'a/b c', line: 'x=1:é%' }, lambda: {} };
  assert.equal(
    prefixOf({ hive: true, partitionBy }, { oldestArrivalMs: at, partition }),
    'site=a%2Fb c/line=x%3D1%3Aé%25/year=2026/month=11/day=02/hour=03/',
  );
  assert.equal(
    prefixOf({ prefix: 'dt=!{timestamp:yyyy-MM-dd}/', hive: true, partitionBy }, { partition }),
    'dt=2018-08-27/site=a%2Fb c/line=x%3D1%3Aé%25/',
  );
  assert.equal(
    prefixOf(
      { prefix: 's=!{partitionKeyFromQuery:site}/', hive: true, partitionBy },
      { partition },
    ),
    's=a%2Fb c/',
  );
});

test('failed records lie below the literal part of the prefix when it is not said where', () => {
  const end = 'processing-failed/2018/08/27/10/';
  assert.equal(errorPrefixOf({ prefix: 'a/b-' }), `a/b-${end}`);
  assert.equal(errorPrefixOf({ prefix: 'a/b-!{timestamp:yyyy}/' }), `a/${end}`);
  assert.equal(errorPrefixOf({ prefix: '!{timestamp:yyyy}/' }), end);
  assert.equal(errorPrefixOf({ errorPrefix: 'bad/' }), `bad/${end}`);
  assert.equal(
    errorPrefixOf({ errorPrefix: 'bad/', hive: true }),
    'bad/processing-failed/year=2018/month=08/day=27/hour=10/',
  );
});

test('the extension is that of the format, or the one that is asked for', () => {
  assert.ok(
    objectKey(compileLayout({}), scope, { ...place, extension: '.parquet' }).endsWith('.parquet'),
  );
  const key = objectKey(compileLayout({ extension: '.json' }), scope, place);
  assert.match(key, /[0-9a-f]{12}\.json$/);
});

test('the same content has the same key, random strings included; any other has another', () => {
  const layout = compileLayout({
    prefix: '!{firehose:random-string}/!{firehose:random-string}/!{partitionKeyFromQuery:a}',
  });
  const partition = { query: { a: '1' }, lambda: {} };
  const key = objectKey(layout, scope, { ...place, partition });
  assert.equal(objectKey(layout, scope, { ...place, partition: { ...partition } }), key);
  const [first, second] = key.split('/');
  assert.notEqual(first, second);
  const others = [
    objectKey(layout, { ...scope, gatewayId: 'box-2' }, { ...place, partition }),
    objectKey(layout, { ...scope, delivery: 'other' }, { ...place, partition }),
    objectKey(layout, { ...scope, version: 4 }, { ...place, partition }),
    ...(['shardId', 'from', 'to', 'streamCreatedMs'] as const).map((name) =>
      objectKey(layout, scope, { ...place, partition, [name]: 5000 }),
    ),
    objectKey(layout, scope, { ...place, partition: { query: { a: '2' }, lambda: {} } }),
  ];
  assert.equal(new Set([key, ...others]).size, others.length + 1);
  const stages = ['processing-failed', 'format-conversion-failed', 'delivery-failed'] as const;
  const failed = stages.map((stage) => errorKey(layout, scope, { ...place, stage }));
  assert.equal(new Set([key, ...failed]).size, stages.length + 1);
});

test('failed records have prefixes with the words of Firehose, each kind apart', () => {
  const keyOf = (prefix: string, stage: FailureStage, hive = false): string =>
    objectKey(compileLayout({ prefix: failedPrefix(prefix, hive), hive }), scope, {
      ...{ ...place, partition: { query: {}, lambda: {}, stage } },
    });
  for (const [stage, word] of [
    ['http-endpoint-failed', 'http-endpoint-failed'],
    ['splunk-failed', 'splunk-failed'],
    ['opensearch-failed', 'AmazonOpenSearchService-failed'],
  ] as const) {
    const begins = (prefix: string, hive = false): string =>
      keyOf(prefix, stage, hive).split('readings-')[0] ?? '';
    assert.equal(begins(''), `${word}/2018/08/27/10/`);
    assert.equal(begins('lost/'), `lost/${word}/2018/08/27/10/`);
    assert.equal(begins('!{firehose:error-output-type}-x/'), `${word}-x/`);
    assert.equal(begins('a-', true), `a-${word}/year=2018/month=08/day=27/hour=10/`);
  }
  const [one, other] = (['processing-failed', 'splunk-failed'] as const).map((stage) =>
    keyOf('!{firehose:error-output-type}/', stage).split('/').at(-1),
  );
  assert.notEqual(one, other);
});

test('values that are the same in the key are of one partition', () => {
  const layout = compileLayout({
    prefix: '!{partitionKeyFromQuery:a}/!{partitionKeyFromLambda:b}/',
  });
  const id = (a: string, b: string): string | null =>
    partitionIdOf(layout, { query: { a }, lambda: { b } });
  assert.equal(id('x/y', 'z'), id('/x//y/', 'z'));
  assert.notEqual(id('x', 'yz'), id('xy', 'z'));
  assert.equal(partitionIdOf(layout, { query: { a: 'x' }, lambda: {} }), null);
  assert.equal(partitionIdOf(layout, { query: {}, lambda: {} }), null);
  const inherited = compileLayout({ prefix: '!{partitionKeyFromQuery:constructor}' });
  assert.equal(partitionIdOf(inherited, { query: {}, lambda: {} }), null);
});
