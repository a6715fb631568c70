/** Delivery streams: made, described, listed, redirected, tagged, deleted, and there after a restart. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  CreateDeliveryStreamCommand,
  DeleteDeliveryStreamCommand,
  DescribeDeliveryStreamCommand,
  ListDeliveryStreamsCommand,
  ListTagsForDeliveryStreamCommand,
  PutRecordCommand,
  StartDeliveryStreamEncryptionCommand,
  StopDeliveryStreamEncryptionCommand,
  TagDeliveryStreamCommand,
  UntagDeliveryStreamCommand,
  UpdateDestinationCommand,
  type CreateDeliveryStreamCommandInput,
  type DeliveryStreamDescription,
  type UpdateDestinationCommandInput,
} from '@aws-sdk/client-firehose';
import { firehose } from '../../../../gateway/config/firehose.ts';
import { applicationsOf } from '../../../../gateway/forward/applications.ts';
import {
  accountId,
  bucketsAllowed,
  errorOf,
  recordsIn,
  role,
  serveFirehose,
  stateMs,
  type Served,
} from './support.ts';

const bucket = { RoleARN: role, BucketARN: 'arn:aws:s3:::archive' };
const endpoint = {
  EndpointConfiguration: { Url: 'https://logs.example.net:8088/', AccessKey: 'hush-hush' },
  S3Configuration: bucket,
};

async function create(
  { client, clock }: Served,
  DeliveryStreamName: string,
  more: Partial<CreateDeliveryStreamCommandInput> = { ExtendedS3DestinationConfiguration: bucket },
): Promise<void> {
  await client.send(new CreateDeliveryStreamCommand({ DeliveryStreamName, ...more }));
  clock.advance(stateMs);
}

async function describeStream(
  { client }: Served,
  DeliveryStreamName: string,
): Promise<DeliveryStreamDescription> {
  const answer = await client.send(new DescribeDeliveryStreamCommand({ DeliveryStreamName }));
  assert.ok(answer.DeliveryStreamDescription !== undefined);
  return answer.DeliveryStreamDescription;
}

function put({ client }: Served, DeliveryStreamName: string, text: string): Promise<unknown> {
  return client.send(
    new PutRecordCommand({ DeliveryStreamName, Record: { Data: Buffer.from(text) } }),
  );
}

describe('a delivery stream', () => {
  test('is CREATING, then ACTIVE, and runs as a delivery', async (t) => {
    const served = await serveFirehose(t);
    const { client, clock } = served;
    const { DeliveryStreamARN } = await client.send(
      new CreateDeliveryStreamCommand({
        DeliveryStreamName: 'orders',
        ExtendedS3DestinationConfiguration: {
          ...bucket,
          Prefix: 'orders/',
          BufferingHints: { SizeInMBs: 7, IntervalInSeconds: 90 },
          CompressionFormat: 'GZIP',
        },
        Tags: [{ Key: 'site', Value: 'north' }],
      }),
    );
    assert.equal(
      DeliveryStreamARN,
      `arn:aws:firehose:us-east-1:${accountId}:deliverystream/orders`,
    );
    assert.equal((await describeStream(served, 'orders')).DeliveryStreamStatus, 'CREATING');
    assert.match(await errorOf(put(served, 'orders', 'early')), /^ResourceNotFoundException/);
    clock.advance(stateMs);
    const description = await describeStream(served, 'orders');
    assert.equal(description.DeliveryStreamStatus, 'ACTIVE');
    assert.equal(description.VersionId, '1');
    assert.equal(description.DeliveryStreamType, 'DirectPut');
    assert.equal(description.CreateTimestamp?.getTime(), clock.nowMs() - stateMs);
    assert.deepEqual(description.DeliveryStreamEncryptionConfiguration, { Status: 'DISABLED' });
    const [destination, ...more] = description.Destinations ?? [];
    assert.deepEqual(more, []);
    assert.equal(destination?.DestinationId, 'destinationId-000000000001');
    const shown = destination.ExtendedS3DestinationDescription;
    assert.deepEqual(
      [shown?.BucketARN, shown?.Prefix, shown?.CompressionFormat, shown?.BufferingHints],
      ['arn:aws:s3:::archive', 'orders/', 'GZIP', { SizeInMBs: 7, IntervalInSeconds: 90 }],
    );
    const [delivery] = served.running();
    assert.equal(delivery?.name, 'orders');
    assert.deepEqual(delivery.from, { stream: 'firehose.orders' });
    assert.deepEqual(delivery.buffer, { maxBytes: 7 * 2 ** 20, maxSeconds: 90 });
    assert.ok('s3' in delivery.to);
    assert.equal(delivery.to.s3.bucket, 'archive');
    assert.equal(delivery.to.s3.endpoint, 'http://127.0.0.1:9');
    assert.equal(delivery.startAt, 'earliest');
  });

  test('is there after a restart, with what was put, its tags and its version', async (t) => {
    const first = await serveFirehose(t);
    await create(first, 'orders', {
      ExtendedS3DestinationConfiguration: bucket,
      Tags: [{ Key: 'a', Value: 'b' }],
    });
    await put(first, 'orders', 'one');
    await first.client.send(
      new UpdateDestinationCommand({
        DeliveryStreamName: 'orders',
        CurrentDeliveryStreamVersionId: '1',
        DestinationId: 'destinationId-000000000001',
        ExtendedS3DestinationUpdate: { BucketARN: 'arn:aws:s3:::other' },
      }),
    );
    const ran = first.running();
    await first.close();
    const second = await serveFirehose(t, { folder: first.folder });
    assert.deepEqual(second.running(), ran);
    const description = await describeStream(second, 'orders');
    assert.equal(description.VersionId, '2');
    assert.equal(
      description.Destinations?.[0]?.S3DestinationDescription?.BucketARN,
      'arn:aws:s3:::other',
    );
    await put(second, 'orders', 'two');
    assert.deepEqual(await recordsIn(second, 'firehose.orders'), ['one', 'two']);
    const { Tags } = await second.client.send(
      new ListTagsForDeliveryStreamCommand({ DeliveryStreamName: 'orders' }),
    );
    assert.deepEqual(Tags, [{ Key: 'a', Value: 'b' }]);
  });

  test('goes with its records, and its name is free once it is gone', async (t) => {
    const served = await serveFirehose(t);
    const { client, clock, store } = served;
    await create(served, 'orders');
    await put(served, 'orders', 'one');
    await client.send(new DeleteDeliveryStreamCommand({ DeliveryStreamName: 'orders' }));
    assert.equal((await describeStream(served, 'orders')).DeliveryStreamStatus, 'DELETING');
    assert.match(await errorOf(create(served, 'orders')), /^ResourceInUseException/);
    assert.match(
      await errorOf(client.send(new DeleteDeliveryStreamCommand({ DeliveryStreamName: 'orders' }))),
      /^ResourceInUseException/,
    );
    assert.deepEqual(served.running(), []);
    assert.deepEqual(served.forgotten, ['orders']);
    assert.deepEqual(store.log.streams(), []);
    clock.advance(stateMs);
    assert.match(
      await errorOf(describeStream(served, 'orders')),
      /^ResourceNotFoundException: Firehose orders under account \d+ not found\./,
    );
    await create(served, 'orders');
    assert.deepEqual(await recordsIn(served, 'firehose.orders'), []);
  });

  test('reads a stream that is there, takes no puts then, and leaves the stream', async (t) => {
    const served = await serveFirehose(t);
    const { client, store } = served;
    await store.log.createStream({
      ...{ name: 'readings', shardCount: 2, mode: 'on-demand', retentionMs: 3_600_000 },
      ...{ maxBytes: null, whenFull: 'refuse' },
    });
    const arn = `arn:aws:kinesis:us-east-1:${accountId}:stream/readings`;
    const source = { KinesisStreamARN: arn, RoleARN: role };
    const more = {
      DeliveryStreamType: 'KinesisStreamAsSource',
      ExtendedS3DestinationConfiguration: bucket,
    } as const;
    await create(served, 'copy', { ...more, KinesisStreamSourceConfiguration: source });
    assert.equal(
      await errorOf(put(served, 'copy', 'one')),
      'InvalidArgumentException: This operation is not permitted on KinesisStreamAsSource delivery stream type.',
    );
    const description = await describeStream(served, 'copy');
    assert.equal(description.Source?.KinesisStreamSourceDescription?.KinesisStreamARN, arn);
    assert.equal(description.Source.KinesisStreamSourceDescription.RoleARN, role);
    assert.equal(served.running()[0]?.startAt, 'latest');
    assert.match(
      await errorOf(
        client.send(new StartDeliveryStreamEncryptionCommand({ DeliveryStreamName: 'copy' })),
      ),
      /^InvalidArgumentException/,
    );
    await client.send(new DeleteDeliveryStreamCommand({ DeliveryStreamName: 'copy' }));
    assert.deepEqual(
      store.log.streams().map(({ name }) => name),
      ['readings'],
    );
    for (const KinesisStreamARN of [
      `arn:aws:kinesis:us-east-1:${accountId}:stream/none`,
      'arn:aws:kinesis:us-east-1:999999999999:stream/readings',
      'arn:aws:s3:::readings',
    ]) {
      const elsewhere = { ...source, KinesisStreamARN };
      assert.match(
        await errorOf(
          create(served, 'elsewhere', { ...more, KinesisStreamSourceConfiguration: elsewhere }),
        ),
        /^InvalidArgumentException: There is no stream/,
      );
    }
  });

  test('is redirected by who knows its version, and keeps what is not said', async (t) => {
    const served = await serveFirehose(t);
    await create(served, 'orders', {
      ExtendedS3DestinationConfiguration: { ...bucket, Prefix: 'a/', CompressionFormat: 'ZIP' },
    });
    const update = (version: string, DestinationId = 'destinationId-000000000001') =>
      served.client.send(
        new UpdateDestinationCommand({
          ...{ DeliveryStreamName: 'orders', DestinationId },
          CurrentDeliveryStreamVersionId: version,
          ExtendedS3DestinationUpdate: { Prefix: 'b/' },
        }),
      );
    assert.equal(
      await errorOf(update('7')),
      'ConcurrentModificationException: Cannot update firehose: orders since the current version id: 1 and specified version id: 7 do not match',
    );
    assert.match(await errorOf(update('1', 'other')), /^InvalidArgumentException/);
    await update('1');
    const [delivery] = served.running();
    assert.ok(delivery !== undefined && 's3' in delivery.to);
    assert.equal(delivery.to.s3.prefix, 'b/');
    assert.equal(delivery.format?.compression, 'zip');
    assert.equal(delivery.version, 2);
    const { VersionId, LastUpdateTimestamp } = await describeStream(served, 'orders');
    assert.deepEqual([VersionId, LastUpdateTimestamp?.getTime()], ['2', served.clock.nowMs()]);
  });

  test('keeps what is put as it came, told of and kept over a restart, and never ends that', async (t) => {
    const first = await serveFirehose(t);
    const other = { RoleARN: role, BucketARN: 'arn:aws:s3:::other' };
    await create(first, 'bucket', { ExtendedS3DestinationConfiguration: bucket });
    await create(first, 'endpoint', {
      HttpEndpointDestinationConfiguration: { ...endpoint, S3BackupMode: 'AllData' },
    });
    await create(first, 'search', {
      AmazonopensearchserviceDestinationConfiguration: {
        ...{ RoleARN: role, IndexName: 'orders', ClusterEndpoint: 'https://search.example.net' },
        ...{ S3Configuration: bucket, S3BackupMode: 'AllDocuments' },
      },
    });
    const update = (
      { client }: Served,
      DeliveryStreamName: string,
      CurrentDeliveryStreamVersionId: string,
      change: Partial<UpdateDestinationCommandInput>,
    ): Promise<unknown> =>
      client.send(
        new UpdateDestinationCommand({
          ...{ DeliveryStreamName, CurrentDeliveryStreamVersionId, ...change },
          DestinationId: 'destinationId-000000000001',
        }),
      );
    const ending = 'InvalidArgumentException: Disabling S3 backup is not currently supported.';
    assert.match(
      await errorOf(
        update(first, 'bucket', '1', { ExtendedS3DestinationUpdate: { S3BackupMode: 'Enabled' } }),
      ),
      /^InvalidArgumentException: ExtendedS3DestinationUpdate\.S3BackupUpdate: is needed/,
    );
    await update(first, 'bucket', '1', {
      ExtendedS3DestinationUpdate: {
        ...{ S3BackupMode: 'Enabled', S3BackupUpdate: { ...other, Prefix: 'a/' } },
      },
    });
    await update(first, 'bucket', '2', {
      ExtendedS3DestinationUpdate: { S3BackupUpdate: { Prefix: 'b/' } },
    });
    for (const [name, version, change] of [
      ['bucket', '3', { ExtendedS3DestinationUpdate: { S3BackupMode: 'Disabled' } }],
      ['endpoint', '1', { HttpEndpointDestinationUpdate: { S3BackupMode: 'FailedDataOnly' } }],
    ] as const) {
      assert.equal(await errorOf(update(first, name, version, change)), ending);
    }
    await update(first, 'search', '1', {
      AmazonopensearchserviceDestinationUpdate: { S3Update: { Prefix: 'c/' } },
    });
    const ran = first.running();
    await first.close();

    const second = await serveFirehose(t, { folder: first.folder });
    assert.deepEqual(second.running(), ran);
    assert.deepEqual(
      ran.map(({ name, backup }) => {
        assert.ok(backup !== undefined && backup !== null && 's3' in backup.to, name);
        return [name, backup.to.s3.bucket, backup.to.s3.prefix];
      }),
      [
        ['bucket', 'other', 'b/'],
        ['endpoint', 'archive', ''],
        ['search', 'archive', 'c/'],
      ],
    );
    const [ofBucket] = (await describeStream(second, 'bucket')).Destinations ?? [];
    const { S3BackupMode, S3BackupDescription } = ofBucket?.ExtendedS3DestinationDescription ?? {};
    assert.deepEqual(
      [S3BackupMode, S3BackupDescription?.BucketARN, S3BackupDescription?.Prefix],
      ['Enabled', 'arn:aws:s3:::other', 'b/'],
    );
    const [ofEndpoint] = (await describeStream(second, 'endpoint')).Destinations ?? [];
    const { HttpEndpointDestinationDescription: told } = ofEndpoint ?? {};
    assert.deepEqual(
      [told?.S3BackupMode, told?.S3DestinationDescription?.BucketARN],
      ['AllData', 'arn:aws:s3:::archive'],
    );
    const [ofSearch] = (await describeStream(second, 'search')).Destinations ?? [];
    assert.equal(
      ofSearch?.AmazonopensearchserviceDestinationDescription?.S3BackupMode,
      'AllDocuments',
    );

    // Of another kind nothing stays, the backup included: how far it was is forgotten with it.
    await update(second, 'endpoint', '1', {
      ExtendedS3DestinationUpdate: { RoleARN: role, BucketARN: 'arn:aws:s3:::other' },
    });
    assert.deepEqual(second.forgotten, ['endpoint.backup', 'endpoint.failed']);
    assert.deepEqual(
      second.running().map(({ name, backup }) => [name, backup !== null]),
      [
        ['bucket', true],
        ['endpoint', false],
        ['search', true],
      ],
    );
  });

  test('can not be called what a backup is', async (t) => {
    const served = await serveFirehose(t);
    assert.match(
      await errorOf(create(served, 'orders.backup')),
      /^InvalidArgumentException: orders\.backup is what the backup of another/,
    );
    assert.match(
      await errorOf(create(served, 'orders.failed')),
      /^InvalidArgumentException: orders\.failed is what that is called here which keeps the failed records of another/,
    );
    assert.deepEqual(served.streams.all(), []);
  });

  test('has what fails in a bucket that is allowed, or is refused', async (t) => {
    const secret = { ...bucket, BucketARN: 'arn:aws:s3:::secret' };
    const withBucket = (S3Configuration: typeof bucket) => ({
      HttpEndpointDestinationConfiguration: { ...endpoint, S3Configuration },
    });
    const served = await serveFirehose(t);
    assert.match(
      await errorOf(create(served, 'orders', withBucket(secret))),
      /secret is not among/,
    );
    await create(served, 'orders', withBucket(bucket));
    const update = (HttpEndpointDestinationUpdate: object): Promise<unknown> =>
      served.client.send(
        new UpdateDestinationCommand({
          ...{ DeliveryStreamName: 'orders', CurrentDeliveryStreamVersionId: '1' },
          ...{ DestinationId: 'destinationId-000000000001', HttpEndpointDestinationUpdate },
        }),
      );
    assert.match(await errorOf(update({ S3Update: secret })), /secret is not among/);
    const [delivery] = served.running();
    assert.ok(delivery?.failed && 's3' in delivery.failed.to);
    assert.equal(delivery.failed.to.s3.bucket, 'archive');
  });

  test('is sent where the bucket for what fails is not allowed, and says so', async (t) => {
    const first = await serveFirehose(t);
    await create(first, 'orders', { HttpEndpointDestinationConfiguration: endpoint });
    await first.close();
    const { allowed } = bucketsAllowed;
    const places = { ...bucketsAllowed, allowed: { ...allowed, buckets: [] } };
    const second = await serveFirehose(t, { folder: first.folder, places });
    assert.deepEqual(
      second.running().map(({ name, withheld }) => [name, withheld ?? null]),
      [['orders', null]],
    );
    assert.match(
      second.running()[0]?.failed?.withheld ?? '',
      /^S3Configuration\.BucketARN: The bucket archive is not/,
    );
    const { FailureDescription } = await describeStream(second, 'orders');
    assert.match(
      FailureDescription?.Details ?? '',
      /^Records that fail are kept in the stream failed\.orders alone\. S3Configuration\.BucketARN: The bucket archive is not/,
    );
    const ofFailed = /^a delivery stream is sent, but what of it fails goes into no bucket/;
    assert.ok(second.logger.lines.some(({ message }) => ofFailed.test(message)));
    // What else is changed does not ask for it.
    await second.client.send(
      new UpdateDestinationCommand({
        ...{ DeliveryStreamName: 'orders', CurrentDeliveryStreamVersionId: '1' },
        DestinationId: 'destinationId-000000000001',
        HttpEndpointDestinationUpdate: { RetryOptions: { DurationInSeconds: 7 } },
      }),
    );
    assert.equal(second.running()[0]?.retrySeconds, 7);
    await second.close();
    const third = await serveFirehose(t, { folder: first.folder });
    const { failed = null } = third.running()[0] ?? {};
    assert.equal(failed === null ? 'none' : (failed.withheld ?? null), null);
    assert.equal((await describeStream(third, 'orders')).FailureDescription, undefined);
  });

  test('is changed by one of many who know the same version', async (t) => {
    const served = await serveFirehose(t);
    await create(served, 'orders');
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        errorOf(
          served.client.send(
            new UpdateDestinationCommand({
              DeliveryStreamName: 'orders',
              CurrentDeliveryStreamVersionId: '1',
              DestinationId: 'destinationId-000000000001',
              ExtendedS3DestinationUpdate: { Prefix: `${index}/` },
            }),
          ),
        ),
      ),
    );
    const lost = outcomes.filter((outcome) => outcome.startsWith('ConcurrentModification'));
    assert.equal(lost.length, 7);
    assert.equal(outcomes.filter((outcome) => outcome === 'none').length, 1);
  });

  test('is not made where a removed delivery of its name has left something', async (t) => {
    const served = await serveFirehose(t);
    const { applications } = served.store.log;
    const left = applicationsOf('orders')[1]!;
    await applications.ensure({ name: left, required: false });
    assert.match(
      await errorOf(create(served, 'orders')),
      /^ResourceInUseException: .*"headgate delivery forget orders" lets go of it/,
    );
    await applications.remove(left);
    await create(served, 'orders');
  });

  test('is refused where it is there, where there are too many, or without one destination', async (t) => {
    const served = await serveFirehose(t, { streamsMax: 2 });
    await create(served, 'one');
    assert.equal(
      await errorOf(create(served, 'one')),
      `ResourceInUseException: Firehose one under accountId ${accountId} already exists`,
    );
    for (const more of [
      {},
      {
        ExtendedS3DestinationConfiguration: bucket,
        HttpEndpointDestinationConfiguration: endpoint,
      },
    ]) {
      assert.match(
        await errorOf(create(served, 'two', more)),
        /^InvalidArgumentException: Exactly/,
      );
    }
    await create(served, 'two');
    assert.match(await errorOf(create(served, 'three')), /^LimitExceededException/);
    assert.equal(served.store.log.streams().length, 2);
  });

  test('gets no stream that somebody else has', async (t) => {
    const served = await serveFirehose(t);
    await served.store.log.createStream({
      ...{ name: 'firehose.orders', shardCount: 1, mode: 'on-demand', retentionMs: 3_600_000 },
      ...{ maxBytes: null, whenFull: 'refuse' },
    });
    assert.match(await errorOf(create(served, 'orders')), /^ResourceInUseException: The stream/);
    assert.match(await errorOf(describeStream(served, 'orders')), /^ResourceNotFound/);
  });

  test('left behind by a crash is put in order', async (t) => {
    const first = await serveFirehose(t);
    await create(first, 'gone');
    await create(first, 'kept');
    await put(first, 'kept', 'one');
    const { log } = first.store;
    // As a crash leaves it between the steps of a deletion, and of a creation.
    await log.createStream({ ...log.stream('firehose.gone'), name: 'firehose.orphan' });
    await log.setAttribute('firehose.orphan', 'firehose', { deliveryStream: 'orphan' });
    await log.deleteStream('firehose.gone');
    await first.close();
    const second = await serveFirehose(t, { folder: first.folder });
    assert.deepEqual(
      second.store.log
        .streams()
        .map(({ name }) => name)
        .sort(),
      ['firehose.gone', 'firehose.kept'],
    );
    await put(second, 'gone', 'again');
    assert.deepEqual(await recordsIn(second, 'firehose.kept'), ['one']);
    assert.deepEqual(second.forgotten, ['orphan'], 'what of it had failed goes, too');
  });

  test('keeps its records where what is kept of it is not understood', async (t) => {
    const first = await serveFirehose(t);
    await create(first, 'orders');
    await put(first, 'orders', 'one');
    const body = JSON.stringify({ made: { type: 'OfLater' } });
    const decided = { body, bytes: body.length, entries: null, result: undefined };
    const key = { hash: Buffer.from('orders'), range: Buffer.alloc(0) };
    await first.store.items.change('headgate:firehose', key, () => decided, body.length);
    await first.close();
    const second = await serveFirehose(t, { folder: first.folder });
    assert.deepEqual(second.running(), []);
    assert.deepEqual(await recordsIn(second, 'firehose.orders'), ['one']);
    assert.deepEqual(second.forgotten, []);
  });

  test('waits where its bucket is not allowed any more, says so, and goes on once it is', async (t) => {
    const first = await serveFirehose(t);
    await create(first, 'orders', {
      ExtendedS3DestinationConfiguration: {
        ...{ ...bucket, S3BackupMode: 'Enabled' },
        S3BackupConfiguration: { RoleARN: role, BucketARN: 'arn:aws:s3:::other' },
      },
    });
    await create(first, 'others', {
      ExtendedS3DestinationConfiguration: { RoleARN: role, BucketARN: 'arn:aws:s3:::other' },
    });
    const ran = first.running();
    await first.close();
    const places = firehose.parse({ allowed: { buckets: ['other'] } });
    const second = await serveFirehose(t, { folder: first.folder, places });
    const [waiting, ...others] = second.running();
    const reason =
      'ExtendedS3DestinationConfiguration.BucketARN: The bucket archive is not among those that the gateway may write to (firehose.allowed.buckets).';
    assert.ok(waiting !== undefined && 's3' in waiting.to);
    const { name, origin, withheld, from, to, backup } = waiting;
    assert.deepEqual(
      [name, origin, withheld, from, to.s3.bucket],
      ['orders', 'firehose', reason, { stream: 'firehose.orders' }, 'archive'],
    );
    assert.ok(backup !== null && backup !== undefined && 's3' in backup.to);
    assert.equal(backup.to.s3.bucket, 'other');
    assert.deepEqual(
      others.map(({ name, withheld = null }) => [name, withheld]),
      [['others', null]],
    );
    const { FailureDescription, DeliveryStreamStatus } = await describeStream(second, 'orders');
    assert.equal(DeliveryStreamStatus, 'ACTIVE');
    assert.equal(FailureDescription?.Details, reason);
    await put(second, 'orders', 'one');
    await second.close();
    const third = await serveFirehose(t, { folder: first.folder });
    assert.deepEqual(third.running(), ran);
    assert.deepEqual(await recordsIn(third, 'firehose.orders'), ['one']);
  });

  test('that waits is changed in all but where it may not send', async (t) => {
    const lambda = 'arn:aws:lambda:us-east-1:000000000000:function:clean:2';
    const cleaned = {
      Enabled: true,
      Processors: [
        {
          Type: 'Lambda' as const,
          Parameters: [{ ParameterName: 'LambdaArn' as const, ParameterValue: lambda }],
        },
      ],
    };
    const first = await serveFirehose(t);
    await create(first, 'orders', {
      ExtendedS3DestinationConfiguration: { ...bucket, ProcessingConfiguration: cleaned },
    });
    await create(first, 'logs', { HttpEndpointDestinationConfiguration: endpoint });
    await create(first, 'loads', {
      RedshiftDestinationConfiguration: {
        ...{ RoleARN: role, Username: 'loader', Password: 'hush-hush', S3Configuration: bucket },
        ClusterJDBCURL: 'jdbc:redshift://warehouse.example.net:5439/plant',
        CopyCommand: { DataTableName: 'orders', CopyOptions: "JSON 'auto'" },
      },
    });
    await first.close();
    const nowhere = firehose.parse({});
    const second = await serveFirehose(t, { folder: first.folder, places: nowhere });
    const update = (name: string, version: string, more: object): Promise<string> =>
      errorOf(
        second.client.send(
          new UpdateDestinationCommand({
            ...{ DeliveryStreamName: name, CurrentDeliveryStreamVersionId: version },
            ...{ DestinationId: 'destinationId-000000000001', ...more },
          }),
        ),
      );
    const hints = { BufferingHints: { SizeInMBs: 9, IntervalInSeconds: 90 } };
    assert.equal(await update('orders', '1', { ExtendedS3DestinationUpdate: hints }), 'none');
    assert.equal(await update('logs', '1', { HttpEndpointDestinationUpdate: hints }), 'none');
    const RetryOptions = { DurationInSeconds: 7 };
    assert.equal(
      await update('loads', '1', { RedshiftDestinationUpdate: { RetryOptions } }),
      'none',
    );
    for (const { withheld } of second.running()) assert.match(withheld ?? '', /firehose\.allowed/);
    const elsewhere = { ...hints, BucketARN: 'arn:aws:s3:::other' };
    assert.match(
      await update('orders', '2', { ExtendedS3DestinationUpdate: elsewhere }),
      /BucketARN: The bucket other is not among/,
    );
    const wrong = { Prefix: 'x/!{timestamp:yyyy}/' };
    assert.match(
      await update('orders', '2', { ExtendedS3DestinationUpdate: wrong }),
      /ErrorOutputPrefix/,
      'it is looked at all the same',
    );
    await second.close();
    const third = await serveFirehose(t, { folder: first.folder });
    assert.deepEqual(
      third
        .running()
        .map(({ name, withheld = null, buffer, retrySeconds }) => [
          ...[name, withheld, buffer?.maxSeconds, name === 'loads' ? retrySeconds : null],
        ]),
      [
        ['loads', null, 300, 7],
        ['logs', null, 90, null],
        ['orders', null, 90, null],
      ],
    );
  });

  test('that waited is not said to go on when it is deleted', async (t) => {
    const first = await serveFirehose(t);
    await create(first, 'orders');
    await first.close();
    const places = firehose.parse({});
    const second = await serveFirehose(t, { folder: first.folder, places });
    await second.client.send(new DeleteDeliveryStreamCommand({ DeliveryStreamName: 'orders' }));
    assert.deepEqual(second.running(), []);
    const said = second.logger.lines.map(({ message }) => message);
    assert.ok(!said.includes('a delivery stream is sent as it was made again'));
  });

  test('follows what the configuration says of places, of access and of how many', async (t) => {
    const served = await serveFirehose(t, { streamsMax: 1 });
    const { streams, logger } = served;
    const configure = (streamsMax: number, places: object): void => {
      streams.configure({ deliveries: [], streamsMax, places: firehose.parse(places) });
    };
    await create(served, 'orders');
    const withheld = (): unknown => streams.deliveries().map((one) => one.withheld ?? null);
    const warnings = (): number =>
      logger.lines.filter(({ message }) => message.includes('is not sent')).length;
    configure(2, {});
    for (let times = 0; times < 3; times += 1) {
      assert.match(String(withheld()), /bucket archive is not among/);
    }
    assert.equal(warnings(), 1, 'once, however often it is asked');
    assert.match(
      (await describeStream(served, 'orders')).FailureDescription?.Details ?? '',
      /bucket archive/,
    );
    assert.match(
      await errorOf(create(served, 'more')),
      /^InvalidArgumentException: .*BucketARN: The bucket archive/,
    );
    configure(2, { allowed: { buckets: ['archive'] }, s3: { endpoint: 'http://127.0.0.1:8' } });
    const [delivery] = streams.deliveries();
    assert.ok(delivery !== undefined && 's3' in delivery.to);
    assert.deepEqual(
      [delivery.withheld ?? null, delivery.to.s3.endpoint],
      [null, 'http://127.0.0.1:8'],
    );
    assert.equal((await describeStream(served, 'orders')).FailureDescription, undefined);
    await create(served, 'more');
    configure(1, { allowed: { buckets: ['archive'] } });
    assert.match(await errorOf(create(served, 'third')), /^LimitExceededException.* 1 hoses/);
    assert.deepEqual(withheld(), [null, null], 'those that are there stay');
  });
});

describe('a delivery of the configuration', () => {
  const configured = [
    { name: 'archive', from: { stream: 'readings' }, to: { folder: { path: '/tmp/x' } } },
    {
      name: 'bucket',
      from: { stream: 'readings' },
      to: { s3: { bucket: 'plant', prefix: 'p/' } },
      buffer: { maxBytes: 2 * 2 ** 20, maxSeconds: 30 },
    },
    { name: 'footage', from: { camera: 'front' }, to: { folder: { path: '/tmp/x' } } },
  ];

  async function serveConfigured(t: Parameters<typeof serveFirehose>[0]): Promise<Served> {
    const served = await serveFirehose(t, { configured });
    await served.store.log.createStream({
      ...{ name: 'readings', shardCount: 1, mode: 'on-demand', retentionMs: 3_600_000 },
      ...{ maxBytes: null, whenFull: 'refuse' },
    });
    return served;
  }

  test('is a delivery stream when it reads a stream, and takes what is put', async (t) => {
    const served = await serveConfigured(t);
    const { DeliveryStreamNames } = await served.client.send(new ListDeliveryStreamsCommand({}));
    assert.deepEqual(DeliveryStreamNames, ['archive', 'bucket']);
    await put(served, 'archive', 'one');
    await put(served, 'bucket', 'two');
    assert.deepEqual(await recordsIn(served, 'readings'), ['one', 'two']);
    const { Destinations, DeliveryStreamType } = await describeStream(served, 'bucket');
    assert.equal(DeliveryStreamType, 'DirectPut');
    const shown = Destinations?.[0]?.ExtendedS3DestinationDescription;
    assert.deepEqual(
      [shown?.BucketARN, shown?.Prefix, shown?.BufferingHints],
      ['arn:aws:s3:::plant', 'p/', { SizeInMBs: 2, IntervalInSeconds: 30 }],
    );
    assert.match(await errorOf(describeStream(served, 'footage')), /^ResourceNotFound/);
  });

  test('is not changed or deleted from here, but tagged', async (t) => {
    const served = await serveConfigured(t);
    const { client } = served;
    assert.match(await errorOf(create(served, 'archive')), /^ResourceInUse/);
    assert.match(
      await errorOf(
        client.send(new DeleteDeliveryStreamCommand({ DeliveryStreamName: 'archive' })),
      ),
      /^ResourceInUseException: archive is a delivery of the gateway's configuration/,
    );
    assert.match(
      await errorOf(
        client.send(
          new UpdateDestinationCommand({
            DeliveryStreamName: 'archive',
            CurrentDeliveryStreamVersionId: '1',
            DestinationId: 'destinationId-000000000001',
            ExtendedS3DestinationUpdate: { Prefix: 'x/' },
          }),
        ),
      ),
      /^InvalidArgumentException: archive is a delivery of the gateway's configuration/,
    );
    await client.send(
      new TagDeliveryStreamCommand({ DeliveryStreamName: 'archive', Tags: [{ Key: 'a' }] }),
    );
    const { Tags } = await client.send(
      new ListTagsForDeliveryStreamCommand({ DeliveryStreamName: 'archive' }),
    );
    assert.deepEqual(Tags, [{ Key: 'a', Value: '' }]);
  });

  test('takes the place of one that was made under its name, until it is gone', async (t) => {
    const served = await serveFirehose(t);
    await create(served, 'archive');
    const others = { places: bucketsAllowed, streamsMax: 10 };
    served.streams.configure({ ...others, deliveries: configured });
    assert.deepEqual(served.streams.deliveries(), []);
    assert.equal(served.streams.known('archive').source, 'readings');
    served.streams.configure({ ...others, deliveries: [] });
    assert.equal(served.streams.deliveries().length, 1);
    assert.equal(served.streams.known('archive').source, 'firehose.archive');
  });
});

test('lists go on where they ended, and know types', async (t) => {
  const served = await serveFirehose(t, { streamsMax: 30 });
  const names = Array.from({ length: 12 }, (_, index) => `s${String(index).padStart(2, '0')}`);
  for (const name of names) await create(served, name);
  const list = async (
    ExclusiveStartDeliveryStreamName?: string,
    Limit?: number,
  ): Promise<[string[] | undefined, boolean | undefined]> => {
    const input = { ExclusiveStartDeliveryStreamName, Limit };
    const answer = await served.client.send(new ListDeliveryStreamsCommand(input));
    return [answer.DeliveryStreamNames, answer.HasMoreDeliveryStreams];
  };
  assert.deepEqual(await list(), [names.slice(0, 10), true]);
  assert.deepEqual(await list('s09'), [['s10', 's11'], false]);
  assert.deepEqual(await list('s03', 2), [['s04', 's05'], true]);
  assert.deepEqual(await list('zzz'), [[], false]);
  const { DeliveryStreamNames } = await served.client.send(
    new ListDeliveryStreamsCommand({ DeliveryStreamType: 'KinesisStreamAsSource' }),
  );
  assert.deepEqual(DeliveryStreamNames, []);
});

test('tags are added, replaced, paged and taken away, fifty at most', async (t) => {
  const served = await serveFirehose(t);
  await create(served, 'orders');
  const { client } = served;
  const DeliveryStreamName = 'orders';
  const tag = (...keys: string[]): Promise<unknown> =>
    client.send(
      new TagDeliveryStreamCommand({
        DeliveryStreamName,
        Tags: keys.map((Key) => ({ Key, Value: 'v' })),
      }),
    );
  const keys = Array.from({ length: 50 }, (_, index) => `k${String(index).padStart(2, '0')}`);
  await tag(...keys.slice(0, 49));
  await tag('k49', 'k00');
  assert.match(await errorOf(tag('k50')), /^LimitExceededException/);
  assert.match(await errorOf(tag('k00', 'k00')), /^InvalidArgumentException/);
  assert.match(await errorOf(tag('aws:x')), /^ValidationException/);
  const page = await client.send(
    new ListTagsForDeliveryStreamCommand({
      ...{ DeliveryStreamName, ExclusiveStartTagKey: 'k09', Limit: 3 },
    }),
  );
  assert.deepEqual(
    [page.Tags?.map(({ Key }) => Key), page.HasMoreTags],
    [['k10', 'k11', 'k12'], true],
  );
  await client.send(new UntagDeliveryStreamCommand({ DeliveryStreamName, TagKeys: keys.slice(1) }));
  const rest = await client.send(new ListTagsForDeliveryStreamCommand({ DeliveryStreamName }));
  assert.deepEqual([rest.Tags, rest.HasMoreTags], [[{ Key: 'k00', Value: 'v' }], false]);
});

test('which key was asked for is told, and whether what is put is encrypted', async (t) => {
  const served = await serveFirehose(t);
  await create(served, 'orders');
  const { client } = served;
  const DeliveryStreamName = 'orders';
  const KeyARN = `arn:aws:kms:us-east-1:${accountId}:key/1234abcd-12ab-34cd-56ef-1234567890ab`;
  const start = (input: { KeyType: 'AWS_OWNED_CMK' | 'CUSTOMER_MANAGED_CMK'; KeyARN?: string }) =>
    client.send(
      new StartDeliveryStreamEncryptionCommand({
        DeliveryStreamName,
        DeliveryStreamEncryptionConfigurationInput: input,
      }),
    );
  const isEncrypted = async (): Promise<boolean | undefined> => {
    const Record = { Data: Buffer.from('x') };
    return (await client.send(new PutRecordCommand({ DeliveryStreamName, Record }))).Encrypted;
  };
  assert.equal(await isEncrypted(), false);
  await start({ KeyType: 'CUSTOMER_MANAGED_CMK', KeyARN });
  const { DeliveryStreamEncryptionConfiguration } = await describeStream(served, 'orders');
  assert.deepEqual(DeliveryStreamEncryptionConfiguration, {
    ...{ Status: 'ENABLED', KeyType: 'CUSTOMER_MANAGED_CMK', KeyARN },
  });
  assert.equal(await isEncrypted(), true);
  await client.send(new StopDeliveryStreamEncryptionCommand({ DeliveryStreamName }));
  assert.equal(await isEncrypted(), false);
  assert.match(await errorOf(start({ KeyType: 'CUSTOMER_MANAGED_CMK' })), /^InvalidArgument/);
  assert.match(await errorOf(start({ KeyType: 'AWS_OWNED_CMK', KeyARN })), /^InvalidArgument/);
  assert.match(
    await errorOf(start({ KeyType: 'CUSTOMER_MANAGED_CMK', KeyARN: 'arn:aws:s3:::x' })),
    /^InvalidKMSResourceException/,
  );
});

test('permission is asked for each operation, and what changes something is written down', async (t) => {
  const served = await serveFirehose(t);
  const { client, denied, asked, audited } = served;
  await create(served, 'orders');
  await put(served, 'orders', 'one');
  await client.send(new ListDeliveryStreamsCommand({}));
  denied.add('firehose:DeleteDeliveryStream');
  const deletion = new DeleteDeliveryStreamCommand({ DeliveryStreamName: 'orders' });
  assert.match(await errorOf(client.send(deletion)), /^AccessDeniedException/);
  const arn = `arn:aws:firehose:us-east-1:${accountId}:deliverystream/orders`;
  assert.deepEqual(asked, [
    `firehose:CreateDeliveryStream ${arn}`,
    `firehose:PutRecord ${arn}`,
    'firehose:ListDeliveryStreams *',
    `firehose:DeleteDeliveryStream ${arn}`,
  ]);
  assert.deepEqual(audited, [
    'firehose:CreateDeliveryStream ok',
    'firehose:DeleteDeliveryStream AccessDeniedException',
  ]);
});

test('secrets are kept sealed and never told, and have to be given again to another gateway', async (t) => {
  const first = await serveFirehose(t);
  await create(first, 'logs', { HttpEndpointDestinationConfiguration: endpoint });
  const shown = JSON.stringify(await describeStream(first, 'logs'));
  assert.ok(shown.includes('logs.example.net') && !shown.includes('hush-hush'));
  const table = first.store.items.table('headgate:firehose');
  assert.ok(table !== null);
  const hash = Buffer.from('logs');
  const kept = await first.store.items.get(table, { hash, range: Buffer.alloc(0) });
  assert.ok(kept?.includes('logs.example.net') === true && !kept.includes('hush-hush'));
  const accessKeyOf = ({ running }: Served): unknown => {
    const [delivery] = running();
    return delivery !== undefined && 'http' in delivery.to ? delivery.to.http.accessKey : null;
  };
  assert.equal(accessKeyOf(first), 'hush-hush');
  await first.close();
  const second = await serveFirehose(t, { folder: first.folder });
  assert.equal(accessKeyOf(second), 'hush-hush');
  await second.close();
  const third = await serveFirehose(t, { folder: first.folder, secret: Buffer.alloc(32, 8) });
  const [waiting] = third.running();
  assert.match(waiting?.withheld ?? '', /given again/);
  const { FailureDescription } = await describeStream(third, 'logs');
  assert.match(FailureDescription?.Details ?? '', /given again/);
  const update = (HttpEndpointDestinationUpdate: object): Promise<unknown> =>
    third.client.send(
      new UpdateDestinationCommand({
        DeliveryStreamName: 'logs',
        CurrentDeliveryStreamVersionId: '1',
        DestinationId: 'destinationId-000000000001',
        HttpEndpointDestinationUpdate,
      }),
    );
  const hints = { BufferingHints: { SizeInMBs: 2, IntervalInSeconds: 60 } };
  assert.match(await errorOf(update(hints)), /^InvalidArgumentException: .* given again/);
  await update({ EndpointConfiguration: endpoint.EndpointConfiguration });
  assert.equal(accessKeyOf(third), 'hush-hush');
  assert.equal((await describeStream(third, 'logs')).FailureDescription, undefined);
});
