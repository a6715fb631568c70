import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { writeFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { SinkError } from '../../../gateway/forward/sink.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { failedOf } from './support/failed.ts';
import { assertExactlyOnce, idsOf } from './support/lines.ts';
import { MemorySink } from './support/memory-sink.ts';
import { numbered, openRig, runClock, settle, streamOptions, type Rig } from './support/rig.ts';

const delivery = {
  name: 'archive',
  from: { stream: 'readings' },
  to: { folder: { path: '' } },
  buffer: { maxBytes: 20_000, maxSeconds: 0.05 },
} as const satisfies DeliveryOptions;

async function rigOf(
  context: TestContext,
  options: Parameters<typeof openRig>[1] = {},
): Promise<Rig> {
  const rig = await openRig(context, options);
  await rig.store.log.ensureStream(streamOptions('readings'));
  return rig;
}

const text = (content: string): { partitionKey: string; data: Buffer } => ({
  partitionKey: 'k',
  data: Buffer.from(content),
});

/** Resolves when nothing is behind. */
async function drained(one: ReturnType<Rig['start']>): Promise<void> {
  while ((await one.status()).backlog.records > 0) await setImmediate();
}

test('a partition has objects of its own, and each record is in one of them', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemorySink();
  await rig.store.log.append('readings', numbered(0, 2000));
  const layout = { partitionBy: { key: 'key' } };
  const prefix = 'by/!{partitionKeyFromQuery:key}/';
  const one = rig.start({ ...delivery, layout }, sink, prefix);
  await rig.metrics.sent(2000);
  for (const [key, object] of sink.objects) {
    const [, folder] = /^by\/(key-\d)\/readings-1-/.exec(key) ?? [];
    const lines = gunzipSync(object).toString().trimEnd().split('\n');
    for (const line of lines) {
      assert.equal((JSON.parse(line) as { key: string }).key, folder);
    }
    const ids = idsOf([object]);
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    );
  }
  assertExactlyOnce(idsOf(sink.objects.values()), 2000);
  await drained(one);
  assert.equal((await one.status()).sentObjects, sink.objects.size);
});

test('of the objects of a plan, those that arrived are not put again', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const sink = new MemorySink();
  await rig.store.log.append('readings', numbered(0, 70));
  const put: string[] = [];
  let failing = true;
  sink.before = ({ key }) => {
    put.push(key);
    if (failing && key.includes('key-3')) throw new SinkError('unavailable', 'not now');
  };
  const layout = { partitionBy: { key: 'key' } };
  rig.start({ ...delivery, layout }, sink, '!{partitionKeyFromQuery:key}/');
  await runClock(rig, clock, () => put.filter((key) => key.includes('key-3')).length >= 3);
  failing = false;
  await runClock(rig, clock, () => sink.objects.size === 7);
  assertExactlyOnce(idsOf(sink.objects.values()), 70);
  for (const key of sink.objects.keys()) {
    const times = put.filter((other) => other === key).length;
    if (!key.includes('key-3')) assert.equal(times, 1, key);
  }
});

test('partitions are counted, and told when there are too many', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemorySink();
  const layout = { partitionBy: { key: 'key' } };
  const buffer = { maxSeconds: 0.05 };
  const one = rig.start({ ...delivery, layout, buffer }, sink, '!{partitionKeyFromQuery:key}/');
  const counted = (partitions: number, exceeded: number): Promise<void> =>
    rig.metrics.until(
      ({ values }) =>
        values.get('headgate_firehose_partition_count{delivery="archive"}') === partitions &&
        values.get('headgate_firehose_partition_count_exceeded{delivery="archive"}') === exceeded,
    );
  await rig.store.log.append('readings', numbered(0, 501, 501));
  await counted(500, 1);
  assert.equal((await one.status()).failedRecords, 1);
  await rig.store.log.append('readings', numbered(0, 10, 3));
  await counted(3, 0);
});

