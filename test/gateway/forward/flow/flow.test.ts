import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { applicationsOf } from '../../../../gateway/forward/applications.ts';
import type { Delivery } from '../../../../gateway/forward/delivery.ts';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import { StorageError } from '../../../../storage/errors.ts';
import type { Lease } from '../../../../storage/model.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { assertExactlyOnce } from '../support/lines.ts';
import { Link } from '../support/link.ts';
import { numbered, openRig, runClock, settle, streamOptions, type Rig } from '../support/rig.ts';

const options: DeliveryOptions = {
  name: 'archive',
  from: { stream: 'readings' },
  to: { folder: { path: '' } },
  buffer: { maxBytes: 1000, maxSeconds: 1 },
};

interface Started {
  readonly rig: Rig;
  readonly clock: ManualClock;
  readonly link: Link;
  readonly delivery: Delivery;
  /** Appends so many, numbered on. */
  readonly append: (count: number) => Promise<void>;
  /** Lets time pass in steps. */
  readonly pass: (ms: number, stepMs?: number) => Promise<void>;
  readonly until: (wanted: () => boolean) => Promise<number>;
}

async function start(
  context: TestContext,
  more: Partial<DeliveryOptions> = {},
  given: { readonly folder?: string; readonly clock?: ManualClock; readonly link?: Link } = {},
): Promise<Started> {
  const clock = given.clock ?? new ManualClock();
  const rig = await openRig(context, {
    ...(given.folder !== undefined && { folder: given.folder }),
    clock,
  });
  await rig.store.log.ensureStream(streamOptions('readings'));
  const link = given.link ?? new Link();
  const delivery = rig.start({ ...options, ...more }, link.sink);
  await settle(rig);
  return {
    ...{ rig, clock, link, delivery },
    append: async (count) => {
      const next = rig.store.log.stream('readings').shards[0]!.nextSequence;
      await rig.store.log.append('readings', numbered(next, count, 1));
    },
    pass: async (ms, stepMs = 1000) => {
      for (let passed = 0; passed < ms; passed += stepMs) {
        clock.advance(stepMs);
        await settle(rig);
      }
    },
    until: (wanted) => runClock(rig, clock, wanted),
  };
}

function leases({ store }: Rig): readonly Lease[] {
  return store.log.applications
    .list()
    .filter(({ name }) => applicationsOf('archive').includes(name))
    .flatMap((application) => application.leases);
}

const versions = (link: Link): number[] =>
  [...link.sink.objects.keys()].map((key) => Number(/readings-(\d+)-/.exec(key)![1]));

test('paused it begins nothing, also after a restart, and goes on where it was', async (context) => {
  const folder = await temporaryFolder(context);
  const first = await start(context, {}, { folder });
  await first.append(100);
  await first.until(() => first.link.ids().length === 100);
  await first.delivery.pause();
  await first.delivery.pause();
  await first.append(50);
  await first.pass(120_000);
  const status = await first.delivery.status();
  assert.equal(status.state, 'waiting');
  assert.equal(status.held?.by, 'pause');
  assert.match(status.held.reason, /^paused since 2026-01-01T/);
  assert.equal(status.held.isFault, false);
  assert.equal(status.backlog.records, 50);
  assert.equal(status.failures, 0);
  assert.equal(first.link.ids().length, 100);
  const { link, clock } = first;
  await first.rig.close();

  const second = await start(context, {}, { folder, clock, link });
  await second.pass(60_000);
  assert.equal((await second.delivery.status()).held?.reason, status.held.reason);
  assert.equal(link.ids().length, 100);
  await second.delivery.resume();
  await second.until(() => link.ids().length === 150);
  assertExactlyOnce(link.ids(), 150);
  assert.equal((await second.delivery.status()).held, null);
});

test('what is under way when it is paused is finished, and nothing after it', async (context) => {
  const { link, delivery, append, pass, until } = await start(context);
  let arrive = (): void => undefined;
  link.pass = () =>
    new Promise((resolve) => {
      arrive = resolve;
    });
  let begun = 0;
  const { before } = link.sink;
  link.sink.before = async (upload, signal) => {
    begun += 1;
    await before(upload, signal);
  };
  await append(200);
  await until(() => begun === 1);
  await delivery.pause();
  await pass(5000);
  arrive();
  await until(() => link.arrivals.length === 1);
  await pass(30_000);
  assert.equal(begun, 1);
  link.pass = () => undefined;
  await delivery.resume();
  await until(() => link.ids().length === 200);
  assertExactlyOnce(link.ids(), 200);
});

