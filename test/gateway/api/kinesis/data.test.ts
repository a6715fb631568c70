import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GetRecordsCommand, GetShardIteratorCommand } from '@aws-sdk/client-kinesis';
import { jsonHeaders, startKinesis, type TestKinesis } from './support.ts';

const StreamName = 'readings';
const ShardId = 'shardId-000000000000';
const Data = Buffer.from('data').toString('base64');

interface Got {
  readonly Records: readonly { readonly SequenceNumber: string; readonly Data: string }[];
  readonly NextShardIterator?: string;
  readonly MillisBehindLatest: number;
  readonly ChildShards?: readonly { readonly ShardId: string }[];
}

async function iterator(kinesis: TestKinesis, more: object = {}): Promise<string> {
  const { status, body } = await kinesis.ask('GetShardIterator', {
    ...{ StreamName, ShardId, ShardIteratorType: 'TRIM_HORIZON', ...more },
  });
  assert.equal(status, 200, JSON.stringify(body));
  return String(body['ShardIterator']);
}

async function get(kinesis: TestKinesis, ShardIterator: string, more: object = {}): Promise<Got> {
  const { status, body } = await kinesis.ask('GetRecords', { ShardIterator, ...more });
  assert.equal(status, 200, JSON.stringify(body));
  return body as unknown as Got;
}

async function put(kinesis: TestKinesis, PartitionKey = 'k'): Promise<string> {
  const { status, body } = await kinesis.ask('PutRecord', { StreamName, PartitionKey, Data });
  assert.equal(status, 200, JSON.stringify(body));
  return String(body['SequenceNumber']);
}

test('PutRecords fails the records of a full shard alone, in the words of the service', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 2);
  const [low, high] = ['0', String(2n ** 127n)];
  const call = (hashKeys: readonly (string | undefined)[]) =>
    kinesis.ask('PutRecords', {
      StreamName,
      Records: hashKeys.map((ExplicitHashKey) => ({ PartitionKey: 'k', ExplicitHashKey, Data })),
    });
  for (let calls = 0; calls < 2; calls += 1) {
    const { body } = await call(Array.from({ length: 500 }, () => low));
    assert.equal(body['FailedRecordCount'], 0);
  }
  const { status, body } = await call([low, high, low, high]);
  assert.equal(status, 200);
  assert.equal(body['FailedRecordCount'], 2);
  const throttled = {
    ErrorCode: 'ProvisionedThroughputExceededException',
    ErrorMessage:
      'Rate exceeded for shard shardId-000000000000 in stream readings under account 000000000000.',
  };
  const results = body['Records'] as Record<string, string>[];
  assert.deepEqual([results[0], results[2]], [throttled, throttled]);
  assert.deepEqual(
    [results[1]?.['ShardId'], results[3]?.['ShardId']],
    ['shardId-000000000001', 'shardId-000000000001'],
  );
  const shards = kinesis.log.stream(StreamName).shards;
  assert.deepEqual(
    shards.map(({ nextSequence }) => nextSequence),
    [1000, 2],
  );
  const one = await kinesis.ask('PutRecord', {
    StreamName,
    PartitionKey: 'k',
    ExplicitHashKey: low,
    Data,
  });
  assert.deepEqual(one, {
    status: 400,
    body: { __type: throttled.ErrorCode, message: throttled.ErrorMessage },
  });
  kinesis.clock.advance(1000);
  assert.equal((await call([low, low])).body['FailedRecordCount'], 0);
});

test('GetRecords is throttled by calls and by bytes', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const from = await iterator(kinesis);
  for (let calls = 0; calls < 5; calls += 1) await get(kinesis, from);
  assert.deepEqual(await kinesis.ask('GetRecords', { ShardIterator: from }), {
    status: 400,
    body: {
      __type: 'ProvisionedThroughputExceededException',
      message:
        'Rate exceeded for shard shardId-000000000000 in stream readings under account 000000000000.',
    },
  });
  kinesis.clock.advance(200);
  await get(kinesis, from);
});

test('limits are not enforced for streams on demand, nor when they are switched off', async (t) => {
  for (const [mode, enforceLimits] of [
    ['on-demand', true],
    ['provisioned', false],
  ] as const) {
    const kinesis = await startKinesis(t, { enforceLimits });
    await kinesis.makeStream(StreamName, 1, mode);
    const Records = Array.from({ length: 500 }, () => ({ PartitionKey: 'k', Data }));
    for (let calls = 0; calls < 4; calls += 1) {
      const { body } = await kinesis.ask('PutRecords', { StreamName, Records });
      assert.equal(body['FailedRecordCount'], 0);
    }
    const from = await iterator(kinesis);
    for (let calls = 0; calls < 8; calls += 1) await get(kinesis, from);
  }
});

