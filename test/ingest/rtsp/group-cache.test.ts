import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GroupCache } from '../../../ingest/rtsp/group-cache.ts';

const [slice, idr, sps] = [1, 5, 7];

function frame(timestamp: number, type: number, bytes = 20, mark = 0): Buffer {
  const made = Buffer.alloc(4 + 12 + bytes, mark);
  made[4] = 0x80;
  made.writeUInt32BE(timestamp >>> 0, 8);
  made[16] = 0x60 | type;
  return made;
}

const bodies = (frames: readonly Buffer[]): readonly Buffer[] =>
  frames.map((one) => one.subarray(4));

test('the newest group is kept, from its parameter sets on', () => {
  const cache = new GroupCache(1_000_000);
  cache.keep(frame(1, slice));
  assert.deepEqual(cache.packets(), [], 'no keyframe yet');
  cache.keep(frame(2, sps));
  cache.keep(frame(2, idr));
  const group = [frame(5, sps, 9, 1), frame(5, idr, 300_000, 2), frame(6, slice, 30, 3)];
  for (const one of group) cache.keep(one);
  assert.deepEqual(cache.packets(), bodies(group));
  const kept = cache.packets();
  cache.keep(frame(9, idr, 300_000, 9));
  assert.deepEqual(kept, bodies(group), 'what was given out stays as it is');
  assert.equal(cache.packets().length, 1);
});

test('a keyframe in fragments, or among others, begins a group', () => {
  const cache = new GroupCache(10_000);
  const fragment = (timestamp: number, header: number): Buffer => {
    const made = frame(timestamp, 28);
    made[17] = header;
    return made;
  };
  cache.keep(fragment(1, 0x80 | idr));
  cache.keep(fragment(1, 0x40 | idr));
  cache.keep(fragment(2, 0x80 | slice));
  assert.equal(cache.packets().length, 3);
  const several = frame(3, 24, 20);
  several.set([0, 2, 0x60 | 9, 0, 0, 4, 0x60 | sps], 17);
  cache.keep(several);
  assert.equal(cache.packets().length, 1);
});

test('a group that is too large is let go, and the next one kept', () => {
  const cache = new GroupCache(1_000);
  cache.keep(frame(1, idr, 500));
  cache.keep(frame(2, slice, 600));
  cache.keep(frame(3, slice, 10));
  assert.deepEqual(cache.packets(), []);
  cache.keep(frame(4, idr, 500));
  assert.equal(cache.packets().length, 1);
});

test('pictures out of order are noticed, a clock that was set once is not', () => {
  const inOrder = new GroupCache(1_000);
  for (const time of [0, 3_000, 6_000, 1_000, 4_000, 7_000]) inOrder.keep(frame(time, slice));
  assert.equal(inOrder.hasReorderedPictures, false);
  const bFrames = new GroupCache(1_000);
  for (const time of [0, 9, 3, 6, 18, 12, 15, 27, 21]) bFrames.keep(frame(time * 1_000, slice));
  assert.equal(bFrames.hasReorderedPictures, true);
});

test('what is no packet is passed over', () => {
  const cache = new GroupCache(1_000);
  for (const bytes of [0, 4, 15, 16]) cache.keep(Buffer.alloc(bytes, 0x80));
  assert.deepEqual(cache.packets(), []);
});
