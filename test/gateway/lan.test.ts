/** `listen: lan`, from another machine's point of view: through an address that is not loopback. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { request } from 'node:https';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import { parseConfig } from '../../gateway/config/load.ts';
import { showProblem } from '../../gateway/config/problems.ts';
import { GatewayProcess, headgateCommand } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { findProgram } from '../support/tools.ts';

const outside = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

function run(
  program: string,
  args: readonly string[],
  cwd: string,
): Promise<{ code: number; said: string }> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...process.env, NODE_OPTIONS: '' } };
    execFile(program, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), said: `${stdout}${stderr}` });
    });
  });
}

/** The code of the error that connecting ends with, or what the server answers to these bytes. */
async function answerTo(port: number, host: string, bytes: string): Promise<string> {
  const socket = connect(port, host);
  try {
    await once(socket, 'connect');
    socket.write(bytes);
    const [data] = (await once(socket, 'data')) as [Buffer];
    return data.toString('latin1');
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  } finally {
    socket.destroy();
  }
}

async function status(host: string, port: number, ca: string, token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const asked = request({ host, port, ca, path: '/api/v1/status', headers, agent: false }).end();
  const [answer] = (await once(asked, 'response')) as [{ statusCode: number; resume(): void }];
  answer.resume();
  return answer.statusCode;
}

test('one setting opens it, with TLS and passwords that nobody had to think of', async (t) => {
  if (outside === undefined) {
    t.skip('this machine has no address but loopback');
    return;
  }
  const folder = await temporaryFolder(t);
  const none = await run(...headgateCommand('credentials'), folder);
  assert.deepEqual([none.code, none.said.includes('listen: lan')], [1, true], none.said);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    'listen: lan\nstreams: { readings: {} }\ncameras: { gate: { source: { push: { username: gate, password: secret } } } }',
    '[]',
    '[{ topic: a, stream: readings }]',
  );
  const printed = gateway.child.lines.join('\n');
  const { said } = await run(...headgateCommand('credentials'), folder);
  const [, password = ''] = /user device, password (\S{20})\)/.exec(said) ?? [];
  assert.notEqual(password, '', said);
  const [, viewer = ''] = /user viewer, password (\S{20})\)/.exec(said) ?? [];
  assert.notEqual(viewer, '', said);
  assert.ok(!printed.includes(password) && !printed.includes(viewer), 'not where a file keeps it');
  assert.match(printed, /"headgate credentials" tells/);
  const [, caFile = ''] = /Trust +(\S+)/.exec(said) ?? [];
  const ca = await readFile(caFile, 'utf8');
  assert.ok(printed.includes(`https://${outside}:${gateway.httpPort}`), printed);

  assert.equal(await status(outside, gateway.httpPort, ca, gateway.token), 200);
  assert.equal((await gateway.fetch('/api/v1/status')).status, 200, 'plaintext stays for loopback');
  const redirected = await answerTo(
    gateway.httpPort,
    outside,
    'GET /x HTTP/1.1\r\nHost: a\r\n\r\n',
  );
  assert.match(redirected, /^HTTP\/1\.1 307 /);
  assert.equal(await answerTo(gateway.mqttPort, outside, 'x'), 'ECONNREFUSED', 'TLS only');
  const describe = `DESCRIBE rtsp://${outside}/gate RTSP/1.0\r\nCSeq: 1\r\n\r\n`;
  assert.match(
    await answerTo(gateway.rtspPort, outside, describe),
    /^RTSP\/1\.0 401 .*WWW-Authenticate: Digest/s,
  );

  const url = `mqtts://${outside}:${gateway.mqttTlsPort}`;
  await assert.rejects(connectAsync(url, { ca, username: 'device', password: 'guess' }));
  const device = await connectAsync(url, { ca, username: 'device', password });
  await device.publishAsync('a', '1', { qos: 1 });
  await device.endAsync();
  let stored = 1;
  if (findProgram('mosquitto_pub') !== null) {
    const login = ['--cafile', caFile, '-u', 'device', '-P', password];
    const message = ['-q', '1', '-t', 'a', '-m', '2'];
    const args = ['-h', outside, '-p', String(gateway.mqttTlsPort), ...login, ...message];
    assert.deepEqual(await run('mosquitto_pub', args, folder), { code: 0, said: '' });
    stored = 2;
  }
  const { streams } = await gateway.get<{ streams: readonly { storedRecords: number }[] }>(
    '/streams',
  );
  assert.equal(streams[0]?.storedRecords, stored);

  await gateway.stop();
  await gateway.restart();
  assert.equal((await run(...headgateCommand('credentials'), folder)).said, said, 'the same again');
  await gateway.stop();
});

test('what is opened keeps to the rules', () => {
  const problems = (text: string): string => {
    const result = parseConfig({ name: 'f', text, folder: '/', env: {} });
    return result.ok ? '' : result.problems.map(showProblem).join('\n');
  };
  assert.equal(problems('listen: lan'), '');
  assert.equal(problems('listen: lan\nhttp: { host: 192.0.2.1 }'), '');
  assert.match(problems('http: { host: 192.0.2.1 }'), /beyond loopback.*listen: lan/);
  assert.match(problems('listen: lan\nmqtt: { allowAnonymous: true }'), /mqtt\.allowAnonymous/);
  assert.match(problems('tls: { certFile: a.pem }'), /tls\.certFile.* needs tls\.keyFile/);
  assert.match(problems('listen: lan\nmqtt: { tlsPort: 8080 }'), /is taken by http\.port/);
  assert.match(problems('listen: wan'), /Allowed: loopback or lan/);
});

test('a certificate that can not be used ends the start with a sentence', async (t) => {
  const folder = await temporaryFolder(t);
  const args = headgateCommand('run');
  const ended = await new Promise<string>((resolve) => {
    const env = { ...process.env, HEADGATE_TLS_CERT_FILE: 'a.pem', HEADGATE_TLS_KEY_FILE: 'b.pem' };
    execFile(...args, { cwd: folder, env }, (_error, _stdout, stderr) => resolve(stderr));
  });
  assert.match(ended, /^headgate: could not start: tls\.certFile: \S+a\.pem can't be read: ENOENT/);
  const made = await readdir(folder, { recursive: true });
  assert.ok(!made.some((name) => name.endsWith('.pem')), made.join());
});
