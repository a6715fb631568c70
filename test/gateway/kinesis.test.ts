/** The Kinesis API of a whole gateway: keys, policies, the audit log, and what a restart leaves. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamConsumerCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListStreamsCommand,
  PutRecordCommand,
  PutResourcePolicyCommand,
  RegisterStreamConsumerCommand,
  SplitShardCommand,
  SubscribeToShardCommand,
  waitUntilStreamExists,
} from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { aggregateOf } from '../support/aws-kinesis-agg.ts';
import { GatewayProcess, headgateCommand } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const plant: Key = { accessKeyId: 'AKIAPLANT', secretAccessKey: 'secret-of-the-plant' };
const reader: Key = { accessKeyId: 'AKIAREADER', secretAccessKey: 'secret-of-the-reader' };
const readsOnly =
  '{"Statement": {"Effect": "Allow", "Action": ["kinesis:Get*", "kinesis:ListStreams"], "Resource": "*"}}';

function keysSection(...keys: readonly (Key & { policies?: string })[]): string {
  const entries = keys.map(({ policies = '[]', accessKeyId, secretAccessKey }) =>
    [
      `    - name: ${accessKeyId.toLowerCase()}`,
      `      accessKeyId: ${accessKeyId}`,
      `      secretAccessKey: ${secretAccessKey}`,
      `      policies: ${policies}`,
    ].join('\n'),
  );
  return `auth:\n  keys:\n${entries.join('\n')}`;
}

function client(
  t: TestContext,
  gateway: GatewayProcess,
  credentials: Key,
  protocol: 'h2c' | 'http1' = 'h2c',
): KinesisClient {
  const made = new KinesisClient({
    ...{ region: 'us-east-1', endpoint: gateway.url, credentials, maxAttempts: 1 },
    ...(protocol === 'http1' ? { requestHandler: new NodeHttpHandler() } : {}),
  });
  t.after(() => {
    made.destroy();
  });
  return made;
}

async function audited(gateway: GatewayProcess): Promise<readonly string[]> {
  const text = await readFile(join(gateway.dataFolder, 'audit.log'), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .map(({ action, accessKeyId, outcome, strangers }) =>
      strangers === 1 ? 'a stranger' : [action, accessKeyId, outcome].join(' '),
    );
}

test('a stream made over the API takes and gives records, over restarts', async (t) => {
  const gateway = await GatewayProcess.start(
    ...([t, await temporaryFolder(t), `aws: { accountId: '123456789012' }`] as const),
  );
  // Without a key in the configuration: one that the command makes counts at once.
  const [program, args] = headgateCommand('access-key', 'create', 'plant');
  const { stdout } = await promisify(execFile)(program, args, { cwd: gateway.folder });
  const [, accessKeyId = '', secretAccessKey = ''] = /ID=(.+)\n.+KEY=(.+)\n/.exec(stdout) ?? [];
  const key: Key = { accessKeyId, secretAccessKey };
  const kinesis = client(t, gateway, key);
  await kinesis.send(new CreateStreamCommand({ StreamName: 'readings', ShardCount: 1 }));
  await waitUntilStreamExists(
    { client: kinesis, maxWaitTime: 20, minDelay: 1, maxDelay: 1 },
    {
      StreamName: 'readings',
    },
  );
  const put = new PutRecordCommand({
    ...{ StreamName: 'readings', PartitionKey: 'a', Data: Buffer.from('21.5') },
  });
  const { SequenceNumber } = await kinesis.send(put);
  const { ShardIterator } = await kinesis.send(
    new GetShardIteratorCommand({
      ...{ StreamName: 'readings', ShardId: 'shardId-000000000000' },
      ShardIteratorType: 'TRIM_HORIZON',
    }),
  );
  assert.equal(await gateway.stop(), 0);
  await gateway.restart();

  // The iterator is of the data folder, not of the process.
  const again = client(t, gateway, key, 'http1');
  const { Records = [] } = await again.send(new GetRecordsCommand({ ShardIterator }));
  assert.deepEqual(
    Records.map((record) => [record.SequenceNumber, Buffer.from(record.Data ?? []).toString()]),
    [[SequenceNumber, '21.5']],
  );
  const { StreamSummaries: [summary] = [] } = await again.send(new ListStreamsCommand());
  assert.equal(summary?.StreamARN, 'arn:aws:kinesis:us-east-1:123456789012:stream/readings');
  const { streams } = await gateway.get<{ streams: readonly { name: string }[] }>('/streams');
  assert.deepEqual(
    streams.map(({ name }) => name),
    ['readings'],
  );
  assert.equal(await gateway.stop(), 0);
});

test('records are pushed to a consumer until the gateway stops, and metered', async (t) => {
  const gateway = await GatewayProcess.start(
    ...([t, await temporaryFolder(t), keysSection(plant)] as const),
  );
  const kinesis = client(t, gateway, plant);
  const StreamName = 'readings';
  await kinesis.send(new CreateStreamCommand({ StreamName, ShardCount: 1 }));
  await waitUntilStreamExists(
    { client: kinesis, maxWaitTime: 20, minDelay: 1, maxDelay: 1 },
    { StreamName },
  );
  const StreamARN = `arn:aws:kinesis:us-east-1:000000000000:stream/${StreamName}`;
  const ConsumerARN = await activeConsumer(kinesis, StreamARN);
  const { EventStream = [] } = await kinesis.send(
    new SubscribeToShardCommand({
      ...{ ConsumerARN, ShardId: 'shardId-000000000000' },
      StartingPosition: { Type: 'LATEST' },
    }),
  );
  const Data = Buffer.from('21.5');
  await kinesis.send(new PutRecordCommand({ StreamName, PartitionKey: 'a', Data }));
  const seen: string[] = [];
  for await (const { SubscribeToShardEvent: event } of EventStream) {
    for (const record of event?.Records ?? []) seen.push(Buffer.from(record.Data ?? []).toString());
    if (seen.length === 0) continue;
    const { metrics } = await gateway.get<{ metrics: readonly { name: string; total: number }[] }>(
      `/streams/${StreamName}/metering`,
    );
    const total = (name: string): number | undefined =>
      metrics.find((metric) => metric.name === name)?.total;
    assert.equal(total('IncomingRecords'), 1);
    assert.equal(total('SubscribeToShardEvent.Records'), 1);
    const text = await (await gateway.fetch('/metrics')).text();
    assert.match(text, /^headgate_kinesis_incoming_bytes_total{stream="readings"} 5$/m);
    assert.match(text, /^headgate_kinesis_subscribe_to_shard_event_bytes_total{.+} 4$/m);
    assert.equal(await gateway.stop(), 0);
  }
  assert.deepEqual(seen, ['21.5']);
});

async function activeConsumer(kinesis: KinesisClient, StreamARN: string): Promise<string> {
  const { Consumer } = await kinesis.send(
    new RegisterStreamConsumerCommand({ StreamARN, ConsumerName: 'alarms' }),
  );
  const ConsumerARN = Consumer?.ConsumerARN ?? '';
  for (;;) {
    const { ConsumerDescription } = await kinesis.send(
      new DescribeStreamConsumerCommand({ ConsumerARN }),
    );
    if (ConsumerDescription?.ConsumerStatus === 'ACTIVE') return ConsumerARN;
  }
}

test('what a key may do its policies say and those of the stream, and it is written down', async (t) => {
  const gateway = await GatewayProcess.start(
    ...([t, await temporaryFolder(t)] as const),
    `streams: { readings: { mode: provisioned } }\n${keysSection(plant, { ...reader, policies: `['${readsOnly}']` })}`,
  );
  const admin = client(t, gateway, plant);
  const guest = client(t, gateway, reader, 'http1');
  const put = (): PutRecordCommand =>
    new PutRecordCommand({ StreamName: 'readings', PartitionKey: 'a', Data: Buffer.from('1') });
  const denied = { name: 'AccessDeniedException' };
  const arn = 'arn:aws:kinesis:us-east-1:000000000000:stream/readings';

  await admin.send(put());
  await guest.send(new ListStreamsCommand());
  await assert.rejects(guest.send(put()), denied);
  await assert.rejects(guest.send(new DeleteStreamCommand({ StreamName: 'readings' })), denied);
  const user = 'arn:aws:iam::000000000000:user/akiareader';
  const Policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: {
      ...{ Effect: 'Allow', Principal: { AWS: user }, Action: 'kinesis:PutRecord', Resource: arn },
    },
  });
  await admin.send(new PutResourcePolicyCommand({ ResourceARN: arn, Policy }));
  await guest.send(put());

  const forged = client(t, gateway, { ...plant, secretAccessKey: 'guessed' });
  await assert.rejects(forged.send(new DeleteStreamCommand({ StreamName: 'readings' })), {
    name: 'InvalidSignatureException',
  });
  await assert.rejects(
    admin.send(
      new SplitShardCommand({
        ...{ StreamName: 'readings', ShardToSplit: 'shardId-000000000000' },
        NewStartingHashKey: '0',
      }),
    ),
    { name: 'InvalidArgumentException' },
  );
  assert.equal(await gateway.stop(), 0);
  assert.deepEqual(await audited(gateway), [
    'kinesis:DeleteStream AKIAREADER AccessDeniedException',
    'kinesis:PutResourcePolicy AKIAPLANT ok',
    'a stranger',
    'kinesis:SplitShard AKIAPLANT InvalidArgumentException',
  ]);
  const { mode } = await stat(join(gateway.dataFolder, 'audit.log'));
  assert.equal(mode & 0o777, 0o600);
});

test('the configuration says whether a stream takes aggregates apart', async (t) => {
  const folder = await temporaryFolder(t);
  const streams = 'streams: { readings: { aggregation: split } }';
  const gateway = await GatewayProcess.start(t, folder, `${streams}\n${keysSection(plant)}`);
  const { partitionKey: PartitionKey, data: Data } = aggregateOf(
    ['one', 'two', 'three'].map((text) => ({ partitionKey: text, data: Buffer.from(text) })),
  );
  const put = new PutRecordCommand({ StreamName: 'readings', PartitionKey, Data });
  const stored = async (): Promise<number> => {
    const { records } = await gateway.get<{ records: readonly unknown[] }>(
      '/streams/readings/shards/0/records?position=earliest',
    );
    return records.length;
  };
  await client(t, gateway, plant, 'http1').send(put);
  assert.equal(await stored(), 3);
  assert.equal(await gateway.stop(), 0);

  const path = join(folder, 'headgate.yaml');
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replace(streams, 'streams: { readings: {} }'));
  await gateway.restart();
  await client(t, gateway, plant, 'http1').send(put);
  assert.equal(await stored(), 4);
});

test('keys of the configuration come and go while it runs', async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(t, folder, keysSection(plant));
  const admin = client(t, gateway, plant);
  const guest = client(t, gateway, reader);
  await admin.send(new ListStreamsCommand());
  await assert.rejects(guest.send(new ListStreamsCommand()), {
    name: 'UnrecognizedClientException',
  });

  const path = join(folder, 'headgate.yaml');
  const text = await readFile(path, 'utf8');
  gateway.child.lines.length = 0;
  await writeFile(path, text.replace(keysSection(plant), keysSection(reader)));
  const { input } = await gateway.child.line(/the configuration was loaded again/);
  assert.match(input, /"changed":\["auth\.keys"\]/);
  await guest.send(new ListStreamsCommand());
  await assert.rejects(admin.send(new ListStreamsCommand()), {
    name: 'UnrecognizedClientException',
  });
});

test('in the mode permissive a known key is enough for programs, and for no page', async (t) => {
  const gateway = await GatewayProcess.start(
    ...([t, await temporaryFolder(t)] as const),
    keysSection(plant).replace('auth:', 'auth:\n  mode: permissive'),
  );
  const anySecret = client(t, gateway, { ...plant, secretAccessKey: 'whatever' });
  await anySecret.send(new ListStreamsCommand());
  await assert.rejects(client(t, gateway, reader).send(new ListStreamsCommand()), {
    name: 'UnrecognizedClientException',
  });
  const fromPage = await fetch(gateway.url, {
    method: 'POST',
    headers: {
      'x-amz-target': 'Kinesis_20131202.ListStreams',
      'content-type': 'application/x-amz-json-1.1',
      authorization: `AWS4-HMAC-SHA256 Credential=${plant.accessKeyId}/20260101/us-east-1/kinesis/aws4_request`,
      origin: 'https://elsewhere.example.org',
    },
    body: '{}',
  });
  assert.equal(fromPage.status, 400);
  assert.match(await fromPage.text(), /IncompleteSignatureException|InvalidSignatureException/);
});
