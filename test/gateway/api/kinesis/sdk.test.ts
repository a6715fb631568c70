import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AddTagsToStreamCommand,
  CreateStreamCommand,
  DecreaseStreamRetentionPeriodCommand,
  DeleteResourcePolicyCommand,
  DeleteStreamCommand,
  DeregisterStreamConsumerCommand,
  DescribeLimitsCommand,
  DescribeStreamCommand,
  DescribeStreamConsumerCommand,
  DescribeStreamSummaryCommand,
  DisableEnhancedMonitoringCommand,
  EnableEnhancedMonitoringCommand,
  GetRecordsCommand,
  GetResourcePolicyCommand,
  GetShardIteratorCommand,
  IncreaseStreamRetentionPeriodCommand,
  ListShardsCommand,
  ListStreamConsumersCommand,
  ListStreamsCommand,
  ListTagsForResourceCommand,
  ListTagsForStreamCommand,
  MergeShardsCommand,
  PutRecordCommand,
  PutRecordsCommand,
  PutResourcePolicyCommand,
  RegisterStreamConsumerCommand,
  RemoveTagsFromStreamCommand,
  SplitShardCommand,
  StartStreamEncryptionCommand,
  StopStreamEncryptionCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateMaxRecordSizeCommand,
  UpdateShardCountCommand,
  UpdateStreamModeCommand,
  UpdateStreamWarmThroughputCommand,
  type KinesisClient,
  type ShardIteratorType,
} from '@aws-sdk/client-kinesis';
import { arnPrefix, stateMs, startKinesis, type TestKinesis } from './support.ts';

const StreamName = 'readings';
const StreamARN = `${arnPrefix}${StreamName}`;

for (const protocol of ['h2c', 'http1'] as const) {
  test(`the whole life of a stream through the SDK over ${protocol}`, async (context) => {
    const kinesis = await startKinesis(context);
    const client = kinesis.client(protocol);
    await created(client, kinesis);
    await written(client, kinesis);
    await tagged(client);
    await set(client, kinesis);
    await resharded(client, kinesis);
    await consumed(client, kinesis);
    await permitted(client);
    await deleted(client, kinesis);
  });
}

/** Lets a change that is shown come to its end. */
function settle({ clock }: TestKinesis): void {
  clock.advance(stateMs);
}

async function statusOf(client: KinesisClient): Promise<string | undefined> {
  const described = await client.send(new DescribeStreamSummaryCommand({ StreamName }));
  return described.StreamDescriptionSummary?.StreamStatus;
}

async function created(client: KinesisClient, kinesis: TestKinesis): Promise<void> {
  await client.send(new CreateStreamCommand({ StreamName, ShardCount: 2 }));
  assert.equal(await statusOf(client), 'CREATING');
  settle(kinesis);
  const { StreamDescription: stream } = await client.send(
    new DescribeStreamCommand({ StreamName }),
  );
  assert.equal(stream?.StreamStatus, 'ACTIVE');
  assert.equal(stream.StreamARN, StreamARN);
  assert.equal(stream.RetentionPeriodHours, 24);
  assert.equal(stream.EncryptionType, 'NONE');
  assert.deepEqual(stream.StreamModeDetails, { StreamMode: 'PROVISIONED' });
  assert.deepEqual(stream.StreamCreationTimestamp, new Date(Date.UTC(2026, 0, 1)));
  assert.deepEqual(
    stream.Shards?.map(({ ShardId, HashKeyRange }) => [ShardId, HashKeyRange?.StartingHashKey]),
    [
      ['shardId-000000000000', '0'],
      ['shardId-000000000001', (1n << 127n).toString()],
    ],
  );
  const streams = await client.send(new ListStreamsCommand({}));
  assert.deepEqual(streams.StreamNames, [StreamName]);
  assert.equal(streams.HasMoreStreams, false);
  assert.equal(streams.StreamSummaries?.[0]?.StreamStatus, 'ACTIVE');
  const limits = await client.send(new DescribeLimitsCommand({}));
  assert.equal(limits.OpenShardCount, 2);
}

