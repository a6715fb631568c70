/** A changed configuration in a running gateway, as people change it: by an editor and commands. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectAsync } from 'mqtt';
import { startCameras } from '../../gateway/cameras.ts';
import { parseConfig, type ConfigResult } from '../../gateway/config/load.ts';
import type { ConfigError } from '../../gateway/config/problems.ts';
import type { Config } from '../../gateway/config/schema.ts';
import { Reloader } from '../../gateway/reload.ts';
import { Supervisor } from '../../gateway/supervisor.ts';
import { PutMediaEntrance } from '../../ingest/mkv/entrance.ts';
import { RtspServer } from '../../ingest/rtsp/server.ts';
import { openTestStore } from '../storage/support/open.ts';
import { GatewayProcess, headgateCommand } from '../support/gateway.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Status {
  readonly health: {
    readonly status: string;
    readonly checks: readonly { readonly name: string; readonly message: string | null }[];
  };
}

function headgate(
  folder: string,
  ...args: readonly string[]
): Promise<{ code: number; said: string }> {
  const [program, all] = headgateCommand(...args);
  return new Promise((resolve) => {
    const options = { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' } };
    execFile(program, all, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), said: `${stdout}${stderr}` });
    });
  });
}

/** Does something, and waits for a line that was not there before. */
async function lineAfter(
  gateway: GatewayProcess,
  pattern: RegExp,
  act: () => unknown,
): Promise<string> {
  gateway.child.lines.length = 0;
  await act();
  return (await gateway.child.line(pattern)).input;
}

const loaded = /the configuration was loaded again/;

test('an edited file is taken over, a wrong one is not, and the gateway runs on', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'headgate.yaml');
  await writeFile(join(folder, 'password'), 'first-password');
  const gateway = await GatewayProcess.start(
    t,
    folder,
    'streams: { readings: {} }',
    '[{ username: device, password: "${file:./password}" }]',
    '[{ topic: a, stream: readings }]',
  );
  const before = await readFile(path, 'utf8');
  const login = (password: string) =>
    connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
      username: 'device',
      password,
      reconnectPeriod: 0,
    });
  const first = await login('first-password');
  t.after(() => first.endAsync(true));

  // An editor writes beside the file and renames.
  const after = before
    .replace('streams: { readings: {} }', 'streams: { readings: {}, fresh: { retentionHours: 2 } }')
    .replace('[{ topic: a, stream: readings }]', '[{ topic: b, stream: fresh }]');
  await writeFile(
    join(folder, 'headgate.yaml~'),
    `${after}deliveries: { fresh: { from: { stream: fresh }, to: { folder: { path: ./out } }, buffer: { maxSeconds: 0.1 } } }\n`,
  );
  const line = await lineAfter(gateway, loaded, () => rename(join(folder, 'headgate.yaml~'), path));
  assert.match(line, /"changed":\["mqtt\.routes","streams\.fresh","deliveries\.fresh"\]/);
  await first.publishAsync('b', '{"value":1}', { qos: 1 });
  await gateway.until<{ streams: readonly { name: string; storedRecords: number }[] }>(
    '/streams',
    ({ streams }) =>
      streams.some(({ name, storedRecords }) => name === 'fresh' && storedRecords === 1),
  );
  await gateway.until<{ deliveries: readonly { sentRecords: number }[] }>(
    '/deliveries',
    ({ deliveries }) => deliveries[0]?.sentRecords === 1,
  );
  assert.ok((await readdir(join(folder, 'out'))).length > 0, 'the new delivery delivers');

  // A secret file that changes is a change of the configuration.
  const secret = await lineAfter(gateway, loaded, () =>
    writeFile(join(folder, 'password'), 'second-password'),
  );
  assert.match(secret, /"changed":\["mqtt\.users"\]/);
  await assert.rejects(login('first-password'));
  const second = await login('second-password');
  await second.endAsync(true);

  await wrongFile(gateway, folder, path);
  gateway.child.process.kill('SIGTERM');
  assert.deepEqual(await gateway.child.exited, { code: 0, signal: null });
});

