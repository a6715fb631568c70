import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { applicationOf } from '../../../gateway/forward/applications.ts';
import { SinkError } from '../../../gateway/forward/sink.ts';
import { folderSink } from '../../../gateway/forward/sinks/folder/folder-sink.ts';
import { s3Sink } from '../../../gateway/forward/sinks/s3/s3-sink.ts';
import { Database } from '../../../storage/sqlite.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { assertExactlyOnce, idsOf } from './support/lines.ts';
import { MemorySink } from './support/memory-sink.ts';
import { startProxy } from './support/proxy.ts';
import { numbered, openRig, runClock, settle, streamOptions, type Rig } from './support/rig.ts';
import {
  credentials,
  getObjects,
  listKeys,
  passWhole,
  s3Client,
  startS3,
  startWholeS3,
} from './support/servers.ts';

const quick = { maxBytes: 20_000, maxSeconds: 0.1 };
const fromReadings = { from: { stream: 'readings' }, to: { folder: { path: '' } } } as const;

async function rigWithStream(
  context: Parameters<typeof openRig>[0],
  shards = 1,
  options: Parameters<typeof openRig>[1] = {},
): Promise<Rig> {
  const rig = await openRig(context, options);
  await rig.store.log.ensureStream(streamOptions('readings', shards));
  return rig;
}

test('every record of every shard arrives in a folder exactly once', async (context) => {
  const rig = await rigWithStream(context, 4);
  const root = await temporaryFolder(context);
  await rig.store.log.append('readings', numbered(0, 3000));
  rig.start(
    { name: 'archive', ...fromReadings, buffer: quick },
    folderSink({ path: root }),
    'site/',
  );
  for (let first = 3000; first < 5000; first += 100) {
    await rig.store.log.append('readings', numbered(first, 100));
  }
  await rig.metrics.sent(5000);
  const files = (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const file of files) {
    assert.match(
      file.slice(root.length + 1),
      /^site\/\d{4}\/\d\d\/\d\d\/\d\d\/readings-1-\d{4}(-\d\d){5}-[0-9a-f-]{36}\.ndjson\.gz$/,
    );
  }
  assert.ok(files.length > 4, 'the buffer cuts several objects');
  assertExactlyOnce(idsOf(await Promise.all(files.map((file) => readFile(file)))), 5000);
});

test('every record arrives in S3 exactly once, in order within an object', async (context) => {
  const { endpoint } = await startWholeS3(context, await temporaryFolder(context));
  const rig = await rigWithStream(context);
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  const delivery = rig.start({ name: 'archive', ...fromReadings, buffer: quick }, sink);
  for (let first = 0; first < 3000; first += 100) {
    await rig.store.log.append('readings', numbered(first, 100));
  }
  await rig.metrics.sent(3000);
  const client = s3Client(context, endpoint);
  const objects = await getObjects(client, await listKeys(client));
  for (const object of objects) {
    const ids = idsOf([object]);
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    );
  }
  assertExactlyOnce(idsOf(objects), 3000);
  const status = await delivery.status();
  assert.equal(status.sentRecords, 3000);
  assert.equal(status.sentObjects, objects.length);
  assert.equal(status.failures, 0);
  assert.ok(status.lastSuccessMs !== null);
});

test('data that is not JSON, and the envelope', async (context) => {
  const rig = await rigWithStream(context);
  const sink = new MemorySink();
  await rig.store.log.append('readings', [{ partitionKey: 'k', data: Buffer.of(255, 10) }]);
  rig.start({ name: 'a', ...fromReadings, buffer: quick, record: 'envelope' }, sink);
  await rig.metrics.sent(1);
  const [object] = sink.objects.values();
  const line = JSON.parse(gunzipSync(object!).toString()) as Record<string, unknown>;
  const { sequence, partitionKey, dataBase64 } = line;
  assert.deepEqual(
    { sequence, partitionKey, dataBase64 },
    {
      sequence: 0,
      partitionKey: 'k',
      dataBase64: '/wo=',
    },
  );
});

