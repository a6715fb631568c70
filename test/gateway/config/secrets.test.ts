import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printConfig } from '../../../gateway/config/print.ts';
import { redact } from '../../../gateway/config/redact.ts';
import { maskUrls } from '../../../gateway/observe/mask.ts';
import { configOf, problemsOf } from './support.ts';

const secretText = `
mqtt: { users: [{ username: sensors, password: hunter2 }] }
rtsp: { readers: [{ username: viewer, password: hunter2 }] }
streams: { s: {} }
cameras:
  pushed: { source: { push: { username: a, password: hunter2 } } }
  pulled: { source: { rtsp: 'rtsp://admin:hunter2@192.0.2.1/stream?x=1&password=hunter2' } }
deliveries:
  d:
    from: { stream: s }
    to: { s3: { bucket: b, endpoint: 'http://user:hunter2@s3:9000', accessKeyId: k, secretAccessKey: hunter2 } }
`;

test('a shown configuration holds no secret and is otherwise whole', () => {
  const config = configOf(secretText);
  const shown = redact(config);
  const printed = printConfig(config, () => '');
  assert.ok(JSON.stringify(config).includes('hunter2'), 'the configuration itself keeps them');
  for (const text of [JSON.stringify(shown), printed]) {
    assert.ok(!text.includes('hunter2'), text);
    assert.ok(text.includes('rtsp://admin:***@192.0.2.1/stream?x=1&password=***'), text);
  }
  assert.equal(shown.mqtt.users[0]?.username, 'sensors');
  assert.equal(shown.http.port, config.http.port);
});

test('a printed configuration reads back as the same one', () => {
  const text = `
http: { hostnames: [a, '1.5', 'true', "no"] }
streams: { s: { maxBytes: 1.5 GiB, retentionHours: 1.5 }, '123': { maxBytes: null } }
cameras: { c: { source: { rtsp: "rtsp://h/it's #1: [x]" } } }
deliveries: { d: { from: { stream: s }, to: { folder: { path: "/a b/ü'\\t\\u2028" } } } }
`;
  const config = configOf(text);
  assert.deepEqual(configOf(printConfig(config, () => 'a: comment')), config);
});

test('no problem tells a secret, whatever is wrong with it', () => {
  const wrong = [
    'mqtt: { users: [{ username: a, password: [hunter2] }] }',
    'mqtt: { users: [{ username: a, password: { x: hunter2 } }] }',
    'mqtt: { users: [{ username: a, pasword: hunter2 }] }',
    'mqtt: { users: ["a:hunter2"] }',
    'mqtt: { users: a:hunter2 }',
    'mqtt: hunter2',
    'rtsp: { readers: [{ username: a, password: "hunter2\\n" }] }',
    'mqtt:\n  users:\n    - username: a\n      password: *hunter2\n',
    'mqtt:\n  users:\n    - username: a\n      password: !hunter2 x\n',
    'mqtt:\n  users:\n    - username: a\n      password: &hunter2\n',
    'mqtt:\n  users:\n    - username: a\n      password: "hunter2\n',
    'mqtt:\n  users:\n    - username: a\n      password: @hunter2\n',
    'mqtt:\n  users:\n    - username: a\n      password: %hunter2: x: y\n',
    'password: hunter2',
    'hunter2',
    'cameras: { a: { source: { rtsp: "http://admin:hunter2@host/" } } }',
    'cameras: { a: { source: { rtsp: "rtsp://admin:hunter2/@host:x/" } } }',
    'cameras: { a: { source: { rtsp: "admin:hunter2@host" } } }',
    'cameras: { a: { source: { rtsp: "http://host/?password=hunter2" } } }',
    'cameras: { a: { source: { push: { username: a, password: "${hunter2" } } } }',
  ];
  for (const text of wrong) {
    const problems = problemsOf(text);
    assert.notEqual(problems.length, 0, text);
    assert.ok(!problems.join('\n').includes('hunter2'), `${text}\n${problems.join('\n')}`);
  }
  for (const [name, value] of [
    ['HEADGATE_MQTT_USERS', '[{"username": "a", "password": "hunter2"'],
    ['HEADGATE_MQTT_USERS', 'a:hunter2'],
    ['HEADGATE_MQTT_USERS__0', 'hunter2'],
    ['HEADGATE_CAMERAS__c__SOURCE_RTSP', 'admin:hunter2@host'],
    ['HEADGATE_MQTT_PASWORD', 'hunter2'],
  ] as const) {
    const problems = problemsOf('', { [name]: value });
    assert.notEqual(problems.length, 0, name);
    assert.ok(!problems.join('\n').includes('hunter2'), problems.join('\n'));
  }
});

test('passwords in URLs are masked in any text', () => {
  const cases: [string, string][] = [
    ['rtsp://u:p@h/x', 'rtsp://u:***@h/x'],
    ['see rtsp://u:p@ss@h:554/x and http://a:b@c/', 'see rtsp://u:***@h:554/x and http://a:***@c/'],
    ['rtsp://u:p/w?d@h/x', 'rtsp://u:***@h/x'],
    ['rtsp://:p@h', 'rtsp://:***@h'],
    ['rtsp://h/x?user=a&pwd=secret1&b=1', 'rtsp://h/x?user=a&pwd=***&b=1'],
    [
      'https://h/?X-Amz-Signature=abc&X-Amz-Security-Token=def',
      'https://h/?X-Amz-Signature=***&X-Amz-Security-Token=***',
    ],
    ['http://h/login?token=once_abc', 'http://h/login?token=***'],
    ['rtsp://h/user=a_password=p_channel=1.sdp', 'rtsp://h/user=a_password=***'],
    ['rtsp://h/user=a&password=p&channel=1', 'rtsp://h/user=a&password=***&channel=1'],
    ['rtsp://h/no/password', 'rtsp://h/no/password'],
    ['a@b.example', 'a@b.example'],
  ];
  for (const [text, expected] of cases) assert.equal(maskUrls(text), expected);
});
