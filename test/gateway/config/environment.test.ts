import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { variableOf } from '../../../gateway/config/environment.ts';
import { configTree, type KeyNode, type KeyPath } from '../../../gateway/config/tree.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { configOf, problemsOf } from './support.ts';

/** What a user of MQTT may do where the file does not say. */
const everything = { publish: ['#'], subscribe: ['#'] };

test('a variable sets a key, over the file', () => {
  const text = 'http: { port: 1 }\nlog: { lingerMs: 3 }';
  const config = configOf(text, {
    HEADGATE_HTTP_PORT: '9000',
    HEADGATE_DATA_DIR: '/var/lib/headgate',
    HEADGATE_MQTT_ENABLED: 'false',
    HEADGATE_MQTT_MAX_PAYLOAD_BYTES: '64 KiB',
    HEADGATE_LOGGING_LEVEL: 'debug',
    HEADGATE_RTSP_PORT: '',
    PATH: '/bin',
  });
  assert.equal(config.http.port, 9000);
  assert.equal(config.dataDir, '/var/lib/headgate');
  assert.equal(config.mqtt.enabled, false);
  assert.equal(config.mqtt.maxPayloadBytes, 65536);
  assert.equal(config.logging.level, 'debug');
  assert.equal(config.log.lingerMs, 3, 'what no variable sets stays');
  assert.equal(config.rtsp.port, 8554, 'an empty variable counts as not set');
});

test('entries of maps and lists are reached by name and position', () => {
  const text = `
cameras: { front-door: { source: { rtsp: 'rtsp://a/' }, retentionHours: 5 } }
mqtt: { users: [{ username: a, password: b }] }
`;
  const config = configOf(text, {
    HEADGATE_CAMERAS__FRONT_DOOR__RETENTION_HOURS: 'null',
    HEADGATE_CAMERAS__yard__SOURCE_PUSH_USERNAME: 'u',
    HEADGATE_CAMERAS__yard__SOURCE_PUSH_PASSWORD: '12345',
    HEADGATE_CAMERAS__yard__MAX_BYTES: '5 GB',
    HEADGATE_MQTT_USERS__0__PASSWORD: 'from outside',
    HEADGATE_MQTT_USERS__1__USERNAME: 'second',
    HEADGATE_MQTT_USERS__1__PASSWORD: 'pw',
    HEADGATE_HTTP_HOSTNAMES__0: 'gateway.example.net',
  });
  assert.deepEqual(Object.keys(config.cameras), ['front-door', 'yard']);
  assert.equal(config.cameras['front-door']?.retentionHours, null);
  assert.deepEqual(config.cameras['yard']?.source, { push: { username: 'u', password: '12345' } });
  assert.equal(config.cameras['yard'].maxBytes, 5e9);
  assert.deepEqual(config.mqtt.users, [
    { username: 'a', password: 'from outside', ...everything },
    { username: 'second', password: 'pw', ...everything },
  ]);
  assert.deepEqual(config.http.hostnames, ['gateway.example.net']);
});

test('a whole part is set as JSON or YAML, and what is set below it comes on top', () => {
  const config = configOf('streams: { gone: {} }', {
    HEADGATE_STREAMS: '{"a": {"shards": 4}, "b": {}}',
    HEADGATE_STREAMS__b__SHARDS: '7',
    HEADGATE_LOG: 'lingerMs: 2',
    HEADGATE_DELIVERIES: '{d: {from: {stream: a}, to: {folder: {path: out}}}}',
    HEADGATE_DELIVERIES__d__BUFFER_MAX_SECONDS: '5',
  });
  assert.deepEqual(Object.keys(config.streams), ['a', 'b']);
  assert.equal(config.streams['a']?.shards, 4);
  assert.equal(config.streams['b']?.shards, 7);
  assert.equal(config.log.lingerMs, 2);
  assert.equal(config.deliveries['d']?.buffer.maxSeconds, 5);
});

test('WebRTC is switched off in a word', () => {
  assert.equal(configOf('', { HEADGATE_WEBRTC: 'off' }).webrtc.enabled, false);
  assert.equal(configOf('', { HEADGATE_WEBRTC: '{ port: 5000 }' }).webrtc.port, 5_000);
  assert.match(problemsOf('', { HEADGATE_WEBRTC: 'of' })[0] ?? '', /^HEADGATE_WEBRTC: webrtc/);
});

