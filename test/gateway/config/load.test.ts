import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../../gateway/config/load.ts';
import { showOrigin, showProblem } from '../../../gateway/config/problems.ts';
import { configSchema } from '../../../gateway/config/schema.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { configOf, parse, problemsOf } from './support.ts';

/** What a user of MQTT may do where the file does not say. */
const everything = { publish: ['#'], subscribe: ['#'] };

test('an empty file is a configuration: all defaults, on loopback', () => {
  const config = configOf('');
  assert.equal(config.http.host, '127.0.0.1');
  assert.equal(config.http.port, 8080);
  assert.equal(config.mqtt.port, 1883);
  assert.equal(config.rtsp.port, 8554);
  assert.equal(config.dataDir, '/etc/headgate/data', 'beside the file, wherever it is loaded from');
  assert.deepEqual(configOf('# nothing but a comment\n'), config);
  assert.deepEqual(configOf('http:\nstreams:\n'), config, 'keys with nothing after them');
});

test('every problem is told at once, with line and column, key, value and what is allowed', () => {
  const problems = problemsOf(
    [
      'htp: {}',
      'http:',
      '  prot: 80',
      '  port: 99999',
      'logging: { level: wran }',
      'streams:',
      '  readings: { shards: 0, maxBytes: 10 parsecs }',
      'mqtt:',
      '  users:',
      '    - username: a',
      '  routes:',
      '    - { topic: "a/#/b", stream: readngs, partitionKey: "{nothing}" }',
    ].join('\n'),
  );
  const expected = [
    /^headgate.yaml:1:1: htp: is not a known key\. Allowed: dataDir, .*Did you mean "http"\?$/,
    /^headgate.yaml:3:3: http\.prot: is not a known key\..*Did you mean "port"\?$/,
    /^headgate.yaml:4:9: http\.port: 99999 is not allowed\. Allowed: a port from 1 to 65535/,
    /^headgate.yaml:5:19: logging\.level: "wran" is not allowed\. Allowed: debug, info, warn or error\. Did you mean "warn"\?$/,
    /^headgate.yaml:7:23: streams\.readings\.shards: 0 is not allowed\. Allowed: a whole number from 1 to 10000/,
    /^headgate.yaml:7:36: streams\.readings\.maxBytes: "10 parsecs" is not a size\. Allowed: .*'10 GiB'.*, or null/,
    /^headgate.yaml:10:7: mqtt\.users\[0\]\.password: is missing\./,
    /^headgate.yaml:12:16: mqtt\.routes\[0\]\.topic: "a\/#\/b" is not allowed\. Allowed: a topic filter/,
    /^headgate.yaml:12:33: mqtt\.routes\[0\]\.stream: "readngs" is not a stream of this configuration\. Allowed: one of readings\. Did you mean "readings"\?$/,
    /^headgate.yaml:12:56: mqtt\.routes\[0\]\.partitionKey: "\{nothing\}" is not a template/,
  ];
  assert.equal(problems.length, expected.length, problems.join('\n'));
  expected.forEach((pattern, index) => assert.match(problems[index]!, pattern));
});

test('a key that is there twice names both lines, and the first one counts', () => {
  const [problem, ...others] = problemsOf('http:\n  port: 1\n  host: localhost\n  port: 2\n');
  assert.equal(problem, 'headgate.yaml:4:3: http.port: is there twice (first in line 2).');
  assert.deepEqual(others, []);
});

test('what YAML can not read is told with its line, in words of its own', () => {
  assert.match(problemsOf('http:\n\tport: 1\n')[0]!, /^headgate.yaml:2:1: .*tab/);
  assert.match(problemsOf('http: {port: 1')[0]!, /^headgate.yaml:1:\d+: .*bracket/);
  for (const text of ['log: { lingerMs: [2 }', 'mqtt: [\n  a', 'mqtt:\n  users: [{ a: b }']) {
    const told = problemsOf(`${text}\nhttp: [\n`);
    assert.equal(told.length, 1, `${text}: ${told.join('; ')}`);
  }
  assert.match(problemsOf('a: b: c')[0]!, /^headgate.yaml:1:4: .*quotes/);
  assert.match(
    problemsOf('- 1\n- 2\n')[0]!,
    /^headgate.yaml:1:1: the file does not begin with a key/,
  );
  assert.match(problemsOf('http: {}\n---\nhttp: {}\n')[0]!, /second document/);
  const retention = problemsOf('streams:\n  a: {retentionHours: ${HOURS}}\n', { HOURS: '3' });
  assert.match(retention[0]!, /^headgate.yaml:2:\d+: .*needs quotes/);
});

