import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { withSilence } from '../../../../gateway/api/hls/silence.ts';
import {
  boxesIn,
  describeTrack,
  readInit,
  readMovieFragments,
  sampleDefaults,
} from '../../../../storage/video/boxes.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { ffmpegPath } from '../../../support/tools.ts';

const run = promisify(execFile);

/** Four seconds of video, a fragment each, of which the sound is there for `soundSeconds`. */
async function makeFragments(soundSeconds: number, channels: number) {
  const { stdout } = await run(
    ffmpegPath,
    [
      ...['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=size=160x120:rate=25:duration=4'],
      ...['-f', 'lavfi', '-i', `sine=sample_rate=48000:duration=${soundSeconds}`],
      ...['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '25', '-pix_fmt', 'yuv420p'],
      ...['-c:a', 'aac', '-ac', String(channels), '-f', 'mp4'],
      ...['-movflags', '+frag_keyframe+empty_moov+default_base_moof+skip_trailer', 'pipe:1'],
    ],
    { encoding: 'buffer', maxBuffer: 16 * 1024 * 1024 },
  );
  const moov = [...boxesIn(stdout)].find(({ type }) => type === 'moov');
  const bytes = stdout.subarray(0, moov?.end ?? 0);
  const segment = readInit(bytes);
  const init = { bytes, tracks: segment.tracks.map(describeTrack) };
  const pieces = readMovieFragments(stdout, sampleDefaults(segment));
  return { init, fragments: pieces.map(({ start, end }) => stdout.subarray(start, end)) };
}

for (const channels of [1, 2]) {
  test(`a picture goes on with silence when its sound stops: ${channels} channels`, async (t) => {
    const { init, fragments } = await makeFragments(1.5, channels);
    const served = fragments.map((fragment) => withSilence(fragment, init));
    assert.deepEqual(served[0], fragments[0], 'nothing is added to sound that is there');
    assert.ok(served.slice(2).every((bytes, i) => bytes.length > (fragments[i + 2]?.length ?? 0)));

    const path = join(await temporaryFolder(t), 'served.mp4');
    await writeFile(path, Buffer.concat([init.bytes, ...served]));
    const decoding = ['-v', 'warning', '-i', path, '-map', '0:a', '-f', 's16le', '-ac', '1', '-'];
    const { stdout, stderr } = await run(ffmpegPath, decoding, {
      encoding: 'buffer',
      maxBuffer: 16 * 1024 * 1024,
    });
    assert.equal(stderr.toString(), '');
    const seconds = stdout.length / 2 / 48_000;
    assert.ok(Math.abs(seconds - 4) < 0.15, `${seconds} s of sound`);
    const loudest = (from: number, to: number): number => {
      const part = stdout.subarray(from * 96_000, to * 96_000);
      let peak = 0;
      for (let at = 0; at + 1 < part.length; at += 2) {
        peak = Math.max(peak, Math.abs(part.readInt16LE(at)));
      }
      return peak;
    };
    assert.ok(loudest(0, 1) > 1_000, 'the sound');
    assert.ok(loudest(2, 3.5) <= 1, 'the silence');
  });
}

test('sound that stops shortly before the end of a fragment leaves no hole in what is served', async () => {
  const frameS = 1024 / 48_000;
  for (const soundSeconds of [1.9, 1.94, 1.97]) {
    const { init, fragments } = await makeFragments(soundSeconds, 2);
    const served = Buffer.concat(fragments.map((fragment) => withSilence(fragment, init)));
    const sounds = readMovieFragments(served, sampleDefaults(readInit(init.bytes))).flatMap(
      ({ tracks }) => tracks.filter(({ trackId, samples }) => trackId === 2 && samples.length > 0),
    );
    const holesS = sounds.slice(1).map(({ decodeTime }, index) => {
      const before = sounds[index];
      assert.ok(before !== undefined);
      return (decodeTime - before.decodeTime - before.durationTicks) / 48_000;
    });
    assert.ok(holesS.length >= 3, 'sound in every fragment');
    assert.ok(Math.max(...holesS) <= frameS, `${soundSeconds} s: ${holesS.join()}`);
  }
});

test('sound that an encoder kept to the very end does not come with the last picture', async () => {
  const { init, fragments } = await makeFragments(1.5, 2);
  const sounds = (bytes: Buffer): readonly number[] =>
    readMovieFragments(bytes, sampleDefaults(readInit(init.bytes))).flatMap(({ tracks }) =>
      tracks.flatMap(({ trackId, decodeTime, samples }) =>
        trackId === 2 && samples.length > 0 ? [decodeTime / 48_000] : [],
      ),
    );
  const [, second, , last] = fragments;
  assert.ok(second !== undefined && last !== undefined, 'four fragments');
  // The sound of the second comes with the last one, as ffmpeg hands on what was left over.
  const rest = Buffer.from(second);
  for (const moof of boxesIn(rest)) {
    if (moof.type !== 'moof') continue;
    const [video] = [...boxesIn(rest, moof.bodyStart, moof.end)].filter(
      ({ type }) => type === 'traf',
    );
    rest.write('free', (video?.start ?? 0) + 4, 'latin1');
  }
  const stored = Buffer.concat([last, rest]);
  assert.ok(
    sounds(stored).some((time) => time < 2),
    'there is a rest',
  );
  const times = sounds(withSilence(stored, init));
  assert.ok(times.length > 0 && times.every((time) => time >= 2.9), times.join());
});

test('a fragment whose sound goes on, or that never had any, is served as it is', async () => {
  const { init, fragments } = await makeFragments(4, 2);
  for (const fragment of fragments) assert.equal(withSilence(fragment, init), fragment);
  const mute = { ...init, tracks: init.tracks.filter(({ kind }) => kind === 'video') };
  for (const fragment of fragments) assert.equal(withSilence(fragment, mute), fragment);
});
