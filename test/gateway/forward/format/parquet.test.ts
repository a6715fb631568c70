import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { decompress as zstdDecompress } from 'fzstd';
import { parquetMetadata, parquetReadObjects, type Compressors } from 'hyparquet';
import type { FormatOptions } from '../../../../gateway/forward/format/formats.ts';
import type { ShapedRecord } from '../../../../gateway/forward/shape/shaped-record.ts';
import { asParquet, readByDuckDb } from './support/duckdb.ts';
import { encode, randomSlices, shaped } from './support/encode.ts';

const compressors: Compressors = {
  GZIP: (bytes) => gunzipSync(bytes),
  ZSTD: (bytes) => zstdDecompress(bytes),
};

function recordsOf(...rows: readonly (string | Buffer)[]): ShapedRecord[] {
  return rows.map((row, at) => shaped(at, row));
}

function fileOf(content: Buffer): ArrayBuffer {
  return new Uint8Array(content).buffer;
}

async function readByHyparquet(content: Buffer): Promise<readonly Record<string, unknown>[]> {
  return parquetReadObjects({ file: fileOf(content), compressors });
}

const everyType: FormatOptions = {
  type: 'parquet',
  columns: [
    { name: 'flag', type: 'boolean' },
    { name: 'tiny', type: 'tinyint' },
    { name: 'small', type: 'smallint' },
    { name: 'whole', type: 'int' },
    { name: 'big', type: 'bigint' },
    { name: 'single', type: 'float' },
    { name: 'real', type: 'double' },
    { name: 'text', type: 'string' },
    { name: 'day', type: 'date' },
    { name: 'at', type: 'timestamp' },
    { name: 'price', type: 'decimal(9,2)' },
    { name: 'total', type: 'decimal(18,4)' },
    { name: 'exact', type: 'decimal(38,10)' },
    { name: 'any', type: 'json' },
    { name: 'list', type: 'array<int>' },
    { name: 'tags', type: 'map<string,double>' },
    { name: 'place', type: 'struct<lat:double,names:array<struct<lang:string,name:string>>>' },
  ],
};

const full = JSON.stringify({
  ...{ flag: true, tiny: -128, small: 32_767, whole: -2_147_483_648, big: '@big@' },
  ...{ single: 1.5, real: -0.1, text: 'grüß\u0000e 🙂', day: '1969-12-31' },
  ...{ at: '2026-01-02T03:04:05.123456Z', price: -1234567.89, total: '12345678901234.5678' },
  ...{ exact: '@exact@', any: { a: [1, { b: '@big@' }] }, list: [1, null, 3] },
  ...{ tags: { x: 1, y: null }, place: { LAT: 52.5, names: [{ lang: 'de', name: 'Ort' }, null] } },
})
  .replaceAll('"@big@"', '9223372036854775807')
  .replaceAll('"@exact@"', '-1234567890123456789012345678.0123456789');

test('declared columns of every type arrive at DuckDB, nulls among them', async (t) => {
  const records = recordsOf(full, '{}', '{"list": [], "tags": {}, "place": {}}');
  const { object, failed } = await encode(everyType, records);
  assert.deepEqual(failed, []);
  assert.ok(object !== null);
  const read = await readByDuckDb(t, object.content, asParquet);
  if (read === null) return;
  assert.deepEqual(read.types, {
    ...{ flag: 'BOOLEAN', tiny: 'TINYINT', small: 'SMALLINT', whole: 'INTEGER', big: 'BIGINT' },
    ...{ single: 'FLOAT', real: 'DOUBLE', text: 'VARCHAR', day: 'DATE' },
    ...{ at: 'TIMESTAMP WITH TIME ZONE', price: 'DECIMAL(9,2)', total: 'DECIMAL(18,4)' },
    ...{ exact: 'DECIMAL(38,10)', any: 'JSON', list: 'INTEGER[]', tags: 'MAP(VARCHAR, DOUBLE)' },
    place: 'STRUCT(lat DOUBLE, "names" STRUCT(lang VARCHAR, "name" VARCHAR)[])',
  });
  const [first, second, third] = read.rows;
  assert.deepEqual(first, {
    ...{ flag: true, tiny: -128, small: 32_767, whole: -2_147_483_648 },
    ...{ big: '9223372036854775807', single: 1.5, real: -0.1, text: 'grüß\u0000e 🙂' },
    ...{ day: '1969-12-31', at: '2026-01-02 03:04:05.123456+00', price: '-1234567.89' },
    ...{ total: '12345678901234.5678', exact: '-1234567890123456789012345678.0123456789' },
    any: '{"a":[1,{"b":9223372036854775807}]}',
    list: [1, null, 3],
    tags: [
      { key: 'x', value: 1 },
      { key: 'y', value: null },
    ],
    place: { lat: 52.5, names: [{ lang: 'de', name: 'Ort' }, null] },
  });
  assert.ok(second !== undefined && third !== undefined);
  assert.deepEqual(new Set(Object.values(second)), new Set([null]));
  assert.deepEqual([third['list'], third['tags']], [[], []]);
  assert.deepEqual(third['place'], { lat: null, names: null });
  assert.equal(third['flag'], null);
});

