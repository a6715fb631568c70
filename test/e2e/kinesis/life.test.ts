/**
 * The whole life of a stream, from its making to its end, as the clients that AWS gives out live it
 * against a gateway that checks signatures: the JavaScript SDK, boto3 and awscli, the latter two as
 * Debian packages them.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { compiled } from '../../support/program.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { findProgram, needs } from '../../support/tools.ts';
import { run, startGateway, startTlsGateway, type KinesisGateway } from './rig.ts';

/** Debian's, even where another one is first in PATH; that one where Debian's is not installed. */
function debian(name: string): string {
  return findProgram(name, '/usr/bin') ?? name;
}

async function liveWithSdk(started: KinesisGateway, protocol: 'http1' | 'http2'): Promise<void> {
  const program = join(import.meta.dirname, 'sdk-life.ts');
  const args = [compiled(program), started.endpoint, protocol];
  const { stdout } = await run(process.execPath, args, { env: started.environment });
  assert.equal(stdout.trim(), 'lived');
}

test('in plaintext', async (t) => {
  const started = await startGateway(t);
  for (const protocol of ['http2', 'http1'] as const) {
    await t.test(`the JavaScript SDK lives the life of a stream over ${protocol}`, async () => {
      await liveWithSdk(started, protocol);
    });
  }
  await t.test('awscli lives the life of a stream', async (t) => {
    if (!needs(t, 'aws')) return;
    await liveWithCli(new Cli(started), await temporaryFolder(t));
  });
});

test('over TLS', async (t) => {
  if (!needs(t, 'openssl')) return;
  const started = await startTlsGateway(t);
  await t.test('the JavaScript SDK lives the life of a stream over http2', async () => {
    await liveWithSdk(started, 'http2');
  });
  await t.test('boto3 lives the life of a stream over http1', async (t) => {
    if (!needs(t, 'python3')) return;
    const python = debian('python3');
    const hasBoto3 = await run(python, ['-c', 'import boto3']).then(
      () => true,
      () => false,
    );
    if (!hasBoto3) {
      t.skip('needs python3-boto3, not on this machine');
      return;
    }
    const { stdout } = await run(python, [join(import.meta.dirname, 'life.py')], {
      env: { ...started.environment, ENDPOINT: started.endpoint, PYTHONDONTWRITEBYTECODE: '1' },
    });
    assert.equal(stdout.trim(), 'lived');
  });
});

const name = ['--stream-name', 'readings'];
const shardId = 'shardId-000000000000';

type Answer = Readonly<Record<string, unknown>>;

class Cli {
  readonly #started: KinesisGateway;

  constructor(started: KinesisGateway) {
    this.#started = started;
  }

  /** What `aws kinesis …` answers. */
  async ask(...args: readonly string[]): Promise<Answer> {
    const { endpoint, environment } = this.#started;
    const all = ['kinesis', ...args, '--endpoint-url', endpoint, '--output', 'json'];
    const { stdout } = await run(debian('aws'), all, { env: environment });
    return stdout === '' ? {} : (JSON.parse(stdout) as Answer);
  }

  /** The stream, once nothing is happening to it. */
  async settled(): Promise<Answer> {
    for (;;) {
      const answer = await this.ask('describe-stream-summary', ...name);
      const summary = answer['StreamDescriptionSummary'] as Answer;
      if (summary['StreamStatus'] === 'ACTIVE') return summary;
    }
  }

  /** What the records are, read through an iterator. */
  async read(type: string, ...start: readonly string[]): Promise<string[]> {
    const iterator = await this.ask(
      ...['get-shard-iterator', ...name, '--shard-id', shardId],
      ...['--shard-iterator-type', type, ...start],
    );
    const got = await this.ask(
      'get-records',
      '--shard-iterator',
      String(iterator['ShardIterator']),
    );
    return (got['Records'] as { Data: string }[]).map(({ Data }) =>
      Buffer.from(Data, 'base64').toString(),
    );
  }
}

async function liveWithCli(cli: Cli, folder: string): Promise<void> {
  // Create.
  await cli.ask('create-stream', ...name, '--shard-count', '1');
  await cli.ask('wait', 'stream-exists', ...name);
  const arn = String((await cli.settled())['StreamARN']);

  // Put, and read by all five types of iterators. From a file every version takes bytes as they are.
  const numbers: string[] = [];
  for (const text of ['first', 'second']) {
    const file = join(folder, text);
    await writeFile(file, text);
    const data = ['--partition-key', 'k', '--data', `fileb://${file}`];
    numbers.push(String((await cli.ask('put-record', ...name, ...data))['SequenceNumber']));
  }
  const from = ['--starting-sequence-number', numbers[0] ?? ''];
  assert.deepEqual(await cli.read('TRIM_HORIZON'), ['first', 'second']);
  assert.deepEqual(await cli.read('LATEST'), []);
  assert.deepEqual(await cli.read('AT_SEQUENCE_NUMBER', ...from), ['first', 'second']);
  assert.deepEqual(await cli.read('AFTER_SEQUENCE_NUMBER', ...from), ['second']);
  const minuteAgo = new Date(Date.now() - 60_000).toISOString();
  assert.deepEqual(await cli.read('AT_TIMESTAMP', '--timestamp', minuteAgo), ['first', 'second']);

  // Tag, retention.
  await cli.ask('add-tags-to-stream', ...name, '--tags', 'site=north');
  assert.deepEqual((await cli.ask('list-tags-for-stream', ...name))['Tags'], [
    { Key: 'site', Value: 'north' },
  ]);
  await cli.ask(...['increase-stream-retention-period', ...name, '--retention-period-hours', '48']);
  assert.equal((await cli.settled())['RetentionPeriodHours'], 48);

  // Encrypt.
  const key = ['--encryption-type', 'KMS', '--key-id', 'alias/aws/kinesis'];
  await cli.ask('start-stream-encryption', ...name, ...key);
  assert.equal((await cli.settled())['EncryptionType'], 'KMS');
  assert.deepEqual(await cli.read('TRIM_HORIZON'), ['first', 'second']);

  // Split, merge, update the shard count.
  const half = ['--new-starting-hash-key', String(2n ** 127n)];
  await cli.ask('split-shard', ...name, '--shard-to-split', shardId, ...half);
  assert.equal((await cli.settled())['OpenShardCount'], 2);
  await cli.ask(
    ...['merge-shards', ...name, '--shard-to-merge', 'shardId-000000000001'],
    ...['--adjacent-shard-to-merge', 'shardId-000000000002'],
  );
  await cli.settled();
  const count = ['--target-shard-count', '2', '--scaling-type', 'UNIFORM_SCALING'];
  await cli.ask('update-shard-count', ...name, ...count);
  await cli.settled();
  assert.equal(((await cli.ask('list-shards', ...name))['Shards'] as unknown[]).length, 6);

  // Register a consumer. To subscribe is not in it: no version has that command, AWS leaves it out.
  const consumer = ['--stream-arn', arn, '--consumer-name', 'alarms'];
  await cli.ask('register-stream-consumer', ...consumer);
  const { Consumers } = await cli.ask('list-stream-consumers', '--stream-arn', arn);
  assert.equal((Consumers as unknown[]).length, 1);
  await cli.ask('deregister-stream-consumer', ...consumer);

  // Delete.
  await cli.ask('delete-stream', ...name);
  await cli.ask('wait', 'stream-not-exists', ...name);
}
