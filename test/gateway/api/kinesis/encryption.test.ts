/** Encryption on request: what it changes of the stream, and whose permission it needs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AwsAuthError } from '../../../../gateway/security/aws-error.ts';
import { createAuthorizer } from '../../../../gateway/security/policies.ts';
import { parsePolicyText } from '../../../../gateway/security/policy-document.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { accountId, arnPrefix, startKinesis, stateMs, type TestKinesis } from './support.ts';

const KeyId = 'alias/plant';
const keyArn = `arn:aws:kms:us-east-1:${accountId}:alias/plant`;
const StreamName = 'readings';

async function change(kinesis: TestKinesis, operation: string, keyId = KeyId): Promise<unknown> {
  const { status, body } = await kinesis.ask(operation, {
    ...{ StreamName, EncryptionType: 'KMS', KeyId: keyId },
  });
  kinesis.clock.advance(stateMs);
  return status === 200 ? 'ok' : body['__type'];
}

async function iteratorOf(kinesis: TestKinesis): Promise<unknown> {
  const { body } = await kinesis.ask('GetShardIterator', {
    ...{ StreamName, ShardId: 'shardId-000000000000', ShardIteratorType: 'TRIM_HORIZON' },
  });
  return body['ShardIterator'];
}

const record = { PartitionKey: 'a', Data: 'AAAA' };

test('a stream is encrypted on disk from the start, and says KMS once a key was named', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.ask('CreateStream', { StreamName, ShardCount: 1 });
  kinesis.clock.advance(stateMs);
  const summary = async (): Promise<readonly unknown[]> => {
    const { body } = await kinesis.ask('DescribeStreamSummary', { StreamName });
    const { EncryptionType, KeyId: keyId } = body['StreamDescriptionSummary'] as {
      EncryptionType: string;
      KeyId?: string;
    };
    return [EncryptionType, keyId, kinesis.log.stream(StreamName).encryption];
  };
  assert.deepEqual(await summary(), ['NONE', undefined, 'aes-256-gcm']);
  assert.equal(await change(kinesis, 'StartStreamEncryption'), 'ok');
  assert.deepEqual(await summary(), ['KMS', KeyId, 'aes-256-gcm']);
  assert.equal(
    await change(kinesis, 'StopStreamEncryption', 'alias/other'),
    'InvalidArgumentException',
  );
  assert.deepEqual(await summary(), ['KMS', KeyId, 'aes-256-gcm']);
  assert.equal(await change(kinesis, 'StopStreamEncryption'), 'ok');
  assert.deepEqual(await summary(), ['NONE', undefined, 'none']);
});

test('producers and consumers need permission for the key that was named, and nobody before', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const ShardIterator = await iteratorOf(kinesis);
  const calls = [
    ['PutRecord', { StreamName, ...record }, 'kms:GenerateDataKey'],
    ['PutRecords', { StreamName, Records: [record] }, 'kms:GenerateDataKey'],
    ['GetRecords', { ShardIterator }, 'kms:Decrypt'],
  ] as const;
  kinesis.denied.add('kms:GenerateDataKey').add('kms:Decrypt');
  for (const [operation, input] of calls) {
    assert.equal((await kinesis.ask(operation, input)).status, 200, operation);
  }
  await change(kinesis, 'StartStreamEncryption');
  const stored = kinesis.log.stream(StreamName).shards[0]!.nextSequence;
  for (const [operation, input, action] of calls) {
    kinesis.asked.length = 0;
    const { status, body } = await kinesis.ask(operation, input);
    assert.deepEqual([status, body['__type']], [400, 'KMSAccessDeniedException'], operation);
    assert.ok(String(body['message']).includes(`perform: ${action} on resource: ${keyArn}`));
    assert.deepEqual(
      kinesis.asked.map(({ action: asked, resource }) => [asked, resource]),
      [
        [`kinesis:${operation}`, `${arnPrefix}${StreamName}`],
        [action, keyArn],
      ],
    );
    assert.equal(
      kinesis.asked[1]?.facts['kms:EncryptionContext:aws:kinesis:arn'],
      `${arnPrefix}${StreamName}`,
    );
  }
  assert.equal(kinesis.log.stream(StreamName).shards[0]!.nextSequence, stored, 'nothing written');
  const registered = await kinesis.ask('RegisterStreamConsumer', {
    ...{ StreamARN: `${arnPrefix}${StreamName}`, ConsumerName: 'alarms' },
  });
  kinesis.clock.advance(stateMs);
  const { ConsumerARN } = registered.body['Consumer'] as { ConsumerARN: string };
  const subscribed = await kinesis.ask('SubscribeToShard', {
    ...{ ConsumerARN, ShardId: 'shardId-000000000000' },
    StartingPosition: { Type: 'TRIM_HORIZON' },
  });
  assert.equal(subscribed.body['__type'], 'KMSAccessDeniedException');
  // Neither is asked of who does neither.
  assert.equal(typeof (await iteratorOf(kinesis)), 'string');
  kinesis.denied.clear();
  for (const [operation, input] of calls) {
    assert.equal((await kinesis.ask(operation, input)).status, 200, operation);
  }
  kinesis.denied.add('kms:GenerateDataKey').add('kms:Decrypt');
  await change(kinesis, 'StopStreamEncryption');
  for (const [operation, input] of calls) {
    assert.equal((await kinesis.ask(operation, input)).status, 200, operation);
  }
});

test('a key is named by its ARN, its alias or its id', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const id = '1234abcd-12ab-34cd-56ef-1234567890ab';
  for (const [keyId, arn] of [
    ['alias/aws/kinesis', `arn:aws:kms:us-east-1:${accountId}:alias/aws/kinesis`],
    [id, `arn:aws:kms:us-east-1:${accountId}:key/${id}`],
    [
      `arn:aws:kms:eu-west-1:111122223333:key/${id}`,
      `arn:aws:kms:eu-west-1:111122223333:key/${id}`,
    ],
  ] as const) {
    await change(kinesis, 'StartStreamEncryption', keyId);
    kinesis.asked.length = 0;
    await kinesis.ask('PutRecord', { StreamName, ...record });
    assert.equal(kinesis.asked[1]?.resource, arn);
  }
});

test('policies may hold a key to streams, by the service and the stream that it is used for', () => {
  const policy = parsePolicyText(
    JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Action: 'kinesis:*', Resource: '*' },
        {
          ...{ Effect: 'Allow', Action: 'kms:Decrypt', Resource: keyArn },
          Condition: {
            StringEquals: {
              'kms:EncryptionContext:aws:kinesis:arn': `${arnPrefix}readings`,
              'kms:ViaService': 'kinesis.us-east-1.amazonaws.com',
            },
          },
        },
      ],
    }),
    'identity',
  );
  const authorizer = createAuthorizer({
    keys: { policiesOf: () => [policy] },
    clock: new ManualClock(),
  });
  const caller = { accessKeyId: 'AKIA', arn: 'arn:aws:iam::000000000000:user/a', name: 'a' };
  const decrypt = (stream: string): void => {
    authorizer.authorize(caller, 'kms:Decrypt', keyArn, {
      'kms:ViaService': 'kinesis.us-east-1.amazonaws.com',
      'kms:EncryptionContext:aws:kinesis:arn': `${arnPrefix}${stream}`,
    });
  };
  decrypt('readings');
  assert.throws(() => {
    decrypt('others');
  }, AwsAuthError);
});
