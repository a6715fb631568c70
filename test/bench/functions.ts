/**
 * Functions on streams: how fast an event source hands a log's records to a module in a thread, and to
 * an HTTP endpoint in a thread of its own, beside a bare loop for each shard that reads the same log,
 * makes the same events and calls the same function, with nothing checked, ordered or checkpointed.
 */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { EventSource } from '../../gateway/event-sources/event-source.ts';
import type { FunctionTarget } from '../../gateway/functions/target.ts';
import { Supervisor } from '../../gateway/supervisor.ts';
import { systemClock } from '../../storage/clock.ts';
import type { LogRecord } from '../../storage/model.ts';
import { openStore, type Store } from '../../storage/store.ts';
import { streamOptions, WatchedMetrics } from '../gateway/forward/support/rig.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { median, type Benchmark, type BenchmarkContext, type Figure } from './bench.ts';

const recordBytes = 200;
const records = 200_000;
const shards = 4;
const recordsPerAppend = 500;
const batchSize = 1_000;
const rounds = 3;

/** Looks into each record, as functions do. */
const handler = `
let sum = 0;
export function handler({ Records }) {
  for (const { kinesis } of Records) {
    sum += JSON.parse(Buffer.from(kinesis.data, 'base64').toString()).id;
  }
  return null;
}
`;

/** A thread that runs the handler for each text that it is sent. */
const bareThread = `
const { parentPort, workerData } = require('node:worker_threads');
import(workerData).then(({ handler }) => {
  parentPort.on('message', (event) => {
    parentPort.postMessage(JSON.stringify(handler(JSON.parse(event))));
  });
  parentPort.postMessage('ready');
});
`;

/** One that serves it over HTTP, and tells its port. */
const serverThread = `
const { parentPort, workerData } = require('node:worker_threads');
const { createServer } = require('node:http');
import(workerData).then(({ handler }) => {
  const server = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      response.end(JSON.stringify(handler(JSON.parse(Buffer.concat(parts)))));
    });
  });
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
});
`;

/** Calls the function with an event, as JSON. */
type Call = (event: string) => Promise<unknown>;

export const benchmark: Benchmark = {
  name: 'functions',
  title: `Functions on a stream of ${records.toLocaleString('en-US')} records of ${recordBytes} B in ${shards} shards, ${batchSize.toLocaleString('en-US')} a call`,
  run: async (context) => {
    const metrics = new WatchedMetrics();
    const store = await openStore({
      ...{ folder: join(context.folder, 'log'), video: { minFreeBytes: 0 } },
      ...{ clock: systemClock, logger: new MemoryLogger(), metrics },
    });
    try {
      context.note('filling the log');
      await store.log.createStream(streamOptions('readings', shards));
      for (let from = 0; from < records; from += recordsPerAppend) {
        await store.log.append('readings', recordsOf(from));
      }
      const path = join(context.folder, 'handler.mjs');
      await writeFile(path, handler);
      const { target, call } = await overHttp(context, path);
      const module = { path, export: 'handler', memoryMaxMiB: 128, concurrency: 1 };
      return [
        await besideBare(context, store, metrics, {
          ...{ name: 'a module', target: { module }, call: await inThread(context, path) },
        }),
        await besideBare(context, store, metrics, { name: 'an HTTP endpoint', target, call }),
      ];
    } finally {
      await store.close();
    }
  },
};

interface Measured {
  readonly name: string;
  readonly target: FunctionTarget;
  /** The same function, called by a bare loop. */
  readonly call: Call;
}

async function besideBare(
  context: BenchmarkContext,
  store: Store,
  metrics: WatchedMetrics,
  { name, target, call }: Measured,
): Promise<Figure> {
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    context.note(`${name}, round ${round + 1} of ${rounds}`);
    ours.push(await handedOver(store, metrics, `${name.replaceAll(' ', '-')}-${round}`, target));
    bare.push(await bareLoop(store, call));
  }
  const value = median(ours);
  const barePerSecond = median(bare);
  return {
    ...{ name: `records to ${name}`, value, unit: 'records/s', ratio: value / barePerSecond },
    against: { name: 'reads, makes events, calls', value: barePerSecond },
  };
}

