import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FileSources, Status } from '../../gateway/api/rest/status-schemas.ts';
import type { Records } from '../../gateway/api/rest/stream-schemas.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { headgate } from './cli/command.ts';

const sections = `
streams: { app: {} }
files:
  app:
    path: logs/*.log
    stream: app
    convert: regex
    regex: { pattern: '^(?<level>[A-Z]+) (?<message>.*)$' }
    partitionKey: '{record.level}'
`;

async function recordsOf(gateway: GatewayProcess, count: number): Promise<readonly string[]> {
  const { records } = await gateway.until<Records>(
    '/streams/app/shards/0/records',
    (answer) => answer.records.length >= count,
  );
  return records.map(({ partitionKey, data }) => `${partitionKey}: ${data}`);
}

test('a gateway follows files, over kill -9 and a changed configuration', async (t) => {
  const folder = await temporaryFolder(t);
  const log = join(folder, 'logs/app.log');
  await mkdir(join(folder, 'logs'));
  await writeFile(log, 'INFO begun\n');
  const gateway = await GatewayProcess.start(t, folder, sections);
  await recordsOf(gateway, 1);
  await appendFile(log, 'WARN hot\nnot of this kind\n');
  await recordsOf(gateway, 3);
  await gateway.kill();
  await appendFile(log, 'INFO after the kill\n');
  await gateway.restart();
  assert.deepEqual(await recordsOf(gateway, 4), [
    'INFO: {"level":"INFO","message":"begun"}',
    'WARN: {"level":"WARN","message":"hot"}',
    `${log}: not of this kind`,
    'INFO: {"level":"INFO","message":"after the kill"}',
  ]);

  const { files } = await gateway.get<FileSources>('/files');
  assert.deepEqual(
    files.map(({ name, state, files: followed, records }) => ({ name, state, followed, records })),
    [{ name: 'app', state: 'running', followed: 1, records: 1 }],
  );
  assert.match((await headgate(folder, ['status'])).stdout, /FILES +STATE.*\napp +running +1 +1 /);
  const metrics = await (await gateway.fetch('/metrics')).text();
  assert.match(metrics, /headgate_files_records_total\{source="app"\} 1\n/);

  await writeFile(join(folder, 'logs/packed.log'), Buffer.from('BZh91AY', 'latin1'));
  const { health } = await gateway.until<Status>('/status', ({ health: { checks } }) =>
    checks.some(({ name, status }) => name === 'files' && status === 'degraded'),
  );
  const check = health.checks.find(({ name }) => name === 'files');
  assert.match(check?.message ?? '', /packed\.log is not read: it is compressed by bzip2/);

  const file = join(folder, 'headgate.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(
    file,
    text.replace('convert: regex', 'convert: none').replace('*.log', 'app.log'),
  );
  await headgate(folder, ['reload']);
  await gateway.until<FileSources>(
    '/files',
    (answer) => answer.files[0]?.path.endsWith('app.log') === true,
  );
  await appendFile(log, 'INFO as it is\n');
  assert.deepEqual((await recordsOf(gateway, 5)).slice(4), [`${log}: INFO as it is`]);
});

test('a configuration of files that can not work is refused', async (t) => {
  const folder = await temporaryFolder(t);
  const config = `
files:
  one: { path: /var/log/a, stream: nowhere, convert: regex, maxLineBytes: 1 GB }
  two: { path: /var/log/b, stream: nowhere, regex: { pattern: '(' }, partitionKey: '{x}' }
`;
  await writeFile(join(folder, 'headgate.yaml'), config);
  const { code, stderr } = await headgate(folder, ['config']);
  assert.equal(code, 78);
  for (const key of [
    'files.one.stream',
    'files.one.regex.pattern',
    'files.one.maxLineBytes',
    'files.two.regex.pattern',
    'files.two.partitionKey',
  ]) {
    assert.ok(stderr.includes(key), `${key} in ${stderr}`);
  }
});