test('texts stay as they are written: a password 0123, a stream 42, a yes', () => {
  const config = configOf(
    'mqtt: { users: [{ username: 42, password: 0123 }, { username: yes, password: 1e3 }] }\nstreams: { 42: {} }\nrtsp: { readers: [{ username: true, password: 1_000 }] }',
  );
  assert.deepEqual(config.mqtt.users, [
    { username: '42', password: '0123', ...everything },
    { username: 'yes', password: '1e3', ...everything },
  ]);
  assert.deepEqual(config.rtsp.readers, [{ username: 'true', password: '1_000' }]);
  assert.deepEqual(Object.keys(config.streams), ['42']);
});

test('sizes are bytes or have a unit', () => {
  const sizeOf = (text: string) => configOf(`video: { minFreeBytes: ${text} }`).video.minFreeBytes;
  assert.equal(sizeOf('12345'), 12345);
  assert.equal(sizeOf('10 GB'), 10_000_000_000);
  assert.equal(sizeOf("'1.5 GiB'"), 1_610_612_736);
  assert.equal(sizeOf('500mb'), 500_000_000);
  for (const wrong of ['-1', '1.5', '10 GBit', 'ten', '1e400', '.inf', "''", '99999 TB']) {
    assert.equal(problemsOf(`video: { minFreeBytes: ${wrong} }`).length, 1, wrong);
  }
});

test('${NAME} and ${NAME:-default} take their type from the key; $${ is literal', () => {
  const env = { PORT: '8081', USER_PASSWORD: 'p${PORT}', EMPTY: '', ON: 'true' };
  const text = `
http: { port: "\${PORT}", allowPlaintext: "\${ON}" }
mqtt: { port: "\${MQTT_PORT:-1884}", users: [{ username: "a\${EMPTY:-b}c", password: "\${USER_PASSWORD}" }] }
deliveries: { d: { from: { stream: s }, to: { s3: { bucket: b, prefix: "$\${x}/\${EMPTY}" } } } }
streams: { s: { maxBytes: "\${NONE:-null}", retentionHours: "\${HOURS:-1.5}" } }
`;
  const config = configOf(text, env);
  assert.equal(config.http.port, 8081);
  assert.equal(config.http.allowPlaintext, true);
  assert.equal(config.mqtt.port, 1884);
  assert.equal(config.streams['s']?.maxBytes, null);
  assert.equal(config.streams['s'].retentionHours, 1.5);
  assert.deepEqual(config.mqtt.users[0], { username: 'abc', password: 'p${PORT}', ...everything });
  assert.deepEqual(config.deliveries['d']?.to, {
    s3: {
      bucket: 'b',
      prefix: '${x}/',
      region: null,
      endpoint: null,
      accessKeyId: null,
      secretAccessKey: null,
      forcePathStyle: null,
    },
  });
  assert.deepEqual(
    problemsOf('http:\n  host: ${HOST}\n  port: "${1x}"\n'),
    [
      'headgate.yaml:2:9: http.host: refers to the environment variable HOST, which is not set (${HOST:-text} gives it a default).',
      'headgate.yaml:3:9: http.port: has a ${…} that is not understood. Allowed: ${NAME}, ${NAME:-default}, ${file:/path}, or $${ for ${.',
    ],
    'and nothing is said about the values that are missing for it',
  );
});

test('secrets can come from files, relative to the configuration', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'secret'), 'p@ss word\n');
  await writeFile(join(folder, 'rubbish'), Buffer.from([0xff, 0xfe, 0x00]));
  await writeFile(join(folder, 'large'), 'x'.repeat(70_000));
  const file = join(folder, 'headgate.yaml');
  await writeFile(file, 'rtsp: { readers: [{ username: a, password: "${file:secret}" }] }');
  const result = await loadConfig({ file, folder: '/', env: {} });
  assert.ok(result.ok);
  assert.equal(result.config.rtsp.readers[0]?.password, 'p@ss word');

  for (const wrong of ['missing', 'rubbish', 'large', '.']) {
    await writeFile(file, `rtsp:\n  readers: [{ username: a, password: "\${file:${wrong}}" }]`);
    const failed = await loadConfig({ file, folder: '/', env: {} });
    assert.ok(!failed.ok);
    assert.match(
      showProblem(failed.problems[0]!),
      /headgate.yaml:2:\d+: .* a file that can't be read/,
    );
  }
});

test('a file that is missing, a folder, not text or without an end is a problem', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'folder'));
  await writeFile(join(folder, 'binary'), Buffer.from([0x66, 0xff, 0xc0]));
  for (const file of ['nothing.yaml', 'folder', 'binary', '/dev/zero']) {
    const result = await loadConfig({ file, folder, env: {} });
    assert.ok(!result.ok, file);
    assert.match(showProblem(result.problems[0]!), /can't be read/);
  }
});

