/** The promises of batch sinks, asked of the sink for Kafka, before a real broker: on request. */
import { after } from 'node:test';
import { freePort } from '../../../support/gateway.ts';
import type { Scope } from '../../../support/scope.ts';
import { startCutter, type Cutter } from '../support/kafka/cutter.ts';
import { KafkaBroker, kafkaJars } from '../support/kafka/kafka-broker.ts';
import { deliverAll, sinkOf } from '../support/kafka/kafka-sink.ts';
import { batchSinkContract, itemsOf } from './batch-sink-contract.ts';

interface Served {
  readonly broker: KafkaBroker;
  /** Before it. */
  readonly cutter: Cutter;
  readonly address: string;
}

/** One broker for all tests, which takes a while to start: each has a topic of its own. */
let served: Promise<Served> | null = null;
let topics = 0;
const undoing: (() => unknown)[] = [];
after(async () => {
  for (const undo of undoing.reverse()) await undo();
});

async function serve(jars: string): Promise<Served> {
  const scope: Scope = { after: (undo) => undoing.push(undo) };
  const advertisedPort = await freePort();
  const cutter = await startCutter(scope, advertisedPort);
  const listener = { protocol: 'PLAINTEXT', settings: [], advertisedPort };
  const broker = await KafkaBroker.start(scope, jars, listener);
  cutter.upstreamPort = Number(broker.secondAddress.split(':')[1]);
  // A broker that has just begun makes the first producer wait.
  await broker.createTopic('first', 1);
  await deliverAll(sinkOf(scope, { brokers: [broker.address], topic: 'first' }), itemsOf(0, 1));
  return { broker, cutter, address: `127.0.0.1:${advertisedPort}` };
}

batchSinkContract('kafka', async (context) => {
  const jars = await kafkaJars(context);
  if (jars === null) return null;
  served ??= serve(jars);
  const { broker, cutter, address } = await served;
  await cutter.up();
  const topic = `readings-${(topics += 1)}`;
  // Order is that of a partition.
  await broker.createTopic(topic, 1);
  return {
    ...{ sink: sinkOf(context, { brokers: [address], topic }), isOrdered: true },
    deduplicates: false,
    taken: async () =>
      (await broker.read(topic)).map(({ id, data }) => ({
        id,
        value: JSON.parse(data) as unknown,
      })),
    down: () => cutter.down(),
    up: () => cutter.up(),
    loseNextAnswer: () => {
      cutter.losesNextAnswer = true;
    },
  };
});
