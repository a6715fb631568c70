import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { Bandwidth, type Share, type Urgency } from '../../../gateway/forward/bandwidth.ts';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { s3Sink } from '../../../gateway/forward/sinks/s3/s3-sink.ts';
import type { RecordSink } from '../../../gateway/forward/sink.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { assertExactlyOnce, idsOf } from './support/lines.ts';
import { MemorySink } from './support/memory-sink.ts';
import { startProxy } from './support/proxy.ts';
import { numbered, openRig, runClock, settleAll, streamOptions } from './support/rig.ts';
import { credentials } from './support/servers.ts';

const never = new AbortController().signal;

/** Takes pieces without end, and keeps account of them. */
function taker(share: Share, urgency: Urgency, pieceBytes: number, at: () => number) {
  const taken: { readonly atMs: number; readonly bytes: number }[] = [];
  const stop = new AbortController();
  const run = async (): Promise<void> => {
    for (;;) {
      await share.take(pieceBytes, urgency, stop.signal);
      taken.push({ atMs: at(), bytes: pieceBytes });
    }
  };
  const ended = run().catch(() => undefined);
  return {
    taken,
    bytes: () => taken.reduce((sum, { bytes }) => sum + bytes, 0),
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
}

async function pass(clock: ManualClock, seconds: number): Promise<void> {
  for (let step = 0; step < seconds * 100; step += 1) {
    clock.advance(10);
    for (let turn = 0; turn < 4; turn += 1) await setImmediate();
  }
}

const about = (actual: number, expected: number): boolean =>
  Math.abs(actual - expected) <= expected * 0.1;

test('the higher priority goes first, whatever it sends; the lowest still gets through', async () => {
  const clock = new ManualClock();
  const bandwidth = new Bandwidth({ clock, maxBytesPerSecond: 100_000 });
  const at = (): number => clock.monotonicMs();
  const high = taker(bandwidth.share(null, 9), 'backlog', 1500, at);
  const middle = taker(bandwidth.share(null, 5), 'live', 1500, at);
  const low = taker(bandwidth.share(null, 1), 'backlog', 1500, at);
  await pass(clock, 60);
  assert.ok(high.bytes() > 0.95 * 6_000_000, `nearly all goes to the highest: ${high.bytes()}`);
  for (const other of [middle, low]) {
    assert.ok(other.taken.length >= 11, `every five seconds it gets something: ${other.bytes()}`);
    for (const [index, { atMs }] of other.taken.entries()) {
      assert.ok(atMs - (other.taken[index - 1]?.atMs ?? 0) <= 5_100);
    }
  }
  await high.stop();
  const before = middle.bytes();
  await pass(clock, 10);
  assert.ok(middle.bytes() - before > 900_000, 'the next has it all then');
  await Promise.all([middle.stop(), low.stop()]);
});

test('a cap holds over every stretch of time, and is used', async () => {
  const clock = new ManualClock();
  const bandwidth = new Bandwidth({ clock, maxBytesPerSecond: 100_000 });
  const one = taker(bandwidth.share(null), 'live', 1500, () => clock.monotonicMs());
  await pass(clock, 20);
  assert.ok(about(one.bytes(), 2_000_000), `all of it is used: ${one.bytes()}`);
  for (const [first, { atMs: fromMs }] of one.taken.entries()) {
    let bytes = 0;
    for (const { atMs, bytes: size } of one.taken.slice(first)) {
      bytes += size;
      // A grant is noted up to a step of the clock late.
      const allowed = ((atMs - fromMs + 10) * 100_000) / 1000 + 25_000 + 1500;
      assert.ok(bytes <= allowed, `${bytes} within ${atMs - fromMs} ms`);
    }
  }
  await one.stop();
});

test('deliveries share alike, however many uploads each has under way', async () => {
  const clock = new ManualClock();
  const bandwidth = new Bandwidth({ clock, maxBytesPerSecond: 100_000 });
  const now = (): number => clock.monotonicMs();
  const greedy = bandwidth.share(null);
  const many = Array.from({ length: 4 }, () => taker(greedy, 'live', 2000, now));
  const one = taker(bandwidth.share(null), 'live', 2000, now);
  const capped = taker(bandwidth.share(10_000), 'live', 500, now);
  await pass(clock, 20);
  const greedyBytes = many.reduce((sum, { bytes }) => sum + bytes(), 0);
  assert.ok(about(capped.bytes(), 200_000), `its own cap: ${capped.bytes()}`);
  assert.ok(about(greedyBytes, one.bytes()), `alike: ${greedyBytes} and ${one.bytes()}`);
  assert.ok(about(greedyBytes + one.bytes() + capped.bytes(), 2_000_000), 'and all of it is used');
  await Promise.all([...many, one, capped].map(({ stop }) => stop()));
});

test('what is new goes before a backlog, which gets the rest and never stands still', async () => {
  const clock = new ManualClock();
  const bandwidth = new Bandwidth({ clock, maxBytesPerSecond: 10_000 });
  const now = (): number => clock.monotonicMs();
  const backlog = taker(bandwidth.share(null), 'backlog', 1000, now);
  await pass(clock, 5);
  assert.ok(about(backlog.bytes(), 52_000), `alone it gets all: ${backlog.bytes()}`);
  const before = backlog.bytes();
  const live = taker(bandwidth.share(null), 'live', 1000, now);
  await pass(clock, 20);
  assert.ok(live.bytes() > 185_000, `new data has nearly all: ${live.bytes()}`);
  const meanwhile = backlog.taken.filter(({ atMs }) => atMs > 5000);
  assert.ok(backlog.bytes() - before <= 10_000, `the backlog gets what is left`);
  for (const [index, { atMs }] of meanwhile.entries()) {
    const sinceMs = meanwhile[index - 1]?.atMs ?? 5000;
    assert.ok(atMs - sinceMs < 6000, `it stood still for ${atMs - sinceMs} ms`);
  }
  assert.ok(meanwhile.length >= 3, 'it goes on');
  await Promise.all([backlog.stop(), live.stop()]);
});

test('who is called off gets nothing and takes nothing', async () => {
  const clock = new ManualClock();
  const bandwidth = new Bandwidth({ clock, maxBytesPerSecond: 1000 });
  const share = bandwidth.share(null);
  await share.take(1000, 'live', never);
  const controller = new AbortController();
  const waiting = share.take(1000, 'live', controller.signal);
  const next = share.take(100, 'live', never);
  controller.abort();
  await assert.rejects(waiting, { name: 'SinkError', code: 'aborted' });
  await assert.rejects(share.take(1, 'live', controller.signal), { code: 'aborted' });
  clock.advance(1000);
  await next;
});

test('another cap holds from then on, for who waits already too', async () => {
  const clock = new ManualClock();
  const bandwidth = new Bandwidth({ clock, maxBytesPerSecond: 1000 });
  const one = taker(bandwidth.share(null), 'live', 1000, () => clock.monotonicMs());
  await pass(clock, 10);
  const slow = one.bytes();
  assert.ok(slow <= 12_000, `a kilobyte a second: ${slow}`);
  bandwidth.limit(50_000);
  await pass(clock, 10);
  assert.ok(about(one.bytes() - slow, 500_000), `fifty: ${one.bytes() - slow}`);
  const share = bandwidth.share(20_000);
  assert.equal(share.maxBytesPerSecond, 20_000);
  bandwidth.limit(5000);
  assert.equal(share.maxBytesPerSecond, 5000);
  await one.stop();
  bandwidth.limit(null);
  assert.equal(bandwidth.share(null).maxBytesPerSecond, null);
});

const readings: DeliveryOptions = {
  name: 'archive',
  from: { stream: 'readings' },
  to: { folder: { path: '' } },
  buffer: { maxBytes: 200_000, maxSeconds: 1 },
};

/** Records that do not compress away, 1000 B each. */
function heavy(first: number, count: number) {
  return numbered(first, count, 1).map(({ partitionKey, data }, index) => {
    let state = first + index + 1;
    const filler = Array.from({ length: 160 }, () => {
      state = (state * 48_271) % 2_147_483_647;
      return state.toString(36);
    });
    const record = { ...(JSON.parse(data.toString()) as object), filler: filler.join('') };
    return { partitionKey, data: Buffer.from(JSON.stringify(record)) };
  });
}

test('the body of an upload is spread out over its time, and the wait is no time-out', async (context) => {
  let received = 0;
  const { endpoint } = await startProxy(context, null, async ({ request, response }) => {
    for await (const piece of request) received += (piece as Buffer).length;
    response.writeHead(200, { etag: '"x"' }).end();
  });
  const clock = new ManualClock();
  const rig = await openRig(context, { clock });
  await rig.store.log.ensureStream(streamOptions('readings'));
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  const delivery = rig.start({ ...readings, maxBytesPerSecond: 1024 }, sink);
  await rig.store.log.append('readings', heavy(0, 150));
  const begunMs = clock.monotonicMs();
  const sent = (): boolean => rig.metrics.total('headgate_delivery_sent_objects_total') >= 1;
  while (!sent()) {
    clock.advance(500);
    await settleAll(rig);
    const allowed = ((clock.monotonicMs() - begunMs) / 1000) * 1024 + 256 + 1024;
    assert.ok(received <= allowed, `${received} of at most ${allowed}`);
  }
  const seconds = (clock.monotonicMs() - begunMs) / 1000;
  assert.ok(received > 70_000, `about a minute and a half at a kilobyte a second: ${received}`);
  assert.ok(seconds > received / 1024 - 2, `${received} bytes took ${seconds} s`);
  assert.ok(seconds < received / 1024 + 20, `the cap is used: ${received} bytes in ${seconds} s`);
  const status = await delivery.status();
  assert.equal(status.failures, 0, 'longer than an attempt may take, and no failure');
  assert.equal(status.maxBytesPerSecond, 1024);
});

test('one cap for all: a backlog is drained under it while new data of others goes first', async (context) => {
  const clock = new ManualClock();
  const rig = await openRig(context, { clock, maxBytesPerSecond: 20_000 });
  for (const name of ['old', 'new']) await rig.store.log.ensureStream(streamOptions(name));
  await rig.store.log.append('old', heavy(0, 1000));
  clock.advance(3_600_000);
  const [old, fresh] = [new MemorySink(), new MemorySink()];
  const delivery = (name: string): DeliveryOptions => ({
    ...readings,
    name,
    from: { stream: name },
  });
  rig.start(delivery('old'), old);
  rig.start(delivery('new'), fresh);
  await runClock(rig, clock, () => old.objects.size === 1, 500, settleAll);
  const begunMs = clock.monotonicMs();
  await rig.store.log.append('new', heavy(0, 20));
  const tookMs = await runClock(rig, clock, () => fresh.objects.size === 1, 500, settleAll);
  assert.ok(tookMs <= 6000, `new data passes the backlog: ${tookMs} ms`);
  await runClock(rig, clock, () => idsOf(old.objects.values()).length === 1000, 500, settleAll);
  assertExactlyOnce(idsOf(old.objects.values()), 1000);
  const bytes = [...old.objects.values()].slice(1).reduce((sum, { length }) => sum + length, 0);
  const seconds = (clock.monotonicMs() - begunMs) / 1000;
  assert.ok(bytes / seconds <= 21_000, `the backlog keeps to the cap: ${bytes / seconds} B/s`);
});

test('calls to a data stream keep to the cap as well, base64 and all', async (context) => {
  const clock = new ManualClock();
  const rig = await openRig(context, { clock });
  await rig.store.log.ensureStream(streamOptions('readings'));
  const calls: { readonly atMs: number; readonly bytes: number }[] = [];
  const sink: RecordSink = {
    kind: 'kinesis',
    description: 'memory',
    limits: { records: 500, bytes: 5_000_000, recordBytes: 1_000_000 },
    send: (records) => {
      const bytes = records.reduce((sum, { data }) => sum + data.toString('base64').length, 0);
      calls.push({ atMs: clock.monotonicMs(), bytes });
      return Promise.resolve(records.map(() => null));
    },
    close: () => Promise.resolve(),
  };
  rig.start({ ...readings, maxBytesPerSecond: 10_000 }, sink);
  const records = heavy(0, 100).map((record, index) => ({ ...record, partitionKey: `k${index}` }));
  await rig.store.log.append('readings', records);
  const sent = (): boolean => rig.metrics.total('headgate_delivery_sent_records_total') === 100;
  const tookMs = await runClock(rig, clock, sent, 250, settleAll);
  const bytes = calls.reduce((sum, call) => sum + call.bytes, 0);
  assert.ok(bytes > 100_000, `about 130 kB of base64: ${bytes}`);
  assert.ok(tookMs >= (bytes / 10_000) * 1000 - 500, `${bytes} bytes took ${tookMs} ms`);
  assert.ok(
    calls.every((call) => call.bytes <= 14_000),
    'no call is larger than a second of it',
  );
});
