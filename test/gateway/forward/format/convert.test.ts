import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { parquetReadObjects } from 'hyparquet';
import { parseColumnType } from '../../../../gateway/forward/format/rows/column-type.ts';
import type { ColumnsOptions } from '../../../../gateway/forward/format/rows/columns.ts';
import { converterOf, Misfit } from '../../../../gateway/forward/format/rows/convert.ts';
import { CsvWriter } from '../../../../gateway/forward/format/rows/csv.ts';
import { ParquetRowWriter } from '../../../../gateway/forward/format/rows/parquet.ts';
import { jsonText, parseExactly } from '../../../../gateway/forward/format/rows/parse.ts';
import { Table } from '../../../../gateway/forward/format/rows/table.ts';
import { seededRandom } from '../../../storage/support/open.ts';

/** What becomes of JSON in a column; `Misfit`: nothing does. */
function converted(type: string, json: string): unknown {
  try {
    return converterOf(parseColumnType(type), (name) => name)(parseExactly(json));
  } catch (error) {
    if (error instanceof Misfit) return Misfit;
    throw error;
  }
}

function check(type: string, cases: readonly (readonly [json: string, expected: unknown])[]): void {
  for (const [json, expected] of cases) {
    assert.deepEqual(converted(type, json), expected, `${json} as ${type}`);
  }
}

test('null is null in every column', () => {
  for (const type of ['boolean', 'int', 'decimal(3,1)', 'date', 'json', 'array<int>']) {
    assert.equal(converted(type, 'null'), null);
  }
});

test('integers of their sizes, also in texts, and nothing else', () => {
  check('tinyint', [
    ['127', 127],
    ['-128', -128],
    ['128', Misfit],
    ['"12"', 12],
    ['1.0', 1],
    ['1e2', 100],
    ['-0', 0],
    ['1.5', Misfit],
    ['true', Misfit],
    ['""', Misfit],
    ['"0x10"', Misfit],
    ['[]', Misfit],
  ]);
  check('bigint', [
    ['9223372036854775807', 2n ** 63n - 1n],
    ['-9223372036854775808', -(2n ** 63n)],
    ['9223372036854775808', Misfit],
    ['"9007199254740993"', 9007199254740993n],
    ['1e18', 10n ** 18n],
    ['1e400', Misfit],
    ['0e9999', 0n],
    ['1234567890123456.0', 1234567890123456n],
    ['0.1', Misfit],
  ]);
});

test('decimals digit by digit, rounded where there are too many', () => {
  check('decimal(5,2)', [
    ['999.99', 99999n],
    ['999.995', Misfit],
    ['1000', Misfit],
    ['0.005', 1n],
    ['-0.005', -1n],
    ['0.00499999999999999999', 0n],
    ['"12.3"', 1230n],
    ['1e-9999', 0n],
    ['1e9999', Misfit],
    ['"."', Misfit],
    ['"abc"', Misfit],
  ]);
  check('decimal(38,0)', [['99999999999999999999999999999999999999', 10n ** 38n - 1n]]);
});

test('doubles and truth, in texts too', () => {
  check('double', [
    ['1', 1],
    ['0.1234567890123456789', 0.12345678901234568],
    ['"-1.5e3"', -1500],
    ['"."', Misfit],
    ['""', Misfit],
    ['"1x"', Misfit],
    ['{}', Misfit],
  ]);
  check('boolean', [
    ['true', true],
    ['"FALSE"', false],
    ['1', Misfit],
    ['"yes"', Misfit],
  ]);
});

test('anything is a text, and any JSON stays what it is', () => {
  check('string', [
    ['"a"', 'a'],
    ['1.50', '1.5'],
    ['12345678901234567890', '12345678901234567890'],
    ['false', 'false'],
    ['{"a":[1,"x"]}', '{"a":[1,"x"]}'],
  ]);
  check('json', [
    ['"a"', '"a"'],
    ['{"n":1.23456789012345678901,"s":"\\u0000"}', '{"n":1.23456789012345678901,"s":"\\u0000"}'],
    ['["\\ud800","\\\\ud800","\\ud83d\\ude42"]', '["\ufffd","\\\\ud800","🙂"]'],
  ]);
});

test('times as Firehose takes them, to the microsecond', () => {
  const at = BigInt(Date.UTC(2017, 1, 7, 15, 13, 1)) * 1000n;
  check('timestamp', [
    ['"2017-02-07T15:13:01Z"', at],
    ['"2017-02-07T15:13:01.392Z"', at + 392_000n],
    ['"2017-02-07T15:13:01.39256Z"', at + 392_560n],
    ['"2017-02-07T15:13:01.123456789Z"', at + 123_456n],
    ['"2017-2-7 15:13:01.14"', at + 140_000n],
    ['"2017-02-07T16:13:01+01:00"', at],
    ['"2017-02-07T10:43:01-0430"', at],
    ['1486480381', at],
    ['1486480381000', at],
    ['1486480381.5', at + 500_000n],
    ['"1486480381"', at],
    ['"2017-02-28T00:00:00Z"', BigInt(Date.UTC(2017, 1, 28)) * 1000n],
    ['"2016-02-29"', BigInt(Date.UTC(2016, 1, 29)) * 1000n],
    ['"1969-12-31T23:59:59.999999Z"', -1n],
    ['"0001-01-01T00:00:00Z"', -62135596800000000n],
    ['"9999-12-31T23:59:59.999999Z"', 253402300799999999n],
    ['"2017-02-29T00:00:00Z"', Misfit],
    ['"2017-02-07T24:00:00Z"', Misfit],
    ['"2017-02-07T15:60:00Z"', Misfit],
    ['"2017-02-07T15:13:01+24:00"', Misfit],
    ['"0000-01-01T00:00:00Z"', Misfit],
    ['1e300', Misfit],
    ['"tomorrow"', Misfit],
    ['true', Misfit],
  ]);
  check('date', [
    ['"1970-01-02"', 1],
    ['"1969-12-31T23:00:00Z"', -1],
    ['"2024-02-30"', Misfit],
    ['0', Misfit],
  ]);
});

