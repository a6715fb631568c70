import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BackwardLeap } from '../../../ingest/rtsp/backward-leap.ts';

/** The number of the picture, counted from 1, at which a leap is seen; null: at none. */
function seenAt(seconds: readonly number[]): number | null {
  const leap = new BackwardLeap(90_000);
  for (const [index, one] of seconds.entries()) {
    const frame = Buffer.alloc(4 + 12);
    frame[4] = 0x80;
    frame.writeUInt32BE((0xffff_0000 + Math.round(one * 90_000)) >>> 0, 8);
    // Two packets of each picture.
    leap.look(frame);
    leap.look(frame);
    if (leap.isSeen) return index + 1;
  }
  return null;
}

const frames = (from: number, count: number, fps = 25): number[] =>
  Array.from({ length: count }, (_, index) => from + index / fps);

describe('a clock of a camera that is set back', () => {
  it('is seen at once when it is by much, and soon when it is by little', () => {
    assert.equal(seenAt([...frames(0, 100), ...frames(-1_000, 5)]), 101);
    assert.equal(seenAt([...frames(0, 100), ...frames(1, 100)]), 117);
    assert.equal(seenAt([...frames(100, 1), ...frames(99, 5, 1)]), null, 'it has caught up');
  });

  it('is not seen in B-frames, in what comes late, stands still or goes ahead', () => {
    const reordered = Array.from({ length: 20 }, (_, index) =>
      [16, 8, 4, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13, 15].map((at) => (index * 16 + at) / 5),
    );
    assert.equal(seenAt(reordered.flat()), null);
    assert.equal(seenAt([...frames(0, 50), 0.5, ...frames(2, 50), 1, ...frames(4, 50)]), null);
    assert.equal(seenAt(Array.from({ length: 100 }, () => 7)), null);
    assert.equal(seenAt([...frames(0, 50), ...frames(5_000, 50)]), null);
  });

  it('may be read from rubbish', () => {
    const leap = new BackwardLeap(90_000);
    for (const bytes of [0, 4, 15, 16]) leap.look(Buffer.alloc(bytes));
    assert.equal(leap.isSeen, false);
  });
});
