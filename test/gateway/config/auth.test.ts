import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../../gateway/config/load.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { configOf, problemsOf } from './support.ts';

const allow = '{"Statement":{"Effect":"Allow","Action":"kinesis:*","Resource":"*"}}';

test('signatures are checked unless the configuration says otherwise', () => {
  const { auth, encryption } = configOf('');
  assert.deepEqual(auth, { mode: 'sigv4', keys: [] });
  assert.equal(encryption.masterKey, null);
  assert.equal(encryption.kms.keyId, null);
});

test('permissive needs every listener on loopback', () => {
  assert.equal(configOf('auth: { mode: permissive }').auth.mode, 'permissive');
  assert.equal(
    configOf('auth: { mode: permissive }\nrtsp: { host: 0.0.0.0, enabled: false }').auth.mode,
    'permissive',
  );
  for (const [beyond, said] of [
    ['http: { host: 0.0.0.0, allowPlaintext: true }', 'http.host is'],
    ['mqtt: { host: 192.168.1.2, users: [{ username: a, password: b }] }', 'mqtt.host is'],
    ['rtsp: { host: "::" }', 'rtsp.host is'],
    ['listen: lan', '"listen: lan" goes'],
  ] as const) {
    const [problem = ''] = problemsOf(`auth: { mode: permissive }\n${beyond}`);
    assert.ok(
      problem.includes(`is for loopback alone, and ${said} beyond it`),
      `${beyond}: ${problem}`,
    );
  }
});

test('a key has an id of its own, and policies that can be read', () => {
  const key = (more = '', id = 'AKIA1'): string =>
    `\n    - { name: plant, accessKeyId: ${id}, secretAccessKey: hunter2${more} }`;
  const { keys } = configOf(`auth:\n  keys:${key(`, policies: ['${allow}']`)}`).auth;
  assert.deepEqual(keys[0]?.policies, [allow]);
  assert.match(
    problemsOf(`auth:\n  keys:${key()}${key()}`)[0] ?? '',
    /auth\.keys\[1\]\.accessKeyId: .*is there twice/,
  );
  const wrong = allow.replace('Allow', 'Permit');
  assert.match(
    problemsOf(`auth:\n  keys:${key(`, policies: ['${wrong}']`)}`)[0] ?? '',
    /auth\.keys\[0\]\.policies\[0\].*Statement\.Effect must be "Allow" or "Deny"/,
  );
  const [path = ''] = problemsOf(`auth:\n  keys:${key('', '../x')}`);
  assert.match(path, /accessKeyId/);
  assert.doesNotMatch(path, /hunter2/);
});

test('a policy can stand in a file of its own', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'reader.json'), `${allow}\n`);
  await writeFile(
    join(folder, 'headgate.yaml'),
    "auth:\n  keys:\n    - { name: a, accessKeyId: A, secretAccessKey: b, policies: ['${file:reader.json}'] }\n",
  );
  const result = await loadConfig({ file: 'headgate.yaml', folder, env: {} });
  assert.ok(result.ok, JSON.stringify(result));
  assert.equal(result.config.auth.keys[0]?.policies.length, 1);
  assert.equal(result.files.length, 2, 'a change of either is noticed');
});

test('there is one master key, and it is one', () => {
  const key = Buffer.alloc(32, 1).toString('base64');
  assert.equal(configOf(`encryption: { masterKey: ${key} }`).encryption.masterKey, key);
  const problems = (text: string): string => problemsOf(`encryption: ${text}`).join('\n');
  assert.match(
    problems(`{ masterKey: ${key}, masterKeyFile: x }`),
    /encryption\.masterKey: .*second master key, beside masterKeyFile/,
  );
  assert.match(
    problems(`{ masterKey: ${key}, kms: { keyId: alias/a, region: eu-west-1 } }`),
    /encryption\.kms\.keyId: .*second master key, beside masterKey/,
  );
  const wrong = problems('{ masterKey: hunter2 }');
  assert.match(wrong, /is no key/);
  assert.doesNotMatch(wrong, /hunter2/);
  assert.match(problems('{ kms: { keyId: alias/a } }'), /needs region beside it/);
  assert.equal(problems('{ kms: { keyId: "arn:aws:kms:eu-west-1:1:key/a" } }'), '');
  assert.match(
    problems('{ kms: { keyId: "arn:aws:kms:eu-west-1:1:key/a", accessKeyId: A } }'),
    /needs secretAccessKey beside it/,
  );
});
