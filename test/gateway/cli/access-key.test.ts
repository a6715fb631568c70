import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { runCli } from '../../../gateway/cli/cli.ts';
import { writeRunning } from '../../../gateway/running.ts';
import { AccessKeys } from '../../../gateway/security/access-keys.ts';
import { openMasterKey } from '../../../gateway/security/master-key.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { FakeProcess } from './support.ts';

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

type Run = (...args: readonly string[]) => Promise<Ran>;

async function prepare(t: TestContext, yaml = ''): Promise<{ folder: string; run: Run }> {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'headgate.yaml'), yaml);
  const run: Run = async (...args) => {
    const process = new FakeProcess();
    const code = await runCli(process.context(['access-key', ...args], { folder }));
    return { code, stdout: process.stdout, stderr: process.stderr };
  };
  return { folder, run };
}

/** The keys as a gateway over the same folder sees them. */
async function gatewayKeys(folder: string): Promise<AccessKeys> {
  const { clock } = new FakeProcess();
  const none = {
    ...{ masterKeyFile: null, masterKey: null },
    kms: {
      ...{ keyId: null, region: null, endpoint: null },
      ...{ accessKeyId: null, secretAccessKey: null },
    },
  };
  const masterKey = await openMasterKey({
    config: {
      dataDir: join(folder, 'data'),
      encryption: { ...none, previous: none, dataKeyDays: 90 },
    },
    clock,
    fetch,
  });
  return AccessKeys.open({
    ...{ folder: join(folder, 'data', 'access'), masterKey, configured: [], clock },
  });
}

test('a key is made, listed and revoked, and a running gateway follows', async (t) => {
  const { folder, run } = await prepare(t);
  const keys = await gatewayKeys(folder);
  assert.match((await run('list')).stderr, /no access key yet/);
  const made = await run('create', 'plant');
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stderr, /shown only now\.\nIt has no policy, so it may do everything\./);
  const [, id = '', secret = ''] =
    /^AWS_ACCESS_KEY_ID=(\w+)\nAWS_SECRET_ACCESS_KEY=(\S{40})\n$/.exec(made.stdout) ?? [];
  assert.equal((await keys.find(id))?.secretAccessKey, secret);
  const listed = await run('list');
  assert.match(listed.stdout, new RegExp(`^KEY .*\n${id} +plant +everything +2026-01-01T`));
  assert.equal(listed.stdout.includes(secret), false);
  const revoked = await run('revoke', id);
  assert.equal(revoked.code, 0);
  assert.equal(await keys.find(id), null);
  const again = await run('revoke', id);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /There is no access key/);
});

test('a policy file goes with the key, and a wrong one makes none', async (t) => {
  const { folder, run } = await prepare(t);
  const policy = {
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Action: 'kinesis:Get*', Resource: '*' }],
  };
  await writeFile(join(folder, 'reader.json'), JSON.stringify(policy));
  const made = await run('create', 'reader', '--policy', 'reader.json');
  assert.equal(made.code, 0, made.stderr);
  assert.doesNotMatch(made.stderr, /everything/);
  assert.match((await run('list')).stdout, /reader +1 policy/);
  await writeFile(join(folder, 'wrong.json'), '{"Statement":[{"Effect":"Permit"}]}');
  const wrong = await run('create', 'wrong', '--policy', 'wrong.json');
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /policy can't be used: .*Statement\[0\]\.Effect must be "Allow"/);
  assert.equal(wrong.stdout, '');
  assert.equal((await run('create', 'none', '--policy', 'missing.json')).code, 1);
  assert.equal((await run('create', 'a b')).code, 1);
  assert.doesNotMatch((await run('list')).stdout, /wrong|none/);
});

test('keys of the configuration are listed, and revoked there', async (t) => {
  const { run } = await prepare(
    t,
    'auth:\n  keys:\n    - { name: demo, accessKeyId: AKIADEMO, secretAccessKey: hunter2 }\n',
  );
  const listed = await run('list');
  assert.match(listed.stdout, /AKIADEMO +demo +everything +configured/);
  assert.doesNotMatch(listed.stdout, /hunter2/);
  const revoked = await run('revoke', 'AKIADEMO');
  assert.equal(revoked.code, 1);
  assert.match(revoked.stderr, /take it out of auth\.keys/);
});

test('without its master key a key is listed, and can be revoked', async (t) => {
  const { folder, run } = await prepare(t);
  const { stdout } = await run('create', 'plant');
  await rm(join(folder, 'data', 'access', 'master.key'));
  const [, id = ''] = /AWS_ACCESS_KEY_ID=(\w+)/.exec(stdout) ?? [];
  assert.match((await run('list')).stdout, /plant/);
  assert.equal((await run('revoke', id)).code, 0);
});

test('the gateway that runs gets the key, although the configuration names another folder by now', async (t) => {
  const { folder } = await prepare(t, 'dataDir: elsewhere\n');
  await mkdir(join(folder, 'data'));
  await writeRunning(join(folder, 'data'), {
    ...{ processId: 1, url: 'http://127.0.0.1:8080', demonstration: false, entrances: null },
  });
  const process = new FakeProcess();
  const healthy = { fetch: () => Promise.resolve(new Response('ok')) };
  const code = await runCli(
    process.context(['access-key', 'create', 'plant'], { folder, ...healthy }),
  );
  assert.equal(code, 0, process.stderr);
  const [, id = ''] = /AWS_ACCESS_KEY_ID=(\w+)/.exec(process.stdout) ?? [];
  assert.equal((await (await gatewayKeys(folder)).find(id))?.name, 'plant');
});