test('listening beyond loopback needs what protects it', () => {
  assert.match(
    problemsOf('http: { host: 0.0.0.0 }')[0]!,
    /http\.host: "0\.0\.0\.0" is beyond loopback/,
  );
  assert.deepEqual(problemsOf('http: { host: 0.0.0.0, allowPlaintext: true }'), []);
  for (const host of ['::1', 'localhost', '127.0.0.53']) {
    assert.deepEqual(problemsOf(`http: { host: "${host}" }\nmqtt: { host: "${host}" }`), []);
  }
  assert.match(problemsOf('mqtt: { host: "::" }')[0]!, /mqtt\.host: .* nobody has a password/);
  assert.deepEqual(problemsOf('mqtt: { host: "::", enabled: false }'), []);
  const user = 'users: [{ username: a, password: b }]';
  assert.deepEqual(problemsOf(`mqtt: { host: "::", ${user} }`), []);
  const anonymous = problemsOf(`mqtt: { host: "::", ${user}, allowAnonymous: true }`);
  assert.match(anonymous[0]!, /mqtt\.allowAnonymous: true is for loopback/);
});

test('what does not fit together is told although something else is wrong too', () => {
  const problems = problemsOf(`
http: { port: 1883, hostnames: 5 }
mqtt: { routes: [{ topic: a, stream: s }] }
rtsp: { enabled: false, readers: [{ username: a, password: b }, { username: a, password: c }] }
webrtc: { enabled: false }
cameras:
  front: { source: { push: { username: a, password: b } }, events: evnts }
  back: { source: {} }
  yard: { source: { rtsp: rtsp://x/, push: { username: a, password: b } } }
streams: { events: {} }
deliveries:
  one: { from: { camera: frnt }, to: { kinesis: { stream: s } } }
  two: { from: { stream: events }, to: { s3: { bucket: b, accessKeyId: k } } }
  three: { from: { stream: s }, to: { folder: { path: out } }, as: fragments }
  four: { from: { camera: front }, to: { folder: { path: out } }, events: events }
  six: { from: { camera: front }, to: { folder: { path: out } }, as: fragments, events: event }
  five: { from: { stream: events }, to: { kinesisVideo: { stream: k } }, catchUp: live-first }
  seven: { from: { camera: front }, to: { http: { url: 'https://u:p@example.net/' } } }
  eight: { from: { stream: events }, to: { opensearch: { endpoint: 'http://x:9', index: a, username: u } } }
  nine: { from: { stream: events }, to: { splunk: { endpoint: 'http://u@x:9', token: t } } }
  ten: { from: { stream: events }, to: { dynamodb: { table: abc, secretAccessKey: k } } }
  eleven:
    from: { stream: events }
    to: { opensearch: { endpoint: 'http://x:9', index: a, username: u, password: p, service: es } }
`);
  for (const pattern of [
    /http\.hostnames: 5 is one value, and takes a list/,
    /mqtt\.port: is 1883, which is taken by http\.port/,
    /mqtt\.routes: will never see a message/,
    /mqtt\.routes\[0\]\.stream: "s" is not a stream/,
    /rtsp\.readers\[1\]\.username: "a" is there twice/,
    /cameras\.front\.events: "evnts" .*Did you mean "events"/,
    /cameras\.front\.source\.push: needs the RTSP server or WebRTC/,
    /cameras\.back\.source: needs one of its keys, and has none/,
    /cameras\.yard\.source: needs one of its keys, and has rtsp and push/,
    /deliveries\.one\.from\.camera: "frnt" .*Did you mean "front"/,
    /deliveries\.one\.to\.kinesis: takes records/,
    /deliveries\.three\.as: "fragments" is of footage, and a stream has records.*from\.camera/,
    /deliveries\.six\.events: "event" is not a stream .*Did you mean "events"/,
    /deliveries\.four\.events: "events" tells of fragments, and needs as: fragments/,
    /deliveries\.five\.to\.kinesisVideo: takes footage, and a stream has records/,
    /deliveries\.five\.catchUp: "live-first" is not for kinesisVideo/,
    /deliveries\.two\.to\.s3\.accessKeyId: "k" needs secretAccessKey/,
    /deliveries\.seven\.to\.http: takes records.*events stream to http/,
    /deliveries\.seven\.to\.http\.url: .*has a user in it/,
    /deliveries\.eight\.to\.opensearch\.username: "u" needs password/,
    /deliveries\.nine\.to\.splunk\.endpoint: .*has a user in it/,
    /deliveries\.ten\.to\.dynamodb\.secretAccessKey: .*needs accessKeyId/,
    /deliveries\.eleven\.to\.opensearch\.username: "u" is a login, and service signs/,
  ]) {
    assert.ok(
      problems.some((problem) => pattern.test(problem)),
      `${String(pattern)}\n${problems.join('\n')}`,
    );
  }
});

