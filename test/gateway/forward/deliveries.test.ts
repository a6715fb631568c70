import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { startDeliveries, type DeliveriesOptions } from '../../../gateway/forward/deliveries.ts';
import { failedStream } from '../../../gateway/forward/failed-records.ts';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { unpinRemoved } from '../../../gateway/forward/removed.ts';
import type { Config } from '../../../gateway/config/schema.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { ReadOptions } from '../../../storage/model.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { sentAll, startAll, statusUntil } from './support/backups.ts';
import {
  numbered,
  openRig,
  runClock,
  settle,
  settleAll,
  streamOptions,
  testPrograms,
  type Rig,
} from './support/rig.ts';

/** What the configuration yields is what deliveries take: the compiler proves it. */
export function fromConfig(config: Config): DeliveryOptions[] {
  return Object.entries(config.deliveries).map(([name, delivery]) => ({ name, ...delivery }));
}

function optionsFor(rig: Rig, deliveries: readonly DeliveryOptions[]): DeliveriesOptions {
  return {
    deliveries,
    log: rig.store.log,
    video: rig.store.video,
    gatewayId: 'box-1',
    clock: rig.clock,
    logger: rig.logger,
    metrics: rig.metrics,
    programs: testPrograms,
    random: () => 0.5,
  };
}

test('deliveries run side by side, tell how they are, and close twice', async (context) => {
  const rig = await openRig(context);
  const path = await temporaryFolder(context);
  await rig.store.log.ensureStream(streamOptions('readings', 2));
  const buffer = { maxBytes: 10_000, maxSeconds: 0.1 };
  const deliveries = startDeliveries(
    optionsFor(rig, [
      { name: 'folder', from: { stream: 'readings' }, to: { folder: { path } }, buffer },
      {
        name: 'dead',
        from: { stream: 'readings' },
        to: {
          s3: {
            bucket: 'b',
            endpoint: 'http://127.0.0.1:1',
            region: null,
            accessKeyId: 'a',
            secretAccessKey: 'very-secret',
          },
        },
        required: false,
        buffer,
      },
    ]),
  );
  context.after(() => deliveries.close());
  await rig.store.log.append('readings', numbered(0, 1000));
  await rig.metrics.sent(1000);
  await rig.metrics.until((m) => m.total('headgate_delivery_failures_total') > 0);
  let [folder, dead] = await deliveries.status();
  while (folder?.state !== 'idle') {
    await setImmediate();
    [folder, dead] = await deliveries.status();
  }
  assert.ok(dead !== undefined);
  assert.deepEqual(folder.to, { kind: 'folder', description: path });
  assert.equal(folder.sentRecords, 1000);
  assert.deepEqual(folder.backlog, { records: 0, bytes: 0, seconds: 0 });
  assert.ok(folder.rate.recordsPerSecond > 0 && folder.rate.bytesPerSecond > 0);
  assert.equal(folder.lastFailure, null);
  assert.equal(dead.state, 'backing-off');
  assert.equal(dead.lastFailure?.code, 'unreachable');
  assert.equal(dead.lastSuccessMs, null);
  assert.equal(dead.backlog.records, 1000);
  assert.ok(dead.backlog.bytes > 0 && dead.backlog.seconds >= 0);
  const value = (name: string, delivery: string): number | undefined =>
    rig.metrics.values.get(`headgate_delivery_${name}{delivery="${delivery}"}`);
  assert.equal(value('backlog_records', 'dead'), 1000);
  assert.equal(value('backlog_records', 'folder'), 0);
  assert.equal(value('sent_records_total', 'folder'), 1000);
  const required = rig.store.log.applications.list().map((app) => [app.name, app.required]);
  assert.deepEqual(required, [
    ['delivery:folder', true],
    ['delivery:dead', false],
  ]);
  assert.ok(!JSON.stringify([rig.logger.lines, dead]).includes('very-secret'));
  await deliveries.close();
  await deliveries.close();
  assert.deepEqual(
    (await deliveries.status()).map(({ state }) => state),
    ['stopped', 'stopped'],
  );
});

test('a folder that does not exist yet appears with the first object', async (context) => {
  const rig = await openRig(context);
  const path = `${await temporaryFolder(context)}/later`;
  await rig.store.log.ensureStream(streamOptions('readings'));
  const name = 'n'.repeat(128);
  const to = { folder: { path } };
  const buffer = { maxSeconds: 0.1 };
  const deliveries = startDeliveries(
    optionsFor(rig, [{ name, from: { stream: 'readings' }, to, buffer }]),
  );
  context.after(() => deliveries.close());
  await rig.store.log.append('readings', numbered(0, 1));
  await rig.metrics.sent(1);
  assert.equal((await readdir(path)).length, 1);
  await deliveries.close();
});

