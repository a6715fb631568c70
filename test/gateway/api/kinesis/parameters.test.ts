/**
 * Every operation with every parameter missing, of the wrong type, too long, out of range. The table
 * says what the service model says of each parameter; it is not made from what is tested.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { operations } from '../../../../gateway/api/kinesis/operations/operations.ts';
import { arnPrefix, startKinesis } from './support.ts';

const java = 'com.amazon.coral.value.json.numbers.TruncatingBigNumber';
const StreamName = 'readings';
const StreamARN = `${arnPrefix}${StreamName}`;
const ConsumerARN = `${StreamARN}/consumer/alarms:1767225600`;

interface Kind {
  /** Values of a wrong type, and what is said of each. */
  readonly mistyped: readonly (readonly [value: unknown, message: string])[];
  /** Values that fail constraints: the value as shown, and the constraints in order. */
  readonly failing: readonly (readonly [
    value: unknown,
    shown: string,
    constraints: readonly string[],
  ])[];
}

const noText = [
  [true, 'class java.lang.Boolean can not be converted to an String'],
  [1.5, `class ${java} can not be converted to an String`],
  [['a'], 'Start of list found where not expected'],
  [{ a: 1 }, 'Start of structure or map found where not expected.'],
] as const;
const noInteger = [
  [true, 'class java.lang.Boolean can not be converted to an Integer'],
  ['1', 'class java.lang.String can not be converted to an Integer'],
  [[1], 'Start of list found where not expected'],
  [{ a: 1 }, 'Start of structure or map found where not expected.'],
] as const;

const atLeast = (length: number): string =>
  `Member must have length greater than or equal to ${length}`;
const atMost = (length: number): string =>
  `Member must have length less than or equal to ${length}`;
const matching = (pattern: string): string =>
  `Member must satisfy regular expression pattern: ${pattern}`;

function text(max: number | null, pattern: string | null = null): Kind {
  const empty = pattern === null ? [] : [matching(pattern)];
  const long = 'a'.repeat((max ?? 0) + 1);
  const isLongRight = pattern === null || new RegExp(`^(?:${pattern})$`).test(long);
  return {
    mistyped: noText,
    failing: [
      ...(max === null ? [] : [['', '', [...empty, atLeast(1)]] as const]),
      ...(max === null || !isLongRight ? [] : [[long, long, [atMost(max)]] as const]),
      ...(pattern === null ? [] : [['ü !', 'ü !', [matching(pattern)]] as const]),
    ],
  };
}

function integer(min: number, max: number | null): Kind {
  const low = `Member must have value greater than or equal to ${min}`;
  return {
    mistyped: noInteger,
    failing: [
      [min - 1, String(min - 1), [low]],
      [-1e300, '-2147483648', [low]],
      ...(max === null
        ? []
        : [
            [
              max + 1,
              String(max + 1),
              [`Member must have value less than or equal to ${max}`],
            ] as const,
          ]),
    ],
  };
}

function choice(...words: readonly string[]): Kind {
  const constraint = `Member must satisfy enum value set: [${words.join(', ')}]`;
  return {
    mistyped: noText,
    failing: [
      ['', '', [constraint]],
      ['nonsense', 'nonsense', [constraint]],
    ],
  };
}

const name = text(128, '[a-zA-Z0-9_.-]+');
const arn = text(2048, 'arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+');
const resourceArn = text(2048, 'arn:aws.*:kinesis:.*:\\d{12}:.*stream/\\S+');
const consumerArn = text(
  2048,
  '^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+',
);
const hashKey = text(null, '0|([1-9]\\d{0,38})');
const sequence = text(null, '0|([1-9]\\d{0,128})');
const page = integer(1, 10_000);
const token = text(1_048_576);
const anyText: Kind = { mistyped: noText, failing: [] };
const anyInteger: Kind = { mistyped: noInteger, failing: [] };
const timestamp: Kind = {
  mistyped: [
    [true, 'class java.lang.Boolean can not be converted to milliseconds since epoch'],
    ['now', 'class java.lang.String can not be converted to milliseconds since epoch'],
    [[1], 'Start of list found where not expected'],
  ],
  failing: [],
};
const flag: Kind = {
  mistyped: [
    ['maybe', "'MAYBE' can not be converted to an Boolean"],
    [1, `class ${java} can not be converted to an Boolean`],
  ],
  failing: [],
};
const blob: Kind = {
  mistyped: [
    [true, 'class java.lang.Boolean can not be converted to a Blob'],
    [1, `class ${java} can not be converted to a Blob`],
    [
      'a',
      "'a' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 1",
    ],
    ['====', "'====' can not be converted to a Blob: Invalid Base64 character: '='"],
  ],
  failing: [
    [
      Buffer.alloc(10_485_761).toString('base64'),
      'java.nio.HeapByteBuffer[pos=0 lim=10485761 cap=10485761]',
      [atMost(10_485_760)],
    ],
  ],
};
const memberLengths =
  'Member must satisfy constraint: [Member must have length less than or equal to 128, ' +
  'Member must have length greater than or equal to 1]';
