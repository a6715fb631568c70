import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arnPrefix, stateMs, startKinesis, type Answer, type TestKinesis } from './support.ts';

const StreamName = 'readings';
const hourMs = 3_600_000;

async function shardIds(kinesis: TestKinesis, input: object): Promise<string[]> {
  const { status, body } = await kinesis.ask('ListShards', { StreamName, ...input });
  assert.equal(status, 200, JSON.stringify(body));
  return idsOf(body);
}

function idsOf(body: Answer['body']): string[] {
  return (body['Shards'] as { ShardId: string }[]).map(({ ShardId }) => ShardId.slice(-2));
}

test('ListShards with its six filters', async (t) => {
  const kinesis = await startKinesis(t);
  const { clock, log } = kinesis;
  await kinesis.makeStream(StreamName);
  const beginMs = clock.nowMs();
  clock.advance(hourMs);
  await log.splitShard(StreamName, 0, 2n ** 127n); // 0 → 1, 2
  const splitMs = clock.nowMs();
  clock.advance(hourMs);
  await log.splitShard(StreamName, 1, 2n ** 126n); // 1 → 3, 4
  clock.advance(hourMs);
  const filtered = (Type: string, more: object = {}): Promise<string[]> =>
    shardIds(kinesis, { ShardFilter: { Type, ...more } });
  const at = (ms: number): object => ({ Timestamp: ms / 1000 });
  assert.deepEqual(await shardIds(kinesis, {}), ['00', '01', '02', '03', '04']);
  assert.deepEqual(await filtered('AT_LATEST'), ['02', '03', '04']);
  assert.deepEqual(await filtered('AT_TRIM_HORIZON'), ['00']);
  assert.deepEqual(await filtered('FROM_TRIM_HORIZON'), ['00', '01', '02', '03', '04']);
  assert.deepEqual(await filtered('AFTER_SHARD_ID', { ShardId: 'shardId-000000000002' }), [
    '03',
    '04',
  ]);
  assert.deepEqual(await filtered('AT_TIMESTAMP', at(beginMs)), ['00']);
  assert.deepEqual(await filtered('AT_TIMESTAMP', at(splitMs)), ['01', '02']);
  assert.deepEqual(await filtered('AT_TIMESTAMP', at(clock.nowMs())), ['02', '03', '04']);
  assert.deepEqual(await filtered('FROM_TIMESTAMP', at(splitMs + hourMs / 2)), [
    '01',
    '02',
    '03',
    '04',
  ]);
  assert.deepEqual(await filtered('FROM_TIMESTAMP', at(clock.nowMs())), ['02', '03', '04']);

  for (const ShardFilter of [
    { Type: 'AFTER_SHARD_ID' },
    { Type: 'AT_TIMESTAMP' },
    { Type: 'AT_LATEST', Timestamp: 1 },
    { Type: 'AT_LATEST', ShardId: 'shardId-000000000000' },
    { Type: 'AT_TIMESTAMP', ...at(clock.nowMs() + 1000) },
    { Type: 'AT_TIMESTAMP', ...at(beginMs - 1000) },
    { Type: 'AFTER_SHARD_ID', ShardId: 'nothing' },
  ]) {
    const { body } = await kinesis.ask('ListShards', { StreamName, ShardFilter });
    assert.equal(body['__type'], 'InvalidArgumentException', JSON.stringify(ShardFilter));
  }
});

test('ListShards in pages: the token goes on where the last page ended', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 5);
  const pages: string[][] = [];
  let input: object = { StreamName, MaxResults: 2 };
  for (;;) {
    const { body } = await kinesis.ask('ListShards', input);
    pages.push(idsOf(body));
    if (body['NextToken'] === undefined) break;
    input = { NextToken: body['NextToken'], MaxResults: 2 };
  }
  assert.deepEqual(pages, [['00', '01'], ['02', '03'], ['04']]);
  assert.deepEqual(await shardIds(kinesis, { ExclusiveStartShardId: 'shardId-000000000002' }), [
    '03',
    '04',
  ]);

  const { body } = await kinesis.ask('ListShards', { StreamName, MaxResults: 1 });
  const { NextToken } = body;
  const both = await kinesis.ask('ListShards', { StreamName, NextToken });
  assert.equal(both.body['message'], 'NextToken and StreamName cannot be provided together.');
  const neither = await kinesis.ask('ListShards', {});
  assert.equal(neither.body['message'], 'Either NextToken or StreamName should be provided.');
  const forged = await kinesis.ask('ListShards', { NextToken: `A${String(NextToken)}` });
  assert.equal(forged.body['__type'], 'InvalidArgumentException');
  kinesis.clock.advance(300_001);
  const expired = await kinesis.ask('ListShards', { NextToken });
  assert.equal(expired.body['__type'], 'ExpiredNextTokenException');
});

