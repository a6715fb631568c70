/**
 * Forwarding: a backlog drained into an S3 server and into a Kinesis server, which run as programs
 * of their own, against the bare SDK: the same lines compressed and put, or the same records in
 * full calls, to the same server, as many at a time, with nothing read, planned or checkpointed.
 */
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import { gunzipSync, gzip } from 'node:zlib';
import { startDeliveries } from '../../gateway/forward/deliveries.ts';
import type { Destination } from '../../gateway/forward/options.ts';
import { systemClock } from '../../storage/clock.ts';
import { openStore, type Store } from '../../storage/store.ts';
import { WatchedMetrics } from '../gateway/forward/support/rig.ts';
import {
  createStream,
  credentials,
  s3Client,
  startKinesis,
  startS3,
} from '../gateway/forward/support/servers.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import type { Benchmark, BenchmarkContext, Figure } from './bench.ts';

const compress = promisify(gzip);
const recordBytes = 200;
const shards = 4;
const objectRecords = 200_000;
const streamRecords = 40_000;
const recordsPerCall = 500;
const inFlight = 4;
const devices = 1000;

export const benchmark: Benchmark = {
  name: 'forward',
  title: `A backlog of records of ${recordBytes} B, drained`,
  run: async (context) => [
    await intoS3(context),
    await intoKinesis(context, 'none'),
    await intoKinesis(context, 'kpl'),
  ],
};

async function intoS3(context: BenchmarkContext): Promise<Figure> {
  const objects = await temporaryFolder(context);
  const { endpoint } = await startS3(context, objects);
  const to = { s3: { bucket: 'bucket', endpoint, region: 'us-east-1', ...credentials } };
  const ours = await drain(join(context.folder, 's3'), objectRecords, to);
  context.note(`S3: ${Math.round(ours)} records/s; now the same lines by the bare SDK`);
  const names = await readdir(join(objects, 'bucket'), { recursive: true });
  const bodies = await Promise.all(
    names
      .filter((name) => name.endsWith('._S3rver_object'))
      .map(async (name) => gunzipSync(await readFile(join(objects, 'bucket', name)))),
  );
  const client = s3Client(context, endpoint);
  const startedMs = performance.now();
  await atOnce(bodies.entries(), async ([index, lines]) => {
    const Body = await compress(lines);
    await client.send(new PutObjectCommand({ Bucket: 'bucket', Key: `bare/${index}`, Body }));
  });
  const bare = (objectRecords * 1000) / (performance.now() - startedMs);
  return {
    name: 'into S3, gzipped NDJSON, exactly once',
    value: ours,
    unit: 'records/s',
    against: { name: 'the same lines, gzip and bare SDK', value: bare },
    ratio: ours / bare,
  };
}

/** The bare SDK puts single records both times: what aggregation is for shows in the second ratio. */
async function intoKinesis(context: BenchmarkContext, aggregate: 'none' | 'kpl'): Promise<Figure> {
  const { endpoint, client } = await startKinesis(context);
  await createStream(client, 'ours', shards);
  await createStream(client, 'bare', shards);
  const to = {
    kinesis: { stream: 'ours', endpoint, region: 'us-east-1', aggregate, ...credentials },
  };
  const ours = await drain(join(context.folder, `kinesis-${aggregate}`), streamRecords, to);
  context.note(
    `Kinesis, aggregate ${aggregate}: ${Math.round(ours)} records/s; now the same by the bare SDK`,
  );
  const calls = Array.from({ length: streamRecords / recordsPerCall }, (_, call) =>
    recordsOf(call * recordsPerCall, recordsPerCall),
  );
  const startedMs = performance.now();
  await atOnce(calls.values(), (records) => {
    const Records = records.map(({ partitionKey, data }) => ({
      PartitionKey: partitionKey,
      Data: data,
    }));
    return client.send(new PutRecordsCommand({ StreamName: 'bare', Records }));
  });
  const bare = (streamRecords * 1000) / (performance.now() - startedMs);
  return {
    name: `into Kinesis${aggregate === 'kpl' ? ', aggregated' : ''}, in order per key`,
    value: ours,
    unit: 'records/s',
    against: { name: `PutRecords of ${recordsPerCall}, bare SDK`, value: bare },
    ratio: ours / bare,
  };
}

/** Fills a log, then times a delivery that drains it. */
async function drain(folder: string, records: number, to: Destination): Promise<number> {
  const metrics = new WatchedMetrics();
  const ports = { clock: systemClock, logger: new MemoryLogger(), metrics };
  const store = await openStore({ folder, ...ports, video: { minFreeBytes: 0 } });
  try {
    await fill(store, records);
    const startedMs = performance.now();
    const deliveries = startDeliveries({
      deliveries: [{ name: 'out', from: { stream: 'readings' }, to, buffer: { maxSeconds: 0.1 } }],
      ...{ log: store.log, video: store.video, gatewayId: 'bench', random: Math.random },
      programs: { env: {}, killGroup: () => undefined },
      ...ports,
    });
    await metrics.sent(records);
    const perSecond = (records * 1000) / (performance.now() - startedMs);
    await deliveries.close();
    return perSecond;
  } finally {
    await store.close();
  }
}

async function fill({ log }: Store, records: number): Promise<void> {
  const options = { mode: 'on-demand', whenFull: 'refuse', maxBytes: null } as const;
  const retentionMs = 24 * 3_600_000;
  await log.createStream({ name: 'readings', shardCount: shards, retentionMs, ...options });
  for (let from = 0; from < records; from += recordsPerCall) {
    await log.append('readings', recordsOf(from, recordsPerCall));
  }
}

function recordsOf(
  from: number,
  count: number,
): readonly { readonly partitionKey: string; readonly data: Buffer }[] {
  return Array.from({ length: count }, (_, index) => {
    const text = JSON.stringify({ id: from + index, value: Math.sin(from + index), padding: '' });
    const padding = 'x'.repeat(recordBytes - text.length);
    return {
      partitionKey: `device-${(from + index) % devices}`,
      data: Buffer.from(text.replace('""', `"${padding}"`)),
    };
  });
}

async function atOnce<T>(
  items: IterableIterator<T>,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const worker = async (): Promise<void> => {
    for (const item of items) await work(item);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}
