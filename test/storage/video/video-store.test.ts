import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { Fragment, FragmentSpan, LiveEvent } from '../../../storage/model.ts';
import { readInit, readMovieFragments, sampleDefaults } from '../../../storage/video/boxes.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import {
  beginRun,
  cameraOptions,
  durationUsOf,
  ffmpeg,
  fragmentedFormat,
  frameHashes,
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

const everything = { fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 10_000 };

describe('the video store', () => {
  let raw: Buffer;
  let footage: ParsedFootage;
  before(async () => {
    raw = await makeFootage({ audio: ['-c:a', 'aac'], format: fragmentedFormat });
    footage = parseFootage(raw);
  });

  it('keeps every frame: media files play on their own, fragments decode behind their init', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder);
    const camera = await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), newYearUs);
    await recording.end('ended');

    await writeFile(join(folder, 'source.mp4'), raw);
    const expected = await frameHashes(join(folder, 'source.mp4'));
    assert.equal(expected.length, 90);
    const [file] = await store.video.closedMediaFiles(camera.id, 0, 10);
    assert.ok(file !== undefined);
    assert.deepEqual(await frameHashes(join(mediaFolderOf(folder), file.path)), expected);

    const streamed: Buffer[] = [];
    for await (const piece of store.video.readMediaFile(file.id)) streamed.push(piece);
    assert.deepEqual(
      Buffer.concat(streamed),
      await readFile(join(mediaFolderOf(folder), file.path)),
    );
    assert.equal(file.bytes, Buffer.concat(streamed).length);

    const hashes: string[] = [];
    for (const fragment of await store.video.fragments({ camera: 'gate', ...everything })) {
      const init = await store.video.init(fragment.initId);
      const boxes = await store.video.readFragment(fragment);
      assert.equal(boxes.length, fragment.plainBytes);
      const single = join(folder, `${fragment.number}.mp4`);
      await writeFile(single, Buffer.concat([init.bytes, boxes]));
      hashes.push(...(await frameHashes(single)));
    }
    assert.deepEqual(hashes, expected);
    assert.deepEqual(await allFindings(folder), []);
  });

  it('leaves no row of a file that a full disk neither creates nor forgets', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder);
    await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await writeFile(join(mediaFolderOf(folder), 'gate.1'), 'in the place of the folder');
    const { mock } = t.mock.method(store.writer, 'transact');
    const refuse = (): Promise<never> =>
      Promise.reject(new StorageError('disk-full', 'the disk is full'));
    mock.mockImplementationOnce(refuse, 1);
    await assert.rejects(openFragment(recording, footage, footage.chunks, newYearUs), {
      code: 'write-failed',
    });
    assert.equal(mock.callCount(), 2);
    mock.restore();
    await recording.end('ended');
    for await (const finding of checkStore({ folder })) {
      assert.equal(finding.code, 'media-orphaned', JSON.stringify(finding));
    }
  });

  it('answers what was recorded when, across runs and media files', async (t) => {
    const { store } = await openVideo(t, await temporaryFolder(t), { mediaFileMs: 2_000 });
    const camera = await store.video.ensureCamera(cameraOptions('gate'));
    const groups = groupsOf(footage.chunks);
    const first = await beginRun(store, 'gate', footage, newYearUs);
    const endUs = await recordGroups(first, footage, groups, newYearUs);
    await first.end('ended');
    const secondStartUs = endUs + 10_000_000;
    const second = await beginRun(store, 'gate', footage, secondStartUs);
    await recordGroups(second, footage, groups.slice(0, 2), secondStartUs);

    const all = await store.video.fragments({ camera: 'gate', ...everything });
    assert.equal(all.length, 8);
    assert.ok(new Set(all.map(({ mediaFileId }) => mediaFileId)).size >= 4, 'several files');
    assert.ok(all.every(({ number }, index) => number > (all[index - 1]?.number ?? 0)));

    const within = async (fromUs: number, toUs: number): Promise<number[]> => {
      const query = { camera: 'gate', fromUs, toUs, limit: 100 };
      const found = await store.video.fragments(query);
      assert.deepEqual(await store.video.spans(query), found.map(spanOf));
      return found.map(({ number }) => all.findIndex((fragment) => fragment.number === number));
    };
    const [zero, one] = all;
    assert.ok(zero !== undefined && one !== undefined);
    assert.deepEqual(await within(zero.startUs, zero.startUs + 1), [0]);
    assert.deepEqual(await within(one.startUs - 1, one.startUs + 1), [0, 1]);
    assert.deepEqual(await within(one.startUs, one.startUs), []);
    assert.deepEqual(await within(endUs, secondStartUs), [], 'the gap is empty');
    assert.deepEqual(await within(endUs - 1, secondStartUs + 1), [5, 6]);
    assert.deepEqual(await within(0, newYearUs), []);
    const three = { camera: 'gate', ...everything, limit: 3 };
    assert.equal((await store.video.fragments(three)).length, 3);
    assert.deepEqual(await store.video.spans(three), all.slice(0, 3).map(spanOf));

    const runs = await store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(
      runs.map(({ startUs, endReason }) => ({ startUs, endReason })),
      [
        { startUs: newYearUs, endReason: 'ended' },
        { startUs: secondStartUs, endReason: null },
      ],
    );
    assert.equal((await store.video.runs('gate', endUs, secondStartUs)).length, 0);
    assert.deepEqual(await store.video.latestFragments('gate', 3), all.slice(-3));
    assert.deepEqual(await store.video.fragment(one.number), one);
    const described = await store.video.camera('gate');
    assert.equal(described.firstStartUs, newYearUs);
    assert.equal(
      described.lastEndUs,
      secondStartUs + durationUsOf(footage, groups.slice(0, 2).flat()),
    );
    assert.equal(described.id, camera.id);
    await second.end('ended');
  });

  it('begins the decode times of every media file at 0, audio in step', async (t) => {
    const { store } = await openVideo(t, await temporaryFolder(t), { mediaFileMs: 2_000 });
    const camera = await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), newYearUs);
    await recording.end('ended');
    const files = await store.video.closedMediaFiles(camera.id, 0, 10);
    assert.ok(files.length > 1);
    for (const file of files) {
      const bytes = Buffer.concat(await collect(store.video.readMediaFile(file.id)));
      const init = readInit(bytes);
      const tracks = readMovieFragments(bytes, sampleDefaults(init)).flatMap((one) => one.tracks);
      const seconds = (kind: string): number => {
        const track = init.tracks.find((candidate) => candidate.kind === kind);
        const found = tracks.find(({ trackId }) => trackId === track?.trackId);
        return (found?.decodeTime ?? NaN) / (track?.timescale ?? NaN);
      };
      assert.ok(Math.min(seconds('video'), seconds('audio')) < 0.001);
      assert.ok(Math.max(seconds('video'), seconds('audio')) < 0.3);
      const [first] = await store.video.mediaFileFragments(file.id);
      assert.equal(first?.startUs, file.startUs);
    }
  });

  it('announces each fragment in the events stream, in the same commit', async (t) => {
    const { store, metrics } = await openVideo(t, await temporaryFolder(t));
    await store.log.createStream({
      ...{ name: 'events', shardCount: 1, mode: 'on-demand', retentionMs: 3_600_000 },
      ...{ maxBytes: null, whenFull: 'refuse' },
    });
    await store.video.ensureCamera(cameraOptions('gate', { events: 'events' }));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks).slice(0, 2), newYearUs);
    const read = async (): Promise<readonly Record<string, unknown>[]> => {
      const shardId = store.log.stream('events').shards[0]!.id;
      const result = await store.log.read({
        ...{ shardId, fromSequence: 0, maxRecords: 100, maxBytes: 1e6 },
      });
      return result.records.map(
        ({ data }) => JSON.parse(data.toString()) as Record<string, unknown>,
      );
    };
    const fragments = await store.video.fragments({ camera: 'gate', ...everything });
    assert.deepEqual(
      (await read()).map(({ fragment, startUs, camera }) => ({ fragment, startUs, camera })),
      fragments.map(({ number, startUs, camera }) => ({ fragment: number, startUs, camera })),
    );

    await store.log.deleteStream('events');
    const endUs = fragments.at(-1)!.startUs + fragments.at(-1)!.durationUs;
    await recordGroups(recording, footage, groupsOf(footage.chunks).slice(2, 3), endUs);
    assert.equal((await store.video.fragments({ camera: 'gate', ...everything })).length, 3);
    const lost = metrics.values.get('headgate_video_lost_announcements_total{camera="gate"}');
    assert.equal(lost, 1, 'footage is not given up for its announcement');
    await recording.end('ended');
  });

  it('tells viewers what happens, in order, and those that wait of closed files', async (t) => {
    const { store, logger } = await openVideo(t, await temporaryFolder(t));
    const camera = await store.video.ensureCamera(cameraOptions('gate'));
    const events: LiveEvent[] = [];
    store.video.watch('gate', () => {
      throw new Error('a viewer that fails');
    });
    const stop = store.video.watch('gate', (event) => events.push(event));
    const [group = []] = groupsOf(footage.chunks);
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const closed = store.video.waitForMediaFile(camera.id, 1, new AbortController().signal);
    await recordGroups(recording, footage, [group], newYearUs);
    await recording.end('ended');
    await closed;
    assert.deepEqual(
      events.map(({ type }) => type),
      ['run-started', ...group.map(() => 'chunk'), 'fragment', 'run-ended'],
    );
    const seen = events.flatMap((event) => (event.type === 'chunk' ? [event.chunk.bytes] : []));
    const [fragment] = await store.video.latestFragments('gate', 1);
    assert.deepEqual(Buffer.concat(seen), await store.video.readFragment(fragment!));
    assert.ok(logger.lines.some(({ message }) => message.includes('viewer')));

    stop();
    stop();
    const again = await beginRun(store, 'gate', footage, newYearUs + 60_000_000);
    await again.end('ended');
    assert.equal(events.at(-1)?.type, 'run-ended');
    assert.equal(events.filter(({ type }) => type === 'run-ended').length, 1);

    const aborted = new AbortController();
    const waiting = store.video.waitForMediaFile(camera.id, 99, aborted.signal);
    aborted.abort();
    await waiting;
  });

  it('refuses what would contradict what is there', async (t) => {
    const { store } = await openVideo(t, await temporaryFolder(t));
    await store.video.ensureCamera(cameraOptions('gate'));
    for (const name of ['', '../etc', 'a/b', 'x'.repeat(133), 'ä']) {
      await assert.rejects(
        store.video.ensureCamera(cameraOptions(name)),
        isError('invalid-argument'),
      );
    }
    await assert.rejects(store.video.camera('yard'), isError('not-found'));
    await assert.rejects(store.video.startRun('yard', 0), isError('not-found'));
    await assert.rejects(store.video.fragment(4096), isError('not-found'));
    await assert.rejects(store.video.init(9), isError('not-found'));

    const groups = groupsOf(footage.chunks);
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await assert.rejects(store.video.startRun('gate', newYearUs), isError('already-exists'));
    await assert.rejects(
      recording.setInit(Buffer.from('rubbish'), []),
      isError('invalid-argument'),
    );
    await openFragment(recording, footage, [], newYearUs);
    for (const bytes of [Buffer.from('rubbish'), groups[0]![0]!.bytes.subarray(0, 200)]) {
      const chunk = { bytes, durationUs: 1, keyframe: true };
      await assert.rejects(recording.appendChunk(chunk), isError('invalid-argument'));
    }
    const [chunk] = groups[0]!;
    const bytes = Buffer.from(chunk!.bytes);
    await recording.appendChunk({ bytes, durationUs: 1, keyframe: true });
    await recording.closeFragment({ durationUs: 200_000, damaged: true });
    await assert.rejects(
      openFragment(recording, footage, [], newYearUs + 199_999),
      isError('invalid-argument'),
    );
    const run = await recording.end('ended');
    assert.equal(run.endUs, newYearUs + 200_000);
    assert.deepEqual(await recording.end('again'), run, 'ending twice is harmless');
    await assert.rejects(openFragment(recording, footage, [], newYearUs * 2), isError('closed'));
    const [fragment] = await store.video.latestFragments('gate', 1);
    assert.equal(fragment?.damaged, true);
  });

  it('cameras by unusual names stay inside the media folder', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder);
    for (const [index, name] of ['..', '.', '-rf'].entries()) {
      await store.video.ensureCamera(cameraOptions(name));
      const recording = await beginRun(store, name, footage, newYearUs + index);
      await recordGroups(recording, footage, groupsOf(footage.chunks).slice(0, 1), newYearUs);
      await recording.end('ended');
    }
    const folders = await readdir(mediaFolderOf(folder), { withFileTypes: true });
    assert.equal(folders.filter((entry) => entry.isDirectory()).length, 3);
    assert.deepEqual(await allFindings(folder), []);
  });

  it('lets a run end without footage leave no trace', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder);
    await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await openFragment(recording, footage, [], newYearUs);
    await recording.end('failed: nothing came');
    assert.deepEqual(await store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER), []);
    assert.deepEqual(await allFindings(folder), []);
  });

  it('keeps what closing the store in mid-fragment finds, and is as before when opened again', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder);
    await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const [first = [], second = []] = groupsOf(footage.chunks);
    const atUs = await recordGroups(recording, footage, [first], newYearUs);
    await openFragment(recording, footage, second.slice(0, 2), atUs);
    await store.close();
    await store.close();

    const again = await openVideo(t, folder);
    const [run] = await again.store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
    assert.equal(run?.endReason, 'gateway stopped');
    const fragments = await again.store.video.fragments({ camera: 'gate', ...everything });
    assert.deepEqual(
      fragments.map(({ chunks }) => chunks.length),
      [first.length, 2],
    );
    assert.equal(run.endUs, fragments[1]!.startUs + fragments[1]!.durationUs);
    assert.deepEqual(await allFindings(folder), []);
  });

  it('deletes a camera with its footage, also one that is being recorded', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder);
    for (const name of ['gate', 'yard']) {
      await store.video.ensureCamera(cameraOptions(name));
      const recording = await beginRun(store, name, footage, newYearUs);
      await recordGroups(recording, footage, groupsOf(footage.chunks).slice(0, 2), newYearUs);
      if (name === 'yard') await recording.end('ended');
    }
    await store.video.deleteCamera('gate');
    await assert.rejects(store.video.camera('gate'), isError('not-found'));
    const left = await store.video.fragments({ camera: 'yard', ...everything });
    assert.equal(left.length, 2);
    assert.deepEqual(await allFindings(folder), []);
    const files = await readdir(mediaFolderOf(folder), { recursive: true });
    assert.equal(files.filter((name) => name.endsWith('.mp4')).length, 1);
    const fresh = await store.video.ensureCamera(cameraOptions('gate'));
    assert.equal(fresh.storedBytes, 0);
  });

  it('reports a fragment that rotted, and serves the rest', async (t) => {
    const folder = await temporaryFolder(t);
    const { store, metrics } = await openVideo(t, folder);
    const camera = await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), newYearUs);
    await recording.end('ended');
    const [file] = await store.video.closedMediaFiles(camera.id, 0, 1);
    const path = join(mediaFolderOf(folder), file!.path);
    const fragments = await store.video.mediaFileFragments(file!.id);
    const rotten = fragments[2]!;
    const bytes = await readFile(path);
    bytes[rotten.offset + rotten.storedBytes - 9]! ^= 1;
    await writeFile(path, bytes);

    await assert.rejects(store.video.readFragment(rotten), isError('corrupt'));
    await store.video.readFragment(fragments[1]!);
    const streamed = Buffer.concat(await collect(store.video.readMediaFile(file!.id)));
    assert.equal(streamed.length, file!.bytes, 'offsets stay as the index has them');
    await writeFile(join(folder, 'streamed.mp4'), streamed);
    const frames = await frameHashes(join(folder, 'streamed.mp4'));
    assert.equal(frames.length, 75, 'the frames of five fragments of six');
    assert.equal(metrics.values.get('headgate_video_corrupt_total{camera="gate"}'), 2);
    assert.deepEqual(
      (await allFindings(folder)).map(({ code, severity }) => ({ code, severity })),
      [{ code: 'fragment-corrupt', severity: 'error' }],
    );
  });

  it('check finds files that are missing, short or unknown', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder, { mediaFileMs: 2_000 });
    const camera = await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), newYearUs);
    await recording.end('ended');
    const files = await store.video.closedMediaFiles(camera.id, 0, 10);
    assert.ok(files.length >= 3);
    const path = (index: number): string => join(mediaFolderOf(folder), files[index]!.path);
    await rm(path(0));
    const { size } = await stat(path(1));
    await writeFile(path(1), (await readFile(path(1))).subarray(0, size - 10));
    await mkdir(join(mediaFolderOf(folder), 'stray'));
    await writeFile(join(mediaFolderOf(folder), 'stray', 'x.99.mp4'), 'stray');
    assert.deepEqual(
      new Set((await allFindings(folder)).map(({ code }) => code)),
      new Set(['media-missing', 'media-short', 'fragment-corrupt', 'media-orphaned']),
    );
  });

  it('measures activity: a moving picture has more of it than a still one', async (t) => {
    const still = parseFootage(
      await ffmpeg(
        ...['-f', 'lavfi', '-i', 'smptebars=size=192x108:rate=15:duration=1', '-g', '15'],
        ...['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '0', ...fragmentedFormat, 'pipe:1'],
      ),
    );
    const { store } = await openVideo(t, await temporaryFolder(t));
    const activity = async (name: string, picture: ParsedFootage): Promise<number> => {
      await store.video.ensureCamera(cameraOptions(name));
      const recording = await beginRun(store, name, picture, newYearUs);
      await recordGroups(recording, picture, groupsOf(picture.chunks).slice(0, 1), newYearUs);
      await recording.end('ended');
      return (await store.video.latestFragments(name, 1))[0]?.activity ?? NaN;
    };
    assert.ok((await activity('moving', footage)) > 3 * (await activity('still', still)));
  });
});

async function allFindings(
  folder: string,
): Promise<readonly { code: string; severity: string; what: string }[]> {
  return collect(checkStore({ folder }));
}

async function collect<T>(from: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of from) all.push(one);
  return all;
}

function spanOf(fragment: Fragment): FragmentSpan {
  const { number, runId, initId, startUs, durationUs, plainBytes, damaged } = fragment;
  return { number, runId, initId, startUs, durationUs, plainBytes, damaged };
}

function isError(code: string): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === code;
}
