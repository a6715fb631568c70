/**
 * The life of a stream as a program with the JavaScript SDK lives it. Only the endpoint says that it
 * is not AWS. Arguments: the endpoint, and `http2`, which is the SDK's own choice, or `http1`.
 */
import assert from 'node:assert/strict';
import {
  AddTagsToStreamCommand,
  CreateStreamCommand,
  DecreaseStreamRetentionPeriodCommand,
  DeleteStreamCommand,
  DeregisterStreamConsumerCommand,
  DescribeStreamConsumerCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  IncreaseStreamRetentionPeriodCommand,
  KinesisClient,
  ListShardsCommand,
  ListTagsForStreamCommand,
  MergeShardsCommand,
  PutRecordCommand,
  PutRecordsCommand,
  RegisterStreamConsumerCommand,
  RemoveTagsFromStreamCommand,
  SplitShardCommand,
  StartStreamEncryptionCommand,
  StopStreamEncryptionCommand,
  SubscribeToShardCommand,
  UpdateShardCountCommand,
  type ConsumerStatus,
  type GetRecordsCommandOutput,
  type Shard,
  type ShardIteratorType,
  type StreamDescriptionSummary,
} from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { setTimeout as sleep } from 'node:timers/promises';

const [endpoint = '', protocol = ''] = process.argv.slice(2);
const client = new KinesisClient({
  endpoint,
  ...(protocol === 'http1' ? { requestHandler: new NodeHttpHandler() } : {}),
});
const StreamName = 'readings';
const pollMs = 20;

async function summary(): Promise<StreamDescriptionSummary> {
  const answer = await client.send(new DescribeStreamSummaryCommand({ StreamName }));
  assert.ok(answer.StreamDescriptionSummary);
  return answer.StreamDescriptionSummary;
}

async function settled(): Promise<StreamDescriptionSummary> {
  for (;;) {
    const seen = await summary();
    if (seen.StreamStatus === 'ACTIVE') return seen;
    await sleep(pollMs);
  }
}

interface Start {
  readonly StartingSequenceNumber?: string;
  readonly Timestamp?: Date;
}

async function read(
  ShardId: string,
  ShardIteratorType: ShardIteratorType,
  start: Start = {},
): Promise<GetRecordsCommandOutput> {
  const { ShardIterator } = await client.send(
    new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType, ...start }),
  );
  return client.send(new GetRecordsCommand({ ShardIterator }));
}

function texts({ Records = [] }: Pick<GetRecordsCommandOutput, 'Records'>): string[] {
  return Records.map(({ Data }) => Buffer.from(Data ?? []).toString());
}

async function put(text: string): Promise<{ shard: string; number: string }> {
  const answer = await client.send(
    new PutRecordCommand({ StreamName, PartitionKey: 'k', Data: Buffer.from(text) }),
  );
  return { shard: answer.ShardId ?? '', number: answer.SequenceNumber ?? '' };
}

async function shardsOpen(): Promise<Shard[]> {
  const answer = await client.send(
    new ListShardsCommand({ StreamName, ShardFilter: { Type: 'AT_LATEST' } }),
  );
  return answer.Shards ?? [];
}

// Create.
await client.send(new CreateStreamCommand({ StreamName, ShardCount: 1 }));
const created = await summary();
// CREATING is shown for a moment, which a slow client misses.
assert.match(created.StreamStatus ?? '', /^(CREATING|ACTIVE)$/);
const StreamARN = created.StreamARN ?? '';
assert.equal((await settled()).OpenShardCount, 1);

// Put, and read by all five types of iterators.
const { shard, number } = await put('first');
const { FailedRecordCount } = await client.send(
  new PutRecordsCommand({
    StreamARN,
    Records: ['second', 'third'].map((text) => ({ PartitionKey: 'ü', Data: Buffer.from(text) })),
  }),
);
assert.equal(FailedRecordCount, 0);
const all = ['first', 'second', 'third'];
const byNumber = { StartingSequenceNumber: number };
const horizon = await read(shard, 'TRIM_HORIZON');
assert.deepEqual(texts(horizon), all);
assert.equal(horizon.MillisBehindLatest, 0);
assert.deepEqual(texts(await read(shard, 'LATEST')), []);
assert.deepEqual(texts(await read(shard, 'AT_SEQUENCE_NUMBER', byNumber)), all);
assert.deepEqual(texts(await read(shard, 'AFTER_SEQUENCE_NUMBER', byNumber)), all.slice(1));
const Timestamp = new Date(Date.now() - 60_000);
assert.deepEqual(texts(await read(shard, 'AT_TIMESTAMP', { Timestamp })), all);

