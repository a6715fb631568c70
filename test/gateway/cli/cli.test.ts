import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCli } from '../../../gateway/cli/cli.ts';
import { printReference } from '../../../gateway/config/reference.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { FakeProcess } from './support.ts';

test('there is help everywhere, and a version', async () => {
  for (const args of [
    ['--help'],
    ...['run', 'check', 'status', 'config', 'token'].map((name) => [name, '-h']),
  ]) {
    const process = new FakeProcess();
    assert.equal(await runCli(process.context(args)), 0);
    assert.match(process.stdout, /^Usage: headgate/);
    assert.equal(process.stderr, '');
  }
  const process = new FakeProcess();
  assert.equal(await runCli(process.context(['--version'])), 0);
  assert.match(process.stdout, /^\d+\.\d+\.\d+\n$/);
});

test('wrong usage ends with 2 and says what is wrong', async () => {
  for (const [args, pattern] of [
    [['statsu'], /no command "statsu"\. Did you mean "status"\?/],
    [['config', '--bogus'], /^headgate: unknown option '--bogus'/],
    [['check', 'more'], /too many arguments/],
    [['run', '--config'], /argument missing/],
  ] as const) {
    const process = new FakeProcess();
    assert.equal(await runCli(process.context(args)), 2, args.join(' '));
    assert.match(process.stderr, pattern);
    assert.equal(process.stdout, '');
  }
});

test('a configuration that can not be used ends every command with 78 and all its problems', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'headgate.yaml'), 'http:\n  prot: 1\n  port: 99999\n');
  for (const name of ['run', 'check', 'status', 'config', 'token']) {
    const process = new FakeProcess();
    assert.equal(await runCli(process.context([name], { folder })), 78);
    assert.match(
      process.stderr,
      /^headgate\.yaml has 2 problems:\n {2}headgate\.yaml:2:3: .*\n {2}headgate\.yaml:3:9: .*\n$/,
    );
    assert.equal(process.stdout, '');
  }
  const process = new FakeProcess();
  const env = { HEADGATE_HTTP_PROT: '1' };
  assert.equal(await runCli(process.context(['config'], { env })), 78);
  assert.match(process.stderr, /^The environment has a problem:\n {2}HEADGATE_HTTP_PROT: /);
});

test('a first configuration can be used as it is, and replaces none', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'headgate.yaml');
  const first = new FakeProcess();
  assert.equal(await runCli(first.context(['init'], { folder })), 0);
  assert.match(first.stdout, /headgate\.yaml is written/);
  assert.equal((await stat(file)).mode & 0o077, 0, 'it holds passwords');
  const written = await readFile(file, 'utf8');
  const shown = new FakeProcess();
  assert.equal(await runCli(shown.context(['config'], { folder })), 0, shown.stderr);
  assert.match(shown.stdout, /yard:/);
  const second = new FakeProcess();
  assert.equal(await runCli(second.context(['init'], { folder })), 1);
  assert.match(second.stderr, /is not written: it is there already/);
  assert.equal(await readFile(file, 'utf8'), written);
});

test('the file is --config, else HEADGATE_CONFIG, else ./headgate.yaml, else none', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'headgate.yaml'), 'http: { port: 1 }');
  await writeFile(join(folder, 'two.yaml'), 'http: { port: 2 }');
  await writeFile(join(folder, 'three.yaml'), 'http: { port: 3 }');
  const portOf = async (args: readonly string[], env = {}, from = folder): Promise<string> => {
    const process = new FakeProcess();
    const code = await runCli(process.context(['config', ...args], { env, folder: from }));
    assert.equal(code, 0, process.stderr);
    return /^ {2}port: (\d+ # .*)$/m.exec(process.stdout)?.[1] ?? '';
  };
  assert.equal(await portOf([]), '1 # headgate.yaml:1:15');
  assert.equal(await portOf([], { HEADGATE_CONFIG: 'two.yaml' }), '2 # two.yaml:1:15');
  assert.equal(
    await portOf(['-c', 'three.yaml'], { HEADGATE_CONFIG: 'two.yaml' }),
    '3 # three.yaml:1:15',
  );
  assert.equal(await portOf([], { HEADGATE_HTTP_PORT: '4' }), '4 # HEADGATE_HTTP_PORT');
  assert.equal(await portOf([], {}, join(folder, 'elsewhere')), '8080 # default');
  const process = new FakeProcess();
  assert.equal(await runCli(process.context(['config', '-c', 'none.yaml'], { folder })), 78);
  assert.match(process.stderr, /none\.yaml.*can't be read/);
});

test('config prints what is in force without secrets, and the reference on demand', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    join(folder, 'headgate.yaml'),
    'dataDir: here\nmqtt: { users: [{ username: a, password: hunter2 }] }',
  );
  const process = new FakeProcess();
  assert.equal(await runCli(process.context(['config'], { folder })), 0);
  assert.ok(process.stdout.includes(`dataDir: ${join(folder, 'here')} # headgate.yaml:1:10\n`));
  assert.ok(process.stdout.includes("password: '***'"));
  assert.ok(!process.stdout.includes('hunter2'));

  const reference = new FakeProcess();
  assert.equal(await runCli(reference.context(['config', '--reference'], { folder })), 0);
  assert.equal(reference.stdout, printReference());
});

test('check without a store, and status without a gateway, are told in a sentence', async (t) => {
  const folder = await temporaryFolder(t);
  const check = new FakeProcess();
  assert.equal(await runCli(check.context(['check'], { folder })), 1);
  assert.match(check.stderr, /^headgate: there is no store in .*demonstration\n$/);

  // Nothing listens on port 1.
  const env = { HEADGATE_HTTP_PORT: '1' };
  for (const args of [
    ['status'],
    ['status', '--token', 'x'],
    ['status', '--url', 'http://127.0.0.1:1'],
  ]) {
    const status = new FakeProcess();
    assert.equal(await runCli(status.context(args, { folder, env, fetch })), 1);
    assert.match(
      status.stderr,
      /^No gateway answers at http:\/\/127\.0\.0\.1:1 \(.*\)\. "headgate run" starts one\.\n$/,
    );
  }
  const status = new FakeProcess();
  assert.equal(await runCli(status.context(['status', '--url', 'nonsense'], { folder })), 1);
  assert.equal(status.stderr, 'nonsense is not a URL.\n');
});

test('status tells something else that answers from a gateway', async () => {
  for (const [answer, pattern] of [
    [() => new Response('<html>', { status: 200 }), /is not this version of the gateway/],
    [() => new Response('{}', { status: 401 }), /refused the token/],
    [() => new Response('', { status: 503 }), /answered .* with 503/],
  ] as const) {
    const process = new FakeProcess();
    const env = { HEADGATE_TOKEN: 'secret-token' };
    const context = process.context(['status'], { env, fetch: () => Promise.resolve(answer()) });
    assert.equal(await runCli(context), 1);
    assert.match(process.stderr, pattern);
    assert.ok(!process.stderr.includes('secret-token'));
  }
});
