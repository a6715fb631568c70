/**
 * Outages, slow links, splits and merges, restarts and changes of the configuration in random order,
 * seeded: whatever comes, every record arrives, in objects exactly once.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Delivery } from '../../../gateway/forward/delivery.ts';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { SinkError, type OutgoingRecord, type RecordSink } from '../../../gateway/forward/sink.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { seededRandom } from '../../storage/support/open.ts';
import { assertExactlyOnce } from './support/lines.ts';
import { Link } from './support/link.ts';
import { numbered, openRig, settle, streamOptions, type Rig } from './support/rig.ts';

const seeds = 8;
const events = 40;

/** A data stream in memory: takes some of a call, and may keep quiet about what it took. */
class Stream implements RecordSink {
  readonly kind = 'kinesis';
  readonly description = 'memory';
  readonly limits = { records: 10, bytes: 500, recordBytes: 400 };
  readonly taken: number[] = [];
  up = true;
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  send(records: readonly OutgoingRecord[]): Promise<readonly (SinkError | null)[]> {
    const lost = new SinkError('unreachable', 'no link');
    if (!this.up) return Promise.reject(lost);
    const outcomes = records.map(({ data }) => {
      if (this.#random() < 0.1) return new SinkError('throttled', 'slower');
      this.taken.push((JSON.parse(data.toString()) as { id: number }).id);
      return null;
    });
    return this.#random() < 0.05 ? Promise.reject(lost) : Promise.resolve(outcomes);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Destination {
  readonly options: Pick<DeliveryOptions, 'name' | 'to'>;
  start(rig: Rig, options: DeliveryOptions): Delivery;
  link(up: boolean): void;
}

/** Splits a shard, or merges two. */
async function reshard({ store: { log } }: Rig, random: () => number): Promise<void> {
  const open = log
    .stream('readings')
    .shards.filter(({ closedMs }) => closedMs === null)
    .sort((a, b) => (a.firstHashKey < b.firstHashKey ? -1 : 1));
  const place = Math.floor(random() * open.length);
  const [shard, neighbour] = [open[place]!, open[place + 1]];
  if (neighbour !== undefined && random() < open.length / 6) {
    await log.mergeShards('readings', shard.index, neighbour.index);
    return;
  }
  const { index, firstHashKey, lastHashKey } = shard;
  await log.splitShard('readings', index, (firstHashKey + lastHashKey) / 2n);
}

/** Lives through `events` random events, then lets everything drain; returns how many records. */
async function live(
  context: TestContext,
  random: () => number,
  destination: Destination,
): Promise<number> {
  const folder = await temporaryFolder(context);
  const clock = new ManualClock();
  let appended = 0;
  const open = async (): Promise<{ rig: Rig; delivery: Delivery }> => {
    const opened = await openRig(context, { folder, clock });
    await opened.store.log.ensureStream(streamOptions('readings', 2));
    const delivery = destination.start(opened, {
      ...destination.options,
      from: { stream: 'readings' },
      buffer: { maxBytes: 300 + Math.floor(random() * 1500), maxSeconds: 1 },
      catchUp: random() < 0.85 ? 'live-first' : 'in-order',
      ...(random() < 0.3 && { maxBytesPerSecond: 1024 }),
    });
    return { rig: opened, delivery };
  };
  let now = await open();
  for (let event = 0; event < events; event += 1) {
    const kind = random();
    if (kind < 0.4) {
      const count = 1 + Math.floor(random() * 60);
      await now.rig.store.log.append('readings', numbered(appended, count));
      appended += count;
    } else if (kind < 0.55) {
      destination.link(random() < 0.5);
    } else if (kind < 0.65) {
      await now.rig.close();
      now = await open();
    } else if (kind < 0.72) {
      await reshard(now.rig, random);
    } else {
      clock.advance(random() < 0.5 ? 500 : Math.floor(random() * 120_000));
      for (let turn = random() * 3; turn > 0; turn -= 1) await settle(now.rig);
    }
  }
  destination.link(true);
  for (let step = 0; ; step += 1) {
    const { backlog, lanes } = await now.delivery.status();
    if (backlog.records === 0 && lanes.length === 0) break;
    assert.ok(step < 3000, 'it comes to an end');
    destination.link(true);
    clock.advance(2000);
    await settle(now.rig);
  }
  const { lostRecords } = await now.delivery.status();
  assert.equal(lostRecords, 0);
  await now.rig.close();
  return appended;
}

test(`objects: ${seeds} random lives, every record exactly once`, async (context) => {
  for (let seed = 1; seed <= seeds; seed += 1) {
    const random = seededRandom(seed);
    const link = new Link();
    link.pass = (ids) => {
      if (random() < 0.1) throw new SinkError('unavailable', 'failed');
      // It arrives, and nobody is told.
      if (random() < 0.1) {
        link.arrivals.push(ids);
        link.up = false;
      }
    };
    const total = await live(context, random, {
      options: { name: 'archive', to: { folder: { path: '' } } },
      start: (rig, options) => rig.start(options, link.sink),
      link: (up) => {
        link.up = up;
      },
    });
    try {
      assertExactlyOnce(link.ids(), total);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});

test(`records: ${seeds} random lives, every record at least once`, async (context) => {
  for (let seed = 1; seed <= seeds; seed += 1) {
    const random = seededRandom(1000 + seed);
    const stream = new Stream(random);
    const total = await live(context, random, {
      options: { name: 'live', to: { kinesis: { stream: 'up' } } },
      start: (rig, options) => rig.start(options, stream),
      link: (up) => {
        stream.up = up;
      },
    });
    const ids = new Set(stream.taken);
    assert.deepEqual([ids.size, Math.max(-1, ...ids)], [total, total - 1], `seed ${seed}`);
  }
});