const tagKeys: Kind = {
  mistyped: [
    ['a', 'Expected list or null'],
    [{ a: 1 }, 'Start of structure or map found where not expected.'],
    [[true], 'class java.lang.Boolean can not be converted to an String'],
  ],
  failing: [
    [[], '[]', [atLeast(1)]],
    [[''], '[]', [memberLengths]],
    [['k'.repeat(129)], `[${'k'.repeat(129)}]`, [memberLengths]],
    [
      Array.from({ length: 51 }, () => 'k'),
      `[${Array.from({ length: 51 }, () => 'k').join(', ')}]`,
      [atMost(50)],
    ],
  ],
};
const manyTags = Object.fromEntries(Array.from({ length: 201 }, (_, at) => [`k${at}`, 'v']));
const tags: Kind = {
  mistyped: [
    ['a', 'Expected map or null'],
    [['a'], 'Start of list found where not expected'],
    [{ a: true }, 'class java.lang.Boolean can not be converted to an String'],
  ],
  failing: [
    [{}, '{}', [atLeast(1)]],
    [
      manyTags,
      `{${Object.keys(manyTags)
        .map((key) => `${key}=v`)
        .join(', ')}}`,
      [atMost(200)],
    ],
    [
      { '': 'v' },
      '{=v}',
      [
        'Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]',
      ],
    ],
    [
      { k: 'v'.repeat(257) },
      `{k=${'v'.repeat(257)}}`,
      [
        'Map value must satisfy constraint: [Member must have length less than or equal to 256, Member must have length greater than or equal to 0]',
      ],
    ],
  ],
};
const structure: Kind = {
  mistyped: [
    ['a', 'Expected null'],
    [true, 'Expected null'],
    [['a'], 'Start of list found where not expected'],
  ],
  failing: [],
};
const metrics = [
  'IncomingBytes',
  'IncomingRecords',
  'OutgoingBytes',
  'OutgoingRecords',
  'WriteProvisionedThroughputExceeded',
  'ReadProvisionedThroughputExceeded',
  'IteratorAgeMilliseconds',
  'ALL',
];
const metricList: Kind = {
  mistyped: [
    ['a', 'Expected list or null'],
    [{ a: 1 }, 'Start of structure or map found where not expected.'],
  ],
  failing: [
    [[], '[]', [atLeast(1)]],
    [metrics, `[${metrics.join(', ')}]`, [atMost(7)]],
  ],
};
const records: Kind = {
  mistyped: [
    ['a', 'Expected list or null'],
    [{ a: 1 }, 'Start of structure or map found where not expected.'],
    [['a'], 'Expected null'],
  ],
  failing: [
    [[], '[]', [atLeast(1)]],
    [
      Array.from({ length: 501 }, () => ({ PartitionKey: 'k', Data: '' })),
      `[${Array.from({ length: 501 }, () => 'com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310').join(', ')}]`,
      [atMost(500)],
    ],
  ],
};

/** A parameter by its path: `*` is the first element of a list. */
interface Parameter {
  readonly kind: Kind;
  readonly required: boolean;
}
const must = (kind: Kind): Parameter => ({ kind, required: true });
const may = (kind: Kind): Parameter => ({ kind, required: false });

interface Described {
  /** Nothing is wrong with it but what is changed. */
  readonly valid: Readonly<Record<string, unknown>>;
  readonly parameters: Readonly<Record<string, Parameter>>;
}

