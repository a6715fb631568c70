/**
 * A week in which one delivery sends at night only and another is paused: small budgets, a driven
 * clock, and the store as it is on a box.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { ascending } from '../support/lines.ts';
import { openRig, runClock, settle, settleAll, streamOptions } from '../support/rig.ts';
import { Bucket, Sensor } from '../support/site.ts';

const hourMs = 3_600_000;
const stepMs = 30 * 60_000;
const steps = (7 * 24 * hourMs) / stepMs;
const streamBytes = 512 * 1024;

const delivery = (name: string, more: Partial<DeliveryOptions>): DeliveryOptions => ({
  ...{ name, from: { stream: name }, to: { folder: { path: '' } } },
  ...{ buffer: { maxBytes: 20_000, maxSeconds: 5 }, ...more },
});

test('a week at night only, and a week paused: bounded, counted, and then all of it', async (context) => {
  const clock = new ManualClock(Date.UTC(2026, 0, 1, 12));
  const rig = await openRig(context, { clock });
  const { log, losses, retention } = rig.store;
  const limits = { maxBytes: streamBytes, retentionMs: 24 * hourMs };
  await log.ensureStream({ ...streamOptions('nightly'), ...limits, whenFull: 'refuse' });
  await log.ensureStream({ ...streamOptions('paused'), ...limits, whenFull: 'drop-oldest' });
  const buckets = { nightly: new Bucket(clock), paused: new Bucket(clock) };
  buckets.nightly.up = true;
  buckets.paused.up = true;
  const schedule = { windows: [{ hours: '01:00-03:00' }], timeZone: 'Europe/Berlin' };
  const nightly = rig.start(delivery('nightly', { schedule }), buckets.nightly);
  const paused = rig.start(delivery('paused', { catchUp: 'live-first' }), buckets.paused);
  await settle(rig);
  await paused.pause();
  const sensors = { nightly: new Sensor(rig, 'nightly'), paused: new Sensor(rig, 'paused') };

  let nights = 0;
  for (let step = 0; step < steps; step += 1) {
    await sensors.nightly.send();
    await sensors.paused.send();
    const arrived = buckets.nightly.arrivals.length;
    const { held } = await nightly.status();
    const isNight = [0, 1].includes(new Date(clock.nowMs()).getUTCHours());
    assert.equal(held === null, isNight, new Date(clock.nowMs()).toISOString());
    // While the night lasts the link gets its time in steps, as an upload takes some.
    const partMs = isNight ? stepMs / 30 : stepMs;
    for (let passedMs = 0; passedMs < stepMs; passedMs += partMs) {
      clock.advance(partMs);
      // An upload that the clock overtakes would be given up as too slow.
      await (isNight ? settleAll(rig) : settle(rig));
    }
    if (buckets.nightly.arrivals.length > arrived) nights += 1;
    else assert.ok(!isNight, 'each part of the night sends something');
    await retention.run();
    for (const stream of log.streams()) {
      assert.ok(stream.storedBytes <= streamBytes, `${stream.name} keeps to its budget`);
    }
  }
  assert.ok(nights >= 28, `${nights} parts of nights`);
  assert.equal(sensors.nightly.refused, 0, 'a day fits');
  assert.equal((await nightly.status()).failures, 0);
  assert.equal((await nightly.status()).state, 'waiting');

  const status = await paused.status();
  assert.deepEqual([status.state, status.sentRecords], ['waiting', 0]);
  const dropped = losses
    .report()
    .find(({ kind, subject }) => kind === 'records-dropped' && subject === 'paused');
  assert.ok(dropped !== undefined && dropped.count > 0, 'what was dropped is accounted for');
  assert.equal(status.backlog.records + dropped.count, sensors.paused.acknowledged.length);

  const { length: before } = sensors.paused.acknowledged;
  await paused.resume();
  await runClock(rig, clock, () => buckets.paused.arrivals.length > 1, 1000);
  await sensors.paused.send();
  const isThrough = async (): Promise<boolean> => {
    const { backlog, lanes } = await paused.status();
    return backlog.records === 0 && lanes.length === 0;
  };
  while (!(await isThrough())) {
    clock.advance(1000);
    await settle(rig);
  }
  const got = buckets.paused.arrivals.flat();
  assert.equal(new Set(got).size, got.length, 'nothing twice');
  assert.equal(got.length + dropped.count, sensors.paused.acknowledged.length);
  assert.equal((await paused.status()).lostRecords, dropped.count, 'the delivery says the same');
  assert.ok(!ascending(got), 'what is new came first');
  assert.ok(ascending(got.filter((id) => id < before)), 'what waited, in order');

  await runClock(rig, clock, () => new Date(clock.nowMs()).getUTCHours() === 0, stepMs);
  const all = sensors.nightly.acknowledged.length;
  await runClock(rig, clock, () => buckets.nightly.arrivals.flat().length === all, 10_000);
  assert.deepEqual(buckets.nightly.arrivals.flat(), sensors.nightly.acknowledged, 'in order, once');
});
