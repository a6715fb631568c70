/** PutMedia's recorder: what it keeps of a producer's stream, when, and what it says of it. */
import assert from 'node:assert/strict';
import { before, describe, it, type TestContext } from 'node:test';
import { element, text, unsigned } from '../../../gateway/api/kinesis-video/mkv/elements.ts';
import { tagsOf } from '../../../gateway/api/kinesis-video/mkv/writer.ts';
import { ids } from '../../../ingest/mkv/ebml.ts';
import { PutMediaError, type PutMediaErrorCode } from '../../../ingest/mkv/put-media-errors.ts';
import { MkvRecorder, type Timecodes } from '../../../ingest/mkv/recorder.ts';
import { checkStore } from '../../../storage/check.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { Fragment } from '../../../storage/model.ts';
import { seededRandom } from '../../storage/support/open.ts';
import {
  cameraOptions,
  fragmentedFormat,
  makeFootage,
  newYearUs,
  openVideo,
  type OpenedStore,
  type ParsedFootage,
  parseFootage,
} from '../../storage/video/footage.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { memoryFolder } from '../../support/temporary-folder.ts';
import {
  bFrames,
  clustersByKeyframe,
  type MkvStream,
  type Packet,
  packetsOf,
  producerStream,
  tone,
} from './footage.ts';

interface Bench extends OpenedStore {
  readonly folder: string;
  readonly clock: ManualClock;
  readonly recorder: MkvRecorder;
  /** `PERSISTED 1000 4096` */
  readonly acks: string[];
  /** Sends bytes as time goes by. */
  send(bytes: Buffer, ms?: number): Promise<void>;
  fragments(): Promise<readonly Fragment[]>;
}

const relative: Timecodes = { type: 'relative', startMs: null };
const newYearMs = newYearUs / 1000;

async function bench(
  t: TestContext,
  timecodes: Timecodes = relative,
  opened?: Bench,
): Promise<Bench> {
  const clock = opened?.clock ?? new ManualClock();
  const folder = opened?.folder ?? (await memoryFolder(t));
  const store = opened ?? (await openVideo(t, folder, { clock }));
  const { video } = store.store;
  await video.ensureCamera(cameraOptions('gate'));
  const acks: string[] = [];
  const recorder = new MkvRecorder({
    ...{ camera: 'gate', video, timecodes, clock, logger: new MemoryLogger() },
    onAck: ({ type, timecodeMs, fragmentNumber }) => {
      acks.push(`${type} ${timecodeMs} ${fragmentNumber}`);
    },
  });
  return {
    ...{ ...store, folder, clock, recorder, acks },
    send: async (bytes, ms = 0) => {
      clock.advance(ms);
      await recorder.accept(bytes, clock.nowMs());
    },
    fragments: () =>
      video.fragments({ camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 }),
  };
}

/** Sends a whole stream in pieces, and its end. */
async function sendAll(b: Bench, bytes: Buffer, pieceBytes = 5_000): Promise<void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    await b.send(bytes.subarray(at, at + pieceBytes));
  }
  await b.recorder.finish(b.clock.nowMs());
  await b.recorder.end('ended');
}

/** What is stored, as ffprobe finds it in each init with its fragments. */
async function storedPackets({ store }: Bench, fragments: readonly Fragment[]): Promise<Packet[]> {
  const packets: Packet[] = [];
  for (const initId of new Set(fragments.map((fragment) => fragment.initId))) {
    const parts = [(await store.video.init(initId)).bytes];
    for (const fragment of fragments) {
      if (fragment.initId === initId) parts.push(await store.video.readFragment(fragment));
    }
    packets.push(...(await packetsOf(Buffer.concat(parts))));
  }
  return packets;
}

function ofTrack(packets: readonly Packet[], stream: number): Packet[] {
  return packets.filter((packet) => packet.stream === stream);
}

