/**
 * The door to what the video store knows of MP4: pure functions over boxes in Buffers.
 *
 * ```ts
 * const init = readInit(bytes);
 * const fragments = readMovieFragments(await video.readFragment(fragment), sampleDefaults(init));
 * ```
 */
import type { InitSegment, SampleDefaults } from './mp4/init.ts';

export {
  type Box,
  boxesIn,
  findBox,
  Mp4Error,
  type Mp4ErrorCode,
  readBoxHeader,
} from './mp4/box.ts';
export {
  type MovieFragment,
  readMovieFragments,
  type Sample,
  moveDecodeTimes,
  rewriteCompositions,
  rewriteDurations,
  shiftDecodeTimes,
  type TrackFragment,
} from './mp4/fragment.ts';
export {
  describeTrack,
  type InitSegment,
  type InitTrack,
  readInit,
  type SampleDefaults,
} from './mp4/init.ts';

/** The sample defaults of every track, as `readMovieFragments` wants them. */
export function sampleDefaults(init: InitSegment): ReadonlyMap<number, SampleDefaults> {
  return new Map(init.tracks.map((track) => [track.trackId, track.defaults]));
}
