import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configOf, problemsOf } from './support.ts';

const streams = 'streams: { s: {} }\n';

/** A delivery with a backup, in YAML's flow style. */
function backedUp(backup: string, name = 'd'): string {
  return `${streams}deliveries: { ${name}: { from: { stream: s }, to: { http: { url: 'http://a' } }, backup: { ${backup} } } }`;
}

const folder = 'to: { folder: { path: kept } }';

test('a backup keeps the data of records as it is, when nothing is said', () => {
  const { d } = configOf(backedUp(folder)).deliveries;
  assert.deepEqual(d?.backup, {
    to: { folder: { path: '/etc/headgate/kept', prefix: '' } },
    record: 'data',
    format: { type: 'raw', compression: null, delimiter: null },
    layout: { timeZone: 'UTC', extension: null, hive: false },
    buffer: { maxBytes: 5 * 2 ** 20, maxSeconds: 60 },
    required: true,
  });
  const text = `${streams}deliveries: { d: { from: { stream: s }, to: { http: { url: 'http://a' } } } }`;
  assert.equal(configOf(text).deliveries['d']?.backup, null);
});

test('it is set from the environment, its secret among it', () => {
  const text = backedUp("to: { s3: { bucket: b, accessKeyId: a, secretAccessKey: '${SECRET}' } }");
  const { d } = configOf(text, {
    SECRET: 'hush',
    HEADGATE_DELIVERIES__d__BACKUP_BUFFER_MAX_SECONDS: '5',
  }).deliveries;
  assert.ok(d?.backup && 's3' in d.backup.to);
  assert.deepEqual([d.backup.to.s3.secretAccessKey, d.backup.buffer.maxSeconds], ['hush', 5]);
});

/** A delivery that keeps what fails in a place, too. */
function failedIn(failed: string, name = 'd'): string {
  return backedUp('', name).replace('backup: {  }', `failed: { ${failed} }`);
}

test('what fails is kept as Firehose writes it, in a folder or a bucket', () => {
  const { d } = configOf(failedIn(folder)).deliveries;
  assert.deepEqual(d?.failed, {
    to: { folder: { path: '/etc/headgate/kept', prefix: '' } },
    format: { compression: null },
    layout: { timeZone: 'UTC', extension: null, hive: false },
    buffer: { maxBytes: 5 * 2 ** 20, maxSeconds: 60 },
    required: true,
  });
  const prefix = "prefix: 'lost/!{firehose:error-output-type}/!{timestamp:yyyy}/'";
  const s3 = configOf(failedIn(`to: { s3: { bucket: b, ${prefix} } }`)).deliveries['d']?.failed?.to;
  assert.ok(s3 !== undefined && 's3' in s3);
  assert.equal(s3.s3.prefix, 'lost/!{firehose:error-output-type}/!{timestamp:yyyy}/');
  assert.equal(configOf(backedUp(folder)).deliveries['d']?.failed, null);
});

test('each thing that is wrong with one is told where it stands', () => {
  const s3 = (keys: string): string => `to: { s3: { bucket: b, ${keys} } }`;
  const cases: readonly (readonly [string, RegExp])[] = [
    [backedUp(''), /deliveries\.d\.backup\.to/],
    [backedUp("to: { http: { url: 'http://a' } }"), /deliveries\.d\.backup\.to/],
    [backedUp(`${folder}, filter: 'a'`), /deliveries\.d\.backup\.filter/],
    [backedUp(`${folder}, format: { type: parquet }`), /backup\.format\.type/],
    [backedUp(`${folder}, record: envelope`), /backup\.record: .*format\.type: raw/],
    [
      backedUp(`${folder}, format: { type: ndjson, delimiter: ';' }`),
      /backup\.format\.delimiter: .*is of raw/,
    ],
    [backedUp('to: { folder: { path: kept, prefix: ../ } }'), /backup\.to\.folder\.prefix/],
    [backedUp(s3('accessKeyId: a')), /backup\.to\.s3\.accessKeyId: .*needs secretAccessKey/],
    [
      backedUp(s3("prefix: '!{partitionKeyFromQuery:site}/'")),
      /backup\.to\.s3\.prefix: .*has a partition, and a backup has none/,
    ],
    [backedUp(`${folder}, layout: { timeZone: Berlin }`), /backup\.layout\.timeZone/],
    [backedUp(folder, 'd'.repeat(128)), /\.backup: .*which is too long/],
    [
      `cameras: { c: { source: { push: {} } } }
deliveries: { d: { from: { camera: c }, to: { folder: { path: out } }, backup: { ${folder} } } }`,
      /deliveries\.d\.backup: .*footage is sent as it is/,
    ],
    [
      `${streams}deliveries: { d.backup: { from: { stream: s }, to: { folder: { path: out } } } }`,
      /deliveries\.d\.backup: .*what the backup of another delivery is called/,
    ],
    [failedIn(''), /deliveries\.d\.failed\.to/],
    [failedIn(`${folder}, record: envelope`), /deliveries\.d\.failed\.record/],
    [failedIn(`${folder}, format: { type: raw }`), /failed\.format\.type/],
    [failedIn('to: { folder: { path: kept, prefix: ../ } }'), /failed\.to\.folder\.prefix/],
    [failedIn(s3('accessKeyId: a')), /failed\.to\.s3\.accessKeyId: .*needs secretAccessKey/],
    [
      failedIn(s3("prefix: '!{timestamp:yyyy}/'")),
      /failed\.to\.s3\.prefix: .*error-output-type\} is not among them/,
    ],
    [
      failedIn(s3("prefix: '!{partitionKeyFromQuery:site}/!{firehose:error-output-type}/'")),
      /failed\.to\.s3\.prefix: .*partition key/,
    ],
    [failedIn(s3("prefix: '!{now}'")), /failed\.to\.s3\.prefix: .*is no prefix/],
    [failedIn(folder, 'd'.repeat(128)), /\.failed: .*which is too long/],
    [
      `cameras: { c: { source: { push: {} } } }
deliveries: { d: { from: { camera: c }, to: { folder: { path: out } }, failed: { ${folder} } } }`,
      /deliveries\.d\.failed: .*footage is sent as it is/,
    ],
    [
      `${streams}deliveries: { d.failed: { from: { stream: s }, to: { folder: { path: out } } } }`,
      /deliveries\.d\.failed: .*what that is called which keeps the failed records of another delivery/,
    ],
    ['firehose: { opensearch: { accessKeyId: a } }', /opensearch\.accessKeyId: .*secretAccessKey/],
  ];
  for (const [text, expected] of cases) {
    const problems = problemsOf(text);
    assert.ok(
      problems.some((problem) => expected.test(problem)),
      `${text}\n${problems.join('\n')}`,
    );
  }
});