const stream = { StreamName: may(name), StreamARN: may(arn) };
const shardIds = { StreamName, ShardId: 'shardId-000000000000' };
const entry = { PartitionKey: 'k', Data: 'AQ==' };
const iteratorTypes = choice(
  ...['AFTER_SEQUENCE_NUMBER', 'LATEST', 'AT_TIMESTAMP', 'AT_SEQUENCE_NUMBER', 'TRIM_HORIZON'],
);
const filterTypes = choice(
  ...['AFTER_SHARD_ID', 'AT_TRIM_HORIZON', 'FROM_TRIM_HORIZON'],
  ...['AT_LATEST', 'AT_TIMESTAMP', 'FROM_TIMESTAMP'],
);
const modes = choice('PROVISIONED', 'ON_DEMAND');
const encryption: Described = {
  valid: { StreamName, EncryptionType: 'KMS', KeyId: 'alias/aws/kinesis' },
  parameters: {
    ...stream,
    EncryptionType: must(choice('NONE', 'KMS')),
    KeyId: must(text(2048)),
  },
};
const retention: Described = {
  valid: { StreamName, RetentionPeriodHours: 24 },
  parameters: { ...stream, RetentionPeriodHours: must(anyInteger) },
};
const monitoring: Described = {
  valid: { StreamName, ShardLevelMetrics: ['ALL'] },
  parameters: {
    ...stream,
    ShardLevelMetrics: must(metricList),
    'ShardLevelMetrics.*': may(choice(...metrics)),
  },
};
const consumer: Described = {
  valid: { ConsumerARN },
  parameters: { StreamARN: may(arn), ConsumerName: may(name), ConsumerARN: may(consumerArn) },
};
const policy: Described = {
  valid: { ResourceARN: StreamARN },
  parameters: { ResourceARN: must(resourceArn) },
};

