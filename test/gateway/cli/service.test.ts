import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCli } from '../../../gateway/cli/cli.ts';
import { printUnit, type UnitOptions } from '../../../gateway/cli/service.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { findProgram, needs } from '../../support/tools.ts';
import { FakeProcess } from './support.ts';

const options: UnitOptions = {
  nodePath: '/usr/bin/node',
  mainPath: '/opt/headgate/dist/gateway/main.js',
  configFile: '/etc/headgate/headgate.yaml',
  workingFolder: '/etc/headgate',
  user: 'headgate',
  environment: { UV_THREADPOOL_SIZE: '16' },
  environmentFile: '/etc/headgate/headgate.env',
  writableFolders: ['/var/lib/headgate'],
  shutdownTimeoutSeconds: 20,
  bindsLowPorts: false,
};

test('the unit starts, reloads and stops the gateway, and gives it no more than it needs', () => {
  const lines = printUnit(options).split('\n');
  for (const line of [
    'ExecStart=/usr/bin/node --enable-source-maps /opt/headgate/dist/gateway/main.js run --config /etc/headgate/headgate.yaml',
    'ExecReload=/bin/kill -HUP $MAINPID',
    'Environment=UV_THREADPOOL_SIZE=16',
    'EnvironmentFile=-/etc/headgate/headgate.env',
    'User=headgate',
    'TimeoutStopSec=25',
    'ReadWritePaths=/var/lib/headgate',
    'CapabilityBoundingSet=',
    'RestartPreventExitStatus=78',
  ]) {
    assert.ok(lines.includes(line), `${line} in\n${lines.join('\n')}`);
  }
  const low = printUnit({ ...options, bindsLowPorts: true });
  assert.match(low, /^AmbientCapabilities=CAP_NET_BIND_SERVICE$/m);
  const odd = printUnit({ ...options, configFile: '/a b/100%/"x"$y.yaml', workingFolder: '/a b' });
  assert.match(odd, /--config "\/a b\/100%%\/\\"x\\"\$\$y\.yaml"$/m);
  assert.match(odd, /^WorkingDirectory=\/a b$/m);
});

test('systemd itself finds nothing wrong with it', async (t) => {
  if (!needs(t, 'systemd-analyze')) return;
  const folder = await temporaryFolder(t);
  // What it starts has to be there for systemd to be content.
  const unit = printUnit({
    ...options,
    nodePath: process.execPath,
    workingFolder: folder,
    user: userInfo().username,
    writableFolders: [folder, join(folder, 'with a space')],
    environment: { ODD: 'a "b" c\\d' },
  });
  const path = join(folder, 'headgate.service');
  await writeFile(path, unit);
  const said = await new Promise<string>((resolve) => {
    execFile('systemd-analyze', ['verify', '--man=no', path], (error, stdout, stderr) => {
      resolve(`${String(error?.code ?? 0)} ${stdout}${stderr}`);
    });
  });
  const ours = said.split('\n').filter((line) => line.includes('headgate.service'));
  assert.deepEqual(ours, [], said);
});

test('the command needs a configuration, and looks at the one there is', async (t) => {
  const folder = await temporaryFolder(t);
  const none = new FakeProcess();
  assert.equal(await runCli(none.context(['service'], { folder })), 1);
  assert.match(none.stderr, /needs a configuration/);

  await writeFile(
    join(folder, 'headgate.yaml'),
    `dataDir: ./d
shutdownTimeoutSeconds: 30
http: { port: 80 }
# cameras: { old: { source: { rtsp: 'rtsp://v:\${OLD_PASSWORD}@192.0.2.1/' } } }
cameras:
  gate: { source: { rtsp: 'rtsp://v:\${GATE_PASSWORD}@192.0.2.1/' } }
  yard: { source: { rtsp: 'rtsp://v:\${YARD_PASSWORD}@192.0.2.2/' } }
mqtt: { users: [{ username: a, password: x }] }
`,
  );
  const process = new FakeProcess();
  await writeFile(join(folder, 'headgate.env'), 'YARD_PASSWORD=hunter2\n');
  const env = {
    PATH: '/usr/bin',
    GATE_PASSWORD: 'hunter2',
    HEADGATE_LISTEN: 'lan',
    HEADGATE_MQTT_USERS__0__PASSWORD: 'hunter2',
    HEADGATE_FFMPEG_PATH: findProgram('ffmpeg') ?? '/usr/bin/ffmpeg',
  };
  const code = await runCli(process.context(['service', '--user', 'cam'], { folder, env }));
  if (code === 1) {
    assert.match(process.stderr, /main\.js is not there: "npm start" makes it/);
    return;
  }
  assert.match(process.stdout, /^User=cam$/m);
  assert.match(process.stdout, /^TimeoutStopSec=35$/m);
  assert.match(process.stdout, /^AmbientCapabilities=CAP_NET_BIND_SERVICE$/m);
  assert.ok(process.stdout.includes(`ReadWritePaths=${folder}\n`), process.stdout);
  assert.ok(process.stdout.includes(`--config ${join(folder, 'headgate.yaml')}\n`), process.stdout);
  assert.match(process.stdout, /^Environment=HEADGATE_FFMPEG_PATH=/m);
  assert.match(process.stdout, /^Environment=HEADGATE_LISTEN=lan$/m);
  assert.doesNotMatch(process.stdout, /^Environment=PATH=/m, "the caller's is not the service's");
  assert.ok(process.stdout.includes(`EnvironmentFile=-${join(folder, 'headgate.env')}\n`));
  assert.ok(!process.stdout.includes('hunter2'), 'everybody may read a unit');
  assert.match(
    process.stderr,
    /wants GATE_PASSWORD, YARD_PASSWORD, HEADGATE_MQTT_USERS__0__PASSWORD:\n.*\/headgate\.env,/,
  );
});
