/** Kafka, against a real broker, read by Kafka's own client. */
import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { SinkError, type BatchItem } from '../../../../gateway/forward/sink.ts';
import type { KafkaSink } from '../../../../gateway/forward/sinks/kafka/kafka-sink.ts';
import { freePort } from '../../../support/gateway.ts';
import { Authority } from '../../../support/certificates.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needs } from '../../../support/tools.ts';
import { batchOf, itemsOf } from '../support/batches.ts';
import { startCutter } from '../support/kafka/cutter.ts';
import { KafkaBroker, kafkaJars, type TopicRecord } from '../support/kafka/kafka-broker.ts';
import { deliverAll, sinkOf } from '../support/kafka/kafka-sink.ts';

const never = new AbortController().signal;

async function failure(sink: KafkaSink, item = itemsOf(1)): Promise<SinkError> {
  try {
    const [outcome] = await sink.deliver(batchOf(item), never);
    assert.ok(outcome instanceof SinkError, 'it was taken');
    return outcome;
  } catch (error) {
    assert.ok(error instanceof SinkError, String(error));
    return error;
  }
}

/** What of them is there, each key in its order. */
function assertThere(stored: readonly TopicRecord[], items: readonly BatchItem[]): void {
  assert.equal(new Set(stored.map(({ id }) => id)).size, items.length, 'lost');
  assert.equal(stored.length, items.length, 'duplicated');
  for (const key of new Set(items.map(({ partitionKey }) => partitionKey))) {
    assert.deepEqual(
      stored.filter((record) => record.key === key).map(({ id, data }) => [id, data]),
      items
        .filter(({ partitionKey }) => partitionKey === key)
        .map(({ id, data }) => [id, data.toString()]),
      key,
    );
  }
}