// Tag.
await client.send(new AddTagsToStreamCommand({ StreamName, Tags: { site: 'north', unit: '7' } }));
await client.send(new RemoveTagsFromStreamCommand({ StreamName, TagKeys: ['unit'] }));
const { Tags } = await client.send(new ListTagsForStreamCommand({ StreamName }));
assert.deepEqual(Tags, [{ Key: 'site', Value: 'north' }]);

// Retention.
await client.send(
  new IncreaseStreamRetentionPeriodCommand({ StreamName, RetentionPeriodHours: 48 }),
);
assert.equal((await settled()).RetentionPeriodHours, 48);
await client.send(
  new DecreaseStreamRetentionPeriodCommand({ StreamName, RetentionPeriodHours: 24 }),
);
assert.equal((await settled()).RetentionPeriodHours, 24);

// Encrypt.
const key = { StreamName, EncryptionType: 'KMS', KeyId: 'alias/aws/kinesis' } as const;
await client.send(new StartStreamEncryptionCommand(key));
assert.equal((await settled()).EncryptionType, 'KMS');
const sealed = await put('sealed');
const { Records: [unsealed] = [] } = await read(shard, 'AT_SEQUENCE_NUMBER', {
  StartingSequenceNumber: sealed.number,
});
assert.equal(Buffer.from(unsealed?.Data ?? []).toString(), 'sealed');
assert.equal(unsealed?.EncryptionType, 'KMS');
await client.send(new StopStreamEncryptionCommand(key));
assert.equal((await settled()).EncryptionType, 'NONE');
const stored = [...all, 'sealed'];

// Register a consumer and subscribe: what is there, what comes, and the end of a shard.
const { Consumer } = await client.send(
  new RegisterStreamConsumerCommand({ StreamARN, ConsumerName: 'alarms' }),
);
const ConsumerARN = Consumer?.ConsumerARN ?? '';
let status: ConsumerStatus | undefined;
while (status !== 'ACTIVE') {
  await sleep(pollMs);
  const described = await client.send(new DescribeStreamConsumerCommand({ ConsumerARN }));
  status = described.ConsumerDescription?.ConsumerStatus;
}
const { EventStream = [] } = await client.send(
  new SubscribeToShardCommand({
    ...{ ConsumerARN, ShardId: shard, StartingPosition: { Type: 'TRIM_HORIZON' } },
  }),
);
const pushed: string[] = [];
let children: string[] = [];
let asked = 0;
for await (const { SubscribeToShardEvent: event } of EventStream) {
  assert.ok(event);
  pushed.push(...texts(event));
  if (pushed.length === stored.length && asked === 0) {
    asked = 1;
    await put('pushed');
  }
  if (pushed.at(-1) === 'pushed' && asked === 1) {
    asked = 2;
    const NewStartingHashKey = String(2n ** 127n);
    await client.send(
      new SplitShardCommand({ StreamName, ShardToSplit: shard, NewStartingHashKey }),
    );
  }
  children = (event.ChildShards ?? []).map(({ ShardId = '' }) => ShardId);
}
assert.deepEqual(pushed, [...stored, 'pushed']);
assert.equal(children.length, 2);

// It was split: GetRecords tells the same. Merge, update the shard count.
await settled();
const end = await read(shard, 'LATEST');
assert.equal(end.NextShardIterator, undefined);
assert.deepEqual(
  end.ChildShards?.map(({ ShardId }) => ShardId),
  children,
);
await client.send(
  new MergeShardsCommand({
    ...{ StreamName, ShardToMerge: children[0], AdjacentShardToMerge: children[1] },
  }),
);
await settled();
assert.equal((await shardsOpen()).length, 1);
await client.send(
  new UpdateShardCountCommand({ StreamName, TargetShardCount: 2, ScalingType: 'UNIFORM_SCALING' }),
);
await settled();
assert.equal((await shardsOpen()).length, 2);
const { Shards } = await client.send(new ListShardsCommand({ StreamName }));
assert.equal(Shards?.length, 6);

// Delete.
await client.send(new DeregisterStreamConsumerCommand({ ConsumerARN }));
await client.send(new DeleteStreamCommand({ StreamName }));
let gone = false;
while (!gone) {
  await sleep(pollMs);
  gone = await summary().then(
    ({ StreamStatus }) => {
      assert.equal(StreamStatus, 'DELETING');
      return false;
    },
    (error: unknown) => {
      assert.equal((error as Error).name, 'ResourceNotFoundException');
      return true;
    },
  );
}
client.destroy();
console.log('lived');
