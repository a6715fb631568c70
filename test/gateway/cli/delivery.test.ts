import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import type { Deliveries } from '../../../gateway/api/rest/delivery-schemas.ts';
import { freePort, GatewayProcess } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { headgate } from './command.ts';

test('status says what is wrong with a delivery; one that was removed is named and let go of', async (t) => {
  const folder = await temporaryFolder(t);
  const s3 = `{ bucket: b, endpoint: 'http://127.0.0.1:${await freePort()}', accessKeyId: a, secretAccessKey: s }`;
  const sections = (deliveries: string): string =>
    `streams: { readings: {} }\nuplink: { maxBytesPerSecond: 1MiB }\ndeliveries: ${deliveries}\n`;
  const stuck = `{ stuck: { from: { stream: readings }, to: { s3: ${s3} }, buffer: { maxSeconds: 0.1 }, catchUp: live-first, maxBytesPerSecond: 64KiB } }`;
  const gateway = await GatewayProcess.start(
    t,
    folder,
    sections(stuck),
    undefined,
    "[{ topic: 'site/+', stream: readings }]",
  );
  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
    username: 'device',
    password: 'device-password',
  });
  t.after(() => device.endAsync(true));
  await device.publishAsync('site/1', '{"id":1}', { qos: 1 });
  await gateway.until<Deliveries>(
    '/deliveries',
    ({ deliveries }) => deliveries[0]?.lastError !== null && deliveries[0]?.backlog.records === 1,
  );
  const { deliveries } = await gateway.get<Deliveries>('/deliveries');
  assert.equal(deliveries[0]?.catchUp, 'live-first');
  assert.equal(deliveries[0].maxBytesPerSecond, 64 * 1024);
  const failing = await headgate(folder, ['status']);
  assert.match(failing.stdout, /stuck: Nothing listens there\. Check to\.s3\.endpoint/);
  assert.match(failing.stdout, /(next attempt at 20\S+Z|tried again now): /);
  assert.doesNotMatch(failing.stdout, /…/, 'no reason is cut off');

  const file = join(folder, 'headgate.yaml');
  const [listeners = ''] = (await readFile(file, 'utf8')).split('streams:');
  await writeFile(file, `${listeners}${sections('{}')}`);
  const reloaded = await headgate(folder, ['reload']);
  assert.equal(reloaded.code, 0, reloaded.stderr);
  const removed = await headgate(folder, ['status']);
  assert.match(removed.stdout, /Removed: stuck is no longer configured; .* not sent/);
  assert.match(
    removed.stdout,
    /keeps what it had planned to send.*"headgate delivery forget stuck"/,
  );

  const unknown = await headgate(folder, ['delivery', 'forget', 'nobody']);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /no removed delivery named nobody\. There is only stuck\./);
  const forgotten = await headgate(folder, ['delivery', 'forget', 'stuck']);
  assert.equal(forgotten.code, 0, forgotten.stderr);
  assert.match(forgotten.stdout, /stuck is forgotten/);
  assert.doesNotMatch((await headgate(folder, ['status'])).stdout, /Removed/);
  assert.equal(await gateway.stop(), 0);
});

test('a delivery is paused over a restart, rewound and resumed by commands', async (t) => {
  const folder = await temporaryFolder(t);
  const bucket = join(folder, 'bucket');
  const sections = `streams: { readings: {} }\ndeliveries: { archive: { from: { stream: readings }, to: { folder: { path: ${bucket} } }, buffer: { maxSeconds: 0.1 } } }\n`;
  const routes = "[{ topic: 'site/+', stream: readings }]";
  const gateway = await GatewayProcess.start(t, folder, sections, undefined, routes);
  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
    username: 'device',
    password: 'device-password',
  });
  await device.publishAsync('site/1', '{"id":1}', { qos: 1 });
  const sent = (count: number): Promise<Deliveries> =>
    gateway.until<Deliveries>(
      '/deliveries',
      ({ deliveries }) => deliveries[0]?.sentRecords === count,
    );
  await sent(1);
  const run = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await headgate(folder, ['delivery', ...args]);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  assert.equal(await run('pause', 'archive'), 'archive is paused. Nothing waits to be sent.\n');
  await device.publishAsync('site/1', '{"id":2}', { qos: 1 });
  await device.endAsync(true);
  await gateway.kill();
  await gateway.restart();
  const status = await headgate(folder, ['status']);
  assert.match(status.stdout, /archive +waiting .*paused since 20/);
  assert.match(status.stdout, /archive: "headgate delivery resume archive" lets it go on/);
  assert.match(
    await run('rewind', 'archive', '--to', 'earliest'),
    /^archive will begin anew, and waits: paused since .* 2 records \(.*\) to send, kept within/,
  );
  const bad = await headgate(folder, ['delivery', 'rewind', 'archive', '--to', 'yesterday']);
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /must be earliest, latest, or a time such as/);
  const without = await headgate(folder, ['delivery', 'rewind', 'archive']);
  assert.notEqual(without.code, 0);
  assert.match(without.stderr, /--to/);
  const nobody = await headgate(folder, ['delivery', 'pause', 'nobody']);
  assert.match(nobody.stderr, /There is no delivery named nobody/);
  assert.match(await run('resume', 'archive'), /^archive goes on\./);
  await sent(2);
  const audit = await readFile(join(gateway.dataFolder, 'audit.log'), 'utf8');
  const actions = audit
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { action: string; resource: string; outcome: string });
  assert.deepEqual(
    actions.map(({ action, resource, outcome }) => `${action} ${resource} ${outcome}`),
    [
      'headgate:PauseDelivery delivery/archive ok',
      'headgate:RewindDelivery delivery/archive ok',
      'headgate:PauseDelivery delivery/nobody not-found',
      'headgate:ResumeDelivery delivery/archive ok',
    ],
  );
  assert.equal(await gateway.stop(), 0);
});

