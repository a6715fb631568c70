/**
 * The life of a stream as boto3 and awscli live it, signatures checked. Only the endpoint says that
 * it is not AWS. Skipped where they are not installed.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { createAwsAuthenticator } from '../../../../gateway/security/aws-authenticator.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needs } from '../../../support/tools.ts';
import { accountId, serveKinesis, type Served } from './support.ts';

const run = promisify(execFile);
const key = { accessKeyId: 'AKIATEST', secretAccessKey: 'a-secret-of-a-test' };

async function start(t: TestContext): Promise<Served> {
  const { accessKeyId, secretAccessKey } = key;
  return serveKinesis(t, {
    clock: systemClock,
    authenticator: createAwsAuthenticator({
      ...{ mode: 'sigv4', accountId, region: null, clock: systemClock },
      keys: {
        find: (id) =>
          Promise.resolve(id === accessKeyId ? { name: 'plant', secretAccessKey } : null),
      },
    }),
  });
}

function environment({ server }: Served): NodeJS.ProcessEnv {
  return {
    ...process.env,
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_PAGER: '',
    ENDPOINT: server.url,
  };
}

const boto3Script = `
import boto3, datetime, os, time
k = boto3.client('kinesis', endpoint_url=os.environ['ENDPOINT'])
name = 'readings'

def settled():
    while k.describe_stream_summary(StreamName=name)['StreamDescriptionSummary']['StreamStatus'] != 'ACTIVE':
        time.sleep(0.02)

k.create_stream(StreamName=name, ShardCount=1)
assert k.describe_stream_summary(StreamName=name)['StreamDescriptionSummary']['StreamStatus'] == 'CREATING'
settled()
arn = k.describe_stream(StreamName=name)['StreamDescription']['StreamARN']
assert k.list_streams()['StreamNames'] == [name]
first = k.put_record(StreamName=name, Data=b'one', PartitionKey='k')
many = k.put_records(StreamARN=arn, Records=[{'Data': bytes([n]), 'PartitionKey': 'ü'} for n in range(100)])
assert many['FailedRecordCount'] == 0
shard = first['ShardId']

def read(kind, **more):
    it = k.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)['ShardIterator']
    return k.get_records(ShardIterator=it)

number = first['SequenceNumber']
assert len(read('TRIM_HORIZON')['Records']) == 101
assert len(read('LATEST')['Records']) == 0
assert read('AT_SEQUENCE_NUMBER', StartingSequenceNumber=number)['Records'][0]['Data'] == b'one'
assert len(read('AFTER_SEQUENCE_NUMBER', StartingSequenceNumber=number)['Records']) == 100
then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
back = read('AT_TIMESTAMP', Timestamp=then)['Records']
assert len(back) == 101 and back[0]['ApproximateArrivalTimestamp'] > then
k.add_tags_to_stream(StreamName=name, Tags={'site': 'north'})
assert k.list_tags_for_stream(StreamName=name)['Tags'] == [{'Key': 'site', 'Value': 'north'}]
k.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
settled()
k.split_shard(StreamName=name, ShardToSplit=shard, NewStartingHashKey=str(2 ** 127))
settled()
end = read('LATEST')
assert end.get('NextShardIterator') is None and len(end['ChildShards']) == 2
children = [child['ShardId'] for child in end['ChildShards']]
k.merge_shards(StreamName=name, ShardToMerge=children[0], AdjacentShardToMerge=children[1])
settled()
k.update_shard_count(StreamName=name, TargetShardCount=2, ScalingType='UNIFORM_SCALING')
settled()
page = k.list_shards(StreamName=name, MaxResults=4)
shards = page['Shards'] + k.list_shards(NextToken=page['NextToken'])['Shards']
assert len(shards) == 6
consumer = k.register_stream_consumer(StreamARN=arn, ConsumerName='alarms')['Consumer']
assert k.describe_stream_consumer(ConsumerARN=consumer['ConsumerARN'])['ConsumerDescription']['ConsumerName'] == 'alarms'
k.deregister_stream_consumer(ConsumerARN=consumer['ConsumerARN'])
k.start_stream_encryption(StreamName=name, EncryptionType='KMS', KeyId='alias/aws/kinesis')
settled()
try:
    k.get_records(ShardIterator='forged')
    raise AssertionError('a forged iterator')
except k.exceptions.InvalidArgumentException as error:
    assert error.response['Error']['Message'] == 'Invalid ShardIterator.'
k.delete_stream(StreamName=name)
try:
    while True:
        k.describe_stream(StreamName=name)
        time.sleep(0.02)
except k.exceptions.ResourceNotFoundException:
    print('lived')
`;

test('boto3 lives the life of a stream', async (t) => {
  if (!needs(t, 'python3')) return;
  const hasBoto3 = await run('python3', ['-c', 'import boto3']).then(
    () => true,
    () => false,
  );
  if (!hasBoto3) {
    t.skip('needs boto3, not on this machine');
    return;
  }
  const served = await start(t);
  const { stdout } = await run('python3', ['-c', boto3Script], { env: environment(served) });
  assert.equal(stdout.trim(), 'lived');
});

test('awscli lives the life of a stream', async (t) => {
  if (!needs(t, 'aws')) return;
  const served = await start(t);
  const env = environment(served);
  const aws = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
    const all = ['kinesis', ...args, '--endpoint-url', served.server.url, '--output', 'json'];
    const { stdout } = await run('aws', all, { env });
    return stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>);
  };
  const name = ['--stream-name', 'readings'];
  await aws('create-stream', ...name, '--shard-count', '1');
  await aws('wait', 'stream-exists', ...name);
  // From a file both versions of awscli take bytes as they are.
  const file = join(await temporaryFolder(t), 'record');
  await writeFile(file, 'measured');
  await aws('put-record', ...name, '--partition-key', 'k', '--data', `fileb://${file}`);
  const iterator = await aws(
    ...['get-shard-iterator', ...name, '--shard-id', 'shardId-000000000000'],
    ...['--shard-iterator-type', 'TRIM_HORIZON'],
  );
  const got = await aws('get-records', '--shard-iterator', String(iterator['ShardIterator']));
  assert.deepEqual(
    (got['Records'] as { Data: string }[]).map((record) => record.Data),
    [Buffer.from('measured').toString('base64')],
  );
  await aws(
    ...['split-shard', ...name, '--shard-to-split', 'shardId-000000000000'],
    ...['--new-starting-hash-key', String(2n ** 127n)],
  );
  const { Shards } = await aws('list-shards', ...name);
  assert.equal((Shards as unknown[]).length, 3);
  await aws('delete-stream', ...name);
  await aws('wait', 'stream-not-exists', ...name);
});
