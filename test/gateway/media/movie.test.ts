import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { isoFromUs } from '../../../gateway/api/rest/times.ts';
import { MixedCodecs } from '../../../gateway/media/movie-inits.ts';
import { type Movie, planMovie } from '../../../gateway/media/movie.ts';
import type { VideoStore } from '../../../storage/model.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { record } from '../api/hls/footage.ts';
import { cameraOptions, openVideo } from '../../storage/video/footage.ts';
import { beepsOf, clockFootage, frameUs, picturesOf } from './clock-footage.ts';

const run = promisify(execFile);
const startUs = Date.UTC(2026, 0, 1, 12) * 1_000 + 250;

async function openCamera(context: TestContext): Promise<VideoStore> {
  const { store } = await openVideo(context, await temporaryFolder(context));
  await store.video.ensureCamera(cameraOptions('gate'));
  return store.video;
}

async function bytesOf(movie: Movie, from = 0, to = movie.sizeBytes): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of movie.read(from, to)) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function written(context: TestContext, movie: Movie): Promise<string> {
  const path = join(await temporaryFolder(context), 'movie.mp4');
  const bytes = await bytesOf(movie);
  assert.equal(bytes.length, movie.sizeBytes);
  await writeFile(path, bytes);
  return path;
}

for (const [name, options] of Object.entries({
  'H.264': {},
  'H.264 with B-frames': { bFrames: 2 },
  'H.265 with B-frames': { bFrames: 2, hevc: true },
})) {
  test(`a movie of a piece of time begins and ends with the exact picture: ${name}`, async (t) => {
    const video = await openCamera(t);
    const footage = await clockFootage({ seconds: 7, ...options });
    const { fragments } = await record(video, 'gate', [footage], startUs);
    const [from, to] = [61, 142];
    const clip = { fromUs: startUs + (from + 0.4) * frameUs, toUs: startUs + to * frameUs };
    const inside = await video.fragments({ camera: 'gate', ...clip, limit: 100 });
    assert.ok(inside.length < fragments.length);
    const movie = await planMovie(video, inside, clip);
    assert.ok(movie !== null);
    assert.ok(Math.abs(movie.durationUs - (to - from) * frameUs) < 1_000, `${movie.durationUs} µs`);
    const pictures = await picturesOf(['-i', await written(t, movie)]);
    assert.deepEqual(
      pictures.map(({ number }) => number),
      Array.from({ length: to - from }, (_, index) => from + index),
    );
    pictures.forEach(({ atS, number }) => {
      assert.ok(Math.abs(atS * 1e6 - (number - from) * frameUs) < 1_000, `${number} at ${atS} s`);
    });
  });
}

test('sound stays with its pictures where a movie begins in the middle', async (t) => {
  const video = await openCamera(t);
  const footage = await clockFootage({ seconds: 7, bFrames: 2, sound: true });
  await record(video, 'gate', [footage], startUs);
  const clip = { fromUs: startUs + 2_700_000, toUs: startUs + 6_300_000 };
  const inside = await video.fragments({ camera: 'gate', ...clip, limit: 100 });
  const movie = await planMovie(video, inside, clip);
  assert.ok(movie !== null);
  const path = await written(t, movie);
  const seconds = (await picturesOf(['-i', path])).filter(({ number }) => number % 25 === 0);
  assert.deepEqual(
    seconds.map(({ number }) => number),
    [75, 100, 125, 150],
  );
  const beeps = await beepsOf(['-i', path]);
  assert.equal(beeps.length, seconds.length);
  seconds.forEach(({ atS }, index) => {
    const apartS = Math.abs(atS - (beeps[index] ?? 0));
    assert.ok(apartS < 0.03, `sound ${apartS} s from its picture`);
  });
});

test('pieces follow each other at once, under a chapter each', async (t) => {
  const video = await openCamera(t);
  const footage = await clockFootage({ seconds: 3, bFrames: 2, sound: true });
  const laterUs = startUs + 600_000_000;
  const first = await record(video, 'gate', [footage], startUs);
  const second = await record(video, 'gate', [footage], laterUs);
  const movie = await planMovie(video, [...first.fragments, ...second.fragments]);
  assert.ok(movie !== null);
  const [one, two] = movie.pieces;
  assert.ok(one !== undefined && two !== undefined);
  assert.deepEqual([one.startUs, two.startUs, one.atUs], [startUs, laterUs, 0]);
  assert.equal(two.atUs, one.endUs - startUs);
  const path = await written(t, movie);
  const pictures = await picturesOf(['-i', path]);
  const numbers = Array.from({ length: 75 }, (_, number) => number);
  assert.deepEqual(
    pictures.map(({ number }) => number),
    [...numbers, ...numbers],
  );
  pictures.slice(75).forEach(({ atS }, index) => {
    const apartS = Math.abs(atS - (pictures[index]?.atS ?? 0) - two.atUs / 1e6);
    assert.ok(apartS < 0.002, `picture ${index} of the second piece is ${apartS} s off`);
  });
  const beeps = await beepsOf(['-i', path]);
  assert.equal(beeps.length, 6);
  const { stdout } = await run('ffprobe', ['-v', 'error', '-show_chapters', '-of', 'json', path]);
  const { chapters } = JSON.parse(stdout) as { chapters: { tags: { title: string } }[] };
  assert.deepEqual(
    chapters.map(({ tags }) => tags.title),
    [isoFromUs(startUs), isoFromUs(laterUs)],
  );
});

test('any range of its bytes is that of the whole', async (t) => {
  const video = await openCamera(t);
  const footage = await clockFootage({ seconds: 5, sound: true });
  const { fragments } = await record(video, 'gate', [footage], startUs);
  const movie = await planMovie(video, fragments);
  assert.ok(movie !== null);
  const whole = await bytesOf(movie);
  const { sizeBytes } = movie;
  const ends = [0, 1, 7, 1_000, Math.floor(sizeBytes / 2), sizeBytes - 1, sizeBytes];
  for (const from of ends) {
    for (const to of ends) {
      if (from >= to) continue;
      assert.ok((await bytesOf(movie, from, to)).equals(whole.subarray(from, to)), `${from}-${to}`);
    }
  }
});

test('another resolution in the middle is played, another codec is refused', async (t) => {
  const video = await openCamera(t);
  const small = await clockFootage({ seconds: 3, bFrames: 2 });
  const large = await clockFootage({ seconds: 3, bFrames: 2, scale: 2 });
  const { fragments } = await record(video, 'gate', [small, large, small], startUs);
  const movie = await planMovie(video, fragments);
  assert.ok(movie !== null);
  const pictures = await picturesOf(['-i', await written(t, movie)]);
  const numbers = Array.from({ length: 75 }, (_, number) => number);
  assert.deepEqual(
    pictures.map(({ number }) => number),
    [...numbers, ...numbers, ...numbers],
  );

  const hevc = await clockFootage({ seconds: 3, hevc: true });
  const other = await record(video, 'gate', [hevc], startUs + 60_000_000);
  await assert.rejects(
    planMovie(video, [...fragments, ...other.fragments]),
    (error) => error instanceof MixedCodecs && error.atUs === startUs + 60_000_000,
  );
});