test('an object is closed by size at once, by age otherwise, whichever comes first', async (context) => {
  const clock = new ManualClock();
  const rig = await rigWithStream(context, 1, { clock });
  const sink = new MemorySink();
  const buffer = { maxBytes: 100_000, maxSeconds: 60 };
  const readUpTo = watchReading(rig);
  rig.start({ name: 'a', ...fromReadings, buffer }, sink);
  const append = async (bytes: number): Promise<void> => {
    const data = Buffer.from(JSON.stringify('x'.repeat(bytes)));
    await rig.store.log.append('readings', [{ partitionKey: 'k', data }]);
  };
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await settle(rig);
  };
  const sent = (records: number) => (): boolean =>
    rig.metrics.total('headgate_delivery_sent_records_total') >= records;
  await append(10);
  await readUpTo(1);
  await pass(30_000);
  await append(10);
  await pass(29_000);
  assert.equal(sink.attempts, 0, 'neither full nor old enough');
  await runClock(rig, clock, sent(2));
  assert.equal(sink.objects.size, 1);

  await append(60_000);
  await append(60_000);
  // A second one would not have fitted in.
  assert.ok((await runClock(rig, clock, sent(3))) < 59_000, 'long before it is old enough');
  assert.equal(sink.objects.size, 2);

  // The clock on the wall stepping a day ahead makes nothing older that was seen before.
  await readUpTo(4);
  clock.stepWall(24 * 3600 * 1000);
  await pass(50_000);
  assert.equal(sink.attempts, 2);
  await runClock(rig, clock, sent(4));
});

/** Tells when a delivery has read everything before a sequence number and waits for more. */
function watchReading(rig: Rig): (sequence: number) => Promise<void> {
  const { log } = rig.store;
  const wait = log.waitForRecords.bind(log);
  let reached = -1;
  let look = (): void => undefined;
  log.waitForRecords = (shardId, fromSequence, signal) => {
    reached = fromSequence;
    look();
    return wait(shardId, fromSequence, signal);
  };
  return (sequence) =>
    new Promise((resolve) => {
      look = () => {
        if (reached >= sequence) resolve();
      };
      look();
    });
}

test('a lost acknowledgement and a stop: the same object again, though the buffer changed', async (context) => {
  const folder = await temporaryFolder(context);
  const sink = new MemorySink();
  const first = await rigWithStream(context, 1, { folder });
  await first.store.log.append('readings', numbered(0, 500));
  const stuck = new Promise<void>((resolve) => {
    sink.before = async (upload, signal) => {
      const pieces: Buffer[] = [];
      for await (const piece of upload.read()) pieces.push(piece);
      sink.objects.set(upload.key, Buffer.concat(pieces));
      resolve();
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(new SinkError('aborted', 'called off'));
        });
      });
    };
  });
  first.start({ name: 'a', ...fromReadings, buffer: quick }, sink);
  await stuck;
  await first.close();
  const [key, content] = [...sink.objects][0]!;

  const second = await openRig(context, { folder });
  await second.store.log.append('readings', numbered(500, 500));
  sink.before = (upload) => {
    assert.equal(upload.key, key, 'the plan comes first');
    sink.before = () => undefined;
  };
  const other = { maxBytes: 7_000, maxSeconds: 0.2 };
  second.start({ name: 'a', ...fromReadings, buffer: other }, sink);
  await second.metrics.sent(1000);
  assert.ok(sink.objects.get(key)!.equals(content), 'to the byte');
  assertExactlyOnce(idsOf(sink.objects.values()), 1000);
});

test('a server that fails now and then: everything arrives, nothing twice', async (context) => {
  const server = await startS3(context, await temporaryFolder(context));
  let requests = 0;
  const { endpoint } = await startProxy(context, server.endpoint, async (passing) => {
    requests += 1;
    if (requests % 5 === 1) passing.response.writeHead(503).end();
    else if (requests % 5 === 2) passing.response.destroy();
    else if (requests % 5 === 3) {
      // It arrived; nobody is told.
      await passing.ask();
      passing.response.destroy();
    } else await passWhole(passing);
  });
  const rig = await rigWithStream(context, 2);
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  const delivery = rig.start(
    { name: 'a', ...fromReadings, buffer: { ...quick, maxBytes: 30_000 } },
    sink,
  );
  await rig.store.log.append('readings', numbered(0, 2000));
  await rig.metrics.sent(2000);
  const client = s3Client(context, server.endpoint);
  const objects = await getObjects(client, await listKeys(client));
  assertExactlyOnce(idsOf(objects), 2000);
  const status = await delivery.status();
  assert.ok(status.failures >= 3);
  assert.equal(status.lostRecords, 0);
});

