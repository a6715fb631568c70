import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FirstPictures, type PictureCodec } from '../../../ingest/rtsp/first-pictures.ts';

function frame(timestamp: number, payload: readonly number[]): Buffer {
  const header = Buffer.alloc(4 + 12);
  header[4] = 0x80;
  header.writeUInt32BE(timestamp >>> 0, 8);
  return Buffer.concat([header, Buffer.from(payload)]);
}

function secondsOf(codec: PictureCodec, frames: readonly Buffer[]): readonly number[] {
  const pictures = new FirstPictures(codec, 90_000);
  for (const one of frames) pictures.look(one);
  return pictures.seconds;
}

describe('the first pictures that a recorder is sent', () => {
  it('are those of H.264 from its keyframe on, each counted once', () => {
    const [sps, pps, idr, slice, sei] = [7, 8, 5, 1, 6];
    const frames = [
      frame(-9_000, [slice, 0]),
      frame(-9_000, [sps, 0]),
      frame(-4_500, [24, 0, 2, sps, 0, 0, 2, pps, 0, 0, 2, idr, 0]),
      frame(-4_500, [28, 0x80 | idr, 0]),
      frame(9_000, [sei, 0]),
      frame(13_500, [28, 0x80 | slice, 0]),
      frame(13_500, [28, 0x40 | slice, 0]),
      frame(4_500, [24, 0, 2, sei, 0, 0, 2, slice, 0]),
      frame(4_500, [slice, 0]),
    ];
    assert.deepEqual(secondsOf('H264', frames), [0, 0.2, 0.1]);
  });

  it('are those of H.265', () => {
    const nal = (type: number): number[] => [type << 1, 1];
    const [trail, idr, cra, vps, prefixSei] = [1, 19, 21, 32, 39];
    const frames = [
      frame(0, [...nal(trail), 0]),
      frame(4_500, [...nal(vps), 0]),
      frame(4_500, [...nal(48), 0, 2, ...nal(vps), 0, 2, ...nal(idr)]),
      frame(22_500, [...nal(49), 0x80 | trail, 0]),
      frame(22_500, [...nal(49), 0x40 | trail, 0]),
      frame(27_000, [...nal(prefixSei), 0]),
      frame(13_500, [...nal(trail), 0]),
    ];
    assert.deepEqual(secondsOf('H265', frames), [0, 0.2, 0.1]);
    assert.deepEqual(secondsOf('H265', [frame(7, [...nal(49), 0x80 | cra])]), [0]);
  });

  it('are 64 at most, and rubbish is none', () => {
    const many = Array.from({ length: 100 }, (_, index) => frame(index * 9_000, [5, 0]));
    assert.equal(secondsOf('H264', many).length, 64);
    const rubbish = [
      Buffer.alloc(0),
      Buffer.alloc(16),
      ...[[], [24], [24, 0xff], [24, 0, 0, 0, 0], [28], [31, 5]].map((one) => frame(1, one)),
    ];
    assert.deepEqual(secondsOf('H264', rubbish), []);
    const ofH265 = [[98], [96, 1], [96, 1, 0xff, 0xff], [98, 1]].map((one) => frame(1, one));
    assert.deepEqual(secondsOf('H265', ofH265), []);
  });
});
