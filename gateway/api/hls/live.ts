/**
 * What is live of a camera: it is being sent, or was a moment ago. A camera that comes back within
 * 15 s goes on in the same playlist. After that nothing is live, and when it came back only what it
 * has sent since: players would show what is old as what happens now.
 */
import type { Fragment, VideoStore } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { HttpError } from '../../http/errors.ts';
import { isoFromMs } from '../rest/times.ts';
import { runOf } from './served-fragment.ts';

const liveFragments = 8;
const awayMsMax = 15_000;

/**
 * Its newest fragments, oldest first; at least one.
 * @throws HttpError `not-found`: nothing is live
 */
export async function liveRows(
  video: VideoStore,
  clock: Clock,
  camera: string,
): Promise<readonly Fragment[]> {
  const latest = await video.latestFragments(camera, liveFragments);
  const newest = latest.at(-1);
  if (newest === undefined) {
    throw new HttpError('not-found', `Nothing of ${camera} is recorded yet.`);
  }
  const seenMs = arrivedMs(newest);
  if (clock.nowMs() - seenMs > awayMsMax && !(await goesOn(video, newest))) {
    const seen = isoFromMs(seenMs);
    throw new HttpError('not-found', `${camera} is not sending. It was last seen at ${seen}.`);
  }
  return sinceAway(latest);
}

/** When its last picture was here, by our clock. */
function arrivedMs({ serverMs, durationUs }: Fragment): number {
  return Math.round(serverMs + durationUs / 1_000);
}

async function goesOn(video: VideoStore, fragment: Fragment): Promise<boolean> {
  return (await runOf(video, fragment))?.endUs === null;
}

/** Those after the last time that the camera was away for too long, in the order they came. */
function sinceAway(rows: readonly Fragment[]): readonly Fragment[] {
  const last = rows.findLastIndex((row, index) => {
    const before = rows[index - 1];
    return before !== undefined && row.serverMs - arrivedMs(before) > awayMsMax;
  });
  return rows.slice(Math.max(0, last));
}
