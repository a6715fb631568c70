import assert from 'node:assert/strict';
import { it } from 'node:test';
import { addChecks } from '../../gateway/health-checks.ts';
import type { CameraStatus } from '../../gateway/api/rest/cameras.ts';
import type { EventSourceStatus } from '../../gateway/event-sources/event-source.ts';
import { forecast } from '../../gateway/forecast.ts';
import type { Deliveries } from '../../gateway/forward/deliveries.ts';
import type { DeliveryStatus } from '../../gateway/forward/delivery-status.ts';
import { Health } from '../../gateway/observe/health.ts';
import { openTestStore, streamOptions } from '../storage/support/open.ts';

const noDeliveries: Pick<Deliveries, 'status'> = { status: () => Promise.resolve([]) };

const away: CameraStatus = {
  name: 'gate',
  state: 'backing-off',
  sinceMs: 0,
  source: 'rtsp://192.0.2.10/',
  lastError: 'the camera does not answer',
  restarts: 3,
  retryAtMs: 1,
};

it('a camera that is away and a clock that leapt degrade the gateway, a full disk fails it', async (t) => {
  const { store, clock } = await openTestStore(t);
  const health = new Health(clock);
  let cameras: readonly CameraStatus[] = [];
  let free = 1e9;
  let delayMs = 3;
  let configurationTrouble: string | null = null;
  let mqttTrouble: string | null = null;
  let troubles: readonly { name: string; trouble: string }[] = [];
  addChecks(health, {
    store,
    files: { statuses: () => [] },
    cameras: { statuses: () => cameras },
    deliveries: noDeliveries,
    functions: { status: () => Promise.resolve([]) },
    hooks: { troubles: () => troubles },
    freeBytes: () => Promise.resolve(free),
    loopDelay: { p99Ms: () => delayMs, close: () => undefined },
    configurationTrouble: () => configurationTrouble,
    mqttTrouble: () => mqttTrouble,
    certificateEndsMs: clock.nowMs() + 400 * 86_400_000,
    clock,
  });
  assert.equal((await health.report()).status, 'ok');

  cameras = [away];
  const report = await health.report();
  assert.equal(report.status, 'degraded');
  const camera = report.checks.find(({ name }) => name === 'cameras');
  assert.equal(camera?.message, 'gate: the camera does not answer');

  cameras = [];
  delayMs = 150;
  assert.match(JSON.stringify(await health.report()), /waits 150 ms for the event loop/);

  delayMs = 3;
  configurationTrouble = 'it has a problem';
  const unread = (await health.report()).checks.find(({ name }) => name === 'configuration');
  assert.deepEqual([unread?.status, unread?.message], ['degraded', 'it has a problem']);
  configurationTrouble = null;
  mqttTrouble = 'the broker refuses the login';
  assert.match(JSON.stringify(await health.report()), /the broker refuses the login/);
  mqttTrouble = null;
  troubles = [{ name: 'people', trouble: 'detect ended with 3' }];
  const hooks = (await health.report()).checks.find(({ name }) => name === 'hooks');
  assert.deepEqual([hooks?.status, hooks?.message], ['degraded', 'people: detect ended with 3']);
  troubles = [];
  clock.stepWall(3 * 3_600_000);
  await store.retention.run();
  assert.equal((await health.report()).status, 'degraded', 'the clock leapt');
  assert.equal(await health.ready(), true, 'degraded is ready');

  free = 1000;
  assert.equal(await health.ready(), false, 'a full disk is not');
  assert.equal(await health.live(), true, 'and no restart mends it');
});

it('a certificate that ends soon degrades the gateway, for somebody has to act', async (t) => {
  const { store, clock } = await openTestStore(t);
  const health = new Health(clock);
  addChecks(health, {
    store,
    files: { statuses: () => [] },
    cameras: { statuses: () => [] },
    deliveries: noDeliveries,
    functions: { status: () => Promise.resolve([]) },
    hooks: { troubles: () => [] },
    freeBytes: () => Promise.resolve(1e9),
    loopDelay: { p99Ms: () => 1, close: () => undefined },
    configurationTrouble: () => null,
    mqttTrouble: () => null,
    certificateEndsMs: clock.nowMs() + 15 * 86_400_000,
    clock,
  });
  const said = async (): Promise<string | null | undefined> =>
    (await health.report()).checks.find(({ name }) => name === 'certificate')?.message;
  assert.equal(await said(), null);
  clock.advance(5 * 86_400_000);
  assert.match((await said()) ?? '', /^it ends in 10 days: put in a new one and restart/);
  clock.advance(11 * 86_400_000);
  assert.match((await said()) ?? '', /^it has ended/);
});

