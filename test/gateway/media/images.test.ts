import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { ImageError, Images, type Image } from '../../../gateway/media/images.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { VideoStore } from '../../../storage/model.ts';
import { readInit, readMovieFragments, sampleDefaults } from '../../../storage/video/boxes.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { type Footage, record } from '../api/hls/footage.ts';
import { cameraOptions, openVideo, underKey } from '../../storage/video/footage.ts';
import { clockFootage, clockHeight, clockWidth, frameUs, numberShown } from './clock-footage.ts';

const startUs = Date.UTC(2026, 0, 1, 12) * 1_000 + 250;

async function openCamera(context: TestContext, path = ffmpegPath) {
  const { store } = await openVideo(context, await temporaryFolder(context), {
    masterKeys: underKey(),
  });
  await store.video.ensureCamera(cameraOptions('gate', { encryption: 'aes-256-gcm' }));
  return { video: store.video, images: imagesOf(context, store.video, path) };
}

function imagesOf(context: TestContext, video: VideoStore, path: string): Images {
  const metrics = new MemoryMetrics();
  const images = new Images({ video, ffmpegPath: path, cpuShare: 1, clock: systemClock, metrics });
  context.after(() => {
    images.close();
  });
  return images;
}

/** The sum of the first table that a JPEG was quantised with. */
function coarsenessOf(image: Image | null): number {
  const at = image?.bytes.indexOf(Buffer.from([0xff, 0xdb])) ?? -1;
  assert.ok(image !== null && at > 0);
  return image.bytes.subarray(at + 5, at + 69).reduce((sum, step) => sum + step, 0);
}

/** Footage in which a picture's slices are gone: filler data takes their place. */
function withoutPicture(footage: Footage, number: number, hevc: boolean): Footage {
  const defaults = sampleDefaults(readInit(footage.init));
  let left = number;
  const chunks = footage.chunks.map((chunk) => {
    const bytes = Buffer.from(chunk.bytes);
    const [movie] = readMovieFragments(bytes, defaults);
    const samples = movie?.tracks[0]?.samples ?? [];
    const lost = samples[left];
    if (lost !== undefined) {
      bytes.fill(0xff, lost.start, lost.start + lost.sizeBytes);
      bytes.writeUInt32BE(lost.sizeBytes - 4, lost.start);
      bytes.set(hevc ? [38 << 1, 1] : [12], lost.start + 4);
    }
    left -= samples.length;
    return { ...chunk, bytes };
  });
  return { ...footage, chunks };
}

/** What a picture shows, and how large it is. */
async function shownBy(image: Image | null) {
  assert.ok(image !== null);
  const decoding = promisify(execFile)(
    ffmpegPath,
    [
      ...['-v', 'error', '-threads', '1', '-f', 'image2pipe', '-i', 'pipe:0'],
      ...['-pix_fmt', 'gray', '-f', 'rawvideo', 'pipe:1'],
    ],
    { encoding: 'buffer' },
  );
  decoding.child.stdin?.end(image.bytes);
  const { stdout } = await decoding;
  const height = Math.round(Math.sqrt((stdout.length * clockHeight) / clockWidth));
  const width = stdout.length / height;
  return { number: numberShown(stdout, width, height), width, height };
}

for (const [name, options] of Object.entries({
  'H.264': {},
  'H.264 with B-frames and a long group': { bFrames: 3, group: 100 },
  'H.265 with B-frames': { bFrames: 2, hevc: true },
})) {
  test(`an image is the very picture of its instant: ${name}`, async (t) => {
    const { video, images } = await openCamera(t);
    await record(video, 'gate', [await clockFootage({ seconds: 6, ...options })], startUs);
    for (const wanted of [0, 1, 49, 50, 99, 143]) {
      const atUs = startUs + Math.round((wanted + 0.5) * frameUs);
      const image = await images.imageAt('gate', atUs, { format: 'png' });
      assert.equal((await shownBy(image)).number, wanted);
      assert.ok(Math.abs((image?.atUs ?? 0) - startUs - wanted * frameUs) < 1_000);
    }
  });
}

test('an image is as large and of the kind as asked for', async (t) => {
  const { video, images } = await openCamera(t);
  await record(video, 'gate', [await clockFootage({ seconds: 2, scale: 2 })], startUs);
  const at = startUs + 1_010_000;
  const [jpeg, coarse, small, wide, low] = await Promise.all([
    images.imageAt('gate', at, { format: 'jpeg', quality: 95 }),
    images.imageAt('gate', at, { format: 'jpeg', quality: 5 }),
    images.imageAt('gate', at, { format: 'jpeg', width: clockWidth }),
    images.imageAt('gate', at, { format: 'png', width: 4_000 }),
    images.imageAt('gate', at, { format: 'png', height: clockHeight }),
  ]);
  assert.deepEqual(
    [jpeg?.contentType, wide?.contentType, jpeg?.bytes.subarray(0, 2).toString('hex')],
    ['image/jpeg', 'image/png', 'ffd8'],
  );
  assert.ok(coarsenessOf(coarse) > 4 * coarsenessOf(jpeg));
  const sizes = [];
  for (const image of [jpeg, small, wide, low]) sizes.push(await shownBy(image));
  assert.deepEqual(
    sizes.map(({ width, number }) => ({ width, number })),
    [clockWidth * 2, clockWidth, clockWidth * 2, clockWidth].map((width) => ({
      width,
      number: 25,
    })),
  );
});

