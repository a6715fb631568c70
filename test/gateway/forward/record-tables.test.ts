import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { plainShape } from '../../../gateway/forward/shape/shaping.ts';
import {
  SinkError,
  type TableLoad,
  type TableReading,
  type TableSink,
} from '../../../gateway/forward/sink.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { memoryFolder } from '../../support/temporary-folder.ts';
import { failedOf } from './support/failed.ts';
import { assertExactlyOnce, idsOf } from './support/lines.ts';
import { MemorySink } from './support/memory-sink.ts';
import { numbered, openRig, runClock, streamOptions, type Rig } from './support/rig.ts';

const delivery = {
  name: 'warehouse',
  from: { stream: 'readings' },
  to: { folder: { path: '' } },
  buffer: { maxBytes: 50_000, maxSeconds: 0 },
} as const satisfies DeliveryOptions;

/** A table with a ledger, that takes loads whole or not at all, and forgets what it ever may. */
class MemoryTable implements TableSink {
  readonly kind = 'redshift';
  readonly description = 'memory';
  readonly staging = new MemorySink();
  readonly rows: number[] = [];
  readonly ledger = new Map<string, TableLoad['place']>();
  /** Loads that were taken. */
  taken = 0;
  loads = 0;
  refuses: (id: number) => boolean = () => false;
  before: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();
  after: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();
  /** What the objects of each load are made of, and how they are read. */
  readonly readings: (readonly [string, TableReading])[] = [];
  /** The records of loads that it was told to skip. */
  readonly notes: (readonly number[])[] = [];
  skipping: () => void = () => undefined;

  async load(load: TableLoad, signal: AbortSignal): Promise<void> {
    this.loads += 1;
    this.readings.push([load.format.type, load.reading]);
    await this.before(signal);
    this.#load(load);
    await this.after(signal);
  }

