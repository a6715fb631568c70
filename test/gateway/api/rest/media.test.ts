import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { createFile, type ISOFile, MP4BoxBuffer } from 'mp4box';
import { ErrorSchema } from '../../../../gateway/api/rest/error-schemas.ts';
import { isoFromUs } from '../../../../gateway/api/rest/times.ts';
import { createHttpServer } from '../../../../gateway/http/server.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { cameraOptions } from '../../../storage/video/footage.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needs } from '../../../support/tools.ts';
import { headgate } from '../../cli/command.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';
import { clockFootage, frameUs, picturesOf } from '../../media/clock-footage.ts';
import { record } from '../hls/footage.ts';

const run = promisify(execFile);
const startUs = Date.UTC(2026, 0, 1) * 1_000;
const range = (fromUs: number, toUs: number): string =>
  `from=${isoFromUs(fromUs)}&to=${isoFromUs(toUs)}`;
const piece = range(startUs + 1_520_000, startUs + 5_000_000);

async function recorded(context: TestContext, ...names: readonly string[]): Promise<TestGateway> {
  const gateway = await startGateway(context);
  const footage = await clockFootage({ seconds: 7, bFrames: 2, sound: true });
  for (const name of names) {
    await gateway.video.ensureCamera(cameraOptions(name));
    await record(gateway.video, name, [footage], startUs);
  }
  await gateway.video.ensureCamera(cameraOptions('idle'));
  return gateway;
}

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

/** What another reader of MP4 makes of it. */
function readByMp4box(bytes: Buffer): ISOFile {
  const file = createFile();
  file.onError = (_module: string, message: string) => assert.fail(message);
  file.appendBuffer(MP4BoxBuffer.fromArrayBuffer(new Uint8Array(bytes).buffer, 0), true);
  file.flush();
  return file;
}

test('an export is an MP4 of known size, whole and in ranges, for every reader', async (t) => {
  const gateway = await recorded(t, 'gate');
  const path = `/api/v1/cameras/gate/export.mp4?${piece}`;
  const whole = await gateway.get(path);
  assert.equal(whole.status, 200);
  const bytes = await bytesOf(whole);
  assert.deepEqual(
    [whole.headers.get('content-type'), whole.headers.get('content-length')],
    ['video/mp4', String(bytes.length)],
  );
  assert.match(
    whole.headers.get('content-disposition') ?? '',
    /^attachment; filename="gate_2026-01-01T00-00-01.520Z.mp4"$/,
  );
  const file = join(await temporaryFolder(t), 'export.mp4');
  await writeFile(file, bytes);
  const pictures = await picturesOf(['-i', file]);
  assert.ok(Math.abs(pictures.length - 3_480_000 / frameUs) <= 1, `${pictures.length} pictures`);
  assert.ok(pictures.every(({ number }, index) => number === (pictures[0]?.number ?? 0) + index));

  const info = readByMp4box(bytes).getInfo();
  assert.equal(info.hasMoov && info.isProgressive && !info.isFragmented, true);
  assert.deepEqual(
    info.tracks.map(({ type }) => type),
    ['video', 'audio'],
  );

  const etag = whole.headers.get('etag') ?? '';
  const ask = async (headers: Record<string, string>, method = 'GET'): Promise<Response> =>
    gateway.app.request(`http://localhost${path}`, {
      method,
      headers: { authorization: `Bearer ${gateway.token}`, ...headers },
    });
  const some = await ask({ range: 'bytes=1000-1999', 'if-range': etag });
  assert.deepEqual(
    [some.status, some.headers.get('content-range')],
    [206, `bytes 1000-1999/${bytes.length}`],
  );
  assert.ok((await bytesOf(some)).equals(bytes.subarray(1_000, 2_000)));
  const last = await ask({ range: 'bytes=-10' });
  assert.ok((await bytesOf(last)).equals(bytes.subarray(-10)));
  assert.equal((await ask({ range: 'bytes=0-1', 'if-range': '"other"' })).status, 200);
  assert.equal((await ask({ range: 'bytes=0-1,5-6' })).status, 200);
  const beyond = await ask({ range: `bytes=${bytes.length}-` });
  assert.deepEqual(
    [beyond.status, beyond.headers.get('content-range')],
    [416, `bytes */${bytes.length}`],
  );
  const head = await ask({}, 'HEAD');
  assert.deepEqual(
    [head.status, head.headers.get('content-length'), (await bytesOf(head)).length],
    [200, String(bytes.length), 0],
  );
});