test('an attempt that failed is not repeated while it is paused', async (context) => {
  const { link, delivery, append, pass, until } = await start(context);
  link.up = false;
  await append(20);
  await pass(5000);
  const { failures } = await delivery.status();
  assert.ok(failures > 0);
  await delivery.pause();
  await pass(300_000, 5000);
  const paused = await delivery.status();
  assert.equal(paused.failures, failures);
  assert.equal(paused.retryAtMs, null);
  link.up = true;
  await delivery.resume();
  await until(() => link.ids().length === 20);
});

test('a paused delivery that is required pins; the stream stays within its bytes all the same', async (context) => {
  const { rig, clock, delivery, append, pass } = await start(context);
  await delivery.pause();
  await append(30);
  clock.advance(48 * 3600 * 1000);
  await rig.store.retention.run();
  const [shard] = rig.store.log.stream('readings').shards;
  assert.equal(shard!.trimSequence, 0, 'it is two days old, and kept');
  await rig.store.log.updateStream('readings', { maxBytes: 100_000 });
  const big = (): Promise<unknown> =>
    rig.store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(60_000) }]);
  await big();
  await assert.rejects(
    async () => {
      await big();
      await big();
    },
    (error) => error instanceof StorageError && error.code === 'stream-full',
  );
  await pass(1000);
  assert.equal((await delivery.status()).backlog.records, 31);
});

test('rewound to the beginning, everything comes again, in objects of the next version', async (context) => {
  const { rig, link, delivery, append, until } = await start(context);
  await append(100);
  await until(() => link.ids().length === 100);
  const before = new Set(link.sink.objects.keys());
  await delivery.rewind('earliest');
  await until(() => link.ids().length === 200);
  assert.deepEqual(
    [...before].filter((key) => !link.sink.objects.has(key)),
    [],
    'nothing is replaced',
  );
  const again = versions(link).slice(before.size);
  assert.ok(again.length > 0 && again.every((version) => version === 2));
  assert.equal(new Set(link.ids()).size, 100);
  assert.equal((await delivery.status()).lostRecords, 0);
  await delivery.rewind('earliest');
  await until(() => link.ids().length === 300);
  assert.ok(versions(link).includes(3));
  assert.equal(leases(rig).length, 1);
});

test('rewound to a time, back and forwards, and to the end', async (context) => {
  const { clock, link, delivery, append, pass, until } = await start(context);
  const times: number[] = [];
  for (let round = 0; round < 4; round += 1) {
    times.push(clock.nowMs());
    await append(25);
    await pass(60_000, 5000);
  }
  await until(() => link.ids().length === 100);
  link.arrivals.length = 0;
  await delivery.rewind({ timeMs: times[2]! });
  await until(() => link.arrivals.flat().length === 50);
  assert.deepEqual(link.arrivals.flat(), range(50, 100));

  await delivery.pause();
  link.arrivals.length = 0;
  await delivery.rewind('earliest');
  assert.equal((await delivery.status()).held?.by, 'pause', 'it stays paused');
  assert.equal((await delivery.status()).backlog.records, 100);
  await delivery.rewind({ timeMs: times[3]! - 1000 });
  await delivery.resume();
  await until(() => link.arrivals.flat().length === 25);
  assert.deepEqual(link.arrivals.flat(), range(75, 100), 'the rest is skipped');

  await delivery.rewind('earliest');
  await delivery.rewind('latest');
  await append(5);
  await until(() => link.ids().includes(104));
  assert.equal((await delivery.status()).backlog.records, 0);
  await delivery.rewind({ timeMs: 0 });
  await delivery.rewind({ timeMs: clock.nowMs() + 1e9 });
  assert.equal((await delivery.status()).backlog.records, 0);
});