/** Frames equal, and all times after the first picture, which may be rounded twice. */
function assertSame(found: readonly Packet[], wanted: readonly Packet[]): void {
  const originOf = (packets: readonly Packet[]): number => ofTrack(packets, 0)[0]?.ms ?? 0;
  for (const stream of [0, 1]) {
    const [one, other] = [ofTrack(found, stream), ofTrack(wanted, stream)];
    assert.deepEqual(
      one.map(({ hash, keyframe }) => [hash, keyframe]),
      other.map(({ hash, keyframe }) => [hash, keyframe]),
    );
    for (const [index, { ms }] of one.entries()) {
      const wantedMs = (other[index]?.ms ?? NaN) - originOf(wanted);
      const isNear = Math.abs(ms - originOf(found) - wantedMs) <= 3;
      assert.ok(isNear, `frame ${index} of track ${stream}: ${ms - originOf(found)}, ${wantedMs}`);
    }
  }
}

const kinds: readonly {
  readonly name: string;
  readonly video?: readonly string[];
  readonly audio?: readonly string[];
  readonly framesPerSecond?: number;
}[] = [
  { name: 'H.264 without sound' },
  { name: 'H.264 with B-frames and AAC', video: bFrames, audio: tone },
  {
    name: 'H.264 of varying frame rate with B-frames',
    video: [...bFrames, '-vf', "select='not(eq(mod(n,7),3))*not(between(mod(n,30),11,19))'"].concat(
      [...['-fps_mode', 'vfr']],
    ),
  },
  {
    name: 'H.265 with B-frames and AAC',
    video: ['-c:v', 'libx265', '-preset', 'superfast', '-x265-params', 'log-level=error:pools=1'],
    audio: tone,
  },
  {
    name: 'H.264 with Opus',
    audio: ['-c:a', 'libopus', '-b:a', '32k', '-shortest'],
  },
  { name: 'H.264 at two pictures a second', framesPerSecond: 2, video: bFrames },
];

