/** The reader of Matroska: what ffmpeg writes, what is written by hand, and what is damaged. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, describe, it } from 'node:test';
import {
  element,
  elementHeader,
  text,
  unsigned,
} from '../../../gateway/api/kinesis-video/mkv/elements.ts';
import { ids, MkvError } from '../../../ingest/mkv/ebml.ts';
import { MkvReader } from '../../../ingest/mkv/mkv-reader.ts';
import { seededRandom } from '../../storage/support/open.ts';
import { makeFootage } from '../../storage/video/footage.ts';
import { bFrames, packetsOf, tone } from './footage.ts';

/** What a reader makes of pieces, as texts to compare; the last one is the error, if any. */
function read(pieces: readonly Buffer[]): readonly string[] {
  const reader = new MkvReader();
  const seen: string[] = [];
  const take = (events: ReturnType<MkvReader['finish']>): void => {
    for (const event of events) {
      if (event.type === 'frame') {
        const { bytes, ...about } = event.frame;
        seen.push(`frame ${JSON.stringify(about)} ${hashOf(bytes)}`);
      } else {
        seen.push(JSON.stringify(event));
      }
    }
  };
  try {
    for (const piece of pieces) take(reader.push(piece));
    take(reader.finish());
  } catch (error) {
    if (!(error instanceof MkvError)) throw error;
    seen.push(`${error.code}: ${error.message}`);
  }
  return seen;
}

function hashOf(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}

