/**
 * Mends the times of a run's first pictures, where ffmpeg got them wrong.
 *
 * RTP carries presentation times only. With B-frames ffmpeg has to guess the first decode times,
 * finds that they would go back, and gives those pictures a single tick each: everything after
 * them is too early by what they should have lasted (0.1 to 0.4 s). Here they get the duration of
 * their neighbours, and all that follows is moved as far back, so that the run is as long as it
 * was. The order in which those few pictures are shown stays as ffmpeg has it.
 *
 * Bytes are changed in place: they belong to whoever reads the stream.
 */
import {
  type MovieFragment,
  moveDecodeTimes,
  rewriteDurations,
  type Sample,
} from '../../storage/video/boxes.ts';

/** No camera reorders more pictures than a decoder has room for (H.264, annex A). */
const samplesLookedAt = 32;
/** A picture that lasts less is one that was given a tick. */
const leastSeconds = 0.001;

export class FirstTimes {
  readonly #trackId: number;
  readonly #leastTicks: number;
  #seen = 0;
  #shiftTicks = 0;

  constructor(track: { readonly trackId: number; readonly timescale: number }) {
    this.#trackId = track.trackId;
    this.#leastTicks = track.timescale * leastSeconds;
  }

  /** Ticks that presentation times given beside the media are to be moved by. */
  get shiftTicks(): number {
    return this.#shiftTicks;
  }

  /** Mends one chunk, in the order of the stream; answers how it reads now. @throws Mp4Error */
  mend(bytes: Buffer, movie: MovieFragment): MovieFragment {
    const before = this.#shiftTicks;
    const samples = movie.tracks.find(({ trackId }) => trackId === this.#trackId)?.samples ?? [];
    const usualTicks = this.#usual(samples);
    let lostTicks = 0;
    if (usualTicks !== null) {
      rewriteDurations(bytes, this.#trackId, (_, ticks) => {
        if (ticks >= this.#leastTicks) return ticks;
        lostTicks += usualTicks - ticks;
        return usualTicks;
      });
    }
    this.#seen += samples.length;
    this.#shiftTicks += lostTicks;
    if (before > 0) moveDecodeTimes(bytes, new Map([[this.#trackId, BigInt(before)]]));
    return before === 0 && lostTicks === 0 ? movie : this.#mended(movie, before, usualTicks ?? 0);
  }

  /** What a picture lasts, where one of the first was cut short; else null. */
  #usual(samples: readonly Sample[]): number | null {
    if (
      this.#seen >= samplesLookedAt ||
      samples.every(({ compositionTicks }) => compositionTicks === 0)
    ) {
      return null;
    }
    const isShort = ({ durationTicks }: Sample): boolean => durationTicks < this.#leastTicks;
    const whole = samples.filter((sample) => !isShort(sample));
    if (whole.length === 0 || whole.length === samples.length) return null;
    const sorted = whole.map(({ durationTicks }) => durationTicks).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }

  #mended(movie: MovieFragment, movedTicks: number, usualTicks: number): MovieFragment {
    return {
      ...movie,
      tracks: movie.tracks.map((track) => {
        if (track.trackId !== this.#trackId) return track;
        const samples = track.samples.map((sample) =>
          usualTicks > 0 && sample.durationTicks < this.#leastTicks
            ? { ...sample, durationTicks: usualTicks }
            : sample,
        );
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
