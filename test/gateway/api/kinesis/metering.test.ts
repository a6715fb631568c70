import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DisableEnhancedMonitoringCommand,
  EnableEnhancedMonitoringCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  PutRecordsCommand,
  RegisterStreamConsumerCommand,
  SubscribeToShardCommand,
} from '@aws-sdk/client-kinesis';
import { Metering } from '../../../../gateway/api/kinesis/metering.ts';
import { PrometheusMetrics } from '../../../../gateway/observe/metrics.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { arnPrefix, startKinesis, stateMs, type TestKinesis } from './support.ts';

const StreamName = 'readings';
const ShardId = 'shardId-000000000000';

/** Totals of a stream by name; those of a consumer or shard with it in front. */
function totals({ metering, log }: TestKinesis): Record<string, number | null> {
  return Object.fromEntries(
    metering.of(log.stream(StreamName)).map(({ name, consumer, shard, total, lastMinute }) => {
      const of = consumer ?? shard;
      return [of === null ? name : `${of} ${name}`, total ?? lastMinute];
    }),
  );
}

async function readAll(kinesis: TestKinesis, Limit: number): Promise<void> {
  const client = kinesis.client('http1');
  const { ShardIterator } = await client.send(
    new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: 'TRIM_HORIZON' }),
  );
  await client.send(new GetRecordsCommand({ ShardIterator, Limit }));
}

test('a stream is metered under the names of Kinesis, whatever way records come', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 2);
  const put = (...sizes: readonly number[]): Promise<unknown> =>
    kinesis.log.append(
      StreamName,
      sizes.map((size) => ({ partitionKey: 'ü', data: Buffer.alloc(size), explicitHashKey: 0n })),
    );
  // 25 KB with the key; one byte more; nothing but a key.
  await put(25 * 1024 - 2, 25 * 1024 - 1, 0);
  kinesis.clock.advance(7_000);
  await put(10);
  await readAll(kinesis, 3);
  const bytes = 2 * 25 * 1024 - 3 + 6;
  assert.deepEqual(totals(kinesis), {
    IncomingBytes: bytes + 12,
    IncomingRecords: 4,
    PutPayloadUnits: 1 + 2 + 1 + 1,
    'GetRecords.Success': 1,
    'GetRecords.Bytes': bytes - 6,
    'GetRecords.Records': 3,
    'GetRecords.IteratorAgeMilliseconds': 7_000,
    OutgoingBytes: bytes - 6,
    OutgoingRecords: 3,
    ShardHours: 0.003889,
  });
  kinesis.clock.advance(120_000);
  await readAll(kinesis, 10);
  assert.equal(totals(kinesis)['GetRecords.IteratorAgeMilliseconds'], 0, 'the newest was reached');
  kinesis.clock.advance(3_600_000 - 127_000);
  assert.equal(totals(kinesis)['ShardHours'], 2);
});

test('what is throttled is counted, records and calls', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const client = kinesis.client('h2c');
  const Records = [600_000, 600_000, 600_000].map((size) => ({
    ...{ PartitionKey: 'a', Data: Buffer.alloc(size) },
  }));
  const answer = await client.send(new PutRecordsCommand({ StreamName, Records }));
  assert.equal(answer.FailedRecordCount, 2);
  for (let call = 0; call < 4; call += 1) await readAll(kinesis, 1);
  await assert.rejects(readAll(kinesis, 1));
  const counted = totals(kinesis);
  assert.equal(counted['WriteProvisionedThroughputExceeded'], 2);
  assert.equal(counted['ReadProvisionedThroughputExceeded'], 1);
  assert.equal(counted['IncomingRecords'], 1);
});

test('each consumer is metered for itself', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const client = kinesis.client('h2c');
  const StreamARN = `${arnPrefix}${StreamName}`;
  const { Consumer } = await client.send(
    new RegisterStreamConsumerCommand({ StreamARN, ConsumerName: 'alarms' }),
  );
  kinesis.clock.advance(stateMs);
  await kinesis.log.append(StreamName, [{ partitionKey: 'a', data: Buffer.alloc(100) }]);
  const subscribe = new SubscribeToShardCommand({
    ...{ ConsumerARN: Consumer?.ConsumerARN, ShardId, StartingPosition: { Type: 'TRIM_HORIZON' } },
  });
  const { EventStream = [] } = await client.send(subscribe);
  await assert.rejects(client.send(subscribe), { name: 'ResourceInUseException' });
  for await (const event of EventStream) {
    assert.equal(event.SubscribeToShardEvent?.Records?.length, 1);
    break;
  }
  const counted = totals(kinesis);
  assert.equal(counted['alarms SubscribeToShard.Success'], 1);
  assert.equal(counted['alarms SubscribeToShard.RateExceeded'], 1);
  assert.equal(counted['alarms SubscribeToShardEvent.Bytes'], 100);
  assert.equal(counted['alarms SubscribeToShardEvent.Records'], 1);
  assert.equal(counted['alarms SubscribeToShardEvent.MillisBehindLatest'], 0);
  assert.equal(counted['OutgoingBytes'], 100);
  assert.equal(counted['GetRecords.Bytes'], undefined);
});