async function written(client: KinesisClient, kinesis: TestKinesis): Promise<void> {
  const one = await client.send(
    new PutRecordCommand({
      ...{ StreamName, PartitionKey: 'a', ExplicitHashKey: '0', Data: Buffer.from('first') },
    }),
  );
  assert.equal(one.ShardId, 'shardId-000000000000');
  kinesis.clock.advance(1000);
  const between = new Date(kinesis.clock.nowMs());
  const many = await client.send(
    new PutRecordsCommand({
      StreamARN,
      Records: ['second', 'third'].map((text) => ({
        ...{ PartitionKey: 'ü', ExplicitHashKey: '1', Data: Buffer.from(text) },
      })),
    }),
  );
  assert.equal(many.FailedRecordCount, 0);
  const numbers = [one.SequenceNumber, ...(many.Records ?? []).map((put) => put.SequenceNumber)];
  const read = async (
    ShardIteratorType: ShardIteratorType,
    more: { StartingSequenceNumber?: string; Timestamp?: Date } = {},
  ): Promise<string[]> => {
    const { ShardIterator } = await client.send(
      new GetShardIteratorCommand({
        ...{ StreamName, ShardId: 'shardId-000000000000', ShardIteratorType, ...more },
      }),
    );
    kinesis.clock.advance(1000);
    const answer = await client.send(new GetRecordsCommand({ ShardIterator }));
    assert.equal(answer.MillisBehindLatest, 0);
    assert.notEqual(answer.NextShardIterator, undefined);
    const records = answer.Records ?? [];
    assert.deepEqual(
      records.map((record) => record.SequenceNumber),
      numbers.slice(numbers.length - records.length),
    );
    return records.map(({ Data }) => Buffer.from(Data ?? []).toString());
  };
  const [firstNumber = ''] = numbers;
  assert.deepEqual(await read('TRIM_HORIZON'), ['first', 'second', 'third']);
  assert.deepEqual(await read('LATEST'), []);
  assert.deepEqual(await read('AT_TIMESTAMP', { Timestamp: between }), ['second', 'third']);
  assert.deepEqual(await read('AT_SEQUENCE_NUMBER', { StartingSequenceNumber: firstNumber }), [
    'first',
    'second',
    'third',
  ]);
  assert.deepEqual(await read('AFTER_SEQUENCE_NUMBER', { StartingSequenceNumber: firstNumber }), [
    'second',
    'third',
  ]);
}

async function tagged(client: KinesisClient): Promise<void> {
  await client.send(new AddTagsToStreamCommand({ StreamName, Tags: { site: 'north', unit: '7' } }));
  await client.send(new RemoveTagsFromStreamCommand({ StreamName, TagKeys: ['unit'] }));
  await client.send(new TagResourceCommand({ ResourceARN: StreamARN, Tags: { line: 'b' } }));
  const tags = await client.send(new ListTagsForStreamCommand({ StreamName, Limit: 1 }));
  assert.deepEqual(tags.Tags, [{ Key: 'line', Value: 'b' }]);
  assert.equal(tags.HasMoreTags, true);
  await client.send(new UntagResourceCommand({ ResourceARN: StreamARN, TagKeys: ['line'] }));
  const left = await client.send(new ListTagsForResourceCommand({ ResourceARN: StreamARN }));
  assert.deepEqual(left.Tags, [{ Key: 'site', Value: 'north' }]);
}