test('the S3 server killed under load and back: the backlog drains in order', async (context) => {
  const folder = await temporaryFolder(context);
  const first = await startS3(context, folder);
  const proxy = await startProxy(context, first.endpoint, passWhole);
  const rig = await rigWithStream(context);
  const sink = s3Sink({ bucket: 'bucket', endpoint: proxy.endpoint, credentials });
  const delivery = rig.start(
    { name: 'a', ...fromReadings, buffer: { ...quick, maxBytes: 5_000 } },
    sink,
  );
  const append = (from: number): Promise<unknown> =>
    rig.store.log.append('readings', numbered(from, 50));
  for (let from = 0; from < 1000; from += 50) await append(from);
  await rig.metrics.sent(100);
  await first.child.stop('SIGKILL');
  for (let from = 1000; from < 2000; from += 50) await append(from);
  await rig.metrics.until((metrics) => metrics.total('headgate_delivery_failures_total') > 0);
  const down = await delivery.status();
  assert.equal(down.state, 'backing-off');
  assert.ok(down.retryAtMs !== null && down.backlog.records > 0 && down.backlog.bytes > 0);
  assert.ok(down.lastFailure?.retryable);

  await startS3(context, folder, first.port);
  await rig.metrics.sent(2000);
  const client = s3Client(context, proxy.endpoint);
  const objects = await getObjects(client, await listKeys(client));
  assertExactlyOnce(idsOf(objects), 2000);
});

test('a dead sink holds up nobody else, and closing does not wait for it', async (context) => {
  const rig = await rigWithStream(context);
  const dead = new MemorySink();
  dead.before = (_upload, signal) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        reject(new SinkError('aborted', 'called off'));
      });
    });
  const alive = new MemorySink();
  const stuck = rig.start({ name: 'dead', ...fromReadings, buffer: quick }, dead);
  rig.start({ name: 'alive', ...fromReadings, buffer: quick }, alive);
  await rig.store.log.append('readings', numbered(0, 500));
  await rig.metrics.sent(500);
  assertExactlyOnce(idsOf(alive.objects.values()), 500);
  await stuck.close();
  await stuck.close();
  assert.equal((await stuck.status()).state, 'stopped');
});

test('what only somebody can mend is shown, tried slowly, and never dropped', async (context) => {
  const clock = new ManualClock();
  const rig = await rigWithStream(context, 1, { clock });
  const sink = new MemorySink();
  sink.before = () => {
    throw new SinkError('missing', 'NoSuchBucket: the bucket is not there');
  };
  const buffer = { maxBytes: 1024, maxSeconds: 0.1 };
  const delivery = rig.start({ name: 'a', ...fromReadings, buffer }, sink);
  await rig.store.log.append('readings', numbered(0, 100));
  const failures = (count: number): Promise<void> =>
    rig.metrics.until((metrics) => metrics.total('headgate_delivery_failures_total') >= count);
  await failures(1);
  const status = await delivery.status();
  assert.equal(status.state, 'backing-off');
  assert.equal(status.lastFailure?.code, 'missing');
  assert.equal(status.lastFailure.retryable, false);
  assert.equal(status.backlog.records, 100);
  await settle(rig);
  clock.advance(29_000);
  await settle(rig);
  assert.equal(sink.attempts, 1, 'not hammered');
  clock.advance(2_000);
  await failures(2);
  const warnings = rig.logger.lines.filter(({ message }) => message === 'a delivery fails');
  assert.equal(warnings.length, 1, 'said once, then summed up');
  sink.before = () => undefined;
  const sent = (): number => rig.metrics.total('headgate_delivery_sent_records_total');
  await runClock(rig, clock, () => sent() === 100, 5_000);
  assert.ok(rig.logger.lines.some(({ message }) => message === 'a delivery works again'));
});