test('an export of nothing, of too much or of nonsense is refused in words', async (t) => {
  const gateway = await recorded(t, 'gate');
  const asked = {
    [`/cameras/none/export.mp4?${piece}`]: 404,
    [`/cameras/idle/export.mp4?${piece}`]: 404,
    '/cameras/gate/export.mp4?from=5&to=5': 400,
    '/cameras/gate/export.mp4?from=x&to=y': 400,
    [`/export.zip?${piece}&camera=idle`]: 404,
    [`/export.zip?${piece}`]: 400,
    '/cameras/gate/image?at=1000': 404,
    '/cameras/gate/thumbnail?at=1000': 404,
    [`/cameras/gate/image?at=${startUs / 1e3}&width=9`]: 400,
    [`/cameras/gate/image?at=${startUs / 1e3}&format=gif`]: 400,
  };
  for (const [path, status] of Object.entries(asked)) {
    const response = await gateway.get(`/api/v1${path}`);
    assert.equal(response.status, status, path);
    assert.ok(ErrorSchema.parse(await response.json()).error.message.length > 10);
  }
});

test('several cameras come in a zip with an index', async (t) => {
  if (!needs(t, 'python3')) return;
  const gateway = await recorded(t, 'gate', 'yard');
  const cameras = 'camera=gate&camera=yard&camera=idle';
  const response = await gateway.get(`/api/v1/export.zip?${piece}&${cameras}`);
  assert.equal(response.status, 200);
  const bytes = await bytesOf(response);
  assert.equal(response.headers.get('content-length'), String(bytes.length));
  const folder = await temporaryFolder(t);
  const file = join(folder, 'export.zip');
  await writeFile(file, bytes);
  const script = [
    'import sys, zipfile',
    'with zipfile.ZipFile(sys.argv[1]) as z:',
    '  assert z.testzip() is None',
    '  z.extractall(sys.argv[2])',
    '  print("\\n".join(z.namelist()))',
  ].join('\n');
  const { stdout } = await run('python3', ['-c', script, file, folder]);
  const names = stdout.trim().split('\n');
  assert.deepEqual(names, [
    'gate_2026-01-01T00-00-01.520Z.mp4',
    'yard_2026-01-01T00-00-01.520Z.mp4',
    'index.json',
  ]);
  for (const name of names.slice(0, 2)) {
    assert.ok((await picturesOf(['-i', join(folder, name)])).length >= 86, name);
  }
});

test('an image and a thumbnail tell when they were shown, and a thumbnail is made once', async (t) => {
  const gateway = await recorded(t, 'gate');
  const at = isoFromUs(startUs + 3_210_000);
  const image = await gateway.get(`/api/v1/cameras/gate/image?at=${at}&width=80&format=png`);
  assert.deepEqual([image.status, image.headers.get('content-type')], [200, 'image/png']);
  const shownMs = Date.parse(image.headers.get('headgate-image-time') ?? '');
  assert.ok(shownMs > startUs / 1e3 + 3_140 && shownMs <= startUs / 1e3 + 3_210, `${shownMs}`);

  const first = await gateway.get(`/api/v1/cameras/gate/thumbnail?at=${at}`);
  assert.deepEqual([first.status, first.headers.get('content-type')], [200, 'image/jpeg']);
  const spent = (): number | undefined =>
    gateway.metrics.values.get('headgate_images_cpu_seconds_total');
  const after = spent();
  const again = await gateway.get(`/api/v1/cameras/gate/thumbnail?at=${at}`);
  assert.ok((await bytesOf(again)).equals(await bytesOf(first)));
  assert.equal(spent(), after);
});

test('the shell exports into a file, and writes over none', async (t) => {
  const gateway = await recorded(t, 'gate', 'yard');
  const { app, logger, metrics, token } = gateway;
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, fetch: app.fetch, clock: systemClock, logger, metrics },
  });
  t.after(() => server.close());
  const folder = await temporaryFolder(t);
  const access = ['--url', server.url, '--token', token];
  const time = ['--from', isoFromUs(startUs), '--to', isoFromUs(startUs + 4_000_000)];
  const one = await headgate(folder, ['export', 'gate', ...time, ...access]);
  assert.deepEqual([one.code, one.stderr], [0, '']);
  assert.ok((await picturesOf(['-i', one.stdout.trim()])).length >= 98);

  const again = await headgate(folder, ['export', 'gate', ...time, ...access]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /is there already/);

  const several = ['export', 'gate', 'yard', '-o', 'both.zip'];
  const both = await headgate(folder, [...several, ...time, ...access]);
  assert.equal(both.stdout.trim(), join(folder, 'both.zip'), both.stderr);

  const none = await headgate(folder, ['export', 'idle', ...time, ...access]);
  assert.deepEqual([none.code, none.stdout], [1, '']);
  assert.match(none.stderr, /Nothing of idle was recorded/);
});