test('destinations of batches have limits, and defaults', () => {
  const to = (destination: string): readonly string[] =>
    problemsOf(`
streams: { s: {} }
deliveries: { d: { from: { stream: s }, to: ${destination} } }
`);
  for (const destination of [
    '{ http: { url: "https://x/" } }',
    '{ opensearch: { endpoint: "https://x", index: logs-2 } }',
    '{ splunk: { endpoint: "https://x:8088", token: t } }',
    '{ dynamodb: { table: devices } }',
  ]) {
    assert.deepEqual(to(destination), []);
  }
  for (const [destination, problem] of [
    ['{ http: { url: "ftp://x/" } }', /http:\/\/ or https/],
    ['{ http: { url: "https://x/", timeoutSeconds: 601 } }', /1 to 600/],
    ['{ opensearch: { endpoint: "https://x", index: Logs } }', /lower case/],
    ['{ opensearch: { endpoint: "https://x", index: _x } }', /lower case/],
    ['{ opensearch: { endpoint: "https://x", index: x, documentId: query } }', /needs idQuery/],
    ['{ opensearch: { endpoint: "https://x", index: x, idQuery: a } }', /documentId: query/],
    [
      '{ opensearch: { endpoint: "https://x", index: x, documentId: query, idQuery: "a[" } }',
      /idQuery: .* is no query of JMESPath: /,
    ],
    ['{ opensearch: { endpoint: "https://x", index: x, maxBytes: 101 MiB } }', /1 MiB to 100 MiB/],
    ['{ splunk: { endpoint: "https://x", token: t, channel: main } }', /a UUID/],
    ['{ splunk: { endpoint: "https://x", token: t, maxBytes: 1 } }', /1 MB to 100 MB/],
    ['{ dynamodb: { table: "a b" } }', /3 to 255/],
  ] as const) {
    const [found = 'none'] = to(destination);
    assert.match(found, problem, destination);
  }
});

test('a name that could leave its folder, or JavaScript, is refused', () => {
  for (const name of ['..', '.', 'a/b', 'a b', '"a\\u0000"', '""', 'ü', 'a'.repeat(129)]) {
    assert.equal(problemsOf(`streams: { ${name}: {} }`).length, 1, name);
  }
  assert.match(problemsOf('__proto__: { http: { port: 1 } }')[0]!, /__proto__/);
  assert.match(problemsOf('streams: { __proto__: {} }')[0]!, /__proto__/);
  assert.deepEqual(Object.keys(configOf('streams: { constructor: {}, toString: {} }').streams), [
    'constructor',
    'toString',
  ]);
});

test('paths start at the folder of the file; a program without a slash is looked for in PATH', () => {
  const config = configOf(
    'dataDir: ../d\nmediaDir: /m\nffmpegPath: ffmpeg\nstreams: { s: {} }\ndeliveries: { d: { from: { stream: s }, to: { folder: { path: out } } } }',
  );
  assert.equal(config.dataDir, '/etc/d');
  assert.equal(config.mediaDir, '/m');
  assert.equal(config.ffmpegPath, 'ffmpeg');
  assert.deepEqual(config.deliveries['d']?.to, {
    folder: { path: '/etc/headgate/out', prefix: '' },
  });
  assert.equal(configOf('ffmpegPath: ./bin/ffmpeg').ffmpegPath, '/etc/headgate/bin/ffmpeg');
});

test('anchors are read, and where a value comes from is known', () => {
  const text = 'streams:\n  a: &s { shards: 3 }\n  b: *s\n';
  const result = parse(text, { HEADGATE_HTTP_PORT: '1' });
  assert.ok(result.ok);
  assert.equal(result.config.streams['b']?.shards, 3);
  assert.equal(showOrigin(result.originOf(['streams', 'b', 'shards'])), 'headgate.yaml:2:19');
  assert.equal(showOrigin(result.originOf(['http', 'port'])), 'HEADGATE_HTTP_PORT');
  assert.equal(showOrigin(result.originOf(['http', 'host'])), 'default');
  assert.match(problemsOf('http: *nothing')[0]!, /anchor that is not there/);
});

test('the schema alone fills in the same defaults', () => {
  assert.deepEqual({ ...configSchema.parse({}), dataDir: '/etc/headgate/data' }, configOf(''));
});