test('a page token is not good for a stream that was made again', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 2);
  const { body } = await kinesis.ask('ListShards', { StreamName, MaxResults: 1 });
  await kinesis.log.deleteStream(StreamName);
  await kinesis.makeStream(StreamName, 2);
  const answer = await kinesis.ask('ListShards', { NextToken: body['NextToken'] });
  assert.equal(answer.body['__type'], 'ResourceNotFoundException');
});

test('ListStreams in pages, by name or by token', async (t) => {
  const kinesis = await startKinesis(t);
  for (const name of ['c', 'a', 'B', 'd']) await kinesis.makeStream(name);
  const first = await kinesis.ask('ListStreams', { Limit: 2 });
  assert.deepEqual(first.body['StreamNames'], ['B', 'a']);
  assert.equal(first.body['HasMoreStreams'], true);
  const { NextToken } = first.body;
  const byToken = await kinesis.ask('ListStreams', { NextToken, Limit: 10 });
  const byName = await kinesis.ask('ListStreams', { ExclusiveStartStreamName: 'a' });
  for (const { body } of [byToken, byName]) {
    assert.deepEqual(body['StreamNames'], ['c', 'd']);
    assert.equal(body['HasMoreStreams'], false);
    assert.equal(body['NextToken'], undefined);
  }
  const both = await kinesis.ask('ListStreams', { NextToken, ExclusiveStartStreamName: 'a' });
  assert.equal(both.body['__type'], 'InvalidArgumentException');
});

test('DescribeStream shows a hundred shards at a time', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 120);
  const shown = async (input: object): Promise<[count: number, hasMore: boolean]> => {
    const { body } = await kinesis.ask('DescribeStream', { StreamName, ...input });
    const { Shards, HasMoreShards } = body['StreamDescription'] as {
      Shards: unknown[];
      HasMoreShards: boolean;
    };
    return [Shards.length, HasMoreShards];
  };
  assert.deepEqual(await shown({}), [100, true]);
  assert.deepEqual(await shown({ Limit: 7 }), [7, true]);
  assert.deepEqual(await shown({ Limit: 10_000 }), [100, true]);
  assert.deepEqual(await shown({ ExclusiveStartShardId: 'shardId-000000000099' }), [20, false]);
});

test('a stream that is being made has no shards and takes no records', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.ask('CreateStream', { StreamName, ShardCount: 2, Tags: { k: 'v' } });
  const { body } = await kinesis.ask('DescribeStream', { StreamName });
  const description = body['StreamDescription'] as Record<string, unknown>;
  assert.deepEqual([description['StreamStatus'], description['Shards']], ['CREATING', []]);
  assert.deepEqual(await shardIds(kinesis, {}), []);
  const put = { StreamName, PartitionKey: 'k', Data: '' };
  assert.equal((await kinesis.ask('PutRecord', put)).body['__type'], 'ResourceNotFoundException');
  const split = { StreamName, ShardToSplit: 'shardId-000000000000', NewStartingHashKey: '100' };
  assert.deepEqual(await kinesis.ask('SplitShard', split), {
    status: 400,
    body: {
      __type: 'ResourceInUseException',
      message: 'Stream readings under account 000000000000 not ACTIVE, instead in state CREATING',
    },
  });
  kinesis.clock.advance(stateMs);
  assert.equal((await kinesis.ask('PutRecord', put)).status, 200);
  const tags = await kinesis.ask('ListTagsForStream', { StreamName });
  assert.deepEqual(tags.body['Tags'], [{ Key: 'k', Value: 'v' }]);
});

