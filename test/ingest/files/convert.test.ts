import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  compileConverter,
  parseHeader,
  type ConversionOptions,
} from '../../../ingest/files/convert.ts';
import { parseRow } from '../../../ingest/files/csv.ts';
import { FilesError } from '../../../ingest/files/errors.ts';
import { compileFileKey } from '../../../ingest/files/partition-key.ts';

const none: ConversionOptions = {
  convert: 'none',
  csv: { delimiter: ',', fields: [] },
  regex: { pattern: null, fields: [] },
};

function converted(
  options: Partial<ConversionOptions>,
  texts: readonly (string | Buffer)[],
  header: readonly string[] = [],
): { data: string; fits: boolean }[] {
  return compileConverter({ ...none, ...options })
    .convert(
      texts.map((text) => Buffer.from(text as string)),
      header,
    )
    .map(({ data, fits }) => ({ data: data.toString('latin1'), fits }));
}

const kept = (data: string): { data: string; fits: boolean } => ({ data, fits: false });
const made = (data: string): { data: string; fits: boolean } => ({ data, fits: true });

it('takes lines as they are, whatever they are', () => {
  assert.deepEqual(converted({}, [Buffer.from([0xff, 0])]), [made('\xff\0')]);
});

it('joins the lines of a record by spaces', () => {
  assert.deepEqual(converted({ convert: 'single-line' }, ['Error: x\n    at a\r\n\n  at b ']), [
    made('Error: x at a at b'),
  ]);
});

it('writes JSON on one line, and keeps what is none', () => {
  const texts = ['{ "a" : [1,\n 2] }', '12', '{"a":', '', Buffer.from([0x22, 0xff, 0x22])];
  assert.deepEqual(converted({ convert: 'json' }, texts), [
    made('{"a":[1,2]}'),
    made('12'),
    kept('{"a":'),
    kept(''),
    kept('"\xff"'),
  ]);
});

it('makes objects of rows, with names that are given or those of the header', () => {
  const csv = { delimiter: ';', fields: ['a', 'b'] };
  assert.deepEqual(converted({ convert: 'csv', csv }, ['1;2', '1', '1;2;3', '"x;""y""";']), [
    made('{"a":"1","b":"2"}'),
    kept('1'),
    kept('1;2;3'),
    made('{"a":"x;\\"y\\"","b":""}'),
  ]);
  assert.deepEqual(converted({ convert: 'csv' }, ['1'], ['__proto__']), [
    made('{"__proto__":"1"}'),
  ]);
  assert.deepEqual(parseHeader(Buffer.from('\uFEFFa, b ,'), ','), ['a', 'b', 'field3']);
});

it('reads rows as RFC 4180 has them, and refuses what is none', () => {
  assert.deepEqual(parseRow('', ','), ['']);
  assert.deepEqual(parseRow(',', ','), ['', '']);
  assert.deepEqual(parseRow('a"b,"c"', ','), ['a"b', 'c']);
  for (const wrong of ['"open', '"a"b', '"a""', '"a" ,b']) assert.equal(parseRow(wrong, ','), null);
});

it('makes objects of what groups match', () => {
  const regex = { pattern: '^(?<level>\\w+) (?<rest>.*)$', fields: [] };
  assert.deepEqual(converted({ convert: 'regex', regex }, ['INFO all well', 'none']), [
    made('{"level":"INFO","rest":"all well"}'),
    kept('none'),
  ]);
  const named = { pattern: '^(a)(b)?', fields: ['first', 'second'] };
  assert.deepEqual(converted({ convert: 'regex', regex: named }, ['ab', 'a']), [
    made('{"first":"a","second":"b"}'),
    made('{"first":"a"}'),
  ]);
});

it('stops a pattern that would take years, and keeps its lines', () => {
  const regex = { pattern: '^(a+)+$', fields: ['all'] };
  const hostile = `${'a'.repeat(60)}!`;
  assert.deepEqual(converted({ convert: 'regex', regex }, ['aa', hostile]), [
    kept('aa'),
    kept(hostile),
  ]);
  assert.deepEqual(converted({ convert: 'regex', regex }, ['aa']), [made('{"all":"aa"}')]);
});

it('says of a pattern or a template that it is none', () => {
  const regex = { pattern: '(', fields: [] };
  assert.throws(() => compileConverter({ ...none, convert: 'regex', regex }), FilesError);
  for (const template of ['{nothing}', '{record}', '{', 'a}b', '{record.}']) {
    assert.throws(() => compileFileKey(template, () => 0), FilesError, template);
  }
});

it('makes keys, and falls back to the path', () => {
  const key = (template: string, value: unknown): string =>
    compileFileKey(template, () => 0.5)({ path: '/var/log/a.log', value });
  assert.equal(key('{path}', undefined), '/var/log/a.log');
  assert.equal(key('{{{file}}}', undefined), '{a.log}');
  assert.equal(key('{record.a.b}-x', { a: { b: 7 } }), '7-x');
  assert.equal(key('{record.a.b}-x', { a: {} }), '/var/log/a.log');
  assert.equal(key('{record.constructor}', {}), '/var/log/a.log');
  assert.equal(key('{random}', undefined), 'i');
  assert.equal(key('always the same', undefined), 'always the same');
});
