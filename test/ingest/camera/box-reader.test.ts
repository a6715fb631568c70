import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { BoxReader } from '../../../ingest/camera/box-reader.ts';
import { ChunkReader } from '../../../ingest/camera/chunk-reader.ts';
import { boxesIn, Mp4Error } from '../../../storage/video/boxes.ts';
import { fragmentedFormat, makeFootage } from '../../storage/video/footage.ts';

describe('reading a stream of boxes', () => {
  let stream: Buffer;
  let expected: string;
  before(async () => {
    stream = await makeFootage({
      size: '64x48',
      seconds: 1,
      audio: ['-c:a', 'aac'],
      format: fragmentedFormat,
    });
    expected = summary([stream]).parts.join();
  });

  it('gives the same parts however the bytes are cut', () => {
    for (const size of [1, 2, 3, 7, 8, 9, 1000, 65_536]) {
      const pieces = [];
      for (let at = 0; at < stream.length; at += size) pieces.push(stream.subarray(at, at + size));
      assert.equal(summary(pieces).parts.join(), expected, `in pieces of ${size}`);
    }
  });

  it('gives chunks of any size as they are in the stream, in the order of large and small', async () => {
    const video = ['-c:v', 'libx264', '-preset', 'ultrafast', '-qp', '22', '-bf', '0'];
    const large = await makeFootage({
      size: '1024x576',
      seconds: 2,
      video,
      format: fragmentedFormat,
    });
    const boxes = [...boxesIn(large)];
    const expectedChunks = boxes.flatMap(({ type, start }, index) =>
      type === 'moof' ? [large.subarray(start, boxes[index + 1]?.end)] : [],
    );
    const sizes = expectedChunks.map(({ length }) => length);
    assert.ok(Math.max(...sizes) > 65_536 && Math.min(...sizes) < 65_536, sizes.join());
    const reader = new ChunkReader();
    const chunks: Buffer[] = [];
    for (let at = 0; at < large.length; at += 30_000) {
      for (const part of reader.push(large.subarray(at, at + 30_000))) {
        if (part.type === 'chunk') chunks.push(Buffer.from(part.chunk.bytes));
      }
    }
    assert.deepEqual(chunks, expectedChunks);
  });

  it('gives the whole parts of a stream that breaks off at any byte', () => {
    const ends = wholeParts(stream);
    for (let length = 0; length <= stream.length; length += 1) {
      const { parts, error } = summary([stream.subarray(0, length)]);
      assert.equal(error, null);
      assert.equal(parts.length, ends.filter((end) => end <= length).length, `cut at ${length}`);
    }
  });

  it('gives the same fragments or a typed error whichever header byte is changed', () => {
    const headers = headerBytes(stream);
    let refused = 0;
    for (const at of headers) {
      for (const value of [0, 0xff, (stream[at] ?? 0) ^ 1]) {
        const mutant = Buffer.from(stream);
        mutant[at] = value;
        if (summary([mutant]).error !== null) refused += 1;
      }
    }
    assert.ok(refused > headers.length / 2, `${refused} refused of ${headers.length * 3}`);
  });

  it('refuses a box that never ends as soon as its header is there', () => {
    const header = Buffer.from('0fffffff6d646174', 'hex');
    assert.throws(() => [...new BoxReader().push(header)], isMp4Error('too-large'));
    const long = Buffer.from('00000001'.concat('6d646174', '0000000100000000'), 'hex');
    assert.throws(() => [...new BoxReader().push(long)], isMp4Error('too-large'));
  });

  it('holds no more than a limit of a box that arrives without end', () => {
    const reader = new BoxReader();
    assert.deepEqual([...reader.push(Buffer.from('020000006d646174', 'hex'))], []);
    const piece = Buffer.alloc(1024 * 1024);
    let boxes = 0;
    for (let index = 0; index < 40 && boxes === 0; index += 1) {
      try {
        boxes += [...reader.push(piece)].length;
      } catch (error) {
        // What follows the whole box are zeros, which are no box.
        assert.ok(error instanceof Mp4Error);
        boxes += 1;
      }
      assert.ok(reader.pendingBytes <= 33 * 1024 * 1024);
    }
    assert.equal(boxes, 1);
  });

  it('refuses what is no MP4 at once', () => {
    for (const rubbish of ['\0\0\0\0\0\0\0\0', 'GET / HTTP/1.1\r\n', '\xff\xd8\xff\xe0\0\x10JF']) {
      const bytes = Buffer.from(rubbish, 'latin1');
      assert.throws(() => [...new BoxReader().push(bytes)], isMp4Error());
    }
  });

  it('refuses boxes in an order that makes no sense', () => {
    const boxes = [...boxesIn(stream)];
    const take = (...types: readonly string[]): Buffer =>
      Buffer.concat(
        types.map((type) => {
          const box = boxes.find((candidate) => candidate.type === type);
          return stream.subarray(box?.start, box?.end);
        }),
      );
    for (const order of [
      ['moov'],
      ['ftyp', 'moov', 'mdat'],
      ['ftyp', 'moov', 'moof', 'moof'],
      ['ftyp', 'moov', 'moof', 'prft', 'mdat'],
      ['ftyp', 'moof', 'mdat'],
      ['ftyp', 'moov', 'moov'],
    ]) {
      assert.throws(() => [...new ChunkReader().push(take(...order))], isMp4Error(), order.join());
    }
  });
});

/** What comes out of a stream: a line for each part. */
function summary(pieces: readonly Buffer[]): { parts: string[]; error: Mp4Error | null } {
  const reader = new ChunkReader();
  const parts: string[] = [];
  try {
    for (const piece of pieces) {
      for (const part of reader.push(piece)) {
        if (part.type === 'init') parts.push(`init ${part.bytes.length}`);
        else {
          const { bytes, keyframe, video, producerTime } = part.chunk;
          const time = `${video?.decodeTime ?? '-'}+${video?.durationTicks ?? '-'}`;
          parts.push(`${bytes.length} ${String(keyframe)} ${time} ${producerTime?.wallUs ?? '-'}`);
        }
      }
    }
    return { parts, error: null };
  } catch (error) {
    if (error instanceof Mp4Error) return { parts, error };
    throw error;
  }
}

/** Where each part ends. */
function wholeParts(bytes: Buffer): readonly number[] {
  return [...boxesIn(bytes)]
    .filter(({ type }) => type === 'moov' || type === 'mdat')
    .map(({ end }) => end);
}

function headerBytes(bytes: Buffer): readonly number[] {
  return [...boxesIn(bytes)].slice(0, 8).flatMap(({ type, start, bodyStart, end }) => {
    const length = (type === 'mdat' ? bodyStart : end) - start;
    return Array.from({ length }, (_, index) => start + index);
  });
}

function isMp4Error(code?: string): (error: unknown) => boolean {
  return (error) => error instanceof Mp4Error && (code === undefined || error.code === code);
}