test('a delivery that was removed pins nothing, and goes on where it was when it is back', async (context) => {
  const rig = await openRig(context);
  const { applications } = rig.store.log;
  await rig.store.log.ensureStream(streamOptions('readings'));
  const shard = { kind: 'shard', id: rig.store.log.stream('readings').shards[0]!.id } as const;
  for (const name of ['delivery:kept', 'delivery:gone', 'dashboard']) {
    await applications.ensure({ name, required: true });
  }
  await rig.store.log.append('readings', numbered(0, 9));
  await applications.acquire('delivery:gone', shard, 'me', 1000, 7);

  await unpinRemoved(rig.store.log, [{ name: 'kept' }], rig.logger);

  const pins = applications.list().map(({ name, required }) => [name, required]);
  assert.deepEqual(Object.fromEntries(pins), {
    'delivery:kept': true,
    'delivery:gone': false,
    dashboard: true,
  });
  const gone = applications.list().find(({ name }) => name === 'delivery:gone');
  assert.equal(gone?.leases[0]?.checkpoint, 7);
});

test('a removed delivery is named with what it left, and let go of when somebody says so', async (context) => {
  const rig = await openRig(context);
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  const path = await temporaryFolder(context);
  const kept: DeliveryOptions = {
    name: 'kept',
    from: { stream: 'readings' },
    to: { folder: { path } },
    buffer: { maxSeconds: 0.1 },
  };
  // A file where the folder should be: it plans an object and can't put it.
  const stuck = { ...kept, name: 'stuck', to: { folder: { path: import.meta.filename } } };
  const deliveries = startDeliveries(optionsFor(rig, [kept, stuck]));
  context.after(() => deliveries.close());
  await log.append('readings', numbered(0, 100));
  await rig.metrics.until((m) => m.total('headgate_delivery_failures_total') > 0);
  const status = await deliveries.status();
  assert.match(status[1]?.lastFailure?.advice ?? '', /to\.folder\.path/);
  assert.deepEqual(await deliveries.removed(), []);

  await deliveries.update([kept]);
  await unpinRemoved(log, [kept], rig.logger);
  const [removed, ...others] = await deliveries.removed();
  assert.deepEqual(others, []);
  assert.equal(removed?.name, 'stuck');
  assert.equal(removed.backlog.records, 100);
  assert.equal(removed.pins, true, 'it had planned to send them');

  assert.equal(await deliveries.forget('kept'), 'configured');
  assert.equal(await deliveries.forget('nobody'), 'unknown');
  assert.equal(await deliveries.forget('stuck'), 'forgotten');
  assert.deepEqual(await deliveries.removed(), []);
  assert.equal(await deliveries.forget('stuck'), 'unknown');
});

test('what has failed goes with a removed delivery, and only by force while it was not sent', async (context) => {
  const rig = await openRig(context);
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  const to = { folder: { path: await temporaryFolder(context) } };
  const buffer = { maxSeconds: 0 };
  const from = { stream: 'readings' };
  const strict: DeliveryOptions = { name: 'strict', from, to, buffer, filter: 'id' };
  const deliveries = startDeliveries(optionsFor(rig, [strict]));
  context.after(() => deliveries.close());
  await log.append('readings', [{ partitionKey: 'k', data: Buffer.from('no JSON') }]);
  await rig.metrics.until((m) => m.total('headgate_delivery_failed_records_total') === 1);
  await deliveries.update([]);
  const [removed] = await deliveries.removed();
  assert.equal(removed?.name, 'strict');
  assert.deepEqual([removed.failedRecords, removed.backlog.records, removed.pins], [1, 0, false]);

  const failed = [{ stream: 'failed.strict', records: 1, readers: [] }];
  assert.deepEqual(await deliveries.forget('strict'), failed);
  assert.equal((await deliveries.removed()).length, 1, 'nothing was let go of');
  assert.ok(failedStream(log, 'strict') !== null);
  const twice = await Promise.all([1, 2].map(() => deliveries.forget('strict', true)));
  assert.deepEqual(twice, ['forgotten', 'unknown']);
  assert.equal(failedStream(log, 'strict'), null);
  assert.deepEqual(await deliveries.removed(), []);
  const said = rig.logger.lines.find(({ message }) => message.startsWith('failed records were'));
  assert.equal(said?.fields['records'], 1);

  await deliveries.update([{ ...strict, from: { stream: 'readings' }, startAt: 'latest' }]);
  const [again] = await deliveries.status();
  assert.deepEqual([again?.failedRecords, await deliveries.replay('strict')], [0, 0]);
});

