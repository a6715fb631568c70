import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Health } from '../../../gateway/observe/health.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const ok = { status: 'ok', message: null } as const;

test('without checks, and with good ones, all is well', async () => {
  const health = new Health(new ManualClock());
  assert.deepEqual(await health.report(), { status: 'ok', checks: [] });
  health.add('store', () => ok);
  assert.equal((await health.report()).status, 'ok');
});

test('an uplink that is away degrades, and the gateway stays ready and live', async () => {
  const health = new Health(new ManualClock());
  health.add('store', () => ok, { mendedByRestart: true });
  const remove = health.add('archive', () => ({ status: 'degraded', message: 'S3 is away' }));
  assert.deepEqual(await health.report(), {
    status: 'degraded',
    checks: [
      { name: 'store', ...ok },
      { name: 'archive', status: 'degraded', message: 'S3 is away' },
    ],
  });
  assert.equal(await health.ready(), true);
  assert.equal(await health.live(), true);
  remove();
  assert.equal((await health.report()).status, 'ok');
});

test('what fails makes it unready; only what a restart mends makes it not live', async () => {
  const health = new Health(new ManualClock());
  const remove = health.add('disk', () => Promise.resolve({ status: 'failing', message: 'full' }));
  assert.equal(await health.ready(), false);
  assert.equal(await health.live(), true);
  remove();
  health.add(
    'writer',
    () => {
      throw new Error('fsync failed');
    },
    { mendedByRestart: true },
  );
  assert.equal(await health.ready(), false);
  assert.equal(await health.live(), false);
  assert.equal((await health.report()).checks[0]?.message, 'fsync failed');
});

test('a check that gives no answer is failing, and holds nothing up', async () => {
  const clock = new ManualClock();
  const health = new Health(clock);
  health.add('hung', () => new Promise(() => undefined));
  const report = health.report();
  clock.advance(2000);
  assert.deepEqual((await report).checks, [
    { name: 'hung', status: 'failing', message: 'gave no answer within 2 s' },
  ]);
});

test('taking a check away twice does not take another of its name', async () => {
  const health = new Health(new ManualClock());
  const remove = health.add('x', () => ok);
  assert.throws(() => health.add('x', () => ok), TypeError);
  remove();
  health.add('x', () => ok);
  remove();
  assert.equal((await health.report()).checks.length, 1);
});