test('declared columns of every type arrive at another reader', async () => {
  const { object } = await encode(everyType, recordsOf(full, '{}'));
  assert.ok(object !== null);
  const [first, second] = await readByHyparquet(object.content);
  const { any, exact, price, total, single, at, day, place, ...rest } = first ?? {};
  assert.deepEqual(rest, {
    ...{ flag: true, tiny: -128, small: 32_767, whole: -2_147_483_648 },
    ...{ big: 9223372036854775807n, real: -0.1, text: 'grüß\u0000e 🙂' },
    ...{ list: [1, null, 3], tags: { x: 1, y: null } },
  });
  assert.deepEqual(place, { lat: 52.5, names: [{ lang: 'de', name: 'Ort' }, undefined] });
  assert.equal(single, 1.5);
  assert.equal((at as Date).toISOString(), '2026-01-02T03:04:05.123Z');
  assert.equal((day as Date).toISOString(), '1969-12-31T00:00:00.000Z');
  // It reads decimals as doubles, and JSON as JavaScript does.
  assert.equal(Number(price).toFixed(2), '-1234567.89');
  assert.equal(Number(total).toFixed(1), '12345678901234.6');
  assert.equal(Math.round(Number(exact) / 1e15), -1234567890123);
  assert.deepEqual(any, { a: [1, { b: 2 ** 63 }] });
  assert.deepEqual(new Set(Object.values(second ?? {})), new Set([null, undefined]));
});

test('columns that are not declared are learnt from all records of the object', async (t) => {
  const { object, failed } = await encode(
    { type: 'parquet' },
    recordsOf(
      '{"flag":true, "n":1, "mixed":1, "half":1, "s":"2026-01-02T03:04:05Z", "nothing":null}',
      '{"FLAG":false, "n":9007199254740993, "mixed":"a", "half":0.5, "o":{"n":1.10}, "l":[]}',
      '{"n":-9223372036854775808, "mixed":true, "o":"text", "late":"x", "beyond":9223372036854775808}',
      '{}',
    ),
  );
  assert.deepEqual(failed, []);
  assert.equal(object?.records, 4);
  const read = await readByDuckDb(t, object.content, asParquet);
  if (read === null) return;
  assert.deepEqual(read.types, {
    ...{ flag: 'BOOLEAN', n: 'BIGINT', mixed: 'VARCHAR', half: 'DOUBLE', s: 'VARCHAR' },
    ...{ nothing: 'VARCHAR', o: 'JSON', l: 'JSON', late: 'VARCHAR', beyond: 'DOUBLE' },
  });
  const column = (name: string): unknown[] => read.rows.map((row) => row[name]);
  assert.deepEqual(column('flag'), [true, false, null, null]);
  assert.deepEqual(column('n'), ['1', '9007199254740993', '-9223372036854775808', null]);
  assert.deepEqual(column('mixed'), ['1', 'a', 'true', null]);
  assert.deepEqual(column('half'), [1, 0.5, null, null]);
  assert.deepEqual(column('s'), ['2026-01-02T03:04:05Z', null, null, null]);
  assert.deepEqual(column('nothing'), [null, null, null, null]);
  assert.deepEqual(column('o'), [null, '{"n":1.1}', '"text"', null]);
  assert.deepEqual(column('beyond'), [null, null, 2 ** 63, null]);
});

test('keys find their columns by name, by mapping, and regardless of case and dots', async () => {
  const content = '{"ts":1, "Temp":2, "a.b":3, "other":4}';
  const columns = [
    { name: 'time', type: 'bigint', from: 'ts' },
    { name: 'TEMP', type: 'int' },
    { name: 'a_b', type: 'int' },
  ];
  const rowsOf = async (options: Partial<FormatOptions>): Promise<unknown> => {
    const { object } = await encode({ type: 'parquet', ...options }, recordsOf(content));
    return object === null ? null : readByHyparquet(object.content);
  };
  assert.deepEqual(await rowsOf({ columns, dotsToUnderscores: true }), [
    { time: 1n, TEMP: 2, a_b: 3 },
  ]);
  assert.deepEqual(await rowsOf({ columns, ignoreCase: false }), [
    { time: 1n, TEMP: null, a_b: null },
  ]);
  assert.deepEqual(await rowsOf({ dotsToUnderscores: true }), [
    { ts: 1n, Temp: 2n, a_b: 3n, other: 4n },
  ]);
});

