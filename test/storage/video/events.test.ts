import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { before, describe, it, type TestContext } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import type { CameraOptions, NewVideoEvent } from '../../../storage/model.ts';
import type { Store } from '../../../storage/store.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import {
  beginRun,
  cameraOptions,
  durationUsOf,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  mediaFolderOf,
  newYearUs,
  openFragment,
  openVideo,
  type ParsedFootage,
  parseFootage,
  recordGroups,
} from './footage.ts';

const minuteUs = 60_000_000;
const everything = { fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 };

describe('events, tags and what they keep', () => {
  let footage: ParsedFootage;
  before(async () => {
    footage = parseFootage(await makeFootage({ seconds: 10, format: fragmentedFormat }));
  });

  async function open(
    t: TestContext,
    options: CameraOptions,
    more: Parameters<typeof openVideo>[2] = {},
  ): Promise<{ store: Store; clock: ManualClock; folder: string; id: number }> {
    const folder = await temporaryFolder(t);
    const clock = new ManualClock();
    const { store } = await openVideo(t, folder, { clock, mediaFileMs: 2000, ...more });
    const { id } = await store.video.ensureCamera(options);
    return { store, clock, folder, id };
  }

  /** One run of ten fragments of a second, in files of two; returns where it ends. */
  async function record(store: Store, startUs: number, end = true): Promise<void> {
    const recording = await beginRun(store, 'gate', footage, startUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), startUs);
    if (end) await recording.end('ended');
  }

  const secondsOf = async (store: Store, fromUs = newYearUs): Promise<readonly number[]> => {
    const fragments = await store.video.fragments({ camera: 'gate', ...everything });
    return fragments.map(({ startUs }) => Math.round((startUs - fromUs) / 1e6));
  };

  const at = (seconds: number, more: Partial<NewVideoEvent> = {}): NewVideoEvent => {
    const us = newYearUs + seconds * 1e6;
    return { camera: 'gate', kind: 'motion', startUs: us, endUs: us, ...more };
  };

  it('are found by time, kind and hold, are changed, and go', async (t) => {
    const { store, folder } = await open(t, cameraOptions('gate'));
    const data = { labels: ['person'], ключ: null };
    const first = await store.video.addEvent(at(3, { data }));
    const second = await store.video.addEvent(at(5, { kind: 'door', hold: true }));
    assert.deepEqual(await store.video.events({ camera: 'gate', ...everything }), [first, second]);
    assert.deepEqual(await store.video.event(first.id), { ...first, data, hold: false });
    const find = async (query: object): Promise<readonly number[]> => {
      const found = await store.video.events({ camera: 'gate', ...everything, ...query });
      return found.map(({ id }) => id);
    };
    assert.deepEqual(await find({ kind: 'door' }), [second.id]);
    assert.deepEqual(await find({ hold: false }), [first.id]);
    assert.deepEqual(await find({ limit: 1 }), [first.id]);
    assert.deepEqual(await find({ fromUs: first.startUs + 1 }), [second.id]);
    assert.deepEqual(await find({ toUs: first.startUs }), [first.id]);
    const longer = await store.video.changeEvent(first.id, { endUs: first.endUs + 1e6 });
    assert.deepEqual(longer, { ...first, endUs: first.endUs + 1e6 });
    assert.equal((await store.video.changeEvent(second.id, { hold: false })).hold, false);
    await store.video.deleteEvent(second.id);
    await assert.rejects(store.video.deleteEvent(second.id), storageError('not-found'));
    await assert.rejects(store.video.changeEvent(99, { hold: true }), storageError('not-found'));
    assert.deepEqual(await find({}), [first.id]);
    await store.close();
    const { store: again } = await openVideo(t, folder);
    assert.deepEqual(await again.video.events({ camera: 'gate', ...everything }), [longer]);
  });

  it('that can not be are refused', async (t) => {
    const { store } = await open(t, cameraOptions('gate'));
    const wrong: readonly NewVideoEvent[] = [
      at(1, { kind: '' }),
      at(1, { kind: 'two words' }),
      at(1, { endUs: newYearUs }),
      at(1, { startUs: Number.NaN }),
      at(1, { data: 'x'.repeat(16 * 1024) }),
    ];
    for (const event of wrong) {
      await assert.rejects(store.video.addEvent(event), storageError('invalid-argument'));
    }
    await assert.rejects(
      store.video.addEvent(at(1, { camera: 'none' })),
      storageError('not-found'),
    );
    await Promise.all(
      Array.from({ length: 1000 }, () => store.video.addEvent(at(1, { hold: true }))),
    );
    await assert.rejects(
      store.video.addEvent(at(1, { hold: true })),
      storageError('invalid-argument'),
    );
    await store.video.addEvent(at(1));
  });

  it('keep what they hold from age and bytes until they release it; the run is split', async (t) => {
    const options = cameraOptions('gate', { retentionMs: 60_000 });
    const { store, clock, folder } = await open(t, options);
    await record(store, newYearUs);
    const event = await store.video.addEvent(at(4.5, { hold: true }));
    clock.advance(10 * 60_000);
    await store.video.retain();
    assert.deepEqual(await secondsOf(store), [4, 5]);
    await assertSound(folder);
    await store.video.ensureCamera({ ...options, maxBytes: 1 });
    await store.video.retain();
    assert.deepEqual(await secondsOf(store), [4, 5], 'nor do they count in its budget');
    await record(store, newYearUs + 10 * minuteUs);
    await store.video.ensureCamera({ ...options, maxBytes: 1e9 });
    assert.equal((await secondsOf(store)).length, 12);
    await store.video.changeEvent(event.id, { hold: false });
    await store.video.retain();
    assert.deepEqual(
      await secondsOf(store, newYearUs + 10 * minuteUs),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
    assert.deepEqual(await store.video.events({ camera: 'gate', ...everything }), []);
    assert.equal(store.losses.report().length, 0);
    await assertSound(folder);
  });

  it('leave two runs around what went from between them, also while it is recorded', async (t) => {
    const { store, clock, folder } = await open(t, cameraOptions('gate', { retentionMs: 60_000 }));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const groups = groupsOf(footage.chunks);
    const endUs = await recordGroups(recording, footage, groups, newYearUs);
    await store.video.addEvent(at(0, { hold: true }));
    await store.video.addEvent(at(5, { hold: true }));
    clock.advance(10 * 60_000);
    await store.video.retain();
    const seconds = await secondsOf(store);
    assert.deepEqual(seconds.slice(0, 4), [0, 1, 4, 5]);
    await assertSound(folder);
    await openFragment(recording, footage, groups[0] ?? [], endUs);
    const durationUs = durationUsOf(footage, groups[0] ?? []);
    await recording.closeFragment({ durationUs, damaged: false });
    const ended = await recording.end('ended');
    await assertSound(folder);
    const runs = await store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(
      runs.map(({ endReason }) => endReason),
      ['not kept', 'not kept', 'ended'],
    );
    assert.equal(runs.at(-1)?.endUs, ended.endUs);
    for (const fragment of await store.video.fragments({ camera: 'gate', ...everything })) {
      await store.video.readFragment(fragment);
    }
  });

  it('give way last when the disk is full, and that is counted', async (t) => {
    // A disk that has room for so many media files.
    const disk = { folder: '', files: 5 };
    const freeBytes = async (): Promise<number> => {
      const entries = await readdir(disk.folder, { recursive: true });
      return entries.filter((path) => path.endsWith('.mp4')).length > disk.files ? 0 : 1;
    };
    const { store, folder } = await open(t, cameraOptions('gate'), { freeBytes, minFreeBytes: 1 });
    disk.folder = mediaFolderOf(folder);
    await record(store, newYearUs);
    await store.video.addEvent(at(0.5, { hold: true }));
    await store.video.retain();
    assert.equal((await secondsOf(store)).length, 10);
    disk.files = 1;
    await store.video.retain();
    assert.deepEqual(await secondsOf(store), [0, 1], 'all else went first');
    assert.deepEqual(store.losses.report(), []);
    disk.files = 0;
    await store.video.retain();
    assert.deepEqual(await secondsOf(store), []);
    const [loss] = store.losses.report();
    assert.deepEqual([loss?.kind, loss?.count], ['held-footage-dropped', 1]);
  });

  it('are all that a camera of events keeps, with what is before and after them', async (t) => {
    const rolls = { preRollMs: 1_500, postRollMs: 500 };
    const options = cameraOptions('gate', { record: 'events', ...rolls });
    const { store, clock, folder, id } = await open(t, options);
    await record(store, newYearUs);
    await store.video.retain();
    assert.equal((await secondsOf(store)).length, 10, 'who watches it live needs it');
    assert.deepEqual(await store.video.closedMediaFiles(id, 0, 10), [], 'nothing is decided');
    const { applications } = store.log;
    await applications.ensure({ name: 'upload', required: true });
    await applications.acquire('upload', { kind: 'camera', id }, 'me', 60_000, 0);
    await store.video.addEvent(at(5.2));
    clock.advance(75_000);
    const kept = async (): Promise<readonly number[]> =>
      (await store.video.closedMediaFiles(id, 0, 10)).map((file) => file.id);
    assert.deepEqual(await kept(), [2, 3]);
    await store.video.retain();
    assert.deepEqual(await secondsOf(store), [2, 3, 4, 5]);
    assert.deepEqual(await kept(), [2, 3]);
    assert.equal(store.losses.report().length, 0, 'it was never to be kept');
    await assertSound(folder);
  });

  it('do not make a camera that is off keep anything, but what they hold', async (t) => {
    const { store, clock, folder, id } = await open(t, cameraOptions('gate', { record: 'off' }));
    await record(store, newYearUs);
    await store.video.addEvent(at(3));
    await store.video.addEvent(at(8.5, { hold: true }));
    clock.advance(75_000);
    assert.equal((await store.video.closedMediaFiles(id, 0, 10)).length, 1);
    await store.video.retain();
    assert.deepEqual(await secondsOf(store), [8, 9]);
    await assertSound(folder);
  });

  it('stand beside tags, which lie with their fragment', async (t) => {
    const { store, folder } = await open(t, cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const [group = []] = groupsOf(footage.chunks);
    await openFragment(recording, footage, group, newYearUs);
    const durationUs = durationUsOf(footage, group);
    const close = (tags: Record<string, string>) =>
      recording.closeFragment({ durationUs, damaged: false, tags });
    const many = (count: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`name ${index}`, '']));
    for (const tags of [many(11), { '': 'x' }, { ['é'.repeat(65)]: '' }, { a: 'x'.repeat(257) }]) {
      await assert.rejects(close(tags), storageError('invalid-argument'));
    }
    const fragment = await close({ place: 'gate', ['n'.repeat(128)]: 'v'.repeat(256) });
    assert.deepEqual(await store.video.fragment(fragment.number), fragment);
    const tagged = await store.video.tagFragment(fragment.number, { place: 'yard', label: 'car' });
    assert.deepEqual(tagged.tags, { ...fragment.tags, place: 'yard', label: 'car' });
    assert.deepEqual(await store.video.fragments({ camera: 'gate', ...everything }), [tagged]);
    await assert.rejects(
      store.video.tagFragment(fragment.number, many(8)),
      storageError('invalid-argument'),
    );
    await assert.rejects(store.video.tagFragment(1, { a: 'b' }), storageError('not-found'));
    await recording.end('ended');
    await assertSound(folder);
  });
});

async function assertSound(folder: string): Promise<void> {
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
}

function storageError(code: StorageErrorCode) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}
