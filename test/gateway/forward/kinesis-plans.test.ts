/** Deliveries to Kinesis that shape their records, and what becomes of one when that changes. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { startDeliveries } from '../../../gateway/forward/deliveries.ts';
import type { Delivery } from '../../../gateway/forward/delivery.ts';
import { inBatches } from '../../../gateway/forward/in-batches.ts';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { SinkError, type OutgoingRecord } from '../../../gateway/forward/sink.ts';
import { kinesisSink } from '../../../gateway/forward/sinks/kinesis/kinesis-sink.ts';
import { deaggregate } from '../../../gateway/kpl/deaggregate.ts';
import { aggregateOf } from '../../support/aws-kinesis-agg.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { failedOf } from './support/failed.ts';
import { startKinesalite, type KinesisUpstream } from './support/kinesis-upstream.ts';
import { assertExactlyOnce, ascending } from './support/lines.ts';
import { MemoryRecordSink } from './support/memory-record-sink.ts';
import { startProxy } from './support/proxy.ts';
import {
  numbered,
  openRig,
  runClock,
  settle,
  streamOptions,
  testPrograms,
  type Rig,
} from './support/rig.ts';
import { losesAnswer, lies, type Behaviour } from './support/stub-server.ts';

const plain = {
  name: 'live',
  from: { stream: 'readings' },
  to: { kinesis: { stream: 'upstream' } },
} as const satisfies DeliveryOptions;

interface Reading {
  readonly id: number;
  readonly made?: string;
}

const readingOf = ({ data }: { readonly data: Buffer }): Reading =>
  JSON.parse(data.toString()) as Reading;
const idOf = (record: { readonly data: Buffer }): number => readingOf(record).id;

async function rigOf(
  context: TestContext,
  options: Parameters<typeof openRig>[1] = {},
): Promise<Rig> {
  const rig = await openRig(context, options);
  await rig.store.log.ensureStream(streamOptions('readings'));
  return rig;
}

async function drained(delivery: Delivery): Promise<void> {
  while ((await delivery.status()).backlog.records > 0) await setImmediate();
}

function isDoneUpTo({ store }: Rig, sequence: number): boolean {
  const leases = store.log.applications.list().flatMap((application) => application.leases);
  return leases.every(({ checkpoint }) => checkpoint === sequence);
}

function sinkOf({ stub, credentials }: KinesisUpstream, aggregate: 'none' | 'kpl' = 'none') {
  return kinesisSink({ stream: 'upstream', endpoint: stub.url, credentials, aggregate });
}

function assertOrderPerKey(records: readonly { key: string; data: Buffer }[]): void {
  for (const key of new Set(records.map((record) => record.key))) {
    const own = records.filter((record) => record.key === key).map((record) => idOf(record));
    assert.ok(ascending(own), `${key}: ${own.join(' ')}`);
  }
}

/** Drops every tenth from 1 on, refuses every tenth from 2 on, makes number 33 too large. */
async function functionOf(
  context: TestContext,
): Promise<NonNullable<DeliveryOptions['transform']>> {
  const { endpoint } = await startProxy(context, null, async (passing) => {
    const { records } = JSON.parse((await passing.body()).toString()) as {
      readonly records: readonly { readonly recordId: string; readonly data: string }[];
    };
    const answers = records.map(({ recordId, data }) => {
      const { id } = readingOf({ data: Buffer.from(data, 'base64') });
      if (id % 10 === 1) return { recordId, result: 'Dropped' };
      if (id % 10 === 2) return { recordId, result: 'ProcessingFailed', data };
      const made = JSON.stringify({ id, made: 'x'.repeat(id === 33 ? 2 ** 20 : 3) });
      return { recordId, result: 'Ok', data: Buffer.from(made).toString('base64') };
    });
    passing.response.end(JSON.stringify({ records: answers }));
  });
  return {
    function: { http: { url: endpoint, authorization: null } },
    ...{ batchBytes: 200_000, retries: 1, timeoutSeconds: 30 },
  };
}

