import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCli } from '../../../gateway/cli/cli.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { FakeGateway, FakeProcess } from './support.ts';

function runWith(gateway: FakeGateway, args: readonly string[] = [], folder = '/nonexistent') {
  const process = new FakeProcess();
  const ended = runCli(process.context(args, { loadGateway: gateway.load, folder }));
  return { process, ended };
}

/** Lets everything happen that is not waiting for something else. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('a signal drains: the gateway closes, and the exit code is 0', async () => {
  const gateway = new FakeGateway();
  const { process, ended } = runWith(gateway);
  const start = await gateway.asked.promise;
  assert.equal(start.demonstration, true, 'there is no configuration');
  assert.equal(start.config.dataDir, '/nonexistent/data/demonstration', 'a folder of its own');
  assert.equal(process.served, false);
  gateway.started.resolve(undefined);
  await settled();
  assert.equal(process.served, true);
  start.announce('here I am');
  assert.equal(process.stderr, 'here I am\n', 'not between the JSON on stdout');
  process.signal();
  await gateway.closeCalled.promise;
  gateway.closed.resolve(undefined);
  assert.equal(await ended, 0);
  assert.deepEqual(process.messages, ['stopping', 'stopped']);
});

test('the gateway gets the configuration of the file, and its log the level and form', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    join(folder, 'headgate.yaml'),
    'dataDir: d\nlogging: { level: warn, format: json }',
  );
  const gateway = new FakeGateway();
  const { process, ended } = runWith(gateway, ['run'], folder);
  const start = await gateway.asked.promise;
  assert.equal(start.demonstration, false);
  assert.equal(start.folder, folder);
  assert.equal(start.config.dataDir, join(folder, 'd'));
  start.logger.info({}, 'not told');
  start.logger.warn({ password: 'hunter2' }, 'told');
  start.metrics.counter('headgate_test_total', 'x').add();
  assert.match(await start.metrics.render(), /^headgate_test_total 1$/m);
  gateway.started.resolve(undefined);
  gateway.closed.resolve(undefined);
  await settled();
  process.signal('SIGINT');
  assert.equal(await ended, 0);
  assert.deepEqual(process.messages, ['told']);
});

test('SIGHUP loads the configuration again, and ends nothing', async () => {
  const gateway = new FakeGateway();
  const { process, ended } = runWith(gateway);
  await gateway.asked.promise;
  process.signal('SIGHUP');
  gateway.started.resolve(undefined);
  await settled();
  assert.equal(gateway.reloads, 0, 'not while it starts: it has just been loaded');
  process.signal('SIGHUP');
  process.signal('SIGHUP');
  assert.equal(gateway.reloads, 2);
  assert.deepEqual(process.messages, []);
  gateway.closed.resolve(undefined);
  process.signal();
  process.signal('SIGHUP');
  assert.equal(await ended, 0);
  assert.equal(gateway.reloads, 2);
});

test('a second signal leaves at once', async () => {
  const gateway = new FakeGateway();
  const { process, ended } = runWith(gateway);
  gateway.started.resolve(undefined);
  await gateway.asked.promise;
  await settled();
  process.signal();
  await gateway.closeCalled.promise;
  process.signal();
  assert.equal(await ended, 1, 'although the gateway never closes');
  assert.deepEqual(process.messages, ['stopping', 'leaving at once, by a second signal']);
});

test('closing that never ends is cut off some time after shutdownTimeoutSeconds', async () => {
  const gateway = new FakeGateway();
  const { process, ended } = runWith(gateway);
  gateway.started.resolve(undefined);
  await gateway.asked.promise;
  await settled();
  process.signal();
  await gateway.closeCalled.promise;
  process.clock.advance(11_999);
  await settled();
  assert.deepEqual(process.messages, ['stopping']);
  process.clock.advance(1);
  assert.equal(await ended, 1);
  assert.equal(process.messages.at(-1), 'leaving: closing took too long');
});

test('a signal during the start closes what has started, as soon as it has', async () => {
  const gateway = new FakeGateway();
  const { process, ended } = runWith(gateway);
  await gateway.asked.promise;
  process.signal();
  await settled();
  gateway.started.resolve(undefined);
  await gateway.closeCalled.promise;
  gateway.closed.resolve(undefined);
  assert.equal(await ended, 0);
  assert.equal(process.served, false);
});

test('a gateway that can not start says why, once for the log and once for people', async () => {
  const gateway = new FakeGateway();
  const { process, ended } = runWith(gateway);
  await gateway.asked.promise;
  gateway.started.reject(new Error('port 8080 is taken: rtsp://u:hunter2@h'));
  assert.equal(await ended, 1);
  assert.match(process.stderr, /^headgate: could not start: port 8080 is taken/);
  assert.deepEqual(process.messages, ['the gateway could not start']);
  assert.ok(!JSON.stringify(process.log).includes('hunter2'));
  assert.ok(!process.stderr.includes('hunter2'), process.stderr);
});

test('a gateway that does not close properly is a failure', async () => {
  const gateway = new FakeGateway();
  const { process, ended } = runWith(gateway);
  gateway.started.resolve(undefined);
  await gateway.asked.promise;
  await settled();
  process.signal();
  await gateway.closeCalled.promise;
  gateway.closed.reject(new Error('the disk is gone'));
  assert.equal(await ended, 1);
  assert.equal(process.messages.at(-1), 'the gateway did not close properly');
});
