/**
 * Mends the times of a run's first pictures, where ffmpeg got them wrong.
 *
 * RTP carries presentation times only. With B-frames ffmpeg has to guess the first decode times,
 * finds that they would go back, and gives those pictures a single tick each: everything after
 * them is too early by what they should have lasted (0.1 to 0.4 s). Here they get the duration of
 * their neighbours, and all that follows is moved as far back, so that the run is as long as it
 * was.
 *
 * Its RTSP reader loses the time of the very first picture, too. Without sound to count from, the
 * run begins at the second one then, and the first lasts a single tick.
 *
 * When those pictures are shown is told by the packets that they came in, where somebody saw them
 * (rtsp/first-pictures.ts). ffmpeg has the later ones of the first chunk right, and of the others
 * it only ever shows all but the very first too late; so the earliest it has them, held against
 * the packets, is what all of them go by. Where the two don't fit each other, ffmpeg is believed.
 *
 * Bytes are changed in place: they belong to whoever reads the stream.
 */
import {
  type MovieFragment,
  moveDecodeTimes,
  rewriteCompositions,
  rewriteDurations,
  type Sample,
} from '../../storage/video/boxes.ts';

/** No camera reorders more pictures than a decoder has room for (H.264, annex A). */
const samplesLookedAt = 32;
/** A picture that lasts less is one that was given a tick. */
const leastSeconds = 0.001;

export class FirstTimes {
  readonly #trackId: number;
  readonly #timescale: number;
  readonly #leastTicks: number;
  readonly #firstPictureSeconds: () => readonly number[];
  #seen = 0;
  #shiftTicks = 0;

  /** @param firstPictureSeconds as in `SessionOptions`; asked once the first chunk is here */
  constructor(
    track: { readonly trackId: number; readonly timescale: number },
    firstPictureSeconds: () => readonly number[] = () => [],
  ) {
    this.#trackId = track.trackId;
    this.#timescale = track.timescale;
    this.#firstPictureSeconds = firstPictureSeconds;
    this.#leastTicks = track.timescale * leastSeconds;
  }

  /** Ticks that presentation times given beside the media are to be moved by. */
  get shiftTicks(): number {
    return this.#shiftTicks;
  }

  /** Mends one chunk, in the order of the stream; answers how it reads now. @throws Mp4Error */
  mend(bytes: Buffer, movie: MovieFragment): MovieFragment {
    const before = this.#shiftTicks;
    const found = movie.tracks.find(({ trackId }) => trackId === this.#trackId)?.samples ?? [];
    const samples = [...found];
    const usualTicks = this.#usual(found);
    let lostTicks = 0;
    if (usualTicks !== null) {
      rewriteDurations(bytes, this.#trackId, (index, ticks) => {
        const sample = samples[index];
        if (ticks >= this.#leastTicks || sample === undefined) return ticks;
        lostTicks += usualTicks - ticks;
        samples[index] = { ...sample, durationTicks: usualTicks };
        return usualTicks;
      });
    }
    const shown = this.#seen === 0 ? this.#shownTicks(found) : null;
    const isShown = shown !== null && this.#show(bytes, samples, shown, lostTicks);
    this.#seen += samples.length;
    this.#shiftTicks += lostTicks;
    if (before > 0) moveDecodeTimes(bytes, new Map([[this.#trackId, BigInt(before)]]));
    return before === 0 && lostTicks === 0 && !isShown
      ? movie
      : this.#mended(movie, before, samples);
  }

  /**
   * When the pictures of the first chunk are shown, in ticks since the first is decoded, as ffmpeg
   * would have it had it got all their times; null where nobody knows.
   */
  #shownTicks(samples: readonly Sample[]): readonly number[] | null {
    const told = this.#firstPictureSeconds();
    if (samples.length < 2 || told.length < samples.length) return null;
    if (samples.every(({ compositionTicks }) => compositionTicks === 0)) return null;
    const ticks = told.slice(0, samples.length).map((one) => Math.round(one * this.#timescale));
    let decodeTicks = 0;
    const offsets = samples.map(({ durationTicks, compositionTicks }, index) => {
      const offset = decodeTicks + compositionTicks - (ticks[index] ?? 0);
      decodeTicks += durationTicks;
      return offset;
    });
    const offset = Math.min(...offsets.slice(1));
    const fits = offsets.slice(1).map((one) => one - offset < this.#leastTicks);
    const isBelieved = fits.at(-1) === true && 2 * fits.filter(Boolean).length >= fits.length;
    return isBelieved ? ticks.map((one) => one + offset) : null;
  }

  /** Has each picture shown at its time; answers whether it could. */
  #show(
    bytes: Buffer,
    samples: Sample[],
    shownTicks: readonly number[],
    lostTicks: number,
  ): boolean {
    let decodeTicks = 0;
    const offsets = samples.map(({ durationTicks }, index) => {
      const offset = (shownTicks[index] ?? 0) + lostTicks - decodeTicks;
      decodeTicks += durationTicks;
      return offset;
    });
    // The ticks that ffmpeg gave in place of durations may be missing.
    if (offsets.some((ticks) => ticks <= -this.#leastTicks)) return false;
    rewriteCompositions(bytes, this.#trackId, (index, ticks) => {
      const sample = samples[index];
      const compositionTicks = Math.max(0, offsets[index] ?? ticks);
      if (sample !== undefined) samples[index] = { ...sample, compositionTicks };
      return compositionTicks;
    });
    return true;
  }

  /** What a picture lasts, where one of the first was cut short; else null. */
  #usual(samples: readonly Sample[]): number | null {
    if (this.#seen >= samplesLookedAt) return null;
    const isShort = ({ durationTicks }: Sample): boolean => durationTicks < this.#leastTicks;
    if (samples.every(({ compositionTicks }) => compositionTicks === 0)) {
      const isFirstAlone = this.#seen === 0 && samples.findLastIndex(isShort) === 0;
      if (!isFirstAlone) return null;
    }
    const whole = samples.filter((sample) => !isShort(sample));
    if (whole.length === 0 || whole.length === samples.length) return null;
    const sorted = whole.map(({ durationTicks }) => durationTicks).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }

  #mended(movie: MovieFragment, movedTicks: number, samples: readonly Sample[]): MovieFragment {
    return {
      ...movie,
      tracks: movie.tracks.map((track) => {
        if (track.trackId !== this.#trackId) return track;
        return {
          ...track,
          samples,
          decodeTime: track.decodeTime + movedTicks,
          durationTicks: samples.reduce((sum, { durationTicks }) => sum + durationTicks, 0),
        };
      }),
    };
  }
}