/** Each PutRecords loses its answer, or has a record in three said to be throttled though it was taken. */
const disturbed = (count: number): Behaviour[] =>
  Array.from({ length: count }, (_none, index) =>
    index % 3 === 0
      ? losesAnswer
      : lies((answer) => ({
          ...answer,
          Records: (answer['Records'] as object[]).map((outcome, place) =>
            place % 3 === index % 3
              ? {
                  ErrorCode: 'ProvisionedThroughputExceededException',
                  ErrorMessage: 'Rate exceeded',
                }
              : outcome,
          ),
        })),
  );

for (const aggregate of ['none', 'kpl'] as const) {
  test(`filtered, given to a function, selected from: aggregate ${aggregate}`, async (context) => {
    const upstream = await startKinesalite(context, 2);
    const rig = await rigOf(context);
    const options: DeliveryOptions = {
      ...plain,
      filter: 'id < `300`',
      transform: await functionOf(context),
      select: '{id: id, made: made}',
    };
    const text = { partitionKey: 'k', data: Buffer.from('no json') };
    await rig.store.log.append('readings', [text, ...numbered(0, 400, 40)]);
    // Behind the question for the shards, where there is one.
    if (aggregate === 'kpl') upstream.stub.next.push((request, serve) => serve(request));
    upstream.stub.next.push(...disturbed(6));
    const delivery = rig.start(options, sinkOf(upstream, aggregate));
    await drained(delivery);

    const expected = Array.from({ length: 300 }, (_none, id) => id).filter(
      (id) => id % 10 !== 1 && id % 10 !== 2 && id !== 33,
    );
    const seen = new Set<number>();
    const arrived = (await upstream.read())
      .flatMap(
        ({ key, data }) =>
          deaggregate(data, 1e6)?.map((one) => ({ key: one.partitionKey, data: one.data })) ?? [
            { key, data },
          ],
      )
      .filter((record) => !seen.has(idOf(record)) && seen.add(idOf(record)));
    assert.deepEqual(
      [...seen].sort((a, b) => a - b),
      expected,
    );
    for (const { key, data } of arrived) {
      assert.deepEqual(readingOf({ data }), { id: idOf({ data }), made: 'xxx' });
      assert.equal(key, `key-${idOf({ data }) % 40}`);
    }
    assertOrderPerKey(arrived);
    assert.equal((await delivery.status()).sentRecords, expected.length);
    if (aggregate === 'kpl') {
      assert.ok((await upstream.read()).length < 60, 'few large records, sent a few times');
    }

    const failed = await failedOf(rig.store.log, 'live');
    const reasons = failed.map(({ sequence, stage, errorCode }) => [sequence, stage, errorCode]);
    assert.deepEqual(
      reasons,
      [
        [0, 'processing-failed', 'Filter.QueryFailed'],
        ...Array.from({ length: 30 }, (_none, index) => [
          // Behind the text.
          1 + 10 * index + 2,
          'processing-failed',
          'Lambda.ProcessingFailedStatus',
        ]),
        [34, 'delivery-failed', 'too-large'],
      ].sort(([one], [other]) => Number(one) - Number(other)),
    );
    assert.equal(failed.find(({ sequence }) => sequence === 34)?.partitionKey, 'key-33');
    assert.equal(await delivery.replay(), 32);
    await rig.metrics.until(
      (metrics) => metrics.total('headgate_delivery_failed_records_total') >= 64,
    );
  });
}