test('sizes: of a record by its stream, and of a call', async (t) => {
  const kinesis = await startKinesis(t, { enforceLimits: false });
  await kinesis.makeStream(StreamName);
  const sized = (bytes: number): string => Buffer.alloc(bytes).toString('base64');
  const one = (bytes: number) =>
    kinesis.ask('PutRecord', { StreamName, PartitionKey: 'k', Data: sized(bytes) });
  assert.equal((await one(0)).status, 200);
  assert.equal((await one(2 ** 20)).status, 200);
  assert.deepEqual(await one(2 ** 20 + 1), {
    status: 400,
    body: {
      __type: 'ValidationException',
      message:
        "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048577 cap=1048577]' at 'data' failed to satisfy constraint: Member must have length less than or equal to 1048576",
    },
  });
  const many = (bytes: number, count: number) =>
    kinesis.ask('PutRecords', {
      StreamName,
      Records: Array.from({ length: count }, () => ({ PartitionKey: 'k', Data: sized(bytes) })),
    });
  assert.match(
    String((await many(2 ** 20 + 1, 1)).body['message']),
    /at 'records\.1\.member\.data'/,
  );
  assert.deepEqual((await many(2 ** 20, 10)).body, {
    __type: 'InvalidArgumentException',
    message: 'Records size exceeds 10 MB limit',
  });
  assert.equal((await many(2 ** 20, 9)).status, 200);
  await kinesis.ask('UpdateMaxRecordSize', {
    StreamARN: 'arn:aws:kinesis:us-east-1:000000000000:stream/readings',
    MaxRecordSizeInKiB: 10_240,
  });
  assert.equal((await one(10 * 2 ** 20)).status, 200);
});

test('partition keys of any characters come back as they were put, in answers that are all ASCII', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const keys = [
    'plain',
    '"quoted" \\ and/',
    'tab\tnull\0del\x7f',
    'Straße',
    '水',
    '🚰🚰',
    '\u2028',
  ];
  for (const key of keys) await put(kinesis, key);
  const response = await fetch(kinesis.url, {
    method: 'POST',
    headers: { ...jsonHeaders, 'x-amz-target': 'Kinesis_20131202.GetRecords' },
    body: JSON.stringify({ ShardIterator: await iterator(kinesis) }),
  });
  const text = await response.text();
  assert.match(text, /^[ -~]+$/);
  const { Records } = JSON.parse(text) as { Records: { PartitionKey: string }[] };
  assert.deepEqual(
    Records.map(({ PartitionKey }) => PartitionKey),
    keys,
  );
});

test('an answer of ten megabytes arrives whole, over both protocols', async (t) => {
  const kinesis = await startKinesis(t, { enforceLimits: false });
  await kinesis.makeStream(StreamName);
  const sizes = [300_000, 1, 0, 2 ** 20, 196_608, 196_609, 700_001, 100, 2 ** 20, 2 ** 20];
  for (const size of sizes) {
    const data = Buffer.alloc(size, size % 251);
    await kinesis.log.append(StreamName, [{ partitionKey: `ü"\\${size}`, data }]);
  }
  await kinesis.log.append(
    StreamName,
    Array.from({ length: 5_000 }, (_, at) => ({
      partitionKey: `k${at}`,
      data: Buffer.alloc(900, at),
    })),
  );
  for (const protocol of ['h2c', 'http1'] as const) {
    const client = kinesis.client(protocol);
    const { ShardIterator } = await client.send(
      new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: 'TRIM_HORIZON' }),
    );
    const { Records = [] } = await client.send(new GetRecordsCommand({ ShardIterator }));
    assert.equal(Records.length, sizes.length + 5_000);
    for (const [index, { Data: data = new Uint8Array(), PartitionKey }] of Records.entries()) {
      const size = sizes[index];
      if (size === undefined) assert.equal(data.length, 900);
      else {
        assert.equal(PartitionKey, `ü"\\${size}`);
        assert.ok(Buffer.alloc(size, size % 251).equals(data), `record ${index}`);
      }
    }
  }
});

test('GetRecords stops at 10,000 records, at its limit, and at ten megabytes', async (t) => {
  const kinesis = await startKinesis(t, { enforceLimits: false });
  await kinesis.makeStream(StreamName);
  const small = Array.from({ length: 12_000 }, () => ({
    partitionKey: 'k',
    data: Buffer.alloc(1),
  }));
  await kinesis.log.append(StreamName, small);
  const first = await get(kinesis, await iterator(kinesis));
  assert.equal(first.Records.length, 10_000);
  const rest = await get(kinesis, first.NextShardIterator ?? '', { Limit: 1_999 });
  assert.equal(rest.Records.length, 1_999);
  const last = await get(kinesis, rest.NextShardIterator ?? '');
  assert.equal(last.Records.length, 1);
  for (let count = 0; count < 12; count += 1) {
    await kinesis.log.append(StreamName, [{ partitionKey: 'k', data: Buffer.alloc(2 ** 20) }]);
  }
  const large = await get(kinesis, last.NextShardIterator ?? '');
  assert.equal(large.Records.length, 10);
});

