/**
 * Deliveries of records as objects: how fast one drains a backlog into an S3 server (a program of
 * its own) beside a bare loop that reads the same log, compresses and puts; what twenty of them cost
 * beside one; the memory and the event loop meanwhile.
 */
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { startDeliveries } from '../../gateway/forward/deliveries.ts';
import { formatOf } from '../../gateway/forward/format/formats.ts';
import { bufferDefaults, type DeliveryOptions } from '../../gateway/forward/options.ts';
import { asTheyAre } from '../../gateway/forward/shape/source.ts';
import { systemClock } from '../../storage/clock.ts';
import type { LogRecord } from '../../storage/model.ts';
import { openStore, type Store } from '../../storage/store.ts';
import { testPrograms, WatchedMetrics } from '../gateway/forward/support/rig.ts';
import { credentials, s3Client, startS3 } from '../gateway/forward/support/servers.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { median, type Benchmark, type BenchmarkContext, type Figure } from './bench.ts';

const compress = promisify(gzip);
const recordBytes = 200;
const shards = 4;
const records = 400_000;
const recordsPerAppend = 500;
const many = 20;
const rounds = 3;
const newline = Buffer.from('\n');
const columns = [
  { name: 'id', type: 'bigint' },
  { name: 'value', type: 'double' },
  { name: 'padding', type: 'string' },
] as const;

export const benchmark: Benchmark = {
  name: 'deliveries',
  title: `Deliveries of ${records.toLocaleString('en-US')} records of ${recordBytes} B in ${shards} shards`,
  run: async (context) => {
    const metrics = new WatchedMetrics();
    const ports = { clock: systemClock, logger: new MemoryLogger(), metrics };
    const store = await openStore({
      ...{ folder: join(context.folder, 'log'), ...ports },
      video: { minFreeBytes: 0 },
    });
    try {
      context.note('filling the log');
      await createStream(store, 'readings');
      await fill(store, 'readings');
      const log = { store, metrics, ports };
      return [...(await intoS3(context, log)), ...(await twenty(context, log))];
    } finally {
      await store.close();
    }
  },
};

interface Filled {
  readonly store: Store;
  readonly metrics: WatchedMetrics;
  readonly ports: {
    readonly clock: typeof systemClock;
    readonly logger: MemoryLogger;
    readonly metrics: WatchedMetrics;
  };
}

async function intoS3(context: BenchmarkContext, log: Filled): Promise<readonly Figure[]> {
  const { endpoint } = await startS3(context, await temporaryFolder(context));
  const to = { s3: { bucket: 'bucket', endpoint, region: 'us-east-1', ...credentials } };
  const client = s3Client(context, endpoint);
  const put = async (key: string, Body: Buffer): Promise<void> => {
    await client.send(new PutObjectCommand({ Bucket: 'bucket', Key: key, Body }));
  };
  const ours: Drained[] = [];
  const bare: number[] = [];
  const parquet: Drained[] = [];
  for (let round = 0; round < rounds; round += 1) {
    context.note(`into S3, round ${round + 1} of ${rounds}`);
    ours.push(await drain(log, [{ name: `gzip-${round}`, to }]));
    bare.push(await bareLoop(log.store, `bare-${round}`, put));
    parquet.push(
      await drain(log, [{ name: `parquet-${round}`, to, format: { type: 'parquet', columns } }]),
    );
  }
  const perSecond = median(ours.map((drained) => drained.perSecond));
  const barePerSecond = median(bare);
  const parquetPerSecond = median(parquet.map((drained) => drained.perSecond));
  const worst = (drained: readonly Drained[]): number =>
    median(drained.map(({ loopDelayP99Ms }) => loopDelayP99Ms));
  return [
    {
      name: 'NDJSON, gzipped, into S3, exactly once',
      value: perSecond,
      unit: 'records/s',
      target: { atLeast: 150_000 },
    },
    {
      name: 'the same, beside a bare loop',
      value: perSecond,
      unit: 'records/s',
      against: { name: 'reads, gzips, puts', value: barePerSecond },
      ratio: perSecond / barePerSecond,
      target: { atLeast: 0.7 },
    },
    {
      name: 'event-loop delay meanwhile, p99',
      value: worst(ours),
      unit: 'ms',
      target: { atMost: 20 },
    },
    {
      name: 'Parquet into S3, exactly once',
      value: parquetPerSecond,
      unit: 'records/s',
      target: { atLeast: 150_000 },
    },
    {
      name: 'event-loop delay meanwhile, p99',
      value: worst(parquet),
      unit: 'ms',
      target: { atMost: 20 },
    },
  ];
}