test('records out of aggregates keep their keys, the explicit one too', async (context) => {
  for (const aggregate of ['none', 'kpl'] as const) {
    const upstream = await startKinesalite(context, 2);
    const rig = await rigOf(context);
    const half = 2n ** 127n;
    // The shard that the partition key does not belong to, by turns.
    const inside = Array.from({ length: 20 }, (_none, id) => ({
      partitionKey: `key-${id % 3}`,
      ...(id % 5 > 0 && { explicitHashKey: String(id % 2 === 0 ? half - 7n : half + 7n) }),
      data: Buffer.from(JSON.stringify({ id })),
    }));
    const { partitionKey, data } = aggregateOf(inside);
    await rig.store.log.append('readings', [{ partitionKey, data: Buffer.from(data) }]);
    const options: DeliveryOptions = {
      ...{ ...plain, deaggregate: { type: 'kpl' }, transform: await functionOf(context) },
    };
    const delivery = rig.start(options, sinkOf(upstream, aggregate));
    await rig.metrics.sent(16);
    await drained(delivery);
    const byShard = await upstream.readByShard();
    const expected = (shard: number): number[] =>
      inside.flatMap((record) => {
        const { id } = readingOf(record);
        if (id % 10 === 1 || id % 10 === 2 || record.explicitHashKey === undefined) return [];
        return BigInt(record.explicitHashKey) >= half === (shard === 1) ? [id] : [];
      });
    for (const [shard, records] of byShard.entries()) {
      const found = records.flatMap(
        (record) => deaggregate(record.data, 100) ?? [{ ...record, partitionKey: record.key }],
      );
      const explicit = found.filter((one) => idOf(one) % 5 > 0);
      assert.deepEqual(
        explicit.map((one) => idOf(one)).sort((a, b) => a - b),
        expected(shard),
      );
      for (const one of found) {
        const given = inside[idOf(one)]!;
        assert.equal(one.partitionKey, given.partitionKey);
        if (aggregate === 'none') continue;
        assert.ok('explicitHashKey' in one === 'explicitHashKey' in given);
        if ('explicitHashKey' in one) {
          assert.equal(String(one.explicitHashKey), given.explicitHashKey);
        }
      }
    }
  }
});

test('wrapped, a record says by what it can be told, the same each time it comes', async (context) => {
  const upstream = await startKinesalite(context, 1);
  const rig = await rigOf(context);
  await rig.store.log.append('readings', numbered(0, 30, 30));
  upstream.stub.next.push(losesAnswer);
  const delivery = rig.start({ ...plain, record: 'envelope' }, sinkOf(upstream));
  await drained(delivery);
  const envelopes = (await upstream.read()).map(
    ({ data }) => JSON.parse(data.toString()) as { shard: string; sequence: number; data: Reading },
  );
  assert.equal(envelopes.length, 60, 'all came twice');
  for (const { shard, sequence, data } of envelopes) {
    assert.deepEqual([shard, sequence], ['shardId-000000000000', data.id]);
  }
});

test('after retrySeconds what a stuck key held up is put aside, and nothing of it is lost', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const sink = new MemoryRecordSink();
  sink.answer = ({ partitionKey }) =>
    partitionKey === 'key-3' ? new SinkError('throttled', 'less') : null;
  await rig.store.log.append('readings', numbered(0, 70));
  rig.start({ ...plain, retrySeconds: 30 }, sink);
  const aside = (): number => rig.metrics.total('headgate_delivery_failed_records_total');
  await runClock(rig, clock, () => aside() > 0);
  const failed = await failedOf(rig.store.log, 'live');
  assert.ok(failed.every(({ errorCode }) => errorCode === 'throttled'));
  assert.equal(failed.filter(({ partitionKey }) => partitionKey === 'key-3').length, 10);
  assertExactlyOnce(
    [...sink.taken, ...failed.map(({ rawData }) => ({ data: Buffer.from(rawData, 'base64') }))].map(
      (record) => idOf(record),
    ),
    70,
  );
});

test('records are sent at once where nothing else is said, and gathered where it is', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const [atOnce, gathered] = [new MemoryRecordSink(), new MemoryRecordSink()];
  rig.start({ ...plain, name: 'at-once', filter: 'id >= `0`' }, atOnce);
  rig.start({ ...plain, name: 'later', filter: 'id >= `0`', buffer: { maxSeconds: 20 } }, gathered);
  await settle(rig);
  await rig.store.log.append('readings', numbered(0, 5));
  await runClock(rig, clock, () => atOnce.taken.length === 5);
  assert.equal(gathered.taken.length, 0);
  assert.ok((await runClock(rig, clock, () => gathered.taken.length === 5)) > 15_000);
});

