/** Mistakes of newcomers in deliveries and functions: each gets one message, with the way out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { problemsOf } from './support.ts';

const folder = 'folder: { path: /f }';
const cluster =
  'host: h, database: d, username: u, password: p, table: t, iamRole: default, staging: { bucket: b }';

/** Keys of one delivery, each on a line of its own. */
function delivery(to: string, ...keys: readonly string[]): readonly string[] {
  const lines = [`to: { ${to} }`, ...keys].map((line) => `    ${line}\n`).join('');
  return problemsOf(`streams: { s: {} }\ndeliveries:\n  d:\n    from: { stream: s }\n${lines}`);
}

function eventSource(...keys: readonly string[]): readonly string[] {
  const lines = ['function: { module: { path: f.mjs } }', ...keys].map((line) => `    ${line}\n`);
  return problemsOf(
    `streams: { s: {} }\nfunctions:\n  f:\n    from: { stream: s }\n${lines.join('')}`,
  );
}

/** One mistake, one message, in the line where it is made. */
function told(problems: readonly string[], line: number, ...expected: readonly RegExp[]): void {
  assert.equal(problems.length, 1, problems.join('\n'));
  const [problem = ''] = problems;
  assert.match(problem, new RegExp(`^headgate\\.yaml:${line}:\\d+: `));
  for (const pattern of expected) assert.match(problem, pattern);
}

test('numbers and texts in JMESPath stand between what they stand between', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['value > 3', /the number at character 9 stands between two backticks, as in `3`/],
    ['contains(values, -1)', /the number at character 18 stands between two backticks/],
    ['{a: `3}', /the ` at character 5 is not closed: numbers stand between two, as in `3`/],
    ["site == 'north", /the ' at character 9 is not closed/],
    ["site = 'north'", /the = at character 6 compares as ==/],
    ['site == `north`', /what begins at character 9 is not JSON; texts stand between '/],
    ['site and value', /and at character 6 is written && here/],
    ['site or value', /or at character 6 is written \|\| here/],
    [
      'site == "north"',
      /has a field between quotes at character 9: a text is 'north', .*@\."north"/,
    ],
  ];
  for (const [query, expected] of cases) {
    const text = `'${query.replaceAll("'", "''")}'`;
    for (const key of ['filter', 'select']) {
      const found = delivery(folder, `${key}: ${text}`);
      told(
        found,
        6,
        new RegExp(`: deliveries\\.d\\.${key}: `),
        expected,
        /such as|value > `3` && /,
      );
    }
  }
  for (const query of ["a == 'x'", 'a == @."x"', '"a b" == `3`', 'a.and', '{or: and}']) {
    assert.deepEqual(delivery(folder, `filter: '${query.replaceAll("'", "''")}'`), [], query);
  }
});

test('a query of the other language is called by its name', () => {
  for (const query of ['.value > 3', '.a | .b', '.site == "north"']) {
    const found = delivery(folder, `filter: '${query}'`);
    told(
      found,
      6,
      /no query of JMESPath, but one of jq\. Allowed: .*no dot before the first field/,
    );
    const partition = `layout: { hive: true, partitionBy: { site: '${query}' } }`;
    told(
      delivery(folder, partition),
      6,
      /partitionBy\.site: .*but one of jq\. Allowed: .*"queryLanguage: jq" beside partitionBy/,
    );
  }
  told(
    delivery(folder, 'layout: { hive: true, queryLanguage: jq, partitionBy: { site: site } }'),
    6,
    /no query of jq, but one of JMESPath\. Allowed: .*"queryLanguage: jmespath"/,
  );
  const search = "opensearch: { endpoint: 'http://x', index: a, documentId: query, idQuery: .id }";
  told(delivery(search), 5, /idQuery: ".id" is no query of JMESPath, but one of jq/);
});

