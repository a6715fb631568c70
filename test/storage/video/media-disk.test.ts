import assert from 'node:assert/strict';
import { cp, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it, type TestContext } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import { StorageError } from '../../../storage/errors.ts';
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
  openFragment,
  openVideo,
  type OpenedStore,
  type ParsedFootage,
  parseFootage,
  recordGroups,
} from './footage.ts';

const everything = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 };

describe('the media folder, on a disk of its own', () => {
  let footage: ParsedFootage;
  before(async () => {
    footage = parseFootage(await makeFootage({ seconds: 4, format: fragmentedFormat }));
  });

  interface Rig extends OpenedStore {
    readonly folder: string;
    readonly media: string;
    readonly clock: ManualClock;
    /** Takes the disk away: its folder is empty then, as a place to mount it on is. */
    readonly pull: () => Promise<void>;
    readonly plug: () => Promise<void>;
  }

  async function rig(t: TestContext): Promise<Rig> {
    const folder = join(await temporaryFolder(t), 'data');
    const clock = new ManualClock();
    const opened = await openVideo(t, folder, { clock, mediaFileMs: 2000 });
    await opened.store.video.ensureCamera(cameraOptions('gate', { retentionMs: 3_600_000 }));
    const media = mediaFolderOf(folder);
    return {
      ...{ ...opened, folder, media, clock },
      pull: async () => {
        await rename(media, `${media}.away`);
        await mkdir(media);
      },
      plug: async () => {
        await rm(media, { recursive: true });
        await rename(`${media}.away`, media);
      },
    };
  }

  async function record(store: Store, startUs: number): Promise<void> {
    const recording = await beginRun(store, 'gate', footage, startUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), startUs);
    await recording.end('ended');
  }

  async function isMissing(work: () => Promise<unknown>): Promise<void> {
    await assert.rejects(work(), (error: unknown) => {
      assert.ok(error instanceof StorageError, String(error));
      assert.equal(error.code, 'media-missing', error.message);
      return true;
    });
  }

  it('is pulled and plugged: nothing is written beside it, nothing lost, and it goes on', async (t) => {
    const { store, folder, media, clock, pull, plug } = await rig(t);
    await record(store, newYearUs);
    const [fragment] = await store.video.fragments(everything);
    const recording = await beginRun(store, 'gate', footage, newYearUs + 60e6);
    await pull();
    const groups = groupsOf(footage.chunks);
    await isMissing(() => openFragment(recording, footage, groups[0] ?? [], newYearUs + 60e6));
    await recording.end('failed');
    await isMissing(() => store.video.startRun('gate', newYearUs + 60e6));
    await isMissing(() => store.video.readFragment(fragment!));
    assert.match(store.video.trouble ?? '', /is its disk mounted/);
    clock.advance(7_200_000);
    assert.equal((await store.video.retain()).files, 0);
    assert.deepEqual(store.losses.report(), []);
    assert.deepEqual(await readdir(media), []);
    await plug();
    await store.video.readFragment(fragment!);
    await record(store, newYearUs + 7_200_000_000);
    assert.equal(store.video.trouble, null);
    assert.equal((await store.video.retain()).files, 2);
    assert.equal((await store.video.fragments(everything)).length, 4);
    for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
  });

  it('is away at the start: what a crash left open waits for it, and is recovered', async (t) => {
    const { store, folder } = await rig(t);
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const [first = [], second = []] = groupsOf(footage.chunks);
    const atUs = await recordGroups(recording, footage, [first], newYearUs);
    await openFragment(recording, footage, second, atUs);
    const killed = `${folder}-killed`;
    await cp(folder, killed, { recursive: true });
    await recording.end('ended');

    const media = mediaFolderOf(killed);
    await rename(media, `${media}.away`);
    const { store: opened } = await openVideo(t, killed);
    assert.match(opened.video.trouble ?? '', /is its disk mounted/);
    assert.equal((await opened.video.fragments(everything)).length, 1, 'its rows stay');
    await isMissing(() => opened.video.startRun('gate', newYearUs + 60e6));
    await rename(`${media}.away`, media);
    await opened.video.retain();
    assert.equal(opened.video.trouble, null);
    const fragments = await opened.video.fragments(everything);
    assert.equal(fragments.length, 2);
    for (const fragment of fragments) await opened.video.readFragment(fragment);
    assert.equal(
      (await opened.video.runs('gate', 0, newYearUs * 2))[0]?.endReason,
      'gateway crashed',
    );
  });

  it('is swapped for that of another: it is not written to', async (t) => {
    const { store, media, pull, plug } = await rig(t);
    const other = await rig(t);
    await record(store, newYearUs);
    await pull();
    await cp(other.media, media, { recursive: true });
    await isMissing(() => store.video.startRun('gate', newYearUs + 60e6));
    assert.match(store.video.trouble ?? '', /another/);
    await plug();
    await record(store, newYearUs + 60e6);
  });

  it('is known by its footage when its id is gone, or that of a copy', async (t) => {
    const { store, media } = await rig(t);
    await record(store, newYearUs);
    const path = join(media, '.headgate');
    const id = await readFile(path, 'latin1');
    await rm(path);
    await record(store, newYearUs + 60e6);
    assert.equal(await readFile(path, 'latin1'), id);
    await writeFile(path, 'rubbish');
    await record(store, newYearUs + 120e6);
    assert.equal(await readFile(path, 'latin1'), id);
  });
});
