/** What COPY is told of objects is what they are: made by the formats, loaded as they say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FormatOptions } from '../../../../gateway/forward/format/formats.ts';
import {
  copyOptions,
  copyProblem,
} from '../../../../gateway/forward/sinks/redshift/copy-options.ts';
import { encode, shaped } from '../format/support/encode.ts';
import { needsPostgres } from '../support/postgres.ts';
import { loadOf, openRig } from '../support/redshift-rig.ts';
import { uploadOf } from '../support/uploads.ts';

const never = new AbortController().signal;
const columns = [
  { name: 'number', type: 'int' },
  { name: 'the text', type: 'string' },
  { name: 'at', type: 'timestamp' },
] as const;

const formats: readonly (readonly [FormatOptions, string])[] = [
  [{ type: 'ndjson' }, "JSON 'auto' TIMEFORMAT 'auto' GZIP"],
  [{ type: 'ndjson', compression: 'none' }, "JSON 'auto' TIMEFORMAT 'auto'"],
  [{ type: 'ndjson', compression: 'zstd' }, "JSON 'auto' TIMEFORMAT 'auto' ZSTD"],
  [{ type: 'csv', columns }, "CSV IGNOREHEADER 1 TIMEFORMAT 'auto' GZIP"],
  [
    { type: 'csv', columns, header: false, delimiter: ';', compression: 'none' },
    "CSV DELIMITER ';' TIMEFORMAT 'auto'",
  ],
  [
    { type: 'csv', columns, delimiter: '\t', compression: 'zstd' },
    "CSV DELIMITER '\\011' IGNOREHEADER 1 TIMEFORMAT 'auto' ZSTD",
  ],
  [
    { type: 'csv', columns, delimiter: '\\' },
    "CSV DELIMITER '\\134' IGNOREHEADER 1 TIMEFORMAT 'auto' GZIP",
  ],
  [{ type: 'parquet', columns }, 'FORMAT AS PARQUET'],
];

test('objects of every format are loaded without a word of how', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  await rig.administrator.query('ALTER TABLE "Read ""ings" ADD COLUMN at TIMESTAMP');
  const sink = rig.sink();
  const texts = ['plain', 'a;b,c\td\\e "f"\n', 'ü', null];
  for (const [index, [format, options]] of formats.entries()) {
    const records = texts.map((text, at) =>
      shaped(at, JSON.stringify({ number: at, 'the text': text, at: '2026-02-03T04:05:06.5Z' })),
    );
    const { object, failed } = await encode(format, records);
    assert.ok(object !== null && failed.length === 0);
    const key = `plant/of-format-${index}`;
    await sink.staging.put(uploadOf(key, object.content), never);
    const load = loadOf([{ key, sizeBytes: object.sizeBytes, records: object.records }]);
    const reading = { columns: ['number', 'the text', 'at'], options: '' };
    await sink.load({ ...load, format, reading }, never);
    const { rows } = await rig.administrator.query(
      'DELETE FROM "Read ""ings" RETURNING number, "the text" AS text, at::TEXT AS at',
    );
    assert.deepEqual(
      rows,
      texts.map((text, number) => ({ number, text, at: '2026-02-03 04:05:06.5' })),
      options,
    );
    const [copy = ''] = rig.redshift.copies.slice(-1);
    assert.ok(copy.endsWith(` MANIFEST ${options}`), copy);
  }
});

test('what is configured stands on top of what the format says, or in its place', () => {
  const cases: readonly (readonly [FormatOptions, string, string])[] = [
    [{ type: 'ndjson' }, ' TRUNCATECOLUMNS ', "JSON 'auto' TIMEFORMAT 'auto' GZIP TRUNCATECOLUMNS"],
    [
      { type: 'ndjson' },
      "FORMAT AS JSON 'auto ignorecase' gzip",
      "TIMEFORMAT 'auto' FORMAT AS JSON 'auto ignorecase' gzip",
    ],
    [
      { type: 'ndjson', compression: 'none' },
      "JSON 's3://b/csv/gzip.json' TIMEFORMAT 'epochsecs'",
      "JSON 's3://b/csv/gzip.json' TIMEFORMAT 'epochsecs'",
    ],
    [
      { type: 'csv', columns },
      'ignoreheader as 1 EMPTYASNULL',
      "CSV TIMEFORMAT 'auto' GZIP ignoreheader as 1 EMPTYASNULL",
    ],
    [{ type: 'parquet', columns }, 'STATUPDATE OFF', 'FORMAT AS PARQUET STATUPDATE OFF'],
    [{ type: 'raw', compression: 'none' }, '', ''],
    [{ type: 'raw' }, "DELIMITER '|'", "GZIP DELIMITER '|'"],
    [{ type: 'raw' }, "JSON 'auto' GZIP", "JSON 'auto' GZIP"],
  ];
  for (const [format, options, expected] of cases) {
    assert.equal(copyOptions(format, options), expected);
    assert.equal(copyProblem(format, { columns: null, options }), null, options);
  }
});

test('what contradicts the format, or would lose records, is refused by name', () => {
  const key = /^to\.redshift\.copyOptions/;
  const cases: readonly (readonly [FormatOptions, string, RegExp])[] = [
    [{ type: 'ndjson' }, 'CSV', /CSV, and the delivery's format\.type is ndjson/],
    [{ type: 'ndjson' }, "DELIMITER '|'", /DELIMITER, and the delivery's format\.type is ndjson/],
    [{ type: 'ndjson' }, 'ZSTD', /ZSTD, and the delivery's format\.compression is gzip/],
    [{ type: 'raw', compression: 'none' }, 'gzip', /GZIP, and .*compression is none/],
    [{ type: 'raw' }, 'FORMAT PARQUET', /PARQUET, and .*type is raw/],
    [{ type: 'parquet', columns }, 'GZIP', /compressed within/],
    [{ type: 'csv', columns }, "DELIMITER ';'", /which format\.delimiter says/],
    [{ type: 'csv', columns }, 'IGNOREHEADER 2', /leaves out records/],
    [{ type: 'csv', columns, header: false }, 'IGNOREHEADER 1', /leaves out records/],
    [{ type: 'raw' }, "NULL AS 'IGNOREHEADER 1' IGNOREHEADER 1", /leaves out records/],
    [{ type: 'ndjson' }, 'maxerror 10', /MAXERROR, which leaves rows out/],
    [{ type: 'ndjson' }, 'NOLOAD', /NOLOAD, which loads nothing/],
    [{ type: 'ndjson' }, "REGION 'eu-west-1'", /REGION: to\.redshift\.staging\.region/],
    [{ type: 'ndjson' }, 'MANIFEST', /MANIFEST: every load has one/],
  ];
  for (const [format, options, message] of cases) {
    const problem = copyProblem(format, { columns: null, options });
    assert.match(problem?.key ?? '', key, options);
    assert.match(problem?.message ?? '', message);
    assert.throws(() => copyOptions(format, options), { code: 'missing', retryable: false });
  }
  const keyOf = (format: FormatOptions, names: readonly string[] | null = null) =>
    copyProblem(format, { columns: names, options: '' })?.key;
  for (const compression of ['zip', 'snappy', 'hadoop-snappy'] as const) {
    assert.equal(keyOf({ type: 'ndjson', compression }), 'format.compression');
  }
  assert.equal(keyOf({ type: 'parquet', columns, compression: 'snappy' }), undefined);
  assert.equal(keyOf({ type: 'csv', columns, delimiter: '§' }), 'format.delimiter');
  assert.equal(keyOf({ type: 'csv' }), 'format.columns');
  assert.equal(keyOf({ type: 'parquet', columns: [] }), 'format.columns');
  assert.equal(keyOf({ type: 'parquet', columns }, ['a', 'b']), 'to.redshift.columns');
  assert.equal(keyOf({ type: 'parquet', columns }, ['a', 'b', 'c']), undefined);
});
