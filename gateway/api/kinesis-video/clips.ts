/** Clips: whole fragments as one MP4 (`gateway/media/movie.ts`). */
import type { Fragment, VideoStore } from '../../../storage/model.ts';
import { Mp4Error } from '../../../storage/video/boxes.ts';
import { MixedCodecs } from '../../media/movie-inits.ts';
import { planMovie } from '../../media/movie.ts';
import { KinesisVideoError, notFound } from './errors.ts';
import { MediaAnswer } from './operation.ts';

const fragmentsMax = 200;
const bytesMax = 100e6;
const atOnceMax = 4;

export const clipFragmentsMax = fragmentsMax;

export class Clips {
  readonly #video: VideoStore;
  #open = 0;

  constructor(video: VideoStore) {
    this.#video = video;
  }

  /**
   * The first 200 fragments, or 100 MB of them.
   * @throws KinesisVideoError `ClientLimitExceededException`, `ResourceNotFoundException`,
   *   `InvalidCodecPrivateDataException`, `InvalidMediaFrameException`
   */
  async clip(fragments: readonly Fragment[]): Promise<MediaAnswer> {
    if (this.#open >= atOnceMax) {
      const message = `${atOnceMax} clips are being made: try again.`;
      throw new KinesisVideoError('ClientLimitExceededException', message);
    }
    this.#open += 1;
    let isOpen = true;
    const end = (): void => {
      if (isOpen) this.#open -= 1;
      isOpen = false;
    };
    try {
      const movie = await planMovie(this.#video, firstOf(fragments));
      if (movie === null) throw notFound('No fragments with pictures are in this time.');
      return new MediaAnswer('video/mp4', movie.read(), end, movie.sizeBytes);
    } catch (error) {
      end();
      if (error instanceof MixedCodecs) {
        throw new KinesisVideoError('InvalidCodecPrivateDataException', error.message);
      }
      if (error instanceof Mp4Error) {
        throw new KinesisVideoError('InvalidMediaFrameException', error.message);
      }
      throw error;
    }
  }
}

function firstOf(fragments: readonly Fragment[]): readonly Fragment[] {
  let bytes = 0;
  return fragments.slice(0, fragmentsMax).filter(({ plainBytes }, index) => {
    bytes += plainBytes;
    return index === 0 || bytes <= bytesMax;
  });
}
