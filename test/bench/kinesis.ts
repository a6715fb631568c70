/**
 * The Kinesis API of a whole gateway, signatures checked, every put answered after its fsynced
 * commit. Beside it, called by the same client: kinesalite, which keeps everything in memory and
 * checks no signature, and a server that reads what it is sent and answers from memory without a
 * look at it, which is the ceiling of that client.
 *
 * There are two clients, each a process of its own (support/kinesis-callers.ts). The SDK is what
 * users have, and the targets are for it: it takes most of a core itself, so its ceiling is low. The
 * bare one signs ahead and looks at nothing, so that what it measures is the server alone.
 *
 * Servers take turns, and the best round of each counts.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Benchmark, BenchmarkContext, Figure } from './bench.ts';
import { fillLongStream, longStream, longStreamQueries } from './support/kinesis-long-stream.ts';
import { recordBytes, recordsPerGet, recordsPerPut } from './support/kinesis-records.ts';
import {
  gatewayServer,
  load,
  startCeiling,
  startGateway,
  startKinesalite,
  written,
  type KinesisServer,
} from './support/kinesis-servers.ts';
import type { Operation, Protocol } from './support/kinesis-callers.ts';
import { memoryUnderSlowConsumers, slowConsumers } from './support/kinesis-slow-consumers.ts';

const rounds = 3;
const secondsPerRound = 3;
/** Two whole windows of the gateway's own measure of its loop. */
const loopSeconds = 22;

interface Way {
  readonly operation: Operation;
  readonly name: string;
  readonly callers: number;
  readonly recordsPerCall: number;
  /** Of the ceiling, by the SDK. */
  readonly ceilingMin: number;
  /** Of kinesalite. */
  readonly peerMin: number | null;
}

const ways: readonly Way[] = [
  {
    operation: 'PutRecords',
    name: `PutRecords of ${recordsPerPut}, 4 callers`,
    ...{ callers: 4, recordsPerCall: recordsPerPut, ceilingMin: 0.5, peerMin: 4 },
  },
  {
    operation: 'GetRecords',
    name: `GetRecords of ${recordsPerGet.toLocaleString('en-US')}, 4 callers`,
    ...{ callers: 4, recordsPerCall: recordsPerGet, ceilingMin: 0.7, peerMin: null },
  },
  {
    operation: 'PutRecord',
    name: 'PutRecord, 16 callers',
    ...{ callers: 16, recordsPerCall: 1, ceilingMin: 0.8, peerMin: null },
  },
];

const clients: readonly { client: 'sdk' | 'bare'; protocol: Protocol; name: string }[] = [
  { client: 'sdk', protocol: 'h2c', name: 'SDK over h2c' },
  { client: 'sdk', protocol: 'http1', name: 'SDK over HTTP/1.1' },
  { client: 'bare', protocol: 'http1', name: 'bare client over HTTP/1.1' },
];

export const benchmark: Benchmark = {
  name: 'kinesis',
  title: `The Kinesis API, records of ${recordBytes} B, signatures checked`,
  run: async (context) => {
    const figures: Figure[] = [];
    const folder = await folderIn(context, 'compared');
    const gateway = await startGateway(context, folder);
    const servers = {
      ours: await gatewayServer(gateway),
      peer: await startKinesalite(context),
      ceiling: await startCeiling(context),
    };
    for (const way of ways) {
      for (const client of clients) {
        figures.push(...(await compare(context, servers, way, client)));
      }
    }
    figures.push(...(await holdLoop(context, servers.ours, (path) => gateway.fetch(path))));
    figures.push(...(await underSlowConsumers(context, servers.ours, gateway.child.process.pid)));
    await gateway.stop();
    await rm(folder, { recursive: true, force: true });
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

interface Servers {
  readonly ours: KinesisServer;
  readonly peer: KinesisServer;
  readonly ceiling: KinesisServer;
}

async function compare(
  { note }: BenchmarkContext,
  { ours, peer, ceiling }: Servers,
  way: Way,
  { client, protocol, name: clientName }: (typeof clients)[number],
): Promise<readonly Figure[]> {
  const { operation, callers, recordsPerCall } = way;
  // kinesalite speaks HTTP/1.1 only.
  const compared = protocol === 'h2c' ? [ours, ceiling] : [ours, peer, ceiling];
  const best = new Map<KinesisServer, number>();
  let clientCores = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const server of compared) {
      const result = await load({
        ...{ client, protocol, operation, callers, stream: written },
        ...{ port: server.port(protocol), seconds: secondsPerRound },
        ...(operation === 'GetRecords' ? { inputs: server.reads } : {}),
      });
      const perSecond = result.callsPerSecond * recordsPerCall;
      best.set(server, Math.max(best.get(server) ?? 0, perSecond));
      if (server === ceiling) clientCores = result.clientCores;
    }
  }
  const [value = 0, peerValue = 0, ceilingValue = 0] = [ours, peer, ceiling].map((server) =>
    best.get(server),
  );
  note(
    `${way.name}, ${clientName}: ${Math.round(value)} of ${Math.round(ceilingValue)} records/s; ` +
      `the client took ${clientCores.toFixed(2)} cores at its ceiling`,
  );
  const figure = { name: `${way.name}, ${clientName}`, value, unit: 'records/s' };
  const againstCeiling: Figure = {
    ...figure,
    against: { name: 'answers from memory', value: ceilingValue },
    ratio: value / ceilingValue,
    ...(client === 'sdk' ? { target: { atLeast: way.ceilingMin } } : {}),
  };
  if (protocol === 'h2c') return [againstCeiling];
  return [
    againstCeiling,
    {
      ...figure,
      against: { name: 'kinesalite', value: peerValue },
      ratio: value / peerValue,
      ...(way.peerMin === null ? {} : { target: { atLeast: way.peerMin } }),
    },
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
