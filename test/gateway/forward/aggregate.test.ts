import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  ListShardsCommand,
  SplitShardCommand,
  DescribeStreamSummaryCommand,
  type KinesisClient,
} from '@aws-sdk/client-kinesis';
import { recordBytes, type OutgoingRecord } from '../../../gateway/forward/sink.ts';
import { aggregate } from '../../../gateway/kpl/aggregate.ts';
import { kinesisSink } from '../../../gateway/forward/sinks/kinesis/kinesis-sink.ts';
import { assertExactlyOnce } from './support/lines.ts';
import { deaggregate, type UserRecord } from './support/deaggregate.ts';
import { startProxy, type Passing } from './support/proxy.ts';
import { numbered, openRig, streamOptions } from './support/rig.ts';
import { createStream, credentials, startKinesis } from './support/servers.ts';
import { passSome } from './support/throttle.ts';

const mebibyte = 1024 ** 2;

function records(count: number, keys: number, dataBytes: number): OutgoingRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    partitionKey: `gerät-${index % keys}`,
    data: Buffer.alloc(dataBytes, index),
  }));
}

test('what is packed is what an independent decoder finds, in order', () => {
  for (const [count, keys, dataBytes] of [
    [2, 1, 0],
    [2, 2, 1],
    [127, 127, 100],
    [300, 200, 127],
    [300, 300, 128],
    [20, 3, 20_000],
  ] as const) {
    const given = records(count, keys, dataBytes);
    const packed = aggregate(given, mebibyte);
    assert.equal(packed.count, count);
    const found = deaggregate(packed.record.data);
    assert.deepEqual(
      found?.map(({ key, data }) => ({ partitionKey: key, data })),
      given,
    );
    assert.equal(packed.record.partitionKey, given[0]!.partitionKey);
  }
});

test('a full one keeps to the limit to the byte; what is over is left for the next', () => {
  for (const dataBytes of [1, 126, 127, 128, 200, 16_383, 16_384]) {
    const given = records(12_000, 9, dataBytes);
    for (const maxBytes of [mebibyte, 100_000]) {
      const packed = aggregate(given, maxBytes);
      const size = recordBytes(packed.record);
      assert.ok(size <= maxBytes, `${size} of ${maxBytes}`);
      const another = dataBytes + 10;
      const all = packed.count === given.length;
      assert.ok(all || size > maxBytes - another, `${size} of ${maxBytes} is nearly full`);
      assert.equal(deaggregate(packed.record.data)?.length, packed.count);
    }
  }
  assert.ok(
    aggregate(records(12_000, 9, 200), mebibyte).count >= 5000,
    '200 B: five times the cap',
  );
});

test('a record that is alone, or too large to have company, goes as it is', () => {
  const [one] = records(1, 1, 50);
  assert.deepEqual(aggregate([one!], mebibyte), { count: 1, record: one });
  const large = { partitionKey: 'k', data: Buffer.alloc(mebibyte - 1) };
  assert.deepEqual(aggregate([large, one!], mebibyte), { count: 1, record: large });
});

const options = {
  name: 'live',
  from: { stream: 'readings' },
  to: { kinesis: { stream: 'upstream' } },
} as const;

async function upstream(
  context: TestContext,
  shards: number,
  handler: (passing: Passing) => Promise<void>,
) {
  const { endpoint, client } = await startKinesis(context);
  await createStream(client, 'upstream', shards);
  const proxy = await startProxy(context, endpoint, handler);
  const sink = kinesisSink({
    stream: 'upstream',
    endpoint: proxy.endpoint,
    credentials,
    idleTimeoutMs: 5000,
    aggregate: 'kpl',
  });
  return { client, sink };
}

interface Found extends UserRecord {
  readonly id: number;
}

interface Reading {
  /** As the KCL gives them: what lies in a shard that its key does not belong to is dropped. */
  readonly records: readonly Found[];
  readonly dropped: number;
  readonly aggregates: number;
}

async function readAsKcl(client: KinesisClient): Promise<Reading> {
  const { Shards: shards = [] } = await client.send(
    new ListShardsCommand({ StreamName: 'upstream' }),
  );
  const found: Found[] = [];
  let dropped = 0;
  let aggregates = 0;
  for (const { ShardId, HashKeyRange: range } of shards) {
    const at = { StreamName: 'upstream', ShardId, ShardIteratorType: 'TRIM_HORIZON' } as const;
    const first = await client.send(new GetShardIteratorCommand(at));
    for (let iterator = first.ShardIterator; iterator !== undefined;) {
      const page = await client.send(new GetRecordsCommand({ ShardIterator: iterator }));
      if ((page.Records ?? []).length === 0) break;
      for (const { PartitionKey: key = '', Data } of page.Records ?? []) {
        const data = Buffer.from(Data ?? []);
        const inside = deaggregate(data);
        if (inside !== null) aggregates += 1;
        for (const record of inside ?? [{ key, data }]) {
          const hash = BigInt(`0x${createHash('md5').update(record.key).digest('hex')}`);
          const mine =
            hash >= BigInt(range!.StartingHashKey!) && hash <= BigInt(range!.EndingHashKey!);
          if (mine) found.push({ ...record, id: idOf(record.data) });
          else dropped += 1;
        }
      }
      iterator = page.NextShardIterator;
    }
  }
  return { records: found, dropped, aggregates };
}