test('failed records are counted, and sent again on demand', async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `streams: { readings: {} }
deliveries:
  sorted:
    from: { stream: readings }
    to: { folder: { path: out, prefix: '!{partitionKeyFromQuery:device}/' } }
    layout: { partitionBy: { device: device } }
    buffer: { maxSeconds: 0 }
  slow:
    from: { stream: readings }
    to: { folder: { path: slow } }
    buffer: { maxSeconds: 900 }
    failed: { to: { folder: { path: lost } } }
`,
    undefined,
    "[{ topic: 'site/+', stream: readings }]",
  );
  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
    username: 'device',
    password: 'device-password',
  });
  t.after(() => device.endAsync(true));
  await device.publishAsync('site/1', '{"device":null}', { qos: 1 });
  await gateway.until<Deliveries>('/deliveries', ({ deliveries }) => deliveries[0]?.failed === 1);
  const gathering = await headgate(folder, ['status']);
  assert.match(gathering.stdout, /^slow +gathering .* until 20\S+Z at the latest$/m);
  assert.match(gathering.stdout, /^sorted: 1 record failed .*"headgate delivery replay sorted"/m);
  const again = await headgate(folder, ['delivery', 'replay', 'sorted']);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /sorted sends 1 failed record again/);
  const elsewhere = await headgate(folder, ['delivery', 'replay', 'slow.failed']);
  assert.equal(elsewhere.code, 0, elsewhere.stderr);
  assert.match(
    elsewhere.stdout,
    /^slow\.failed has no failed records of its own: .* "headgate delivery replay slow" sends them/,
  );
  const unknown = await headgate(folder, ['delivery', 'replay', 'sorte']);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /There is no delivery named sorte\. Did you mean sorted\?/);

  await gateway.until<Deliveries>(
    '/deliveries',
    ({ deliveries }) => deliveries[0]?.failed === 1 && !deliveries[0].isReplaying,
  );
  const file = join(folder, 'headgate.yaml');
  const [before = ''] = (await readFile(file, 'utf8')).split('deliveries:');
  await writeFile(file, before);
  assert.equal((await headgate(folder, ['reload'])).code, 0);
  const status = await headgate(folder, ['status']);
  assert.match(
    status.stdout,
    /^Removed: slow is no longer configured; \S+ B were not sent\. .*"headgate delivery forget slow" lets go of it\.$/m,
  );
  assert.match(
    status.stdout,
    /^Removed: sorted is no longer configured; 1 record failed and is kept\. .*"headgate delivery forget sorted --force"/m,
  );
  const run = (...args: string[]) => headgate(folder, ['delivery', ...args]);
  const replayed = await run('replay', 'sorted');
  assert.equal(replayed.code, 1);
  assert.match(
    replayed.stderr,
    /^sorted is no longer configured, and left 1 failed record\. .*"headgate delivery forget sorted"/,
  );
  const refused = await run('forget', 'sorted');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^With sorted goes failed\.sorted \(1 failed record .*--force/);
  const records = await headgate(folder, 'tail failed.sorted --from earliest -n 1'.split(' '));
  assert.match(records.stdout, /"delivery":"sorted"/, 'they are there yet');
  const forgotten = await run('forget', 'sorted', '--force');
  assert.equal(forgotten.code, 0, forgotten.stderr);
  assert.doesNotMatch((await headgate(folder, ['status'])).stdout, /Removed: sorted/);
  const gone = await headgate(folder, ['tail', 'failed.sorted']);
  assert.match(gone.stderr, /no stream named failed\.sorted\. /);
  assert.equal(await gateway.stop(), 0);
});
