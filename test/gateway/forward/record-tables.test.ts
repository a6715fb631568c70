import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { SinkError, type TableLoad, type TableSink } from '../../../gateway/forward/sink.ts';
import { ManualClock } from '../../support/manual-clock.ts';
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

/** A table with a ledger, that takes loads whole or not at all. */
class MemoryTable implements TableSink {
  readonly kind = 'redshift';
  readonly description = 'memory';
  readonly staging = new MemorySink();
  readonly rows: number[] = [];
  readonly ledger = new Set<string>();
  loads = 0;
  refuses: (id: number) => boolean = () => false;
  after: (load: TableLoad) => void = () => undefined;

  load(load: TableLoad): Promise<void> {
    this.loads += 1;
    if (this.ledger.has(load.id)) return Promise.resolve();
    const ids = idsOf(load.objects.map(({ key }) => this.staging.objects.get(key)!));
    assert.equal(
      load.objects.reduce((sum, { records }) => sum + records, 0),
      ids.length,
    );
    if (ids.some(this.refuses)) {
      return Promise.reject(new SinkError('rejected', 'a row does not fit'));
    }
    this.ledger.add(load.id);
    this.rows.push(...ids);
    try {
      this.after(load);
    } catch (error) {
      return Promise.reject(error);
    }
    return Promise.resolve();
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
  table.after = () => {
    if (table.loads % 3 === 1) throw new SinkError('unreachable', 'no answer');
  };
  await rig.store.log.append('readings', numbered(0, 5000));
  rig.start(delivery, table);
  await runClock(
    rig,
    clock,
    () => rig.metrics.total('headgate_delivery_sent_records_total') >= 5000,
  );
  assertExactlyOnce(table.rows, 5000);
  assert.ok(table.ledger.size > 1 && table.loads > table.ledger.size);
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
  table.refuses = () => false;
  await one.replay();
  await rig.metrics.sent(1000);
  assertExactlyOnce(table.rows, 1000);
});