function idOf(data: Buffer): number {
  return (JSON.parse(data.toString()) as { id: number }).id;
}

function assertOrderPerKey(found: readonly Found[]): void {
  const last = new Map<string, number>();
  for (const { key, id } of found) {
    assert.ok(id > (last.get(key) ?? -1), `${key}: ${id} after ${last.get(key) ?? ''}`);
    last.set(key, id);
  }
}

test('a backlog goes in few large records, each where its keys belong, in order per key', async (context) => {
  let puts = 0;
  const { client, sink } = await upstream(context, 3, async (passing) => {
    if (String(passing.request.headers['x-amz-target']).endsWith('.PutRecords')) puts += 1;
    await passSome(passing, () => false);
  });
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings', 2));
  for (let first = 0; first < 6000; first += 500) {
    await rig.store.log.append('readings', numbered(first, 500, 60));
  }
  const delivery = rig.start(options, sink);
  await rig.metrics.sent(6000);
  const read = await readAsKcl(client);
  assert.equal(read.dropped, 0);
  assertExactlyOnce(
    read.records.map(({ id }) => id),
    6000,
  );
  assertOrderPerKey(read.records);
  assert.ok(read.aggregates <= 12 && puts <= 6, `${read.aggregates} records in ${puts} calls`);
  while ((await delivery.status()).backlog.records > 0) await setImmediate();
  const status = await delivery.status();
  assert.equal(status.sentRecords, 6000, 'records are counted, not aggregates');
  // A single one that comes later goes at once, as it is.
  await rig.store.log.append('readings', numbered(6000, 1));
  await rig.metrics.sent(6001);
  assert.equal((await readAsKcl(client)).aggregates, read.aggregates);
});

test('throttled shards: what was left is sent again, the order within a key holds', async (context) => {
  let random = 7;
  const { client, sink } = await upstream(context, 4, (passing) =>
    passSome(passing, () => {
      random = (random * 48271) % 2147483647;
      return random % 10 < 4;
    }),
  );
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings'));
  rig.start(options, sink);
  for (let first = 0; first < 3000; first += 100) {
    await rig.store.log.append('readings', numbered(first, 100, 40));
  }
  await rig.metrics.sent(3000);
  const { records: found, dropped } = await readAsKcl(client);
  assert.equal(dropped, 0);
  assertExactlyOnce(
    found.map(({ id }) => id),
    3000,
  );
  assertOrderPerKey(found);
});

test('a reshard upstream: everything arrives where consumers find it', async (context) => {
  const { client, sink } = await upstream(context, 1, (passing) => passSome(passing, () => false));
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings'));
  const delivery = rig.start(options, sink);
  await rig.store.log.append('readings', numbered(0, 500, 20));
  await rig.metrics.sent(500);
  await client.send(
    new SplitShardCommand({
      StreamName: 'upstream',
      ShardToSplit: 'shardId-000000000000',
      NewStartingHashKey: (2n ** 127n).toString(),
    }),
  );
  for (let status: string | undefined; status !== 'ACTIVE';) {
    const answer = await client.send(new DescribeStreamSummaryCommand({ StreamName: 'upstream' }));
    status = answer.StreamDescriptionSummary?.StreamStatus;
  }
  await rig.store.log.append('readings', numbered(500, 500, 20));
  await rig.metrics.sent(1000);
  const { records: found, dropped } = await readAsKcl(client);
  assert.ok(dropped > 0, 'what was packed for the old shard is of no use');
  const seen = new Set<number>();
  const first = found.filter(({ id }) => !seen.has(id) && seen.add(id));
  assertExactlyOnce([...seen], 1000);
  assertOrderPerKey(first);
  const status = await delivery.status();
  assert.equal(status.lastFailure?.code, 'moved');
  assert.match(status.lastFailure.message, /resharded/);
});

test('without the right to list shards it says so, and goes on once it has it', async (context) => {
  let allowed = false;
  const { client, sink } = await upstream(context, 1, async (passing) => {
    const { request, response } = passing;
    if (allowed || !String(request.headers['x-amz-target']).endsWith('.ListShards')) {
      await passSome(passing, () => false);
      return;
    }
    request.resume();
    response.writeHead(400, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify({ __type: 'AccessDeniedException', message: 'not ListShards' }));
  });
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings'));
  await rig.store.log.append('readings', numbered(0, 100));
  const first = rig.start(options, sink);
  await rig.metrics.until((metrics) => metrics.total('headgate_delivery_failures_total') > 0);
  const status = await first.status();
  assert.equal(status.lastFailure?.code, 'denied');
  assert.match(status.lastFailure.message, /ListShards/);
  assert.equal(status.backlog.records, 100);
  allowed = true;
  await first.close();
  const again = await upstreamAgain(context, client);
  rig.start(options, again);
  await rig.metrics.sent(100);
  assertExactlyOnce(
    (await readAsKcl(client)).records.map(({ id }) => id),
    100,
  );
});

async function upstreamAgain(context: TestContext, client: KinesisClient) {
  const { hostname, port } = await client.config.endpoint!();
  const { endpoint } = await startProxy(context, `http://${hostname}:${port ?? 80}`, (passing) =>
    passSome(passing, () => false),
  );
  return kinesisSink({ stream: 'upstream', endpoint, credentials, aggregate: 'kpl' });
}
