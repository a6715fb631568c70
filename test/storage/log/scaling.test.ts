import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import type { ShardDescription, StreamOptions } from '../../../storage/model.ts';
import { openTestStore, streamOptions, type TestStore } from '../support/open.ts';

const lookMs = 10_000;
const minute = 6;

/** Devices that send at a steady pace, and the looks that come with time. */
class Load {
  readonly #opened: TestStore;

  constructor(opened: TestStore) {
    this.#opened = opened;
  }

  static async on(context: TestContext, change: Partial<StreamOptions> = {}): Promise<Load> {
    const opened = await openTestStore(context, { maxShards: 4 });
    await opened.store.log.createStream(streamOptions(change));
    return new Load(opened);
  }

  get opened(): TestStore {
    return this.#opened;
  }

  open(): ShardDescription[] {
    const { shards } = this.#opened.store.log.stream('readings');
    return shards.filter(({ closedMs }) => closedMs === null);
  }

  /** @param keyOf the partition key of a record by its number */
  async run(
    looks: number,
    recordsPerSecond: number,
    keyOf = (number: number): string => `device-${number % 1000}`,
  ): Promise<void> {
    const { store, clock } = this.#opened;
    for (let look = 0; look < looks; look += 1) {
      const count = (recordsPerSecond * lookMs) / 1000;
      const records = Array.from({ length: count }, (_, number) => ({
        partitionKey: keyOf(number),
        data: Buffer.alloc(10),
      }));
      if (count > 0) await store.log.append('readings', records);
      clock.advance(lookMs);
      await store.scaling.look();
    }
  }
}

test('a stream on demand gets shards as its load grows, up to the limit, and loses them again', async (t) => {
  const load = await Load.on(t);
  await load.run(minute, 500);
  assert.equal(load.open().length, 1, 'half of a shard');
  await load.run(minute + 1, 1500);
  assert.equal(load.open().length, 2);
  await load.run(2 * minute, 1500);
  assert.equal(load.open().length, 2, 'it is enough');
  await load.run(4 * minute, 5000);
  assert.equal(load.open().length, 4, 'the limit');
  const { log } = load.opened.store;
  const taken = log.stream('readings').shards.reduce((sum, shard) => sum + shard.nextSequence, 0);
  assert.equal(taken, 10 * (minute * 500 + (3 * minute + 1) * 1500 + 4 * minute * 5000));
  await load.run(5 * minute, 0);
  assert.equal(load.open().length, 4, 'a pause changes nothing');
  await load.run(40 * minute, 0);
  assert.equal(load.open().length, 1, 'what it began with');
  const { values } = load.opened.metrics;
  assert.equal(values.get('headgate_log_reshards_total{kind="split",stream="readings"}'), 3);
  assert.equal(values.get('headgate_log_reshards_total{kind="merge",stream="readings"}'), 3);
});

test('a burst of less than a minute changes nothing', async (t) => {
  const load = await Load.on(t);
  for (let round = 0; round < 5; round += 1) {
    await load.run(minute - 1, 3000);
    await load.run(1, 0);
  }
  assert.equal(load.open().length, 1);
});

test('after a split each half has about half of the load, wherever its keys lie', async (t) => {
  const load = await Load.on(t);
  // All in the first sixteenth of the hash keys.
  const all = Array.from({ length: 1000 }, (_, number) => `device-${number}`);
  const keys = all.filter((key) => hash('md5', key, 'hex').startsWith('0')).slice(0, 4);
  await load.run(minute + 1, 1500, (number) => keys[number % keys.length]!);
  const before = load.open().map(({ nextSequence }) => nextSequence);
  await load.run(1, 1500, (number) => keys[number % keys.length]!);
  const taken = load.open().map(({ nextSequence }, index) => nextSequence - before[index]!);
  assert.deepEqual(taken, [7500, 7500]);
});

test('a load under one key is told once, and shown while it lasts, but not split', async (t) => {
  const load = await Load.on(t);
  const dominated = (number: number): string => (number % 4 === 0 ? `device-${number}` : 'loud');
  await load.run(3 * minute, 2000, dominated);
  assert.equal(load.open().length, 1);
  const told = load.opened.logger.lines.filter(({ level }) => level === 'warn');
  assert.deepEqual(
    told.map(({ fields }) => [fields['stream'], fields['shard'], fields['partitionKey']]),
    [['readings', '0', 'loud']],
  );
  const metric = 'headgate_log_dominant_key_ratio{shard="0",stream="readings"}';
  assert.equal(load.opened.metrics.values.get(metric)?.toFixed(3), '0.750');
  await load.run(1, 0);
  assert.equal(load.opened.metrics.values.get(metric), 0);
});

test('a provisioned stream is left alone, until it is made one on demand', async (t) => {
  const load = await Load.on(t, { mode: 'provisioned' });
  await load.run(2 * minute, 3000);
  assert.equal(load.open().length, 1);
  await load.opened.store.log.updateStream('readings', { mode: 'on-demand' });
  await load.run(minute + 1, 3000);
  assert.equal(load.open().length, 2);
});

test('a stream is never merged below what it began with, nor split past what it was given', async (t) => {
  const load = await Load.on(t, { shardCount: 6 });
  await load.run(minute + 1, 6 * 1500);
  assert.equal(load.open().length, 6);
  await load.run(40 * minute, 0);
  assert.equal(load.open().length, 6);
});

test('a step of the wall clock is no load and no silence', async (t) => {
  const load = await Load.on(t);
  await load.run(minute - 1, 1500);
  load.opened.clock.stepWall(-3_600_000);
  await load.run(1, 1500);
  load.opened.clock.stepWall(24 * 3_600_000);
  await load.run(1, 1500);
  assert.equal(load.open().length, 2);
});