const table: Readonly<Record<string, Described>> = {
  PutRecord: {
    valid: { StreamName, ...entry },
    parameters: {
      ...stream,
      PartitionKey: must(text(256)),
      ExplicitHashKey: may(hashKey),
      SequenceNumberForOrdering: may(sequence),
      Data: must(blob),
    },
  },
  PutRecords: {
    valid: { StreamName, Records: [entry] },
    parameters: {
      ...stream,
      Records: must(records),
      'Records.*.PartitionKey': must(text(256)),
      'Records.*.ExplicitHashKey': may(hashKey),
      'Records.*.Data': must(blob),
    },
  },
  GetShardIterator: {
    valid: { ...shardIds, ShardIteratorType: 'LATEST' },
    parameters: {
      ...stream,
      ShardId: must(name),
      ShardIteratorType: must(iteratorTypes),
      StartingSequenceNumber: may(sequence),
      Timestamp: may(timestamp),
    },
  },
  GetRecords: {
    valid: { ShardIterator: 'AAAA' },
    parameters: { ShardIterator: must(text(512)), Limit: may(page), StreamARN: may(arn) },
  },
  CreateStream: {
    valid: { StreamName: 'another', ShardCount: 1 },
    parameters: {
      StreamName: must(name),
      ShardCount: may(integer(1, null)),
      StreamModeDetails: may(structure),
      'StreamModeDetails.StreamMode': must(modes),
      Tags: may(tags),
      WarmThroughputMiBps: may(integer(0, null)),
      MaxRecordSizeInKiB: may(integer(1024, 10_240)),
    },
  },
  DeleteStream: {
    valid: { StreamName: 'another' },
    parameters: { ...stream, EnforceConsumerDeletion: may(flag) },
  },
  DescribeStream: {
    valid: { StreamName },
    parameters: { ...stream, Limit: may(page), ExclusiveStartShardId: may(name) },
  },
  DescribeStreamSummary: { valid: { StreamName }, parameters: stream },
  ListStreams: {
    valid: {},
    parameters: {
      Limit: may(page),
      ExclusiveStartStreamName: may(name),
      NextToken: may(token),
    },
  },
  DescribeLimits: { valid: {}, parameters: {} },
  ListShards: {
    valid: { StreamName, ShardFilter: { Type: 'AT_LATEST' } },
    parameters: {
      ...stream,
      NextToken: may(token),
      ExclusiveStartShardId: may(name),
      MaxResults: may(page),
      StreamCreationTimestamp: may(timestamp),
      ShardFilter: may(structure),
      'ShardFilter.Type': must(filterTypes),
      'ShardFilter.ShardId': may(name),
      'ShardFilter.Timestamp': may(timestamp),
    },
  },
  SplitShard: {
    valid: { StreamName, ShardToSplit: 'shardId-9', NewStartingHashKey: '10' },
    parameters: { ...stream, ShardToSplit: must(name), NewStartingHashKey: must(hashKey) },
  },
  MergeShards: {
    valid: { StreamName, ShardToMerge: 'shardId-8', AdjacentShardToMerge: 'shardId-9' },
    parameters: { ...stream, ShardToMerge: must(name), AdjacentShardToMerge: must(name) },
  },
  UpdateShardCount: {
    valid: { StreamName, TargetShardCount: 100, ScalingType: 'UNIFORM_SCALING' },
    parameters: {
      ...stream,
      TargetShardCount: must(integer(1, null)),
      ScalingType: must(choice('UNIFORM_SCALING')),
    },
  },
  AddTagsToStream: {
    valid: { StreamName, Tags: { '%': '' } },
    parameters: { ...stream, Tags: must(tags) },
  },
  RemoveTagsFromStream: {
    valid: { StreamName, TagKeys: ['k'] },
    parameters: { ...stream, TagKeys: must(tagKeys) },
  },
  ListTagsForStream: {
    valid: { StreamName },
    parameters: {
      ...stream,
      Limit: may(integer(1, 50)),
      ExclusiveStartTagKey: may(text(128)),
    },
  },
  TagResource: {
    valid: { ...policy.valid, Tags: { '%': '' } },
    parameters: { ...policy.parameters, Tags: must(tags) },
  },
  UntagResource: {
    valid: { ...policy.valid, TagKeys: ['k'] },
    parameters: { ...policy.parameters, TagKeys: must(tagKeys) },
  },
  ListTagsForResource: policy,
  IncreaseStreamRetentionPeriod: retention,
  DecreaseStreamRetentionPeriod: retention,
  UpdateStreamMode: {
    valid: { StreamARN, StreamModeDetails: { StreamMode: 'PROVISIONED' } },
    parameters: {
      StreamARN: must(arn),
      StreamModeDetails: must(structure),
      'StreamModeDetails.StreamMode': must(modes),
      WarmThroughputMiBps: may(integer(0, null)),
    },
  },
  StartStreamEncryption: encryption,
  StopStreamEncryption: encryption,
  EnableEnhancedMonitoring: monitoring,
  DisableEnhancedMonitoring: monitoring,
  UpdateMaxRecordSize: {
    valid: { StreamARN, MaxRecordSizeInKiB: 1024 },
    parameters: { StreamARN: may(arn), MaxRecordSizeInKiB: must(integer(1024, 10_240)) },
  },
  UpdateStreamWarmThroughput: {
    valid: { StreamName, WarmThroughputMiBps: 1 },
    parameters: { ...stream, WarmThroughputMiBps: must(integer(0, null)) },
  },
  RegisterStreamConsumer: {
    valid: { StreamARN, ConsumerName: 'alarms' },
    parameters: { StreamARN: must(arn), ConsumerName: must(name), Tags: may(tags) },
  },
  DescribeStreamConsumer: consumer,
  DeregisterStreamConsumer: consumer,
  ListStreamConsumers: {
    valid: { StreamARN },
    parameters: {
      StreamARN: must(arn),
      NextToken: may(token),
      MaxResults: may(page),
      StreamCreationTimestamp: may(timestamp),
    },
  },
  SubscribeToShard: {
    valid: { ConsumerARN, ShardId: 'shardId-000000000000', StartingPosition: { Type: 'LATEST' } },
    parameters: {
      ConsumerARN: must(consumerArn),
      ShardId: must(name),
      StartingPosition: must(structure),
      'StartingPosition.Type': must(iteratorTypes),
      'StartingPosition.SequenceNumber': may(sequence),
      'StartingPosition.Timestamp': may(timestamp),
    },
  },
  PutResourcePolicy: {
    valid: { ...policy.valid, Policy: '{}' },
    parameters: { ...policy.parameters, Policy: must(anyText) },
  },
  GetResourcePolicy: policy,
  DeleteResourcePolicy: policy,
};

type Fields = Record<string, unknown>;