test('every time of a year comes out as it went in', () => {
  const random = seededRandom(11);
  for (let count = 0; count < 5_000; count += 1) {
    const ms = Math.floor(random() * Date.UTC(2300, 0, 1));
    const text = new Date(ms).toISOString();
    assert.equal(converted('timestamp', `"${text}"`), BigInt(ms) * 1000n, text);
  }
});

test('JSON is printed as it was parsed, whatever its numbers', () => {
  const random = seededRandom(3);
  const numbers = [
    '1',
    '-0.5',
    '12345678901234567890',
    '1e400',
    '-1.00000000000000000001',
    '1E+999',
  ];
  const texts = [
    '"a"',
    '"\\u0000"',
    '"\\u00001234567890123456"',
    '"12345678901234567890"',
    '"\\\\"',
  ];
  const value = (depth: number): string => {
    const pick = Math.floor(random() * (depth > 3 ? 2 : 4));
    const some = Array.from({ length: Math.floor(random() * 4) }, () => depth + 1);
    if (pick === 0) return numbers[Math.floor(random() * numbers.length)] ?? '';
    if (pick === 1) return texts[Math.floor(random() * texts.length)] ?? '';
    if (pick === 2) return `[${some.map(value).join(',')}]`;
    return `{${some.map((inner, at) => `"k${at}":${value(inner)}`).join(',')}}`;
  };
  for (let count = 0; count < 3_000; count += 1) {
    const text = value(0);
    assert.equal(jsonText(parseExactly(text)), text);
  }
});

test('random rubbish in random columns never breaks an object', async () => {
  const types = [
    ...['boolean', 'tinyint', 'int', 'bigint', 'float', 'double', 'string', 'date', 'timestamp'],
    ...['decimal(5,2)', 'decimal(15,3)', 'decimal(30,5)', 'json', 'array<array<bigint>>', null],
    ...['map<string,timestamp>', 'struct<a:int,b:struct<c:array<string>>>', null],
  ];
  const values = [
    ...[
      'null',
      'true',
      '0',
      '-1.5',
      '12345678901234567890',
      '1e999',
      '""',
      '"1"',
      '"x"',
      '[]',
      '{}',
    ],
    ...['"2026-01-02T03:04:05Z"', '[[1,null],[]]', '{"a":1,"b":{"c":["x",null]}}', '{"k":0}'],
    ...['"\\ud800"', '"\\u0000"', '[', '"🙂"', '{"__proto__":null}', '{"a":{"toString":1}}'],
  ];
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = seededRandom(seed);
    const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const columns = Array.from({ length: Math.floor(random() * 6) }, (_, at) => ({
      name: `c${at}`,
      type: one(types),
    }));
    const options: ColumnsOptions = {
      ...{ columns, ignoreCase: random() < 0.5, dotsToUnderscores: random() < 0.5 },
      learnsTypes: true,
    };
    const records = Array.from({ length: 200 }, () => {
      const keys = Array.from({ length: Math.floor(random() * 6) }, () =>
        one(['c0', 'C1', 'c2', 'a.b', 'c3', '']),
      );
      return Buffer.from(`{${keys.map((key) => `"${key}":${one(values)}`).join(',')}}`);
    });
    const chunk = {
      bytes: Buffer.concat(records),
      lengths: Uint32Array.from(records, ({ length }) => length),
    };
    const pieces: Uint8Array[] = [];
    const parquet = new Table(
      options,
      new ParquetRowWriter(
        { compression: 'gzip', rowGroupBytes: 1_000, pageBytes: 500 },
        (bytes) => bytes,
        (piece) => pieces.push(piece),
      ),
    );
    const failures = parquet.add(chunk);
    parquet.end();
    assert.equal(parquet.rows + failures.length, records.length);
    if (parquet.rows === 0) continue;
    const file = new Uint8Array(Buffer.concat(pieces)).buffer;
    const rows = await parquetReadObjects({
      file,
      compressors: { GZIP: (bytes) => gunzipSync(bytes) },
    });
    assert.equal(rows.length, parquet.rows);
    const csv = new Table(
      { ...options, learnsTypes: false },
      new CsvWriter({ delimiter: ',', header: true }, () => undefined),
    );
    csv.add(chunk);
    csv.end();
    assert.ok(csv.rows >= parquet.rows);
  }
});