test('partitions that go nowhere, and the ways out', () => {
  told(
    delivery(folder, 'layout: { partitionBy: { site: site, line: line } }'),
    6,
    /layout\.partitionBy: goes nowhere with site, line, which the prefix does not name/,
    /Allowed: a prefix with "!\{partitionKeyFromQuery:site\}\/" in it, or "hive: true"/,
  );
  const half = "folder: { path: /f, prefix: '!{partitionKeyFromQuery:site}/' }";
  const found = delivery(half, 'layout: { hive: true, partitionBy: { site: site, line: line } }');
  told(found, 6, /goes nowhere with line, .*"!\{partitionKeyFromQuery:line\}\/" in it\.$/);
  for (const kind of ["http: { url: 'http://x' }", 'dynamodb: { table: abc }']) {
    const [name = ''] = kind.split(':');
    told(
      delivery(kind, 'layout: { partitionBy: { site: site } }'),
      6,
      new RegExp(
        `layout\\.partitionBy: is of objects, and ${name} gets records\\. Allowed: a delivery to folder or s3`,
      ),
    );
  }
});

test('a prefix that YAML takes for a tag is to be quoted', () => {
  for (const prefix of [
    '!{timestamp:yyyy/MM}/',
    '!{firehose:random-string}/!{timestamp:yyyy}/',
    '!{timestamp:yyyy-MM-dd HH}',
  ]) {
    told(
      delivery(`folder: { path: /f, prefix: ${prefix} }`),
      5,
      /:5:39: a value that begins with !\{ needs quotes, as in "!\{timestamp:/,
    );
    told(delivery(folder, 'layout:', `  errorPrefix: ${prefix}`), 7, /needs quotes, as in/);
  }
  assert.deepEqual(delivery('folder: { path: /f, prefix: "!{timestamp:yyyy}/" }'), []);
});

test('letters of times that look right for most of a year', () => {
  const of = (pattern: string): readonly string[] =>
    delivery(`s3: { bucket: b, prefix: "!{timestamp:${pattern}}/" }`);
  told(of('yyyy/mm/dd'), 5, /to\.s3\.prefix: .*has mm, the minutes, without hours: months are MM/);
  told(of('YYYY/MM/dd'), 5, /has YYYY, the year that a week is of: the year is yyyy/);
  told(of('yyyy/MM/DD'), 5, /has DD, the day of the year: that of the month is dd/);
  told(of('YYYY/mm/DD'), 5, /YYYY.*; and mm.*; and DD/);
  const failed = 'layout: { errorPrefix: "!{firehose:error-output-type}/!{timestamp:yyyy/mm}/" }';
  told(delivery(folder, failed), 6, /layout\.errorPrefix: .*has mm/);
  const kept = 'backup: { to: { folder: { path: /k, prefix: "!{timestamp:yyyy/mm}/" } } }';
  told(delivery(folder, kept), 6, /backup\.to\.folder\.prefix: .*has mm/);
  for (const pattern of ['yyyy/MM/dd/HH-mm', "YYYY-'W'ww", 'yyyy/DDD', "yyyy'mm'"]) {
    assert.deepEqual(of(pattern), [], pattern);
  }
});

test('a backup has one message for one mistake', () => {
  const to = 'kinesis: { stream: k }';
  const kept = (prefix: string): readonly string[] =>
    delivery(to, `backup: { to: { folder: { path: /f, prefix: "${prefix}" } } }`);
  for (const from of ['Query', 'Lambda']) {
    told(
      kept(`!{partitionKeyFrom${from}:site}/`),
      6,
      /backup\.to\.folder\.prefix: .*has a partition, and a backup has none/,
      /Allowed: text, !\{timestamp:…\} and !\{firehose:random-string\}/,
    );
  }
  told(
    delivery(to, 'backup: { to: { kinesis: { stream: k } } }'),
    6,
    /backup\.to\.kinesis: is not a known key\. Allowed: exactly one of folder or s3/,
  );
  const [missing, misplaced, ...more] = delivery(to, 'backup: { folder: { path: /f } }');
  assert.match(missing ?? '', /backup\.to: is missing/);
  assert.match(
    misplaced ?? '',
    /backup\.folder: is not a known key\..*Did you mean "to\.folder"\?/,
  );
  assert.deepEqual(more, []);
});

test('a backup does not go where its delivery puts its objects', () => {
  const backup = (to: string): string => `backup: { to: { ${to} } }`;
  const together: readonly (readonly [string, string])[] = [
    [folder, folder],
    ['folder: { path: out }', 'folder: { path: ./out/ }'],
    ['folder: { path: /f, prefix: a/ }', 'folder: { path: /f, prefix: "a/!{timestamp:yyyy}/" }'],
    ['s3: { bucket: b }', 's3: { bucket: b }'],
    ['s3: { bucket: b, prefix: data/ }', 's3: { bucket: b, prefix: data/ }'],
  ];
  for (const [to, kept] of together) {
    told(
      delivery(to, backup(kept)),
      6,
      /backup\.to\.(folder|s3): is where the delivery itself puts its objects/,
      /Allowed: another (bucket|folder), or another prefix/,
    );
  }
  const apart: readonly (readonly [string, string])[] = [
    [folder, 'folder: { path: /fs }'],
    [folder, 'folder: { path: /f/originals }'],
    ['s3: { bucket: b }', 's3: { bucket: b, prefix: originals/ }'],
    ['folder: { path: /f, prefix: a/ }', 'folder: { path: /f, prefix: b/ }'],
    ['s3: { bucket: b, prefix: data/ }', 's3: { bucket: b, prefix: raw/ }'],
    ['s3: { bucket: b }', 's3: { bucket: c }'],
    ['s3: { bucket: b }', "s3: { bucket: b, endpoint: 'http://localhost:9000' }"],
    ['s3: { bucket: f }', folder],
    ["http: { url: 'http://x' }", folder],
  ];
  for (const [to, kept] of apart) assert.deepEqual(delivery(to, backup(kept)), [], `${to} ${kept}`);
});

test('failed records do not go where the delivery or its backup puts its objects', () => {
  const web = "http: { url: 'http://x' }";
  const failed = (to: string): string => `failed: { to: { ${to} } }`;
  const kept = `backup: { to: { ${folder} } }`;
  told(
    delivery(folder, failed(folder)),
    6,
    /failed\.to\.folder: is where the delivery itself puts/,
  );
  const bucket = 's3: { bucket: b, prefix: data/ }';
  told(
    delivery(bucket, failed(bucket)),
    6,
    /failed\.to\.s3: .*Allowed: another bucket, or another/,
  );
  told(delivery(web, kept, failed(folder)), 7, /failed\.to\.folder: is where its backup puts its/);
  for (const below of ['failed/', 'failed/!{firehose:error-output-type}/!{timestamp:yyyy}/']) {
    const apart = failed(`folder: { path: /f, prefix: '${below}' }`);
    assert.deepEqual(delivery(folder, apart), [], below);
    assert.deepEqual(delivery(web, kept, apart), [], below);
  }
});

test('the stream of failed records belongs to its delivery alone', () => {
  const out = `to: { ${folder} }`;
  const text = (streams: string, more = ''): readonly string[] =>
    problemsOf(
      `streams: { s: {}${streams} }\ndeliveries:\n  d: { from: { stream: s }, ${out} }\n${more}`,
    );
  const owned =
    /failed\.d: is where the failed records of the delivery d are kept\. Allowed: another/;
  told(text(', failed.d: {}'), 1, owned);
  assert.deepEqual(text(', failed.e: {}, failed: {}'), [], 'of nobody');
  told(
    text('', `  e: { from: { stream: failed.d }, ${out} }`),
    4,
    /e\.from\.stream: .*is where the failed records of the delivery d are kept/,
    /"failed" under deliveries\.d puts them into a bucket/,
  );
  const letters = 'function: { module: { path: f.mjs } }, deadLetter: { stream: failed.d }';
  told(
    text('', `functions: { f: { from: { stream: s }, ${letters} } }`),
    4,
    /deadLetter\.stream: .*is where the failed records of the delivery d are kept/,
  );
});

test('what says where failed records go has to be able to', () => {
  const prefix = 'layout: { errorPrefix: lost/ }';
  const elsewhere = 'failed: { to: { folder: { path: /g } } }';
  for (const to of [
    'kinesis: { stream: k }',
    "http: { url: 'http://x' }",
    `redshift: { ${cluster} }`,
  ]) {
    told(
      delivery(to, prefix),
      6,
      /layout\.errorPrefix: "lost\/" is of objects in folder and s3, and does nothing with /,
      /Allowed: "failed", which puts them into a bucket or a folder/,
    );
  }
  told(delivery(folder, prefix, elsewhere), 7, /d\.failed: gets nothing: .*layout\.errorPrefix/);
  assert.deepEqual(delivery(folder, prefix, elsewhere, 'retrySeconds: 60'), []);
  const divided = 'layout: { errorPrefix: lost/, hive: true, partitionBy: { a: a } }';
  assert.deepEqual(delivery(folder, divided, elsewhere), []);
  told(
    delivery(folder, "failed: { to: { s3: { bucket: b, prefix: '!{timestamp:yyyy}/' } } }"),
    6,
    /Allowed: 'x\/!\{firehose:error-output-type\}\/!\{timestamp:yyyy\}\/'\.$/,
  );
});

test('of footage with a backup there is one thing to say', () => {
  const push = 'source: { push: { username: u, password: p } }';
  const text = `cameras: { c: { ${push} } }
deliveries: { d: { from: { camera: c }, to: { ${folder} }, backup: { to: { folder: { path: /k } } } } }`;
  told(problemsOf(text), 2, /deliveries\.d\.backup: is of records, and footage is sent as it is/);
});

test('what COPY would refuse at the first load', () => {
  const load = (options: string, format: string): readonly string[] =>
    delivery(`redshift: { ${cluster}, copyOptions: "${options}" }`, `format: ${format}`);
  const parquet = '{ type: parquet, columns: [{ name: a }] }';
  for (const options of ["TIMEFORMAT 'auto'", 'COMPUPDATE OFF', 'BLANKSASNULL']) {
    const [word = ''] = options.split(' ');
    told(
      load(options, parquet),
      5,
      new RegExp(`copyOptions: .*has ${word}, which COPY does not take with format.type: parquet`),
    );
  }
  told(
    load('', '{ type: raw }'),
    5,
    /copyOptions: .*says nothing, and with format\.type: raw.*Allowed: JSON 'auto'/,
  );
  told(
    load("TIMEFORMT 'auto'", '{}'),
    5,
    /has TIMEFORMT, which .*take here; TIMEFORMAT, perhaps\.$/,
  );
  told(load('SOMEHOW', '{}'), 5, /has SOMEHOW, .*Allowed: JSON, CSV, .*TRUNCATECOLUMNS/);
  told(load('JSON auto', '{}'), 5, /has AUTO, which COPY does not take here/);
  told(
    load('IGNOREALLERRORS', '{}'),
    5,
    /has IGNOREALLERRORS, which leaves rows out.*; leave it out/,
  );
  told(load("JSON 'auto", '{}'), 5, /copyOptions: "JSON 'auto" has a ' that is not closed/);
  told(load("JSON 'auto';", '{}'), 5, /copyOptions: .* is not allowed\. Allowed: .*without ;/);
  for (const [options, format] of [
    ["NULL AS 'none' COMPROWS 1000 ENCODING UTF8 STATUPDATE OFF ACCEPTINVCHARS '^'", '{}'],
    ['SERIALIZETOJSON FILLRECORD STATUPDATE ON', parquet],
    ["DELIMITER '|' ESCAPE REMOVEQUOTES", '{ type: raw }'],
    ['SHAPEFILE SIMPLIFY AUTO 0.5', '{ type: raw }'],
  ] as const) {
    assert.deepEqual(load(options, format), [], options);
  }
  told(
    delivery(`redshift: { ${cluster.replace('b }', "b, prefix: '!{time:yyyy}/' }")} }`),
    5,
    /to\.redshift\.staging\.prefix: .*is no prefix: /,
  );
});

test('a pattern names the word that is meant, and says where rules stand', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['{"data":{"a":[{"numerc":[">",1]}]}}', /there is no rule numerc; numeric, perhaps/],
    ['{"data":{"a":[{"prefx":"x"}]}}', /there is no rule prefx; prefix, perhaps/],
    ['{"data":{"a":[{"wildcard":"x*"}]}}', /no rule wildcard; known are prefix, suffix, /],
    ['{"data":{"a":{"prefix":"x"}}}', /prefix stands in a list: \[\{"prefix": "x"\}\]/],
    [
      '{"data":{"a":{"numeric":[">",3]}}}',
      /numeric stands in a list: \[\{"numeric": \[">",3\]\}\]/,
    ],
    ['{"data":{"a":{"anything-but":["x"]}}}', /anything-but stands in a list/],
    ['{data:{a:[1]}}', /it is not JSON, in which keys stand between "/],
    ['{"body":{"a":[1]}}', /body is neither data nor partitionKey/],
  ];
  for (const [pattern, expected] of cases) {
    told(eventSource(`filter: ['${pattern}']`), 6, /functions\.f\.filter\[0\]: /, expected);
  }
  told(
    eventSource('filter: [{ data: { a: [1] } }]'),
    6,
    /filter\[0\]: has keys below it, and takes one value\. Allowed: .*JSON text between single/,
  );
  for (const pattern of ['{"data":{"prefix":["a"],"numeric":[3,4],"exists":{"b":[1]}}}']) {
    assert.deepEqual(eventSource(`filter: ['${pattern}']`), [], 'fields that are called so');
  }
});

test('keys where there is one value, and the other way round', () => {
  told(
    eventSource('deadLetter: { folder: { path: /f } }'),
    6,
    /deadLetter\.folder: has keys below it, and takes one value\. Allowed: the path of a folder/,
  );
  told(eventSource('deadLetter: { path: /f }'), 6, /deadLetter\.path: .*one of stream or folder/);
  told(eventSource('deadLetter: /f'), 6, /"\/f" is one value, and takes keys below it.*stream or/);
  told(
    eventSource('startAt: latest'),
    6,
    /startAt: "latest" is one value, .*edge or time, as in startAt: \{ edge: latest \}\.$/,
  );
  told(eventSource('startAt: 2026-01-31T12:00:00Z'), 6, /as in startAt: \{ time: 2026-01-31T12:/);
  told(eventSource('deadLetter: letters'), 6, /as in deadLetter: \{ stream: letters \}/);
  const failed = delivery(folder, 'failed: ./x');
  told(
    failed,
    6,
    /failed: ".\/x" is one value, .*as in failed: \{ to: \{ folder: \{ path: \.\/x \} \} \}/,
  );
  const cleaned = delivery(folder, 'transform: ./clean.mjs');
  told(cleaned, 6, /as in transform: \{ function: \{ module: \{ path: \.\/clean\.mjs \} \} \}/);
  for (const secret of ['hunter2', 'AKIA/hunter2', '/Hunter2/x+', 'http://u:hunter2@h/']) {
    told(delivery(folder, `failed: '${secret}'`), 6, /failed: \*\*\* is one value, .*required\.$/);
  }
  told(delivery('folder: /f'), 5, /to\.folder: "\/f" is one value, .*keys path, prefix/);
  told(delivery(folder, 'select: { a: b }'), 6, /select: has keys .*a query .*between quotes/);
  told(delivery(folder, 'filter: [a]'), 6, /filter: is a list, and takes one value/);
  told(delivery(folder, 'format: parquet'), 6, /format: "parquet" is one value, .*keys type, /);
  told(delivery("kafka: { brokers: 'k:9092', topic: t }"), 5, /brokers: .*and takes a list/);
  const columns = delivery(folder, 'format: { type: csv, columns: [a, b] }');
  assert.equal(columns.length, 2, columns.join('\n'));
  told(columns.slice(1), 6, /columns\[1\]: "b" is one value, and takes keys below it/);
});

test('a key that belongs elsewhere is sent there', () => {
  told(delivery(folder, 'compression: gzip'), 6, /Did you mean "format\.compression"\?/);
  const missing = delivery(`redshift: { ${cluster.replace('username', 'user')} }`);
  assert.match(missing.join('\n'), /to\.redshift\.user: is not a known key\..*mean "username"\?/);
  told(delivery(folder, 'hive: true'), 6, /Did you mean "layout\.hive"\?/);
  told(delivery(folder, 'partitionBy: { a: a }'), 6, /Did you mean "layout\.partitionBy"\?/);
  told(delivery(folder, 'maxSeconds: 5'), 6, /Did you mean "buffer\.maxSeconds"\?/);
  const called = '{ module: { path: f.mjs } }';
  const text = `streams: { s: {} }\nfunctions: { f: { function: ${called}, stream: s } }`;
  assert.match(problemsOf(text).join('\n'), /Did you mean "from\.stream"\?/);
});

test('what is written into a key and belongs beside it', () => {
  told(
    delivery(`redshift: { ${cluster.replace('table: t', 'table: public.t')} }`),
    5,
    /to\.redshift\.table: "public\.t" has a dot in it\. Allowed: .*with "schema" beside it/,
  );
  told(
    delivery("splunk: { endpoint: 'http://x:8088/services/collector', token: t }"),
    5,
    /splunk\.endpoint: .*has the path of the collector.*Allowed: the address alone/,
  );
  told(
    delivery("opensearch: { endpoint: 'http://x/_bulk', index: a }"),
    5,
    /opensearch\.endpoint: .*has \/_bulk/,
  );
  told(
    delivery(folder, 'onlyWhile: { program: /usr/bin/on-wifi --quick }'),
    6,
    /onlyWhile\.program: .*has arguments behind it\. Allowed: .*"arguments" beside it/,
  );
  told(
    delivery(folder, 'transform: { function: { module: { path: clean.mts } } }'),
    6,
    /function\.module\.path: "clean\.mts" is TypeScript.*Allowed: .*\.mjs/,
  );
  told(
    delivery('folder: { path: /f, prefix: "{timestamp:yyyy}/" }'),
    5,
    /to\.folder\.prefix: .*has \{timestamp:yyyy\} without a ! before it/,
  );
});

test('a partition that is mistyped is one mistake', () => {
  told(
    delivery(
      'folder: { path: /f, prefix: "!{partitionKeyFromQuery:site}/" }',
      'layout: { partitionBy: { Site: site } }',
    ),
    5,
    /to\.folder\.prefix: .*has !\{partitionKeyFromQuery:site\}, and partitionBy has no site, but Site/,
  );
});

test('a bucket is a name, and a function has a region', () => {
  for (const bucket of ['s3://b', 'b/data', 'https://b.s3.amazonaws.com']) {
    told(delivery(`s3: { bucket: '${bucket}' }`), 5, /s3\.bucket: .*the name of a bucket alone/);
  }
  const accessPoint = 'arn:aws:s3:eu-central-1:123456789012:accesspoint/line';
  for (const bucket of ['b', 'b.c-d_E', accessPoint]) {
    assert.deepEqual(delivery(`s3: { bucket: '${bucket}' }`), [], bucket);
  }
  const lambda = '{ function: { lambda: { function: clean } } }';
  told(
    delivery(folder, `transform: ${lambda}`),
    6,
    /lambda\.function: "clean" needs region beside it: a name does not say it/,
    /Allowed: region, or the ARN of the function/,
  );
});
