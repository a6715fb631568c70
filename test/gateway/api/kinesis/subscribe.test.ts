import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { connect } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { test, type TestContext } from 'node:test';
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DeregisterStreamConsumerCommand,
  DescribeStreamConsumerCommand,
  PutRecordCommand,
  RegisterStreamConsumerCommand,
  ResourceInUseException,
  ResourceNotFoundException,
  SplitShardCommand,
  SubscribeToShardCommand,
  type KinesisClient,
  type StartingPosition,
  type SubscribeToShardEvent,
  type SubscribeToShardEventStream,
} from '@aws-sdk/client-kinesis';
import { EventStreamCodec, type Message } from '@smithy/core/event-streams';
import { decodeCbor, encodeCbor } from '../../../../gateway/api/kinesis/cbor.ts';
import { arnPrefix, jsonHeaders, startKinesis, stateMs, type TestKinesis } from './support.ts';

const StreamName = 'readings';
const StreamARN = `${arnPrefix}${StreamName}`;
const ShardId = 'shardId-000000000000';
const openGauge = 'headgate_kinesis_subscriptions';
const queuedGauge = 'headgate_kinesis_subscription_queued_bytes';

/** The events of a subscription, asked for one by one. */
class Subscriber {
  readonly #events: AsyncIterator<SubscribeToShardEventStream>;
  readonly #abort: AbortController;

  private constructor(events: AsyncIterable<SubscribeToShardEventStream>, abort: AbortController) {
    this.#events = events[Symbol.asyncIterator]();
    this.#abort = abort;
  }

  static async start(
    client: KinesisClient,
    ConsumerARN: string,
    position: StartingPosition,
    shard = ShardId,
  ): Promise<Subscriber> {
    const abort = new AbortController();
    const answer = await client.send(
      new SubscribeToShardCommand({ ConsumerARN, ShardId: shard, StartingPosition: position }),
      { abortSignal: abort.signal },
    );
    assert.ok(answer.EventStream !== undefined);
    return new Subscriber(answer.EventStream, abort);
  }

  /** null: there are no more. */
  async next(): Promise<SubscribeToShardEvent | null> {
    const next = await this.#events.next();
    return next.done === true ? null : (next.value.SubscribeToShardEvent ?? null);
  }

  /** The texts of the next records, however many events they come in. */
  async texts(count: number): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) {
      const event = await this.next();
      assert.ok(event !== null, 'the subscription has ended');
      texts.push(...textsOf(event));
    }
    return texts;
  }

  /** Breaks off the request, as a program that goes away does. */
  close(): void {
    this.#abort.abort();
  }
}

function textsOf(event: SubscribeToShardEvent | null): string[] {
  return (event?.Records ?? []).map(({ Data }) => Buffer.from(Data ?? []).toString());
}

async function register(
  kinesis: TestKinesis,
  client: KinesisClient,
  ConsumerName = 'alarms',
): Promise<string> {
  const { Consumer } = await client.send(
    new RegisterStreamConsumerCommand({ StreamARN, ConsumerName }),
  );
  kinesis.clock.advance(stateMs);
  return Consumer?.ConsumerARN ?? '';
}

async function put(kinesis: TestKinesis, ...texts: readonly string[]): Promise<void> {
  const records = texts.map((text) => ({ partitionKey: 'a', data: Buffer.from(text) }));
  await kinesis.log.append(StreamName, records);
}

/** Resolves once the gauge has the value: what leads there is a connection that is closed. */
async function until(kinesis: TestKinesis, gauge: string, value: number): Promise<void> {
  while (kinesis.metrics.values.get(gauge) !== value) {
    await new Promise((wake) => setImmediate(wake));
  }
}

