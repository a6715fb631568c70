import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configOf, problemsOf } from './support.ts';

/** A delivery of a stream, in YAML's flow style. */
function delivery(to: string, keys: string): string {
  return `streams: { s: {} }\ndeliveries: { d: { from: { stream: s }, to: { ${to} }, ${keys} } }`;
}

test('a delivery is laid out as before when nothing is said', () => {
  const { d } = configOf(delivery('folder: { path: /f }', '')).deliveries;
  assert.deepEqual(d?.layout, {
    errorPrefix: null,
    timeZone: 'UTC',
    extension: null,
    hive: false,
    partitionBy: {},
    queryLanguage: 'jmespath',
  });
  assert.deepEqual(d.deaggregate, { type: 'none', delimiter: '\n' });
  assert.equal(d.filter, null);
  assert.equal(d.select, null);
});

test('all of it together', () => {
  const text = delivery(
    'folder: { path: /f, prefix: "!{partitionKeyFromQuery:site}/!{timestamp:yyyy}/" }',
    `filter: "value > \`3\`", select: "{v: value}", deaggregate: { type: delimited, delimiter: "##" },
     layout: { partitionBy: { site: .site }, queryLanguage: jq, timeZone: Asia/Tokyo,
       errorPrefix: "bad/!{firehose:error-output-type}/", extension: .json.gz }`,
  );
  const { d } = configOf(text).deliveries;
  assert.deepEqual(d?.to, {
    folder: { path: '/f', prefix: '!{partitionKeyFromQuery:site}/!{timestamp:yyyy}/' },
  });
  assert.deepEqual(d.layout.partitionBy, { site: '.site' });
});

test('each thing that is wrong is told where it stands', () => {
  const s3 = (prefix: string): string => `s3: { bucket: b, prefix: "${prefix}" }`;
  const cases = [
    [delivery(s3('!{time:yyyy}'), ''), /deliveries\.d\.to\.s3\.prefix: .*is no prefix/],
    [delivery(s3('a!{partitionKeyFromQuery:x}'), ''), /to\.s3\.prefix: .*partitionBy has no x/],
    [delivery(s3('a!{partitionKeyFromLambda:x}'), ''), /to\.s3\.prefix: .*there is no function/],
    [
      delivery(s3(''), 'layout: { partitionBy: { x: "a[" }, hive: true }'),
      /layout\.partitionBy\.x: .*no query of JMESPath/,
    ],
    [
      delivery(s3(''), 'layout: { partitionBy: { x: a } }'),
      /layout\.partitionBy: goes nowhere with x, which the prefix does not name/,
    ],
    [delivery(s3(''), 'layout: { partitionBy: { "a=b": a } }'), /partitionBy/],
    [delivery(s3(''), 'layout: { timeZone: Berlin }'), /layout\.timeZone: .*no time zone/],
    [delivery(s3(''), 'layout: { extension: json }'), /layout\.extension: .*no extension/],
    [
      delivery(s3(''), 'layout: { errorPrefix: "!{timestamp:yyyy}" }'),
      /layout\.errorPrefix: .*not among them/,
    ],
    [delivery(s3(''), 'filter: "a ="'), /deliveries\.d\.filter: .*no query of JMESPath/],
    [delivery(s3(''), 'select: "nope(@)"'), /deliveries\.d\.select: .*no function nope/],
    [delivery(s3(''), 'deaggregate: { type: zip }'), /deaggregate\.type/],
    [
      delivery('folder: { path: /f, prefix: ../up/ }', ''),
      /to\.folder\.prefix: .*leads out of the folder/,
    ],
    [
      delivery('kinesis: { stream: k }', 'layout: { partitionBy: { a: a } }'),
      /layout\.partitionBy: .*is of objects, and kinesis gets records/,
    ],
  ] as const;
  for (const [text, message] of cases) {
    const problems = problemsOf(text);
    assert.equal(problems.length, 1, `${text}\n${problems.join('\n')}`);
    assert.match(problems[0] ?? '', message);
  }
});

test('what goes to kinesis is shaped like all else', () => {
  const { d } = configOf(
    delivery(
      'kinesis: { stream: k, maxRecordBytes: 10 MiB }',
      'filter: a, select: b, deaggregate: { type: kpl }, record: envelope, retrySeconds: 60, transform: { function: { module: { path: /f.mjs } } }',
    ),
  ).deliveries;
  assert.equal(d?.filter, 'a');
  assert.deepEqual('kinesis' in d.to && d.to.kinesis.maxRecordBytes, 10 * 2 ** 20);
  assert.equal(d.buffer.maxSeconds, null);
  const tooLarge = delivery('kinesis: { stream: k, maxRecordBytes: 11 MiB }', '');
  assert.match(problemsOf(tooLarge)[0] ?? '', /maxRecordBytes.*too large/);
});

test('footage is not shaped, and its prefix is plain', () => {
  const of = (keys: string, prefix = 'site/'): readonly string[] =>
    problemsOf(
      `cameras: { c: { source: { push: { username: u, password: p } } } }\ndeliveries: { d: { from: { camera: c }, to: { s3: { bucket: b, prefix: "${prefix}" } }, ${keys} } }`,
    );
  assert.deepEqual(of(''), []);
  assert.match(
    of('', '!{timestamp:yyyy}/')[0] ?? '',
    /prefix: .*has expressions, which are for records/,
  );
  assert.match(of('', 'x'.repeat(600))[0] ?? '', /longer than 512/);
  assert.match(of('select: a')[0] ?? '', /select: .*is of records, and footage is files/);
  assert.match(of('deaggregate: { type: kpl }')[0] ?? '', /deaggregate\.type: .*is of records/);
});
