/** Footage that goes on being recorded while it is watched. */
import type { VideoStore } from '../../../../storage/model.ts';
import { record, type Footage } from './footage.ts';

/** How many fragments of two seconds there are when the first player comes. */
export const earlyFragments = 3;
const chunkMs = 200;

export interface LiveFootage {
  /** To be called when nobody watches any more; harmless when it is called twice. */
  over(): Promise<void>;
}

/**
 * Records a camera's beginning at once and the rest at its pace, ending about now; resolves with the
 * beginning recorded.
 */
export async function recordLive(
  video: VideoStore,
  camera: string,
  footage: Footage,
): Promise<LiveFootage> {
  let [fragments, isOver] = [0, false];
  let begun: () => void = () => undefined;
  const hasBegun = new Promise<void>((resolve) => (begun = resolve));
  const startUs = (Date.now() - earlyFragments * 2_000) * 1000;
  const recording = record(video, camera, [footage], startUs, {
    fragment: () => {
      fragments += 1;
      if (fragments === earlyFragments) begun();
      return Promise.resolve();
    },
    chunk: async () => {
      if (fragments < earlyFragments || isOver) return;
      await new Promise((resolve) => setTimeout(resolve, chunkMs));
    },
  });
  await Promise.race([hasBegun, recording]);
  return {
    over: async () => {
      isOver = true;
      await recording;
    },
  };
}