for (const protocol of ['h2c', 'http1'] as const) {
  test(`records come as they are committed, until the shard ends, over ${protocol}`, async (t) => {
    const kinesis = await startKinesis(t);
    const client = kinesis.client(protocol);
    await kinesis.makeStream(StreamName);
    const ConsumerARN = await register(kinesis, client);
    const subscriber = await Subscriber.start(client, ConsumerARN, { Type: 'LATEST' });

    const first = await subscriber.next();
    assert.deepEqual(first?.Records, []);
    assert.equal(first.MillisBehindLatest, 0);
    assert.match(first.ContinuationSequenceNumber ?? '', /^\d{56}$/);

    const place = await client.send(
      new PutRecordCommand({ StreamName, PartitionKey: 'ü', Data: Buffer.from('one') }),
    );
    const event = await subscriber.next();
    const [record] = event?.Records ?? [];
    assert.deepEqual(textsOf(event), ['one']);
    assert.equal(record?.PartitionKey, 'ü');
    assert.equal(record.SequenceNumber, place.SequenceNumber);
    assert.deepEqual(record.ApproximateArrivalTimestamp, new Date(kinesis.clock.nowMs()));
    assert.equal(event?.ContinuationSequenceNumber, place.SequenceNumber);

    const silence = subscriber.next();
    kinesis.clock.advance(5_000);
    const heartbeat = await silence;
    assert.deepEqual(heartbeat?.Records, []);
    assert.equal(heartbeat.ContinuationSequenceNumber, place.SequenceNumber);

    await client.send(
      new SplitShardCommand({
        ...{ StreamName, ShardToSplit: ShardId },
        NewStartingHashKey: (1n << 127n).toString(),
      }),
    );
    const last = await subscriber.next();
    assert.deepEqual(last?.Records, []);
    assert.equal(last.ContinuationSequenceNumber, undefined);
    assert.deepEqual(
      last.ChildShards?.map((child) => [child.ShardId, child.ParentShards]),
      [
        ['shardId-000000000001', [ShardId]],
        ['shardId-000000000002', [ShardId]],
      ],
    );
    assert.equal(await subscriber.next(), null);
    await until(kinesis, openGauge, 0);
    assert.deepEqual(kinesis.asked.at(-3), {
      ...{ action: 'kinesis:SubscribeToShard', resource: ConsumerARN },
      facts: kinesis.asked.at(-3)?.facts,
    });
  });

  test(`a client that goes away leaves nothing behind, over ${protocol}`, async (t) => {
    const kinesis = await startKinesis(t);
    const client = kinesis.client(protocol);
    await kinesis.makeStream(StreamName);
    const ConsumerARN = await register(kinesis, client);
    const subscriber = await Subscriber.start(client, ConsumerARN, { Type: 'LATEST' });
    await subscriber.next();
    assert.equal(kinesis.metrics.values.get(openGauge), 1);
    subscriber.close();
    await until(kinesis, openGauge, 0);
    assert.equal(kinesis.metrics.values.get(queuedGauge), 0);
    assert.deepEqual(
      kinesis.logger.lines.filter(({ level }) => level === 'error'),
      [],
    );
  });

  test(`a gateway that stops ends subscriptions, and the client is told nothing wrong, over ${protocol}`, async (t) => {
    const kinesis = await startKinesis(t);
    const client = kinesis.client(protocol);
    await kinesis.makeStream(StreamName);
    const ConsumerARN = await register(kinesis, client);
    const subscriber = await Subscriber.start(client, ConsumerARN, { Type: 'LATEST' });
    await subscriber.next();
    kinesis.drain();
    assert.equal(await subscriber.next(), null);
    await until(kinesis, openGauge, 0);
    await assert.rejects(Subscriber.start(client, ConsumerARN, { Type: 'LATEST' }), {
      name: 'ServiceUnavailable',
    });
  });
}

test('a subscription begins wherever it is asked to', async (t) => {
  const kinesis = await startKinesis(t);
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const { SequenceNumber } = await client.send(
    new PutRecordCommand({ StreamName, PartitionKey: 'a', Data: Buffer.from('one') }),
  );
  kinesis.clock.advance(1_000);
  const Timestamp = new Date(kinesis.clock.nowMs());
  await put(kinesis, 'two', 'three');
  const ConsumerARN = await register(kinesis, client);
  const from = async (position: StartingPosition): Promise<string[]> => {
    kinesis.clock.advance(5_000);
    const subscriber = await Subscriber.start(client, ConsumerARN, position);
    const event = await subscriber.next();
    subscriber.close();
    return textsOf(event);
  };
  assert.deepEqual(await from({ Type: 'TRIM_HORIZON' }), ['one', 'two', 'three']);
  assert.deepEqual(await from({ Type: 'LATEST' }), []);
  assert.deepEqual(await from({ Type: 'AT_TIMESTAMP', Timestamp }), ['two', 'three']);
  const place = { SequenceNumber };
  assert.deepEqual(await from({ Type: 'AT_SEQUENCE_NUMBER', ...place }), ['one', 'two', 'three']);
  assert.deepEqual(await from({ Type: 'AFTER_SEQUENCE_NUMBER', ...place }), ['two', 'three']);

  await assert.rejects(from({ Type: 'AFTER_SEQUENCE_NUMBER' }), {
    name: 'InvalidArgumentException',
  });
  await assert.rejects(from({ Type: 'AT_SEQUENCE_NUMBER', SequenceNumber: '12345' }), {
    name: 'InvalidArgumentException',
    message: `StartingSequenceNumber 12345 used in SubscribeToShard on shard ${ShardId} in stream readings under account 000000000000 is invalid.`,
  });
  const ahead = new Date(kinesis.clock.nowMs() + 60_000);
  await assert.rejects(from({ Type: 'AT_TIMESTAMP', Timestamp: ahead }), {
    name: 'InvalidArgumentException',
  });
});

