import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import {
  ConsumerError,
  startConsumer,
  type Batch,
  type Consumer,
  type ConsumerOptions,
} from '../../../gateway/consumer/consumer.ts';
import type { Lease } from '../../../storage/model.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { ConsumerRig, Occasion, Sink, emissionOf } from './rig.ts';

const leaseMs = 1_000;

async function consume(
  context: TestContext,
  rig: ConsumerRig,
  options: Partial<ConsumerOptions> & Pick<ConsumerOptions, 'emit'>,
): Promise<Consumer> {
  const consumer = await startConsumer({
    ...{ url: rig.url, stream: 'readings', application: 'billing' },
    ...{ leaseMs, batchRecords: 20, closeMs: 5_000 },
    ...options,
  });
  context.after(() => consumer.close().catch(() => undefined));
  return consumer;
}

function leases(rig: ConsumerRig): readonly Lease[] {
  return rig.log.applications.list().find(({ name }) => name === 'billing')?.leases ?? [];
}

/** Emits into a sink that is at hand. */
function into(sink: Sink, owner: string): (batch: Batch) => Promise<void> {
  return async (batch) => {
    if (!sink.judge(emissionOf(owner, batch))) throw new Error('outdated');
    return Promise.resolve();
  };
}

test('a batch that is not emitted is tried again, before anything that comes after it', async (t) => {
  const rig = await ConsumerRig.start(t, 2);
  const total = await rig.append(200);
  const sink = new Sink();
  const logger = new MemoryLogger();
  let failures = 0;
  const attempts = new Map<number, number>();
  await consume(t, rig, {
    logger,
    random: () => 0,
    emit: async (batch) => {
      const attempt = (attempts.get(batch.shard) ?? 0) + 1;
      attempts.set(batch.shard, attempt);
      if (attempt % 3 === 1) {
        failures += 1;
        throw new Error('the database is away');
      }
      await into(sink, 'a')(batch);
    },
  });
  await sink.until(() => sink.seen === total);
  const lines = logger.lines.filter(({ message }) => message.includes('tried again'));
  assert.ok(failures >= 2);
  assert.equal(lines.length, failures, 'each failure is told');
});

test('closing finishes the batch, moves the checkpoint and gives the leases back', async (t) => {
  const rig = await ConsumerRig.start(t, 1);
  await rig.append(20);
  const sink = new Sink();
  const [begun, go] = [new Occasion<void>(), new Occasion<void>()];
  const consumer = await consume(t, rig, {
    emit: async (batch) => {
      begun.happens();
      await go.happened;
      await into(sink, 'a')(batch);
    },
  });
  await begun.happened;
  await rig.append(20);
  const closing = consumer.close();
  go.happens();
  await closing;
  assert.equal(sink.seen, 20, 'what was under way, and nothing more');
  assert.deepEqual(
    leases(rig).map(({ owner, checkpoint }) => [owner, checkpoint]),
    [['', 20]],
  );
  await consumer.close();
  assert.deepEqual(consumer.shards(), []);

  const next = await consume(t, rig, { emit: into(sink, 'b') });
  await sink.until(() => sink.seen === 40);
  await next.close();
  assert.equal(
    sink.accepted.reduce((sum, { records }) => sum + records.length, 0),
    40,
    'once',
  );
});

test('what does not end is told to, and comes again', async (t) => {
  const rig = await ConsumerRig.start(t, 1);
  await rig.append(20);
  const begun = new Occasion<AbortSignal>();
  const consumer = await consume(t, rig, {
    closeMs: 1,
    emit: async ({ signal }) => {
      begun.happens(signal);
      await once(signal, 'abort');
      throw new Error('told to end');
    },
  });
  await begun.happened;
  await consumer.close();
  assert.deepEqual(
    leases(rig).map(({ owner, checkpoint }) => [owner, checkpoint]),
    [['', 0]],
  );
});

test('a second worker gets its share, and nothing is emitted twice for it', async (t) => {
  const rig = await ConsumerRig.start(t, 4);
  const sink = new Sink();
  const first = await consume(t, rig, { emit: into(sink, 'a') });
  let total = await rig.append(400);
  await sink.until(() => sink.seen === total);
  const second = await consume(t, rig, { emit: into(sink, 'b') });
  while (second.shards().length < 2) {
    total = await rig.append(40);
    const mark = total;
    await sink.until(() => sink.seen === mark);
  }
  assert.equal(first.shards().length, 2);
  const emitted = sink.accepted.reduce((sum, { records }) => sum + records.length, 0);
  assert.equal(emitted, sink.seen, 'each record once');
});

