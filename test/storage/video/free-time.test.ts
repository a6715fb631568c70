/** Footage of a clock that was ahead: what is recorded after it lies before it. */
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it, type TestContext } from 'node:test';
import { timelineOf } from '../../../gateway/api/rest/timeline.ts';
import { checkStore } from '../../../storage/check.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { RunRecording } from '../../../storage/model.ts';
import type { Store } from '../../../storage/store.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  newYearUs,
  openFragment,
  openVideo,
  type OpenedStore,
  type ParsedFootage,
  parseFootage,
  recordGroups,
} from './footage.ts';

const second = 1_000_000;
const hour = 3_600 * second;
const day = 24 * hour;

describe('the time of a camera', () => {
  let footage: ParsedFootage;
  before(async () => {
    footage = parseFootage(await makeFootage({ seconds: 4, format: fragmentedFormat }));
  });

  async function open(
    t: TestContext,
    options: Parameters<typeof openVideo>[2] = {},
  ): Promise<OpenedStore & { folder: string }> {
    const folder = await temporaryFolder(t);
    const opened = await openVideo(t, folder, { mediaFileMs: 2_000, ...options });
    await opened.store.video.ensureCamera(cameraOptions('gate'));
    return { ...opened, folder };
  }

  /** A run of four fragments of a second; answers where it began. */
  async function record(store: Store, startUs: number): Promise<number> {
    const recording = await beginRun(store, 'gate', footage, startUs);
    const { startUs: begunUs } = recording.run;
    await recordGroups(recording, footage, groupsOf(footage.chunks), begunUs);
    await recording.end('ended');
    return begunUs;
  }

  /** The bounds of the run that would begin at an instant. */
  async function freeAt(store: Store, atUs: number): Promise<RunRecording['free']> {
    const recording = await store.video.startRun('gate', atUs);
    await recording.end('ended');
    return recording.free;
  }

  const startsOf = async (store: Store, fromUs: number, toUs: number): Promise<number[]> => {
    const found = await store.video.fragments({ camera: 'gate', fromUs, toUs, limit: 100 });
    return found.map(({ startUs }) => (startUs - newYearUs) / second);
  };

  it('is free where there is no footage, whatever was recorded first', async (t) => {
    const { store } = await open(t);
    const nothing = { fromUs: Number.MIN_SAFE_INTEGER, untilUs: null };
    assert.deepEqual(await freeAt(store, newYearUs), nothing);
    const end = newYearUs + 4 * second;
    const aheadUs = newYearUs + day;
    for (const startUs of [aheadUs, newYearUs, newYearUs - day]) {
      assert.equal(await record(store, startUs), startUs);
    }
    const between = { fromUs: end, untilUs: aheadUs };
    const last = { fromUs: aheadUs + 4 * second, untilUs: null };
    assert.deepEqual(await freeAt(store, newYearUs - 2 * day), {
      fromUs: Number.MIN_SAFE_INTEGER,
      untilUs: newYearUs - day,
    });
    // Taken, at its end, in a gap: the same free time.
    for (const atUs of [newYearUs, end - 1, end, end + 12 * hour]) {
      assert.deepEqual(await freeAt(store, atUs), between);
    }
    // Too short a time before footage is passed over.
    assert.deepEqual(await freeAt(store, aheadUs - 10 * second), between);
    for (const atUs of [aheadUs - 10 * second + 1, aheadUs, aheadUs + 3 * second, aheadUs + day]) {
      assert.deepEqual(await freeAt(store, atUs), last);
    }
    // Footage without a gap is one piece.
    await record(store, end);
    assert.deepEqual(await freeAt(store, newYearUs), {
      fromUs: end + 4 * second,
      untilUs: aheadUs,
    });
  });

  it('is claimed once: overlaps are refused on both sides', async (t) => {
    const { store, folder } = await open(t);
    await record(store, newYearUs + 60 * second);
    await record(store, newYearUs);
    const recording = await beginRun(store, 'gate', footage, newYearUs + 2 * second);
    assert.equal(recording.run.startUs, newYearUs + 4 * second, 'where that footage ends');
    const refused = (error: unknown): boolean =>
      error instanceof StorageError && error.code === 'invalid-argument';
    const [group = []] = groupsOf(footage.chunks);
    const start = (atUs: number): Promise<void> => openFragment(recording, footage, group, atUs);
    for (const atUs of [-10, 0, 3.9, 60, 63, 70]) {
      await assert.rejects(start(newYearUs + atUs * second), refused, `${atUs}`);
    }
    await start(newYearUs + 58 * second);
    for (const durationUs of [2 * second + 1, 100 * second]) {
      await assert.rejects(recording.closeFragment({ durationUs, damaged: false }), refused);
    }
    const early = { startUs: newYearUs + 3 * second, durationUs: 1, damaged: false };
    await assert.rejects(recording.closeFragment(early), refused);
    await recording.closeFragment({ durationUs: 2 * second, damaged: false });
    await recording.end('ended');
    assert.equal((await startsOf(store, 0, Number.MAX_SAFE_INTEGER)).length, 9);
    assert.deepEqual(await findings(folder), []);
  });

  it('keeps what is open when the gateway stops, up to the later footage', async (t) => {
    const { store, folder } = await open(t);
    const aheadUs = newYearUs + 60 * second;
    await record(store, aheadUs);
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const [group = []] = groupsOf(footage.chunks);
    await openFragment(recording, footage, group, aheadUs - second / 2);
    const { endUs } = await recording.end('gateway stopped');
    assert.equal(endUs, aheadUs);
    assert.deepEqual(await findings(folder), []);
  });

  /** Opens what a kill leaves of a run whose second fragment, or only one, is being written. */
  async function recovered(
    t: TestContext,
    { tailUs, committed, aheadUs }: { tailUs: number; committed: boolean; aheadUs: number },
  ): Promise<{ store: Store; copy: string }> {
    const { store, folder } = await open(t, { mediaFileMs: 60_000 });
    await record(store, newYearUs + 60 * second);
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const [first = [], tail = []] = groupsOf(footage.chunks);
    if (committed) await recordGroups(recording, footage, [first], tailUs - second);
    await openFragment(recording, footage, tail, tailUs);
    await store.writer.transact((tx) =>
      tx.run(
        'UPDATE media_file SET start_us = start_us + ?1, end_us = end_us + ?1 WHERE end_us IS NOT NULL',
        aheadUs - (newYearUs + 60 * second),
      ),
    );
    const copy = join(await temporaryFolder(t), 'copy');
    await cp(folder, copy, { recursive: true });
    await recording.end('ended');
    return { store: (await openVideo(t, copy)).store, copy };
  }

  it('after a kill, the tail ends where footage that is dated later begins', async (t) => {
    const aheadUs = newYearUs + 60 * second;
    for (const { tailUs, committed, expected } of [
      { tailUs: aheadUs - 0.6 * second, committed: true, expected: [1, 0.6] },
      { tailUs: aheadUs - 0.6 * second, committed: false, expected: [0.6] },
      { tailUs: aheadUs - 10 * second, committed: true, expected: [1, 1] },
    ]) {
      const { store, copy } = await recovered(t, { tailUs, committed, aheadUs });
      const range = { camera: 'gate', fromUs: 0, toUs: aheadUs, limit: 10 };
      const found = await store.video.fragments(range);
      assert.deepEqual(
        found.map(({ durationUs }) => durationUs / second),
        expected,
      );
      for (const fragment of found) await store.video.readFragment(fragment);
      assert.deepEqual(await findings(copy), []);
      const { firstStartUs, lastEndUs } = await store.video.camera('gate');
      assert.equal(firstStartUs, committed ? tailUs - second : tailUs);
      assert.equal(lastEndUs, aheadUs + 4 * second);
    }
  });

  it('after a kill, a tail whose time is taken is given up', async (t) => {
    const tailUs = newYearUs + 30 * second;
    const { store, copy } = await recovered(t, { tailUs, committed: true, aheadUs: tailUs });
    assert.deepEqual(await startsOf(store, 0, tailUs + 1), [29, 30]);
    assert.equal((await store.video.latestFragments('gate', 1))[0]?.startUs, tailUs - second);
    assert.deepEqual(await findings(copy), []);
  });

  it('is asked for by time: ranges, runs and timelines over runs in any order', async (t) => {
    const { store, folder } = await open(t);
    for (const at of [200, 100, 300, 0]) await record(store, newYearUs + at * second);
    const recording = await beginRun(store, 'gate', footage, newYearUs + 20 * second);
    await recordGroups(recording, footage, groupsOf(footage.chunks), newYearUs + 20 * second);

    const starts = [0, 20, 100, 200, 300];
    const all = starts.flatMap((at) => [at, at + 1, at + 2, at + 3]);
    assert.deepEqual(await startsOf(store, 0, Number.MAX_SAFE_INTEGER), all);
    for (const from of all) {
      const fromUs = newYearUs + (from + 0.5) * second;
      assert.deepEqual(await startsOf(store, fromUs, fromUs + 1), [from]);
      assert.deepEqual(
        await startsOf(store, fromUs, newYearUs + 202.5 * second),
        all.filter((at) => at >= from && at <= 202),
      );
      const runs = await store.video.runs('gate', fromUs, fromUs + 1);
      assert.deepEqual(
        runs.map(({ startUs }) => (startUs - newYearUs) / second),
        starts.filter((at) => at <= from && from < at + 4),
      );
    }
    assert.deepEqual(await startsOf(store, newYearUs + 24 * second, newYearUs + 100 * second), []);

    const described = await store.video.camera('gate');
    assert.equal(described.firstStartUs, newYearUs);
    assert.equal(described.lastEndUs, newYearUs + 304 * second);
    const newest = await store.video.latestFragments('gate', 5);
    assert.deepEqual(
      newest.map(({ startUs }) => (startUs - newYearUs) / second),
      [3, 20, 21, 22, 23],
      'as they were recorded',
    );

    const [fromUs, toUs] = [newYearUs, newYearUs + 1_000 * second];
    const { spans } = timelineOf({
      runs: await store.video.runs('gate', fromUs, toUs),
      newest: newest.at(-1),
      ...{ complete: true, fromUs, toUs, mergeGapUs: 0 },
    });
    assert.deepEqual(
      spans.map(({ startTime, endTime }) => [secondsOf(startTime), secondsOf(endTime)]),
      starts.map((at) => [at, at + 4]),
    );
    await recording.end('ended');

    await record(store, newYearUs + 600 * second);
    const empty = await beginRun(store, 'gate', footage, newYearUs + 40 * second);
    const during = { fromUs: newYearUs + 30 * second, toUs };
    const shown = timelineOf({
      runs: await store.video.runs('gate', during.fromUs, during.toUs),
      newest: (await store.video.latestFragments('gate', 1))[0],
      ...{ complete: true, ...during, mergeGapUs: 0 },
    });
    assert.deepEqual(
      shown.spans.map(({ startTime, endTime }) => [secondsOf(startTime), secondsOf(endTime)]),
      [100, 200, 300, 600].map((at) => [at, at + 4]),
      'a run without a fragment shows nothing yet',
    );
    await empty.end('ended');
    assert.deepEqual(await findings(folder), []);
  });

  it('is shown as it is left by retention, which takes what was recorded first', async (t) => {
    const clock = new ManualClock();
    const { store } = await open(t, { clock });
    await record(store, newYearUs + 200 * second);
    await record(store, newYearUs);
    const { storedBytes, id } = await store.video.camera('gate');
    const [first] = await store.video.closedMediaFiles(id, 0, 1);
    const limit = async (maxBytes: number): Promise<void> => {
      await store.video.ensureCamera(cameraOptions('gate', { maxBytes }));
      await store.video.retain();
    };
    const spans = async (): Promise<number[][]> => {
      const range = { fromUs: newYearUs, toUs: newYearUs + 1_000 * second };
      const runs = await store.video.runs('gate', range.fromUs, range.toUs);
      const shown = timelineOf({
        ...{ runs, newest: undefined, complete: true, ...range, mergeGapUs: 0 },
      });
      return shown.spans.map((span) => [secondsOf(span.startTime), secondsOf(span.endTime)]);
    };

    await limit(storedBytes - 1);
    const keptFrom = (first!.endUs - newYearUs) / second;
    assert.deepEqual(await spans(), [
      [0, 4],
      [keptFrom, 204],
    ]);
    // What was freed is free, and no two runs claim it.
    const freedUs = newYearUs + (keptFrom - 4) * second;
    const again = await beginRun(store, 'gate', footage, freedUs - 10 * second);
    assert.equal(again.free.untilUs, first!.endUs);
    await recordGroups(again, footage, groupsOf(footage.chunks), freedUs);
    await again.end('ended');
    for (const [at, startUs] of [
      [keptFrom - 0.5, freedUs],
      [keptFrom + 0.5, first!.endUs],
    ] as const) {
      const atUs = newYearUs + at * second;
      const found = await store.video.runs('gate', atUs, atUs + 1);
      assert.deepEqual(
        found.map((run) => run.startUs),
        [startUs],
      );
    }

    await limit(Math.round(storedBytes / 2));
    const runs = await store.video.runs('gate', newYearUs + 100 * second, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(
      runs.map((run) => run.startUs),
      [freedUs],
      'the run dated ahead is gone',
    );
    assert.equal((await store.video.camera('gate')).lastEndUs, first!.endUs);
    await limit(0);
    assert.deepEqual(await store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER), []);
    assert.equal((await store.video.camera('gate')).lastEndUs, null);
  });

  it('that two files claim is told by the check', async (t) => {
    const { store, folder } = await open(t);
    await record(store, newYearUs + 200 * second);
    await record(store, newYearUs);
    const { id } = await store.video.camera('gate');
    const shiftUs = 202 * second;
    await store.writer.transact((tx) =>
      tx.run(
        `UPDATE media_file SET start_us = start_us + ?1, end_us = end_us + ?1
         WHERE camera_id = ?2 AND start_us < ?3`,
        ...[shiftUs, id, newYearUs + 100 * second],
      ),
    );
    const told = await findings(folder);
    assert.ok(
      told.some((what) => what.includes('its time is also that of')),
      told.join('\n'),
    );
  });
});

function secondsOf(time: string): number {
  return (Date.parse(time) * 1_000 - newYearUs) / second;
}

async function findings(folder: string): Promise<readonly string[]> {
  const all: string[] = [];
  for await (const { what } of checkStore({ folder })) all.push(what);
  return all;
}
