/** What is measured, and what beside it: the gateway, kinesalite, and a server that does nothing. */
import {
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  GetShardIteratorCommand,
  ListShardsCommand,
  PutRecordsCommand,
  type KinesisClient,
} from '@aws-sdk/client-kinesis';
import { join } from 'node:path';
import { Child, startChild } from '../../support/child.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import type { Scope } from '../../support/scope.ts';
import { credentials, sdkClient, type Input, type Protocol } from './kinesis-callers.ts';
import type { LatencyPlan, LatencyResult } from './kinesis-latency.ts';
import type { LoadPlan, LoadResult } from './kinesis-load.ts';
import { recordOf, recordsPerGet, recordsPerPut } from './kinesis-records.ts';

const root = join(import.meta.dirname, '../../..');

export interface KinesisServer {
  readonly name: string;
  readonly port: (protocol: Protocol) => number;
  /** Requests of GetRecords that are answered in full. */
  readonly reads: readonly Input[];
}

/** Shards of the stream that is written to, and of the one that is read. */
const shards = 4;
export const written = 'readings';
const archive = 'archive';

/** A whole gateway with one stream, whose shards are not limited and stay as many as they are. */
export async function startGateway(
  context: Scope,
  folder: string,
  shardCount = shards,
): Promise<GatewayProcess> {
  const key = JSON.stringify([{ name: 'bench', ...credentials }]);
  const options = `mode: provisioned, shards: ${shardCount}, maxBytes: 2 GB, whenFull: drop-oldest`;
  const sections = [
    `auth: { keys: ${key} }`,
    'kinesis: { enforceLimits: false }',
    `streams: { ${written}: { ${options} } }`,
  ];
  return GatewayProcess.start(context, folder, sections.join('\n'));
}

export async function gatewayServer(gateway: GatewayProcess): Promise<KinesisServer> {
  const client = sdkClient(gateway.httpPort, 'http1');
  const reads = await fill(client);
  client.destroy();
  return { name: 'gateway', port: () => gateway.httpPort, reads };
}

const kinesaliteProgram = `
  const server = require('kinesalite')({ createStreamMs: 0, deleteStreamMs: 0, shardLimit: 100 });
  server.listen(0, '127.0.0.1', () => console.log('listening on ' + server.address().port));
`;

/** kinesalite, everything in its memory. It speaks HTTP/1.1, and checks no signature. */
export async function startKinesalite(context: Scope): Promise<KinesisServer> {
  const child = startChild(context, process.execPath, ['-e', kinesaliteProgram], { cwd: root });
  const [, port] = await child.line(/listening on (\d+)/);
  const client = sdkClient(Number(port), 'http1');
  await createStream(client, written, shards);
  const reads = await fill(client);
  client.destroy();
  return { name: 'kinesalite', port: () => Number(port), reads };
}

export async function startCeiling(context: Scope): Promise<KinesisServer> {
  const script = join(import.meta.dirname, 'kinesis-ceiling.ts');
  const child = startChild(context, process.execPath, ['--import', 'tsx', script]);
  const [, http1, h2c] = await child.line(/listening on (\d+) and (\d+)/);
  const port = (protocol: Protocol): number => Number(protocol === 'h2c' ? h2c : http1);
  return { name: 'echo', port, reads: [{ ShardIterator: 'A'.repeat(84) }] };
}

/** Runs a program of its own that calls the server. */
export function load(plan: LoadPlan): Promise<LoadResult> {
  return resultOf('kinesis-load.ts', plan);
}

/** Runs a program of its own that puts records and is pushed them. */
export function measureLatency(plan: LatencyPlan): Promise<LatencyResult> {
  return resultOf('kinesis-latency.ts', plan);
}

async function resultOf<R>(program: string, plan: object): Promise<R> {
  const script = join(import.meta.dirname, program);
  const child = new Child(process.execPath, ['--import', 'tsx', script, JSON.stringify(plan)]);
  const [, result] = await child.line(/^RESULT (.*)$/);
  await child.exited;
  return JSON.parse(result ?? '') as R;
}

async function createStream(
  client: KinesisClient,
  stream: string,
  shardCount: number,
): Promise<void> {
  await client.send(new CreateStreamCommand({ StreamName: stream, ShardCount: shardCount }));
  for (;;) {
    const summary = await client.send(new DescribeStreamSummaryCommand({ StreamName: stream }));
    if (summary.StreamDescriptionSummary?.StreamStatus === 'ACTIVE') return;
  }
}

/** Makes a stream with as many records in each shard as a call reads; where its shards begin. */
async function fill(client: KinesisClient): Promise<readonly Input[]> {
  await createStream(client, archive, shards);
  const { Shards = [] } = await client.send(new ListShardsCommand({ StreamName: archive }));
  const reads: Input[] = [];
  for (const { ShardId, HashKeyRange } of Shards) {
    const ExplicitHashKey = HashKeyRange?.StartingHashKey;
    for (let from = 0; from < recordsPerGet; from += recordsPerPut) {
      const Records = Array.from({ length: recordsPerPut }, (_, index) => ({
        ...recordOf(from + index),
        ExplicitHashKey,
      }));
      await client.send(new PutRecordsCommand({ StreamName: archive, Records }));
    }
    const { ShardIterator } = await client.send(
      new GetShardIteratorCommand({
        StreamName: archive,
        ShardId,
        ShardIteratorType: 'TRIM_HORIZON',
      }),
    );
    reads.push({ ShardIterator });
  }
  return reads;
}