test('there is no image where nothing was recorded', async (t) => {
  const { video, images } = await openCamera(t);
  await record(video, 'gate', [await clockFootage({ seconds: 2 })], startUs);
  assert.equal(await images.imageAt('gate', startUs - 1, { format: 'jpeg' }), null);
  assert.equal(await images.imageAt('gate', startUs + 2_100_000, { format: 'jpeg' }), null);
  await assert.rejects(images.imageAt('none', startUs, { format: 'jpeg' }), /none/);
});

test('an image that cannot be made says why, and those after it are made', async (t) => {
  const { video, images } = await openCamera(t);
  const footage = await clockFootage({ seconds: 2 });
  const rubbish = footage.chunks.map((chunk) => {
    const bytes = Buffer.from(chunk.bytes);
    const media = bytes.indexOf('mdat') + 4;
    for (let at = media + 4; at < bytes.length; at += 1) bytes[at] = (at * 31) % 256;
    return { ...chunk, bytes };
  });
  await record(video, 'gate', [{ ...footage, chunks: rubbish }], startUs);
  await record(video, 'gate', [footage], startUs + 60_000_000);
  await assert.rejects(
    images.imageAt('gate', startUs + 500_000, { format: 'jpeg' }),
    (error) =>
      error instanceof ImageError && error.code === 'failed' && /Fragment/.test(error.message),
  );
  const image = await images.imageAt('gate', startUs + 61_020_000, { format: 'jpeg' });
  assert.equal((await shownBy(image)).number, 25);

  const none = imagesOf(t, video, '/nowhere/ffmpeg');
  await assert.rejects(
    none.imageAt('gate', startUs + 60_500_000, { format: 'jpeg' }),
    (error) => error instanceof ImageError && error.code === 'failed',
  );
});

for (const [name, hevc] of [
  ['H.264', false],
  ['H.265', true],
] as const) {
  test(`an instant of whose picture nothing is left says so, those beside it are there: ${name}`, async (t) => {
    const { video, images } = await openCamera(t);
    const footage = withoutPicture(await clockFootage({ seconds: 1, hevc }), 10, hevc);
    await record(video, 'gate', [footage], startUs);
    const imageOf = (number: number): Promise<Image | null> =>
      images.imageAt('gate', startUs + (number + 0.5) * frameUs, { format: 'png' });
    await assert.rejects(
      imageOf(10),
      (error) =>
        error instanceof ImageError &&
        error.code === 'failed' &&
        /^Fragment \d+: ffmpeg made no picture of this instant\b.*\.$/.test(error.message),
    );
    assert.equal((await shownBy(await imageOf(9))).number, 9);
    assert.notEqual(await imageOf(11), null);
  });
}

test('too many at once are refused, one that nobody waits for is dropped, all end on closing', async (t) => {
  const path = join(await temporaryFolder(t), 'ffmpeg');
  await writeFile(path, '#!/bin/sh\nexec sleep 600\n', { mode: 0o755 });
  const { video, images } = await openCamera(t, path);
  await record(video, 'gate', [await clockFootage({ seconds: 2 })], startUs);
  const given = new AbortController();
  const ends: string[] = [];
  const ask = (): Promise<unknown> =>
    images
      .imageAt('gate', startUs + 500_000, { format: 'jpeg', signal: given.signal })
      .catch((error: unknown) =>
        ends.push(error instanceof ImageError ? error.code : String(error)),
      );
  const roomFor = 66;
  const asked = Array.from({ length: roomFor + 3 }, ask);
  // Three are refused, whichever came last: then the others have their places.
  while (ends.length < 3) await images.imageAt('gate', startUs - 1, { format: 'jpeg' });
  assert.deepEqual(ends, ['busy', 'busy', 'busy']);
  const other = images.imageAt('gate', startUs, { format: 'jpeg' });
  await assert.rejects(other, (error) => error instanceof ImageError && error.code === 'busy');
  given.abort(new Error('nobody waits'));
  await Promise.all(asked);
  assert.deepEqual([...new Set(ends.slice(3))], ['Error: nobody waits']);

  const last = images.imageAt('gate', startUs, { format: 'jpeg' });
  images.close();
  await assert.rejects(last, (error) => error instanceof ImageError && error.code === 'closed');
});