function cut(bytes: Buffer, random: () => number, longest: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + Math.floor(random() * longest);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

const document = element(ids.EBML, text(ids.DocType, 'matroska'));
const openSegment = elementHeader(ids.Segment, null);

function block(track: number, relative: number, flags: number, ...rest: readonly Buffer[]): Buffer {
  const header = Buffer.from([0x80 | track, 0, 0, flags]);
  header.writeInt16BE(relative, 1);
  return Buffer.concat([header, ...rest]);
}

describe('the reader of Matroska', () => {
  let footage: Buffer;
  before(async () => {
    footage = await makeFootage({ seconds: 2, size: '96x64', video: bFrames, audio: tone });
  });

  it('reads every packet that ffprobe finds, with its time, key flag and bytes', async () => {
    const wanted = await packetsOf(footage);
    const found: typeof wanted = [];
    const numbers = new Map<number, number>();
    for (const event of new MkvReader().push(footage)) {
      if (event.type === 'tracks') {
        assert.deepEqual(
          event.tracks.map(({ kind, codecId, width, height, sampleRate }) => [
            ...[kind, codecId, width, height, sampleRate],
          ]),
          [
            ['video', 'V_MPEG4/ISO/AVC', 96, 64, 8_000],
            ['audio', 'A_AAC', 0, 0, 44_100],
          ],
        );
        for (const [index, { number }] of event.tracks.entries()) numbers.set(number, index);
      }
      if (event.type !== 'frame') continue;
      const { trackNumber, ticks, keyframe, bytes } = event.frame;
      const stream = numbers.get(trackNumber) ?? -1;
      found.push({ stream, ms: ticks, keyframe, hash: hashOf(bytes) });
    }
    assert.ok(wanted.length > 60);
    assert.deepEqual(found, wanted);
  });

  it('makes the same of a stream however it is cut', () => {
    const whole = read([footage]);
    assert.deepEqual(read([...footage].map((byte) => Buffer.from([byte]))), whole);
    for (let seed = 1; seed <= 20; seed += 1) {
      const random = seededRandom(seed);
      assert.deepEqual(read(cut(footage, random, seed * 97)), whole, `seed ${seed}`);
    }
  });

  it('says of a stream that is cut off after any byte what was whole, and that it is cut off', async () => {
    const short = await makeFootage({ seconds: 1, size: '32x32', framesPerSecond: 5 });
    const whole = read([short]);
    for (let end = 1; end < short.length; end += 1) {
      const seen = [...read([short.subarray(0, end)])];
      if (seen.at(-1)?.startsWith('truncated: ') === true) seen.pop();
      assert.deepEqual(seen, whole.slice(0, seen.length), `after ${end} bytes`);
    }
  });

  it('makes of damaged streams the same however they are cut, and nothing but its own errors', () => {
    let refused = 0;
    for (let seed = 1; seed <= 400; seed += 1) {
      const random = seededRandom(seed);
      // Most of the structure is at the beginning.
      const reach = random() < 0.7 ? 1_500 : footage.length;
      const damaged = Buffer.from(footage);
      for (let count = 1 + Math.floor(random() * 8); count > 0; count -= 1) {
        damaged[Math.floor(random() * reach)] = Math.floor(random() * 256);
      }
      const seen = read([damaged]);
      if (/^[a-z-]+: /.test(seen.at(-1) ?? '')) refused += 1;
      assert.deepEqual(read(cut(damaged, random, 2_000)), seen, `seed ${seed}`);
    }
    assert.ok(refused > 40 && refused < 400, `${refused} refused`);
  });

  it('refuses what is something else at its first bytes', () => {
    for (const bytes of [Buffer.from('GET / HTTP/1.1'), Buffer.alloc(64), Buffer.alloc(64, 255)]) {
      assert.match(read([bytes]).at(-1) ?? '', /^malformed: /);
    }
    const other = element(ids.EBML, text(ids.DocType, 'other'));
    assert.match(read([other]).at(-1) ?? '', /^unsupported: a document of type "other"/);
  });

  it('reads clusters and segments of known and unknown size, and documents that follow', () => {
    const frame = element(ids.SimpleBlock, block(1, 5, 0x80, Buffer.from('x')));
    const content = [unsigned(ids.Timestamp, 100), frame];
    const known = element(ids.Cluster, ...content);
    const unknown = Buffer.concat([elementHeader(ids.Cluster, null), ...content]);
    const tags = element(
      ids.Tags,
      element(
        ids.Tag,
        element(ids.SimpleTag, text(ids.TagName, 'door'), text(ids.TagString, 'open')),
      ),
    );
    const wanted = read([Buffer.concat([document, openSegment, known, tags, known])]);
    assert.equal(wanted.length, 7);
    assert.equal(wanted[3], '{"type":"tags","tags":[{"name":"door","value":"open"}]}');
    const padding = element(ids.Void, Buffer.alloc(300));
    const checksum = element(ids.CRC32, Buffer.alloc(4));
    const cues = element(ids.Cues, Buffer.alloc(50));
    for (const segment of [
      Buffer.concat([openSegment, unknown, tags, unknown]),
      element(ids.Segment, unknown, tags, known),
      Buffer.concat([openSegment, padding, unknown, padding, cues, tags, unknown, checksum]),
    ]) {
      assert.deepEqual(read([document, segment]), wanted);
      assert.deepEqual(read([document, segment, document, segment]), [...wanted, ...wanted]);
    }
  });

  it('reads groups of blocks and every kind of lacing', () => {
    const frames = [Buffer.alloc(3, 1), Buffer.alloc(300, 2), Buffer.alloc(40, 3)];
    const equal = [Buffer.alloc(5, 1), Buffer.alloc(5, 2), Buffer.alloc(5, 3)];
    const cases: readonly (readonly [Buffer, readonly Buffer[]])[] = [
      [block(2, -3, 0x02, Buffer.from([2, 3, 255, 45]), ...frames), frames],
      [block(2, -3, 0x04, Buffer.from([2]), ...equal), equal],
      // 3, then +297 in two bytes: 297 + 8191 = 0x2128, with its marker 0x6128.
      [block(2, -3, 0x06, Buffer.from([2, 0x83, 0x61, 0x28]), ...frames), frames],
    ];
    for (const [body, wanted] of cases) {
      const group = element(
        ids.BlockGroup,
        element(ids.Block, body),
        unsigned(ids.BlockDuration, 60),
        element(ids.ReferenceBlock, Buffer.from([0xff])),
      );
      const cluster = element(ids.Cluster, unsigned(ids.Timestamp, 10), group);
      const about = { trackNumber: 2, ticks: 7, index: 0, durationTicks: 20, keyframe: false };
      assert.deepEqual(read([document, openSegment, cluster]), [
        '{"type":"cluster","ticks":10}',
        ...wanted.map(
          (bytes, index) => `frame ${JSON.stringify({ ...about, index })} ${hashOf(bytes)}`,
        ),
        '{"type":"cluster-end"}',
      ]);
    }
  });

  it('refuses what is too large as soon as it says so, holding none of it', () => {
    const head = Buffer.concat([document, openSegment, elementHeader(ids.Cluster, null)]);
    const reader = new MkvReader();
    assert.deepEqual([...reader.push(head)], []);
    const huge = elementHeader(ids.SimpleBlock, 33 * 2 ** 20);
    assert.throws(() => [...reader.push(huge)], isError('too-large'));
    for (const id of [ids.Info, ids.Tracks, ids.Tags]) {
      const bytes = Buffer.concat([document, openSegment, elementHeader(id, 2 ** 40)]);
      assert.throws(() => [...new MkvReader().push(bytes)], isError('too-large'));
    }
  });

  it('passes over what is of no use without holding it', () => {
    const reader = new MkvReader();
    const head = [document, openSegment, elementHeader(ids.Attachments, 64 * 2 ** 20)];
    for (const bytes of head) assert.deepEqual([...reader.push(bytes)], []);
    for (let left = 64; left > 0; left -= 1) {
      assert.deepEqual([...reader.push(Buffer.alloc(2 ** 20))], []);
      assert.equal(reader.pendingBytes, 0);
    }
    const cluster = element(ids.Cluster, unsigned(ids.Timestamp, 1));
    assert.deepEqual([...reader.push(cluster)][0], { type: 'cluster', ticks: 1 });
  });

  it('refuses what contradicts itself', () => {
    const inCluster = (...content: readonly Buffer[]): readonly Buffer[] => [
      ...[document, openSegment, element(ids.Cluster, ...content)],
    ];
    const time = unsigned(ids.Timestamp, 1);
    const cases: readonly (readonly [RegExp, readonly Buffer[]])[] = [
      [/before the time/, inCluster(element(ids.SimpleBlock, block(1, 0, 0)))],
      [/two times/, inCluster(time, time)],
      [/before the beginning/, inCluster(time, element(ids.SimpleBlock, block(1, -2, 0)))],
      [/shorter than its header/, inCluster(time, element(ids.SimpleBlock, Buffer.from([0x81])))],
      [/EBML within a cluster/, inCluster(time, document)],
      [/Tracks within a cluster/, inCluster(time, element(ids.Tracks))],
      [/goes past what it is in/, inCluster(elementHeader(ids.SimpleBlock, 100))],
      [/of unknown size/, inCluster(time, elementHeader(ids.SimpleBlock, null))],
      [/without a block/, inCluster(time, element(ids.BlockGroup))],
      [
        /laced frames go past/,
        inCluster(time, element(ids.SimpleBlock, block(1, 0, 2, Buffer.from([1, 9])))),
      ],
      [
        /two tracks/,
        [
          ...[document, openSegment],
          element(
            ids.Tracks,
            ...[1, 1].map((number) => element(ids.TrackEntry, unsigned(ids.TrackNumber, number))),
          ),
        ],
      ],
    ];
    for (const [message, bytes] of cases) {
      assert.match(read(bytes).at(-1) ?? '', message);
      assert.match(read(bytes).at(-1) ?? '', /^(malformed|truncated): /);
    }
  });
});

function isError(code: MkvError['code']): (error: unknown) => boolean {
  return (error) => error instanceof MkvError && error.code === code;
}
