/**
 * Puts records at a steady pace and receives them by SubscribeToShard from each shard, with one
 * client of the SDK each over h2c, and prints how long each record took from the call that put it
 * to the event that brought it. Both ends are one process, so that they go by the same clock.
 *
 * node --import tsx kinesis-latency.ts <plan as JSON>
 */
import { EventEmitter, once } from 'node:events';
import { performance } from 'node:perf_hooks';
import {
  DescribeStreamConsumerCommand,
  DescribeStreamSummaryCommand,
  ListShardsCommand,
  PutRecordsCommand,
  RegisterStreamConsumerCommand,
  SubscribeToShardCommand,
  type KinesisClient,
} from '@aws-sdk/client-kinesis';
import { quantile } from '../bench.ts';
import { sdkClient } from './kinesis-callers.ts';
import { recordOf, recordsPerPut } from './kinesis-records.ts';

export interface LatencyPlan {
  readonly port: number;
  readonly stream: string;
  readonly recordsPerSecond: number;
  readonly seconds: number;
}

export interface LatencyResult {
  readonly records: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const warmUpSeconds = 2;
const callsPerSecond = 100;
const stampBytes = 8;

const plan = JSON.parse(process.argv[2] ?? '') as LatencyPlan;
const producer = sdkClient(plan.port, 'h2c');
const consumer = sdkClient(plan.port, 'h2c');
const latenciesMs: number[] = [];
let beginMs = Infinity;
const allReceived = new EventEmitter();
let expected = Infinity;

function stamped(index: number): { PartitionKey: string; Data: Buffer } {
  const record = recordOf(index);
  record.Data.writeDoubleLE(performance.now(), record.Data.length - stampBytes);
  return record;
}

function received(data: Uint8Array): void {
  const view = Buffer.from(data.buffer, data.byteOffset, data.length);
  const putMs = view.readDoubleLE(data.length - stampBytes);
  if (putMs < beginMs) return;
  latenciesMs.push(performance.now() - putMs);
  if (latenciesMs.length >= expected) allReceived.emit('all');
}

async function register(client: KinesisClient): Promise<string> {
  const summary = await client.send(new DescribeStreamSummaryCommand({ StreamName: plan.stream }));
  const StreamARN = summary.StreamDescriptionSummary?.StreamARN;
  const registered = await client.send(
    new RegisterStreamConsumerCommand({ StreamARN, ConsumerName: 'latency' }),
  );
  const ConsumerARN = registered.Consumer?.ConsumerARN ?? '';
  for (;;) {
    const { ConsumerDescription } = await client.send(
      new DescribeStreamConsumerCommand({ ConsumerARN }),
    );
    if (ConsumerDescription?.ConsumerStatus === 'ACTIVE') return ConsumerARN;
  }
}

async function subscribe(ConsumerARN: string, ShardId: string | undefined): Promise<void> {
  const { EventStream } = await consumer.send(
    new SubscribeToShardCommand({ ConsumerARN, ShardId, StartingPosition: { Type: 'LATEST' } }),
  );
  if (EventStream === undefined) throw new Error('a subscription without events');
  void (async () => {
    for await (const { SubscribeToShardEvent: event } of EventStream) {
      for (const { Data } of event?.Records ?? []) if (Data !== undefined) received(Data);
    }
    throw new Error('a subscription ended');
  })();
}

const ConsumerARN = await register(consumer);
const { Shards = [] } = await consumer.send(new ListShardsCommand({ StreamName: plan.stream }));
await Promise.all(Shards.map(({ ShardId }) => subscribe(ConsumerARN, ShardId)));

async function put(seconds: number): Promise<number> {
  const fromMs = performance.now();
  const calls: Promise<unknown>[] = [];
  let sent = 0;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const passedSeconds = (performance.now() - fromMs) / 1000;
      const due = Math.min(Math.floor(passedSeconds * plan.recordsPerSecond) - sent, recordsPerPut);
      const Records = Array.from({ length: due }, (_, index) => stamped(sent + index));
      sent += due;
      if (due > 0) {
        calls.push(producer.send(new PutRecordsCommand({ StreamName: plan.stream, Records })));
      }
      if (passedSeconds < seconds) return;
      clearInterval(timer);
      resolve();
    }, 1000 / callsPerSecond);
  });
  await Promise.all(calls);
  return sent;
}

await put(warmUpSeconds);
beginMs = performance.now();
expected = await put(plan.seconds);
if (latenciesMs.length < expected) await once(allReceived, 'all');
const result: LatencyResult = {
  records: latenciesMs.length,
  p50Ms: quantile(latenciesMs, 0.5),
  p99Ms: quantile(latenciesMs, 0.99),
};
process.stdout.write(`RESULT ${JSON.stringify(result)}\n`);
process.exit(0);
