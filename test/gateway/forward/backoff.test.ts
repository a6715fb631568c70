import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackOff } from '../../../gateway/forward/backoff.ts';
import { SinkError } from '../../../gateway/forward/sink.ts';

const unreachable = new SinkError('unreachable', '');

test('delays double up to a minute, and start over after a success', () => {
  const backOff = new BackOff(() => 1 - Number.EPSILON);
  const delays = Array.from({ length: 9 }, () => backOff.failed(unreachable));
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
  backOff.beginAnew();
  assert.equal(backOff.failed(unreachable), 500);
});

test('half of a delay is random, so that many do not come back at once', () => {
  assert.equal(new BackOff(() => 0).failed(unreachable), 250);
});

test('being asked for less is answered sooner, what time alone does not mend slowly', () => {
  const backOff = new BackOff(() => 0);
  assert.equal(backOff.failed(new SinkError('throttled', '')), 100);
  assert.equal(new BackOff(() => 0).failed(new SinkError('denied', '')), 30_000);
});

test('a destination that asks for time gets it, within bounds', () => {
  const asks = (retryAfterMs: number): SinkError =>
    new SinkError('throttled', '', { retryAfterMs });
  assert.equal(new BackOff(() => 0).failed(asks(30_000)), 30_000);
  assert.equal(new BackOff(() => 0).failed(asks(10)), 100, 'less than the back-off is no less');
  assert.equal(new BackOff(() => 0).failed(asks(365 * 86_400_000)), 120_000);
});