/** Records per second, from the beginning of the stream to its end. */
async function handedOver(
  { log, video }: Store,
  metrics: WatchedMetrics,
  name: string,
  target: FunctionTarget,
): Promise<number> {
  const ports = { clock: systemClock, logger: new MemoryLogger(), metrics, random: Math.random };
  const supervisor = new Supervisor(ports);
  const doneName = 'headgate_function_records_total';
  const already = metrics.total(doneName);
  const startedMs = performance.now();
  const source = new EventSource(
    {
      ...{ name, from: { stream: 'readings' }, function: target, batchSize, filter: [] },
      ...{ batchWindowSeconds: 0, parallelization: 1, bisectOnError: false, retries: null },
      ...{ maxRecordAgeSeconds: null, reportBatchItemFailures: false, timeoutSeconds: 60 },
      ...{ tumblingWindowSeconds: 0, startAt: { edge: 'earliest' }, deadLetter: null },
      ...{ required: true, paused: false },
    },
    {
      ...{ log, video, owner: 'bench', supervisor, fetch, ...ports },
      account: { accountId: '123456789012', region: 'eu-central-1' },
    },
  );
  await metrics.until(() => metrics.total(doneName) >= already + records);
  const perSecond = (records * 1_000) / (performance.now() - startedMs);
  await source.close();
  await supervisor.close();
  return perSecond;
}

/** As one would write it for a single run: a loop for each shard. Returns records per second. */
async function bareLoop({ log }: Store, call: Call): Promise<number> {
  const startedMs = performance.now();
  await Promise.all(
    log.stream('readings').shards.map(async ({ id, index }) => {
      for (let next = 0; ;) {
        const slice = await log.read({
          ...{ shardId: id, fromSequence: next, maxRecords: batchSize, maxBytes: 2 ** 20 },
        });
        if (slice.records.length === 0) return;
        await call(JSON.stringify({ Records: slice.records.map((one) => eventOf(one, index)) }));
        next = slice.nextSequence;
      }
    }),
  );
  return (records * 1_000) / (performance.now() - startedMs);
}

function eventOf({ partitionKey, sequence, data, arrivalMs }: LogRecord, shard: number): object {
  const sequenceNumber = String(sequence).padStart(56, '0');
  return {
    kinesis: {
      ...{ kinesisSchemaVersion: '1.0', partitionKey, sequenceNumber },
      data: data.toString('base64'),
      approximateArrivalTimestamp: arrivalMs / 1_000,
    },
    ...{ eventSource: 'aws:kinesis', eventVersion: '1.0', eventName: 'aws:kinesis:record' },
    eventID: `shardId-${String(shard).padStart(12, '0')}:${sequenceNumber}`,
    invokeIdentityArn: 'arn:aws:iam::123456789012:role/headgate',
    awsRegion: 'eu-central-1',
    eventSourceARN: 'arn:aws:kinesis:eu-central-1:123456789012:stream/readings',
  };
}

async function inThread(context: BenchmarkContext, path: string): Promise<Call> {
  const { worker } = await startThread(context, bareThread, path);
  const waiting: ((answer: string) => void)[] = [];
  worker.on('message', (answer: string) => waiting.shift()?.(answer));
  return (event) =>
    new Promise((resolve) => {
      waiting.push(resolve);
      worker.postMessage(event);
    });
}

async function overHttp(
  context: BenchmarkContext,
  path: string,
): Promise<{ readonly target: FunctionTarget; readonly call: Call }> {
  const { said: port } = await startThread(context, serverThread, path);
  const url = `http://127.0.0.1:${String(port)}/`;
  const headers = { 'content-type': 'application/json' };
  return {
    target: { http: { url, authorization: null } },
    call: async (body) => (await fetch(url, { method: 'POST', headers, body })).json(),
  };
}

/** @returns it once it is ready, and what it said then */
async function startThread(context: BenchmarkContext, source: string, path: string) {
  const worker = new Worker(source, { eval: true, workerData: pathToFileURL(path).href });
  context.after(async () => {
    await worker.terminate();
  });
  const [said] = (await once(worker, 'message')) as [unknown];
  return { worker, said };
}

function recordsOf(from: number): readonly { partitionKey: string; data: Buffer }[] {
  return Array.from({ length: recordsPerAppend }, (_, index) => {
    const id = from + index;
    const text = JSON.stringify({ id, value: Math.sin(id), padding: '' });
    const padding = 'x'.repeat(recordBytes - text.length);
    const data = Buffer.from(text.replace('""', `"${padding}"`));
    return { partitionKey: `device-${id % 1_000}`, data };
  });
}
