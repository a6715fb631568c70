/** The samples of one fragment, as a movie takes them: by chunk and track, on the movie's clock. */
import { type MovieFragment, readMovieFragments, type Sample } from '../../storage/video/boxes.ts';
import type { MovieInit, MovieTrack } from './movie-inits.ts';

export interface CodedPicture {
  readonly bytes: Buffer;
  readonly decodeTicks: number;
  readonly shownTicks: number;
  readonly durationTicks: number;
  readonly keyframe: boolean;
}

/** A movie fragment of a stored fragment, and what of it is video and sound. */
interface ChunkSamples {
  readonly video: TimedSamples | null;
  readonly audio: TimedSamples | null;
}

export interface TimedSamples {
  /** Of the first, on the clock of its media file. */
  readonly decodeTicks: number;
  readonly samples: readonly Sample[];
}

export interface PictureAt {
  readonly shownTicks: number;
  /** The index of the chunk that decoding begins with. */
  readonly chunk: number;
}

export class FragmentSamples {
  readonly init: MovieInit;
  readonly chunks: readonly ChunkSamples[];
  /** Decode time of its first picture, in ticks of the video. */
  readonly firstDecodeTicks: number;
  /**
   * When the first of its pictures is shown, in ticks of the video: that is what the start of the
   * fragment in the index means.
   */
  readonly firstShownTicks: number;

  /** @throws Mp4Error */
  constructor(bytes: Buffer, init: MovieInit) {
    this.init = init;
    this.chunks = readMovieFragments(bytes, init.defaults).map((movie) => ({
      video: samplesOf(movie, init.video),
      audio: init.audio === null ? null : samplesOf(movie, init.audio),
    }));
    const pictures = this.chunks.flatMap(({ video }) => (video === null ? [] : [video]));
    this.firstDecodeTicks = pictures[0]?.decodeTicks ?? 0;
    this.firstShownTicks = Math.min(...pictures.flatMap((video) => [...shownTicks(video)]));
  }

  get hasPictures(): boolean {
    return this.chunks.some(({ video }) => video !== null);
  }

  /**
   * The picture that is on the screen at an instant: when it is shown, and the last chunk from which
   * it can be decoded. Before the first keyframe is shown it is that.
   * @param afterStartUs after the start of the fragment
   */
  pictureAt(afterStartUs: number): PictureAt {
    const ticks = this.firstShownTicks + (afterStartUs * this.init.video.timescale) / 1e6;
    const keyTicks = keyframeTicks(this.chunks[0]) ?? this.firstShownTicks;
    let found = keyTicks;
    for (const { video } of this.chunks) {
      if (video === null) continue;
      for (const shown of shownTicks(video)) {
        if (shown <= ticks && shown > found) found = shown;
      }
    }
    const chunk = this.chunks.findLastIndex((candidate) => {
      const key = keyframeTicks(candidate);
      return key !== null && key <= found;
    });
    return { shownTicks: found, chunk: Math.max(0, chunk) };
  }

  /** Those in the order of decoding from where it begins up to the picture itself. */
  codedUpTo({ chunk, shownTicks: wanted }: PictureAt, bytes: Buffer): readonly CodedPicture[] {
    const coded: CodedPicture[] = [];
    for (const { video } of this.chunks.slice(chunk)) {
      if (video === null) continue;
      for (const [decodeTicks, sample] of timesOf(video)) {
        const { start, sizeBytes, compositionTicks, durationTicks, keyframe } = sample;
        const shown = decodeTicks + compositionTicks;
        const picture = bytes.subarray(start, start + sizeBytes);
        coded.push({ bytes: picture, decodeTicks, shownTicks: shown, durationTicks, keyframe });
        if (shown === wanted) return coded;
      }
    }
    return coded;
  }

  /**
   * How many of its chunks have something to be shown before an instant.
   * @param afterStartUs after the start of the fragment
   */
  chunksBefore(afterStartUs: number): number {
    const shownS = this.firstShownTicks / this.init.video.timescale + afterStartUs / 1e6;
    const last = this.chunks.findLastIndex(
      ({ video, audio }) =>
        startsBefore(video, this.init.video, shownS) ||
        (this.init.audio !== null && startsBefore(audio, this.init.audio, shownS)),
    );
    return last + 1;
  }
}

/** Each with its decode time. */
export function* timesOf({
  decodeTicks,
  samples,
}: TimedSamples): Generator<readonly [decodeTicks: number, sample: Sample], void> {
  let ticks = decodeTicks;
  for (const sample of samples) {
    yield [ticks, sample];
    ticks += sample.durationTicks;
  }
}

/** When each of them is shown, in the order of decoding. */
function* shownTicks(timed: TimedSamples): Generator<number, void> {
  for (const [ticks, { compositionTicks }] of timesOf(timed)) yield ticks + compositionTicks;
}

function samplesOf({ tracks }: MovieFragment, { trackId }: MovieTrack): TimedSamples | null {
  const found = tracks.find((track) => track.trackId === trackId && track.samples.length > 0);
  return found === undefined ? null : { decodeTicks: found.decodeTime, samples: found.samples };
}

/** When the keyframe is shown that a chunk begins with, if it does. */
function keyframeTicks(chunk: ChunkSamples | undefined): number | null {
  const first = chunk?.video?.samples[0];
  if (chunk?.video == null || first?.keyframe !== true) return null;
  return chunk.video.decodeTicks + first.compositionTicks;
}

function startsBefore(timed: TimedSamples | null, track: MovieTrack, atS: number): boolean {
  if (timed === null) return false;
  for (const ticks of shownTicks(timed)) {
    if (ticks / track.timescale < atS) return true;
  }
  return false;
}
