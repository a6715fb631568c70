import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import test from 'node:test';
import { takeTurn } from '../../gateway/turns.ts';

/** Takes its turns one after the other, and says so. */
async function steps(name: string, count: number, done: string[]): Promise<void> {
  for (let step = 1; step <= count; step += 1) {
    await takeTurn();
    done.push(`${name}${step}`);
  }
}

void test('a round of the event loop has one step of one request, in the order of asking', async () => {
  const done: string[] = [];
  const all = Promise.all([steps('a', 2, done), steps('b', 2, done), steps('c', 1, done)]);
  const afterRound: string[] = [];
  for (let round = 0; round < 5; round += 1) {
    await setImmediate();
    afterRound.push(done.join(' '));
  }
  await all;
  assert.deepEqual(afterRound, ['a1', 'a1 b1', 'a1 b1 c1', 'a1 b1 c1 a2', 'a1 b1 c1 a2 b2']);
});

void test('a turn that is asked for when nobody waits comes as well', async () => {
  const done: string[] = [];
  await steps('a', 1, done);
  await setImmediate();
  await steps('b', 2, done);
  assert.deepEqual(done, ['a1', 'b1', 'b2']);
});