test('an envelope is a row', async () => {
  const records = recordsOf('{"v":1}', Buffer.of(0xff));
  const source = { record: 'envelope', shardIndex: 2 } as const;
  const { object, failed } = await encode({ type: 'parquet' }, records, source);
  assert.deepEqual(failed, []);
  const rows = await readByHyparquet(object?.content ?? Buffer.alloc(0));
  const shard = 'shardId-000000000002';
  assert.deepEqual(rows, [
    {
      ...{ shard, sequence: 0n, partitionKey: 'key-0', arrival: '2026-01-02T03:04:05.000Z' },
      ...{ data: { v: 1 }, dataBase64: null },
    },
    {
      ...{ shard, sequence: 1n, partitionKey: 'key-1', arrival: '2026-01-02T03:04:05.001Z' },
      ...{ data: null, dataBase64: '/w==' },
    },
  ]);
});

test('what is no row fails with its code, and the others arrive', async () => {
  const columns = [
    { name: 'n', type: 'int' },
    { name: 'at', type: 'timestamp' },
    { name: 's', type: 'struct<a:int>' },
  ];
  const records = recordsOf(
    '{"n":1}',
    'rubbish',
    '{"n":1}{"n":2}',
    '[{"n":1}]',
    '"text"',
    '12345678901234567890',
    Buffer.from('{"n":1,"x":"\xff"}', 'latin1'),
    '',
    '{"n":1.5}',
    '{"n":2147483648}',
    '{"n":"x"}',
    '{"at":"2026-02-30"}',
    '{"s":[]}',
    '{"s":{"a":{}}}',
    '{"n":2}',
  );
  const { object, failed } = await encode({ type: 'parquet', columns }, records);
  assert.equal(object?.records, 2);
  assert.deepEqual(
    (await readByHyparquet(object.content)).map(({ n }) => n),
    [1, 2],
  );
  assert.equal(object.plainBytes, 2 * '{"n":1}'.length);
  const found = failed.map(({ record, stage, errorCode, errorMessage, attempts }) => {
    assert.deepEqual([stage, attempts], ['format-conversion-failed', 1]);
    assert.equal(record, records[record.sequence]);
    return [record.sequence, errorCode.replace('DataFormatConversion.', ''), errorMessage];
  });
  const shape = found.map(([sequence, code]) => [sequence, code]);
  assert.deepEqual(shape, [
    ...[1, 2].map((at) => [at, 'ParseError']),
    ...[3, 4, 5].map((at) => [at, 'MalformedData']),
    ...[6, 7].map((at) => [at, 'ParseError']),
    ...[8, 9, 10, 11, 12, 13].map((at) => [at, 'MalformedData']),
  ]);
  assert.equal(found[7]?.[2], '"n" is no integer of 32 bits: 1.5');
  assert.equal(found[10]?.[2], '"at" is no time: "2026-02-30"');
  assert.equal(found[12]?.[2], '"s" is no integer of 32 bits: {}');
});

test('an object of which no record fits is none', async () => {
  for (const columns of [[], [{ name: 'a', type: 'int' }]]) {
    const options = { type: 'parquet', columns } as const;
    const { object, failed } = await encode(options, recordsOf('rubbish', '[]'));
    assert.equal(object, null);
    assert.equal(failed.length, 2);
  }
});

test('empty objects are rows too', async () => {
  const { object } = await encode({ type: 'parquet' }, recordsOf('{}', '{}'));
  assert.deepEqual(await readByHyparquet(object?.content ?? Buffer.alloc(0)), [
    { _: null },
    { _: null },
  ]);
  const csv = await encode({ type: 'csv', compression: 'none' }, recordsOf('{}', '{}'));
  assert.equal(String(csv.object?.content), '_\r\n""\r\n""\r\n');
});

