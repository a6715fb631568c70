/** Records that are put: where they lie, what bounds them, and requests that are not what they say. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import {
  CreateDeliveryStreamCommand,
  PutRecordBatchCommand,
  PutRecordCommand,
  type PutRecordBatchCommandOutput,
} from '@aws-sdk/client-firehose';
import { errorOf, recordsIn, role, serveFirehose, stateMs, type Served } from './support.ts';

const DeliveryStreamName = 'orders';
const stream = 'firehose.orders';
const KiB = 1024;

async function serveOrders(t: TestContext): Promise<Served> {
  const served = await serveFirehose(t);
  await served.client.send(
    new CreateDeliveryStreamCommand({
      DeliveryStreamName,
      ExtendedS3DestinationConfiguration: { RoleARN: role, BucketARN: 'arn:aws:s3:::archive' },
    }),
  );
  served.clock.advance(stateMs);
  return served;
}

function putBatch(
  { client }: Served,
  records: readonly Uint8Array[],
): Promise<PutRecordBatchCommandOutput> {
  const Records = records.map((Data) => ({ Data }));
  return client.send(new PutRecordBatchCommand({ DeliveryStreamName, Records }));
}

describe('records that are put', () => {
  test('lie in the stream in the order of their batch, and have ids that say where', async (t) => {
    const served = await serveOrders(t);
    const single = await served.client.send(
      new PutRecordCommand({ DeliveryStreamName, Record: { Data: Buffer.from('first') } }),
    );
    const texts = Array.from({ length: 500 }, (_, index) => `record ${index}`);
    const answer = await putBatch(
      served,
      texts.map((text) => Buffer.from(text)),
    );
    assert.equal(answer.FailedPutCount, 0);
    const ids = (answer.RequestResponses ?? []).map(({ RecordId }) => RecordId ?? '');
    assert.equal(new Set([...ids, single.RecordId]).size, 501);
    for (const id of ids) assert.match(id, /^shardId-000000000000:\d{50,}$/);
    assert.deepEqual(await recordsIn(served, stream), ['first', ...texts]);
  });

  test('may be empty, and have any bytes', async (t) => {
    const served = await serveOrders(t);
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    await putBatch(served, [Buffer.alloc(0), bytes]);
    const shard = served.store.log.stream(stream).shards[0];
    assert.ok(shard !== undefined);
    const { records } = await served.store.log.read({
      ...{ shardId: shard.id, fromSequence: 0, maxRecords: 10, maxBytes: 2 ** 20 },
    });
    assert.deepEqual(
      records.map(({ data }) => data),
      [Buffer.alloc(0), bytes],
    );
    assert.notEqual(records[0]?.partitionKey, records[1]?.partitionKey);
  });

  test('have 1,000 KiB each, 500 in a batch, and 4 MiB together', async (t) => {
    const served = await serveOrders(t);
    const largest = Buffer.alloc(1000 * KiB, 'a');
    const tooLarge = Buffer.alloc(1000 * KiB + 1, 'a');
    const { client } = served;
    await client.send(new PutRecordCommand({ DeliveryStreamName, Record: { Data: largest } }));
    assert.match(
      await errorOf(
        client.send(new PutRecordCommand({ DeliveryStreamName, Record: { Data: tooLarge } })),
      ),
      /^ValidationException: 1 validation error detected: Value '.*' at 'record\.data' failed to satisfy constraint: Member must have length less than or equal to 1024000/,
    );
    const small = Array.from({ length: 501 }, () => Buffer.from('x'));
    assert.match(await errorOf(putBatch(served, small)), /^ValidationException.*equal to 500/);
    assert.match(await errorOf(putBatch(served, [])), /^ValidationException.*equal to 1/);
    const full = [...Array.from({ length: 4 }, () => largest), Buffer.alloc(96 * KiB)];
    assert.equal((await putBatch(served, full)).FailedPutCount, 0);
    assert.equal(
      await errorOf(putBatch(served, [...full, Buffer.from('x')])),
      'InvalidArgumentException: Records size exceeds 4 MB limit',
    );
    assert.equal((await recordsIn(served, stream)).length, 6);
  });

  test('are told one by one that they should come again, where the stream is full', async (t) => {
    const served = await serveOrders(t);
    await served.store.log.updateStream(stream, { maxBytes: 150 * KiB });
    const record = Buffer.alloc(200 * KiB, 'a');
    await putBatch(served, [Buffer.from('small')]);
    const answer = await putBatch(served, [record, record]);
    assert.equal(answer.FailedPutCount, 2);
    assert.deepEqual(
      answer.RequestResponses,
      Array.from({ length: 2 }, () => ({
        ErrorCode: 'ServiceUnavailableException',
        ErrorMessage: 'Slow down.',
      })),
    );
    const single = new PutRecordCommand({ DeliveryStreamName, Record: { Data: record } });
    assert.match(
      await errorOf(served.client.send(single)),
      /^ServiceUnavailableException: Slow down/,
    );
    assert.equal((await recordsIn(served, stream)).length, 1);
  });

  test('find their stream again that somebody has deleted', async (t) => {
    const served = await serveOrders(t);
    await putBatch(served, [Buffer.from('lost with the stream')]);
    await served.store.log.deleteStream(stream);
    const outcomes = await Promise.all(
      ['a', 'b', 'c'].map((text) => putBatch(served, [Buffer.from(text)])),
    );
    assert.deepEqual(
      outcomes.map(({ FailedPutCount }) => FailedPutCount),
      [0, 0, 0],
    );
    assert.deepEqual((await recordsIn(served, stream)).sort(), ['a', 'b', 'c']);
  });
});

describe('a request that is not what it should be', () => {
  const put = { DeliveryStreamName, Record: { Data: 'eA==' } };

  test('is told what is wrong with it', async (t) => {
    const served = await serveOrders(t);
    const cases: readonly (readonly [operation: string, body: unknown, type: string])[] = [
      ['PutRecord', '{', 'SerializationException'],
      ['PutRecord', '', 'SerializationException'],
      ['PutRecord', '[]', 'SerializationException'],
      ['PutRecord', 'null', 'SerializationException'],
      ['PutRecord', { ...put, DeliveryStreamName: 7 }, 'SerializationException'],
      ['PutRecord', { ...put, Record: 'x' }, 'SerializationException'],
      ['PutRecord', { ...put, Record: { Data: '%%%%' } }, 'SerializationException'],
      ['PutRecord', { ...put, Record: { Data: 'abc' } }, 'SerializationException'],
      ['PutRecord', { ...put, Record: {} }, 'ValidationException'],
      ['PutRecord', {}, 'ValidationException'],
      ['PutRecord', { ...put, DeliveryStreamName: '../x' }, 'ValidationException'],
      ['PutRecord', { ...put, DeliveryStreamName: 'x'.repeat(65) }, 'ValidationException'],
      ['PutRecord', { ...put, DeliveryStreamName: 'none' }, 'ResourceNotFoundException'],
      ['PutRecord', { ...put, DeliveryStreamName: '__proto__' }, 'ResourceNotFoundException'],
      ['PutRecordBatch', { DeliveryStreamName, Records: {} }, 'SerializationException'],
      ['PutRecordBatch', { DeliveryStreamName, Records: [{}, null] }, 'SerializationException'],
      ['ListDeliveryStreams', { Limit: 0 }, 'ValidationException'],
      ['ListDeliveryStreams', { Limit: 'many' }, 'SerializationException'],
      ['CreateDeliveryStream', { DeliveryStreamName: 'x' }, 'InvalidArgumentException'],
      ['toString', {}, 'UnknownOperationException'],
      ['', {}, 'UnknownOperationException'],
      ['PutRecord.PutRecord', put, 'UnknownOperationException'],
    ];
    for (const [operation, body, type] of cases) {
      const answer = await served.ask(operation, body);
      assert.equal(answer.type, type, `${operation} ${JSON.stringify(body)}: ${answer.message}`);
      assert.equal(answer.status, 400);
    }
    assert.deepEqual(await recordsIn(served, stream), []);
    assert.deepEqual(
      served.logger.lines.filter(({ level }) => level === 'error'),
      [],
    );
  });

  test('is refused before it is read where it is too long, or from nobody', async (t) => {
    const served = await serveOrders(t);
    const tooLong = await served.ask('PutRecord', 'x'.repeat(6 * 2 ** 20 + 1));
    assert.deepEqual([tooLong.status, tooLong.type], [413, 'RequestEntityTooLargeException']);
    const ask = async (headers: Record<string, string>): Promise<unknown> => {
      const answer = await fetch(served.url, {
        method: 'POST',
        headers: { 'x-amz-target': 'Firehose_20150804.PutRecord', ...headers },
        body: JSON.stringify(put),
      });
      return ((await answer.json()) as { __type: string }).__type;
    };
    assert.equal(await ask({}), 'MissingAuthenticationTokenException');
    assert.equal(
      await ask({ authorization: 'AWS4-HMAC-SHA256 Credential=AKIAOTHER/x' }),
      'UnrecognizedClientException',
    );
    assert.deepEqual(await recordsIn(served, stream), []);
  });

  test('that breaks off leaves nothing', async (t) => {
    const served = await serveOrders(t);
    const { hostname, port } = new URL(served.url);
    await new Promise<void>((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(
          'POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Firehose_20150804.PutRecord\r\n' +
            'Authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/x\r\nContent-Length: 500\r\n\r\n{"Del',
          () => socket.destroy(),
        );
      });
      socket.on('close', () => {
        resolve();
      });
      socket.on('error', reject);
    });
    await putBatch(served, [Buffer.from('next')]);
    assert.deepEqual(await recordsIn(served, stream), ['next']);
  });

  test('of many at once costs nobody a record that was acknowledged', async (t) => {
    const served = await serveOrders(t);
    const sent = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const good = index % 2 === 0;
        const Data = good ? Buffer.from(String(index)).toString('base64') : '%';
        const { status } = await served.ask('PutRecord', { ...put, Record: { Data } });
        return { index, status };
      }),
    );
    const taken = sent.filter(({ status }) => status === 200).map(({ index }) => String(index));
    assert.equal(taken.length, 100);
    assert.deepEqual((await recordsIn(served, stream)).sort(), taken.sort());
  });
});