test('enhanced monitoring switches the measures of shards on and off', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const client = kinesis.client('h2c');
  const put = (): Promise<unknown> =>
    kinesis.log.append(StreamName, [{ partitionKey: 'a', data: Buffer.alloc(9) }]);
  const ofShard = (): Record<string, number | null> =>
    Object.fromEntries(Object.entries(totals(kinesis)).filter(([name]) => name.startsWith('0 ')));
  await put();
  assert.deepEqual(ofShard(), {});
  const metrics = ['IncomingBytes', 'IncomingRecords', 'IteratorAgeMilliseconds'] as const;
  await client.send(
    new EnableEnhancedMonitoringCommand({ StreamName, ShardLevelMetrics: [...metrics] }),
  );
  kinesis.clock.advance(stateMs);
  await put();
  await readAll(kinesis, 10);
  assert.deepEqual(ofShard(), {
    ...{ '0 IncomingBytes': 10, '0 IncomingRecords': 1, '0 IteratorAgeMilliseconds': 0 },
  });
  await client.send(
    new DisableEnhancedMonitoringCommand({ StreamName, ShardLevelMetrics: ['IncomingBytes'] }),
  );
  kinesis.clock.advance(stateMs);
  await put();
  assert.deepEqual(ofShard(), { '0 IncomingRecords': 2, '0 IteratorAgeMilliseconds': 0 });
  await client.send(
    new DisableEnhancedMonitoringCommand({ StreamName, ShardLevelMetrics: ['ALL'] }),
  );
  await put();
  assert.deepEqual(ofShard(), {});
});

test('Prometheus gets what was added since it last asked, and forgets what is gone', async (t) => {
  const kinesis = await startKinesis(t);
  const metrics = new PrometheusMetrics({ processMetrics: false });
  const { clock, log } = kinesis;
  const metering = new Metering({ clock, metrics });
  metering.start(log);
  t.after(() => {
    metering.close();
  });
  await kinesis.makeStream(StreamName);
  const lines = async (): Promise<readonly string[]> => {
    metering.publish();
    const text = await metrics.render();
    return text.split('\n').filter((line) => !line.startsWith('#') && line.includes('readings'));
  };
  const bytes = 'headgate_kinesis_incoming_bytes_total{stream="readings"}';
  const age = 'headgate_kinesis_get_records_iterator_age_milliseconds{stream="readings"}';
  metering.took(log.stream(StreamName), 0, [{ keyBytes: 1, data: { length: 9 } }]);
  metering.gave(log.stream(StreamName), 0, { records: 1, bytes: 9, behindMs: 250 });
  assert.ok((await lines()).includes(`${bytes} 10`));
  metering.took(log.stream(StreamName), 0, [{ keyBytes: 1, data: { length: 9 } }]);
  const second = await lines();
  assert.ok(second.includes(`${bytes} 20`));
  assert.ok(second.includes(`${age} 250`));
  await log.deleteStream(StreamName);
  clock.advance(60_000);
  const third = await lines();
  assert.ok(third.includes(`${bytes} 20`));
  assert.ok(third.includes(`${age} Nan`), 'nobody reads, which is not the same as 0');
  await kinesis.makeStream(StreamName);
  metering.took(log.stream(StreamName), 0, [{ keyBytes: 1, data: { length: 4 } }]);
  assert.ok((await lines()).includes(`${bytes} 25`), 'a counter never goes back');
});

test('a stream of a name that was there before begins anew', async (t) => {
  const kinesis = await startKinesis(t);
  const client = kinesis.client('h2c');
  const append = (): Promise<unknown> =>
    kinesis.log.append(StreamName, [{ partitionKey: 'a', data: Buffer.alloc(9) }]);
  await kinesis.makeStream(StreamName);
  await client.send(
    new EnableEnhancedMonitoringCommand({ StreamName, ShardLevelMetrics: ['ALL'] }),
  );
  await append();
  assert.equal(totals(kinesis)['0 IncomingRecords'], 1);
  await kinesis.log.deleteStream(StreamName);
  await kinesis.makeStream(StreamName);
  await append();
  assert.equal(totals(kinesis)['IncomingRecords'], 1);
  assert.equal(totals(kinesis)['0 IncomingRecords'], undefined);
});

test('of the last whole minute is what it says', () => {
  const clock = new ManualClock();
  const metering = new Metering({
    ...{ clock, metrics: new PrometheusMetrics({ processMetrics: false }) },
  });
  const stream = { id: 1, name: 's' };
  const lastMinute = (): number | null | undefined =>
    metering.of(stream).find(({ name }) => name === 'IncomingRecords')?.lastMinute;
  const took = (count: number): void => {
    const record = { keyBytes: 1, data: { length: 0 } };
    metering.took(
      stream,
      0,
      Array.from({ length: count }, () => record),
    );
  };
  took(3);
  assert.equal(lastMinute(), 0);
  clock.advance(60_000);
  took(5);
  assert.equal(lastMinute(), 3);
  clock.advance(59_999);
  assert.equal(lastMinute(), 3);
  clock.advance(1);
  assert.equal(lastMinute(), 5);
  clock.advance(60_000);
  assert.equal(lastMinute(), 0);
});
