/** Commands reach the gateway that runs, whatever the configuration file says by now. */
import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import type { Diagnosis } from '../../../gateway/doctor/diagnosis.ts';
import { startChild } from '../../support/child.ts';
import { freePort, GatewayProcess, headgateCommand } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { headgate } from './command.ts';

test('a file that has mistakes, another port or another data folder hides no gateway', async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(t, folder, 'streams: { readings: {} }');
  const file = join(folder, 'headgate.yaml');
  const text = await readFile(file, 'utf8');
  const told = join(folder, 'data', 'running.json');
  assert.equal((await stat(told)).mode & 0o777, 0o600);

  await writeFile(file, text.replace(/^http: .*$/m, `http: { port: ${await freePort()} }`));
  const moved = await headgate(folder, ['reload']);
  assert.match(moved.stdout, /^Needs a restart: http\.port\.$/m, moved.stderr);
  assert.equal((await headgate(folder, ['status'])).code, 0);

  await writeFile(file, `${text}\ncameras: [\n`);
  const status = await headgate(folder, ['status']);
  assert.match(status.stdout, /^Gateway .* up \d+ s$/m, status.stderr);
  const refused = await headgate(folder, ['reload']);
  assert.equal(refused.code, 78);
  assert.match(refused.stderr, /stays as it was[^]*headgate\.yaml:\d+/);
  assert.match((await headgate(folder, ['clock'])).stdout, /^The gateway's clock/);
  const doctor = await headgate(folder, ['doctor', '--json']);
  const found = JSON.parse(doctor.stdout) as Diagnosis[];
  assert.match(found.find(({ name }) => name === 'Gateway')?.message ?? '', / runs: /);

  await writeFile(file, `dataDir: "elsewhere" # from now on\n${text}\nwrong: 1\n`);
  assert.equal((await headgate(folder, ['status'])).code, 0, 'it is in the default folder');

  const misnamed = await headgate(folder, ['status', '--config', 'headgat.yaml']);
  assert.equal(misnamed.code, 78, 'a file that was named has to be there');
  assert.match(misnamed.stderr, /headgat\.yaml can't be read/);
  assert.equal(misnamed.stdout, '');

  assert.equal(await gateway.stop(), 0);
  await assert.rejects(stat(told), { code: 'ENOENT' });
  const gone = await headgate(folder, ['status']);
  assert.equal(gone.code, 78, 'now the file would have to say where to look');
  assert.match(gone.stderr, /wrong: is not a known key/);
  await writeFile(file, text);
  await gateway.restart();
  await gateway.kill();
  const killed = await headgate(folder, ['status']);
  assert.equal(killed.code, 1);
  assert.match(killed.stderr, /No gateway answers/);
  const stopped = await headgate(folder, ['doctor']);
  assert.match(stopped.stdout, /^! Gateway +No gateway answers .*\n +→ if it should run/m);
});

test('a demonstration is known for one, also beside a configuration file', async (t) => {
  const folder = await temporaryFolder(t);
  const [http, mqtt, mqttTls, rtsp, rtspTls] = await Promise.all(
    Array.from({ length: 5 }, () => freePort()),
  );
  const [program, args] = headgateCommand('run');
  const child = startChild(t, program, args, {
    cwd: folder,
    env: {
      ...process.env,
      ...{ NODE_OPTIONS: '', HEADGATE_FFMPEG_PATH: ffmpegPath, HEADGATE_LISTEN: 'lan' },
      HEADGATE_HTTP_PORT: String(http),
      HEADGATE_MQTT_PORT: String(mqtt),
      HEADGATE_MQTT_TLS_PORT: String(mqttTls),
      HEADGATE_RTSP_PORT: String(rtsp),
      HEADGATE_RTSP_TLS_PORT: String(rtspTls),
    },
  });
  await child.line(/"serving"/);
  const links = child.lines.filter((line) => /https:\S+\/login\?token=\S+/.test(line));
  assert.notEqual(links.length, 0, child.lines.join('\n'));

  const credentials = await headgate(folder, ['credentials']);
  assert.equal(credentials.code, 0, credentials.stderr);
  const [, username = '', password = ''] =
    /mqtts:.*\(user (\S+), password (\S+)\)/.exec(credentials.stdout) ?? [];
  const device = await connectAsync(`mqtts://localhost:${mqttTls}`, {
    ...{ username, password, reconnectPeriod: 0 },
    ca: await readFile(/Trust +(\S+)/.exec(credentials.stdout)?.[1] ?? '', 'utf8'),
  });
  await device.endAsync();

  const doctor = await headgate(folder, ['doctor', '--json']);
  const found = JSON.parse(doctor.stdout) as Diagnosis[];
  assert.match(
    found.find(({ name }) => name === 'Gateway')?.message ?? '',
    /, the demonstration, runs: /,
  );

  const camera = 'rtsp://127.0.0.1:1/';
  const added = await headgate(folder, ['camera', 'add', camera, '--name', 'gate', '--force']);
  assert.match(added.stdout, /is the demonstration, which goes on without this file/, added.stderr);
  const status = await headgate(folder, ['status']);
  assert.match(status.stdout, /^demo +\S+/m, status.stderr);
  assert.match(status.stdout, /is the demonstration, which goes on without headgate\.yaml/);
  assert.doesNotMatch(status.stdout, /[1-9]\d* watching/, 'its own recorder is nobody who watches');
  await child.stop('SIGTERM');
});
