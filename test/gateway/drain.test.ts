/** Being told to end while everything around the gateway hangs. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { connectAsync } from 'mqtt';
import { startChild } from '../support/child.ts';
import { GatewayProcess, headgateCommand } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { ffmpegPath } from '../support/tools.ts';

/** A destination that takes a connection and never says a word; tells of the first upload. */
async function deadSink(t: TestContext): Promise<{ port: number; reached: Promise<void> }> {
  const sockets = new Set<Socket>();
  let tell = (): void => undefined;
  const reached = new Promise<void>((resolve) => (tell = resolve));
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    socket.once('data', () => {
      socket.pause();
      tell();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, reached };
}

/** A client that sends this and never reads. */
async function deafClient(t: TestContext, port: number, bytes: string): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  socket.pause();
  t.after(() => socket.destroy());
  await new Promise<void>((resolve) => {
    socket.write(bytes, () => {
      resolve();
    });
  });
}

test('a hanging camera, clients that do not read and a dead destination do not hold it', async (t) => {
  const folder = await temporaryFolder(t);
  const sink = await deadSink(t);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `
streams: { readings: {} }
cameras: { gate: { source: { push: { username: gate, password: secret } } } }
deliveries:
  dead:
    from: { stream: readings }
    to: { s3: { bucket: b, region: r, endpoint: 'http://127.0.0.1:${sink.port}', accessKeyId: A, secretAccessKey: s } }
    buffer: { maxSeconds: 0.1 }
`,
    '[{ username: device, password: device-password }]',
    '[{ topic: a, stream: readings }]',
  );
  const camera = startChild(t, ffmpegPath, [
    ...['-hide_banner', '-loglevel', 'error', '-re'],
    ...['-f', 'lavfi', '-i', 'testsrc=size=160x120:rate=10', '-c:v', 'libx264', '-g', '10'],
    ...['-pix_fmt', 'yuv420p', '-f', 'rtsp', '-rtsp_transport', 'tcp'],
    `rtsp://gate:secret@127.0.0.1:${gateway.rtspPort}/gate`,
  ]);
  await gateway.until<{ cameras: readonly { state: string }[] }>(
    '/cameras',
    ({ cameras }) => cameras[0]?.state === 'recording',
  );
  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
    username: 'device',
    password: 'device-password',
    reconnectPeriod: 0,
  });
  t.after(() => device.endAsync(true));
  await device.publishAsync('a', '1', { qos: 1 });
  await sink.reached;

  const pid = gateway.child.process.pid ?? 0;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  assert.equal(children.length, 1, 'the recorder');
  process.kill(Number(children[0]), 'SIGSTOP');
  const ask = `GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${gateway.token}\r\n\r\n`;
  await deafClient(t, gateway.httpPort, ask.repeat(30));
  await deafClient(t, gateway.httpPort, 'POST /api/v1/login HTTP/1.1\r\nContent-Length: 50\r\n');
  await deafClient(t, gateway.mqttPort, '\x10\x20');
  await deafClient(t, gateway.rtspPort, 'DESCRIBE rtsp://127.0.0.1/gate RTSP/1.0\r\n');

  gateway.child.process.kill('SIGTERM');
  const end = await gateway.child.exited;
  const said = gateway.child.lines.join('\n');
  assert.deepEqual(end, { code: 0, signal: null }, said);
  assert.match(gateway.child.lines.at(-1) ?? '', /"stopped"/, 'by itself, not cut off');
  assert.ok(!said.includes('left behind'), said);
  await camera.stop('SIGKILL');
  const [command, args] = headgateCommand('check');
  const check = startChild(t, command, args, { cwd: folder });
  assert.equal((await check.exited).code, 0, check.lines.join('\n'));
});