test('a rewind with an upload under way drops its plan, and its lanes are one', async (context) => {
  const { rig, link, clock, delivery, append, pass, until } = await start(context, {
    catchUp: 'live-first',
  });
  link.up = false;
  for (let hour = 0; hour < 3; hour += 1) {
    await append(200);
    await pass(3_600_000, 600_000);
  }
  link.up = true;
  const hang = new Promise<void>(() => undefined);
  link.pass = (ids) => (link.arrivals.length >= 2 ? hang : ids.length < 0 ? hang : undefined);
  await until(() => leases(rig).length === 2);
  await append(10);
  await pass(10_000);
  const { lanes } = await delivery.status();
  assert.equal(lanes.length, 2);
  link.pass = () => undefined;
  link.arrivals.length = 0;
  await delivery.rewind('earliest');
  assert.equal(leases(rig).length, 1);
  const total = 610;
  await runClock(rig, clock, () => new Set(link.arrivals.flat()).size === total, 1000);
  // What it begins with is old: it may have had two lanes again, which join a moment later.
  while ((await delivery.status()).lanes.length > 0) await pass(1000);
  await pass(5000);
  assert.equal(link.arrivals.flat().length, total, 'each once more');
});

test('a rewind that is refused changes nothing', async (context) => {
  const { rig, link, delivery, append, until } = await start(context);
  await append(10);
  await until(() => link.ids().length === 10);
  await delivery.close();
  await rig.store.log.applications.acquire(
    'delivery:archive',
    leases(rig)[0]!.source,
    'another',
    60_000,
    0,
  );
  const other = rig.start({ ...options, name: 'archive' }, new Link().sink);
  await settle(rig);
  await assert.rejects(
    other.rewind('earliest'),
    (error) => error instanceof StorageError && error.code === 'lease-held',
  );
  assert.equal(leases(rig)[0]!.checkpoint, 10);
});

test('at night only: nothing before, everything then, the day waits again', async (context) => {
  const { clock, link, delivery, append, pass, until } = await start(context, {
    schedule: { windows: [{ hours: '22:00-06:00' }], timeZone: 'Europe/Berlin' },
  });
  // The clock begins at midnight UTC, 01:00 in Berlin, within the window.
  await append(10);
  await until(() => link.ids().length === 10);
  clock.advance(6 * 3_600_000);
  await append(40);
  await pass(600_000, 10_000);
  const day = await delivery.status();
  assert.equal(day.state, 'waiting');
  assert.deepEqual(day.held, {
    by: 'schedule',
    reason: 'sends only at 22:00-06:00 Europe/Berlin',
    isFault: false,
    untilMs: Date.UTC(2026, 0, 1, 21),
  });
  assert.equal(day.backlog.records, 40);
  assert.equal(link.ids().length, 10);
  clock.advance(Date.UTC(2026, 0, 1, 20, 59) - clock.nowMs());
  await until(() => link.ids().length === 50);
  const late = clock.nowMs() - Date.UTC(2026, 0, 1, 21);
  assert.ok(late >= 0 && late < 60_000, `${late} ms after it opened`);
  assertExactlyOnce(link.ids(), 50);
});

test('a schedule follows the wall clock, wherever that jumps', async (context) => {
  const { clock, link, delivery, append, pass, until } = await start(context, {
    schedule: { windows: [{ hours: '12:00-13:00' }], timeZone: 'UTC' },
  });
  await append(10);
  await pass(60_000);
  assert.equal((await delivery.status()).held?.untilMs, Date.UTC(2026, 0, 1, 12));
  clock.stepWall(12 * 3_600_000);
  const tookMs = await until(() => link.ids().length === 10);
  assert.ok(tookMs <= 35_000, `noticed within half a minute: ${tookMs} ms`);
  clock.stepWall(-6 * 3_600_000);
  await append(10);
  await pass(60_000);
  assert.equal(link.ids().length, 10);
  assert.equal((await delivery.status()).state, 'waiting');
});

test('through the night on which summer time begins', async (context) => {
  const clock = new ManualClock(Date.UTC(2026, 2, 28, 20));
  const { link, append, pass, until } = await start(
    context,
    { schedule: { windows: [{ hours: '22:00-06:00' }], timeZone: 'Europe/Berlin' } },
    { clock },
  );
  await append(10);
  clock.advance(3_540_000);
  await pass(50_000, 10_000);
  assert.equal(link.ids().length, 0, '21:59 there');
  await until(() => link.ids().length === 10);
  clock.advance(Date.UTC(2026, 2, 29, 3, 59) - clock.nowMs());
  await append(10);
  await until(() => link.ids().length === 20);
  clock.advance(Date.UTC(2026, 2, 29, 4) - clock.nowMs());
  await append(10);
  await pass(120_000, 10_000);
  assert.equal(link.ids().length, 20, '06:00 there, an hour earlier than the day before');
});