it('a stream that is full degrades the gateway, and is named with what to do', async (t) => {
  const { store, clock } = await openTestStore(t);
  const health = new Health(clock);
  addChecks(health, {
    store,
    files: { statuses: () => [] },
    cameras: { statuses: () => [] },
    deliveries: noDeliveries,
    functions: { status: () => Promise.resolve([]) },
    hooks: { troubles: () => [] },
    freeBytes: () => Promise.resolve(1e9),
    loopDelay: { p99Ms: () => 3, close: () => undefined },
    configurationTrouble: () => null,
    mqttTrouble: () => null,
    certificateEndsMs: null,
    clock,
  });
  const { shards } = await store.log.createStream(streamOptions({ maxBytes: 20_000 }));
  await store.log.applications.ensure({ name: 'uplink', required: true });
  const source = { kind: 'shard', id: shards[0]!.id } as const;
  await store.log.applications.acquire('uplink', source, 'me', 1e9, 0);
  const record = { partitionKey: 'k', data: Buffer.alloc(6000) };
  for (let count = 0; count < 3; count += 1) await store.log.append('readings', [record]);
  assert.equal((await health.report()).status, 'ok');
  await assert.rejects(store.log.append('readings', [record]), { code: 'stream-full' });
  const { status, checks } = await health.report();
  assert.equal(status, 'degraded');
  const message = checks.find(({ name }) => name === 'streams')?.message;
  assert.match(message ?? '', /^readings is full \(maxBytes 20000\).* raise maxBytes/);
});

const held: DeliveryStatus = {
  name: 'archive',
  backupOf: null,
  keeps: null,
  underErrorPrefix: null,
  origin: 'configuration',
  from: { kind: 'stream', name: 'readings' },
  to: { kind: 's3', description: 's3://bucket' },
  required: true,
  catchUp: 'in-order',
  state: 'waiting',
  held: { by: 'pause', reason: 'paused since noon', isFault: false, untilMs: null },
  priority: 5,
  retryAtMs: null,
  backlog: { records: 10, bytes: 15_000, seconds: 60 },
  lanes: [],
  maxBytesPerSecond: null,
  rate: { recordsPerSecond: 0, bytesPerSecond: 0 },
  sinceMs: 0,
  sentRecords: 0,
  sentBytes: 0,
  sentObjects: 0,
  failures: 0,
  lostRecords: 0,
  failedRecords: 0,
  isReplaying: false,
  gatheringUntilMs: null,
  newestFailed: null,
  lastSuccessMs: null,
  lastFailure: null,
};