test('where a subscription was when it ended the next one goes on', async (t) => {
  const kinesis = await startKinesis(t);
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const ConsumerARN = await register(kinesis, client);
  const goOn = async (SequenceNumber: string | undefined): Promise<string[]> => {
    kinesis.clock.advance(5_000);
    const subscriber = await Subscriber.start(client, ConsumerARN, {
      ...{ Type: 'AFTER_SEQUENCE_NUMBER', SequenceNumber },
    });
    const texts = textsOf(await subscriber.next());
    subscriber.close();
    return texts;
  };
  const onEmpty = await Subscriber.start(client, ConsumerARN, { Type: 'LATEST' });
  const before = (await onEmpty.next())?.ContinuationSequenceNumber;
  await put(kinesis, 'one', 'two');
  assert.deepEqual(await goOn(before), ['one', 'two']);

  kinesis.clock.advance(5_000);
  const atEnd = await Subscriber.start(client, ConsumerARN, { Type: 'LATEST' });
  const after = (await atEnd.next())?.ContinuationSequenceNumber;
  await put(kinesis, 'three');
  assert.deepEqual(await goOn(after), ['three']);
});

test('another call is refused for five seconds, and takes over after', async (t) => {
  const kinesis = await startKinesis(t);
  const [one, two] = [kinesis.client('h2c'), kinesis.client('http1')];
  await kinesis.makeStream(StreamName, 2);
  const ConsumerARN = await register(kinesis, one);
  const other = await register(kinesis, one, 'charts');
  const first = await Subscriber.start(one, ConsumerARN, { Type: 'LATEST' });
  await first.next();
  const again = (): Promise<Subscriber> =>
    Subscriber.start(two, ConsumerARN, { Type: 'TRIM_HORIZON' });
  const inUse = {
    name: 'ResourceInUseException',
    message: `Another active subscription exists for this consumer: 000000000000:readings:alarms:${ShardId}`,
  };
  await assert.rejects(again(), inUse);
  kinesis.clock.advance(4_999);
  await assert.rejects(again(), inUse);
  await put(kinesis, 'for-both');
  assert.deepEqual(await first.texts(1), ['for-both'], 'the first one is as it was');
  // Another shard, and another consumer, are nothing to it.
  const onOther = await Subscriber.start(
    ...([two, ConsumerARN, { Type: 'LATEST' }, 'shardId-000000000001'] as const),
  );
  const ofOther = await Subscriber.start(two, other, { Type: 'LATEST' });

  kinesis.clock.advance(1);
  const second = await again();
  const told = await first.next().catch((error: unknown) => error);
  assert.ok(told instanceof ResourceInUseException);
  assert.equal(told.message, inUse.message);
  await put(kinesis, 'for-the-second');
  assert.deepEqual(await second.texts(2), ['for-both', 'for-the-second']);
  second.close();
  await until(kinesis, openGauge, 2);
  await assert.rejects(again(), inUse, 'one that is over counts for its five seconds');
  onOther.close();
  ofOther.close();
});

test('a subscription lasts five minutes', async (t) => {
  const kinesis = await startKinesis(t);
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const ConsumerARN = await register(kinesis, client);
  const subscriber = await Subscriber.start(client, ConsumerARN, { Type: 'LATEST' });
  await subscriber.next();
  for (let beats = 1; beats < 60; beats += 1) {
    const beat = subscriber.next();
    kinesis.clock.advance(5_000);
    assert.deepEqual((await beat)?.Records, []);
  }
  await put(kinesis, 'late');
  assert.deepEqual(textsOf(await subscriber.next()), ['late']);
  const end = subscriber.next();
  kinesis.clock.advance(4_999);
  await put(kinesis, 'last');
  assert.deepEqual(textsOf(await end), ['last']);
  const over = subscriber.next();
  kinesis.clock.advance(1);
  assert.equal(await over, null);
});