test('records without a place are put aside with the reason, and go again on demand', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemorySink();
  const layout = { partitionBy: { key: 'key' } };
  const records = [...numbered(0, 50), text('no json'), ...numbered(50, 50), text('{"key":null}')];
  await rig.store.log.append('readings', records);
  const partitioned = rig.start({ ...delivery, layout }, sink, '!{partitionKeyFromQuery:key}/');
  await rig.metrics.sent(100);
  await drained(partitioned);
  assertExactlyOnce(idsOf(sink.objects.values()), 100);
  const failed = await failedOf(rig.store.log, 'archive');
  assert.deepEqual(
    failed.map(({ stage, sequence, stream, attempts, rawData }) => ({
      ...{ stage, sequence, stream, attempts },
      data: Buffer.from(rawData, 'base64').toString(),
    })),
    [
      [50, 'no json'],
      [101, '{"key":null}'],
    ].map(([sequence, data]) => ({
      ...{ stage: 'dynamic-partitioning-failed', sequence, stream: 'readings', attempts: 1, data },
    })),
  );
  assert.equal((await partitioned.status()).failedRecords, 2);
  assert.equal(await partitioned.replay(), 2);
  await rig.metrics.until(
    (metrics) => metrics.total('headgate_delivery_failed_records_total') >= 4,
  );
  assert.equal((await failedOf(rig.store.log, 'archive')).length, 4, 'they fail once more');
  assert.equal((await partitioned.status()).failedRecords, 2);
  await partitioned.close();

  const plain = rig.start(delivery, sink, 'plain/');
  assert.equal(await plain.replay(), 2);
  await rig.metrics.sent(102);
  while ((await plain.status()).failedRecords > 0) await setImmediate();
  const [key, object] = [...sink.objects].find(([name]) => name.startsWith('plain/')) ?? ['', null];
  assert.match(key, /^plain\/.*\/readings-1-/);
  assert.equal(
    gunzipSync(object ?? Buffer.alloc(0)).toString(),
    `{"data":"${Buffer.from('no json').toString('base64')}"}\n{"key":null}\n`,
  );
  assert.equal(await plain.replay(), 0, 'nothing is left');
});

test('a failed record of many megabytes is kept in parts, and comes back whole', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemorySink();
  const large = `x${'0123456789'.repeat(900_000)}`;
  await rig.store.log.append('readings', [text(large), text('small')]);
  const layout = { partitionBy: { key: 'key' } };
  const one = rig.start({ ...delivery, layout }, sink, '!{partitionKeyFromQuery:key}/');
  await rig.metrics.until(
    (metrics) => metrics.total('headgate_delivery_failed_records_total') >= 2,
  );
  await drained(one);
  const parts = (await failedOf(rig.store.log, 'archive')).map(({ part }) => part);
  assert.deepEqual(parts, [[0, 2], [1, 2], undefined]);
  await one.close();
  // A plan ends behind the first part.
  const buffer = { maxBytes: 1024, maxSeconds: 0 };
  const raw = { ...delivery, buffer, format: { type: 'raw', compression: 'none' } } as const;
  const again = rig.start(raw, sink);
  await again.replay();
  await rig.metrics.sent(2);
  const data = [...sink.objects.values()].map((object) => object.toString());
  assert.deepEqual(data.toSorted(), ['small', large].toSorted());
  assert.equal((await again.status()).lostRecords, 0);
});

test('after retrySeconds records are put aside and the shard goes on, and nothing comes twice', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const sink = new MemorySink();
  let up = false;
  sink.before = () => {
    if (!up) throw new SinkError('unreachable', 'nobody there');
  };
  await rig.store.log.append('readings', numbered(0, 100));
  const one = rig.start({ ...delivery, retrySeconds: 30 }, sink);
  const aside = (): number => rig.metrics.total('headgate_delivery_failed_records_total');
  const tookMs = await runClock(rig, clock, () => aside() >= 100);
  assert.ok(tookMs >= 30_000 && tookMs < 35_000, `${tookMs} ms`);
  await settle(rig);
  const [first] = await failedOf(rig.store.log, 'archive');
  assert.equal(first?.stage, 'delivery-failed');
  assert.equal(first.errorCode, 'unreachable');
  assert.ok(first.attempts > 3);
  const { state, retryAtMs, lastFailure } = await one.status();
  assert.deepEqual([state, retryAtMs], ['idle', null], 'nothing is tried again');
  assert.equal(lastFailure?.code, 'unreachable');
  up = true;
  await rig.store.log.append('readings', numbered(100, 100));
  await runClock(
    rig,
    clock,
    () => rig.metrics.total('headgate_delivery_sent_records_total') >= 100,
  );
  await one.replay();
  await runClock(
    rig,
    clock,
    () => rig.metrics.total('headgate_delivery_sent_records_total') >= 200,
  );
  assertExactlyOnce(idsOf(sink.objects.values()), 200);
});

