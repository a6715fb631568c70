/**
 * Fragments as players get them. On disk a fragment's decode times count from its media file's
 * start. Served, they count from the start of its run (plus a second), taken from the timeline: so
 * within a run they go on across media files, and stay in step with the times of the index however
 * long the run is. Between two fragments they may so move by what the timeline was slewed meanwhile,
 * which is less than a frame. Where its sound stopped, a served fragment has silence.
 */
import type { Fragment, Init, Run, VideoStore } from '../../../storage/model.ts';
import { shiftDecodeTimes } from '../../../storage/video/boxes.ts';
import { withSilence } from './silence.ts';

/** Room below the first video frame for audio that begins before it. */
export const originUs = 1_000_000;

/**
 * The fragment's boxes, their decode times counted from the start of its run.
 * @param zeroUs another instant to count from, not later than its start
 * @throws StorageError, Mp4Error
 */
export async function servedFragment(
  video: VideoStore,
  fragment: Fragment,
  zeroUs?: number,
): Promise<Buffer> {
  const [bytes, init, fromUs] = await Promise.all([
    video.readFragment(fragment),
    video.init(fragment.initId),
    zeroUs ?? runOf(video, fragment).then((run) => run?.startUs ?? 0),
  ]);
  return withSilence(shiftDecodeTimes(bytes, shifts(fragment, fromUs, init)), init);
}

/** A fragment as far as it needs to be known to move its chunks in time. */
type Placed = Pick<Fragment, 'camera' | 'runId' | 'initId' | 'startUs' | 'decodeTime'>;

/**
 * A chunk of a fragment, as `servedFragment` has it but for silence.
 * @param bytes with the decode times of its media file
 * @throws StorageError, Mp4Error
 */
export async function servedChunk(
  video: VideoStore,
  fragment: Placed,
  bytes: Buffer,
): Promise<Buffer> {
  const [init, run] = await Promise.all([video.init(fragment.initId), runOf(video, fragment)]);
  return shiftDecodeTimes(bytes, shifts(fragment, run?.startUs ?? 0, init));
}

/** The run that a fragment is of. */
export async function runOf(
  video: VideoStore,
  { camera, startUs, runId }: Pick<Fragment, 'camera' | 'startUs' | 'runId'>,
): Promise<Run | undefined> {
  const runs = await video.runs(camera, startUs, startUs + 1);
  return runs.find(({ id }) => id === runId);
}

/** Per track, in its ticks: all tracks move by the same time, that of the video. */
function shifts(fragment: Placed, fromUs: number, { tracks }: Init): ReadonlyMap<number, bigint> {
  const video = tracks.find((track) => track.kind === 'video') ?? tracks[0];
  if (video === undefined) return new Map();
  const startUs = fragment.startUs - fromUs + originUs;
  const shiftS = startUs / 1e6 - fragment.decodeTime / video.timescale;
  return new Map(
    tracks.map(({ trackId, timescale }) => [trackId, BigInt(Math.round(shiftS * timescale))]),
  );
}
