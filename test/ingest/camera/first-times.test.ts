import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FirstTimes } from '../../../ingest/camera/first-times.ts';
import { Mp4Error, readMovieFragments, type Sample } from '../../../storage/video/boxes.ts';

const timescale = 90_000;
const frame = 3_600;

function box(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(8);
  header.writeUInt32BE(body.length + 8, 0);
  header.write(type, 4, 'latin1');
  return Buffer.concat([header, body]);
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value >>> 0, 4 * index));
  return bytes;
}

/** A chunk with these samples of one byte: duration and composition offset. */
function chunkOf(decodeTime: number, samples: readonly (readonly [number, number])[]): Buffer {
  const trun = (dataAt: number): Buffer =>
    box(
      'trun',
      words(0x0b01, samples.length, dataAt),
      ...samples.map(([ticks, offset]) => words(ticks, 1, offset)),
    );
  const moof = (dataAt: number): Buffer =>
    box(
      'moof',
      box(
        'traf',
        box('tfhd', words(0x02_0000, 1)),
        box('tfdt', words(0, decodeTime)),
        trun(dataAt),
      ),
    );
  const size = moof(0).length;
  return Buffer.concat([moof(size + 8), box('mdat', Buffer.alloc(samples.length))]);
}

/** What the chunks say once they are mended: by the answer, and by the bytes themselves. */
function mended(chunks: readonly Buffer[]): readonly (readonly [number, readonly number[]])[] {
  const times = new FirstTimes({ trackId: 1, timescale });
  return chunks.map((bytes) => {
    const read = () => readMovieFragments(bytes, new Map())[0]!;
    const answer = times.mend(bytes, read());
    assert.deepEqual(answer, read(), 'the bytes say what the answer does');
    const { decodeTime, samples } = answer.tracks[0]!;
    return [decodeTime, samples.map(({ durationTicks }: Sample) => durationTicks)] as const;
  });
}

describe('the first pictures of a run', () => {
  it('get the time that they last, and what follows is moved behind them', () => {
    const chunks = [
      chunkOf(0, [
        [frame, 0],
        [1, frame],
        [1, 0],
        [1, 0],
        [frame, 5 * frame],
      ]),
      chunkOf(2 * frame + 3, [
        [frame, 0],
        [frame, frame],
      ]),
    ];
    assert.deepEqual(mended(chunks), [
      [0, [frame, frame, frame, frame, frame]],
      [5 * frame, [frame, frame]],
    ]);
  });

  it('are mended without B-frames where the very first alone was cut short', () => {
    const chunks = [
      chunkOf(0, [
        [1, 0],
        [frame, 0],
        [frame, 0],
      ]),
      chunkOf(2 * frame + 1, [[frame, 0]]),
    ];
    assert.deepEqual(mended(chunks), [
      [0, [frame, frame, frame]],
      [3 * frame, [frame]],
    ]);
    assert.deepEqual(mended([chunkOf(0, [[1, 0]])]), [[0, [1]]], 'nobody knows what it lasts');
  });

  it('are left alone where nothing is wrong with them', () => {
    const steady = [
      chunkOf(0, [
        [frame, frame],
        [frame, 0],
      ]),
      chunkOf(2 * frame, [[frame, 0]]),
    ];
    assert.deepEqual(mended(steady), [
      [0, [frame, frame]],
      [2 * frame, [frame]],
    ]);
    const withoutB = [
      chunkOf(0, [
        [frame, 0],
        [1, 0],
        [1, 0],
      ]),
    ];
    assert.deepEqual(
      mended(withoutB),
      [[0, [frame, 1, 1]]],
      'a clock that stands still is not mended',
    );
    const allShort = [
      chunkOf(0, [
        [1, 0],
        [1, frame],
      ]),
    ];
    assert.deepEqual(mended(allShort), [[0, [1, 1]]], 'nobody knows what they last');
    const late = [
      chunkOf(
        0,
        Array.from({ length: 32 }, () => [frame, frame] as const),
      ),
      chunkOf(32 * frame, [
        [frame, frame],
        [1, 0],
      ]),
    ];
    assert.deepEqual(mended(late).at(-1), [32 * frame, [frame, 1]], 'only the first can be wrong');
  });

  it('are shown when their packets say, where those fit what is right already', () => {
    // As ffmpeg 5 has them, without sound: five were given a tick, four of them a wrong time.
    const silent: readonly (readonly [number, number])[] = [
      ...([
        [frame, 0],
        [1, frame],
        [1, 0],
        [1, 0],
        [1, 0],
        [1, 0],
        [frame - 5, 6 * frame],
      ] as const),
      ...([
        [frame, 2 * frame],
        [frame, 0],
        [frame, frame],
      ] as const),
    ];
    const seconds = [0, 5, 2, 1, 3, 4, 10, 7, 6, 8].map((frames) => frames / 25);
    const shownAt = (told: readonly number[], samples = silent): readonly number[] => {
      const bytes = chunkOf(0, samples);
      const times = new FirstTimes({ trackId: 1, timescale }, () => told);
      const read = () => readMovieFragments(bytes, new Map())[0]!;
      const answer = times.mend(bytes, read());
      assert.deepEqual(answer, read(), 'the bytes say what the answer does');
      let at = answer.tracks[0]!.decodeTime;
      return answer.tracks[0]!.samples.map(({ durationTicks, compositionTicks }) => {
        at += durationTicks;
        return Math.round((at - durationTicks + compositionTicks) / frame);
      });
    };
    const byFfmpeg = shownAt([]);
    assert.deepEqual(byFfmpeg, [0, 2, 2, 3, 4, 5, 12, 9, 8, 10]);
    assert.deepEqual(shownAt(seconds), [2, 7, 4, 3, 5, 6, 12, 9, 8, 10]);

    // With sound to count from, the first alone lost its time.
    const audible = [
      ...([
        [frame, 0],
        [frame, 6 * frame],
        [frame, 2 * frame],
        [frame, 0],
        [frame, frame],
      ] as const),
    ];
    assert.deepEqual(shownAt(seconds, audible), [2, 7, 4, 3, 5]);

    const others = seconds.map((_, index) => index / 25);
    assert.deepEqual(shownAt(others), byFfmpeg, 'these are of other pictures');
    assert.deepEqual(shownAt(seconds.slice(0, 9)), byFfmpeg, 'too few are known');
    const tooEarly = seconds.with(0, -10);
    assert.deepEqual(shownAt(tooEarly), byFfmpeg, 'none is shown before it is decoded');
  });

  it('may be rubbish', () => {
    const times = new FirstTimes({ trackId: 1, timescale });
    const bytes = chunkOf(0, [
      [frame, 0],
      [1, frame],
    ]);
    const movie = readMovieFragments(bytes, new Map())[0]!;
    const cut = bytes.subarray(0, 40);
    try {
      times.mend(cut, movie);
    } catch (error) {
      assert.ok(error instanceof Mp4Error, String(error));
    }
    assert.deepEqual(times.mend(bytes, { ...movie, tracks: [] }).tracks, []);
  });
});
