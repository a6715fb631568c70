/** Stored fragments as Matroska: the same frames at the same times, for ffmpeg and for our reader. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  clusterOf,
  headerOf,
  segmentOf,
  tagsOf,
} from '../../../../gateway/api/kinesis-video/mkv/writer.ts';
import { type MkvEvent, MkvReader } from '../../../../ingest/mkv/mkv-reader.ts';
import { Mp4Error } from '../../../../storage/video/boxes.ts';
import { bFrames, packetsOf, type Packet, tone } from '../../../ingest/mkv/footage.ts';
import {
  fragmentedFormat,
  groupsOf,
  makeFootage,
  parseFootage,
} from '../../../storage/video/footage.ts';

/** A picture's time in the middle of 2026, as producers give it. */
const timecodeMs = 1_783_000_000_123;

const kinds: readonly { name: string; video?: readonly string[]; audio?: readonly string[] }[] = [
  { name: 'H.264 alone' },
  { name: 'H.264 with B-frames and AAC', video: bFrames, audio: tone },
  {
    name: 'H.265 with AAC',
    video: ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', 'log-level=error:pools=1'],
    audio: tone,
  },
  {
    name: 'H.264 with Opus',
    audio: ['-c:a', 'libopus', '-b:a', '32k', '-strict', '-2', '-shortest'],
  },
];

/** Frames by track, and when they are shown after the first picture. */
function byTrack(packets: readonly Packet[]): { frames: unknown; times: readonly number[] } {
  const firstMs = packets.find(({ stream }) => stream === 0)?.ms ?? 0;
  const sorted = [...packets].sort((one, other) => one.stream - other.stream);
  return {
    frames: sorted.map(({ stream, hash, keyframe }) => [stream, hash, keyframe]),
    times: sorted.map(({ ms }) => ms - firstMs),
  };
}

describe('the writer of Matroska', () => {
  for (const { name, ...codecs } of kinds) {
    it(`gives the frames of a fragment as they are: ${name}`, async () => {
      const footage = parseFootage(
        await makeFootage({ seconds: 3, size: '96x64', format: fragmentedFormat, ...codecs }),
      );
      const init = { bytes: footage.initBytes };
      for (const group of groupsOf(footage.chunks)) {
        const fragment = Buffer.concat(group.map(({ bytes }) => bytes));
        const tags = { AWS_KINESISVIDEO_FRAGMENT_NUMBER: '12' };
        const written = segmentOf(init, fragment, { tags, clusterTimecodeMs: timecodeMs });
        const packets = await packetsOf(written);
        const stored = await packetsOf(Buffer.concat([footage.initBytes, fragment]));
        const [found, wanted] = [byTrack(packets), byTrack(stored)];
        assert.deepEqual(found.frames, wanted.frames);
        // Both are rounded to milliseconds.
        for (const [index, ms] of found.times.entries()) {
          assert.ok(Math.abs(ms - (wanted.times[index] ?? NaN)) <= 1, `frame ${index} at ${ms}`);
        }
        const pictures = packets.filter(({ stream }) => stream === 0);
        assert.equal(pictures[0]?.ms, timecodeMs);
      }
    });
  }

  it('writes tags before and after the cluster, in the one segment', async () => {
    const footage = parseFootage(await makeFootage({ seconds: 1, format: fragmentedFormat }));
    const fragment = Buffer.concat(footage.chunks.map(({ bytes }) => bytes));
    const init = { bytes: footage.initBytes };
    const bytes = Buffer.concat([
      segmentOf(init, fragment, { tags: { one: 'ä', two: '' }, clusterTimecodeMs: 7 }),
      tagsOf({ three: '3' }),
    ]);
    const events: MkvEvent[] = [...new MkvReader().push(bytes)];
    assert.deepEqual(
      events.map(({ type }) => type).filter((type, at, all) => type !== all[at - 1]),
      ['info', 'tracks', 'tags', 'cluster', 'frame', 'cluster-end', 'tags'],
    );
    assert.deepEqual(
      events.flatMap((event) => (event.type === 'tags' ? event.tags : [])),
      [
        { name: 'one', value: 'ä' },
        { name: 'two', value: '' },
        { name: 'three', value: '3' },
      ],
    );
    assert.deepEqual(
      Buffer.concat([headerOf(init), clusterOf(init, fragment, 7)]),
      segmentOf(init, fragment, { clusterTimecodeMs: 7 }),
    );
  });

  it('begins another cluster where times in one no longer reach', async () => {
    const footage = parseFootage(
      await makeFootage({
        ...{ seconds: 80, size: '32x32', framesPerSecond: 2, group: 1000 },
        format: fragmentedFormat,
      }),
    );
    const fragment = Buffer.concat(footage.chunks.map(({ bytes }) => bytes));
    const bytes = segmentOf({ bytes: footage.initBytes }, fragment, { clusterTimecodeMs: 0 });
    const packets = await packetsOf(bytes);
    assert.deepEqual(
      packets.map(({ ms }) => ms),
      Array.from({ length: 160 }, (_, index) => index * 500),
    );
    const clusters = [...new MkvReader().push(bytes)].filter(({ type }) => type === 'cluster');
    assert.equal(clusters.length, 3);
  });

  it('refuses what is no fragment', async () => {
    const footage = parseFootage(await makeFootage({ seconds: 1, format: fragmentedFormat }));
    const init = { bytes: footage.initBytes };
    assert.throws(
      () => segmentOf(init, Buffer.from('rubbish!'), { clusterTimecodeMs: 0 }),
      Mp4Error,
    );
    assert.throws(() => segmentOf(init, Buffer.alloc(0), { clusterTimecodeMs: 0 }), Mp4Error);
  });
});