test('what is asked for while a delivery is begun again holds for the one that runs then', async (context) => {
  const rig = await openRig(context);
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  const path = await temporaryFolder(context);
  const first: DeliveryOptions = {
    ...{ name: 'first', from: { stream: 'readings' }, to: { folder: { path } } },
    buffer: { maxSeconds: 0 },
  };
  const deliveries = startDeliveries(optionsFor(rig, [first]));
  context.after(() => deliveries.close());
  await log.append('readings', numbered(0, 10));
  await rig.metrics.sent(10);
  const changing = deliveries.update([{ ...first, priority: 9 }]);
  const paused = await deliveries.pause('first');
  await changing;
  assert.deepEqual([paused?.priority, paused?.held?.by], [9, 'pause']);
  const [running] = await deliveries.status();
  assert.equal(running?.held?.by, 'pause');
});

test('a stream of failed records is not deleted behind the back of whoever reads it, nor one of another', async (context) => {
  const rig = await openRig(context);
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  // It bears the name, and is somebody else's.
  await log.ensureStream(streamOptions('failed.plain'));
  const path = await temporaryFolder(context);
  const options = { from: { stream: 'readings' }, to: { folder: { path } } };
  const buffer = { maxSeconds: 0 };
  const plain: DeliveryOptions = { ...options, name: 'plain', buffer };
  const strict: DeliveryOptions = { ...options, name: 'strict', buffer, filter: 'id' };
  const deliveries = startDeliveries(optionsFor(rig, [plain, strict]));
  context.after(() => deliveries.close());
  await log.append('readings', [{ partitionKey: 'k', data: Buffer.from('no JSON') }]);
  await rig.metrics.until(
    (m) =>
      m.total('headgate_delivery_failed_records_total') === 1 &&
      m.total('headgate_delivery_sent_records_total') === 1,
  );
  const reader: DeliveryOptions = { ...plain, name: 'reader', from: { stream: 'failed.strict' } };
  await deliveries.update([plain, { ...strict, filter: null }, reader]);
  assert.equal(await deliveries.replay('strict'), 1);
  await rig.metrics.sent(3);
  for (let count = 1; count > 0;) {
    count = (await deliveries.status())[1]?.failedRecords ?? 0;
    await setImmediate();
  }
  await deliveries.update([reader]);
  const read = [{ stream: 'failed.strict', records: 0, readers: ['reader'] }];
  assert.deepEqual(await deliveries.forget('strict'), read);
  assert.ok(failedStream(log, 'strict') !== null);
  assert.equal(await deliveries.forget('plain'), 'forgotten');
  assert.ok(failedStream(log, 'plain') !== null, 'it was never its own');
});

test('two who ask for a replay at the same instant have each record sent once', async (context) => {
  const rig = await openRig(context);
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  const path = await temporaryFolder(context);
  const strict: DeliveryOptions = {
    ...{ name: 'strict', from: { stream: 'readings' }, to: { folder: { path } } },
    ...{ buffer: { maxSeconds: 0 }, filter: 'id' },
  };
  const deliveries = startDeliveries(optionsFor(rig, [strict]));
  context.after(() => deliveries.close());
  const bad = (id: number) => ({ partitionKey: 'k', data: Buffer.from(`no JSON ${id}`) });
  await log.append('readings', [1, 2, 3, 4, 5].map(bad));
  await rig.metrics.until((m) => m.total('headgate_delivery_failed_records_total') === 5);
  const mended: DeliveryOptions = { ...strict, filter: null };
  await deliveries.update([mended]);
  const asked = await Promise.all([deliveries.replay('strict'), deliveries.replay('strict')]);
  assert.deepEqual(asked, [5, 5]);
  await rig.metrics.sent(5);
  for (let isReplaying = true; isReplaying;) {
    const [one] = await deliveries.status();
    isReplaying = one?.isReplaying === true;
    await setImmediate();
  }
  assert.equal(await deliveries.replay('strict'), 0);
  const texts = await Promise.all(
    (await readdir(path, { recursive: true }))
      .filter((name) => name.endsWith('.gz'))
      .map(async (name) => gunzipSync(await readFile(join(path, name))).toString()),
  );
  assert.equal(texts.join('').trimEnd().split('\n').length, 5);
  const [status] = await deliveries.status();
  assert.deepEqual([status?.sentRecords, status?.failedRecords], [5, 0]);
});