test('a corrupt batch is counted as lost; what is around it arrives', async (context) => {
  const folder = await temporaryFolder(context);
  const first = await rigWithStream(context, 1, { folder });
  for (let from = 0; from < 50; from += 10) {
    await first.store.log.append('readings', numbered(from, 10));
  }
  await first.close();
  const database = await Database.open(join(folder, 'headgate.db'));
  await database.run('UPDATE batch SET body = zeroblob(length(body)) WHERE first_sequence = 20');
  await database.close();

  const second = await openRig(context, { folder });
  const sink = new MemorySink();
  const delivery = second.start({ name: 'a', ...fromReadings, buffer: quick }, sink);
  await second.metrics.sent(40);
  const ids = idsOf(sink.objects.values());
  assert.deepEqual(
    ids,
    [...Array(50).keys()].filter((id) => id < 20 || id >= 30),
  );
  assert.equal((await delivery.status()).lostRecords, 10);
});

test('startAt latest counts once: later starts go on where the first one was', async (context) => {
  const folder = await temporaryFolder(context);
  const sink = new MemorySink();
  const options = { name: 'a', ...fromReadings, buffer: quick, startAt: 'latest' } as const;
  const first = await rigWithStream(context, 3, { folder });
  await first.store.log.append('readings', numbered(1000, 100));
  const delivery = first.start(options, sink);
  await first.metrics.until((metrics) => metrics.total('headgate_task_up') >= 4);
  await first.store.log.append('readings', numbered(0, 100));
  await first.metrics.sent(100);
  await delivery.close();
  await first.store.log.append('readings', numbered(100, 100));
  await first.close();

  const second = await openRig(context, { folder });
  second.start(options, sink);
  await second.metrics.sent(100);
  assertExactlyOnce(idsOf(sink.objects.values()), 200);
});

test('a delivery whose lease was taken over sends nothing more', async (context) => {
  const rig = await rigWithStream(context);
  const sink = new MemorySink();
  const delivery = rig.start({ name: 'a', ...fromReadings, buffer: quick }, sink);
  await rig.store.log.append('readings', numbered(0, 10));
  await rig.metrics.sent(10);
  const { applications } = rig.store.log;
  const shardId = rig.store.log.stream('readings').shards[0]!.id;
  const source = { kind: 'shard', id: shardId } as const;
  // Another process of the same name, as after a failed handover.
  await applications.acquire(applicationOf(delivery.name), source, 'process-1', 60_000, 0);
  await rig.store.log.append('readings', numbered(10, 10));
  await rig.metrics.until((metrics) => metrics.total('headgate_task_failures_total') > 0);
  assert.equal(idsOf(sink.objects.values()).length, 10);
  const status = await delivery.status();
  assert.equal(status.state, 'backing-off');
  assert.equal(status.lastFailure?.code, 'lease-lost');
});

test('a stream that comes later is noticed, and its children after their parents', async (context) => {
  const folder = await temporaryFolder(context);
  const clock = new ManualClock();
  const first = await openRig(context, { folder, clock });
  const sink = new MemorySink();
  first.start({ name: 'a', ...fromReadings, buffer: quick }, sink);
  await first.metrics.until((metrics) => metrics.total('headgate_task_failures_total') > 0);
  await first.store.log.ensureStream(streamOptions('readings'));
  await first.store.log.append('readings', numbered(0, 10, 1));
  const sent = (): number => first.metrics.total('headgate_delivery_sent_records_total');
  await runClock(first, clock, () => sent() === 10, 5_000);
  await first.store.log.append('readings', numbered(10, 10, 1));
  await first.store.log.splitShard('readings', 0, 1n << 127n);
  await first.close();

  const second = await openRig(context, { folder });
  await second.store.log.append('readings', numbered(20, 10, 1));
  const order: number[] = [];
  sink.before = async (upload) => {
    const pieces: Buffer[] = [];
    for await (const piece of upload.read()) pieces.push(piece);
    order.push(...idsOf([Buffer.concat(pieces)]));
  };
  second.start({ name: 'a', ...fromReadings, buffer: quick }, sink);
  await second.metrics.sent(20);
  assertExactlyOnce(idsOf(sink.objects.values()), 30);
  const after = order.filter((id) => id >= 10);
  assert.deepEqual(
    after,
    after.toSorted((x, y) => x - y),
    'the parent is sent first',
  );
});