test('hostile records harm nobody but themselves', async (t) => {
  const deep = (open: string, close: string, count: number): string =>
    `{"d":${open.repeat(count)}${close.repeat(count)}}`;
  const wide = JSON.stringify(
    Object.fromEntries(Array.from({ length: 1_001 }, (_, at) => [`column${at}`, at])),
  );
  const records = recordsOf(
    '{"d":1e400, "__proto__":{"x":1}, "constructor":5}',
    deep('[', ']', 100_000),
    deep('{"a":', '}', 100).replace('{}', '{"a":1}').replace('"a":}', '"a":1}'),
    wide,
    JSON.stringify({ long: 'é'.repeat(2 ** 20), d: 5e-324 }),
    '{"d":"\\ud800 \\u0000n5 \\\\ud800", "":1}',
    `{"long":${'9'.repeat(5_000)}}`,
    '{"n":0.1234567890123456789}',
  );
  const { object, failed } = await encode({ type: 'parquet' }, records);
  const failures = failed.map(({ record, errorMessage }) => [record.sequence, errorMessage]);
  assert.deepEqual(failures, [
    [1, 'The record is nested deeper than 500'],
    [3, 'The record brings the columns of the object to more than 1000'],
  ]);
  assert.ok(object !== null);
  const read = await readByDuckDb(t, object.content, asParquet);
  if (read === null) return;
  const column = (name: string): unknown[] => read.rows.map((row) => row[name]);
  assert.equal(String(column('d')[0]), '1e400');
  assert.deepEqual(await read.ask('SELECT "__proto__" AS p FROM FILE LIMIT 1'), [{ p: '{"x":1}' }]);
  assert.deepEqual(column('constructor').slice(0, 1), ['5']);
  assert.equal((column('long')[2] as string).length, 2 ** 20);
  assert.equal(column('long')[4], '9'.repeat(5_000));
  assert.equal(column('d')[3], '"\ufffd \\u0000n5 \\\\ud800"');
});

test('row groups, pages and compressions are as configured', async (t) => {
  const records = Array.from({ length: 40_000 }, (_, at) =>
    shaped(at, JSON.stringify({ at, text: `${at}`.repeat(10), odd: at % 2 === 1 || null })),
  );
  for (const compression of ['none', 'gzip', 'snappy', 'zstd', null] as const) {
    const { object } = await encode(
      { type: 'parquet', compression, rowGroupBytes: 2 ** 20, pageBytes: 64 * 1024 },
      randomSlices(records, 5),
    );
    assert.ok(object !== null);
    const metadata = parquetMetadata(fileOf(object.content));
    const codecs = new Set(
      metadata.row_groups.flatMap(({ columns }) =>
        columns.map((column) => column.meta_data?.codec),
      ),
    );
    const names = { none: 'UNCOMPRESSED', gzip: 'GZIP', snappy: 'SNAPPY', zstd: 'ZSTD' };
    assert.deepEqual(codecs, new Set([names[compression ?? 'snappy']]));
    assert.equal(metadata.row_groups.length, 4, `${compression}`);
    assert.equal(metadata.created_by, 'headgate');
    const rows = await readByHyparquet(object.content);
    rows.forEach((row, at) => {
      assert.deepEqual(row, {
        at: BigInt(at),
        text: `${at}`.repeat(10),
        odd: at % 2 === 1 || null,
      });
    });
    const read = await readByDuckDb(t, object.content, asParquet);
    if (read === null) return;
    const [sums] = await read.ask(
      'SELECT count(*) AS rows, sum("at") AS "at", count(odd) AS odd, count(DISTINCT text) AS texts FROM FILE',
    );
    assert.deepEqual(sums, { rows: '40000', at: '799980000', odd: '20000', texts: '40000' });
  }
});

test('the same records are the same bytes, however they are divided', async () => {
  const records = Array.from({ length: 2_000 }, (_, at) =>
    shaped(at, at % 50 === 3 ? 'rubbish' : JSON.stringify({ at, [`k${at % 7}`]: at / 3 })),
  );
  const declared = [{ name: 'at', type: 'bigint' }, { name: 'k1' }];
  for (const columns of [[], declared]) {
    const options: FormatOptions = { type: 'parquet', columns };
    const whole = await encode(options, [records]);
    assert.equal(whole.failed.length, 40);
    for (const seed of [1, 2, 3]) {
      const sliced = await encode(options, randomSlices(records, seed));
      assert.equal(sliced.object?.sha256, whole.object?.sha256);
      assert.deepEqual(sliced.failed, whole.failed);
    }
  }
});

test('more than is kept parsed arrives all the same', async (t) => {
  const filler = 'x'.repeat(5_000);
  const records = Array.from({ length: 4_000 }, (_, at) =>
    shaped(
      at,
      at === 100 ? '[]' : JSON.stringify({ at, filler, ...(at === 3_999 && { last: 1 }) }),
    ),
  );
  const { object, failed } = await encode({ type: 'parquet' }, randomSlices(records, 8));
  assert.deepEqual(
    failed.map(({ record }) => record.sequence),
    [100],
  );
  const read = await readByDuckDb(t, object?.content ?? Buffer.alloc(0), asParquet);
  if (read === null) return;
  const [sums] = await read.ask(
    'SELECT count(*) AS rows, sum("at") AS "at", sum("last") AS "last", min(length(filler)) AS filler FROM FILE',
  );
  assert.deepEqual(sums, { rows: '3999', at: '7997900', last: '1', filler: '5000' });
});