test('what waits for more to go with it is gathered, until it goes', async (context) => {
  const clock = new ManualClock();
  const rig = await openRig(context, { clock });
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings', 2));
  const path = await temporaryFolder(context);
  const deliveries = startDeliveries(
    optionsFor(rig, [
      {
        ...{ name: 'archive', from: { stream: 'readings' }, to: { folder: { path } } },
        buffer: { maxSeconds: 60 },
      },
    ]),
  );
  context.after(() => deliveries.close());
  await settle(rig);
  const state = async (): Promise<unknown> => {
    const [one] = await deliveries.status();
    return [one?.state, one?.gatheringUntilMs];
  };
  assert.deepEqual(await state(), ['idle', null]);
  await log.append('readings', numbered(0, 1));
  const dueMs = clock.nowMs() + 60_000;
  for (let one = await state(); !isDeepStrictEqual(one, ['gathering', dueMs]);) {
    await settle(rig);
    one = await state();
  }
  clock.advance(30_000);
  await settle(rig);
  assert.deepEqual(await state(), ['gathering', dueMs]);
  assert.ok((await deliveries.pause('archive')) !== null);
  assert.deepEqual(await state(), ['waiting', null]);
  await deliveries.resume('archive');
  assert.deepEqual(await state(), ['gathering', dueMs]);
  await runClock(rig, clock, () => rig.metrics.total('headgate_delivery_sent_records_total') > 0);
  await settleAll(rig);
  assert.deepEqual(await state(), ['idle', null]);
});

test('failed records that do not open hide no status', async (context) => {
  const rig = await openRig(context);
  const { log } = rig.store;
  const to = { folder: { path: await temporaryFolder(context) } };
  await log.ensureStream(streamOptions('readings'));
  const from = { stream: 'readings' };
  const buffer = { maxSeconds: 0 };
  const deliveries = startDeliveries(
    optionsFor(rig, [
      { name: 'strict', from, to, buffer, filter: 'id' },
      { name: 'other', from, to, buffer },
    ]),
  );
  context.after(() => deliveries.close());
  await log.append('readings', [{ partitionKey: 'k', data: Buffer.from('no JSON') }]);
  await rig.metrics.until((m) => m.total('headgate_delivery_failed_records_total') === 1);
  const failed = failedStream(log, 'strict')?.shards[0]?.id;
  const read = log.read.bind(log);
  const locked = context.mock.method(log, 'read', (options: ReadOptions) =>
    options.shardId === failed
      ? Promise.reject(new StorageError('key-unavailable', 'the key service does not answer'))
      : read(options),
  );
  const found = async (): Promise<unknown> =>
    (await deliveries.status()).map((one) => [one.failedRecords, one.newestFailed !== null]);
  assert.deepEqual(await found(), [
    [1, false],
    [0, false],
  ]);
  locked.mock.restore();
  assert.deepEqual(await found(), [
    [1, true],
    [0, false],
  ]);
});

test('when something last arrived is known after a change, unless it goes elsewhere', async (context) => {
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings'));
  const [here, there] = [await temporaryFolder(context), await temporaryFolder(context)];
  const one: DeliveryOptions = {
    ...{ name: 'archive', from: { stream: 'readings' }, to: { folder: { path: here } } },
    buffer: { maxSeconds: 0 },
  };
  const deliveries = startAll(context, rig, [one]);
  await rig.store.log.append('readings', numbered(0, 1));
  const { lastSuccessMs } = await statusUntil(deliveries, 'archive', sentAll(1));
  assert.ok(lastSuccessMs !== null);
  const after = async (changed: DeliveryOptions): Promise<number | null> => {
    await deliveries.update([changed]);
    const [status] = await deliveries.status();
    assert.equal(status?.sentRecords, 0, 'it was begun anew');
    return status.lastSuccessMs;
  };
  assert.equal(await after({ ...one, priority: 7 }), lastSuccessMs);
  const withheld = { ...one, to: { folder: { path: '/unknown' } }, withheld: 'It may not.' };
  assert.equal(await after(withheld), lastSuccessMs);
  assert.equal(await after(one), lastSuccessMs);
  assert.equal(await after({ ...one, to: { folder: { path: there } } }), null);
});
