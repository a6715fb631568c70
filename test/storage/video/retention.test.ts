import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it, type TestContext } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { CameraOptions } from '../../../storage/model.ts';
import type { Store } from '../../../storage/store.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  mediaFolderOf,
  newYearUs,
  openVideo,
  type OpenedStore,
  type ParsedFootage,
  parseFootage,
  recordGroups,
} from './footage.ts';

describe('retention of footage', () => {
  let footage: ParsedFootage;
  before(async () => {
    footage = parseFootage(await makeFootage({ seconds: 1, format: fragmentedFormat }));
  });

  /** A camera with files of one fragment, recorded one per minute from the new year on. */
  async function record(store: Store, options: CameraOptions, files: number): Promise<number> {
    const camera = await store.video.ensureCamera(options);
    for (let index = 0; index < files; index += 1) await recordFile(store, options.name, index);
    return camera.id;
  }

  async function recordFile(store: Store, camera: string, minute: number): Promise<void> {
    const startUs = newYearUs + minute * 60_000_000;
    const recording = await beginRun(store, camera, footage, startUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), startUs);
    await recording.end('ended');
  }

  async function open(
    t: TestContext,
    options: Parameters<typeof openVideo>[2] = {},
  ): Promise<OpenedStore & { folder: string }> {
    const folder = await temporaryFolder(t);
    return { ...(await openVideo(t, folder, options)), folder };
  }

  const minutesOf = async (store: Store, name: string): Promise<readonly number[]> => {
    const query = { camera: name, fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 };
    const fragments = await store.video.fragments(query);
    return fragments.map(({ startUs }) => (startUs - newYearUs) / 60_000_000);
  };

  it('deletes by age, from index and disk', async (t) => {
    const clock = new ManualClock();
    const { store, folder } = await open(t, { clock });
    await record(store, cameraOptions('gate', { retentionMs: 120_000 }), 5);
    await record(store, cameraOptions('yard'), 2);
    clock.advance(4 * 60_000 + 1_000);
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [3, 4]);
    assert.deepEqual(await minutesOf(store, 'yard'), [0, 1], 'without an age limit');
    assert.equal((await store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER)).length, 2);
    assert.equal((await store.video.camera('gate')).firstStartUs, newYearUs + 180_000_000);
    assert.equal((await mediaFiles(folder)).length, 4);
    await assertSound(folder);
  });

  it('deletes by itself as time goes by', async (t) => {
    const clock = new ManualClock();
    const { store } = await open(t, { clock });
    await record(store, cameraOptions('gate', { retentionMs: 60_000 }), 3);
    clock.advance(30 * 60_000);
    // A pass that nobody asked for runs; each look lets it go on.
    for (let look = 0; look < 10_000 && (await minutesOf(store, 'gate')).length > 0; look += 1);
    assert.deepEqual(await minutesOf(store, 'gate'), []);
    assert.equal((await store.video.camera('gate')).storedBytes, 0);
  });

  it("keeps a camera within its bytes, the oldest going first, and others' footage untouched", async (t) => {
    const { store, folder } = await open(t);
    await record(store, cameraOptions('gate'), 5);
    await record(store, cameraOptions('yard'), 2);
    const { storedBytes } = await store.video.camera('gate');
    await store.video.ensureCamera(cameraOptions('gate', { maxBytes: (storedBytes / 5) * 3 }));
    assert.deepEqual((await store.video.retain()).files, 2);
    assert.deepEqual(await minutesOf(store, 'gate'), [2, 3, 4]);
    assert.deepEqual(await minutesOf(store, 'yard'), [0, 1]);
    assert.equal((await store.video.camera('gate')).storedBytes, (storedBytes / 5) * 3);
    assert.equal((await store.video.retain()).files, 0);
    await assertSound(folder);
  });

  it('spares by age what a required application has not read, and drops it past the budget, loudly', async (t) => {
    const clock = new ManualClock();
    const { store, logger, metrics } = await open(t, { clock });
    const id = await record(store, cameraOptions('gate', { retentionMs: 1_000 }), 4);
    const { applications } = store.log;
    await applications.ensure({ name: 'upload', required: true });
    await applications.ensure({ name: 'casual', required: false });
    const files = await store.video.closedMediaFiles(id, 0, 10);
    const source = { kind: 'camera', id } as const;
    await applications.acquire('casual', source, 'me', 60_000, files[0]!.id);
    const lease = await applications.acquire('upload', source, 'me', 60_000, files[2]!.id);
    clock.advance(10 * 60_000);
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [2, 3]);

    await store.video.ensureCamera(cameraOptions('gate', { maxBytes: files[3]!.bytes }));
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [3]);
    const dropped = 'headgate_video_required_dropped_bytes_total{camera="gate"}';
    assert.equal(metrics.values.get(dropped), files[2]!.bytes);
    assert.ok(
      logger.lines.some(({ level, message }) => level === 'warn' && /required/.test(message)),
    );

    await store.video.ensureCamera(cameraOptions('gate', { retentionMs: 1_000 }));
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [3], 'still required');
    await applications.checkpoint(
      await applications.renew(lease, 60_000).catch(() => acquireAgain()),
      files[3]!.id + 1,
    );
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), []);

    function acquireAgain(): ReturnType<typeof applications.acquire> {
      return applications.acquire('upload', source, 'me', 60_000, 0);
    }
  });

  it('spares what a saved plan contains', async (t) => {
    const clock = new ManualClock();
    const { store } = await open(t, { clock });
    const id = await record(store, cameraOptions('gate', { retentionMs: 1_000 }), 3);
    const { applications } = store.log;
    const files = await store.video.closedMediaFiles(id, 0, 10);
    await applications.ensure({ name: 'casual', required: false });
    const source = { kind: 'camera', id } as const;
    const lease = await applications.acquire('casual', source, 'me', 3_600_000, files[1]!.id);
    const plan = { from: files[1]!.id, to: files[1]!.id + 1, detail: {}, createdMs: 0 };
    await applications.savePlan(lease, plan);
    clock.advance(10 * 60_000);
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [1, 2]);
    await applications.completePlan(lease);
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), []);
  });

  it('makes room in the order of recording, whatever a wrong clock made of the dates', async (t) => {
    let filesFit = 10;
    const folder = await temporaryFolder(t);
    const freeBytes = async (): Promise<number> => filesFit - (await mediaFiles(folder)).length;
    const { store } = await openVideo(t, folder, { minFreeBytes: 4, freeBytes });
    for (const camera of ['gate', 'yard']) await store.video.ensureCamera(cameraOptions(camera));
    for (const minute of [10, 1_000, 11]) {
      await recordFile(store, 'gate', minute);
      await recordFile(store, 'yard', minute);
    }
    await recordFile(store, 'gate', -1_000);
    filesFit = 8;
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [-1_000, 11]);
    assert.deepEqual(await minutesOf(store, 'yard'), [11, 1_000]);
    await assertSound(folder);
  });

  it('keeps the disk from filling, oldest footage of all cameras first, required footage last', async (t) => {
    // What the file system would say of a disk of ten files.
    let filesFit = 10;
    const folder = await temporaryFolder(t);
    const freeBytes = async (): Promise<number> => filesFit - (await mediaFiles(folder)).length;
    const { store } = await openVideo(t, folder, { minFreeBytes: 4, freeBytes });
    const id = await record(store, cameraOptions('gate'), 3);
    await record(store, cameraOptions('yard'), 3);
    const { applications } = store.log;
    await applications.ensure({ name: 'upload', required: true });
    const [first] = await store.video.closedMediaFiles(id, 0, 1);
    await applications.acquire('upload', { kind: 'camera', id }, 'me', 60_000, first!.id);

    assert.equal((await store.video.retain()).files, 0, 'four are free');
    filesFit = 8;
    assert.equal((await store.video.retain()).files, 2);
    assert.deepEqual(await minutesOf(store, 'yard'), [2]);
    assert.deepEqual(await minutesOf(store, 'gate'), [0, 1, 2]);
    filesFit = 6;
    assert.equal((await store.video.retain()).files, 2);
    assert.deepEqual(await minutesOf(store, 'yard'), []);
    assert.deepEqual(await minutesOf(store, 'gate'), [1, 2]);
    filesFit = 0;
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), []);
    await assertSound(folder);
  });

  it('leaves alone what is being read, until it is not', async (t) => {
    const clock = new ManualClock();
    const { store } = await open(t, { clock });
    const id = await record(store, cameraOptions('gate', { retentionMs: 1_000 }), 2);
    const [file] = await store.video.closedMediaFiles(id, 0, 1);
    const reader = store.video.readMediaFile(file!.id)[Symbol.asyncIterator]();
    await reader.next();
    clock.advance(10 * 60_000);
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [0]);
    let read = 0;
    for (;;) {
      const { done, value } = await reader.next();
      if (done === true) break;
      read += value.length;
    }
    assert.ok(read > 0);
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), []);
  });

  it('forgets footage that had to be unlinked before its rows could be deleted', async (t) => {
    const folder = await temporaryFolder(t);
    const freeBytes = async (): Promise<number> => ((await mediaFiles(folder)).length > 3 ? 0 : 1);
    const { store, logger } = await openVideo(t, folder, { minFreeBytes: 1, freeBytes });
    await record(store, cameraOptions('gate'), 4);
    const full = t.mock.method(store.writer, 'transact', () =>
      Promise.reject(new StorageError('disk-full', 'the disk is full')),
    );
    await store.video.retain();
    assert.ok(logger.lines.some(({ message }) => /the oldest footage was unlinked/.test(message)));
    assert.equal((await mediaFiles(folder)).length, 3);
    assert.deepEqual(await minutesOf(store, 'gate'), [0, 1, 2, 3]);
    full.mock.restore();
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [1, 2, 3]);
    await assertSound(folder);
  });

  it('forgets it when it is closed, where no pass came in between', async (t) => {
    const folder = await temporaryFolder(t);
    const freeBytes = async (): Promise<number> => ((await mediaFiles(folder)).length > 1 ? 0 : 1);
    const { store } = await openVideo(t, folder, { minFreeBytes: 1, freeBytes });
    await record(store, cameraOptions('gate'), 3);
    const full = t.mock.method(store.writer, 'transact', () =>
      Promise.reject(new StorageError('disk-full', 'the disk is full')),
    );
    await store.video.retain();
    full.mock.restore();
    await store.close();
    assert.equal((await mediaFiles(folder)).length, 1);
    await assertSound(folder);
  });

  it('believes no clock that leapt forward, until it is confirmed', async (t) => {
    const clock = new ManualClock();
    const { store, logger } = await open(t, { clock });
    await record(store, cameraOptions('gate', { retentionMs: 24 * 3_600_000 }), 2);
    clock.stepWall(30 * 24 * 3_600_000);
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), [0, 1]);
    assert.ok(logger.lines.some(({ message }) => message.startsWith('The clock stepped')));
    await store.clockGuard.confirm();
    await store.video.retain();
    assert.deepEqual(await minutesOf(store, 'gate'), []);
  });

  it('unlinks after a restart what a crash left to be unlinked', async (t) => {
    const { store, folder } = await open(t);
    await record(store, cameraOptions('gate'), 1);
    const path = 'gate.1/2026-01-01/left-over.77.mp4';
    await writeFile(join(mediaFolderOf(folder), path), 'footage');
    await store.writer.transact((tx) =>
      tx.run('INSERT INTO media_garbage (id, path) VALUES (77, ?)', path),
    );
    await store.close();
    const again = await openVideo(t, folder);
    assert.equal((await mediaFiles(folder)).length, 1);
    await again.store.close();
    await assertSound(folder);
  });
});

async function mediaFiles(folder: string): Promise<readonly string[]> {
  const names = await readdir(mediaFolderOf(folder), { recursive: true });
  return names.filter((name) => name.endsWith('.mp4'));
}

async function assertSound(folder: string): Promise<void> {
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
}
