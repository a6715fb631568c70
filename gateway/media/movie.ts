/**
 * A progressive MP4 of stored fragments: `ftyp`, one `moov` with the tables of every sample, then
 * the samples as they are stored. Its size is known before its first byte is sent, and any range of
 * its bytes can be made by itself.
 *
 * - Fragments that follow each other stay together as they were recorded. What lies between two
 *   pieces (another run, a hole of half a second) is cut out: the next piece follows at once, and a
 *   chapter says when it was recorded.
 * - An edit list makes it begin with the picture that was on the screen at the instant asked for, and
 *   end at the other: the samples from the keyframe before are there and not shown.
 * - Changed parameter sets (another resolution) get a sample entry of their own, and stand before
 *   each fragment's first picture too, for players that look at the first entry only. Another codec
 *   does not fit into the same file (`MixedCodecs`).
 * - A fragment that is corrupt on disk is left out, as if it had not been recorded.
 *
 * Every fragment is read twice: once for its tables, with nothing kept of it, and once to be sent.
 * Of a second of footage about 3 kB are kept for it: the tables, and where the samples lie.
 */
import { StorageError } from '../../storage/errors.ts';
import type { Fragment, VideoStore } from '../../storage/model.ts';
import { Scratch } from '../../storage/video/scratch.ts';
import { type MovieInit, movieInits } from './movie-inits.ts';
import { MovieLayout, type MoviePart, type MoviePiece } from './movie-layout.ts';
import { FragmentSamples } from './movie-samples.ts';

/** Pieces that are smaller on average are copied into one; larger ones cost less when sent by themselves. */
const copiedBytesMax = 32 * 1024;

export interface MovieOptions {
  /** Begins and ends at instants within the fragments; left out: all of them. */
  readonly fromUs?: number;
  readonly toUs?: number;
  /** Stops the work: nobody waits for it any more. */
  readonly signal?: AbortSignal;
}

export class Movie {
  readonly sizeBytes: number;
  readonly durationUs: number;
  /** What was recorded without a hole, in order. */
  readonly pieces: readonly MoviePiece[];
  readonly #video: VideoStore;
  readonly #header: Buffer;
  readonly #parts: readonly MoviePart[];

  /** Made by `planMovie`. */
  constructor(video: VideoStore, layout: MovieLayout) {
    const { pieces, header, durationUs } = layout.finish();
    this.#video = video;
    this.#header = header;
    this.#parts = layout.parts;
    this.pieces = pieces;
    this.durationUs = durationUs;
    this.sizeBytes = header.length + layout.mediaBytes;
  }

  /** Of how many fragments it is made. */
  get parts(): number {
    return this.#parts.length;
  }

  /** Bytes that are held for it while it is kept. */
  get keptBytes(): number {
    return (
      this.#header.length + this.#parts.reduce((sum, { slices }) => sum + slices.length * 64, 0)
    );
  }

  /**
   * Its bytes in [from, to).
   * @throws StorageError of a fragment that was read before: it is gone, or its disk
   */
  async *read(from = 0, to = this.sizeBytes): AsyncGenerator<Buffer, void> {
    const { length } = this.#header;
    if (from < length) yield this.#header.subarray(from, Math.min(to, length));
    const [begin, end] = [from - length, to - length];
    const first = this.#parts.findIndex(({ at, bytes }) => at + bytes > begin);
    const wanted = first === -1 ? [] : this.#parts.slice(first).filter(({ at }) => at < end);
    // While one is sent, the next is read.
    let next = this.#readAhead(wanted[0], begin, end);
    for (const [index] of wanted.entries()) {
      const pieces = await next;
      next = this.#readAhead(wanted[index + 1], begin, end);
      for (const piece of pieces) if (piece.length > 0) yield piece;
    }
  }

  #readAhead(part: MoviePart | undefined, begin: number, end: number): Promise<readonly Buffer[]> {
    const reading =
      part === undefined
        ? Promise.resolve([])
        : this.#readPart(part, begin - part.at, end - part.at);
    // Whoever waits for it is told; where nobody does any more, nobody needs to be.
    reading.catch(() => undefined);
    return reading;
  }

  async #readPart(
    { fragment, lead, slices }: MoviePart,
    begin: number,
    end: number,
  ): Promise<readonly Buffer[]> {
    const bytes = await this.#video.readFragment(fragment);
    let at = 0;
    const clip = (piece: Buffer): Buffer => {
      const from = Math.max(0, begin - at);
      const to = Math.min(piece.length, end - at);
      at += piece.length;
      return piece.subarray(from, Math.max(from, to));
    };
    const pieces = [lead, ...slices.map(([from, to]) => bytes.subarray(from, to))].map(clip);
    const isLarge = bytes.length / pieces.length >= copiedBytesMax;
    return isLarge ? pieces : [Buffer.concat(pieces)];
  }
}

/**
 * Reads the fragments and puts a movie together.
 * @param fragments of one camera, in order of time; at least one
 * @returns null: there is nothing in them that can be shown
 * @throws MixedCodecs, StorageError; the signal's reason
 */
export async function planMovie(
  video: VideoStore,
  fragments: readonly Fragment[],
  options: MovieOptions = {},
): Promise<Movie | null> {
  const inits = await movieInits(video, fragments);
  if (inits.size === 0) return null;
  const layout = new MovieLayout(inits.values(), options);
  const scratches = [new Scratch(), new Scratch()];
  const readAhead = (index: number): Promise<FragmentSamples | null> => {
    const fragment = fragments[index];
    const init = fragment === undefined ? undefined : inits.get(fragment.initId);
    if (fragment === undefined || init === undefined) return Promise.resolve(null);
    const reading = samplesOf(video, fragment, init, scratches[index % 2]);
    // Whoever waits for it is told; after a failure nobody does.
    reading.catch(() => undefined);
    return reading;
  };
  // While one is looked at, the next is read, in the place of the one before.
  let next = readAhead(0);
  for (const [index, fragment] of fragments.entries()) {
    options.signal?.throwIfAborted();
    const samples = await next;
    next = readAhead(index + 1);
    if (samples !== null) layout.add(fragment, samples);
  }
  return layout.parts.length === 0 ? null : new Movie(video, layout);
}

/** null: it is corrupt, which the store has told by now, or has no pictures. */
async function samplesOf(
  video: VideoStore,
  fragment: Fragment,
  init: MovieInit,
  scratch: Scratch | undefined,
): Promise<FragmentSamples | null> {
  try {
    const samples = new FragmentSamples(await video.readFragment(fragment, scratch), init);
    return samples.hasPictures ? samples : null;
  } catch (error) {
    if (error instanceof StorageError && error.code === 'corrupt') return null;
    throw error;
  }
}
