import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { applicationsOf } from '../../../gateway/forward/applications.ts';
import type { DeliveryStatus } from '../../../gateway/forward/delivery-status.ts';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { SinkError, type OutgoingRecord, type RecordSink } from '../../../gateway/forward/sink.ts';
import type { Lease } from '../../../storage/model.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { assertExactlyOnce } from './support/lines.ts';
import { Link } from './support/link.ts';
import {
  numbered,
  openRig,
  runClock,
  settle,
  settleAll,
  streamOptions,
  type Rig,
} from './support/rig.ts';

const options: DeliveryOptions = {
  name: 'archive',
  from: { stream: 'readings' },
  to: { folder: { path: '' } },
  buffer: { maxBytes: 1000, maxSeconds: 1 },
  catchUp: 'live-first',
};

async function openWith(context: TestContext, folder: string, clock: ManualClock): Promise<Rig> {
  const rig = await openRig(context, { folder, clock });
  await rig.store.log.ensureStream(streamOptions('readings'));
  return rig;
}

/** Appends `count` records, numbered on, and lets ten minutes pass. */
async function tenMinutes(rig: Rig, clock: ManualClock, count: number): Promise<number> {
  const next = rig.store.log.stream('readings').shards[0]!.nextSequence;
  await rig.store.log.append('readings', numbered(next, count, 1));
  clock.advance(600_000);
  await settle(rig);
  return next;
}

function leases(rig: Rig): readonly Lease[] {
  return rig.store.log.applications
    .list()
    .filter(({ name }) => applicationsOf('archive').includes(name))
    .flatMap((application) => application.leases);
}

function inOrder(arrivals: readonly (readonly number[])[]): boolean {
  const ids = arrivals.flat();
  return ids.every((id, index) => index === 0 || id > ids[index - 1]!);
}

const laneBacklogs = ({ lanes }: DeliveryStatus): Record<string, number> =>
  Object.fromEntries(lanes.map(({ kind, backlog }) => [kind, backlog.records]));

test('in order, new data waits for the backlog; live-first, it does not', async (context) => {
  for (const catchUp of ['in-order', 'live-first'] as const) {
    const clock = new ManualClock();
    const rig = await openWith(context, await temporaryFolder(context), clock);
    const link = new Link();
    link.up = false;
    const delivery = rig.start({ ...options, catchUp }, link.sink);
    for (let hour = 0; hour < 6; hour += 1) await tenMinutes(rig, clock, 100);
    link.up = true;
    // The link takes one object of the backlog, and then it is slow.
    let open = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      open = resolve;
    });
    link.pass = (ids) => (ids.some((id) => id > 200 && id < 600) ? slow : undefined);
    await runClock(rig, clock, () => link.arrivals.flat().includes(100));
    await rig.store.log.append('readings', numbered(600, 10, 1));
    const arrived = (): boolean => link.ids().includes(609);
    if (catchUp === 'in-order') {
      for (let second = 0; second < 30; second += 1) {
        clock.advance(1000);
        await settle(rig);
      }
      assert.ok(!arrived(), 'in order it waits');
      assert.deepEqual((await delivery.status()).lanes, []);
    } else {
      const tookMs = await runClock(rig, clock, arrived, 1000, settleAll);
      assert.ok(tookMs <= 5000, `within seconds, not ${tookMs} ms`);
      await settleAll(rig);
      const status = await delivery.status();
      assert.equal(status.catchUp, 'live-first');
      const { live, backlog } = laneBacklogs(status);
      assert.equal(live, 0);
      assert.ok(backlog! > 390 && backlog! < 600, `the backlog is told apart: ${backlog}`);
      assert.equal(status.backlog.records, backlog);
      assert.equal(status.state, 'sending');
    }
    link.pass = () => undefined;
    open();
    await runClock(rig, clock, () => link.ids().length === 610 && leases(rig).length === 1);
    await settleAll(rig);
    assertExactlyOnce(link.ids(), 610);
    assert.equal(inOrder(link.arrivals), catchUp === 'in-order');
    const after = await delivery.status();
    assert.deepEqual(after.lanes, [], 'the lanes have joined');
    assert.equal(after.backlog.records, 0);
    await rig.close();
  }
});