  #load(load: TableLoad): void {
    if (this.ledger.has(load.id)) return;
    const ids = this.#idsOf(load);
    assert.equal(
      load.objects.reduce((sum, { records }) => sum + records, 0),
      ids.length,
    );
    if (ids.some(this.refuses)) throw new SinkError('rejected', 'a row does not fit');
    const { shard, since, from } = load.place;
    for (const [id, place] of this.ledger) {
      const isDone = place.shard === shard && place.from >= since && place.to <= from;
      if (isDone) this.ledger.delete(id);
    }
    this.ledger.set(load.id, load.place);
    this.taken += 1;
    this.rows.push(...ids);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async skip(load: TableLoad): Promise<void> {
    this.skipping();
    this.notes.push(this.#idsOf(load));
  }

  #idsOf({ objects }: TableLoad): number[] {
    return idsOf(objects.map(({ key }) => this.staging.objects.get(key)!));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

async function rigOf(
  context: TestContext,
  options: Parameters<typeof openRig>[1] = {},
): Promise<Rig> {
  const rig = await openRig(context, options);
  await rig.store.log.ensureStream(streamOptions('readings'));
  return rig;
}

test('every record is loaded exactly once, also where the answer to a load is lost', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const table = new MemoryTable();
  table.after = () =>
    table.loads % 3 === 1
      ? Promise.reject(new SinkError('unreachable', 'no answer'))
      : Promise.resolve();
  await rig.store.log.append('readings', numbered(0, 5000));
  rig.start(delivery, table);
  await runClock(
    rig,
    clock,
    () => rig.metrics.total('headgate_delivery_sent_records_total') >= 5000,
  );
  assertExactlyOnce(table.rows, 5000);
  assert.equal(table.ledger.size, 1);
  assert.ok(table.taken > 1 && table.loads > table.taken);
  assert.deepEqual(table.notes, []);
});

test('the record that a table refuses is found and put aside, all others are loaded', async (context) => {
  const rig = await rigOf(context);
  const table = new MemoryTable();
  const bad = new Set([0, 333, 334, 999]);
  table.refuses = (id) => bad.has(id);
  await rig.store.log.append('readings', numbered(0, 1000));
  const one = rig.start(delivery, table);
  await rig.metrics.until(
    (metrics) => metrics.total('headgate_delivery_failed_records_total') >= bad.size,
  );
  while ((await one.status()).backlog.records > 0) await setImmediate();
  assertExactlyOnce([...table.rows, ...bad], 1000);
  const failed = await failedOf(rig.store.log, 'warehouse');
  assert.deepEqual(
    failed.map(({ sequence, stage, errorCode }) => [sequence, stage, errorCode]),
    [...bad].map((id) => [id, 'redshift-failed', 'rejected']),
  );
  while (table.notes.length < bad.size) await setImmediate();
  assert.deepEqual(
    table.notes,
    [...bad].map((id) => [id]),
  );
  table.refuses = () => false;
  await one.replay();
  await rig.metrics.sent(1000);
  assertExactlyOnce(table.rows, 1000);
});

test('stopped at any load while a refused plan is halved, each record is there once, or aside', async (context) => {
  const count = 8;
  const bad = new Set([0, 5]);
  let stops = 0;
  for (let stopAt = 1, stopped = 0; stopAt === 1 || stops > stopped; stopAt += 1) {
    stopped = stops;
    for (const moment of ['before', 'after'] as const) {
      const folder = await memoryFolder(context);
      const table = new MemoryTable();
      table.refuses = (id) => bad.has(id);
      const first = await rigOf(context, { folder });
      await first.store.log.append('readings', numbered(0, count));
      const reached = new Promise<void>((resolve) => {
        table[moment] = async (signal) => {
          if (table.loads !== stopAt) return;
          resolve();
          await once(signal, 'abort');
          throw new SinkError('aborted', 'the gateway is gone');
        };
      });
      const done = first.metrics.until(
        (metrics) =>
          metrics.total('headgate_delivery_failed_records_total') === bad.size &&
          metrics.total('headgate_delivery_sent_records_total') === count - bad.size,
      );
      first.start(delivery, table);
      const isReached = await Promise.race([reached.then(() => true), done.then(() => false)]);
      await first.close();
      const second = await rigOf(context, { folder });
      const one = second.start(delivery, table);
      while ((await one.status()).backlog.records > 0) await setImmediate();
      assert.deepEqual(
        (await failedOf(second.store.log, 'warehouse')).map(({ sequence }) => sequence),
        [...bad],
      );
      await second.close();
      assertExactlyOnce([...table.rows, ...bad], count);
      if (isReached) stops += 1;
    }
  }
  context.diagnostic(`stopped ${stops} times`);
  assert.ok(stops > 8, 'hardly ever stopped');
});

test('what is given up leaves a note beside the objects, and a note that fails holds up nobody', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const table = new MemoryTable();
  table.before = () => Promise.reject(new SinkError('unreachable', 'no cluster'));
  await rig.store.log.append('readings', numbered(0, 10));
  rig.start({ ...delivery, retrySeconds: 5 }, table);
  const failed = (): number => rig.metrics.total('headgate_delivery_failed_records_total');
  await runClock(rig, clock, () => failed() === 10 && table.notes.length > 0);
  assert.deepEqual(table.notes, [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
  let attempts = 0;
  table.skipping = () => {
    attempts += 1;
    throw new SinkError('denied', 'nothing may be put there');
  };
  await rig.store.log.append('readings', numbered(10, 5));
  await runClock(rig, clock, () => failed() === 15 && attempts > 0);
  table.before = () => Promise.resolve();
  await rig.store.log.append('readings', numbered(15, 5));
  await runClock(rig, clock, () => rig.metrics.total('headgate_delivery_sent_records_total') === 5);
  assert.ok(attempts > 1, 'it was tried once only');
  assert.deepEqual(table.rows, [15, 16, 17, 18, 19]);
  assert.equal(table.notes.length, 1);
});

test('objects are read as they were to be when they were planned, and later ones as is said then', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const table = new MemoryTable();
  table.before = () => Promise.reject(new SinkError('unreachable', 'no cluster'));
  await rig.store.log.append('readings', numbered(0, 10));
  const cluster = { host: 'h', database: 'd', username: 'u', password: 'p', table: 't' };
  const toTable = (copyOptions: string, columns: readonly string[]): DeliveryOptions['to'] => ({
    redshift: { ...cluster, copyOptions, columns, staging: { bucket: 'b' } },
  });
  const first = rig.start({ ...delivery, to: toTable('TRUNCATECOLUMNS', []) }, table);
  await runClock(rig, clock, () => table.loads > 0);
  await first.close();
  table.before = () => Promise.resolve();
  table.readings.length = 0;
  const format = { type: 'raw', compression: 'gzip', delimiter: '\n' } as const;
  rig.start({ ...delivery, format, to: toTable("JSON 'auto'", ['id']) }, table);
  const sent = (): number => rig.metrics.total('headgate_delivery_sent_records_total');
  await runClock(rig, clock, () => sent() === 10);
  await rig.store.log.append('readings', numbered(10, 1));
  await runClock(rig, clock, () => sent() === 11);
  assert.deepEqual(table.readings, [
    ['ndjson', { columns: null, options: 'TRUNCATECOLUMNS' }],
    ['raw', { columns: ['id'], options: "JSON 'auto'" }],
  ]);
});

test('a plan of a release that did not say how objects are read is loaded as is said now', async (context) => {
  const rig = await rigOf(context);
  const { log } = rig.store;
  await log.append('readings', numbered(0, 10));
  await log.applications.ensure({ name: 'delivery:warehouse', required: true });
  const source = { kind: 'shard', id: log.stream('readings').shards[0]!.id } as const;
  const lease = await log.applications.acquire('delivery:warehouse', source, 'before', 1000, 0);
  const detail = {
    ...{ kind: 'shaped', shape: plainShape, isForFunction: false, oldestMs: 1 },
    scope: { gatewayId: 'box-1', delivery: 'warehouse', prefix: '', version: 1 },
  };
  await log.applications.savePlan(lease, { from: 0, to: 10, detail, createdMs: 1 });
  await log.applications.release(lease);
  const table = new MemoryTable();
  const cluster = { host: 'h', database: 'd', username: 'u', password: 'p', table: 't' };
  const to = { ...cluster, columns: ['id'], copyOptions: 'EMPTYASNULL', staging: { bucket: 'b' } };
  rig.start({ ...delivery, to: { redshift: to } }, table);
  await rig.metrics.sent(10);
  assert.deepEqual(table.readings, [['ndjson', { columns: ['id'], options: 'EMPTYASNULL' }]]);
});

test('a lane of what is new leaves the ledger of the lane behind it alone', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const table = new MemoryTable();
  let isUp = false;
  table.before = () =>
    isUp ? Promise.resolve() : Promise.reject(new SinkError('unreachable', 'no cluster'));
  // Of the backlog no answer arrives, but each third.
  table.after = () =>
    table.loads % 3 === 0 || newest(table) >= 600
      ? Promise.resolve()
      : Promise.reject(new SinkError('unreachable', 'no answer'));
  const buffer = { maxBytes: 1000, maxSeconds: 1 };
  rig.start({ ...delivery, buffer, catchUp: 'live-first' }, table);
  for (let hour = 0; hour < 6; hour += 1) {
    await rig.store.log.append('readings', numbered(hour * 100, 100));
    clock.advance(600_000);
  }
  isUp = true;
  let count = 600;
  const sent = (): number => rig.metrics.total('headgate_delivery_sent_records_total');
  let ledgerMost = 0;
  await runClock(rig, clock, () => sent() > 0);
  for (; count < 700; count += 5) {
    await rig.store.log.append('readings', numbered(count, 5));
    const wanted = count + 4;
    await runClock(rig, clock, () => table.rows.includes(wanted));
    ledgerMost = Math.max(ledgerMost, table.ledger.size);
  }
  await runClock(rig, clock, () => sent() === count);
  assertExactlyOnce(table.rows, count);
  assert.equal(ledgerMost, 2, 'both lanes have a row at most');
});

/** The newest record of the last load. */
function newest({ rows }: MemoryTable): number {
  return rows.at(-1) ?? -1;
}
