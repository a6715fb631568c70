/**
 * Secrets in every place that takes one, and a look through everything that comes out: the log at
 * its most talkative, what people are told, every answer of the API, every command, and what is
 * said about a configuration that is wrong just where a secret stands.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connectAsync } from 'mqtt';
import { startChild } from '../support/child.ts';
import { GatewayProcess, headgateCommand } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { ffmpegPath } from '../support/tools.ts';

const places = [
  'mqtt',
  'mqtt-wrong',
  'reader',
  'push',
  'pull',
  'pull-query',
  's3',
  'kinesis',
  'endpoint',
  'variable',
  'file',
  'broken',
  'broken-url',
  'token',
  'login',
  'metrics',
  'child',
] as const;

const secretOf = (place: (typeof places)[number]): string => `hunter2-${place}-x`;

function run(folder: string, ...args: readonly string[]): Promise<string> {
  const [program, all] = headgateCommand(...args);
  const env = { ...process.env, NODE_OPTIONS: '', SECRET_OF_DEVICE: secretOf('variable') };
  return new Promise((resolve) => {
    execFile(program, all, { cwd: folder, env }, (error, stdout, stderr) => {
      resolve(`${args.join(' ')}: ${String(error?.code)}\n${stdout}${stderr}`);
    });
  });
}

/** A camera or destination that answers everything with what it was asked. */
async function parrot(t: TestContext): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (asked: Buffer) => {
      socket.end(`RTSP/1.0 451 ${asked.toString('latin1').replaceAll(/\s+/g, ' ')}\r\n\r\n`);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

const configuration = (port: number): string => `
logging: { level: debug }
streams: { readings: {} }
cameras:
  gate: { source: { push: { username: gate, password: ${secretOf('push')} } } }
  yard: { source: { rtsp: 'rtsp://viewer:${secretOf('pull')}@127.0.0.1:${port}/1?token=${secretOf('pull-query')}' } }
deliveries:
  s3:
    from: { stream: readings }
    to: { s3: { bucket: b, region: r, endpoint: 'http://user:${secretOf('endpoint')}@127.0.0.1:${port}', accessKeyId: A, secretAccessKey: ${secretOf('s3')} } }
    buffer: { maxSeconds: 0.1 }
  kinesis:
    from: { stream: readings }
    to: { kinesis: { stream: s, region: r, endpoint: 'http://127.0.0.1:${port}', accessKeyId: A, secretAccessKey: ${secretOf('kinesis')} } }
`;

async function login(gateway: GatewayProcess, password: string): Promise<void> {
  const url = `mqtt://127.0.0.1:${gateway.mqttPort}`;
  const client = await connectAsync(url, { username: 'device', password, reconnectPeriod: 0 });
  await client.publishAsync('a', '1', { qos: 1 });
  await client.endAsync();
}

/** Everything that the API has to say. */
async function answers(gateway: GatewayProcess): Promise<string[]> {
  const paths = ['status', 'streams', 'cameras', 'deliveries', 'clock', 'backup', 'openapi.json'];
  const said = paths.map(async (path) => (await gateway.fetch(`/api/v1/${path}`)).text());
  const refused = [
    fetch(`${gateway.url}/login?token=${secretOf('login')}`),
    fetch(`${gateway.url}/metrics?api_key=${secretOf('metrics')}`),
    fetch(`${gateway.url}/api/v1/status`, {
      headers: { authorization: `Bearer ${secretOf('token')}` },
    }),
  ].map(async (answer) => (await answer).text());
  const metrics = (await gateway.fetch('/metrics')).text();
  return Promise.all([...said, ...refused, metrics]);
}

test('no secret gets out, whatever is asked and whatever goes wrong', async (t) => {
  const folder = await temporaryFolder(t);
  const port = await parrot(t);
  await writeFile(join(folder, 'secret'), secretOf('file'));
  const gateway = await GatewayProcess.start(
    t,
    folder,
    configuration(port),
    `[{ username: device, password: ${secretOf('mqtt')} }, { username: two, password: "\${file:./secret}" }, { username: three, password: "\${SECRET_OF_DEVICE:-${secretOf('variable')}}" }]`,
    '[{ topic: a, stream: readings }]',
    `[{ username: viewer, password: ${secretOf('reader')} }]`,
  );
  await login(gateway, secretOf('mqtt'));
  await assert.rejects(login(gateway, secretOf('mqtt-wrong')));
  const child = startChild(t, ffmpegPath, [
    ...['-loglevel', 'error', '-re', '-f', 'lavfi', '-i', 'testsrc=size=64x64', '-t', '1'],
    ...['-c:v', 'libx264', '-f', 'rtsp', '-rtsp_transport', 'tcp'],
    `rtsp://gate:${secretOf('child')}@127.0.0.1:${gateway.rtspPort}/gate`,
  ]);
  assert.notEqual((await child.exited).code, 0, 'a wrong password');
  await gateway.until<{ cameras: readonly { name: string; lastError: string | null }[] }>(
    '/cameras',
    ({ cameras }) => cameras.some(({ name, lastError }) => name === 'yard' && lastError !== null),
  );
  await gateway.until<{ deliveries: readonly { lastError: unknown }[] }>(
    '/deliveries',
    ({ deliveries }) => deliveries.every(({ lastError }) => lastError !== null),
  );
  const out = await answers(gateway);
  for (const args of [['config'], ['status'], ['status', '--json'], ['doctor'], ['reload']]) {
    out.push(await run(folder, ...args));
  }

  const path = join(folder, 'headgate.yaml');
  const right = await readFile(path, 'utf8');
  await writeFile(
    path,
    right
      .replace(`password: ${secretOf('push')}`, `password: { text: ${secretOf('broken')} }`)
      .replace(/rtsp: 'rtsp:[^']*'/, `rtsp: 'htp:/viewer:${secretOf('broken-url')}@host/x'`)
      .replace(`secretAccessKey: ${secretOf('s3')}`, `secretAccessKey: [${secretOf('s3')}`),
  );
  await gateway.child.line(/the configuration stays as it was/);
  await writeFile(path, (await readFile(path, 'utf8')).replace(`[${secretOf('s3')}`, 'x'));
  out.push((await gateway.fetch('/api/v1/status')).status.toString());
  out.push(...(await answers(gateway)), await run(folder, 'config'), await run(folder, 'doctor'));
  await writeFile(path, right);
  // A second gateway, which can't start.
  out.push(await run(folder, 'run'));
  await gateway.stop();
  out.push(...gateway.child.lines);

  const all = out.join('\n');
  assert.match(all, /yard/, 'it was looked at');
  assert.match(all, /\*\*\*/, 'and something was masked');
  for (const place of places) {
    const secret = secretOf(place);
    const at = all.indexOf(secret);
    const around = all.slice(Math.max(0, at - 300), at + 200);
    assert.equal(at, -1, `the secret of ${place} got out: ${around}`);
  }
  assert.ok(!all.includes(gateway.token), 'nor the token');
});
