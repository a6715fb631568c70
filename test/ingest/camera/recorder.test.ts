/** The recorder fed by hand: what it makes of clocks that jump and of streams that lie. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it, type TestContext } from 'node:test';
import { Recorder } from '../../../ingest/camera/recorder.ts';
import { SourceError } from '../../../ingest/source.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { Fragment } from '../../../storage/model.ts';
import { Mp4Error, readInit, shiftDecodeTimes } from '../../../storage/video/boxes.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
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

interface Bench extends OpenedStore {
  readonly clock: ManualClock;
  readonly recorder: Recorder;
  fragments(): Promise<readonly Fragment[]>;
}

describe('the recorder', () => {
  let footage: ParsedFootage;
  let other: ParsedFootage;
  before(async () => {
    footage = parseFootage(await makeFootage({ seconds: 6, format: fragmentedFormat }));
    other = parseFootage(
      await makeFootage({ seconds: 2, size: '320x180', format: fragmentedFormat }),
    );
  });

  async function bench(t: TestContext, folder?: string): Promise<Bench> {
    const clock = new ManualClock();
    const opened = await openVideo(t, folder ?? (await temporaryFolder(t)), { clock });
    const { video } = opened.store;
    await video.ensureCamera(cameraOptions('gate'));
    const recorder = new Recorder({ camera: 'gate', video, clock, logger: new MemoryLogger() });
    const everything = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 };
    return { ...opened, clock, recorder, fragments: () => video.fragments(everything) };
  }

  /** Sends chunks as time goes by, 200 ms each, their clock moved by so many seconds. */
  async function send(
    { clock, recorder }: Bench,
    from: number,
    to: number,
    shiftSeconds = 0,
  ): Promise<void> {
    const shift = BigInt(Math.round(shiftSeconds * footage.video.timescale));
    for (const { bytes } of footage.chunks.slice(from, to)) {
      clock.advance(200);
      const moved = shiftDecodeTimes(bytes, new Map([[footage.video.trackId, shift]]));
      await recorder.accept(moved, clock.nowMs());
    }
  }

  it('ends the run, nothing lost before, when the media clock leaps or goes back', async (t) => {
    for (const seconds of [3_600, 15, -2]) {
      const b = await bench(t);
      await b.recorder.accept(footage.initBytes, b.clock.nowMs());
      await send(b, 0, 15);
      await assert.rejects(send(b, 15, 16, seconds), isSourceError('malformed'));
      await b.recorder.end('failed: jumped');
      const fragments = await b.fragments();
      assert.equal(
        fragments.reduce((sum, { chunks }) => sum + chunks.length, 0),
        15,
      );
      const lastedUs = fragments.reduce((sum, { durationUs }) => sum + durationUs, 0);
      assert.ok(Math.abs(lastedUs - 3_000_000) < 100_000, `${lastedUs}`);
    }
  });

  it('takes a pause of the network for what it is: the frames come late, none is lost', async (t) => {
    const b = await bench(t);
    await b.recorder.accept(footage.initBytes, b.clock.nowMs());
    await send(b, 0, 12);
    b.clock.advance(40_000);
    await send(b, 12, footage.chunks.length);
    await b.recorder.end('ended');
    const fragments = await b.fragments();
    assert.equal(fragments.length, 3);
    const lastedUs = fragments.reduce((sum, { durationUs }) => sum + durationUs, 0);
    assert.ok(Math.abs(lastedUs - 6_000_000) < 10_000, `${lastedUs}`);
  });

  it('begins another run when the wall clock is set', async (t) => {
    for (const stepMs of [86_400_000, -86_400_000]) {
      const b = await bench(t);
      await b.recorder.accept(footage.initBytes, b.clock.nowMs());
      await send(b, 0, 5);
      b.clock.stepWall(stepMs);
      await assert.rejects(send(b, 5, 6), isSourceError('ended'));
    }
  });

  /**
   * Twelve seconds of a camera, taken by a recorder of its own until that ends the run; answers how
   * many chunks it took.
   */
  async function session(b: Bench): Promise<number> {
    const { clock, store } = b;
    const logger = new MemoryLogger();
    const recorder = new Recorder({ camera: 'gate', video: store.video, clock, logger });
    let taken = 0;
    try {
      await recorder.accept(footage.initBytes, clock.nowMs());
      for (const shiftSeconds of [0, 6]) {
        for (let at = 0; at < footage.chunks.length; at += 1, taken += 1) {
          await send({ ...b, recorder }, at, at + 1, shiftSeconds);
        }
      }
    } catch (error) {
      if (!isSourceError('ended')(error)) throw error;
    }
    await recorder.end('ended');
    return taken;
  }

  /** Lets time go by until so many seconds after the clock's beginning. */
  const waitUntil = ({ clock }: Bench, seconds: number): void =>
    clock.advance(newYearUs / 1000 + seconds * 1000 - clock.nowMs());

  /** Where runs begin and end, in seconds from the clock's beginning, in order of time. */
  async function pieces(b: Bench): Promise<readonly (readonly number[])[]> {
    const runs = await b.store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
    return runs.map(({ startUs, endUs }) => [secondsOf(startUs), secondsOf(endUs ?? NaN)]);
  }

  it('dates footage rightly once a clock that was a day ahead, or behind, is right', async (t) => {
    const day = 86_400;
    for (const wrong of [day, -day]) {
      const b = await bench(t);
      await session(b);
      b.clock.stepWall(wrong * 1000);
      await session(b);
      b.clock.stepWall(-wrong * 1000);
      await session(b);
      const expected = [
        [0, 12],
        [24, 36],
      ];
      const misdated = [wrong + 12, wrong + 24];
      assert.deepEqual(
        await pieces(b),
        wrong > 0 ? [...expected, misdated] : [misdated, ...expected],
      );
    }
  });

  it('begins behind the footage in which the true time lies', async (t) => {
    const b = await bench(t);
    await session(b);
    b.clock.stepWall(-10_000);
    await session(b);
    assert.deepEqual(await pieces(b), [
      [0, 12],
      [12, 24],
    ]);
  });

  it('catches up with its own footage, dated an hour ahead: ends before it, goes on behind it', async (t) => {
    const b = await bench(t);
    const hour = 3_600;
    b.clock.stepWall(hour * 1000);
    const whole = await session(b);
    b.clock.stepWall(-hour * 1000);
    await session(b);
    waitUntil(b, hour - 11);
    const taken = await session(b);
    assert.ok(taken >= whole - 6 && taken < whole, `${taken} of ${whole}`);
    await session(b);
    waitUntil(b, hour + 100);
    await session(b);
    assert.deepEqual(await pieces(b), [
      [12, 24],
      [hour - 11, hour],
      [hour, hour + 12],
      [hour + 12, hour + 24],
      [hour + 100, hour + 112],
    ]);
    const all = await b.fragments();
    for (const [index, { startUs }] of all.entries()) {
      const before = all[index - 1];
      assert.ok(before === undefined || startUs >= before.startUs + before.durationUs);
    }
    const ahead = all.filter((one) => secondsOf(one.startUs) === hour);
    assert.equal(ahead.length, 1);
  });

  it('marks the fragment in which something was lost', async (t) => {
    const b = await bench(t);
    await b.recorder.accept(footage.initBytes, b.clock.nowMs());
    await send(b, 0, 12);
    b.recorder.markDamaged();
    await send(b, 12, footage.chunks.length);
    await b.recorder.end('ended');
    assert.deepEqual(
      (await b.fragments()).map(({ damaged }) => damaged),
      [false, true, false],
    );
  });

  it('refuses a stream that contradicts itself, with what came before kept', async (t) => {
    const b = await bench(t);
    await b.recorder.accept(footage.initBytes, b.clock.nowMs());
    await send(b, 0, 3);
    await assert.rejects(b.recorder.accept(other.initBytes, b.clock.nowMs()), Mp4Error);
    await b.recorder.end('failed: lied');
    assert.equal((await b.fragments())[0]?.chunks.length, 3);
    await b.recorder.end('again');
  });

  it('survives parameter sets that are rubbish', async (t) => {
    const b = await bench(t);
    const { configuration } = footage.video;
    assert.ok(configuration !== null);
    for (let at = configuration.bodyStart; at < configuration.end; at += 1) {
      for (const value of [0, 0xff]) {
        const mutant = Buffer.from(footage.initBytes);
        mutant[at] = value;
        const { video } = b.store;
        const recorder = new Recorder({
          ...{ camera: 'gate', video, clock: b.clock, logger: new MemoryLogger() },
        });
        try {
          await recorder.accept(mutant, b.clock.nowMs());
          await recorder.accept(footage.chunks[0]!.bytes, b.clock.nowMs());
        } catch (error) {
          assert.ok(error instanceof Mp4Error || error instanceof StorageError, String(error));
        }
        await recorder.end('ended');
      }
    }
    readInit(footage.initBytes);
  });

  it('ends with a clear reason when the disk is full, and goes on when it is not', async (t) => {
    const folder = await temporaryFolder(t);
    const media = join(folder, 'media');
    await mkdir(media);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', media], {
        stdio: 'ignore',
      });
    } catch {
      t.skip('needs the right to mount a small disk');
      return;
    }
    try {
      const b = await bench(t, folder);
      await b.recorder.accept(footage.initBytes, b.clock.nowMs());
      await assert.rejects(
        send(b, 0, footage.chunks.length),
        (error) => error instanceof StorageError && error.code === 'disk-full' && error.retryable,
      );
      await b.recorder.end('failed: disk full');
      const kept = await b.fragments();
      assert.ok(kept.length > 0);
      for (const fragment of kept) await b.store.video.readFragment(fragment);
      const [run] = await b.store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
      assert.equal(run?.endReason, 'failed: disk full');

      execFileSync('mount', ['-o', 'remount,size=4m', media]);
      const { video } = b.store;
      const again = new Recorder({
        ...{ camera: 'gate', video, clock: b.clock, logger: new MemoryLogger() },
      });
      await again.accept(footage.initBytes, b.clock.nowMs());
      await send({ ...b, recorder: again }, 0, footage.chunks.length);
      await again.end('ended');
      assert.equal((await b.fragments()).length, kept.length + 3);
      await b.store.close();
    } finally {
      execFileSync('umount', [media]);
    }
  });
});

function secondsOf(timeUs: number): number {
  return Math.round((timeUs - newYearUs) / 1e6);
}

function isSourceError(code: string): (error: unknown) => boolean {
  return (error) => error instanceof SourceError && error.code === code;
}
