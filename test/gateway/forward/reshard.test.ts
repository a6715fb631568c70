/** Deliveries over splits and merges of the stream that they read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SinkError, type OutgoingRecord, type RecordSink } from '../../../gateway/forward/sink.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { assertExactlyOnce } from './support/lines.ts';
import { numbered, openRig, runClock, settle, streamOptions } from './support/rig.ts';

const options = {
  name: 'live',
  from: { stream: 'readings' },
  to: { kinesis: { stream: 'up' } },
} as const;

/** A data stream in memory. */
class MemoryStream implements RecordSink {
  readonly kind = 'kinesis';
  readonly description = 'memory';
  readonly limits = { records: 50, bytes: 5000, recordBytes: 400 };
  readonly taken: number[] = [];
  /** What a call fails with; null: it is taken. */
  fails: Error | null = null;

  send(records: readonly OutgoingRecord[]): Promise<readonly (SinkError | null)[]> {
    if (this.fails !== null) return Promise.reject(this.fails);
    for (const { data } of records) {
      this.taken.push((JSON.parse(data.toString()) as { id: number }).id);
    }
    return Promise.resolve(records.map(() => null));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

const keys = 40;

test('while a stream is split and merged, every record is sent, in order within its key', async (context) => {
  const rig = await openRig(context);
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  const sink = new MemoryStream();
  const delivery = rig.start(options, sink);
  const appends: Promise<unknown>[] = [];
  const append = (): void => {
    appends.push(log.append('readings', numbered(appends.length * 20, 20, keys)));
  };
  const half = 1n << 127n;
  const changes = [
    () => log.splitShard('readings', 0, half),
    () => log.splitShard('readings', 2, half + half / 2n),
    () => log.mergeShards('readings', 3, 1),
    () => log.resizeStream('readings', 5),
    () => log.resizeStream('readings', 1),
  ];
  for (const change of changes) {
    append();
    const changed = change();
    append();
    await changed;
    await rig.metrics.sent(20 * appends.length);
  }
  await Promise.all(appends);
  const total = 20 * appends.length;
  assertExactlyOnce(sink.taken, total);
  for (let key = 0; key < keys; key += 1) {
    const ids = sink.taken.filter((id) => id % keys === key);
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
      `key ${key}`,
    );
  }
  // A checkpoint follows what was sent.
  while ((await delivery.status()).backlog.records > 0) await settle(rig);
  assert.equal((await delivery.status()).lostRecords, 0);
});

test('a shard that expired while its worker could do nothing holds up nobody', async (context) => {
  const clock = new ManualClock();
  const rig = await openRig(context, { clock });
  const { log, clockGuard, retention } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  const sink = new MemoryStream();
  sink.fails = new TypeError('a mistake of the sink');
  const delivery = rig.start({ ...options, required: false }, sink);
  await log.append('readings', numbered(0, 10, 1));
  const isBackingOff = (): boolean => rig.metrics.total('headgate_task_failures_total') > 0;
  await runClock(rig, clock, isBackingOff);
  await log.splitShard('readings', 0, 1n << 127n);
  // Time passes that the worker does not notice.
  clock.stepWall(25 * 3_600_000);
  await retention.run();
  await clockGuard.confirm();
  await retention.run();
  assert.deepEqual(
    log.stream('readings').shards.map(({ index }) => index),
    [1, 2],
  );
  sink.fails = null;
  await log.append('readings', numbered(10, 10));
  await runClock(rig, clock, () => sink.taken.length === 10, 1000);
  assert.deepEqual(
    sink.taken.toSorted((a, b) => a - b),
    Array.from({ length: 10 }, (_, index) => 10 + index),
  );
  const isOver = (): boolean =>
    !rig.supervisor.status().some(({ name }) => name === 'delivery/live/shard-0');
  await runClock(rig, clock, isOver, 1000);
  assert.equal((await delivery.status()).state, 'idle');
});

test('a stream that was deleted and made again is sent from its beginning', async (context) => {
  const clock = new ManualClock();
  const rig = await openRig(context, { clock });
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  const sink = new MemoryStream();
  rig.start(options, sink);
  await log.append('readings', numbered(0, 10));
  await runClock(rig, clock, () => sink.taken.length === 10);
  await log.deleteStream('readings');
  await log.ensureStream(streamOptions('readings'));
  await log.append('readings', numbered(10, 10));
  await settle(rig);
  await runClock(rig, clock, () => sink.taken.length === 20, 1000);
  assertExactlyOnce(sink.taken, 20);
});