test('a shard that was split is read to its end, and names its children', async (t) => {
  const kinesis = await startKinesis(t, { enforceLimits: false });
  await kinesis.makeStream(StreamName);
  await put(kinesis);
  const last = await put(kinesis);
  await kinesis.log.splitShard(StreamName, 0, 2n ** 127n);
  const partly = await get(kinesis, await iterator(kinesis), { Limit: 1 });
  assert.notEqual(partly.NextShardIterator, undefined);
  assert.equal(partly.ChildShards, undefined);
  const end = await get(kinesis, partly.NextShardIterator ?? '');
  assert.deepEqual(
    end.Records.map(({ SequenceNumber }) => SequenceNumber),
    [last],
  );
  assert.ok(!('NextShardIterator' in end));
  const children = ['shardId-000000000001', 'shardId-000000000002'];
  assert.deepEqual(
    end.ChildShards?.map((child) => child.ShardId),
    children,
  );
  for (const type of ['LATEST', 'TRIM_HORIZON'] as const) {
    const more = { ShardIteratorType: type };
    const got = await get(kinesis, await iterator(kinesis, more));
    assert.equal(got.NextShardIterator, undefined, type);
  }
  const { body } = await kinesis.ask('DescribeStream', { StreamName });
  const { Shards } = body['StreamDescription'] as {
    Shards: { SequenceNumberRange: Record<string, string> }[];
  };
  const EndingSequenceNumber = Shards[0]?.SequenceNumberRange['EndingSequenceNumber'] ?? '';
  assert.ok(BigInt(EndingSequenceNumber) > BigInt(last));
  const atEnd = {
    ShardIteratorType: 'AFTER_SEQUENCE_NUMBER',
    StartingSequenceNumber: EndingSequenceNumber,
  };
  const after = await get(kinesis, await iterator(kinesis, atEnd));
  assert.deepEqual([after.Records, after.NextShardIterator], [[], undefined]);
  const beginning = Shards[0]?.SequenceNumberRange['StartingSequenceNumber'] ?? '';
  for (const type of ['AT_SEQUENCE_NUMBER', 'AFTER_SEQUENCE_NUMBER']) {
    const whole = { ShardIteratorType: type, StartingSequenceNumber: beginning };
    assert.equal((await get(kinesis, await iterator(kinesis, whole))).Records.length, 2, type);
  }
});

test('GetShardIterator refuses what does not fit together, in the words of the service', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName, 2);
  const number = await put(kinesis, 'k');
  const owner = kinesis.log.stream(StreamName).shards.find((shard) => shard.nextSequence === 1);
  assert.ok(owner !== undefined);
  const own = `shardId-${String(owner.index).padStart(12, '0')}`;
  const other = `shardId-${String(1 - owner.index).padStart(12, '0')}`;
  const asked = async (input: object): Promise<string> => {
    const { status, body } = await kinesis.ask('GetShardIterator', {
      StreamName,
      ShardId: own,
      ...input,
    });
    assert.equal(status, 400);
    return `${String(body['__type'])}: ${String(body['message'])}`;
  };
  const must =
    'InvalidArgumentException: Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. ';
  assert.equal(
    await asked({ ShardIteratorType: 'LATEST', StartingSequenceNumber: number }),
    `${must}Request specified LATEST and also a StartingSequenceNumber.`,
  );
  assert.equal(
    await asked({ ShardIteratorType: 'AT_SEQUENCE_NUMBER' }),
    `${must}Request specified AT_SEQUENCE_NUMBER and no StartingSequenceNumber.`,
  );
  const nowMs = kinesis.clock.nowMs();
  assert.equal(
    await asked({ ShardIteratorType: 'AT_TIMESTAMP', Timestamp: (nowMs + 1000) / 1000 }),
    `InvalidArgumentException: The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: ${nowMs + 1000}, currentTimestampInMillis: ${nowMs}`,
  );
  assert.match(
    await asked({ ShardIteratorType: 'AT_TIMESTAMP' }),
    /^InvalidArgumentException: Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP\./,
  );
  const at = (StartingSequenceNumber: string, more: object = {}) =>
    asked({ ShardIteratorType: 'AT_SEQUENCE_NUMBER', StartingSequenceNumber, ...more });
  assert.equal(
    await at(number, { ShardId: other }),
    `InvalidArgumentException: Invalid StartingSequenceNumber. It encodes ${own}, while it was used in a call to a shard with ${other}`,
  );
  const used = (text: string): string =>
    `InvalidArgumentException: StartingSequenceNumber ${text} used in GetShardIterator on shard ${own} in stream readings under account 000000000000 is invalid`;
  assert.equal(await at('0'), `${used('0')}.`);
  // The next one: no record has it yet.
  const ahead = String(BigInt(number) + (1n << 80n));
  assert.equal(await at(ahead), `${used(ahead)}.`);
  const elsewhere = String(BigInt(number) + (1n << 148n));
  assert.equal(await at(elsewhere), `${used(elsewhere)} because it did not come from this stream.`);
  assert.equal(
    await asked({ ShardId: 'shardId-x', ShardIteratorType: 'LATEST' }),
    'ResourceNotFoundException: Could not find shard shardId-x in stream readings under account 000000000000.',
  );
  assert.equal(
    await asked({ ShardId: 'shardId-000000000007', ShardIteratorType: 'LATEST' }),
    'ResourceNotFoundException: Shard shardId-000000000007 in stream readings under account 000000000000 does not exist',
  );
});