test('with _FILE the value is the text of a file', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'password'), 's3cret\r\n');
  const env = {
    HEADGATE_RTSP_READERS: '[{username: a, password: b}]',
    HEADGATE_RTSP_READERS__0__PASSWORD_FILE: join(folder, 'password'),
  };
  assert.equal(configOf('', env).rtsp.readers[0]?.password, 's3cret');
  assert.match(
    problemsOf('', { HEADGATE_RTSP_READERS__0__PASSWORD_FILE: join(folder, 'none') })[0]!,
    /^HEADGATE_RTSP_READERS__0__PASSWORD_FILE: rtsp\.readers\[0\]\.password: names a file that can't be read/,
  );
});

test('variables that mean nothing, or have no right value, are problems', () => {
  const problem = (name: string, value: string): string =>
    problemsOf('', { [name]: value })[0] ?? '';
  assert.equal(
    problem('HEADGATE_HTTP_PROT', '1'),
    'HEADGATE_HTTP_PROT: sets no key of the configuration. Did you mean "HEADGATE_HTTP_PORT"?',
  );
  assert.match(
    problem('HEADGATE_STREAMS__readings__RETENTION_HOUR', '1'),
    /Did you mean "HEADGATE_STREAMS__readings__RETENTION_HOURS"/,
  );
  assert.match(
    problem('HEADGATE_HTTP_PORT', 'eighty'),
    /^HEADGATE_HTTP_PORT: http\.port: "eighty" is not allowed\. Allowed: a port/,
  );
  assert.match(
    problem('HEADGATE_MQTT_USERS__3__PASSWORD', 'x'),
    /^HEADGATE_MQTT_USERS__3__PASSWORD: mqtt\.users: has no entry 3/,
  );
  assert.match(problem('HEADGATE_STREAMS', '{a: '), /^HEADGATE_STREAMS: streams: /);
  assert.match(
    problem('HEADGATE_STREAMS', 'seven'),
    /^HEADGATE_STREAMS: streams: "seven" is one value, and takes keys below it/,
  );
  for (const name of [
    'HEADGATE_',
    'HEADGATE_HTTP_',
    'HEADGATE__HTTP_PORT',
    'HEADGATE_HTTP__PORT',
    'HEADGATE_STREAMS__',
    'HEADGATE_STREAMS__a__',
    'HEADGATE_STREAMS____SHARDS',
    'HEADGATE_STREAMS____proto____SHARDS',
    'HEADGATE_MQTT_USERS__one__PASSWORD',
    'HEADGATE_MQTT_USERS__99999999__PASSWORD',
  ]) {
    assert.match(problem(name, '1'), /sets no key/, name);
  }
  assert.deepEqual(problemsOf('', { HEADGATE_TOKEN: 'x', HEADGATE_CONFIG: 'y' }), []);
});

test('every key has a variable of its own, and it sets that key', () => {
  const seen = new Map<string, string>();
  const visit = (node: KeyNode, path: KeyPath): void => {
    if (path.length > 0) {
      const name = variableOf(configTree, path);
      assert.equal(seen.get(name), undefined, `${name} is ambiguous`);
      seen.set(name, JSON.stringify(path));
      // A value that no key takes: the problem names the key that the variable reached.
      const reached = problemsOf('', { [name]: '[[[[0]]]]' });
      const shown = path
        .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
        .join('')
        .slice(1);
      const isText = node.kind === 'text' && reached.every((line) => !line.includes('sets no key'));
      assert.ok(
        isText || reached.some((line) => line.startsWith(`${name}: ${shown}`)),
        `${name} for ${shown}:\n${reached.join('\n')}`,
      );
    }
    if (node.kind === 'section') for (const [key, child] of node.keys) visit(child, [...path, key]);
    if (node.kind === 'map') visit(node.entry, [...path, 'some-name']);
    if (node.kind === 'list') visit(node.item, [...path, 0]);
  };
  visit(configTree, []);
  assert.ok(seen.size > 60, `only ${seen.size} keys`);
});