test('what a shard is split into while it is read is read after it, and nothing is missing', async (t) => {
  const kinesis = await startKinesis(t, { enforceLimits: false });
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const ConsumerARN = await register(kinesis, client);
  const texts = Array.from({ length: 3_000 }, (_, index) => `record ${index}`);
  const seen: string[] = [];
  const end = new EventEmitter();
  const all = once(end, 'all');
  const fail = (error: unknown): void => {
    end.emit('error', error);
  };
  const read = async (shard: string): Promise<void> => {
    const subscriber = await Subscriber.start(
      ...([client, ConsumerARN, { Type: 'TRIM_HORIZON' }, shard] as const),
    );
    for (let event = await subscriber.next(); event !== null; event = await subscriber.next()) {
      seen.push(...textsOf(event));
      for (const { ShardId: child = '' } of event.ChildShards ?? []) {
        assert.equal(seen.length, 1_600, 'the parent is read to its end first');
        read(child).catch(fail);
      }
      if (seen.length === texts.length) end.emit('all');
    }
  };
  read(ShardId).catch(fail);
  for (let from = 0; from < texts.length; from += 100) {
    await put(kinesis, ...texts.slice(from, from + 100));
    if (from === 1_500) await kinesis.log.splitShard(StreamName, 0, 1n << 64n);
  }
  await all;
  kinesis.drain();
  assert.deepEqual(seen, texts);
});

test('a slow reader costs no more than an event, and others are not held up', async (t) => {
  const kinesis = await startKinesis(t, { enforceLimits: false });
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const [slow, stuck, quick] = [
    await register(kinesis, client, 'slow'),
    await register(kinesis, client, 'stuck'),
    await register(kinesis, client, 'quick'),
  ];
  const record = { partitionKey: 'a', data: Buffer.alloc(50_000, 1) };
  const count = 800;
  for (let put = 0; put < count; put += 40) {
    await kinesis.log.append(
      StreamName,
      Array.from({ length: 40 }, () => record),
    );
  }
  await stickOverHttp1(t, kinesis, slow);
  await stickOverHttp2(t, kinesis, stuck);
  const queued = await settled(kinesis);
  assert.ok(queued < 2 * 400_000, `${queued} bytes wait for readers`);
  for (const { name, consumer, total } of kinesis.metering.of(kinesis.log.stream(StreamName))) {
    if (consumer === null || name !== 'SubscribeToShardEvent.Bytes') continue;
    // What was made and does not wait here is in the buffers of the system's sockets.
    assert.ok((total ?? 0) < 20_000_000, `${total} of 40 MB were made for ${consumer}`);
  }
  const reader = await Subscriber.start(client, quick, { Type: 'TRIM_HORIZON' });
  assert.equal((await reader.texts(count)).length, count);
  reader.close();

  // Neither takes the end of its subscription, so both are cut off.
  kinesis.clock.advance(300_000);
  kinesis.clock.advance(10_000);
  await until(kinesis, openGauge, 0);
  assert.equal(kinesis.metrics.values.get(queuedGauge), 0);
});

/** What is queued once that has not changed for a while, because nobody takes it. */
async function settled({ metrics }: TestKinesis): Promise<number> {
  let queued = 0;
  for (let turns = 0; turns < 300 || queued === 0; turns += 1) {
    await new Promise((wake) => setImmediate(wake));
    const now = metrics.values.get(queuedGauge) ?? 0;
    if (now !== queued) turns = 0;
    queued = now;
  }
  return queued;
}

function subscribeBody(ConsumerARN: string): string {
  return JSON.stringify({ ConsumerARN, ShardId, StartingPosition: { Type: 'TRIM_HORIZON' } });
}