test('within each lane the order holds, also when outages follow each other', async (context) => {
  const folder = await temporaryFolder(context);
  const clock = new ManualClock();
  const rig = await openWith(context, folder, clock);
  const link = new Link();
  const delivery = rig.start(options, link.sink);
  const begun: number[] = [];
  for (let outage = 0; outage < 3; outage += 1) {
    link.up = false;
    begun.push(await tenMinutes(rig, clock, 200));
    await tenMinutes(rig, clock, 200);
    // The link comes back for one object of each lane at work.
    let left = 2;
    link.pass = () => {
      left -= 1;
      if (left < 0) link.up = false;
    };
    link.up = true;
    const lanes = outage + 2;
    await runClock(rig, clock, () => leases(rig).length === lanes, 1000);
    await tenMinutes(rig, clock, 5);
  }
  const before = await delivery.status();
  assert.ok(laneBacklogs(before)['backlog']! > 700, 'three outages behind');
  link.pass = () => undefined;
  link.up = true;
  const total = rig.store.log.stream('readings').shards[0]!.nextSequence;
  const done = (): boolean => link.ids().length === total && leases(rig).length === 1;
  await runClock(rig, clock, done, 1000);
  assertExactlyOnce(link.ids(), total);
  assert.deepEqual((await delivery.status()).lanes, []);
  for (const [index, from] of begun.entries()) {
    const to = begun[index + 1] ?? total;
    const stretch = link.arrivals.map((ids) => ids.filter((id) => id >= from && id < to));
    const first = stretch.flat()[0];
    assert.ok(first !== undefined, 'the outage was sent');
  }
  for (const ids of link.arrivals) assert.ok(inOrder([ids]), 'within an object');
});

test('stopped at every upload of a catch-up: every record arrives exactly once', async (context) => {
  for (let stopAt = 1, done = false; !done; stopAt += 1) {
    const folder = await temporaryFolder(context);
    const clock = new ManualClock();
    const first = await openWith(context, folder, clock);
    const link = new Link();
    link.up = false;
    first.start(options, link.sink);
    await tenMinutes(first, clock, 150);
    await tenMinutes(first, clock, 50);
    let uploads = 0;
    link.pass = (ids) => {
      uploads += 1;
      if (uploads !== stopAt) return;
      // It arrives and is never acknowledged.
      link.arrivals.push(ids);
      return new Promise<never>(() => undefined);
    };
    link.up = true;
    await first.store.log.append('readings', numbered(200, 20, 1));
    await runClock(first, clock, () => uploads >= stopAt || link.ids().length === 220, 500);
    done = uploads < stopAt;
    await first.close();

    const second = await openWith(context, folder, clock);
    link.pass = () => undefined;
    const delivery = second.start(options, link.sink);
    await second.store.log.append('readings', numbered(220, 5, 1));
    await runClock(
      second,
      clock,
      () => link.ids().length === 225 && leases(second).length === 1,
      500,
    );
    await settleAll(second);
    assertExactlyOnce(link.ids(), 225);
    assert.equal((await delivery.status()).backlog.records, 0, `stopped at upload ${stopAt}`);
    await second.close();
    assert.ok(stopAt < 200, 'it comes to an end');
  }
});

test('a required delivery pins the backlog of all its lanes; a removed one none', async (context) => {
  const clock = new ManualClock();
  const rig = await openWith(context, await temporaryFolder(context), clock);
  const link = new Link();
  link.up = false;
  const delivery = rig.start(options, link.sink);
  await tenMinutes(rig, clock, 200);
  link.pass = (ids) => (ids[0]! < 100 && ids[0]! > 50 ? new Promise(() => undefined) : undefined);
  link.up = true;
  await runClock(rig, clock, () => leases(rig).length === 2);
  const [oldest] = leases(rig).map(({ checkpoint }) => checkpoint);
  // Two days on, far beyond the stream's retention.
  for (let hour = 0; hour < 48; hour += 1) {
    clock.advance(3_600_000);
    await settle(rig);
  }
  const pinned = rig.store.log.stream('readings').shards[0]!;
  assert.ok(pinned.trimSequence <= oldest!, 'nothing unsent was deleted');
  assert.equal((await delivery.status()).lostRecords, 0);
  for (const { name, required } of rig.store.log.applications.list()) {
    assert.equal(required, true, `${name} is required`);
  }
});

