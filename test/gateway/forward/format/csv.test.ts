import { parse } from 'csv-parse/sync';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FormatOptions } from '../../../../gateway/forward/format/formats.ts';
import { readByDuckDb } from './support/duckdb.ts';
import { encode, randomSlices, shaped } from './support/encode.ts';

const csv: FormatOptions = { type: 'csv', compression: 'none' };

async function written(options: FormatOptions, ...rows: readonly string[]): Promise<string> {
  const { object } = await encode(
    options,
    rows.map((row, at) => shaped(at, row)),
  );
  return String(object?.content);
}

test('a line for the names, and one for each record', async () => {
  assert.equal(
    await written(
      csv,
      '{"b":1.10,"a":12345678901234567890,"t":"x"}',
      '{"a":null,"B":true,"n":{"x":[1,1e400]}}',
      '{"t":""}',
    ),
    'b,a,t,n\r\n1.1,12345678901234567890,x,\r\ntrue,,,"{""x"":[1,1e400]}"\r\n,,"",\r\n',
  );
});

test('without the names, with another delimiter, and with columns of ones choice', async () => {
  const options = {
    ...csv,
    header: false,
    delimiter: ';',
    columns: [{ name: 'b' }, { name: 'a', from: 'x.y' }],
  };
  assert.equal(await written(options, '{"x.y":"1;2","b":"1,2","c":3}', '{}'), '1,2;"1;2"\r\n;\r\n');
  assert.equal(await written({ ...csv, delimiter: ']' }, '{"a":"]","b":"^"}'), 'a]b\r\n"]"]^\r\n');
});

test('a row of nothing is no empty line', async () => {
  assert.equal(await written(csv, '{"a":1}', '{"a":null}'), 'a\r\n1\r\n""\r\n');
});

test('declared types are printed in one way, and checked', async () => {
  const columns = [
    { name: 'at', type: 'timestamp' },
    { name: 'day', type: 'date' },
    { name: 'price', type: 'decimal(6,3)' },
    { name: 'n', type: 'bigint' },
    { name: 'j', type: 'json' },
    {
      name: 'all',
      type: 'struct<t:array<timestamp>,m:map<string,decimal(4,2)>,n:bigint,d:date,j:json,s:string>',
    },
  ];
  const records = [
    '{"at":1518033528.5,"day":"2026-1-2","price":"-1.23449","n":"7","j":"x",' +
      '"all":{"t":[0,null],"m":{"a":1},"n":9007199254740993,"d":"1970-01-02","j":{"k":1},"s":2}}',
    '{"at":"1950-01-01T00:00:00.000001Z","price":0,"all":{}}',
    '{"price":1000}',
    '{"at":"soon"}',
  ].map((row, at) => shaped(at, row));
  const { object, failed } = await encode({ ...csv, columns }, records);
  assert.deepEqual(
    failed.map(({ record, errorMessage }) => [record.sequence, errorMessage]),
    [
      [2, '"price" is no decimal(6,3): 1000'],
      [3, '"at" is no time: "soon"'],
    ],
  );
  const [, first, second] = parse(object?.content ?? '');
  assert.deepEqual(first, [
    '2018-02-07T19:58:48.500000Z',
    '2026-01-02',
    '-1.234',
    '7',
    '"x"',
    '{"t":["1970-01-01T00:00:00Z",null],"m":{"a":1.00},"n":9007199254740993,' +
      '"d":"1970-01-02","j":{"k":1},"s":"2"}',
  ]);
  assert.deepEqual(second, [
    ...['1950-01-01T00:00:00.000001Z', '', '0.000', '', ''],
    '{"t":null,"m":null,"n":null,"d":null,"j":null,"s":null}',
  ]);
});

test('texts of all kinds come back from two readers as they were', async (t) => {
  const texts = [
    ...['plain', '', ' ', ' a ', '"', '""', 'a"b', ',', '\n', '\r', '\r\n', 'a\nb', 'grüß 🙂', "'"],
    ...['=1+1', 'null', '\\', '\\"', '\t', 'x'.repeat(2 ** 20), '"'.repeat(1000), ';', '#'],
  ];
  const records = texts.map((text, at) => shaped(at, JSON.stringify({ at, text, end: 1 })));
  const { object } = await encode(csv, records);
  const content = object?.content ?? Buffer.alloc(0);
  const read = parse<{ at: string; text: string; end: string }>(content, { columns: true });
  assert.deepEqual(
    read,
    texts.map((text, at) => ({ at: String(at), text, end: '1' })),
  );
  const byDuckDb = await readByDuckDb(
    t,
    content,
    (file) =>
      `read_csv(${file}, header = true, all_varchar = true, delim = ',', quote = '"', escape = '"', allow_quoted_nulls = false, max_line_size = 4194304)`,
  );
  if (byDuckDb === null) return;
  texts.forEach((text, at) => {
    assert.ok(byDuckDb.rows[at]?.['text'] === text, `${at}: ${text.slice(0, 20)}`);
  });
});

test('the same records are the same bytes, however they are divided', async () => {
  const records = Array.from({ length: 3_000 }, (_, at) =>
    shaped(at, at % 97 === 3 ? '[' : JSON.stringify({ at, [`k${at % 7}`]: `"${at}` })),
  );
  for (const columns of [[], [{ name: 'k3' }, { name: 'at', type: 'int' }]]) {
    for (const compression of ['none', 'gzip', 'zip', 'snappy', 'hadoop-snappy', 'zstd'] as const) {
      const options = { ...csv, columns, compression };
      const whole = await encode(options, [records]);
      const sliced = await encode(options, randomSlices(records, 9));
      assert.equal(sliced.object?.sha256, whole.object?.sha256);
      assert.deepEqual(sliced.failed, whole.failed);
      assert.equal(whole.failed.length, 31);
    }
  }
});
