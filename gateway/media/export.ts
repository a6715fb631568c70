/**
 * Exports of a piece of time: one camera's as an MP4, several ones' as a zip of them.
 *
 * Limits: 21,600 fragments (12 hours at one per 2 s) a camera and 16 cameras a zip, more are refused;
 * three are prepared at once, more are `busy`; of movies that were prepared 64 MiB are kept, so that a
 * player that asks for one range after the other does not have it prepared anew each time.
 */
import type { Fragment, VideoStore } from '../../storage/model.ts';
import { HttpError } from '../http/errors.ts';
import { isoFromUs } from '../api/rest/times.ts';
import { type Movie, planMovie } from './movie.ts';
import { MixedCodecs } from './movie-inits.ts';

export interface ExportRange {
  readonly camera: string;
  readonly fromUs: number;
  readonly toUs: number;
}

export interface Export {
  readonly movie: Movie;
  /** Names its bytes: another export has another. */
  readonly etag: string;
}

const fragmentsMax = 21_600;
const atOnceMax = 3;
const keptBytesMax = 64 * 1024 * 1024;

export class Exports {
  readonly #video: VideoStore;
  /** Those that will never change, the one that was asked for last at the end. */
  readonly #kept = new Map<string, Export>();
  #keptBytes = 0;
  #preparing = 0;

  constructor(video: VideoStore) {
    this.#video = video;
  }

  /**
   * @param signal nobody waits for it any more
   * @throws HttpError `not-found`, `bad-request`, `conflict`, `busy`; StorageError; the signal's reason
   */
  async of(range: ExportRange, signal: AbortSignal): Promise<Export> {
    const { camera, fromUs, toUs } = range;
    const key = `${camera}/${fromUs}/${toUs}`;
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known;
    }
    if (this.#preparing >= atOnceMax) {
      throw new HttpError('busy', 'Too many exports are prepared at this moment: try again.', {
        retryAfterSeconds: 5,
      });
    }
    this.#preparing += 1;
    try {
      const fragments = await this.#fragmentsOf(range);
      const made = await this.#prepare(range, fragments, signal);
      if (await this.#isComplete(range)) this.#keep(key, made);
      return made;
    } finally {
      this.#preparing -= 1;
    }
  }

  async #fragmentsOf({ camera, fromUs, toUs }: ExportRange): Promise<readonly Fragment[]> {
    await this.#video.camera(camera);
    const query = { camera, fromUs, toUs, limit: fragmentsMax + 1 };
    const fragments = await this.#video.fragments(query);
    if (fragments.length === 0) throw nothing(camera);
    if (fragments.length <= fragmentsMax) return fragments;
    throw new HttpError(
      'bad-request',
      `An export holds ${fragmentsMax} fragments (about 12 hours) of a camera: ask for less time.`,
    );
  }

  async #prepare(
    { camera, fromUs, toUs }: ExportRange,
    fragments: readonly Fragment[],
    signal: AbortSignal,
  ): Promise<Export> {
    try {
      const movie = await planMovie(this.#video, fragments, { fromUs, toUs, signal });
      if (movie === null) throw nothing(camera);
      const ends = [fragments[0]?.number, fragments.at(-1)?.number, movie.parts];
      return { movie, etag: `"${[...ends, fromUs, toUs, movie.sizeBytes].join('-')}"` };
    } catch (error) {
      if (!(error instanceof MixedCodecs)) throw error;
      throw new HttpError(
        'conflict',
        `${camera} sent ${error.before} until ${isoFromUs(error.atUs)} and ${error.after} from then on, which do not go into one file: export them one after the other.`,
        { cause: error },
      );
    }
  }

  /** Whether nothing more can come that belongs to it. */
  async #isComplete({ camera, toUs }: ExportRange): Promise<boolean> {
    const [newest] = await this.#video.latestFragments(camera, 1);
    return newest !== undefined && newest.startUs >= toUs;
  }

  #keep(key: string, made: Export): void {
    const { keptBytes } = made.movie;
    if (keptBytes > keptBytesMax || this.#kept.has(key)) return;
    this.#kept.set(key, made);
    this.#keptBytes += keptBytes;
    for (const [oldest, { movie }] of this.#kept) {
      if (this.#keptBytes <= keptBytesMax) return;
      this.#kept.delete(oldest);
      this.#keptBytes -= movie.keptBytes;
    }
  }
}

/** `gate 2026-01-31T09-30-00Z.mp4`: no file system minds it. */
export function exportFileName(camera: string, fromUs: number): string {
  return `${camera}_${isoFromUs(fromUs).replaceAll(':', '-')}.mp4`;
}

function nothing(camera: string): HttpError {
  return new HttpError('not-found', `Nothing of ${camera} was recorded in this time.`);
}
