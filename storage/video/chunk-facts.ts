/** What a fragment's row and header need to know of a chunk, whether its bytes can be read or not. */
import type { InitSegment, MovieFragment } from './boxes.ts';

export interface ChunkFacts {
  /** Of its boxes in the open. */
  readonly plainBytes: number;
  readonly durationUs: number;
  /** Of its first video frame, on the media file's clock, in ticks; null: it has no video. */
  readonly decodeTime: number | null;
  /** Its first video frame is a keyframe. */
  readonly keyframe: boolean;
  /** Video frames that are no keyframes, and their bytes. */
  readonly frames: number;
  readonly frameBytes: number;
}

/** @param movies of a chunk that is on the media file's clock */
export function factsOf(
  init: InitSegment,
  movies: readonly MovieFragment[],
  plainBytes: number,
): ChunkFacts {
  const track = init.tracks.find(({ kind }) => kind === 'video');
  const video = movies
    .flatMap(({ tracks }) => tracks)
    .filter(({ trackId, samples }) => trackId === track?.trackId && samples.length > 0);
  const ticks = video.reduce((sum, { durationTicks }) => sum + durationTicks, 0);
  let frames = 0;
  let frameBytes = 0;
  for (const { samples } of video) {
    for (const sample of samples) {
      if (sample.keyframe) continue;
      frames += 1;
      frameBytes += sample.sizeBytes;
    }
  }
  return {
    plainBytes,
    durationUs: Math.round((ticks / (track?.timescale ?? 1)) * 1e6),
    decodeTime: video[0]?.decodeTime ?? null,
    keyframe: video[0]?.samples[0]?.keyframe === true,
    frames,
    frameBytes,
  };
}
