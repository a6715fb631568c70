/**
 * Pictures of stored footage: the very picture that was on the screen at an instant, as JPEG or PNG.
 *
 * ffmpeg is handed the coded pictures from the last keyframe up to the one that is wanted and no
 * others, so that it decodes no more than it has to. Two run at once; what they take of the
 * processor is measured, and on average it is no more than a share of one core. Whoever asks for more
 * waits: what a person waits for comes first, the rest runs at low priority.
 *
 * Limits: 64 wait, more are refused (`busy`); a picture may take 20 s and 64 MiB. At most 2 fragments
 * are in memory.
 */
import { writeChunk } from '../../ingest/mkv/mp4-writer.ts';
import type { Fragment, VideoStore } from '../../storage/model.ts';
import type { Clock, Metrics } from '../../storage/ports.ts';
import { Mp4Error } from '../../storage/video/boxes.ts';
import { untilFirstAbort } from '../../ingest/first-abort.ts';
import { CpuQueue, type Priority } from './cpu-queue.ts';
import {
  ImageError,
  makePicture,
  type PictureFormat,
  type PictureSource,
} from './image-encoder.ts';
import { movieInit, type MovieInit } from './movie-inits.ts';
import { FragmentSamples } from './movie-samples.ts';

export { ImageError } from './image-encoder.ts';

export interface ImageOptions extends PictureFormat {
  /** `asked` when left out. */
  readonly priority?: Priority;
  /** Nobody waits for it any more. */
  readonly signal?: AbortSignal;
}

export interface Image {
  readonly bytes: Buffer;
  readonly contentType: 'image/jpeg' | 'image/png';
  /** When it was shown, on the camera's timeline. */
  readonly atUs: number;
  /** The number of the fragment that it is of. */
  readonly fragment: number;
}

export interface ImagesOptions {
  readonly video: VideoStore;
  readonly ffmpegPath: string;
  /** What it may take of one core on average; 0.5 is half of it. */
  readonly cpuShare: number;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

const burstSeconds = 20;
const atOnceMax = 2;
const waitingMax = 64;

export class Images {
  readonly #options: ImagesOptions;
  readonly #queue: CpuQueue;
  readonly #closing = new AbortController();
  readonly #seconds;

  constructor(options: ImagesOptions) {
    const { clock, cpuShare, metrics } = options;
    this.#options = options;
    this.#queue = new CpuQueue({
      ...{ clock, share: cpuShare, burstSeconds, atOnceMax, waitingMax },
    });
    this.#seconds = metrics.counter(
      'headgate_images_cpu_seconds_total',
      'Processor time that ffmpeg took for images.',
    );
  }

  /**
   * The picture that was on the screen at an instant.
   * @returns null: nothing was recorded then
   * @throws ImageError, StorageError; the signal's reason
   */
  async imageAt(camera: string, atUs: number, options: ImageOptions): Promise<Image | null> {
    const query = { camera, fromUs: atUs, toUs: atUs + 1, limit: 1 };
    const [fragment] = await this.#options.video.fragments(query);
    return fragment === undefined ? null : this.imageOf(fragment, atUs, options);
  }

  /**
   * The picture of a fragment at an instant; its first one before it begins.
   * @throws as `imageAt`
   */
  async imageOf(fragment: Fragment, atUs: number, options: ImageOptions): Promise<Image> {
    const signals = [this.#closing.signal, ...(options.signal ? [options.signal] : [])];
    return untilFirstAbort(signals, (signal) => this.#make(fragment, atUs, options, signal));
  }

  async #make(
    fragment: Fragment,
    atUs: number,
    options: ImageOptions,
    signal: AbortSignal,
  ): Promise<Image> {
    const { video, ffmpegPath, clock } = this.#options;
    const { priority = 'asked' } = options;
    const done = await this.#queue.enter(priority, signal);
    if (done === null) {
      throw new ImageError('busy', 'Too many images are wanted at this moment: try again.');
    }
    let cpuSeconds = 0;
    try {
      const init = movieInit(await video.init(fragment.initId));
      const wanted = pictureOf(await video.readFragment(fragment), init, fragment, atUs);
      const made = await makePicture(ffmpegPath, wanted, options, {
        ...{ clock, signal, isUrgent: priority === 'asked' },
      });
      cpuSeconds = made.cpuSeconds;
      this.#seconds.add(cpuSeconds);
      if (made.bytes === null) {
        const why = made.complaint === null ? '' : `: ${made.complaint}`;
        throw new ImageError(
          'failed',
          `Fragment ${fragment.number}: ffmpeg made no picture of this instant${why}.`,
        );
      }
      const contentType = options.format === 'jpeg' ? 'image/jpeg' : 'image/png';
      return { bytes: made.bytes, contentType, atUs: wanted.atUs, fragment: fragment.number };
    } finally {
      done(cpuSeconds);
    }
  }

  /** Ends what is under way; whoever waits is told. Closing twice is harmless. */
  close(): void {
    this.#queue.close();
    this.#closing.abort(new ImageError('closed', 'The gateway is closing.'));
  }
}

/**
 * The coded pictures that are needed for one of them, as an MP4 of their own: the sound is left out,
 * and times begin at 0.
 * @throws ImageError `failed`
 */
function pictureOf(
  bytes: Buffer,
  init: MovieInit | null,
  fragment: Fragment,
  atUs: number,
): PictureSource & { readonly atUs: number } {
  try {
    if (init === null) throw new Mp4Error('unsupported', 'there is no video in it');
    const samples = new FragmentSamples(bytes, init);
    const picture = samples.pictureAt(atUs - fragment.startUs);
    const coded = samples.codedUpTo(picture, bytes);
    const [first] = coded;
    if (first === undefined) throw new Mp4Error('malformed', 'there is no picture in it');
    const delay = Math.min(...coded.map(({ shownTicks, decodeTicks }) => shownTicks - decodeTicks));
    const { trackId, timescale } = init.video;
    const media = writeChunk(1, [
      {
        ...{ trackId, decodeTicks: 0 },
        samples: coded.map((sample) => ({
          ...sample,
          // None before 0: whoever reads it would move them all.
          compositionTicks: sample.shownTicks - sample.decodeTicks - delay,
        })),
      },
    ]);
    const afterStartS = (picture.shownTicks - samples.firstShownTicks) / timescale;
    return {
      bytes: Buffer.concat([init.bytes, media]),
      shownTicks: picture.shownTicks - first.decodeTicks - delay,
      atUs: fragment.startUs + Math.round(afterStartS * 1e6),
    };
  } catch (error) {
    if (!(error instanceof Mp4Error)) throw error;
    throw new ImageError('failed', `Fragment ${fragment.number}: ${error.message}.`, {
      cause: error,
    });
  }
}