test('with an error prefix, failed records are objects beside the others', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemorySink();
  await rig.store.log.append('readings', [...numbered(0, 5), text('no json')]);
  const layout = {
    partitionBy: { key: 'key' },
    errorPrefix: 'failed/!{firehose:error-output-type}/',
  };
  const one = rig.start({ ...delivery, layout }, sink, 'by/!{partitionKeyFromQuery:key}/');
  await rig.metrics.sent(5);
  await drained(one);
  const [key, object] = [...sink.objects].find(([name]) => name.startsWith('failed/')) ?? [];
  assert.match(key ?? '', /^failed\/dynamic-partitioning-failed\/readings-1-.*\.json$/);
  const line = JSON.parse(object?.toString() ?? '') as Record<string, unknown>;
  assert.equal(line['rawData'], Buffer.from('no json').toString('base64'));
  assert.equal(line['attemptsMade'], 1);
  assert.equal(typeof line['errorCode'], 'string');
  assert.deepEqual(await failedOf(rig.store.log, 'archive'), []);
  const { failedRecords, underErrorPrefix } = await one.status();
  assert.deepEqual(
    [failedRecords, underErrorPrefix?.prefix, underErrorPrefix?.records],
    [0, layout.errorPrefix, 1],
  );
  assert.equal(underErrorPrefix?.newest?.reason, line['errorMessage']);
});

test('what is put aside is logged by its codes, with the newest reason', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemorySink();
  await rig.store.log.append('readings', [text('no json'), text('nor this'), text('{"id":1}')]);
  const how = { filter: 'id > `0`', layout: { partitionBy: { key: 'key' } } };
  const one = rig.start({ ...delivery, ...how }, sink, 'by/!{partitionKeyFromQuery:key}/');
  await rig.metrics.until(
    (metrics) => metrics.total('headgate_delivery_failed_records_total') === 3,
  );
  const codes = (await failedOf(rig.store.log, 'archive')).map(({ errorCode }) => errorCode);
  assert.notEqual(codes[1], codes[2]);
  const { fields } =
    rig.logger.lines.find(({ message }) => message.includes('records aside')) ?? {};
  assert.deepEqual(
    [fields?.['records'], fields?.['recordsByCode']],
    [3, { [codes[0] ?? '']: 2, [codes[2] ?? '']: 1 }],
  );
  const newest = fields?.['newest'] as { readonly code: string; readonly reason: string };
  assert.equal(newest.code, codes[2]);
  assert.equal((await one.status()).underErrorPrefix, null);
});

test('resumed, a delivery that waits for its next attempt makes it at once', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const sink = new MemorySink();
  let up = false;
  sink.before = () => (up ? Promise.resolve() : Promise.reject(new SinkError('denied', 'no')));
  await rig.store.log.append('readings', numbered(0, 10));
  const one = rig.start(delivery, sink);
  await runClock(rig, clock, () => sink.attempts === 1);
  await settle(rig);
  assert.equal((await one.status()).state, 'backing-off');
  const [beforeMs, attempts] = [clock.monotonicMs(), sink.attempts];
  await one.resume();
  await settle(rig);
  assert.equal(sink.attempts, attempts + 1, 'it fails once more, and waits again');
  assert.equal((await one.status()).state, 'backing-off');
  up = true;
  await one.resume();
  await rig.metrics.sent(10);
  assert.equal(clock.monotonicMs(), beforeMs, 'no time went by');
  await settle(rig);
  assert.equal((await one.status()).state, 'idle');
});

test('records are taken apart, filtered and selected from, and what fails of them is kept as it was', async (context) => {
  const rig = await rigOf(context);
  const sink = new MemorySink();
  const packed = '{"id":0,"v":1}{"id":1,"v":null}{"id":2,"v":3}{"id":3}';
  await rig.store.log.append('readings', [text(packed), text('[]'), text('{"id":4,"v":5}')]);
  const one = rig.start(
    {
      ...delivery,
      deaggregate: { type: 'json' },
      filter: 'id != `2`',
      select: 'v && {id: id}',
    },
    sink,
  );
  await rig.metrics.sent(2);
  await drained(one);
  assert.deepEqual(idsOf(sink.objects.values()), [0, 4]);
  const failed = (await failedOf(rig.store.log, 'archive')).map((envelope) => [
    envelope.sequence,
    envelope.subSequence,
    envelope.separate,
    Buffer.from(envelope.rawData, 'base64').toString(),
  ]);
  assert.deepEqual(failed, [
    [0, 1, true, '{"id":1,"v":null}'],
    [0, 3, true, '{"id":3}'],
    [1, 0, false, '[]'],
  ]);
});

