import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CpuQueue, type Priority } from '../../../gateway/media/cpu-queue.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const forever = new AbortController().signal;

function queueOf(clock: ManualClock) {
  const queue = new CpuQueue({
    ...{ clock, share: 0.5, burstSeconds: 2, atOnceMax: 1, waitingMax: 3 },
  });
  const begun: string[] = [];
  const ends: ((cpuSeconds: number) => void)[] = [];
  const enter = (name: string, priority: Priority, signal = forever): Promise<void> =>
    queue.enter(priority, signal).then((end) => {
      begun.push(end === null ? `${name} refused` : name);
      if (end !== null) ends.push(end);
    });
  const end = async (cpuSeconds: number): Promise<void> => {
    ends.shift()?.(cpuSeconds);
    await settled();
  };
  return { enter, begun, end };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('work that a person waits for comes first, and more than may wait is refused', async () => {
  const { enter, begun, end } = queueOf(new ManualClock());
  const all = [
    enter('first', 'background'),
    enter('second', 'background'),
    enter('third', 'background'),
    enter('asked', 'asked'),
    enter('too many', 'asked'),
  ];
  await settled();
  assert.deepEqual([...begun].sort(), ['first', 'too many refused']);
  for (let left = 3; left > 0; left -= 1) await end(0);
  await Promise.all(all);
  assert.deepEqual(begun.slice(2), ['asked', 'second', 'third']);
});

test('on average it takes its share, after a burst', async () => {
  const clock = new ManualClock();
  const { enter, begun, end } = queueOf(clock);
  void enter('one', 'asked');
  void enter('two', 'asked');
  await settled();
  // Three of the two seconds that there were: one is owed, which takes two to earn.
  await end(3);
  assert.deepEqual(begun, ['one']);
  clock.advance(1_900);
  await settled();
  assert.deepEqual(begun, ['one']);
  clock.advance(200);
  await settled();
  assert.deepEqual(begun, ['one', 'two']);
});

test('who no longer waits leaves the queue', async () => {
  const { enter, begun, end } = queueOf(new ManualClock());
  const leaving = new AbortController();
  await enter('one', 'asked');
  const left = enter('left', 'asked', leaving.signal);
  void enter('next', 'asked');
  leaving.abort(new Error('gone'));
  await assert.rejects(left, /gone/);
  await end(0);
  assert.deepEqual(begun, ['one', 'next']);
});
