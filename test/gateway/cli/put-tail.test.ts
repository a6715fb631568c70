import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startChild } from '../../support/child.ts';
import { GatewayProcess, headgateCommand } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { headgate } from './command.ts';

test('records are put from the shell, and printed as they come', async (t) => {
  const folder = await temporaryFolder(t);
  await GatewayProcess.start(t, folder, 'streams: { readings: { shards: 3 } }');

  const [program, args] = headgateCommand('tail', 'readings', '--from', 'earliest', '-n', '6');
  const env = { ...process.env, NODE_OPTIONS: '' };
  const tail = startChild(t, program, args, { cwd: folder, env });

  const put = await headgate(folder, ['put', 'readings', 'one', 'two', '-k', 'same']);
  assert.equal(put.stdout, '2 records put into readings.\n', put.stderr);
  await writeFile(join(folder, 'lines.txt'), 'from a file\r\n\nthe last\xff', 'latin1');
  const file = await headgate(folder, ['put', 'readings', '--file', 'lines.txt', '--json']);
  assert.deepEqual(
    file.stdout
      .trim()
      .split('\n')
      .map((line) => Object.keys(JSON.parse(line) as object)),
    [
      ['shard', 'sequence'],
      ['shard', 'sequence'],
    ],
  );

  const [putProgram, putArgs] = headgateCommand('put', 'readings');
  const piped = startChild(t, putProgram, putArgs, { cwd: folder, env });
  piped.process.stdin?.end('piped one\npiped two');
  await piped.line(/^2 records put into readings\.$/);

  assert.equal((await tail.exited).code, 0, tail.lines.join('\n'));
  assert.deepEqual(
    tail.lines.toSorted(),
    ['from a file', 'one', 'piped one', 'piped two', 'the last\ufffd', 'two'].toSorted(),
  );
  assert.ok(tail.lines.indexOf('one') < tail.lines.indexOf('two'), 'in order of the key');

  const whole = await headgate(folder, ['tail', 'readings', '--from', '0', '-n', '6', '--json']);
  const records = whole.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
  assert.equal(records.length, 6);
  assert.ok(records.some((record) => 'encoding' in record && record.encoding === 'base64'));
});

test('printing ends with the next record when its reader has gone', async (t) => {
  const folder = await temporaryFolder(t);
  await GatewayProcess.start(t, folder, 'streams: { readings: { shards: 1 } }');
  await headgate(folder, ['put', 'readings', 'one', 'two', 'three']);
  const [program, args] = headgateCommand('tail', 'readings', '--from', 'earliest');
  const shell = startChild(t, 'sh', ['-c', '"$@" | head -n 1', 'sh', program, ...args], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  await shell.line(/one/);
  while (shell.process.exitCode === null) await headgate(folder, ['put', 'readings', 'another']);
  assert.equal((await shell.exited).code, 0);
  assert.deepEqual(shell.lines, ['one']);
});

test('what can not be put or printed is told', async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(t, folder, 'streams: { readings: {} }');
  const unknown = await headgate(folder, ['put', 'nothing', 'one']);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /There is no stream named nothing\. There is only readings\./);
  const missing = await headgate(folder, ['put', 'readings', '--file', 'not-there']);
  assert.equal(missing.code, 1);
  assert.equal(missing.stderr, "not-there can't be read: ENOENT: no such file or directory.\n");
  const mistyped = await headgate(folder, ['tail', 'reading']);
  assert.equal(mistyped.code, 1);
  assert.match(mistyped.stderr, /no stream named reading\. Did you mean readings\?/);
  await writeFile(join(folder, 'long'), `short\n${'x'.repeat(9 * 2 ** 20)}\n`);
  const long = await headgate(folder, ['put', 'readings', '--file', 'long']);
  assert.equal(long.code, 1);
  assert.match(long.stderr, /longer than \d+ bytes\. Before that, 1 record/);
  assert.equal((await headgate(folder, ['put', 'readings', 'one', '--file', 'long'])).code, 2);
  assert.equal((await headgate(folder, ['tail', 'readings', '-n', 'many'])).code, 2);
  const shard = await headgate(folder, ['tail', 'readings', '--shard', '5']);
  assert.match(shard.stderr, /has no shard 5/);
  await gateway.stop();
  const nobody = await headgate(folder, ['tail', 'readings']);
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /No gateway answers/);
});