/** A copy of the input with the parameter at the path changed. */
function withValue(input: Readonly<Fields>, path: string, value: unknown): Fields {
  const copy = structuredClone(input) as Fields;
  const keys = path.split('.').map((key) => (key === '*' ? '0' : key));
  const last = keys.pop() ?? '';
  let at = copy;
  for (const key of keys) {
    at[key] ??= {};
    at = at[key] as Fields;
  }
  at[last] = value;
  return copy;
}

/** `records.1.member.partitionKey` */
function shownPath(path: string): string {
  return path
    .split('.')
    .map((key) => (key === '*' ? '1.member' : `${key[0]?.toLowerCase()}${key.slice(1)}`))
    .join('.');
}

test('the table has every operation', () => {
  assert.deepEqual(Object.keys(table).toSorted(), [...operations.keys()].toSorted());
});

test('every parameter missing, mistyped, too long and out of range is refused by name', async (t) => {
  const kinesis = await startKinesis(t);
  const { log, logger } = kinesis;
  await kinesis.makeStream(StreamName);
  const before = JSON.stringify(log.streams(), showBigInt);
  for (const [operation, { valid, parameters }] of Object.entries(table)) {
    await t.test(operation, async () => {
      for (const [path, { kind, required }] of Object.entries(parameters)) {
        if (required) {
          const message = `1 validation error detected: Value null at '${shownPath(path)}' failed to satisfy constraint: Member must not be null`;
          for (const nothing of [undefined, null]) {
            const { status, body } = await kinesis.ask(operation, withValue(valid, path, nothing));
            assert.deepEqual([status, body], [400, { __type: 'ValidationException', message }]);
          }
        }
        for (const [value, Message] of kind.mistyped) {
          const { status, body } = await kinesis.ask(operation, withValue(valid, path, value));
          assert.deepEqual([status, body], [400, { __type: 'SerializationException', Message }]);
        }
        for (const [value, shown, constraints] of kind.failing) {
          const { status, body } = await kinesis.ask(operation, withValue(valid, path, value));
          const failures = constraints.map(
            (constraint) =>
              `Value '${shown}' at '${shownPath(path)}' failed to satisfy constraint: ${constraint}`,
          );
          const count = `${failures.length} validation error${failures.length > 1 ? 's' : ''}`;
          const message = `${count} detected: ${failures.join('; ')}`;
          assert.deepEqual([status, body], [400, { __type: 'ValidationException', message }]);
        }
      }
    });
  }
  assert.equal(JSON.stringify(log.streams(), showBigInt), before, 'nothing was changed');
  assert.deepEqual(
    logger.lines.filter(({ level }) => level === 'error'),
    [],
  );
});

function showBigInt(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

test('a body that is no structure is refused by every operation', async (t) => {
  const kinesis = await startKinesis(t);
  for (const operation of operations.keys()) {
    for (const body of [[], 'text', 7, null, true]) {
      const answer = await kinesis.ask(operation, body);
      assert.equal(answer.status, 400, operation);
      assert.equal(answer.body['__type'], 'SerializationException', operation);
    }
  }
});

test('every operation on a stream says that there is no such stream, or which one was meant', async (t) => {
  const kinesis = await startKinesis(t);
  for (const [operation, { valid, parameters }] of Object.entries(table)) {
    if (!('StreamName' in parameters) || operation === 'CreateStream') continue;
    const missing = await kinesis.ask(operation, withValue(valid, 'StreamName', 'missing'));
    assert.equal(missing.body['__type'], 'ResourceNotFoundException', operation);
    if (!('StreamARN' in parameters)) continue;
    const neither = await kinesis.ask(operation, withValue(valid, 'StreamName', undefined));
    assert.equal(neither.body['__type'], 'InvalidArgumentException', operation);
    const both = await kinesis.ask(operation, {
      ...valid,
      StreamName: 'one',
      StreamARN: `${arnPrefix}two`,
    });
    assert.equal(both.body['__type'], 'InvalidArgumentException', operation);
    const others = await kinesis.ask(operation, {
      ...withValue(valid, 'StreamName', undefined),
      StreamARN: 'arn:aws:kinesis:us-east-1:123456789012:stream/readings',
    });
    assert.equal(others.body['__type'], 'ResourceNotFoundException', operation);
    assert.match(String(others.body['message']), /under account 123456789012/);
  }
});
