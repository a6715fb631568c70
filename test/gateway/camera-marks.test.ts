import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { CameraMarks } from '../../gateway/camera-marks.ts';
import { storedOptions } from '../../gateway/cameras.ts';
import type { NewVideoEvent, VideoEvent } from '../../storage/model.ts';
import type { Store } from '../../storage/store.ts';
import { openTestStore } from '../storage/support/open.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  newYearUs,
  parseFootage,
  recordGroups,
} from '../storage/video/footage.ts';
import type { ManualClock } from '../support/manual-clock.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { configOf } from './config/support.ts';

const configuration = `
cameras:
  gate:
    source: { rtsp: 'rtsp://10.0.0.1/a' }
    postRollSeconds: 10
    marks:
      - { topic: 'alarms/gate/#', kind: alarm, hold: true }
      - { topic: 'alarms/+/door' }
  yard:
    source: { rtsp: 'rtsp://10.0.0.2/a' }
    marks: [{ topic: 'alarms/#', kind: any }]
`;

interface Rig {
  readonly marks: CameraMarks;
  readonly store: Store;
  readonly clock: ManualClock;
  readonly logger: MemoryLogger;
  readonly events: (camera: string) => Promise<readonly VideoEvent[]>;
}

async function rig(t: TestContext): Promise<Rig> {
  const { store, clock } = await openTestStore(t, { video: { minFreeBytes: 0 } });
  for (const camera of ['gate', 'yard']) await store.video.ensureCamera(cameraOptions(camera));
  const logger = new MemoryLogger();
  const marks = new CameraMarks({ video: store.video, clock, logger });
  marks.update(configOf(configuration).cameras);
  return {
    ...{ marks, store, clock, logger },
    events: async (camera) => {
      await marks.settled();
      return store.video.events({
        ...{ camera, fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 100 },
      });
    },
  };
}

test('a message is an event of every camera and mark that names its topic', async (t) => {
  const { marks, events } = await rig(t);
  marks.see('alarms/gate/door', Buffer.from('{"open":true}'));
  marks.see('lights/gate', Buffer.from('on'));
  const data = { topic: 'alarms/gate/door', message: '{"open":true}' };
  const instant = { startUs: newYearUs, endUs: newYearUs, data };
  const said = (await events('gate')).map(({ kind, hold, startUs, endUs, data: told }) => ({
    ...{ kind, hold, startUs, endUs, data: told },
  }));
  assert.deepEqual(
    said.sort((a, b) => a.kind.localeCompare(b.kind)),
    [
      { kind: 'alarm', hold: true, ...instant },
      { kind: 'mark', hold: false, ...instant },
    ],
  );
  assert.equal((await events('yard')).length, 1);
});

test('messages that follow each other are one event, which grows; after a pause comes another', async (t) => {
  const { marks, clock, events } = await rig(t);
  for (let second = 0; second <= 30; second += 1) {
    marks.see('alarms/gate/x', Buffer.from('go'));
    assert.equal((await events('gate')).length, 1);
    clock.advance(1000);
  }
  const [first] = await events('gate');
  assert.equal(first?.endUs, newYearUs + 30e6);
  clock.advance(20_000);
  marks.see('alarms/gate/x', Buffer.from('again'));
  assert.equal((await events('gate')).length, 2);
});

test('a flood is one event and a handful of writes, and a large message is cut', async (t) => {
  const { marks, events, store } = await rig(t);
  let writes = 0;
  const addEvent = store.video.addEvent.bind(store.video);
  t.mock.method(store.video, 'addEvent', (event: NewVideoEvent) => {
    writes += 1;
    return addEvent(event);
  });
  for (let count = 0; count < 10_000; count += 1) {
    marks.see('alarms/gate/x', Buffer.alloc(100_000, 0xff));
  }
  const [event] = await events('gate');
  assert.ok(JSON.stringify(event?.data).length < 4096);
  assert.ok(writes <= 4, `${writes} writes`);
});

test('one that somebody deleted is begun anew, and what can not be written is logged', async (t) => {
  const { marks, clock, events, store, logger } = await rig(t);
  marks.see('alarms/gate/x', Buffer.from('one'));
  const [first] = await events('gate');
  await store.video.deleteEvent(first!.id);
  clock.advance(2000);
  marks.see('alarms/gate/x', Buffer.from('two'));
  const [second] = await events('gate');
  assert.ok(second !== undefined && second.id !== first?.id);
  await store.video.deleteCamera('yard');
  for (const message of ['three', 'four']) {
    clock.advance(2000);
    marks.see('alarms/none', Buffer.from(message));
    await events('gate');
  }
  assert.equal(logger.lines.filter(({ level }) => level === 'warn').length, 1);
});

for (const [record, kept] of Object.entries({
  // What the mark touches, 3 s before it and 4 s after its last message.
  events: [7, 8, 9, 10, 11, 12, 13, 14, 15],
  off: [7, 8, 9, 10, 11, 12, 13, 14, 15],
})) {
  test(`a mark holds its footage with what is around it, of a camera that records ${record}`, async (t) => {
    const { store, clock } = await openTestStore(t, {
      video: { minFreeBytes: 0, mediaFileMs: 1000 },
    });
    const { cameras } = configOf(`
cameras:
  gate:
    source: { rtsp: 'rtsp://10.0.0.1/a' }
    encryption: none
    record: ${record}
    retentionHours: 1
    preRollSeconds: 3
    postRollSeconds: 4
    marks: [{ topic: alarms, hold: true }]`);
    await store.video.ensureCamera(storedOptions('gate', cameras['gate']!));
    const marks = new CameraMarks({ video: store.video, clock, logger: new MemoryLogger() });
    marks.update(cameras);
    const footage = parseFootage(await makeFootage({ seconds: 10, format: fragmentedFormat }));
    const groups = groupsOf(footage.chunks);
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    let atUs = await recordGroups(recording, footage, groups, newYearUs);
    clock.advance(10_500);
    marks.see('alarms', Buffer.from('one'));
    await marks.settled();
    clock.advance(1_000);
    marks.see('alarms', Buffer.from('two'));
    await marks.settled();
    for (let round = 0; round < 2; round += 1) {
      atUs = await recordGroups(recording, footage, groups, atUs);
    }
    await recording.end('ended');
    const everything = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 };
    const seconds = async (): Promise<readonly number[]> => {
      await store.video.retain();
      const fragments = await store.video.fragments(everything);
      return fragments.map(({ startUs }) => Math.round((startUs - newYearUs) / 1e6));
    };
    assert.equal((await seconds()).length, 30, 'nothing is decided for who watches it live');
    clock.advance(120_000);
    assert.deepEqual(await seconds(), kept);
    clock.advance(2 * 3_600_000);
    assert.deepEqual(await seconds(), kept, 'age does not count');
    const [event] = await store.video.events(everything);
    assert.deepEqual([event?.startUs, event?.endUs], [newYearUs + 10.5e6, newYearUs + 11.5e6]);
    await store.video.changeEvent(event!.id, { hold: false });
    assert.deepEqual(await seconds(), []);
  });
}