async function set(client: KinesisClient, kinesis: TestKinesis): Promise<void> {
  await client.send(
    new IncreaseStreamRetentionPeriodCommand({ StreamName, RetentionPeriodHours: 48 }),
  );
  assert.equal(await statusOf(client), 'UPDATING');
  settle(kinesis);
  assert.equal(kinesis.log.stream(StreamName).retentionMs, 48 * 3_600_000);
  await client.send(
    new DecreaseStreamRetentionPeriodCommand({ StreamName, RetentionPeriodHours: 24 }),
  );
  settle(kinesis);
  const key = { StreamName, EncryptionType: 'KMS', KeyId: 'alias/aws/kinesis' } as const;
  await client.send(new StartStreamEncryptionCommand(key));
  settle(kinesis);
  const { StreamDescriptionSummary: encrypted } = await client.send(
    new DescribeStreamSummaryCommand({ StreamName }),
  );
  assert.equal(encrypted?.EncryptionType, 'KMS');
  assert.equal(encrypted.KeyId, 'alias/aws/kinesis');
  await client.send(new StopStreamEncryptionCommand(key));
  settle(kinesis);
  const enabled = await client.send(
    new EnableEnhancedMonitoringCommand({
      ...{ StreamName, ShardLevelMetrics: ['IncomingBytes', 'OutgoingBytes'] },
    }),
  );
  assert.deepEqual(enabled.CurrentShardLevelMetrics, []);
  assert.deepEqual(enabled.DesiredShardLevelMetrics, ['IncomingBytes', 'OutgoingBytes']);
  settle(kinesis);
  const disabled = await client.send(
    new DisableEnhancedMonitoringCommand({ StreamName, ShardLevelMetrics: ['IncomingBytes'] }),
  );
  assert.deepEqual(disabled.DesiredShardLevelMetrics, ['OutgoingBytes']);
  settle(kinesis);
  await client.send(new UpdateMaxRecordSizeCommand({ StreamARN, MaxRecordSizeInKiB: 2048 }));
  settle(kinesis);
  const onDemand = { StreamARN, StreamModeDetails: { StreamMode: 'ON_DEMAND' } } as const;
  await client.send(new UpdateStreamModeCommand(onDemand));
  settle(kinesis);
  const warm = await client.send(
    new UpdateStreamWarmThroughputCommand({ StreamName, WarmThroughputMiBps: 8 }),
  );
  assert.deepEqual(warm.WarmThroughput, { TargetMiBps: 8, CurrentMiBps: 0 });
  settle(kinesis);
  const provisioned = { StreamARN, StreamModeDetails: { StreamMode: 'PROVISIONED' } } as const;
  await client.send(new UpdateStreamModeCommand(provisioned));
  settle(kinesis);
  const { StreamDescriptionSummary: summary } = await client.send(
    new DescribeStreamSummaryCommand({ StreamARN }),
  );
  assert.equal(summary?.EncryptionType, 'NONE');
  assert.equal(summary.MaxRecordSizeInKiB, 2048);
  assert.deepEqual(summary.StreamModeDetails, { StreamMode: 'PROVISIONED' });
}

async function resharded(client: KinesisClient, kinesis: TestKinesis): Promise<void> {
  await client.send(
    new SplitShardCommand({
      ...{ StreamName, ShardToSplit: 'shardId-000000000000' },
      NewStartingHashKey: (1n << 126n).toString(),
    }),
  );
  assert.equal(await statusOf(client), 'UPDATING');
  settle(kinesis);
  const { ShardIterator } = await client.send(
    new GetShardIteratorCommand({
      ...{ StreamName, ShardId: 'shardId-000000000000', ShardIteratorType: 'TRIM_HORIZON' },
    }),
  );
  const end = await client.send(new GetRecordsCommand({ ShardIterator }));
  assert.equal(end.Records?.length, 3);
  assert.equal(end.NextShardIterator, undefined);
  assert.deepEqual(
    end.ChildShards?.map(({ ShardId, ParentShards }) => [ShardId, ParentShards]),
    [
      ['shardId-000000000002', ['shardId-000000000000']],
      ['shardId-000000000003', ['shardId-000000000000']],
    ],
  );
  await client.send(
    new MergeShardsCommand({
      ...{ StreamName, ShardToMerge: 'shardId-000000000002' },
      AdjacentShardToMerge: 'shardId-000000000003',
    }),
  );
  settle(kinesis);
  const scaled = await client.send(
    new UpdateShardCountCommand({
      ...{ StreamName, TargetShardCount: 4, ScalingType: 'UNIFORM_SCALING' },
    }),
  );
  assert.deepEqual([scaled.CurrentShardCount, scaled.TargetShardCount], [2, 4]);
  settle(kinesis);
  const open = await client.send(
    new ListShardsCommand({ StreamName, ShardFilter: { Type: 'AT_LATEST' } }),
  );
  assert.equal(open.Shards?.length, 4);
  const closed = (await client.send(new ListShardsCommand({ StreamName }))).Shards?.[0];
  const parentEnd = closed?.SequenceNumberRange?.EndingSequenceNumber ?? '';
  for (const child of open.Shards ?? []) {
    const begin = child.SequenceNumberRange?.StartingSequenceNumber ?? '';
    assert.ok(BigInt(begin) > BigInt(parentEnd), 'a child is ordered behind its parents');
  }
}