test('streams on demand begin with four shards, and are not resharded by hand', async (t) => {
  const kinesis = await startKinesis(t);
  const mode = { StreamModeDetails: { StreamMode: 'ON_DEMAND' } };
  const counted = await kinesis.ask('CreateStream', { StreamName, ShardCount: 1, ...mode });
  assert.equal(counted.body['__type'], 'ValidationException');
  const uncounted = await kinesis.ask('CreateStream', { StreamName });
  assert.equal(uncounted.body['__type'], 'ValidationException');
  await kinesis.ask('CreateStream', { StreamName, ...mode });
  kinesis.clock.advance(stateMs);
  assert.equal((await shardIds(kinesis, {})).length, 4);
  for (const [operation, input] of [
    ['SplitShard', { ShardToSplit: 'shardId-000000000000', NewStartingHashKey: '100' }],
    [
      'MergeShards',
      { ShardToMerge: 'shardId-000000000000', AdjacentShardToMerge: 'shardId-000000000001' },
    ],
    ['UpdateShardCount', { TargetShardCount: 8, ScalingType: 'UNIFORM_SCALING' }],
  ] as const) {
    const { body } = await kinesis.ask(operation, { StreamName, ...input });
    assert.equal(body['__type'], 'ValidationException', operation);
  }
  assert.equal((await shardIds(kinesis, {})).length, 4);
});

test('resharding that can not be is refused in the words of the service', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 3);
  const message = async (operation: string, input: object): Promise<string> => {
    const { status, body } = await kinesis.ask(operation, { StreamName, ...input });
    assert.equal(status, 400, operation);
    return `${String(body['__type'])}: ${String(body['message'])}`;
  };
  const shard = (index: number): string => `shardId-${String(index).padStart(12, '0')}`;
  const last = (2n ** 128n / 3n - 1n).toString();
  for (const NewStartingHashKey of ['0', '1', last, '9'.repeat(39)]) {
    assert.equal(
      await message('SplitShard', { ShardToSplit: shard(0), NewStartingHashKey }),
      `InvalidArgumentException: NewStartingHashKey ${NewStartingHashKey} used in SplitShard() on shard ${shard(0)} in stream readings under account 000000000000 is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey ${last}.`,
    );
  }
  assert.equal(
    await message('SplitShard', { ShardToSplit: shard(9), NewStartingHashKey: '100' }),
    `ResourceNotFoundException: Could not find shard ${shard(9)} in stream readings under account 000000000000.`,
  );
  assert.equal(
    await message('MergeShards', { ShardToMerge: shard(0), AdjacentShardToMerge: shard(2) }),
    `InvalidArgumentException: Shards ${shard(0)} and ${shard(2)} in stream readings under account 000000000000 are not an adjacent pair of shards eligible for merging`,
  );
  assert.match(
    await message('UpdateShardCount', { TargetShardCount: 7, ScalingType: 'UNIFORM_SCALING' }),
    /^InvalidArgumentException: UpdateShardCount cannot scale up over double your current open shard count/,
  );
  assert.match(
    await message('UpdateShardCount', { TargetShardCount: 1, ScalingType: 'UNIFORM_SCALING' }),
    /^InvalidArgumentException: UpdateShardCount cannot scale down below half your current open shard count/,
  );
  assert.equal(kinesis.log.stream(StreamName).shards.length, 3);
  await kinesis.log.splitShard(StreamName, 0, 100n);
  assert.match(
    await message('SplitShard', { ShardToSplit: shard(0), NewStartingHashKey: '100' }),
    /^InvalidArgumentException: Shard shardId-000000000000 .* has already been merged or split/,
  );
});

test('changes that come at once are made one after the other', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      kinesis.ask('AddTagsToStream', { StreamName, Tags: { [`key${at}`]: 'v' } }),
    ),
  );
  assert.ok(answers.every(({ status }) => status === 200));
  const { body } = await kinesis.ask('ListTagsForStream', { StreamName });
  assert.equal((body['Tags'] as unknown[]).length, 20);
  // Only one of two splits finds its shard open and its stream at rest.
  const split = { StreamName, ShardToSplit: 'shardId-000000000000', NewStartingHashKey: '100' };
  const splits = await Promise.all([
    kinesis.ask('SplitShard', split),
    kinesis.ask('SplitShard', split),
  ]);
  assert.deepEqual(splits.map(({ status }) => status).toSorted(), [200, 400]);
  assert.equal(kinesis.log.stream(StreamName).shards.length, 3);
});