/**
 * What one delivery costs beyond its own work while records come, and what twenty do: reading, plans
 * and checkpoints, without appending. Their own work is encoding, compressing and writing.
 */
async function twenty(context: BenchmarkContext, log: Filled): Promise<readonly Figure[]> {
  const folder = await temporaryFolder(context);
  const own: number[] = [];
  const none: number[] = [];
  const one: number[] = [];
  const all: Drained[] = [];
  const follow = async (count: number, round: number): Promise<Drained> => {
    const stream = `live-${count}-${round}`;
    await createStream(log.store, stream);
    const wanted = Array.from({ length: count }, (_, index) => {
      const name = `${stream}-${index}`;
      return { name, to: { folder: { path: join(folder, name) } } };
    });
    return drain(log, wanted, { stream, append: true });
  };
  for (let round = 0; round < rounds; round += 1) {
    context.note(`none, one and ${many} deliveries of what comes, round ${round + 1} of ${rounds}`);
    // Twenty times as much is taken away as is measured here: it has to be known well.
    for (const time of ['first', 'second', 'third']) {
      own.push(await ownWork(log.store, join(folder, `own-${round}-${time}`)));
    }
    none.push((await follow(0, round)).cpuSeconds);
    one.push((await follow(1, round)).cpuSeconds);
    all.push(await follow(many, round));
  }
  const ownSeconds = median(own);
  const appending = median(none);
  const beyondOne = median(one) - appending - ownSeconds;
  const allSeconds = median(all.map(({ cpuSeconds }) => cpuSeconds));
  const beyondAll = allSeconds - appending - many * ownSeconds;
  const buffersBytes = many * shards * bufferDefaults.maxBytes;
  const grownBytes = Math.max(...all.map((drained) => drained.grownBytes));
  return [
    {
      name: `CPU of ${many} deliveries of what comes, beyond their own work`,
      value: beyondAll,
      unit: 's',
      against: { name: 'one delivery, beyond its own', value: beyondOne },
      ratio: beyondAll / beyondOne,
      target: { atMost: 1.25 },
    },
    {
      name: `memory of ${many} deliveries, beyond what was used before`,
      value: grownBytes / 2 ** 20,
      unit: 'MiB',
      against: { name: 'their buffers and 100 MB', value: (buffersBytes + 1e8) / 2 ** 20 },
      ratio: grownBytes / (buffersBytes + 1e8),
      target: { atMost: 1 },
    },
    {
      name: `event-loop delay of ${many} deliveries, p99`,
      value: median(all.map(({ loopDelayP99Ms }) => loopDelayP99Ms)),
      unit: 'ms',
      target: { atMost: 20 },
    },
  ];
}

type Wanted = Pick<DeliveryOptions, 'name' | 'to' | 'format'>;

interface Drained {
  readonly perSecond: number;
  readonly cpuSeconds: number;
  readonly loopDelayP99Ms: number;
  readonly grownBytes: number;
}

