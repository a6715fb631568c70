import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layoutProblems } from '../../../../gateway/forward/layout/check.ts';
import type { LayoutOptions } from '../../../../gateway/forward/layout/layout.ts';

function problemsOf(options: LayoutOptions, use = {}): readonly string[] {
  const problems = layoutProblems(options, { hasFunction: false, needsErrorPrefix: false, ...use });
  return problems.map(
    ({ option, name, says }) => `${option}${name === undefined ? '' : `.${name}`} ${says}`,
  );
}

test('what is right has no problems', () => {
  const fine: readonly LayoutOptions[] = [
    {},
    { prefix: 'any/thing $ {} ! at all' },
    { prefix: '!{timestamp:yyyy}/!{firehose:random-string}/', timeZone: 'Asia/Tokyo' },
    { errorPrefix: 'bad/' },
    { errorPrefix: '!{firehose:error-output-type}/!{timestamp:yyyy}', extension: '.json.gz' },
    { prefix: '!{partitionKeyFromQuery:a}', partitionBy: { a: 'a.b' } },
    {
      prefix: '!{partitionKeyFromQuery:a}',
      partitionBy: { a: '.a|tostring' },
      queryLanguage: 'jq',
    },
    { hive: true, partitionBy: { a: 'a', b_c: 'b' } },
    { prefix: 'x'.repeat(490) },
  ];
  for (const options of fine) assert.deepEqual(problemsOf(options), [], JSON.stringify(options));
  const ofFunction = { prefix: '!{partitionKeyFromLambda:a}/' };
  assert.deepEqual(problemsOf(ofFunction, { hasFunction: true }), []);
});

test('each wrong thing is told, in words that can be acted on', () => {
  const cases: readonly (readonly [LayoutOptions, RegExp])[] = [
    [
      { prefix: 'a!{timestamp:yyyy' },
      /prefix is no prefix: !\{ begins an expression that no \} ends/,
    ],
    [{ prefix: '!{}' }, /prefix is no prefix: !\{\} has no namespace that is known/],
    [{ prefix: '!{yyyy}' }, /has no namespace that is known/],
    [{ prefix: '!{time:yyyy}' }, /has no namespace that is known/],
    [{ prefix: '!{timestamp:}' }, /has no pattern/],
    [{ prefix: '!{timestamp:yyyyb}' }, /!\{timestamp:yyyyb\}: the letter b is not known here/],
    [{ prefix: '!{firehose:random}' }, /is neither firehose:random-string nor/],
    [{ prefix: '!{firehose:error-output-type}' }, /which is of errorPrefix alone/],
    [{ prefix: '!{partitionKeyFromQuery:}' }, /names no key/],
    [{ prefix: '!{partitionKeyFromQuery:a}' }, /and partitionBy has no a/],
    [{ prefix: '!{partitionKeyFromLambda:a}' }, /and there is no function/],
    [
      { partitionBy: { a: 'a' } },
      /partitionBy goes nowhere with a, which the prefix does not name/,
    ],
    [
      { partitionBy: { a: 'a[' }, hive: true },
      /partitionBy\.a is no query of JMESPath: it ends too early/,
    ],
    [
      { partitionBy: { a: '.a |= 1' }, hive: true, queryLanguage: 'jq' },
      /assignments are not of the part of jq/,
    ],
    [{ partitionBy: { 'a:b': 'a' }, hive: true }, /partitionBy\.a:b is no name for Hive/],
    [
      { errorPrefix: '!{timestamp:yyyy}/' },
      /and !\{firehose:error-output-type\} is not among them/,
    ],
    [
      { errorPrefix: '!{partitionKeyFromQuery:a}/!{firehose:error-output-type}' },
      /has a partition key/,
    ],
    [{ prefix: 'x'.repeat(600) }, /prefix makes more than 512 characters/],
    [{ prefix: 'ü'.repeat(400) }, /or 700 bytes/],
    [{ errorPrefix: 'x'.repeat(500) }, /errorPrefix makes more than 512 characters/],
    [{ timeZone: 'Mars/Olympus' }, /timeZone is no time zone/],
    [{ extension: 'json' }, /extension is no extension/],
    [{ extension: '.a/b' }, /extension is no extension/],
  ];
  for (const [options, message] of cases) {
    const problems = problemsOf(options);
    assert.equal(problems.length, 1, `${JSON.stringify(options)}: ${problems.join('; ')}`);
    assert.match(problems[0] ?? '', message);
  }
});

// "Invalid input: ErrorOutputPrefix can't be null when Prefix contains expressions"
test('Firehose asks for an error prefix where the prefix has expressions', () => {
  const use = { needsErrorPrefix: true };
  const prefix = '!{timestamp:yyyy/MM/dd}';
  assert.match(problemsOf({ prefix }, use)[0] ?? '', /errorPrefix is needed/);
  assert.deepEqual(problemsOf({ prefix: 'plain/' }, use), []);
  const errorPrefix = '!{firehose:error-output-type}/';
  assert.deepEqual(problemsOf({ prefix, errorPrefix }, use), []);
});