test('what a function made of records is sent however often, and not made again', async (context) => {
  const rig = await rigOf(context);
  const folder = await temporaryFolder(context);
  const path = `${folder}/transform.mjs`;
  await writeFile(
    path,
    `export const handler = ({ records }) => ({
       records: records.map(({ recordId, data }) => {
         const value = JSON.parse(Buffer.from(data, 'base64'));
         if (value.id % 10 === 3) return { recordId, result: 'Dropped', data };
         if (value.id % 10 === 4) return { recordId, result: 'ProcessingFailed', data };
         const made = JSON.stringify({ ...value, made: Math.random() });
         return { recordId, result: 'Ok', data: Buffer.from(made).toString('base64') };
       }),
     });`,
  );
  const sink = new MemorySink();
  const attempts = new Map<string, Set<string>>();
  sink.before = async (upload) => {
    const pieces: Buffer[] = [];
    for await (const piece of upload.read()) pieces.push(piece);
    const seen = attempts.get(upload.key) ?? new Set();
    attempts.set(upload.key, seen.add(upload.sha256));
    if (sink.attempts % 3 !== 0) throw new SinkError('unavailable', 'not now');
  };
  await rig.store.log.append('readings', numbered(0, 1000));
  const transform = {
    function: { module: { path, export: 'handler', memoryMaxMiB: 64, concurrency: 1 } },
    ...{ batchBytes: 200_000, retries: 1, timeoutSeconds: 20 },
  };
  const one = rig.start({ ...delivery, transform }, sink);
  await rig.metrics.sent(800);
  await drained(one);
  for (const seen of attempts.values()) assert.equal(seen.size, 1, 'the same bytes each time');
  assert.ok(attempts.size > 1);
  const ids = idsOf(sink.objects.values());
  assert.equal(new Set(ids).size, 800);
  assert.equal(ids.length, 800);
  const failed = await failedOf(rig.store.log, 'archive');
  assert.equal(failed.length, 100);
  assert.ok(failed.every(({ stage }) => stage === 'processing-failed'));
  assert.deepEqual(await rig.store.queries.all('SELECT id FROM plan_output'), []);
});

test('a function that can not be reached holds the plan, and after retrySeconds no longer', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const sink = new MemorySink();
  await rig.store.log.append('readings', numbered(0, 10));
  const transform = {
    function: {
      module: { path: '/nowhere.mjs', export: 'handler', memoryMaxMiB: 64, concurrency: 1 },
    },
    ...{ batchBytes: 200_000, retries: 0, timeoutSeconds: 20 },
  };
  const one = rig.start({ ...delivery, transform, retrySeconds: 10 }, sink);
  const aside = (): number => rig.metrics.total('headgate_delivery_failed_records_total');
  await runClock(rig, clock, () => aside() >= 10);
  await settle(rig);
  const [first] = await failedOf(rig.store.log, 'archive');
  assert.equal(first?.stage, 'processing-failed');
  assert.match(first.errorCode, /^Lambda\./);
  assert.equal(sink.objects.size, 0);
  await one.close();
});

test('a plan of an older release is carried out as it stands there', async (context) => {
  const rig = await rigOf(context);
  const { log } = rig.store;
  await log.append('readings', numbered(0, 10));
  await log.applications.ensure({ name: 'delivery:archive', required: true });
  const source = { kind: 'shard', id: log.stream('readings').shards[0]!.id } as const;
  const lease = await log.applications.acquire('delivery:archive', source, 'before', 1000, 0);
  const detail = { kind: 'records', key: 'old/key.ndjson.gz', format: 'envelope' };
  await log.applications.savePlan(lease, { from: 2, to: 6, detail, createdMs: 1 });
  await log.applications.release(lease);
  const sink = new MemorySink();
  rig.start({ ...delivery, format: { type: 'csv' } }, sink, 'new/');
  await rig.metrics.sent(8);
  const lines = gunzipSync(sink.objects.get('old/key.ndjson.gz')!).toString().trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { sequence: number }).sequence),
    [2, 3, 4, 5],
  );
});

test('a plan is carried out as it was made, whatever the delivery is told by then', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  await rig.store.log.append('readings', numbered(0, 10));
  const sink = new MemorySink();
  sink.before = () => {
    throw new SinkError('unreachable', 'nobody there');
  };
  const buffer = { maxBytes: 20_000, maxSeconds: 0 };
  const first = rig.start({ ...delivery, buffer }, sink, 'first/');
  await runClock(rig, clock, () => sink.attempts > 0);
  await first.close();
  const layout = { partitionBy: { key: 'key' } };
  const other = { ...delivery, buffer, layout, record: 'envelope' } as const;
  const second = new MemorySink();
  rig.start(other, second, 'second/!{partitionKeyFromQuery:key}/');
  await runClock(rig, clock, () => second.objects.size === 1);
  const [[key, object]] = [...second.objects] as [[string, Buffer]];
  assert.match(key, /^first\/\d/);
  assertExactlyOnce(idsOf([object]), 10);
});