test('iterators: forged, expired, and of a stream that was deleted and made again', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  await put(kinesis);
  const from = await iterator(kinesis);
  const forged = `${from.slice(0, 20)}${from[20] === 'A' ? 'B' : 'A'}${from.slice(21)}`;
  assert.deepEqual(await kinesis.ask('GetRecords', { ShardIterator: forged }), {
    status: 400,
    body: { __type: 'InvalidArgumentException', message: 'Invalid ShardIterator.' },
  });
  await kinesis.log.deleteStream(StreamName);
  const gone = await kinesis.ask('GetRecords', { ShardIterator: from });
  assert.equal(gone.body['__type'], 'ResourceNotFoundException');
  await kinesis.makeStream(StreamName);
  const another = await kinesis.ask('GetRecords', { ShardIterator: from });
  assert.equal(another.body['__type'], 'ResourceNotFoundException');
  kinesis.clock.advance(300_001);
  const expired = await kinesis.ask('GetRecords', { ShardIterator: from });
  assert.equal(expired.body['__type'], 'ExpiredIteratorException');
});

test('MillisBehindLatest tells how far a reader is behind', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  await put(kinesis);
  kinesis.clock.advance(5_000);
  await put(kinesis);
  const first = await get(kinesis, await iterator(kinesis), { Limit: 1 });
  assert.equal(first.MillisBehindLatest, 5_000);
  const second = await get(kinesis, first.NextShardIterator ?? '');
  assert.equal(second.MillisBehindLatest, 0);
});

test('hash keys and ordering numbers that can not be are refused', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const above = String(2n ** 128n);
  const wrong = await kinesis.ask('PutRecord', {
    ...{ StreamName, PartitionKey: 'k', ExplicitHashKey: above, Data },
  });
  assert.equal(
    wrong.body['message'],
    `Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was ${above}`,
  );
  const SequenceNumberForOrdering = await put(kinesis);
  const ordered = { StreamName, PartitionKey: 'k', Data, SequenceNumberForOrdering };
  assert.equal((await kinesis.ask('PutRecord', ordered)).status, 200);
  for (const forged of ['0', '123', String(BigInt(SequenceNumberForOrdering) + (1n << 40n))]) {
    const answer = await kinesis.ask('PutRecord', {
      ...ordered,
      SequenceNumberForOrdering: forged,
    });
    assert.equal(
      answer.body['message'],
      `ExclusiveMinimumSequenceNumber ${forged} used in PutRecord on stream readings under account 000000000000 is invalid.`,
    );
  }
  const half = await kinesis.ask('PutRecord', { StreamName, PartitionKey: '\ud800', Data });
  assert.deepEqual([half.status, half.body['__type']], [400, 'InvalidArgumentException']);
});

test('a stream that is full says so with a throttling error', async (t) => {
  const kinesis = await startKinesis(t, { enforceLimits: false, maxBytes: 100_000 });
  assert.equal((await kinesis.ask('CreateStream', { StreamName, ShardCount: 1 })).status, 200);
  kinesis.clock.advance(1_000);
  // Nothing of it may go to make room.
  const { applications } = kinesis.log;
  await applications.ensure({ name: 'archive', required: true });
  const [shard] = kinesis.log.stream(StreamName).shards;
  await applications.acquire('archive', { kind: 'shard', id: shard?.id ?? 0 }, 'me', 60_000, 0);
  const Records = [{ PartitionKey: 'k', Data: Buffer.alloc(60_000).toString('base64') }];
  assert.equal((await kinesis.ask('PutRecords', { StreamName, Records })).status, 200);
  const full = await kinesis.ask('PutRecords', { StreamName, Records });
  assert.equal(full.body['__type'], 'ProvisionedThroughputExceededException');
  assert.match(String(full.body['message']), /stream readings holds \d+ of 100000 bytes/);
});
