/** What a session does about a media clock that is set back again and again. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { recordSession } from '../../../ingest/camera/session.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Clock } from '../../../storage/ports.ts';
import { stayAlive } from '../../support/stay-alive.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { cameraOptions, makeFootage, openVideo } from '../../storage/video/footage.ts';

/** How the runs are timed that a session goes on in, where its clock leaps every so often. */
async function timingsOf(t: TestContext, leaps: number, everyMs: number): Promise<unknown[]> {
  stayAlive(t);
  const folder = await temporaryFolder(t);
  const source = join(folder, 'source.mkv');
  await writeFile(source, await makeFootage({ seconds: 1 }));
  let laterMs = 0;
  const clock: Clock = {
    nowMs: () => systemClock.nowMs() + laterMs,
    monotonicMs: () => systemClock.monotonicMs() + laterMs,
    setTimer: (delayMs, callback) => systemClock.setTimer(delayMs, callback),
  };
  const { store, logger, metrics } = await openVideo(t, join(folder, 'store'), { clock });
  const { video } = store;
  await video.ensureCamera(cameraOptions('gate'));
  let left = leaps;
  await recordSession({
    ...{ camera: 'gate', video, ffmpegPath, clock, logger, metrics, isLive: true },
    input: { args: ['-i', source], description: 'the test camera' },
    signal: new AbortController().signal,
    hasLeaptBack: () => {
      if (left === 0) return false;
      left -= 1;
      laterMs += everyMs;
      return true;
    },
  });
  const [run] = await video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
  assert.equal(run?.endReason, 'ended', 'in the end it is recorded');
  return logger.lines.flatMap(({ fields }) => ('timing' in fields ? [fields.timing] : []));
}

test('a clock that is set back every other hour is believed each time', async (t) => {
  assert.deepEqual(await timingsOf(t, 3, 7_200_000), ['camera', 'camera', 'camera']);
});

test('a clock that is set back twice within an hour is not believed any more', async (t) => {
  assert.deepEqual(await timingsOf(t, 3, 60_000), ['camera', 'arrival']);
});
