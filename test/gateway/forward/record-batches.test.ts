import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { SinkError, type BatchItem } from '../../../gateway/forward/sink.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { failedOf } from './support/failed.ts';
import { assertExactlyOnce } from './support/lines.ts';
import { idsOfItems, MemoryBatchSink } from './support/memory-batch-sink.ts';
import { numbered, openRig, runClock, streamOptions, type Rig } from './support/rig.ts';

// What a delivery to a batch sink is told does not matter here: the sink is given.
const delivery = {
  name: 'uplink',
  from: { stream: 'readings' },
  to: { folder: { path: '' } },
  buffer: { maxBytes: 50_000, maxSeconds: 0 },
} as const satisfies DeliveryOptions;

async function rigOf(
  context: TestContext,
  options: Parameters<typeof openRig>[1] = {},
): Promise<Rig> {
  const rig = await openRig(context, options);
  await rig.store.log.ensureStream(streamOptions('readings'));
  return rig;
}

const idOf = ({ data }: BatchItem): number => (JSON.parse(data.toString()) as { id: number }).id;

test('records go in order, in batches within the limits, under ids of their own', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemoryBatchSink({ records: 70, bytes: 2_000 });
  await rig.store.log.append('readings', numbered(0, 3000));
  const one = rig.start(delivery, sink);
  await rig.metrics.sent(3000);
  assert.deepEqual(
    idsOfItems(sink.taken),
    Array.from({ length: 3000 }, (_, id) => id),
  );
  assert.equal(new Set(sink.taken.map(({ id }) => id)).size, 3000);
  for (const { items } of sink.batches) {
    assert.ok(items.length > 0 && items.length <= 70);
    assert.ok(items.reduce((sum, { data }) => sum + data.length, 0) <= 2_000);
  }
  assert.equal(new Set(sink.batches.map(({ id }) => id)).size, sink.batches.length);
  while ((await one.status()).backlog.records > 0) await setImmediate();
});

test('what failed goes again by itself before anything later, and nothing else does', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const sink = new MemoryBatchSink({ records: 50 });
  let left: string[] = [];
  let calls = 0;
  sink.before = ({ items }) => {
    calls += 1;
    const ids = items.map(({ id }) => id);
    if (left.length > 0) assert.deepEqual(ids, left, 'those that failed, alone');
    left = [];
  };
  const failures = new Map<string, number>();
  // Every seventh fails three times, and one for long enough that the batch leaves the memory.
  sink.answer = (item) => {
    const times = failures.get(item.id) ?? 0;
    const id = idOf(item);
    if (id % 7 !== 5 || times >= (id === 75 ? 9 : 3)) return null;
    failures.set(item.id, times + 1);
    left.push(item.id);
    return new SinkError('throttled', 'later');
  };
  await rig.store.log.append('readings', numbered(0, 200));
  rig.start(delivery, sink);
  await runClock(rig, clock, () => sink.taken.length >= 200);
  assertExactlyOnce(idsOfItems(sink.taken), 200);
  assert.ok(calls >= 4 + 3 + 9);
});

test('what is refused as it stands is put aside at once, alone, whatever it is refused with', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemoryBatchSink({ records: 64, recordBytes: 200 });
  sink.answer = (item) => (idOf(item) === 10 ? new SinkError('rejected', 'not this one') : null);
  // Some destinations refuse all of a batch for one record in it.
  sink.before = ({ items }) => {
    if (items.some((item) => idOf(item) === 100)) throw new SinkError('rejected', 'not these');
    if (items.length > 30) throw new SinkError('too-large', 'too many');
  };
  const large = { partitionKey: 'k', data: Buffer.from(JSON.stringify({ x: 'x'.repeat(300) })) };
  await rig.store.log.append('readings', [...numbered(0, 150), large, ...numbered(150, 50)]);
  const one = rig.start(delivery, sink);
  await rig.metrics.sent(198);
  while ((await one.status()).backlog.records > 0) await setImmediate();
  const ids = idsOfItems(sink.taken);
  assert.deepEqual(
    ids,
    ids.toSorted((a, b) => a - b),
  );
  assertExactlyOnce([...ids, 10, 100], 200);
  const failed = await failedOf(rig.store.log, 'uplink');
  assert.deepEqual(
    failed.map(({ sequence, stage, errorCode }) => [sequence, stage, errorCode]),
    [
      [10, 'http-endpoint-failed', 'rejected'],
      [100, 'http-endpoint-failed', 'rejected'],
      [150, 'http-endpoint-failed', 'too-large'],
    ],
  );
});

test('sent again from among the failed, a record has the id that it had', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemoryBatchSink();
  let refused = '';
  sink.answer = (item) => {
    if (idOf(item) !== 3 || refused !== '') return null;
    refused = item.id;
    return new SinkError('rejected', 'not this one');
  };
  await rig.store.log.append('readings', numbered(0, 5));
  const one = rig.start(delivery, sink);
  await rig.metrics.sent(4);
  while ((await one.status()).failedRecords === 0) await setImmediate();
  await one.replay();
  await rig.metrics.sent(5);
  assert.equal(sink.taken.at(-1)?.id, refused);
  assert.equal(sink.taken.at(-1)?.arrivalMs, sink.taken[0]?.arrivalMs);
});

test('a restart repeats what it must under the same ids', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  await rig.store.log.append('readings', numbered(0, 100));
  const first = new MemoryBatchSink({ records: 30 });
  first.before = () => {
    if (first.batches.length === 3) throw new SinkError('unreachable', 'gone');
  };
  const stopped = rig.start(delivery, first);
  await runClock(rig, clock, () => first.batches.length >= 3);
  await stopped.close();
  assert.equal(first.taken.length, 60);
  const second = new MemoryBatchSink({ records: 30 });
  rig.start({ ...delivery, buffer: { maxBytes: 1024, maxSeconds: 1 } }, second);
  await runClock(rig, clock, () => second.taken.length >= 100);
  assert.deepEqual(
    second.batches.slice(0, 2).map(({ id }) => id),
    first.batches.slice(0, 2).map(({ id }) => id),
  );
  const idsById = new Map(second.taken.map((item) => [item.id, idOf(item)]));
  for (const item of first.taken) assert.equal(idsById.get(item.id), idOf(item));
  assertExactlyOnce(idsOfItems(second.taken), 100);
});

test('after retrySeconds only what was not taken is put aside', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const sink = new MemoryBatchSink({ records: 10 });
  sink.answer = (item) =>
    idOf(item) >= 40 || idOf(item) === 25 ? new SinkError('unavailable', 'not now') : null;
  await rig.store.log.append('readings', numbered(0, 60));
  rig.start({ ...delivery, retrySeconds: 20 }, sink);
  const aside = (): number => rig.metrics.total('headgate_delivery_failed_records_total');
  await runClock(rig, clock, () => aside() >= 31);
  const failed = await failedOf(rig.store.log, 'uplink');
  // What failed came before all that was later, and kept it waiting.
  assert.equal(sink.taken.length, 29);
  assertExactlyOnce([...idsOfItems(sink.taken), ...failed.map(({ sequence }) => sequence)], 60);
});

test('a record envelope goes to a batch sink without the line feed', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemoryBatchSink();
  await rig.store.log.append('readings', numbered(0, 1));
  rig.start({ ...delivery, record: 'envelope' }, sink);
  await rig.metrics.sent(1);
  const text = sink.taken[0]?.data.toString() ?? '';
  assert.ok(text.endsWith('}') && (JSON.parse(text) as { sequence: number }).sequence === 0);
});