it('a delivery that is held back is no trouble, until what it keeps fills its stream', async (t) => {
  const { store, clock } = await openTestStore(t);
  await store.log.createStream(streamOptions({ maxBytes: 20_000 }));
  const health = new Health(clock);
  let delivery = held;
  let backups: readonly DeliveryStatus[] = [];
  addChecks(health, {
    store,
    files: { statuses: () => [] },
    cameras: { statuses: () => [] },
    deliveries: { status: () => Promise.resolve([delivery, ...backups]) },
    functions: { status: () => Promise.resolve([]) },
    hooks: { troubles: () => [] },
    freeBytes: () => Promise.resolve(1e9),
    loopDelay: { p99Ms: () => 3, close: () => undefined },
    configurationTrouble: () => null,
    mqttTrouble: () => null,
    certificateEndsMs: null,
    clock,
  });
  const said = async (): Promise<string | null | undefined> =>
    (await health.report()).checks.find(({ name }) => name === 'deliveries')?.message;
  assert.equal(await said(), null);
  delivery = { ...held, backlog: { ...held.backlog, bytes: 17_000 } };
  assert.match(
    (await said()) ?? '',
    /^archive: it is held back \(paused since noon\).*85 % of what readings may hold/,
  );
  delivery = { ...delivery, required: false };
  assert.equal(await said(), null, 'it keeps nothing');
  const reason = 'is-wifi ended with 127';
  delivery = { ...held, held: { by: 'command', reason, isFault: true, untilMs: null } };
  assert.equal(await said(), 'archive: it waits: is-wifi ended with 127');
  const why = 'The bucket b is not among them (firehose.allowed.buckets).';
  const withheld = { by: 'permission', reason: why, isFault: true, untilMs: null } as const;
  delivery = { ...held, held: withheld };
  const backup = { ...held, name: 'archive.backup', backupOf: 'archive', held: withheld };
  const ofFailed = {
    ...backup,
    name: 'archive.failed',
    held: { ...withheld, reason: 'Elsewhere.' },
  };
  backups = [backup, { ...backup, name: 'archive.failed' }];
  const advice = 'list it under firehose.allowed of the configuration';
  assert.equal(
    await said(),
    `archive: it waits: ${why} (${advice}, or name another place with UpdateDestination)`,
    'once, for the owner',
  );
  backups = [backup, ofFailed];
  assert.match((await said()) ?? '', /; archive\.failed: it waits: Elsewhere\. \(change it with/);
});

it('a disk will be full of what a paused delivery keeps, however old that may be', async (t) => {
  const { store, clock, folder, metrics } = await openTestStore(t);
  await store.log.createStream(streamOptions());
  const record = { partitionKey: 'k', data: Buffer.alloc(100_000) };
  await store.log.append('readings', [record]);
  clock.advance(2 * 3_600_000);
  let delivery: DeliveryStatus = { ...held, held: null };
  const fullMs = (): Promise<number | null> =>
    forecast({
      ...{ store, clock, metrics, dataDir: folder, mediaFolder: folder, minFreeBytes: 0 },
      deliveries: { status: () => Promise.resolve([delivery]) },
    })();
  assert.equal(await fullMs(), null, 'its retention bounds it');
  delivery = held;
  assert.ok(((await fullMs()) ?? 0) > clock.nowMs());
  delivery = { ...held, required: false };
  assert.equal(await fullMs(), null);
});

it('a function that fails is told with what to do about it, one that is held back is none', async (t) => {
  const { store, clock } = await openTestStore(t);
  const health = new Health(clock);
  let status: EventSourceStatus = {
    ...{ name: 'notes', stream: 'readings', deadLetter: null, failed: null, required: true },
    ...{ function: { kind: 'module', description: '/f.mjs' }, held: null, state: 'backing-off' },
    ...{ trouble: '/f.mjs: it threw', advice: 'Correct the function.', sinceMs: 0, records: 0 },
    givenUp: {
      ...{ kept: { batches: 0, records: 0 }, gone: { batches: 1, records: 1 } },
      newest: { atMs: 0, reason: 'it threw' },
    },
    backlog: { records: 1, bytes: 1, seconds: 1 },
    metrics: {
      ...{ Invocations: 1, Errors: 1, Throttles: 0, Duration: { Average: 1, Maximum: 1 } },
      ...{ IteratorAge: 0, DeadLetterErrors: 0, FilteredOutEventCount: 0, DroppedEventCount: 0 },
    },
  };
  addChecks(health, {
    store,
    files: { statuses: () => [] },
    cameras: { statuses: () => [] },
    deliveries: noDeliveries,
    functions: { status: () => Promise.resolve([status]) },
    hooks: { troubles: () => [] },
    freeBytes: () => Promise.resolve(1e9),
    loopDelay: { p99Ms: () => 3, close: () => undefined },
    configurationTrouble: () => null,
    mqttTrouble: () => null,
    certificateEndsMs: null,
    clock,
  });
  const messageOf = async (): Promise<string | null | undefined> =>
    (await health.report()).checks.find(({ name }) => name === 'functions')?.message;
  assert.equal(await messageOf(), 'notes: /f.mjs: it threw (Correct the function.)');
  status = { ...status, advice: null };
  assert.equal(await messageOf(), 'notes: /f.mjs: it threw');
  status = { ...status, state: 'waiting', held: { by: 'pause', reason: 'paused since noon' } };
  assert.equal((await health.report()).status, 'ok');
  // What was given up is told, and is over.
  status = { ...status, state: 'running', held: null, trouble: null };
  assert.equal((await health.report()).status, 'ok');
});