async function consumed(client: KinesisClient, kinesis: TestKinesis): Promise<void> {
  const { Consumer } = await client.send(
    new RegisterStreamConsumerCommand({ StreamARN, ConsumerName: 'alarms', Tags: { team: 'a' } }),
  );
  const ConsumerARN = Consumer?.ConsumerARN ?? '';
  assert.match(ConsumerARN, /:stream\/readings\/consumer\/alarms:\d+$/);
  assert.equal(Consumer?.ConsumerStatus, 'CREATING');
  settle(kinesis);
  const described = await client.send(new DescribeStreamConsumerCommand({ ConsumerARN }));
  assert.equal(described.ConsumerDescription?.ConsumerStatus, 'ACTIVE');
  assert.equal(described.ConsumerDescription.StreamARN, StreamARN);
  const listed = await client.send(new ListStreamConsumersCommand({ StreamARN }));
  assert.deepEqual(
    listed.Consumers?.map(({ ConsumerName }) => ConsumerName),
    ['alarms'],
  );
  const tags = await client.send(new ListTagsForResourceCommand({ ResourceARN: ConsumerARN }));
  assert.deepEqual(tags.Tags, [{ Key: 'team', Value: 'a' }]);
  await client.send(new DeregisterStreamConsumerCommand({ StreamARN, ConsumerName: 'alarms' }));
  const going = await client.send(new ListStreamConsumersCommand({ StreamARN }));
  assert.deepEqual(
    going.Consumers?.map(({ ConsumerStatus }) => ConsumerStatus),
    ['DELETING'],
  );
  settle(kinesis);
  const left = await client.send(new ListStreamConsumersCommand({ StreamARN }));
  assert.deepEqual(left.Consumers, []);
}

async function permitted(client: KinesisClient): Promise<void> {
  const Policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      { Effect: 'Allow', Principal: '*', Action: 'kinesis:GetRecords', Resource: StreamARN },
    ],
  });
  await client.send(new PutResourcePolicyCommand({ ResourceARN: StreamARN, Policy }));
  const kept = await client.send(new GetResourcePolicyCommand({ ResourceARN: StreamARN }));
  assert.equal(kept.Policy, Policy);
  await client.send(new DeleteResourcePolicyCommand({ ResourceARN: StreamARN }));
  await assert.rejects(client.send(new GetResourcePolicyCommand({ ResourceARN: StreamARN })), {
    name: 'ResourceNotFoundException',
  });
}

async function deleted(client: KinesisClient, kinesis: TestKinesis): Promise<void> {
  await client.send(new DeleteStreamCommand({ StreamName }));
  assert.equal(await statusOf(client), 'DELETING');
  await assert.rejects(client.send(new CreateStreamCommand({ StreamName, ShardCount: 1 })), {
    name: 'ResourceInUseException',
    message: `Stream ${StreamName} under account 000000000000 already exists.`,
  });
  settle(kinesis);
  await assert.rejects(statusOf(client), {
    name: 'ResourceNotFoundException',
    message: `Stream ${StreamName} under account 000000000000 not found.`,
  });
  assert.deepEqual((await client.send(new ListStreamsCommand({}))).StreamNames, []);
}