test('over a restart of the gateway a worker keeps its leases', async (t) => {
  const rig = await ConsumerRig.start(t, 2);
  const sink = new Sink();
  const consumer = await consume(t, rig, { leaseMs: 30_000, emit: into(sink, 'a') });
  let total = await rig.append(100);
  await sink.until(() => sink.seen === total);
  await rig.restart();
  // Another worker comes first, and gets nothing that is not its own.
  const second = await consume(t, rig, { leaseMs: 30_000, emit: into(sink, 'b') });
  total = await rig.append(100);
  await sink.until(() => sink.seen === total);
  assert.deepEqual(second.shards(), []);
  assert.deepEqual(consumer.shards(), [0, 1]);
  assert.deepEqual([...new Set(sink.accepted.map(({ fence }) => fence))], [1]);
  await Promise.all([consumer.close(), second.close()]);
});

test('a lease that can not be renewed is given up in time, and what runs is told', async (t) => {
  const rig = await ConsumerRig.start(t, 1);
  const sink = new Sink();
  const signals: AbortSignal[] = [];
  const begun = new Occasion<AbortSignal>();
  await rig.append(20);
  await consume(t, rig, {
    emit: async (batch) => {
      signals.push(batch.signal);
      begun.happens(batch.signal);
      if (signals.length > 1) return into(sink, 'a')(batch);
      await once(batch.signal, 'abort');
      throw new Error('told to end');
    },
  });
  const signal = await begun.happened;
  await rig.restart(async () => {
    await once(signal, 'abort');
  });
  const { reason } = signal as { reason: unknown };
  assert.ok(reason instanceof ConsumerError && reason.code === 'lease-lost');
  await sink.until(() => sink.seen === 20);
  assert.equal(sink.accepted[0]?.fence, 2, 'read again under a new lease');
});

test('children are read after their parents, however the stream begins', async (t) => {
  for (const start of ['TRIM_HORIZON', 'LATEST'] as const) {
    const rig = await ConsumerRig.start(t, 1);
    await rig.append(100);
    await rig.log.splitShard('readings', 0, 2n ** 127n);
    await rig.append(100);
    const sink = new Sink();
    const consumer = await consume(t, rig, { start, emit: into(sink, 'a') });
    if (start === 'TRIM_HORIZON') {
      await sink.until(() => sink.seen === 200);
      continue;
    }
    const lookedAt = (): boolean => leases(rig).length === 3 && consumer.shards().length === 2;
    while (!lookedAt()) await new Promise((resolve) => setImmediate(resolve));
    const records: string[] = [];
    sink.judge = ({ records: taken }) => {
      records.push(...taken.map(({ key, value }) => `${key} ${value}`));
      return true;
    };
    await rig.log.splitShard('readings', 1, 2n ** 126n);
    await rig.append(40);
    while (records.length < 40) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(new Set(records).size, 40, 'all that came since, from the children too');
    assert.ok(records.includes('key-0 5'));
  }
});

test('what no waiting mends ends the consumer', async (t) => {
  const rig = await ConsumerRig.start(t, 1);
  const emit = (): Promise<void> => Promise.resolve();
  const code =
    (expected: string) =>
    (error: unknown): boolean =>
      error instanceof ConsumerError && error.code === expected;
  await assert.rejects(consume(t, rig, { stream: 'nowhere', emit }), code('not-found'));
  await assert.rejects(consume(t, rig, { application: 'no spaces', emit }), code('bad-request'));
  await assert.rejects(consume(t, rig, { application: 'delivery:x', emit }), code('bad-request'));
  await assert.rejects(consume(t, rig, { url: 'http://127.0.0.1:1', emit }), code('no-answer'));
  await assert.rejects(consume(t, rig, { url: 'nonsense', emit }), code('bad-request'));
  const consumer = await consume(t, rig, { emit });
  await rig.log.applications.remove('billing');
  await assert.rejects(consumer.ended, code('not-found'));
});

test('who hangs up while waiting is forgotten by the gateway', async (t) => {
  const rig = await ConsumerRig.start(t, 1);
  const waiting = new Occasion<AbortSignal>();
  const forRecords = rig.log.waitForRecords.bind(rig.log);
  rig.log.waitForRecords = (shardId, from, signal) => {
    waiting.happens(signal);
    return forRecords(shardId, from, signal);
  };
  const client = new AbortController();
  const path = `${rig.url}/api/v1/streams/readings/shards/0/records?waitSeconds=20`;
  const asked = assert.rejects(fetch(path, { signal: client.signal }));
  const signal = await waiting.happened;
  const forgotten = once(signal, 'abort');
  client.abort();
  await forgotten;
  await asked;
});