test('a plan that was left behind is carried out as it was made before records go by themselves', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const shaped: DeliveryOptions = { ...plain, select: "{id: id, made: 'by plan'}" };
  await rig.store.log.append('readings', numbered(0, 100));
  const first = new MemoryRecordSink();
  first.answer = (record) =>
    idOf(record) % 7 === 3 && idOf(record) > 50 ? new SinkError('unavailable', 'not now') : null;
  const stopped = rig.start(shaped, first);
  await runClock(rig, clock, () => first.taken.length >= 58);
  await stopped.close();
  await rig.store.log.append('readings', numbered(100, 100));
  const second = new MemoryRecordSink();
  const delivery = rig.start(plain, second);
  await runClock(rig, clock, () => isDoneUpTo(rig, 200));
  assertExactlyOnce(
    second.taken.map((record) => idOf(record)),
    200,
  );
  for (const record of second.taken) {
    assert.equal(readingOf(record).made, idOf(record) < 100 ? 'by plan' : undefined);
  }
  assertOrderPerKey(second.taken.map(({ partitionKey: key, data }) => ({ key, data })));
  assert.equal((await delivery.status()).lostRecords, 0);
});

test('from record to record to plans and back, restart after restart: nothing lost, nothing out of order', async (context) => {
  const clock = new ManualClock();
  const rig = await rigOf(context, { clock });
  const arrived: OutgoingRecord[] = [];
  let appended = 0;
  for (let turn = 0; turn < 12; turn += 1) {
    await rig.store.log.append('readings', numbered(appended, 60));
    appended += 60;
    const sink = new MemoryRecordSink();
    let calls = 0;
    sink.answer = (record) => {
      calls += 1;
      if (calls % (3 + turn) === 0) return new SinkError('throttled', 'less');
      arrived.push(record);
      return null;
    };
    const options: DeliveryOptions = turn % 2 === 0 ? plain : { ...plain, filter: 'id >= `0`' };
    const delivery = rig.start(options, sink);
    await runClock(rig, clock, () => sink.taken.length >= 40, 20);
    await delivery.close();
  }
  const sink = new MemoryRecordSink();
  const last = rig.start(plain, sink);
  await runClock(rig, clock, () => isDoneUpTo(rig, appended));
  arrived.push(...sink.taken);
  const seen = new Set<number>();
  const firsts = arrived.filter((record) => !seen.has(idOf(record)) && seen.add(idOf(record)));
  assertExactlyOnce([...seen], appended);
  assertOrderPerKey(firsts.map(({ partitionKey: key, data }) => ({ key, data })));
  // What is repeated at a restart is no more than what was under way.
  assert.ok(arrived.length < appended + 12 * 120, `${arrived.length} of ${appended}`);
  assert.equal((await last.status()).lostRecords, 0);
});

test('a delivery that is given a filter, and rid of it, while it runs: nothing lost, in order per key', async (context) => {
  const upstream = await startKinesalite(context, 2);
  const { stub, credentials } = upstream;
  const rig = await rigOf(context);
  const kinesis = { stream: 'upstream', endpoint: stub.url, ...credentials };
  const options: DeliveryOptions = { ...plain, to: { kinesis } };
  const { store, clock, logger, metrics } = rig;
  const deliveries = startDeliveries({
    ...{ deliveries: [options], log: store.log, video: store.video, gatewayId: 'box-1' },
    ...{ clock, logger, metrics, programs: testPrograms, random: () => 0 },
  });
  context.after(() => deliveries.close());
  stub.next.push(...disturbed(9));
  let asked = 0;
  for (let turn = 0; turn < 6; turn += 1) {
    await store.log.append('readings', numbered(turn * 200, 200, 20));
    // In the middle of what it is doing.
    asked += 3;
    await stub.came(asked);
    await deliveries.update([turn % 2 === 0 ? { ...options, select: '{id: id}' } : options]);
    asked = stub.requests.length;
  }
  while ((await deliveries.status()).some(({ backlog }) => backlog.records > 0)) {
    await setImmediate();
  }
  const seen = new Set<number>();
  const firsts = (await upstream.read()).filter(
    (record) => !seen.has(idOf(record)) && seen.add(idOf(record)),
  );
  assertExactlyOnce([...seen], 1200);
  assertOrderPerKey(firsts);
  assert.equal((await deliveries.status())[0]?.lostRecords, 0);
});

test('closing the sink of batches closes the one of records', async () => {
  let closed = 0;
  const sink = Object.assign(new MemoryRecordSink(), {
    close: () => {
      closed += 1;
      return Promise.resolve();
    },
  });
  await inBatches(sink).close();
  assert.equal(closed, 1);
});
