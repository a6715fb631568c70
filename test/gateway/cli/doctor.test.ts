/** `headgate doctor` as people run it: on a machine with troubles, and beside a running gateway. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Diagnosis } from '../../../gateway/doctor/diagnosis.ts';
import { freePort, GatewayProcess, headgateCommand } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

function doctor(
  folder: string,
  ...args: readonly string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const [program, all] = headgateCommand('doctor', ...args);
  return new Promise((resolve) => {
    const options = { cwd: folder, env: { ...process.env, NODE_OPTIONS: '' } };
    execFile(program, all, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

test('what is wrong is named with what to do about it, and nothing is left behind', async (t) => {
  const folder = await temporaryFolder(t);
  const port = await freePort();
  const server = createHttpServer(({ url }, response) =>
    response.writeHead(url?.startsWith('/gone') === true ? 404 : 405).end(),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port: listens } = server.address() as AddressInfo;
  await writeFile(
    join(folder, 'headgate.yaml'),
    `
ffmpegPath: /nowhere/ffmpeg
http: { port: ${port} }
mqtt: { enabled: false }
rtsp: { enabled: false }
tls: { certFile: none.pem, keyFile: none.key }
firehose: { allowed: { buckets: [b] } }
streams: { readings: {} }
cameras: { yard: { source: { rtsp: 'rtsp://viewer:hunter2@127.0.0.1/1' } } }
deliveries:
  away:
    from: { stream: readings }
    to: { s3: { bucket: b, endpoint: 'http://127.0.0.1:1', accessKeyId: A, secretAccessKey: hunter2 } }
  gone:
    from: { stream: readings }
    to: { s3: { bucket: gone, endpoint: 'http://127.0.0.1:${listens}', accessKeyId: A, secretAccessKey: hunter2 } }
  posted: { from: { stream: readings }, to: { http: { url: 'http://127.0.0.1:${listens}/in?key=hunter2' } } }
  search: { from: { stream: readings }, to: { opensearch: { endpoint: 'http://127.0.0.1:1', index: logs } } }
  events: { from: { stream: readings }, to: { splunk: { endpoint: 'http://127.0.0.1:${listens}', token: hunter2 } } }
  items:
    from: { stream: readings }
    to: { dynamodb: { table: devices, region: eu-central-1, endpoint: 'http://127.0.0.1:1', accessKeyId: A, secretAccessKey: hunter2 } }
  near:
    from: { stream: readings }
    to: { folder: { path: ./out } }
    transform: { function: { module: { path: ./none.mjs } } }
  file:
    from: { stream: readings }
    to: { folder: { path: ./out } }
    transform: { function: { module: { path: ./headgate.yaml } } }
  called:
    from: { stream: readings }
    to: { folder: { path: ./out } }
    transform: { function: { lambda: { function: f, region: eu-central-1, endpoint: 'http://127.0.0.1:${listens}', accessKeyId: A, secretAccessKey: hunter2 } } }
hooks:
  shell: { camera: yard, to: { command: { program: sh } } }
  none: { camera: yard, to: { command: { program: ./detect } } }
  text: { camera: yard, to: { command: { program: ./headgate.yaml } } }
  away: { camera: yard, to: { http: { url: 'http://127.0.0.1:${await freePort()}/', authorization: hunter2 } } }
  there: { camera: yard, to: { http: { url: 'http://127.0.0.1:${listens}/x' } } }
`,
  );
  const { code, stdout, stderr } = await doctor(folder);
  assert.equal(code, 1, stdout + stderr);
  assert.match(stdout, /^✓ Configuration +headgate\.yaml$/m);
  assert.match(stdout, /^✗ ffmpeg .*nowhere.*\n +→ install version 5 or newer/m);
  assert.match(stdout, /^✗ Certificate +tls\.certFile: .*none\.pem can't be read/m);
  assert.match(stdout, /^! Delivery away +bucket b: .*ECONNREFUSED.*\n +→ Nothing listens there/m);
  assert.match(stdout, /^✗ Delivery gone +bucket gone: it is not there\n +→ \S/m);
  assert.match(stdout, /^✓ Delivery near .* will be made$/m);
  assert.match(stdout, new RegExp(`^✓ Delivery posted +127\\.0\\.0\\.1:${listens} answers$`, 'm'));
  assert.match(
    stdout,
    /^! Delivery search +index logs: .*ECONNREFUSED.*\n +→ Nothing listens there/m,
  );
  assert.match(stdout, /^[!✗] Delivery events +Splunk at 127\.0\.0\.1:\d+: status 405/m);
  assert.match(stdout, /^! Delivery items +table devices: .*ECONNREFUSED/m);
  assert.match(stdout, /^✗ Transform near .*none\.mjs can't be read\n +→ correct its path/m);
  assert.match(stdout, /^✗ Transform file .*headgate\.yaml can't be loaded: TypeError.*yaml/m);
  assert.match(stdout, new RegExp(`^✓ Transform called +127\\.0\\.0\\.1:${listens} answers$`, 'm'));
  assert.match(stdout, /^✓ Delivery streams +those made .* while the gateway runs$/m);
  assert.match(stdout, /^✓ Hook shell +\/.*\/sh can be run$/m);
  assert.match(stdout, /^✗ Hook none .*\/detect is no program.*\n +→ correct its path/m);
  assert.match(stdout, /^✗ Hook text .*headgate\.yaml is no program/m);
  assert.match(stdout, /^! Hook away +127\.0\.0\.1:\d+ does not answer: .*ECONNREFUSED/m);
  assert.match(stdout, new RegExp(`^✓ Hook there +127\\.0\\.0\\.1:${listens} answers$`, 'm'));
  assert.match(stdout, /^. Data fsync +takes \d/m);
  assert.match(stdout, new RegExp(`^✓ Port ${port} +free for HTTP$`, 'm'));
  assert.match(stdout, /\n\d to mend \(✗\), \d to look at \(!\)\.\n$/);
  assert.ok(!stdout.includes('hunter2'), 'no secrets');
  assert.deepEqual(await readdir(folder), ['headgate.yaml'], 'it only looks');

  await writeFile(join(folder, 'headgate.yaml'), 'http: { prot: 1 }\nx: [');
  const broken = await doctor(folder, '--json');
  assert.equal(broken.code, 1);
  const found = JSON.parse(broken.stdout) as Diagnosis[];
  assert.equal(found[0]?.status, 'fail');
  assert.ok(
    found.some(({ name }) => name === 'Node.js'),
    'the rest is looked at all the same',
  );
});

test('the modules of functions are loaded, as for a call and no longer than one may take', async (t) => {
  const folder = await temporaryFolder(t);
  const modules = {
    good: 'export const handler = () => "never called";',
    other: 'export const handler = 1; export const clean = () => 2;',
    broken: 'export const handler = (',
    none: 'export const other = 1;',
    imports: 'import "./nowhere.mjs"; export const handler = () => 1;',
    throws: 'throw new Error("no model");',
    leaves: 'process.exit(0);',
    // Something keeps it alive that never ends.
    hangs: 'setInterval(() => {}, 1000); await new Promise(() => {});',
    fat: 'const all = []; for (;;) all.push(new Array(1e6).fill(1.5)); export const handler = 1;',
  };
  for (const [name, text] of Object.entries(modules)) {
    await writeFile(join(folder, `${name}.mjs`), `console.log("hello");${text}`);
  }
  const used = Object.keys({ ...modules, missing: '' }).map((name) => {
    const path = `path: ./${name}.mjs, memoryMaxMiB: 32`;
    const exported = name === 'other' ? ', export: clean' : '';
    const module = `{ module: { ${path}${exported} } }`;
    return { name, called: `function: ${module}, timeoutSeconds: ${name === 'hangs' ? 1 : 20}` };
  });
  await writeFile(
    join(folder, 'headgate.yaml'),
    `
streams: { readings: {} }
deliveries:
${used.map(({ name, called }) => `  ${name}: { from: { stream: readings }, to: { folder: { path: ./out } }, transform: { ${called} } }`).join('\n')}
functions:
${used.map(({ name, called }) => `  ${name}: { from: { stream: readings }, ${called} }`).join('\n')}
`,
  );
  const { code, stdout, stderr } = await doctor(folder, '--json');
  assert.equal(code, 1, stdout + stderr);
  const found = JSON.parse(stdout) as Diagnosis[];
  for (const [name, status, message] of [
    ['good', 'ok', /good\.mjs exports handler$/],
    ['other', 'ok', /other\.mjs exports clean$/],
    ['broken', 'fail', /broken\.mjs can't be loaded: SyntaxError.* \(broken\.mjs:1\)$/],
    ['none', 'fail', /none\.mjs can't be loaded: .* exports no function "handler"$/],
    ['imports', 'fail', /imports\.mjs can't be loaded: .*nowhere\.mjs/],
    ['throws', 'fail', /throws\.mjs can't be loaded: Error: no model$/],
    ['leaves', 'fail', /leaves\.mjs can't be loaded: its thread ended with 0$/],
    ['hangs', 'fail', /hangs\.mjs was not loaded within 1 s, which is all that a call has$/],
    ['fat', 'fail', /it needs more than 32 MiB$/],
    ['missing', 'fail', /missing\.mjs can't be read$/],
  ] as const) {
    for (const what of ['Transform', 'Function']) {
      const [one, ...more] = found.filter((one) => one.name === `${what} ${name}`);
      assert.deepEqual([one?.status, more], [status, []], JSON.stringify(one));
      assert.match(one?.message ?? '', message);
      assert.equal(one?.advice === null, status === 'ok');
    }
  }
  assert.ok(!(stdout + stderr).includes('hello'), "what they write is nobody's");
});

test('beside a running gateway it tells how that is, and whose its ports are', async (t) => {
  const folder = await temporaryFolder(t);
  const blocker = createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => {
    blocker.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => new Promise((resolve) => blocker.close(resolve)));
  const { port } = blocker.address() as AddressInfo;
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `
cameras: { yard: { source: { rtsp: 'rtsp://viewer:hunter2@127.0.0.1:${port}/1' } } }
streams: { readings: {} }
deliveries:
  away:
    from: { stream: readings }
    to: { kinesis: { stream: s, region: eu-central-1, endpoint: 'http://127.0.0.1:1', accessKeyId: A, secretAccessKey: hunter2 } }
  video:
    from: { camera: yard }
    to: { kinesisVideo: { stream: v, endpoint: 'http://127.0.0.1:1', accessKeyId: A, secretAccessKey: hunter2 } }
`,
  );
  const { stdout, stderr } = await doctor(folder, '--json');
  const found = JSON.parse(stdout) as Diagnosis[];
  const said = (name: string): string =>
    found
      .filter((one) => one.name === name)
      .map(({ status, message }) => `${status}: ${message}`)
      .join();
  assert.match(said('Gateway'), /^ok: .* runs: /, stdout + stderr);
  for (const [own, name] of [
    [gateway.httpPort, 'HTTP'],
    [gateway.mqttPort, 'MQTT'],
    [gateway.rtspPort, 'RTSP'],
  ] as const) {
    assert.equal(said(`Port ${own}`), `ok: ${name}, held by the running gateway`);
  }
  assert.equal(said('Thread pool'), 'ok: 16 threads', 'of the gateway, not of the command');
  assert.match(said('Delivery away'), /^warn: data stream s: /);
  assert.match(said('Delivery video'), /^warn: video stream v: /);
  assert.ok(!stdout.includes('hunter2'), 'no secrets');
  await gateway.stop();
});
