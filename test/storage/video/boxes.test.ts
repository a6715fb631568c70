import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  boxesIn,
  describeTrack,
  Mp4Error,
  readInit,
  readMovieFragments,
  sampleDefaults,
  shiftDecodeTimes,
} from '../../../storage/video/boxes.ts';
import { fragmentedFormat, makeFootage, parseFootage } from './footage.ts';

const aac = ['-c:a', 'aac', '-b:a', '32k'];

describe('boxes', () => {
  let h264: Buffer;
  before(async () => {
    h264 = await makeFootage({ seconds: 1, audio: aac, format: fragmentedFormat });
  });

  it('names codecs as players want them', async () => {
    const tracks = readInit(h264).tracks.map(describeTrack);
    assert.deepEqual(
      tracks.map(({ kind, width, height, channels }) => ({ kind, width, height, channels })),
      [
        { kind: 'video', width: 192, height: 108, channels: undefined },
        { kind: 'audio', width: undefined, height: undefined, channels: 1 },
      ],
    );
    assert.match(tracks[0]!.codec, /^avc1\.[0-9a-f]{6}$/);
    assert.equal(tracks[1]?.codec, 'mp4a.40.2');
    assert.equal(tracks[1].sampleRate, 44100);

    const hevc = await makeFootage({
      seconds: 1,
      video: ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', 'log-level=none'],
      format: [...fragmentedFormat, '-tag:v', 'hvc1'],
    });
    assert.match(readInit(hevc).tracks[0]!.codec, /^hvc1\.1\.6\.L\d+\.[0-9A-F]+$/);
  });

  it('reads the same frames that ffmpeg wrote', () => {
    const init = readInit(h264);
    const fragments = readMovieFragments(h264, sampleDefaults(init));
    const video = fragments.flatMap(({ tracks }) => tracks.filter(({ trackId }) => trackId === 1));
    const samples = video.flatMap(({ samples }) => samples);
    assert.equal(samples.length, 15);
    assert.deepEqual(
      samples.map(({ keyframe }) => keyframe),
      [true, ...Array.from({ length: 14 }, () => false)],
    );
    let end = 0;
    for (const track of video) {
      assert.equal(track.decodeTime, end, 'each begins where the one before it ends');
      end += track.durationTicks;
    }
  });

  it('moves decode times of the named tracks, there and back, and nothing else', () => {
    const { chunks } = parseFootage(h264);
    const bytes = Buffer.concat(chunks.map((chunk) => chunk.bytes));
    const defaults = sampleDefaults(readInit(h264));
    const shifted = shiftDecodeTimes(bytes, new Map([[1, 5_000_000_000n]]));
    const times = (of: Buffer, trackId: number): readonly number[] =>
      readMovieFragments(of, defaults)
        .flatMap(({ tracks }) => tracks)
        .filter((track) => track.trackId === trackId)
        .map(({ decodeTime }) => decodeTime);
    assert.deepEqual(
      times(shifted, 1),
      times(bytes, 1).map((time) => time + 5_000_000_000),
    );
    assert.deepEqual(times(shifted, 2), times(bytes, 2));
    assert.notEqual(shifted.buffer, bytes.buffer);
    assert.deepEqual(shiftDecodeTimes(shifted, new Map([[1, -5_000_000_000n]])), bytes);
    assert.deepEqual(
      times(shiftDecodeTimes(bytes, new Map([[1, -(10n ** 15n)]])), 1),
      times(bytes, 1).map(() => 0),
    );
  });

  it('survives a valid file cut at every byte', () => {
    const whole = h264.subarray(0, firstMediaEnd(h264));
    let cleanCuts = 0;
    for (let length = 0; length < whole.length; length += 1) {
      if (readsAs(whole.subarray(0, length)) === 'fine') cleanCuts += 1;
    }
    // After moov, after prft and, in between, nowhere: a cut elsewhere is noticed.
    assert.equal(cleanCuts, 2);
    assert.equal(readsAs(whole), 'fine');
  });

  it('survives every header byte being changed', () => {
    const whole = h264.subarray(0, firstMediaEnd(h264));
    const mdat = [...boxesIn(whole)].find(({ type }) => type === 'mdat');
    assert.ok(mdat !== undefined);
    const outcomes = { fine: 0, refused: 0 };
    for (let at = 0; at < mdat.bodyStart; at += 1) {
      for (const value of [0, 1, 0x7f, 0xff, (whole[at] ?? 0) ^ 0x80]) {
        const mutant = Buffer.from(whole);
        mutant[at] = value;
        outcomes[readsAs(mutant)] += 1;
      }
    }
    assert.ok(outcomes.fine > 0 && outcomes.refused > 0, JSON.stringify(outcomes));
  });

  it('refuses four thousand million samples in a box of a few bytes', () => {
    const { chunks, init } = parseFootage(h264);
    const bytes = Buffer.from(chunks[0]?.bytes ?? '');
    const trun = bytes.indexOf('trun');
    bytes.writeUInt32BE(0, trun + 4);
    bytes.writeUInt32BE(0xffffffff, trun + 8);
    assert.throws(
      () => readMovieFragments(bytes, sampleDefaults(init)),
      (error) => error instanceof Mp4Error && error.code === 'too-large',
    );
  });
});

function firstMediaEnd(bytes: Buffer): number {
  const mdat = [...boxesIn(bytes)].find(({ type }) => type === 'mdat');
  return mdat?.end ?? 0;
}

function readsAs(bytes: Buffer): 'fine' | 'refused' {
  try {
    const init = readInit(bytes);
    readMovieFragments(bytes, sampleDefaults(init));
    shiftDecodeTimes(bytes, new Map([[1, -7n]]));
    return 'fine';
  } catch (error) {
    if (error instanceof Mp4Error) return 'refused';
    throw error;
  }
}
