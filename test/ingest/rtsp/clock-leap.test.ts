/** Cameras with B-frames whose media clock is set in mid-stream: every picture has its time. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { rtspPullSource } from '../../../ingest/rtsp/pull-source.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Run } from '../../../storage/model.ts';
import { capturePackets, LeapingClock, PacketCamera } from '../../support/packet-camera.ts';
import { type ShownFrame, shownFrames } from '../../support/shown-frames.ts';
import { startServer } from './helpers.ts';
import { makeClip } from './media.ts';
import { fragmentsOf, type Recording, setUp } from './recordings.ts';

const bFrames = ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '4', '-b_strategy', '0'];
const seconds = 4;
const frameMs = 40;

/** The pictures of a run, as it is stored. */
async function shownOf({ store, folder }: Recording, run: Run): Promise<readonly ShownFrame[]> {
  const fragments = await fragmentsOf(store, run);
  const { bytes } = await store.video.init(fragments[0]?.initId ?? -1);
  const parts = await Promise.all(fragments.map((one) => store.video.readFragment(one)));
  const path = join(folder, `run-${run.id}.mp4`);
  await writeFile(path, Buffer.concat([bytes, ...parts]));
  return shownFrames(['-i', path]);
}

test('B-frames when the clock leaps', { concurrency: 3, timeout: 600_000 }, async (t) => {
  const common = await setUp(t);
  const clip = await makeClip(common.folder, {
    ...{ name: 'clip', seconds, pattern: 'testsrc2', video: bFrames },
  });
  const [capture, sent] = await Promise.all([capturePackets(t, clip), shownFrames(['-i', clip])]);
  const numberOf = new Map(sent.map(({ hash }, index) => [hash, index]));
  const leaps = async (inner: TestContext, byS: number, reason: RegExp): Promise<void> => {
    const recording = await setUp(inner);
    const { server } = await startServer(inner);
    const clock = new LeapingClock();
    const { change } = clock;
    const camera = await PacketCamera.start(inner, capture, { pace: 1, loop: true, change });
    const abort = new AbortController();
    const done = rtspPullSource({
      ...{ camera: 'gate', url: camera.url, transport: 'tcp', server, clock: systemClock },
      record: recording.record,
    }).run({ signal: abort.signal, ready: () => undefined });
    await recording.fragments((await recording.next('run-started')).run, 1);
    clock.leap(byS);
    await recording.fragments((await recording.next('run-started')).run, 2);
    abort.abort();
    await done;
    assert.equal(camera.connections, 1, 'the camera notices nothing');
    const runs = await recording.store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
    assert.equal(runs.length, 2);
    const [before, after] = [
      await shownOf(recording, runs[0]!),
      await shownOf(recording, runs[1]!),
    ];
    assert.match(runs[0]?.endReason ?? '', reason);
    assert.ok(before.length >= 45 && after.length >= 90, `${after.length} pictures after it`);
    assert.ok((before[0]?.leftMs ?? Infinity) < 60_000, 'none is shown much later');
    // What is sent while a leap is being noticed may have any time; the end cuts B-frames off.
    for (const frames of [before.slice(0, 45), after.slice(0, -8)]) {
      const [first] = frames;
      assert.ok(first !== undefined);
      for (const [index, { hash, leftMs }] of frames.entries()) {
        const number: number = ((numberOf.get(first.hash) ?? NaN) + index) % sent.length;
        assert.equal(numberOf.get(hash), number, `picture ${index}`);
        const atMs = first.leftMs - leftMs;
        assert.ok(Math.abs(atMs - index * frameMs) <= 2, `picture ${index} at ${atMs} ms`);
      }
    }
  };
  await Promise.all([
    t.test('ahead', (inner) => leaps(inner, 1_000, /its media clock jumped by \d+/)),
    t.test('back a little', (inner) => leaps(inner, -3, /its media clock was set back/)),
    t.test('back far', (inner) => leaps(inner, -1_000, /its media clock was set back/)),
  ]);
});