/** Subscribes over HTTP/1.1 and reads nothing. */
async function stickOverHttp1(t: TestContext, kinesis: TestKinesis, arn: string): Promise<void> {
  const socket = connectTcp(kinesis.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const body = subscribeBody(arn);
  const headers = {
    ...jsonHeaders,
    host: `127.0.0.1:${kinesis.port}`,
    'x-amz-target': 'Kinesis_20131202.SubscribeToShard',
    'content-length': String(Buffer.byteLength(body)),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.pause();
  socket.write(`POST / HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`);
}

/** The same over HTTP/2, where other requests of the connection could go on. */
async function stickOverHttp2(t: TestContext, kinesis: TestKinesis, arn: string): Promise<void> {
  const session = connect(kinesis.url);
  t.after(() => {
    session.destroy();
  });
  session.on('error', () => undefined);
  const stream = session.request({
    ...{ ':method': 'POST', ':path': '/', ...jsonHeaders },
    'x-amz-target': 'Kinesis_20131202.SubscribeToShard',
  });
  stream.on('error', () => undefined);
  stream.end(subscribeBody(arn));
  await once(stream, 'response');
}

test('a consumer of a provisioned stream gets two MiB a second of a shard, each its own', async (t) => {
  const kinesis = await startKinesis(t);
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const consumers = [await register(kinesis, client, 'a'), await register(kinesis, client, 'b')];
  const record = { partitionKey: 'a', data: Buffer.alloc(2 ** 18, 1) };
  await kinesis.log.append(
    StreamName,
    Array.from({ length: 20 }, () => record),
  );
  for (const arn of consumers) {
    const subscriber = await Subscriber.start(client, arn, { Type: 'TRIM_HORIZON' });
    assert.equal((await subscriber.texts(8)).length, 8);
    let came = false;
    const ninth = subscriber.next().then((event) => {
      came = true;
      return event;
    });
    for (let turn = 0; turn < 50; turn += 1) await new Promise((wake) => setImmediate(wake));
    assert.equal(came, false, 'two MiB are gone, and no time has passed');
    kinesis.clock.advance(1);
    assert.equal((await ninth)?.Records?.length, 1);
    subscriber.close();
  }
});

test('records as large as they come go through whole', async (t) => {
  const kinesis = await startKinesis(t, { enforceLimits: false });
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const ConsumerARN = await register(kinesis, client);
  const datas = [Buffer.alloc(10 * 2 ** 20, 'ä'), Buffer.from('small'), Buffer.alloc(2 ** 20, 'b')];
  for (const data of datas) await kinesis.log.append(StreamName, [{ partitionKey: 'a', data }]);
  const subscriber = await Subscriber.start(client, ConsumerARN, { Type: 'TRIM_HORIZON' });
  for (const data of datas) {
    const event = await subscriber.next();
    assert.equal(event?.Records?.length, 1);
    assert.ok(data.equals(event.Records[0]?.Data ?? Buffer.alloc(0)));
  }
  subscriber.close();
  await until(kinesis, openGauge, 0);
});

test('in CBOR everything of the answer is in CBOR', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream(StreamName);
  const ConsumerARN = await register(kinesis, kinesis.client('h2c'));
  await put(kinesis, 'one');
  const pieces: Buffer[] = [];
  encodeCbor(
    { ConsumerARN, ShardId, StartingPosition: { Type: 'AT_TIMESTAMP', Timestamp: new Date(0) } },
    pieces,
  );
  const response = await fetch(kinesis.url, {
    method: 'POST',
    headers: {
      ...jsonHeaders,
      'content-type': 'application/x-amz-cbor-1.1',
      'x-amz-target': 'Kinesis_20131202.SubscribeToShard',
    },
    body: new Uint8Array(Buffer.concat(pieces)),
  });
  assert.equal(response.headers.get('content-type'), 'application/vnd.amazon.eventstream');
  const messages = messagesOf(response);
  const [initial, event] = [await messages.next(), await messages.next()];
  await messages.return(undefined);
  assert.ok(initial.done !== true && event.done !== true);
  assert.deepEqual(initial.value.headers[':event-type']?.value, 'initial-response');
  assert.deepEqual({ ...(decodeCbor(Buffer.from(initial.value.body)) as object) }, {});
  assert.equal(event.value.headers[':content-type']?.value, 'application/x-amz-cbor-1.1');
  const { Records } = decodeCbor(Buffer.from(event.value.body)) as SubscribeToShardEvent;
  assert.deepEqual(Records?.[0]?.Data, Buffer.from('one'));
  assert.deepEqual(Records[0].ApproximateArrivalTimestamp, new Date(kinesis.clock.nowMs()));
});

async function* messagesOf(response: Response): AsyncGenerator<Message> {
  const codec = new EventStreamCodec(
    (bytes) => Buffer.from(bytes as Uint8Array).toString(),
    (text) => Buffer.from(text),
  );
  let rest = Buffer.alloc(0);
  const body = response.body as unknown as AsyncIterable<Uint8Array>;
  for await (const chunk of body) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= rest.readUInt32BE()) {
      const length = rest.readUInt32BE();
      yield codec.decode(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  }
}

test('a subscription ends when its consumer or its stream is deleted, and says so', async (t) => {
  const kinesis = await startKinesis(t);
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const [one, two] = [await register(kinesis, client, 'a'), await register(kinesis, client, 'b')];
  const ofOne = await Subscriber.start(client, one, { Type: 'LATEST' });
  const ofTwo = await Subscriber.start(client, two, { Type: 'LATEST' });
  await Promise.all([ofOne.next(), ofTwo.next()]);
  await client.send(new DeregisterStreamConsumerCommand({ ConsumerARN: one }));
  await assert.rejects(ofOne.next(), ResourceNotFoundException);
  await client.send(new DeleteStreamCommand({ StreamName, EnforceConsumerDeletion: true }));
  await assert.rejects(ofTwo.next(), ResourceNotFoundException);
});

test('a consumer is CREATING, ACTIVE and DELETING, and only an ACTIVE one subscribes', async (t) => {
  const kinesis = await startKinesis(t);
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  const { Consumer } = await client.send(
    new RegisterStreamConsumerCommand({ StreamARN, ConsumerName: 'alarms' }),
  );
  const ConsumerARN = Consumer?.ConsumerARN ?? '';
  const status = async (): Promise<string | undefined> => {
    const described = await client.send(new DescribeStreamConsumerCommand({ ConsumerARN }));
    return described.ConsumerDescription?.ConsumerStatus;
  };
  const subscribe = (): Promise<Subscriber> =>
    Subscriber.start(client, ConsumerARN, { Type: 'LATEST' });
  const notActive = {
    name: 'ResourceInUseException',
    message:
      'Consumer alarms with creation timestamp 1767225600 under stream: readings, account 000000000000 is not in ACTIVE status.',
  };
  assert.equal(await status(), 'CREATING');
  await assert.rejects(subscribe(), notActive);
  kinesis.clock.advance(stateMs);
  assert.equal(await status(), 'ACTIVE');
  await client.send(new DeregisterStreamConsumerCommand({ ConsumerARN }));
  assert.equal(await status(), 'DELETING');
  await assert.rejects(subscribe(), notActive);
  await assert.rejects(
    client.send(new RegisterStreamConsumerCommand({ StreamARN, ConsumerName: 'alarms' })),
    { name: 'ResourceInUseException' },
  );
  kinesis.clock.advance(stateMs);
  await assert.rejects(status(), { name: 'ResourceNotFoundException' });
  await assert.rejects(subscribe(), { name: 'ResourceNotFoundException' });
});

test('forged ARNs, shards that are not there and callers without permission get nothing', async (t) => {
  const kinesis = await startKinesis(t);
  const client = kinesis.client('h2c');
  await kinesis.makeStream(StreamName);
  await client.send(new CreateStreamCommand({ StreamName: 'others', ShardCount: 1 }));
  const ConsumerARN = await register(kinesis, client);
  const subscribe = (arn: string, shard = ShardId): Promise<Subscriber> =>
    Subscriber.start(client, arn, { Type: 'LATEST' }, shard);
  for (const forged of [
    ConsumerARN.replace(/\d+$/, '1'),
    ConsumerARN.replace('alarms', 'charts'),
    ConsumerARN.replace('readings', 'others'),
    ConsumerARN.replace('readings', 'nowhere'),
    ConsumerARN.replace('000000000000', '123456789012'),
    ConsumerARN.replace('us-east-1', 'eu-west-1'),
  ]) {
    await assert.rejects(subscribe(forged), { name: 'ResourceNotFoundException' }, forged);
  }
  for (const malformed of [StreamARN, `${ConsumerARN}:`, 'arn', `${ConsumerARN}0000000000000000`]) {
    const name = /ValidationException|InvalidArgumentException|ResourceNotFoundException/;
    await assert.rejects(subscribe(malformed), { name }, malformed);
  }
  await assert.rejects(subscribe(ConsumerARN, 'shardId-000000000007'), {
    name: 'ResourceNotFoundException',
    message:
      'Could not find shard shardId-000000000007 in stream readings under account 000000000000.',
  });
  kinesis.denied.add('kinesis:SubscribeToShard');
  await assert.rejects(subscribe(ConsumerARN), { name: 'AccessDeniedException' });
  assert.equal(kinesis.metrics.values.get(openGauge) ?? 0, 0);
});
