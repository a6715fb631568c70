/** The program as people start it: a real process, a real gateway, real exit codes. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { startChild, type Child } from '../../support/child.ts';
import { headgateCommand } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

function headgate(t: TestContext, folder: string, ...args: readonly string[]): Child {
  // What the machine at hand has set must not count here.
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('HEADGATE_'));
  const env = Object.fromEntries(inherited);
  const [program, all] = headgateCommand(...args);
  return startChild(t, program, all, { cwd: folder, env });
}

test('run, status, token, check and the end, each as a process', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    join(folder, 'headgate.yaml'),
    'http: { port: 0 }\nmqtt: { enabled: false }\nrtsp: { enabled: false }\nstreams: { readings: { shards: 2 } }\n',
  );
  const gateway = headgate(t, folder, 'run');
  const [, url = ''] = await gateway.line(/(http:\/\/127\.0\.0\.1:\d+)\//);

  const [status, token, busy] = [
    headgate(t, folder, 'status', '--url', url),
    headgate(t, folder, 'token'),
    headgate(t, folder, 'run'),
  ];
  assert.deepEqual(await status.exited, { code: 0, signal: null }, status.lines.join('\n'));
  // Degraded is what a machine with too much else to do may make of it.
  const gatewayLine = /^Gateway [0-9a-f-]{36}, version .*: (?:ok|degraded), up \d+ s$/m;
  assert.match(status.lines.join('\n'), gatewayLine);
  assert.match(status.lines.join('\n'), /^readings +2 +0 /m);

  assert.equal((await busy.exited).code, 1, 'one store, one gateway');
  assert.match(busy.lines.join('\n'), /could not start/);

  assert.equal((await token.exited).code, 0);
  const secret = token.lines.find((line) => line.startsWith('hg_')) ?? '';
  const [json, wrong] = [
    headgate(t, folder, 'status', '--json', '--url', url, '--token', secret),
    headgate(t, folder, 'status', '--url', url, '--token', 'hg_wrong'),
  ];
  assert.equal((await json.exited).code, 0, json.lines.join('\n'));
  const answer = JSON.parse(json.lines.join('\n')) as { status: { health: { status: string } } };
  assert.match(answer.status.health.status, /^(?:ok|degraded)$/);
  assert.equal((await wrong.exited).code, 1);
  assert.match(wrong.lines.join('\n'), /refused the token/);

  gateway.process.kill('SIGTERM');
  assert.deepEqual(await gateway.exited, { code: 0, signal: null }, gateway.lines.join('\n'));
  assert.match(gateway.lines.at(-1) ?? '', /"stopped"/);

  const check = headgate(t, folder, 'check');
  assert.equal((await check.exited).code, 0, check.lines.join('\n'));
  assert.match(check.lines.join('\n'), /is sound\./);
});

test('the last words of a crash tell no password', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    join(folder, 'headgate.yaml'),
    'http: { port: 0 }\nmqtt: { enabled: false }\nrtsp: { enabled: false }\n',
  );
  // Somewhere deep inside, something throws that nobody catches.
  const crash = `process.once('SIGUSR2', () => {
    const cause = new Error('no answer from rtsp://viewer:hunter2@192.0.2.1/');
    void Promise.reject(new Error('lost http://h/?token=hunter2', { cause }));
  });`;
  await writeFile(join(folder, 'crash.mjs'), crash);
  const [program, args] = headgateCommand('run');
  const crashing = ['--import', join(folder, 'crash.mjs'), ...args];
  const child = startChild(t, program, crashing, { cwd: folder });
  await child.line(/"serving"/);
  child.process.kill('SIGUSR2');
  assert.deepEqual(await child.exited, { code: 1, signal: null });
  const said = child.lines.join('\n');
  assert.match(said, /^headgate: Error: lost http:\/\/h\/\?token=\*\*\*$/m);
  assert.match(said, /^headgate: Error: no answer from rtsp:\/\/viewer:\*\*\*@192/m);
  assert.match(said, /\n\s+at /, 'and where it was');
  assert.ok(!said.includes('hunter2'), said);
});

test('the exit codes are those of the process', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'wrong.yaml'), 'http: { prot: 1 }');
  const children = [
    headgate(t, folder, '--version'),
    headgate(t, folder, 'status', '--url', 'http://127.0.0.1:1'),
    headgate(t, folder, 'nothing'),
    headgate(t, folder, 'run', '--config', 'wrong.yaml'),
  ];
  const codes = await Promise.all(children.map(async (child) => (await child.exited).code));
  assert.deepEqual(codes, [0, 1, 2, 78]);
  assert.match(
    children[3]!.lines.join('\n'),
    /wrong\.yaml:1:9: http\.prot: is not a known key.*"port"/,
  );
});
