/** Single fragments as objects: whole, in place, as soon as they are recorded, and told of. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { SinkError } from '../../../gateway/forward/sink.ts';
import { s3Sink } from '../../../gateway/forward/sinks/s3/s3-sink.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { CameraDescription, Fragment } from '../../../storage/model.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  newYearUs,
  parseFootage,
  recordGroups,
} from '../../storage/video/footage.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { needs } from '../../support/tools.ts';
import { filesOf, frames, makeClip, record, toFolder, type Index } from './support/clip.ts';
import { MemorySink } from './support/memory-sink.ts';
import { openRig, runClock, settle, streamOptions, type Rig } from './support/rig.ts';
import { credentials, getObject, listKeys, s3Client, startWholeS3 } from './support/servers.ts';

interface Told {
  readonly type: string;
  readonly camera: string;
  readonly fragment: number;
  readonly startUs: number;
  readonly delivery: string;
  readonly damaged: boolean;
  readonly key: string;
  readonly indexKey: string;
  readonly bytes: number;
  readonly sha256: string;
}

const fragmentsToFolder = {
  name: 'fragments',
  from: { camera: 'gate' },
  as: 'fragments',
  ...toFolder,
} as const;

async function fragmentsOf(rig: Rig, camera: CameraDescription): Promise<readonly Fragment[]> {
  const files = await filesOf(rig, camera);
  const fragments = files.map((file) => rig.store.video.mediaFileFragments(file.id));
  return (await Promise.all(fragments)).flat();
}

test('each fragment is an object that plays alone, with a true index; together they are the footage', async (context) => {
  if (!needs(context, 'ffmpeg')) return;
  const folder = await temporaryFolder(context);
  const clip = await makeClip(folder);
  const { endpoint } = await startWholeS3(context, await temporaryFolder(context));
  const rig = await openRig(context, { video: { mediaFileMs: 3000 } });
  const camera = await record(rig, clip);
  const fragments = await fragmentsOf(rig, camera);
  const [tagged] = fragments;
  assert.ok(tagged !== undefined && fragments.length >= 5, 'several fragments');
  await rig.store.video.tagFragment(tagged.number, { seen: 'cat' });
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  const delivery = rig.start(fragmentsToFolder, sink, 'x/');
  await rig.metrics.sent(fragments.length);

  const client = s3Client(context, endpoint);
  const keys = (await listKeys(client)).sort();
  assert.equal(keys.length, 2 * fragments.length);
  const media: Buffer[] = [];
  for (const [at, key] of keys.filter((name) => name.endsWith('.mp4')).entries()) {
    const content = await getObject(client, key);
    media.push(content);
    const text = (await getObject(client, key.replace(/mp4$/, 'json'))).toString();
    const index = JSON.parse(text) as Index;
    const fragment = fragments[at]!;
    assert.equal(index.object, key.split('/').at(-1));
    assert.equal(index.sizeBytes, content.length);
    assert.equal(index.sha256, createHash('sha256').update(content).digest('hex'));
    assert.equal(index.fragments.length, 1);
    const { number, startUs, offsetBytes, sizeBytes, tags } = index.fragments[0]!;
    assert.deepEqual([number, startUs], [fragment.number, fragment.startUs], 'keys sort by time');
    assert.deepEqual(tags, at === 0 ? { seen: 'cat' } : undefined);
    const boxes = content.subarray(offsetBytes, offsetBytes + sizeBytes);
    assert.deepEqual(boxes, await rig.store.video.readFragment(fragment));
  }
  assert.deepEqual(await frames(folder, media), await frames(folder, [await readFile(clip)]));
  const status = await delivery.status();
  assert.deepEqual([status.sentObjects, status.lostRecords], [keys.length, 0]);
});

test('fragments that a stop interrupted go up again in place, one deleted since is counted', async (context) => {
  if (!needs(context, 'ffmpeg')) return;
  const folder = await temporaryFolder(context);
  const clip = await makeClip(await temporaryFolder(context));
  const sink = new MemorySink();
  const puts: string[] = [];
  // One file holds all of them, however fast the recording went.
  const first = await openRig(context, { folder });
  const fragments = await fragmentsOf(first, await record(first, clip));
  const halfWay = new Promise<void>((resolve) => {
    sink.before = (upload, signal) => {
      puts.push(upload.key);
      if (puts.length < 4) return;
      resolve();
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(new SinkError('aborted', 'called off'));
        });
      });
    };
  });
  first.start(fragmentsToFolder, sink);
  await halfWay;
  await first.close();
  assert.equal(sink.objects.size, 3, 'a fragment with its index, and one without');

  const second = await openRig(context, { folder });
  const again: string[] = [];
  sink.before = (upload) => void again.push(upload.key);
  const read = second.store.video.readFragment.bind(second.store.video);
  const lost = fragments[1]!;
  second.store.video.readFragment = (fragment) =>
    fragment.number === lost.number
      ? Promise.reject(new StorageError('not-found', 'deleted between two steps'))
      : read(fragment);
  const delivery = second.start(fragmentsToFolder, sink);
  await second.metrics.sent(fragments.length - 1);
  assert.deepEqual(again.slice(0, 2), puts.slice(0, 2), 'under the same keys');
  assert.equal((await delivery.status()).lostRecords, 1);
  assert.equal(sink.objects.size, 1 + 2 * (fragments.length - 1), 'none twice');
});

test('each fragment goes up as soon as it is recorded, and the stream of events has its keys', async (context) => {
  if (!needs(context, 'ffmpeg')) return;
  const footage = parseFootage(await makeFootage({ seconds: 4, format: fragmentedFormat }));
  const groups = groupsOf(footage.chunks);
  const rig = await openRig(context, { video: { minFreeBytes: 0 } });
  const { log, video } = rig.store;
  await log.createStream(streamOptions('seen'));
  await video.ensureCamera(cameraOptions('gate'));
  const sink = new MemorySink();
  const delivery = rig.start({ ...fragmentsToFolder, events: 'seen' }, sink, 'x/');
  const shardId = log.stream('seen').shards[0]!.id;

  const first = await beginRun(rig.store, 'gate', footage, newYearUs);
  let endUs = newYearUs;
  for (const [at, group] of groups.slice(0, 2).entries()) {
    endUs = await recordGroups(first, footage, [group], endUs);
    await rig.metrics.sent(at + 1);
    assert.equal(sink.objects.size, 2 * (at + 1), 'while its file is open');
  }
  assert.equal(rig.store.log.applications.list()[0]?.leases[0]?.checkpoint, 0);
  await first.end('ended');
  const second = await beginRun(rig.store, 'gate', footage, endUs);
  await recordGroups(second, footage, groups.slice(2), endUs);
  await second.end('ended');
  await rig.metrics.sent(groups.length);

  const { records } = await log.read({
    ...{ shardId, fromSequence: 0, maxRecords: 100, maxBytes: 1e6 },
  });
  const stored = await video.fragmentsAfter('gate', 0, 100);
  const told = records.map(({ data }) => JSON.parse(data.toString()) as Told);
  assert.deepEqual(
    told.map(({ type, camera, fragment, startUs, delivery: name, damaged }) => [
      ...[type, camera, fragment, startUs, name, damaged],
    ]),
    stored.map(({ number, startUs }) => [
      ...['fragment-delivered', 'gate', number, startUs, 'fragments', false],
    ]),
  );
  for (const { key, indexKey, bytes, sha256 } of told) {
    const media = sink.objects.get(key);
    assert.equal(media?.length, bytes);
    assert.equal(createHash('sha256').update(media).digest('hex'), sha256);
    const index = JSON.parse(String(sink.objects.get(indexKey))) as Index;
    assert.equal(index.sha256, sha256);
  }
  const last = (await video.closedMediaFiles(1, 0, 10)).at(-1)!;
  while (rig.store.log.applications.list()[0]?.leases[0]?.checkpoint !== last.id + 1) {
    await settle(rig);
  }
  assert.equal((await delivery.status()).backlog.records, 0);
});

test('of a camera that keeps what events touch, fragments go up once that is decided', async (context) => {
  if (!needs(context, 'ffmpeg')) return;
  const footage = parseFootage(await makeFootage({ seconds: 2, format: fragmentedFormat }));
  const clock = new ManualClock();
  const rig = await openRig(context, { clock, video: { minFreeBytes: 0 } });
  const { video } = rig.store;
  await video.ensureCamera(cameraOptions('gate', { record: 'events' }));
  const sink = new MemorySink();
  rig.start(fragmentsToFolder, sink);
  const startUs = clock.nowMs() * 1000;
  const recording = await beginRun(rig.store, 'gate', footage, startUs);
  const endUs = await recordGroups(recording, footage, groupsOf(footage.chunks), startUs);
  await settle(rig);
  assert.equal(sink.attempts, 0, 'the file is open');
  await recording.end('ended');
  await video.addEvent({ camera: 'gate', kind: 'ring', startUs, endUs });
  await settle(rig);
  assert.equal(sink.attempts, 0, 'nothing is decided');
  await runClock(rig, clock, () => sink.objects.size === 4, 1_000);
});
