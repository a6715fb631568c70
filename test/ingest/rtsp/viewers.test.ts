/** Who watches, and until when somebody counts as watching. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Viewers } from '../../../ingest/rtsp/viewers.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const never = new AbortController().signal;

test('somebody watches from the first one on until a while after the last', async () => {
  const clock = new ManualClock();
  const viewers = new Viewers(clock, 1_000);
  const waiting = viewers.someone(never);
  const leave = viewers.join();
  const left = await waiting;
  assert.ok(left !== null && viewers.isWatched);
  const isOver = (): boolean => left.aborted;
  const leaveToo = viewers.join();
  leave();
  leave();
  clock.advance(5_000);
  assert.ok(!isOver(), 'one is left, who was not counted twice');
  leaveToo();
  clock.advance(999);
  assert.ok(!isOver());
  const leaveAgain = viewers.join();
  clock.advance(5_000);
  assert.ok(!isOver(), 'the next one came in time');
  leaveAgain();
  clock.advance(1_000);
  assert.ok(isOver() && !viewers.isWatched);
  viewers.join();
  const next = await viewers.someone(never);
  assert.ok(next !== null && !next.aborted);
});

test('nobody waits any longer once told to stop', async () => {
  const viewers = new Viewers(new ManualClock(), 1_000);
  const stop = new AbortController();
  const waiting = viewers.someone(stop.signal);
  stop.abort();
  assert.equal(await waiting, null);
  viewers.join();
  assert.equal(await viewers.someone(stop.signal), null);
});
