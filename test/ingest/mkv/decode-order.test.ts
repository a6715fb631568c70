import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DecodeOrder, type OrderedFrame } from '../../../ingest/mkv/decode-order.ts';
import { seededRandom } from '../../storage/support/open.ts';

/** Pictures in the order of decoding, each fragment by its times; the last one to 10 ticks. */
function order(...fragments: readonly (readonly number[])[]): OrderedFrame[] {
  const decode = new DecodeOrder(10, 1_000);
  const frames: OrderedFrame[] = [];
  for (const times of fragments) {
    for (const shownTicks of times) {
      const frame = { shownTicks, durationTicks: null, keyframe: false, bytes: Buffer.alloc(0) };
      frames.push(...decode.push(frame));
    }
    frames.push(...decode.flush());
  }
  return frames;
}

function assertConsistent(frames: readonly OrderedFrame[], shown: readonly number[]): void {
  assert.deepEqual(
    frames.map(({ frame }) => frame.shownTicks),
    shown,
  );
  for (const [index, { frame, decodeTicks, durationTicks }] of frames.entries()) {
    assert.ok(durationTicks >= 1, `${durationTicks} ticks`);
    assert.ok(decodeTicks <= frame.shownTicks, `${decodeTicks} after ${frame.shownTicks}`);
    const beforeTicks = frames[index - 1]?.decodeTicks ?? -Infinity;
    assert.ok(decodeTicks > beforeTicks, `${decodeTicks} after ${beforeTicks}`);
  }
}

describe('the order of decoding', () => {
  it('leaves pictures that are not reordered where they are', () => {
    const times = [0, 10, 20, 35, 40];
    assert.deepEqual(
      order(times).map(({ decodeTicks, durationTicks }) => [decodeTicks, durationTicks]),
      [
        [0, 10],
        [10, 10],
        [20, 15],
        [35, 5],
        [40, 5],
      ],
    );
  });

  it('decodes pictures as many frames before they are shown as their order needs', () => {
    const group = (at: number): number[] => [0, 40, 20, 10, 30, 80, 60, 50, 70].map((t) => at + t);
    const frames = order(group(0), group(90));
    assert.deepEqual(
      frames.map(({ decodeTicks }) => decodeTicks),
      Array.from({ length: 18 }, (_, index) => index * 10 - 20),
    );
    assert.deepEqual(new Set(frames.map(({ durationTicks }) => durationTicks)), new Set([10]));
  });

  it('decodes nothing after it is shown where pictures are missing', () => {
    const times = [0, 167, 67, 33, 133, 267, 200, 233, 733, 667, 300, 700, 900, 833, 767, 867];
    assertConsistent(order(times), times);
  });

  it('holds for pictures of any frame rate, reordered in any way', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const random = seededRandom(seed);
      const depth = Math.floor(random() * 4);
      const fragments: number[][] = [];
      let at = 0;
      for (let count = 1 + Math.floor(random() * 4); count > 0; count -= 1) {
        const times = [at];
        for (let mini = Math.floor(random() * 12); mini >= 0; mini -= 1) {
          const shown: number[] = [];
          for (let left = 0; left <= depth; left += 1) {
            at += 20 + Math.floor(random() * (random() < 0.1 ? 2_000 : 60));
            shown.push(at);
          }
          // The last of them is decoded first, as a picture that the others refer to.
          times.push(...shown.slice(-1), ...shown.slice(0, -1));
        }
        fragments.push(times);
        at += 40;
      }
      const frames = order(...fragments);
      assertConsistent(frames, fragments.flat());
      // Within a fragment each begins where the one before it ends.
      let index = 0;
      for (const { length } of fragments) {
        for (let inner = 1; inner < length; inner += 1) {
          const [one, next] = [frames[index + inner - 1], frames[index + inner]];
          assert.equal(next?.decodeTicks, (one?.decodeTicks ?? 0) + (one?.durationTicks ?? 0));
        }
        index += length;
      }
    }
  });
});