/** Sends all that is in a stream through each of the deliveries, or what is appended meanwhile. */
async function drain(
  { store, metrics, ports }: Filled,
  wanted: readonly Wanted[],
  { stream, append } = { stream: 'readings', append: false },
): Promise<Drained> {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  const already = metrics.total('headgate_delivery_sent_records_total');
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 100);
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  delay.enable();
  const deliveries = startDeliveries({
    deliveries: wanted.map((one) => ({
      ...one,
      from: { stream },
      buffer: { maxSeconds: append ? 1 : 0.1 },
    })),
    ...{
      log: store.log,
      video: store.video,
      gatewayId: 'bench',
      random: Math.random,
      programs: testPrograms,
    },
    ...ports,
  });
  if (append) await fill(store, stream);
  await metrics.sent(already + records * wanted.length);
  const seconds = (performance.now() - startedMs) / 1000;
  delay.disable();
  const { user, system } = process.cpuUsage(cpu);
  clearInterval(watch);
  await deliveries.close();
  return {
    perSecond: (records * wanted.length) / seconds,
    cpuSeconds: (user + system) / 1e6,
    loopDelayP99Ms: delay.percentile(99) / 1e6,
    grownBytes: most - before,
  };
}

/** As one would write it for a single run: a loop for each shard. Returns records per second. */
async function bareLoop(
  store: Store,
  name: string,
  put: (key: string, body: Buffer) => Promise<void>,
): Promise<number> {
  const startedMs = performance.now();
  await Promise.all(
    store.log.stream('readings').shards.map(async ({ id }) => {
      let object = 0;
      for await (const slice of slices(store, id)) {
        const body = Buffer.concat(slice.flatMap(({ data }) => [data, newline]));
        await put(`${name}/${id}/${object}.gz`, await compress(body));
        object += 1;
      }
    }),
  );
  return (records * 1000) / (performance.now() - startedMs);
}

/** The CPU of what every delivery has to do for itself: encode, compress, checksum, write. */
async function ownWork(store: Store, folder: string): Promise<number> {
  await mkdir(folder);
  const format = formatOf({ type: 'ndjson' }, { shardIndex: 0 });
  let microseconds = 0;
  for (const { id } of store.log.stream('readings').shards) {
    let object = 0;
    for await (const slice of slices(store, id)) {
      const shaped = asTheyAre(slice);
      const cpu = process.cpuUsage();
      const encoder = format.encoder();
      await encoder.add(shaped);
      const { object: encoded } = await encoder.end();
      encoder.close();
      await writeFile(join(folder, `${id}-${object}`), encoded?.pieces ?? []);
      const { user, system } = process.cpuUsage(cpu);
      microseconds += user + system;
      object += 1;
    }
  }
  return microseconds / 1e6;
}

/** What is in a shard, as much at a time as a delivery puts into an object. */
async function* slices(store: Store, shardId: number): AsyncGenerator<readonly LogRecord[]> {
  let gathered: LogRecord[] = [];
  let bytes = 0;
  for (let next = 0; ;) {
    const { records: read, nextSequence } = await store.log.read({
      ...{ shardId, fromSequence: next, maxRecords: 5000, maxBytes: 2 ** 20 },
    });
    for (const record of read) {
      gathered.push(record);
      bytes += record.data.length + 1;
    }
    if (bytes >= bufferDefaults.maxBytes || (read.length === 0 && bytes > 0)) {
      yield gathered;
      gathered = [];
      bytes = 0;
    }
    if (read.length === 0) return;
    next = nextSequence;
  }
}

async function createStream({ log }: Store, name: string): Promise<void> {
  const options = { mode: 'on-demand', whenFull: 'refuse', maxBytes: null } as const;
  await log.createStream({ name, shardCount: shards, retentionMs: 24 * 3_600_000, ...options });
}

async function fill({ log }: Store, stream: string): Promise<void> {
  for (let from = 0; from < records; from += recordsPerAppend) {
    await log.append(stream, recordsOf(from));
  }
}

function recordsOf(
  from: number,
): readonly { readonly partitionKey: string; readonly data: Buffer }[] {
  return Array.from({ length: recordsPerAppend }, (_, index) => {
    const id = from + index;
    const text = JSON.stringify({ id, value: Math.sin(id), padding: '' });
    const padding = 'x'.repeat(recordBytes - text.length);
    return {
      partitionKey: `device-${id % 1000}`,
      data: Buffer.from(text.replace('""', `"${padding}"`)),
    };
  });
}