describe('the recorder of PutMedia', () => {
  let footage: ParsedFootage;
  let stream: MkvStream;
  before(async () => {
    footage = parseFootage(await makeFootage({ seconds: 6, format: fragmentedFormat }));
    stream = producerStream(footage);
  });

  for (const { name, ...options } of kinds) {
    it(`keeps every frame with its time: ${name}`, async (t) => {
      const sent = await makeFootage({
        ...{ seconds: 6, framesPerSecond: 30, group: options.framesPerSecond === 2 ? 4 : 60 },
        ...{ format: clustersByKeyframe, ...options },
      });
      const b = await bench(t);
      await sendAll(b, sent);
      const fragments = await b.fragments();
      assert.ok(fragments.length >= 2, `${fragments.length} fragments`);
      assertSame(await storedPackets(b, fragments), await packetsOf(sent));
      // One timeline, without holes, as long as what was sent.
      for (const [index, { startUs }] of fragments.entries()) {
        const previous = fragments[index - 1];
        if (previous === undefined) continue;
        // How long the last picture of a cluster lasts is not said: pictures may be missing there.
        const holeUs = startUs - previous.startUs - previous.durationUs;
        assert.ok(holeUs >= 0 && holeUs <= 400_000, `${holeUs} µs before fragment ${index}`);
      }
      const [first, last] = [fragments[0], fragments.at(-1)];
      const lengthUs = (last?.startUs ?? 0) + (last?.durationUs ?? 0) - (first?.startUs ?? 0);
      assert.ok(Math.abs(lengthUs - 6_000_000) < 500_000, `${lengthUs}`);
      for (const { chunks } of fragments) {
        const longUs = chunks.map(({ durationUs }) => durationUs).filter((us) => us > 200_000);
        assert.ok(longUs.length <= 4, longUs.join(' '));
      }
    });
  }

  it('acknowledges each fragment as it is: begun, here, on disk', async (t) => {
    const b = await bench(t);
    await b.send(stream.head);
    const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = stream.clusters;
    await b.send(first.subarray(0, 200));
    assert.deepEqual(b.acks, []);
    await b.send(first.subarray(200));
    assert.match(b.acks.join(), /^BUFFERING 0 \d+$/);
    // It is of unknown size: whole, once the next one begins.
    await b.send(second.subarray(0, 20));
    const [fragment] = await b.fragments();
    const number = fragment?.number ?? 0;
    assert.deepEqual(b.acks, [
      `BUFFERING 0 ${number}`,
      `RECEIVED 0 ${number}`,
      `PERSISTED 0 ${number}`,
    ]);
    await b.send(second.subarray(20));
    await b.recorder.finish(b.clock.nowMs());
    await b.recorder.end('ended');
    const stored = await b.fragments();
    assert.deepEqual(
      b.acks.slice(3),
      ['BUFFERING', 'RECEIVED', 'PERSISTED'].map((type) => `${type} 1000 ${stored[1]?.number}`),
    );
  });

  it('keeps nothing of a fragment that was cut off, and all before it', async (t) => {
    const whole = Buffer.concat([stream.head, ...stream.clusters]);
    const random = seededRandom(7);
    for (let round = 0; round < 12; round += 1) {
      const b = await bench(t);
      await b.send(whole.subarray(0, Math.floor(random() * whole.length)));
      await b.recorder.end('failed: it broke');
      const persisted = b.acks.filter((ack) => ack.startsWith('PERSISTED'));
      const fragments = await b.fragments();
      assert.deepEqual(
        persisted.map((ack) => Number(ack.split(' ')[2])),
        fragments.map(({ number }) => number),
      );
      for (const fragment of fragments) await b.store.video.readFragment(fragment);
    }
  });

  it('puts a stream where its producer says, a backlog too, and by its arrival what can be no time', async (t) => {
    const cases: readonly (readonly [name: string, offsetMs: number, isBelieved: boolean])[] = [
      ['a second ago', -1_000, true],
      ['a backlog of an hour', -3_600_000, true],
      ['a day late', -86_400_000, false],
      ['a minute ahead', 60_000, false],
    ];
    for (const [name, offsetMs, isBelieved] of cases) {
      const startMs = newYearMs + offsetMs;
      for (const timecodes of [{ type: 'absolute' }, { type: 'relative', startMs }] as const) {
        const b = await bench(t, timecodes);
        const sent = producerStream(footage, timecodes.type === 'absolute' ? startMs : 0);
        await sendAll(b, Buffer.concat([sent.head, ...sent.clusters]));
        const fragments = await b.fragments();
        assert.deepEqual(
          fragments.map(({ producerMs }) => producerMs),
          Array.from({ length: 6 }, (_, index) => startMs + index * 1_000),
        );
        const afterMs = (fragments[0]?.startUs ?? 0) / 1_000 - newYearMs;
        // All of it came at once: what is timed by its arrival has just ended.
        const [earliestMs, latestMs] = isBelieved ? [offsetMs - 2, offsetMs + 2] : [-1_300, 0];
        assert.ok(afterMs >= earliestMs && afterMs <= latestMs, `${name}: ${afterMs}`);
      }
    }
  });

  it('leaves out what was not sent, and begins another run after more than a second', async (t) => {
    const b = await bench(t, { type: 'absolute' });
    for (const [gapMs, at] of [
      [0, 0],
      [500, 1],
      [20_000, 2],
    ] as const) {
      const sent = producerStream(footage, newYearMs + gapMs);
      const [cluster = Buffer.alloc(0)] = sent.clusters.slice(at);
      await b.send(Buffer.concat([...(at === 0 ? [sent.head] : []), cluster]), gapMs);
    }
    await b.recorder.finish(b.clock.nowMs());
    await b.recorder.end('ended');
    const fragments = await b.fragments();
    assert.deepEqual(
      fragments.map(({ startUs }) => Math.round((startUs - newYearUs) / 10_000)),
      [0, 150, 2_200],
    );
    const [first, second, third] = fragments.map(({ runId }) => runId);
    assert.equal(first, second);
    assert.notEqual(second, third);
    for await (const finding of checkStore({ folder: b.folder })) assert.fail(finding.what);
  });

  it('goes on with another codec configuration in mid-stream', async (t) => {
    const other = parseFootage(
      await makeFootage({ seconds: 2, size: '320x180', format: fragmentedFormat }),
    );
    const b = await bench(t);
    const next = producerStream(other, 6_000);
    await sendAll(b, Buffer.concat([stream.head, ...stream.clusters, next.head, ...next.clusters]));
    const fragments = await b.fragments();
    const sizes: string[] = [];
    for (const { initId } of fragments) {
      const { tracks } = await b.store.video.init(initId);
      sizes.push(`${tracks[0]?.width}x${tracks[0]?.height}`);
    }
    assert.deepEqual(sizes, [...Array<string>(6).fill('192x108'), '320x180', '320x180']);
    assert.equal(new Set(fragments.map(({ runId }) => runId)).size, 1);
  });

  it('keeps tags with the fragment that they come after, or before when it is the first', async (t) => {
    const b = await bench(t);
    const [first, second, third] = stream.clusters;
    const pieces = [stream.head, tagsOf({ early: '1' }), first, tagsOf({ a: '2', b: 'ü' }), second];
    const last = [tagsOf({ AWS_KINESISVIDEO_FRAGMENT_NUMBER: '12' }), third];
    await sendAll(b, Buffer.concat([...pieces, ...last].map((piece) => piece ?? Buffer.alloc(0))));
    assert.deepEqual(
      (await b.fragments()).map(({ tags }) => tags),
      [{ early: '1', a: '2', b: 'ü' }, null, null],
    );
  });

  it('goes on where tags come for a fragment that is deleted', async (t) => {
    const b = await bench(t);
    const { video } = b.store;
    t.mock.method(video, 'tagFragment', () =>
      Promise.reject(new StorageError('not-found', 'no such fragment')),
    );
    const [first, second] = stream.clusters;
    await sendAll(b, Buffer.concat([stream.head, first!, tagsOf({ late: '1' }), second!]));
    assert.equal((await b.fragments()).length, 2);
  });

  it('ends where its tags are too many beside those that somebody else gave', async (t) => {
    const b = await bench(t);
    await b.send(Buffer.concat([stream.head, stream.clusters[0]!, tagsOf({ own: '1' })]));
    const [one] = await b.fragments();
    const others = Object.fromEntries(
      Array.from({ length: 9 }, (_, index) => [`name ${index}`, 'of another']),
    );
    await b.store.video.tagFragment(one!.number, others);
    await assert.rejects(
      b.send(tagsOf({ more: '2' })),
      (error) => error instanceof PutMediaError && error.code === 'FRAGMENT_METADATA_LIMIT_REACHED',
    );
    await b.recorder.end('failed');
    assert.deepEqual((await b.fragments())[0]?.tags, { own: '1', ...others });
  });

  it('refuses what the service refuses, each with its code, keeping what was whole', async (t) => {
    const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = stream.clusters;
    const { head } = stream;
    const cluster = (ms: number, ...blocks: readonly Buffer[]): Buffer =>
      element(ids.Cluster, unsigned(ids.Timestamp, ms), ...blocks);
    const block = (track: number, relativeMs: number, keyframe: boolean, bytes = 10): Buffer => {
      const header = Buffer.from([0x80 | track, 0, 0, keyframe ? 0x80 : 0]);
      header.writeInt16BE(relativeMs, 1);
      return element(ids.SimpleBlock, header, Buffer.alloc(bytes));
    };
    const track = (number: number, type: number, codec: string): Buffer =>
      element(
        ids.TrackEntry,
        unsigned(ids.TrackNumber, number),
        unsigned(ids.TrackType, type),
        text(ids.CodecID, codec),
      );
    const tracks = (...entries: readonly Buffer[]): Buffer =>
      Buffer.concat([
        element(ids.EBML, text(ids.DocType, 'matroska')),
        Buffer.from('1853806701ffffffffffffff', 'hex'),
        element(ids.Tracks, ...entries),
      ]);
    const many = Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`t${index}`, '']));
    const cases: readonly (readonly [PutMediaErrorCode, number, readonly Buffer[]])[] = [
      ['INVALID_MKV_DATA', 0, [Buffer.from('--boundary\r\n')]],
      ['INVALID_MKV_DATA', 0, [cluster(0)]],
      ['INVALID_MKV_DATA', 1, [head, first, cluster(1_000, block(1, 0, false))]],
      ['INVALID_MKV_DATA', 0, [tracks(track(1, 1, 'V_VP9')), cluster(0, block(1, 0, true))]],
      ['INVALID_MKV_DATA', 0, [tracks(track(1, 1, 'V_MPEG4/ISO/AVC'))]],
      ['INVALID_MKV_DATA', 0, [tracks(track(1, 2, 'A_AAC'))]],
      ['MAX_FRAGMENT_SIZE_REACHED', 1, [head, first, cluster(1_000, block(1, 0, true, 33 << 20))]],
      [
        'MAX_FRAGMENT_SIZE_REACHED',
        1,
        [head, first, cluster(1_000, block(1, 0, true, 30 << 20), block(1, 9, false, 20 << 20))],
      ],
      [
        'MAX_FRAGMENT_SIZE_REACHED',
        1,
        [
          head,
          first,
          cluster(1_000, block(1, 0, true), ...Array<Buffer>(10_000).fill(block(1, 1, false))),
        ],
      ],
      [
        'MAX_FRAGMENT_DURATION_REACHED',
        1,
        [head, first, cluster(1_000, block(1, 0, true), block(1, 10_001, false))],
      ],
      ['FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS', 1, [head, first, first, second]],
      ['FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS', 2, [head, first, second, first, first]],
      [
        'MORE_THAN_ALLOWED_TRACKS_FOUND',
        0,
        [tracks(track(1, 1, 'V_MPEG4/ISO/AVC'), track(2, 1, 'V_MPEG4/ISO/AVC'))],
      ],
      ['MORE_THAN_ALLOWED_TRACKS_FOUND', 0, [tracks(track(1, 1, 'V_VP9'), track(2, 17, 'S_TEXT'))]],
      ['INVALID_PRODUCER_TIMESTAMP', 1, [head, first, cluster(2 ** 43, block(1, 0, true))]],
      ['FRAGMENT_METADATA_LIMIT_REACHED', 1, [head, first, tagsOf(many)]],
      ['FRAGMENT_METADATA_LIMIT_REACHED', 1, [head, first, tagsOf({ a: 'x'.repeat(257) })]],
      ['TRACK_NUMBER_MISMATCH', 1, [head, first, cluster(1_000, block(3, 0, true))]],
    ];
    for (const [code, kept, pieces] of cases) {
      const b = await bench(t);
      await assert.rejects(
        async () => {
          for (const piece of pieces) await b.send(piece);
          await b.recorder.finish(b.clock.nowMs());
        },
        (error) => error instanceof PutMediaError && error.code === code,
        `${code} after ${kept}`,
      );
      await b.recorder.end('failed');
      assert.equal((await b.fragments()).length, kept, code);
    }
    const withSound = parseFootage(
      await makeFootage({ seconds: 1, audio: tone, format: fragmentedFormat }),
    );
    const b = await bench(t);
    await b.send(producerStream(withSound).head);
    await assert.rejects(
      b.send(Buffer.concat([cluster(0, block(2, 0, true)), cluster(1)])),
      (error) => error instanceof PutMediaError && error.code === 'FRAMES_MISSING_FOR_TRACK',
    );
    await b.recorder.end('failed');
  });

  it('makes of damaged streams nothing but its own errors, and what it keeps can be read', async (t) => {
    const sent = await makeFootage({
      ...{ seconds: 2, size: '64x64', video: bFrames, audio: tone, format: clustersByKeyframe },
    });
    const opened = await bench(t);
    for (let seed = 1; seed <= 60; seed += 1) {
      const random = seededRandom(seed);
      const damaged = Buffer.from(sent);
      for (let count = 1 + Math.floor(random() * 6); count > 0; count -= 1) {
        damaged[Math.floor(random() * random() * damaged.length)] = Math.floor(random() * 256);
      }
      const b = await bench(t, relative, opened);
      try {
        await b.send(damaged, 60_000);
        await b.recorder.finish(b.clock.nowMs());
      } catch (error) {
        assert.ok(error instanceof PutMediaError, `seed ${seed}: ${String(error)}`);
        assert.notEqual(error.code, 'ARCHIVAL_ERROR', `seed ${seed}: ${error.message}`);
      }
      await b.recorder.end('ended');
    }
    const fragments = await opened.fragments();
    for (const fragment of fragments) await opened.store.video.readFragment(fragment);
    for (const [index, { startUs }] of fragments.entries()) {
      const previous = fragments[index - 1];
      const endUs = previous === undefined ? 0 : previous.startUs + previous.durationUs;
      assert.ok(endUs <= startUs, `fragment ${index} begins at ${startUs}, before ${endUs}`);
    }
  });
});