test('Kafka takes records by key, in order, once, whatever breaks', async (t) => {
  const jars = await kafkaJars(t);
  if (jars === null) return;
  const broker = await KafkaBroker.start(t, jars);
  const brokers = [broker.address];

  for (const compression of ['none', 'gzip', 'snappy', 'lz4'] as const) {
    await t.test(`records arrive where Kafka's own clients put them, ${compression}`, async (t) => {
      const topic = `taken-${compression}`;
      await broker.createTopic(topic, 3);
      const sink = sinkOf(t, { brokers, topic, compression, requestBytes: 2_000 });
      const items = itemsOf(300);
      // A broker that has just begun makes the first producer wait.
      await deliverAll(sink, items);
      const stored = await broker.read(topic);
      assertThere(stored, items);
      assert.ok(stored.every(({ partition, wanted }) => partition === wanted));
      assert.equal(stored.find(({ id }) => id === items[7]?.id)?.arrivalMs, items[7]?.arrivalMs);
      assert.match(await sink.check(never), new RegExp(`^topic ${topic} is there: 3 partitions`));
    });
  }

  await t.test('a record that is too large fails alone', async (t) => {
    await broker.createTopic('small', 2, ['max.message.bytes=3000']);
    const sink = sinkOf(t, { brokers, topic: 'small', requestBytes: 200_000 });
    const items = [...itemsOf(60), ...itemsOf(60)];
    const large = { ...itemsOf(1)[0], data: randomBytes(5000) } as BatchItem;
    items.splice(50, 0, large);
    const outcomes = await sink.deliver(batchOf(items), never);
    assert.deepEqual(
      outcomes.flatMap((outcome, index) => (outcome === null ? [] : [[index, outcome.code]])),
      [[50, 'too-large']],
    );
    assert.match(outcomes[50]?.advice ?? '', /max\.message\.bytes/);
    const others = items.filter((item) => item !== large);
    const more = itemsOf(40);
    assert.equal(await deliverAll(sink, more), 0);
    assertThere(await broker.read('small'), [...others, ...more]);
  });

  await t.test('what somebody has to mend is named', async (t) => {
    const missing = await failure(sinkOf(t, { brokers, topic: 'nowhere' }));
    assert.equal(missing.code, 'missing', missing.message);
    assert.match(missing.advice ?? '', /Create the topic/);
    await assert.rejects(sinkOf(t, { brokers, topic: 'nowhere' }).check(never), {
      code: 'missing',
    });
    const nobody = await failure(sinkOf(t, { brokers: ['127.0.0.1:1'] }));
    assert.equal(nobody.code, 'unreachable', nobody.message);
    assert.match(nobody.advice ?? '', /to\.kafka\.brokers/);
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    t.after(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    const late = await failure(
      sinkOf(t, { brokers: [`127.0.0.1:${port}`], requestTimeoutMs: 300 }),
    );
    assert.equal(late.code, 'timeout', late.message);
  });

  await t.test('a call is called off at once', async (t) => {
    await broker.createTopic('aborted', 1);
    const sink = sinkOf(t, { brokers, topic: 'aborted' });
    const calledOff = new AbortController();
    const items = itemsOf(100);
    const delivering = sink.deliver(batchOf(items), calledOff.signal);
    calledOff.abort();
    await assert.rejects(delivering, { code: 'aborted' });
    await deliverAll(sink, items);
    const stored = new Set((await broker.read('aborted')).map(({ id }) => id));
    assert.equal(stored.size, items.length);
  });

  await t.test('a broker that is killed loses nothing and keeps nothing twice', async (t) => {
    await broker.createTopic('killed', 3);
    const sink = sinkOf(t, { brokers, topic: 'killed', requestBytes: 20_000 });
    const lanes = [itemsOf(4_000), itemsOf(4_000)].map((items, lane) =>
      items.map((item) => ({ ...item, partitionKey: `${lane}-${item.partitionKey}` })),
    );
    let failed = 0;
    let delivered = 0;
    const sending = lanes.map(async (items) => {
      for (let at = 0; at < items.length; at += 100) {
        failed += await deliverAll(sink, items.slice(at, at + 100));
        delivered += 1;
      }
    });
    for (let kill = 0; kill < 3; kill += 1) {
      const from = delivered;
      const batches = randomInt(1, 8);
      while (delivered < from + batches) await new Promise((resolve) => setImmediate(resolve));
      await broker.stop('SIGKILL');
      await broker.start();
    }
    await Promise.all(sending);
    t.diagnostic(`${failed} attempts failed`);
    assertThere(await broker.read('killed'), lanes.flat());
  });
});

test('Kafka keeps records once though connections break before requests and before answers', async (t) => {
  const jars = await kafkaJars(t);
  if (jars === null) return;
  const advertisedPort = await freePort();
  const cutter = await startCutter(t, advertisedPort);
  const listener = { protocol: 'PLAINTEXT', settings: [], advertisedPort };
  const broker = await KafkaBroker.start(t, jars, listener);
  cutter.upstreamPort = Number(broker.secondAddress.split(':')[1]);
  await broker.createTopic('cut', 4);
  const sink = sinkOf(t, {
    ...{ brokers: [`127.0.0.1:${advertisedPort}`], topic: 'cut' },
    ...{ requestBytes: 3_000, requestTimeoutMs: 1_000 },
  });
  cutter.isCutting = true;
  const lanes = [0, 1, 2].map((lane) =>
    itemsOf(3_000).map((item) => ({ ...item, partitionKey: `${lane}-${item.partitionKey}` })),
  );
  const failures = await Promise.all(
    lanes.map(async (items) => {
      let failed = 0;
      for (let at = 0; at < items.length; at += 100) {
        failed += await deliverAll(sink, items.slice(at, at + 100));
      }
      return failed;
    }),
  );
  t.diagnostic(`${cutter.cuts} connections cut, ${failures.join(' + ')} attempts failed`);
  assert.ok(cutter.cuts > 20, 'hardly any connection broke');
  assertThere(await broker.read('cut'), lanes.flat());
});

test('Kafka lets in who has the password, or the certificate of its authority', async (t) => {
  const jars = await kafkaJars(t);
  if (jars === null || !needs(t, 'openssl')) return;
  await t.test('SASL', async (t) => {
    const plain =
      'listener.name.second.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_edge="secret";';
    const scram = (mechanism: string): string =>
      `listener.name.second.${mechanism}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;`;
    const mechanisms = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'];
    const broker = await KafkaBroker.start(
      t,
      jars,
      {
        protocol: 'SASL_PLAINTEXT',
        settings: [
          `listener.name.second.sasl.enabled.mechanisms=${mechanisms.join(',')}`,
          ...[plain, scram('scram-sha-256'), scram('scram-sha-512')],
        ],
      },
      ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
        '--add-scram',
        `${mechanism}=[name=edge,password=secret]`,
      ]),
    );
    await broker.createTopic('readings', 1);
    const brokers = [broker.secondAddress];
    for (const sasl of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
      const right = sinkOf(t, { brokers, sasl, username: 'edge', password: 'secret' });
      await deliverAll(right, itemsOf(1));
      const wrong = sinkOf(t, { brokers, sasl, username: 'edge', password: 'wr0ng' });
      const refused = await failure(wrong);
      assert.equal(refused.code, 'credentials', `${sasl}: ${refused.message}`);
      assert.ok(!refused.message.includes('wr0ng'));
    }
    assert.equal((await broker.read('readings')).length, 3);
  });
  await t.test('TLS', async (t) => {
    const folder = await temporaryFolder(t);
    const authority = new Authority(folder, 'plant');
    const { cert, key } = authority.issue('localhost');
    const store = join(folder, 'broker.pem');
    const caFile = join(folder, 'authority.pem');
    await writeFile(store, `${key}${cert}`);
    await writeFile(caFile, authority.cert);
    const broker = await KafkaBroker.start(t, jars, {
      protocol: 'SSL',
      settings: [
        ...['listener.name.second.ssl.keystore.type=PEM'],
        `listener.name.second.ssl.keystore.location=${store}`,
      ],
    });
    await broker.createTopic('readings', 1);
    const brokers = [broker.secondAddress];
    const trusting = sinkOf(t, { brokers, tls: true, caFile });
    await deliverAll(trusting, itemsOf(1));
    const stranger = await failure(sinkOf(t, { brokers, tls: true }));
    assert.equal(stranger.code, 'untrusted', stranger.message);
    assert.match(stranger.advice ?? '', /to\.kafka\.caFile/);
    const plaintext = await failure(sinkOf(t, { brokers, requestTimeoutMs: 1_000 }));
    assert.ok(plaintext.retryable, plaintext.message);
  });
});