/** A record sink in memory. */
class MemoryRecords implements RecordSink {
  readonly kind = 'kinesis';
  readonly description = 'memory';
  readonly limits = { records: 20, bytes: 2000, recordBytes: 1000 };
  readonly taken: number[] = [];
  up = false;
  pass: (ids: readonly number[]) => Promise<void> | void = () => undefined;

  async send(records: readonly OutgoingRecord[]): Promise<readonly null[]> {
    const ids = records.map(({ data }) => (JSON.parse(data.toString()) as { id: number }).id);
    if (!this.up) throw new SinkError('unreachable', 'no link');
    await this.pass(ids);
    this.taken.push(...ids);
    return records.map(() => null);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

test('what retention took from the backlog is counted once, and not what the other lane sent', async (context) => {
  const clock = new ManualClock();
  const rig = await openWith(context, await temporaryFolder(context), clock);
  const sink = new MemoryRecords();
  const to = { kinesis: { stream: 'up' } };
  const delivery = rig.start({ ...options, required: false, to }, sink);
  for (let batch = 0; batch < 4; batch += 1) await tenMinutes(rig, clock, 100);
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  sink.pass = (ids) => (ids.some((id) => id > 30 && id < 400) ? gate : undefined);
  sink.up = true;
  await runClock(rig, clock, () => leases(rig).length === 2);
  await rig.store.log.append('readings', numbered(400, 50, 1));
  await runClock(rig, clock, () => sink.taken.includes(449), 100, settleAll);
  for (let hour = 0; hour < 30; hour += 1) {
    clock.advance(3_600_000);
    await settle(rig);
  }
  await rig.store.retention.run();
  open();
  await rig.store.log.append('readings', numbered(450, 10, 1));
  await runClock(rig, clock, () => sink.taken.includes(459) && leases(rig).length === 1, 1000);
  const sent = new Set(sink.taken);
  assert.equal(sent.size, sink.taken.length, 'nothing twice');
  const { lostRecords } = await delivery.status();
  assert.ok(lostRecords > 100, 'some were lost');
  assert.equal(sent.size + lostRecords, 460, 'every record was sent or is counted');
});

test('what lies between a gap and the end of a lane is sent to a data stream all the same', async (context) => {
  const clock = new ManualClock();
  const rig = await openWith(context, await temporaryFolder(context), clock);
  const sink = new MemoryRecords();
  const to = { kinesis: { stream: 'up' } };
  const delivery = rig.start({ ...options, required: false, to }, sink);
  await tenMinutes(rig, clock, 300);
  clock.advance(11 * 3_600_000);
  await tenMinutes(rig, clock, 100);
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  sink.pass = (ids) => (ids.some((id) => id > 30 && id < 400) ? gate : undefined);
  sink.up = true;
  await runClock(rig, clock, () => leases(rig).length === 2);
  await rig.store.log.append('readings', numbered(400, 300, 1));
  await runClock(rig, clock, () => sink.taken.includes(699), 100, settleAll);
  // While it is paused it reads nothing ahead, and retention takes most of the backlog.
  await delivery.pause();
  open();
  await settleAll(rig);
  const shard = () => rig.store.log.stream('readings').shards[0]!;
  while (shard().trimSequence < 300) {
    clock.advance(600_000);
    await settle(rig);
  }
  assert.ok(shard().trimSequence < 400, `${shard().trimSequence}`);
  await delivery.resume();
  await runClock(rig, clock, () => leases(rig).length === 1, 1000, settleAll);
  const sent = new Set(sink.taken);
  assert.equal(sent.size, sink.taken.length, 'nothing twice');
  for (let id = shard().trimSequence; id < 700; id += 1) assert.ok(sent.has(id), `${id} was sent`);
  const { lostRecords } = await delivery.status();
  assert.equal(sent.size + lostRecords, 700, 'every record was sent or is counted');
});

test('records to a data stream: new ones at once, the backlog behind, each lane in order', async (context) => {
  const clock = new ManualClock();
  const rig = await openWith(context, await temporaryFolder(context), clock);
  const sink = new MemoryRecords();
  const delivery = rig.start({ ...options, to: { kinesis: { stream: 'up' } } }, sink);
  const { log } = rig.store;
  await log.append('readings', numbered(0, 400));
  clock.advance(600_000);
  await settle(rig);
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  sink.pass = (ids) => (ids.some((id) => id > 100 && id < 400) ? gate : undefined);
  sink.up = true;
  await runClock(rig, clock, () => leases(rig).length === 2);
  await log.append('readings', numbered(400, 30));
  const newest = (): boolean => sink.taken.includes(429);
  const tookMs = await runClock(rig, clock, newest, 1000, settleAll);
  assert.ok(tookMs <= 5000, `within seconds, not ${tookMs} ms`);
  assert.ok(!sink.taken.includes(399), 'the backlog is behind');
  const { backlog } = laneBacklogs(await delivery.status());
  assert.ok(backlog! > 250, `it is told: ${backlog}`);
  open();
  await runClock(rig, clock, () => sink.taken.length === 430 && leases(rig).length === 1);
  assertExactlyOnce(sink.taken, 430);
  for (const [from, to] of [
    [0, 400],
    [400, 430],
  ] as const) {
    for (let key = 0; key < 7; key += 1) {
      const ids = sink.taken.filter((id) => id >= from && id < to && id % 7 === key);
      assert.ok(inOrder([ids]), `key ${key} from ${from} in order`);
    }
  }
});

test('after a reshard the new shards are live although their parent has a backlog', async (context) => {
  const folder = await temporaryFolder(context);
  const clock = new ManualClock();
  const first = await openWith(context, folder, clock);
  const link = new Link();
  link.up = false;
  first.start(options, link.sink);
  for (let batch = 0; batch < 3; batch += 1) await tenMinutes(first, clock, 100);
  await first.store.log.splitShard('readings', 0, 1n << 127n);
  await first.close();

  const second = await openWith(context, folder, clock);
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  link.pass = (ids) => (ids.some((id) => id > 100 && id < 300) ? gate : undefined);
  link.up = true;
  const delivery = second.start(options, link.sink);
  await second.store.log.append('readings', numbered(300, 20, 7));
  const newest = (): boolean => link.ids().filter((id) => id >= 300).length === 20;
  const tookMs = await runClock(second, clock, newest, 1000, settleAll);
  assert.ok(tookMs <= 15_000, `within seconds, not ${tookMs} ms`);
  assert.ok(!link.ids().includes(299), 'the parent is behind');
  open();
  const done = async (): Promise<boolean> => (await delivery.status()).backlog.records === 0;
  while (!(await done())) {
    clock.advance(1000);
    await settleAll(second);
  }
  assertExactlyOnce(link.ids(), 320);
});

test('there are at most eight lanes; past that the newest falls behind in order', async (context) => {
  const clock = new ManualClock();
  const rig = await openWith(context, await temporaryFolder(context), clock);
  const link = new Link();
  rig.start(options, link.sink);
  const outage = async (): Promise<void> => {
    link.up = false;
    await tenMinutes(rig, clock, 300);
    let left = 2;
    link.pass = () => {
      left -= 1;
      if (left < 0) link.up = false;
    };
    link.up = true;
    for (let second = 0; second < 90; second += 5) {
      clock.advance(5000);
      await settle(rig);
    }
    assert.ok(leases(rig).length <= 8, 'no more than eight');
  };
  for (let round = 0; leases(rig).length < 8; round += 1) {
    assert.ok(round < 60, 'all come into use');
    await outage();
  }
  for (let round = 0; round < 4; round += 1) await outage();
  link.pass = () => undefined;
  link.up = true;
  const total = rig.store.log.stream('readings').shards[0]!.nextSequence;
  const done = (): boolean => link.ids().length === total && leases(rig).length === 1;
  await runClock(rig, clock, done, 1000);
  assertExactlyOnce(link.ids(), total);
});
