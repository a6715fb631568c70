import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { startMedia } from '../../../gateway/media.ts';
import { ImageError, type Images } from '../../../gateway/media/images.ts';
import { Thumbnails } from '../../../gateway/media/thumbnails.ts';
import type { Fragment, VideoStore } from '../../../storage/model.ts';
import { cameraOptions, openVideo } from '../../storage/video/footage.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { memoryFolder } from '../../support/temporary-folder.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { type Footage, record } from '../api/hls/footage.ts';
import { clockFootage } from './clock-footage.ts';

const startUs = Date.UTC(2026, 0, 1) * 1_000;
const slotMs = 30_000;
const slotUs = slotMs * 1_000;

interface Asked {
  readonly fragment: Fragment;
  readonly options: Parameters<Images['imageOf']>[2];
  finish(): void;
  fail(error: unknown): void;
}

/** Images that are made when the test says so. */
class HeldImages {
  readonly asked: Asked[] = [];
  #wake = (): void => undefined;

  imageOf: Images['imageOf'] = (fragment, atUs, options) =>
    new Promise((resolve, reject) => {
      const image = { contentType: 'image/jpeg', atUs, fragment: fragment.number } as const;
      this.asked.push({
        ...{ fragment, options, fail: reject },
        finish: () => {
          resolve({ ...image, bytes: Buffer.alloc(1_000) });
        },
      });
      this.#wake();
    });

  async next(): Promise<Asked> {
    for (;;) {
      const asked = this.asked.shift();
      if (asked !== undefined) return asked;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

interface Bench {
  readonly video: VideoStore;
  readonly clock: ManualClock;
  readonly footage: Footage;
  readonly fragments: Readonly<Record<'gate' | 'yard', Fragment>>;
}

/** Two cameras, a fragment of each. */
async function recorded(t: TestContext): Promise<Bench> {
  const { store } = await openVideo(t, await memoryFolder(t));
  const { video } = store;
  const footage = await clockFootage({ seconds: 1 });
  const first = async (name: string): Promise<Fragment> => {
    await video.ensureCamera(cameraOptions(name));
    const [fragment] = (await record(video, name, [footage], startUs)).fragments;
    assert.ok(fragment !== undefined);
    return fragment;
  };
  const fragments = { gate: await first('gate'), yard: await first('yard') };
  return { video, clock: new ManualClock(), footage, fragments };
}

async function ahead(t: TestContext) {
  const bench = await recorded(t);
  const { video, clock } = bench;
  const images = new HeldImages();
  const logger = new MemoryLogger();
  const thumbnails = new Thumbnails({ ...{ video, images, clock, logger }, ahead: true });
  t.after(() => {
    thumbnails.close();
  });
  const at = (camera: string, slot = 0) =>
    thumbnails.at(camera, startUs + slot * slotUs, new AbortController().signal);
  return { ...bench, images, thumbnails, at };
}

test('thumbnails are made ahead, one for each camera and half minute', async (t) => {
  const { video, clock, footage, fragments, images, at } = await ahead(t);
  clock.advance(slotMs);
  for (const name of ['gate', 'yard'] as const) {
    const asked = await images.next();
    assert.equal(asked.fragment.number, fragments[name].number);
    assert.equal(asked.options.priority, 'background', 'whoever asks comes first');
    asked.finish();
  }
  for (const name of ['gate', 'yard'] as const) {
    assert.equal((await at(name))?.fragment, fragments[name].number);
  }
  await record(video, 'yard', [footage], startUs + slotUs + 1_000_000);
  clock.advance(slotMs);
  const newer = await images.next();
  assert.ok(newer.fragment.startUs > startUs + slotUs);
  newer.finish();
  assert.equal((await at('yard', 1))?.fragment, newer.fragment.number);
  assert.deepEqual(images.asked, [], 'what is there is not made again');
});

test('thumbnails that are late are left out, and those after them are made', async (t) => {
  const { video, clock, footage, images, at } = await ahead(t);
  clock.advance(slotMs);
  const late = await images.next();
  await record(video, 'gate', [footage], startUs + 2 * slotUs);
  await record(video, 'gate', [footage], startUs + 9 * slotUs);
  clock.advance(10 * slotMs);
  assert.equal((await video.cameras()).length, 2);
  assert.deepEqual(images.asked, [], 'they do not pile up');
  late.finish();
  (await images.next()).finish();
  assert.notEqual(await at('yard'), null);
  // Their half minute is long over.
  clock.advance(0);
  const newest = await images.next();
  assert.equal(newest.fragment.startUs, startUs + 9 * slotUs);
});

test('a thumbnail that cannot be made ahead costs no other', async (t) => {
  const { clock, fragments, images } = await ahead(t);
  clock.advance(slotMs);
  (await images.next()).fail(new ImageError('failed', 'Fragment 1: ffmpeg made no picture.'));
  assert.equal((await images.next()).fragment.number, fragments.yard.number);
});

test('no thumbnail is made ahead after closing', async (t) => {
  const { video, clock, images, thumbnails } = await ahead(t);
  clock.advance(slotMs);
  const asked = await images.next();
  thumbnails.close();
  assert.equal(asked.options.signal?.aborted, true);
  asked.fail(asked.options.signal.reason);
  assert.equal((await video.cameras()).length, 2);
  clock.advance(slotMs);
  assert.equal((await video.cameras()).length, 2);
  assert.deepEqual(images.asked, []);
});

test('a thumbnail that was made ahead costs nothing when it is asked for', async (t) => {
  const { video, clock } = await recorded(t);
  const metrics = new MemoryMetrics();
  const media = startMedia({
    config: { minFreeBytes: 0, imageCpuShare: 1, thumbnails: 'ahead' },
    ...{ video, ffmpegPath, clock, logger: new MemoryLogger(), metrics },
  });
  t.after(media.close);
  clock.advance(slotMs);
  const spent = (): number | undefined => metrics.values.get('headgate_images_cpu_seconds_total');
  while (spent() === undefined) await new Promise((wake) => setImmediate(wake));
  const { signal } = new AbortController();
  const first = await media.thumbnails.at('gate', startUs, signal);
  assert.equal(first?.bytes.subarray(0, 2).toString('hex'), 'ffd8');
  const again = await media.thumbnails.at('gate', startUs + slotUs / 2, signal);
  assert.equal(again, first, 'it is the one that is kept');
});
