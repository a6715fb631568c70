/** Records that a producer has packed into one, in streams that pass them on and that split them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  PutRecordCommand,
  PutRecordsCommand,
  type KinesisClient,
} from '@aws-sdk/client-kinesis';
import { parseSequenceNumber } from '../../../../gateway/api/kinesis/sequence-numbers.ts';
import { aggregateOf, insideOf, type UserRecord } from '../../../support/aws-kinesis-agg.ts';
import { startKinesis } from './support.ts';

const StreamName = 'readings';

function userRecords(count: number, prefix: string): UserRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    partitionKey: `device-${index % 5}`,
    data: Buffer.from(`${prefix} ${index}`),
  }));
}

async function readAll(
  client: KinesisClient,
  shardIds: readonly string[],
): Promise<Map<string, { key: string; data: Buffer; number: string }[]>> {
  const found = new Map<string, { key: string; data: Buffer; number: string }[]>();
  for (const ShardId of shardIds) {
    const { ShardIterator } = await client.send(
      new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: 'TRIM_HORIZON' }),
    );
    const { Records = [] } = await client.send(new GetRecordsCommand({ ShardIterator }));
    found.set(
      ShardId,
      Records.map(({ PartitionKey: key = '', Data = new Uint8Array(), SequenceNumber = '' }) => ({
        ...{ key, data: Buffer.from(Data), number: SequenceNumber },
      })),
    );
  }
  return found;
}

const two = ['shardId-000000000000', 'shardId-000000000001'];

test('an aggregate is stored as it came, for consumers that take it apart', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const client = kinesis.client('http1');
  const given = userRecords(100, 'reading');
  const { partitionKey, data } = aggregateOf(given);
  await client.send(new PutRecordCommand({ StreamName, PartitionKey: partitionKey, Data: data }));
  const [stored = [], ...more] = (await readAll(client, two.slice(0, 1))).values();
  assert.equal(more.length, 0);
  assert.deepEqual(
    stored.map((record) => record.data),
    [data],
  );
  assert.deepEqual(insideOf(partitionKey, data), given);
});

test('a stream that splits has every record of an aggregate under its own key, in order', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 2);
  await kinesis.log.setAttribute(StreamName, 'aggregation', 'split');
  const client = kinesis.client('h2c');
  const many = [userRecords(50, 'first'), userRecords(70, 'second')];
  const plain = { partitionKey: 'device-0', data: Buffer.from('plain') };
  const [first, second] = many.map((records) => aggregateOf(records));
  const sent = [first!, plain, second!];
  const { FailedRecordCount, Records: places = [] } = await client.send(
    new PutRecordsCommand({
      StreamName,
      Records: sent.map(({ partitionKey, data }) => ({ PartitionKey: partitionKey, Data: data })),
    }),
  );
  assert.equal(FailedRecordCount, 0);
  assert.equal(places.length, 3);
  const third = userRecords(30, 'third');
  const place = await client.send(
    new PutRecordCommand({
      ...{ StreamName, PartitionKey: 'device-0', Data: aggregateOf(third).data },
    }),
  );

  const shards = await readAll(client, two);
  const expected = [...many[0]!, plain, ...many[1]!, ...third];
  for (const [shardId, stored] of shards) {
    const keys = new Set(stored.map(({ key }) => key));
    assert.deepEqual(
      stored.map(({ key, data }) => ({ partitionKey: key, data })),
      expected.filter(({ partitionKey }) => keys.has(partitionKey)),
      shardId,
    );
  }
  assert.equal([...shards.values()].flat().length, expected.length);
  assert.ok([...shards.values()].every((stored) => stored.length > 0));
  // The place of an aggregate is that of the first record in it.
  const begins = [...places, place].map(({ ShardId = '', SequenceNumber }) =>
    shards
      .get(ShardId)
      ?.find(({ number }) => number === SequenceNumber)
      ?.data.toString(),
  );
  assert.deepEqual(begins, ['first 0', 'plain', 'second 0', 'third 0']);
});

test('an aggregate counts as the one record that it came as', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  await kinesis.log.setAttribute(StreamName, 'aggregation', 'split');
  const Data = aggregateOf(userRecords(5000, 'reading')).data;
  const put = new PutRecordCommand({ StreamName, PartitionKey: 'device-0', Data });
  await kinesis.client('http1').send(put);
  assert.equal(kinesis.log.stream(StreamName).shards[0]?.nextSequence, 5000);
});

test('aggregates of many small records go in parts, each whole and in order', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 1, 'on-demand');
  await kinesis.log.setAttribute(StreamName, 'aggregation', 'split');
  const small = (count: number): UserRecord[] =>
    Array.from({ length: count }, () => ({ partitionKey: 'k', data: Buffer.from('d') }));
  const counts = [4000, 3000, 2000, 12_000, 1];
  const append = t.mock.method(kinesis.log, 'append');
  const { Records = [] } = await kinesis.client('http1').send(
    new PutRecordsCommand({
      StreamName,
      Records: counts.map((count) => ({ PartitionKey: 'k', Data: aggregateOf(small(count)).data })),
    }),
  );
  assert.deepEqual(
    append.mock.calls.map(({ arguments: [, records] }) => records.length),
    [4000, 5000, 12_000, 1],
  );
  const sequences = Records.map(
    ({ SequenceNumber = '' }) => parseSequenceNumber(SequenceNumber)?.sequence,
  );
  assert.deepEqual(sequences, [0, 4000, 7000, 9000, 21_000]);

  // One that would be too many at once stays as it is.
  await kinesis.client('http1').send(
    new PutRecordCommand({
      ...{ StreamName, PartitionKey: 'k', Data: aggregateOf(small(20_001)).data },
    }),
  );
  assert.equal(kinesis.log.stream(StreamName).shards[0]?.nextSequence, 21_002);
});