test('a stream with consumers is deleted only when that is meant', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const StreamARN = `${arnPrefix}${StreamName}`;
  await kinesis.ask('RegisterStreamConsumer', { StreamARN, ConsumerName: 'alarms' });
  const twice = await kinesis.ask('RegisterStreamConsumer', { StreamARN, ConsumerName: 'alarms' });
  assert.equal(twice.body['__type'], 'ResourceInUseException');
  const refused = await kinesis.ask('DeleteStream', { StreamName });
  assert.equal(refused.body['__type'], 'ResourceInUseException');
  assert.equal(kinesis.log.streams().length, 1);
  const forced = await kinesis.ask('DeleteStream', { StreamName, EnforceConsumerDeletion: true });
  assert.equal(forced.status, 200);
  assert.equal(kinesis.log.streams().length, 0);
});

test('consumers: pages, and an ARN of one that was registered again', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const StreamARN = `${arnPrefix}${StreamName}`;
  const register = async (ConsumerName: string): Promise<string> => {
    const { body } = await kinesis.ask('RegisterStreamConsumer', { StreamARN, ConsumerName });
    return (body['Consumer'] as { ConsumerARN: string }).ConsumerARN;
  };
  const old = await register('b');
  await register('a');
  await register('c');
  const first = await kinesis.ask('ListStreamConsumers', { StreamARN, MaxResults: 2 });
  const { NextToken } = first.body;
  const rest = await kinesis.ask('ListStreamConsumers', { StreamARN, NextToken });
  const names = [first, rest].map(({ body }) =>
    (body['Consumers'] as { ConsumerName: string }[]).map(({ ConsumerName }) => ConsumerName),
  );
  assert.deepEqual(names, [['a', 'b'], ['c']]);
  await kinesis.ask('DeregisterStreamConsumer', { ConsumerARN: old });
  kinesis.clock.advance(2_000);
  await register('b');
  const { body } = await kinesis.ask('DescribeStreamConsumer', { ConsumerARN: old });
  assert.deepEqual(body, {
    __type: 'ResourceNotFoundException',
    message: 'Consumer b, account 000000000000 not found.',
  });
});

test('retention that can not be is refused in the words of the service', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const message = async (direction: string, RetentionPeriodHours: number): Promise<unknown> => {
    const operation = `${direction}StreamRetentionPeriod`;
    const { body } = await kinesis.ask(operation, { StreamName, RetentionPeriodHours });
    return body['message'];
  };
  assert.equal(
    await message('Increase', 23),
    'Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short.',
  );
  assert.equal(
    await message('Increase', 8761),
    'Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long.',
  );
  assert.equal(
    await message('Decrease', 25),
    'Requested retention period (25 hours) for stream readings can not be longer than existing retention period (24 hours). Use IncreaseRetentionPeriod API.',
  );
  assert.equal(await message('Increase', 48), undefined);
  kinesis.clock.advance(stateMs);
  assert.equal(
    await message('Increase', 47),
    'Requested retention period (47 hours) for stream readings can not be shorter than existing retention period (48 hours). Use DecreaseRetentionPeriod API.',
  );
});

test('tags that can not be are refused in the words of the service', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const message = async (Tags: object): Promise<unknown> =>
    (await kinesis.ask('AddTagsToStream', { StreamName, Tags })).body['message'];
  assert.equal(
    await message({ 'a;b': 'v' }),
    'Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @.',
  );
  assert.match(
    String(await message({ 'a%b': 'v' })),
    /^Failed to add tags to stream readings under account 000000000000 because some tags contained illegal characters\./,
  );
  const fifty = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`k${at}`, 'v']));
  assert.equal(await message(fifty), undefined);
  assert.match(String(await message({ one: 'more' })), /cannot have more than 50 tags/);
  assert.equal(await message({ k0: 'changed' }), undefined);
});
