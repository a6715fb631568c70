/**
 * What the Kinesis API has to keep to, whatever is asked of it, with signatures checked: how soon
 * records reach a consumer with enhanced fan-out, how long large requests hold the event loop, how
 * much memory slow consumers take, what a stream of many shards takes, and how quickly a time is
 * found in a long one. How fast it is beside others is kinesis.ts.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { GatewayProcess } from '../support/gateway.ts';
import type { Benchmark, BenchmarkContext, Figure } from './bench.ts';
import { fillLongStream, longStream, longStreamQueries } from './support/kinesis-long-stream.ts';
import { recordBytes, recordsPerPut } from './support/kinesis-records.ts';
import {
  gatewayServer,
  load,
  measureLatency,
  startGateway,
  written,
  type KinesisServer,
} from './support/kinesis-servers.ts';
import { memoryUnderSlowConsumers, slowConsumers } from './support/kinesis-slow-consumers.ts';

const rounds = 2;
const secondsPerRound = 3;
/** Two whole windows of the gateway's own measure of its loop. */
const loopSeconds = 22;
const latencySeconds = 10;

export const benchmark: Benchmark = {
  name: 'kinesis-limits',
  title: `What the Kinesis API keeps to, records of ${recordBytes} B, signatures checked`,
  run: async (context) => {
    const gateway = await startGateway(context, await folderIn(context, 'four'));
    const ours = await gatewayServer(gateway);
    const figures = [
      ...(await pushed(context, gateway)),
      ...(await holdLoop(context, ours, (path) => gateway.fetch(path))),
      ...(await underSlowConsumers(context, ours, gateway.child.process.pid)),
    ];
    await gateway.stop();
    figures.push(await manyShards(context));
    figures.push(...(await longStreamFigures(context)));
    return figures;
  },
};

async function folderIn({ folder }: BenchmarkContext, name: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(path);
  return path;
}

/** From the call that puts a record to the event that brings it. */
async function pushed(
  { note }: BenchmarkContext,
  { httpPort: port }: GatewayProcess,
): Promise<readonly Figure[]> {
  const recordsPerSecond = 1000;
  const name = `SubscribeToShard, put to delivery at ${recordsPerSecond} records/s`;
  note(name);
  const plan = { port, stream: written, recordsPerSecond, seconds: latencySeconds };
  const { p50Ms, p99Ms } = await measureLatency(plan);
  return [
    { name: `${name}, p50`, value: p50Ms, unit: 'ms', target: { atMost: 10 } },
    { name: `${name}, p99`, value: p99Ms, unit: 'ms', target: { atMost: 30 } },
  ];
}

/** How long the largest requests and answers keep others waiting, by the gateway's own measure. */
async function holdLoop(
  { note }: BenchmarkContext,
  ours: KinesisServer,
  fetch: (path: string) => Promise<Response>,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  const large = [
    { name: 'GetRecords of 10,000', operation: 'GetRecords', inputs: ours.reads },
    { name: 'PutRecords of 10 MB', operation: 'PutRecords', recordBytes: 20_000 },
  ] as const;
  for (const { name, ...plan } of large) {
    note(`the event loop under ${name}`);
    await load({
      ...{ client: 'bare', protocol: 'http1', callers: 2, stream: written, ...plan },
      ...{ port: ours.port('http1'), seconds: loopSeconds },
    });
    const metrics = await (await fetch('/metrics')).text();
    const delayMs = (quantile: string): number => {
      const pattern = `headgate_event_loop_delay_seconds\\{quantile="${quantile}"\\} (\\S+)`;
      return Number(new RegExp(pattern).exec(metrics)?.[1]) * 1000;
    };
    figures.push(
      {
        ...{ name: `event-loop delay under ${name}, p99`, value: delayMs('0.99'), unit: 'ms' },
        target: { atMost: 20 },
      },
      { name: `event-loop delay under ${name}, longest`, value: delayMs('1'), unit: 'ms' },
    );
  }
  return figures;
}

async function underSlowConsumers(
  { note }: BenchmarkContext,
  ours: KinesisServer,
  pid: number | undefined,
): Promise<readonly Figure[]> {
  if (pid === undefined) throw new Error('the gateway does not run');
  note(`${slowConsumers} slow consumers`);
  const { beginBytes, endBytes } = await memoryUnderSlowConsumers(ours, pid);
  const name = `memory with ${slowConsumers} slow consumers of GetRecords, under puts`;
  return [
    { name, value: endBytes / 1e6, unit: 'MB' },
    {
      name: 'the same, of what it was in the first seconds',
      value: endBytes / 1e6,
      unit: 'MB',
      against: { name: 'at the beginning', value: beginBytes / 1e6 },
      ratio: endBytes / beginBytes,
      target: { atMost: 1.2 },
    },
  ];
}

async function manyShards(context: BenchmarkContext): Promise<Figure> {
  const shards = 512;
  const folder = await folderIn(context, 'shards');
  const gateway = await startGateway(context, folder, shards);
  let best = 0;
  for (let round = 0; round < rounds; round += 1) {
    const { callsPerSecond } = await load({
      ...{ client: 'bare', protocol: 'http1', operation: 'PutRecords', callers: 8 },
      ...{ port: gateway.httpPort, seconds: secondsPerRound, stream: written },
    });
    best = Math.max(best, callsPerSecond * recordsPerPut);
  }
  await gateway.stop();
  context.note(`${shards} shards: ${Math.round(best)} records/s`);
  return {
    name: `PutRecords of ${recordsPerPut} into ${shards} shards, 8 callers, bare client`,
    ...{ value: best, unit: 'records/s', target: { atLeast: 50_000 } },
  };
}

async function longStreamFigures(context: BenchmarkContext): Promise<readonly Figure[]> {
  const folder = await folderIn(context, 'long');
  const records = 10_000_000;
  context.note(`a stream of ${records.toLocaleString('en-US')} records`);
  const span = await fillLongStream(join(folder, 'data'), records);
  const gateway = await startGateway(context, folder);
  const { p50Ms, p99Ms } = await load({
    ...{ client: 'bare', protocol: 'http1', operation: 'GetShardIterator', callers: 1 },
    ...{ port: gateway.httpPort, seconds: secondsPerRound, stream: longStream },
    inputs: longStreamQueries(span),
  });
  await gateway.stop();
  const name = 'AT_TIMESTAMP in 10,000,000 records of one shard';
  return [
    { name: `${name}, p50`, value: p50Ms, unit: 'ms' },
    { name: `${name}, p99`, value: p99Ms, unit: 'ms', target: { atMost: 10 } },
  ];
}
