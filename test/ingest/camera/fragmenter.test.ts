import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MediaChunk } from '../../../ingest/camera/chunk-reader.ts';
import { Fragmenter } from '../../../ingest/camera/fragmenter.ts';
import { Mp4Error } from '../../../storage/video/boxes.ts';

const timescale = 90_000;

function chunkAt(seconds: number | null, keyframe: boolean, bytes = 1_000): MediaChunk {
  const video =
    seconds === null
      ? null
      : { trackId: 1, decodeTime: seconds * timescale, durationTicks: 18_000, samples: [] };
  return {
    bytes: Buffer.alloc(bytes),
    movie: { start: 0, end: 0, tracks: [] },
    video,
    keyframe,
    producerTime: null,
  };
}

/** Where fragments begin, of a camera with a keyframe every so many seconds. */
function beginnings(keyframeSeconds: number, seconds: number): readonly number[] {
  const fragmenter = new Fragmenter({ timescale });
  const found: number[] = [];
  for (let tick = 0; tick < seconds * 5; tick += 1) {
    const at = tick / 5;
    const keyframe = tick % Math.round(keyframeSeconds * 5) === 0;
    if (fragmenter.place(chunkAt(at, keyframe)) === 'begin') found.push(at);
  }
  return found;
}

describe('cutting into fragments', () => {
  it('cuts at the first keyframe at or after 2 s, and only at keyframes', () => {
    assert.deepEqual(beginnings(1, 7), [0, 2, 4, 6]);
    assert.deepEqual(beginnings(2, 7), [0, 2, 4, 6]);
    assert.deepEqual(beginnings(0.8, 8), [0, 2.4, 4.8, 7.2]);
    assert.deepEqual(beginnings(3, 10), [0, 3, 6, 9]);
    assert.deepEqual(beginnings(20, 50), [0, 20, 40]);
  });

  it('takes a keyframe that RTP brought some ticks early for one at 2 s', () => {
    const fragmenter = new Fragmenter({ timescale });
    fragmenter.place(chunkAt(0, true));
    assert.equal(fragmenter.place(chunkAt(1.995, true)), 'begin');
  });

  it('drops what comes before the first keyframe', () => {
    const fragmenter = new Fragmenter({ timescale });
    assert.equal(fragmenter.place(chunkAt(0, false)), 'drop');
    assert.equal(fragmenter.place(chunkAt(null, false)), 'drop');
    assert.equal(fragmenter.place(chunkAt(0.4, true)), 'begin');
    assert.equal(fragmenter.place(chunkAt(null, false)), 'append');
  });

  it('cuts early when told to, at a keyframe', () => {
    const fragmenter = new Fragmenter({ timescale });
    fragmenter.place(chunkAt(0, true));
    assert.equal(fragmenter.place(chunkAt(0.2, false), true), 'append');
    assert.equal(fragmenter.place(chunkAt(0.4, true), true), 'begin');
  });

  it('gives up on what never sends a keyframe, by time and by bytes, before and after the first', () => {
    for (const first of [true, false]) {
      const slow = new Fragmenter({ timescale });
      slow.place(chunkAt(0, first));
      slow.place(chunkAt(119, false));
      assert.throws(() => slow.place(chunkAt(121, false)), isTooLarge);
      const fat = new Fragmenter({ timescale, bytesMax: 10_000 });
      fat.place(chunkAt(0, first, 5_000));
      fat.place(chunkAt(0.2, false, 5_000));
      assert.throws(() => fat.place(chunkAt(0.4, false, 1)), isTooLarge);
    }
  });
});

function isTooLarge(error: unknown): boolean {
  return error instanceof Mp4Error && error.code === 'too-large';
}
