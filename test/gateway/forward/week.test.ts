/**
 * The link is down for a week of simulated time while sensors and a camera go on: small budgets, a
 * driven clock, and the store as it is on a box.
 */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { needs } from '../../support/tools.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  parseFootage,
  recordGroups,
} from '../../storage/video/footage.ts';
import { ascending } from './support/lines.ts';
import { openRig, runClock, settle, settleAll, streamOptions } from './support/rig.ts';
import { Bucket, Sensor } from './support/site.ts';

const hourMs = 3_600_000;
const weekMs = 7 * 24 * hourMs;
const stepMs = 30 * 60_000;
const kibibyte = 1024;
const streamBytes = 512 * kibibyte;
const footageBytes = 256 * kibibyte;
function delivery(name: string, more: Partial<DeliveryOptions>): DeliveryOptions {
  return {
    name,
    from: { stream: name },
    to: { folder: { path: '' } },
    buffer: { maxBytes: 20_000, maxSeconds: 5 },
    ...more,
  };
}

test('a week without the link: bounded, counted, drained in order, and new data first where asked', async (context) => {
  if (!needs(context, 'ffmpeg')) return;
  const footage = parseFootage(
    await makeFootage({ seconds: 2, size: '64x48', format: fragmentedFormat }),
  );
  const folder = await temporaryFolder(context);
  const clock = new ManualClock();
  const rig = await openRig(context, {
    folder,
    clock,
    video: { mediaFileMs: 1000, minFreeBytes: 0, retentionIntervalMs: stepMs },
  });
  const { log, video } = rig.store;
  const limits = { maxBytes: streamBytes, retentionMs: 24 * hourMs };
  await log.ensureStream({ ...streamOptions('kept'), ...limits, whenFull: 'refuse' });
  await log.ensureStream({ ...streamOptions('rolling'), ...limits, whenFull: 'drop-oldest' });
  const camera = await video.ensureCamera(cameraOptions('gate', { maxBytes: footageBytes }));

  const buckets = ['kept', 'rolling', 'footage'].map(() => new Bucket(clock));
  const [kept, rolling, films] = buckets as [Bucket, Bucket, Bucket];
  const inOrder = rig.start(delivery('kept', { catchUp: 'in-order' }), kept);
  const liveFirst = rig.start(delivery('rolling', { catchUp: 'live-first' }), rolling);
  const filming = rig.start(
    delivery('footage', { from: { camera: 'gate' }, catchUp: 'live-first' }),
    films,
  );
  await settle(rig);

  const sensors = { kept: new Sensor(rig, 'kept'), rolling: new Sensor(rig, 'rolling') };
  const film = async (): Promise<void> => {
    const startUs = clock.nowMs() * 1000;
    const recording = await beginRun(rig.store, 'gate', footage, startUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), startUs);
    await recording.end('ended');
  };
  const step = async (): Promise<void> => {
    await sensors.kept.send();
    await sensors.rolling.send();
    await film();
    clock.advance(stepMs);
    await settle(rig);
  };

  for (let atMs = 0; atMs < weekMs; atMs += stepMs) {
    await step();
    for (const stream of log.streams()) {
      assert.ok(stream.storedBytes <= streamBytes, `${stream.name} keeps to its budget`);
    }
    const { storedBytes } = await video.camera('gate');
    assert.ok(storedBytes <= footageBytes + 64 * kibibyte, `footage keeps to it: ${storedBytes}`);
  }

  // How it stands after a week, and what a person is told.
  assert.equal(rig.metrics.total('headgate_delivery_sent_records_total'), 0, 'nothing got out');
  assert.ok(sensors.kept.refused > 0, 'the one stream refused what it could not keep');
  assert.equal(sensors.rolling.refused, 0, 'the other never does');
  const waiting = await inOrder.status();
  assert.equal(waiting.state, 'backing-off');
  assert.equal(waiting.backlog.records, sensors.kept.acknowledged.length);
  assert.ok(waiting.backlog.seconds > weekMs / 1000 - 1000, 'its oldest is a week old');
  const dropped = rig.store.losses
    .report()
    .find(({ kind, subject }) => kind === 'records-dropped' && subject === 'rolling');
  assert.ok(dropped !== undefined && dropped.count > 0, 'what was dropped is accounted for');
  const lostFootage = rig.store.losses.report().find(({ kind }) => kind === 'footage-dropped');
  assert.ok(lostFootage !== undefined && lostFootage.count > 0, 'footage too');
  const { size } = await stat(join(folder, 'headgate.db'));
  assert.ok(size < 4 * 1024 * kibibyte, `the database is small: ${size} bytes`);

  // The link is back; a minute later new data comes.
  for (const bucket of buckets) bucket.up = true;
  const { length: before } = sensors.rolling.acknowledged;
  await runClock(rig, clock, () => rolling.arrivals.length > 0, 1000);
  await runClock(
    rig,
    clock,
    () =>
      rig.logger.lines.filter(({ message }) => /sends what is new first/.test(message)).length >= 2,
    1000,
  );
  await sensors.rolling.send();
  const newest = sensors.rolling.acknowledged.at(-1)!;
  const filmedUs = clock.nowMs() * 1000;
  await film();
  const filesKept = await video.closedMediaFiles(camera.id, 0, 10_000);
  const newFile = filesKept.at(-1)!;
  assert.ok(newFile.startUs >= filmedUs, 'a new film is there');
  const stamp = new Date(newFile.startUs / 1000).toISOString().slice(0, 19).replace(/[T:]/g, '-');
  const arrived = (): boolean =>
    rolling.arrivals.some((ids) => ids.includes(newest)) &&
    films.files.some((key) => key.includes(stamp));
  const tookMs = await runClock(rig, clock, arrived, 1000, settleAll);
  assert.ok(tookMs <= 30_000, `new data is there within seconds, not ${tookMs} ms`);
  const during = await liveFirst.status();
  const behind = during.lanes.find(({ kind }) => kind === 'backlog')!.backlog;
  assert.ok(behind.records > before / 10, `the backlog is still behind: ${behind.records}`);
  assert.ok((await filming.status()).lanes.length === 2, 'footage too');

  // All of it comes, in order where order was asked for.
  const empty = async (): Promise<boolean> => {
    const all = await Promise.all([inOrder, liveFirst, filming].map((each) => each.status()));
    return all.every(({ backlog, lanes }) => backlog.records === 0 && lanes.length === 0);
  };
  for (let minute = 0; !(await empty()); minute += 1) {
    assert.ok(minute < 10_000, 'it comes to an end');
    clock.advance(10_000);
    await settle(rig);
  }
  assert.deepEqual(kept.arrivals.flat(), sensors.kept.acknowledged, 'in order, all, once');
  const got = rolling.arrivals.flat();
  assert.equal(new Set(got).size, got.length, 'nothing twice');
  assert.equal(got.length + dropped.count, sensors.rolling.acknowledged.length, 'or accounted for');
  const { lostRecords } = await liveFirst.status();
  assert.equal(lostRecords, dropped.count, 'the delivery says the same');
  assert.ok(!ascending(got), 'new came before old');
  assert.ok(ascending(got.filter((id) => id < before)), 'the backlog itself is in order');
  assert.equal(new Set(films.files).size, films.files.length);
  assert.ok(films.files.length >= filesKept.length, 'every film that was kept');

  // And the sensor that was refused gets through again.
  const { refused } = sensors.kept;
  for (let at = 0; at < 3; at += 1) await step();
  assert.equal(sensors.kept.refused, refused);
  await runClock(
    rig,
    clock,
    () => kept.arrivals.flat().length === sensors.kept.acknowledged.length,
    1000,
  );
});
