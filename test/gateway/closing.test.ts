import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Closing, type Stage } from '../../gateway/closing.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryLogger } from '../support/memory-logger.ts';

function closing() {
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const all = new Closing(clock, logger);
  const closed: string[] = [];
  const add = (stage: Stage, name: string, ends: Promise<void> = Promise.resolve()): void => {
    all.add(stage, name, async () => {
      closed.push(name);
      await ends;
    });
  };
  return { clock, logger, all, closed, add };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const never = new Promise<void>(() => undefined);

test('stages close one after the other, whatever the order they were added in, and once', async () => {
  const { all, closed, add } = closing();
  let finish = (): void => undefined;
  add('store', 'store');
  add('servers', 'RTSP');
  add('parts', 'cameras', new Promise((resolve) => (finish = resolve)));
  add('parts', 'HTTP');
  const done = all.close(10_000);
  await settled();
  assert.deepEqual(closed, ['HTTP', 'cameras'], 'side by side, and nothing before they are done');
  finish();
  await done;
  await all.close(1);
  assert.deepEqual(closed, ['HTTP', 'cameras', 'RTSP', 'store']);
});

test('a part that hangs is named and left behind; everything after it is closed', async () => {
  const { clock, logger, all, closed, add } = closing();
  add('parts', 'cameras', never);
  add('servers', 'RTSP', never);
  add('store', 'store');
  const done = assert.rejects(all.close(10_000), /not every part closed properly/);
  await settled();
  clock.advance(6_999);
  await settled();
  assert.deepEqual(closed, ['cameras']);
  clock.advance(1);
  await settled();
  assert.deepEqual(closed, ['cameras', 'RTSP']);
  clock.advance(1_000);
  await done;
  assert.deepEqual(closed, ['cameras', 'RTSP', 'store']);
  assert.deepEqual(
    logger.lines.map(({ fields }) => fields['part']),
    ['cameras', 'RTSP'],
  );
});

test('a part that fails to close keeps no other from it', async () => {
  const { all, closed, add } = closing();
  add('parts', 'deliveries', Promise.reject(new Error('no')));
  all.add('parts', 'thrower', () => {
    throw new Error('at once');
  });
  add('store', 'store');
  await assert.rejects(all.close(10_000), (error: AggregateError) => error.errors.length === 2);
  assert.deepEqual(closed, ['deliveries', 'store']);
});