async function wrongFile(gateway: GatewayProcess, folder: string, path: string): Promise<void> {
  const right = await readFile(path, 'utf8');
  const kept = /the configuration stays as it was/;
  await lineAfter(gateway, kept, () => writeFile(path, `${right}streems: {}\nvideo: { x: 1 }\n`));
  assert.match(gateway.child.lines.join('\n'), /streems: is not a known key/);
  assert.match(gateway.child.lines.join('\n'), /video\.x: is not a known key/);
  const { health } = await gateway.get<Status>('/status');
  assert.equal(health.status, 'degraded');
  const check = health.checks.find(({ name }) => name === 'configuration');
  assert.match(check?.message ?? '', /2 problems.*one before stays in force.*streems/);
  const refused = await fetch(`${gateway.url}/api/v1/reload`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.token}` },
  });
  assert.equal(refused.status, 422);
  assert.match(await refused.text(), /"code":"invalid-configuration".*video\.x/);
  const asked = await headgate(folder, 'reload');
  assert.equal(asked.code, 78);
  assert.match(asked.said, /stays as it was.*\n.*streems: is not a known key/);

  // Mended, and with a port that only a restart can take over; the signal says so at once.
  const mended = right.replace(/rtsp: \{ port: \d+/, 'rtsp: { port: 1');
  await lineAfter(gateway, loaded, async () => {
    await writeFile(path, mended);
    gateway.child.process.kill('SIGHUP');
  });
  const { said, code } = await headgate(folder, 'reload', '--url', gateway.url);
  assert.deepEqual([code, said], [0, 'Nothing changed.\nNeeds a restart: rtsp.port.\n']);
  const { checks } = (await gateway.get<Status>('/status')).health;
  assert.equal(checks.find(({ name }) => name === 'configuration')?.message ?? null, null);

  const sharded = mended.replace('readings: {}', 'readings: { shards: 3 }');
  await lineAfter(gateway, /streams\.readings\.shards: 3 has no effect/, () =>
    writeFile(path, sharded),
  );
  const warned = await headgate(folder, 'reload', '--url', gateway.url);
  assert.match(warned.said, /^Warning: streams\.readings\.shards: 3 has no effect: .* with 1,/m);
}

const parsed = (text: string): ConfigResult =>
  parseConfig({ name: 'f', text, folder: '/', env: {} });

function reloading(t: { readonly first: string }) {
  const first = parsed(t.first);
  assert.ok(first.ok, 'the first one is right');
  const logger = new MemoryLogger();
  const state = { text: t.first, applied: [] as Config[], failure: null as Error | null };
  const reloader = new Reloader({
    config: first.config,
    files: [],
    isEmpty: first.isEmpty,
    load: () => Promise.resolve(parsed(state.text)),
    apply: (config) => {
      if (state.failure !== null) return Promise.reject(state.failure);
      state.applied.push(config);
      return Promise.resolve();
    },
    alsoWaiting: () => [],
    logger,
  });
  return { reloader, state, logger };
}

test('what needs a restart is named until the restart, or until it is taken back', async () => {
  const { reloader, state } = reloading({ first: 'http: { port: 1 }\nstreams: { a: {} }' });
  state.text = 'http: { port: 2 }\nstreams: { a: { retentionHours: 5 }, b: {} }\nlisten: lan';
  const first = await reloader.reload();
  assert.deepEqual(first.changed, ['streams.a', 'streams.b']);
  assert.deepEqual(first.needsRestart, ['listen', 'http.port']);
  const second = await reloader.reload();
  assert.deepEqual(second, {
    changed: [],
    needsRestart: ['listen', 'http.port'],
    withoutEffect: [],
  });
  state.text = 'http: { port: 1 }\nstreams: { b: {} }';
  assert.deepEqual(await reloader.reload(), {
    changed: ['streams.a'],
    needsRestart: [],
    withoutEffect: [],
  });
});

test('a part that can not follow is told again by the next reload, and wrong files change nothing', async () => {
  const { reloader, state, logger } = reloading({ first: '' });
  const trouble = (): string | null => reloader.trouble;
  state.text = 'streams: { a: {} }';
  state.failure = new Error('the disk is gone');
  await assert.rejects(reloader.reload(), /the disk is gone/);
  assert.equal(trouble(), 'it could not be taken over: the disk is gone');
  state.failure = null;
  assert.deepEqual((await reloader.reload()).changed, ['streams.a'], 'still to be done');
  assert.equal(trouble(), null);

  state.text = 'streams: { a: { retentionHours: never } }\nhttp: { prot: 1 }';
  await assert.rejects(reloader.reload(), (error: ConfigError) => error.problems.length === 2);
  assert.match(trouble() ?? '', /2 problems.*stays in force/);
  assert.equal(state.applied.length, 1, 'no part has heard of it');
  const told = logger.lines.filter(({ message }) => message === 'the configuration has a problem');
  assert.equal(told.length, 2, 'each problem once');
  assert.equal(await reloader.reloadIfChanged(), null, 'and not again for the same content');

  await reloader.close();
  await assert.rejects(reloader.reload(), /closing/);
  await reloader.close();
});

function camerasOf(yard: string): Config['cameras'] {
  const text = `
cameras:
  front: { source: { push: { username: front, password: secret } } }
  ${yard}`;
  const result = parseConfig({ name: 'test', text, folder: '/', env: {} });
  assert.ok(result.ok, 'the configuration is right');
  return result.config.cameras;
}

async function cameras(t: TestContext) {
  const { store, clock, logger, metrics } = await openTestStore(t);
  const supervisor = new Supervisor({ clock, logger, metrics, random: () => 0.5 });
  const path = () => ({ publisher: null, readers: [] });
  const rtspServer = new RtspServer({ host: '127.0.0.1', port: 0, path, clock, logger, metrics });
  await rtspServer.listen();
  const running = await startCameras({
    cameras: camerasOf('yard: { source: { push: { username: yard, password: secret } } }'),
    allowedNetworks: [],
    onClose: () => undefined,
    ffmpegPath: 'ffmpeg',
    putMedia: new PutMediaEntrance(clock),
    ...{ video: store.video, rtspServer, supervisor, clock, logger, metrics },
    hasWebRtc: false,
  });
  t.after(async () => {
    await supervisor.close();
    await rtspServer.close();
  });
  return { running, clock, store };
}

test('a file with nothing in it dismisses nothing, unless the gateway was started with it', async () => {
  const { reloader, state, logger } = reloading({ first: 'streams: { a: {} }' });
  for (const text of ['', '\n# streams: { a: {} }\n']) {
    state.text = text;
    await assert.rejects(reloader.reload(), /has nothing in it, or comments alone/);
  }
  assert.deepEqual(state.applied, []);
  assert.match(reloader.trouble ?? '', /nothing in it.*restart the gateway/);
  assert.ok(logger.lines.some(({ message }) => message === 'the configuration stays as it was'));
  state.text = 'streams: {}';
  assert.deepEqual((await reloader.reload()).changed, ['streams.a'], 'what is said counts');
  assert.deepEqual((await reloading({ first: '' }).reloader.reload()).changed, []);
});

test('of the cameras only those begin again whose settings differ', async (t) => {
  const { running, clock, store } = await cameras(t);
  const started = clock.nowMs();
  clock.advance(1000);
  await running.update(
    camerasOf(
      'yard: { source: { push: { username: yard, password: other } }, retentionHours: 2 }\n' +
        '  gate: { source: { push: { username: gate, password: secret } } }',
    ),
  );
  assert.deepEqual(
    running.statuses().map(({ name, sinceMs }) => [name, sinceMs]),
    [
      ['front', started],
      ['yard', started + 1000],
      ['gate', started + 1000],
    ],
  );
  assert.equal((await store.video.camera('yard')).retentionMs, 2 * 3_600_000);
  const kept = 'record: events, preRollSeconds: 5, postRollSeconds: 6, marks: [{ topic: a }]';
  const gate = 'source: { push: { username: gate, password: secret } }';
  await running.update(
    camerasOf(
      'yard: { source: { push: { username: yard, password: other } }, retentionHours: 2 }\n' +
        `  gate: { ${gate}, ${kept} }`,
    ),
  );
  const since = running.statuses().map(({ sinceMs }) => sinceMs);
  assert.deepEqual(since, [started, started + 1000, started + 1000], 'how much is kept');
  const { record, preRollMs, postRollMs } = await store.video.camera('gate');
  assert.deepEqual([record, preRollMs, postRollMs], ['events', 5_000, 6_000]);

  await running.update(camerasOf(''));
  assert.deepEqual(
    running.statuses().map(({ name, sinceMs }) => [name, sinceMs]),
    [['front', started]],
  );
  const stored = (await store.video.cameras()).map(({ name }) => name).toSorted();
  assert.deepEqual(stored, ['front', 'gate', 'yard'], 'footage stays where it is');
});