test('its command says when: exit codes, and what it can not be asked', async (context) => {
  const folder = await temporaryFolder(context);
  const file = join(folder, 'wifi');
  const script = join(folder, 'is-wifi.sh');
  await writeFile(file, '1');
  await writeFile(
    script,
    `#!/bin/sh\nread code < '${file}'\necho "$HEADGATE_DELIVERY asks" >&2\nexit "$code"\n`,
  );
  await chmod(script, 0o755);
  const { rig, clock, link, delivery, append, until } = await start(context, {
    onlyWhile: { program: script, everySeconds: 60, timeoutSeconds: 30 },
  });
  await append(10);
  const reason = async (): Promise<string> => (await delivery.status()).held?.reason ?? '';
  /** The program runs in real time: it is waited for until it has said something. */
  const says = async (wanted: RegExp): Promise<void> => {
    while (!wanted.test(await reason())) await settle(rig);
  };
  await says(/ended with 1: archive asks$/);
  assert.equal((await delivery.status()).held?.by, 'command');
  assert.equal((await delivery.status()).held?.isFault, false);
  await writeFile(file, '3');
  clock.advance(61_000);
  await says(/ended with 3/);
  assert.equal(link.ids().length, 0);
  await writeFile(file, '0');
  clock.advance(61_000);
  await says(/^$/);
  await until(() => link.ids().length === 10);
  await chmod(script, 0o644);
  clock.advance(61_000);
  await says(/ended with 126/);
  const fault = await delivery.status();
  assert.equal(fault.held?.isFault, true);
  assert.equal(fault.state, 'waiting');
  assert.ok(rig.logger.lines.some(({ message }) => /its command can not be asked/.test(message)));
});

test('a command that hangs is ended and says no; one that is not there too', async (context) => {
  const { rig, clock, delivery } = await start(context, {
    onlyWhile: { program: 'sleep', arguments: ['1000'], everySeconds: 60, timeoutSeconds: 5 },
  });
  const missing = rig.start(
    { ...options, name: 'other', onlyWhile: { program: '/nowhere/at-all' } },
    new Link().sink,
  );
  const says = async (of: Delivery, wanted: RegExp): Promise<void> => {
    while (!wanted.test((await of.status()).held?.reason ?? '')) await settle(rig);
  };
  await says(missing, /nowhere\/at-all ended with 127/);
  assert.equal((await missing.status()).held?.isFault, true);
  await says(delivery, /^sleep was not asked yet$/);
  clock.advance(5000);
  await says(delivery, /^sleep took more than 5 s$/);
});

test('live-first: after a pause what is new goes first, and what waited behind it', async (context) => {
  for (const catchUp of ['in-order', 'live-first'] as const) {
    const { rig, clock, link, delivery, append, pass } = await start(context, { catchUp });
    await delivery.pause();
    for (let hour = 0; hour < 3; hour += 1) {
      await append(200);
      await pass(3_600_000, 600_000);
    }
    // The link takes a little of what waited, and is slow then until what is new is there.
    let open = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      open = resolve;
    });
    const isSlow = catchUp === 'live-first';
    link.pass = (ids) => {
      if (ids.includes(609)) open();
      return isSlow && ids.some((id) => id > 200 && id < 600) ? slow : undefined;
    };
    await delivery.resume();
    await runClock(rig, clock, () => link.arrivals.flat().includes(100), 100);
    await append(10);
    await runClock(rig, clock, () => new Set(link.arrivals.flat()).size === 610, 100);
    await pass(5000);
    assertExactlyOnce(link.ids(), 610);
    const ids = link.arrivals.flat();
    const isAscending = ids.every((id, index) => index === 0 || id > ids[index - 1]!);
    assert.equal(isAscending, catchUp === 'in-order', catchUp);
    assert.deepEqual((await delivery.status()).lanes, []);
    await rig.close();
  }
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
