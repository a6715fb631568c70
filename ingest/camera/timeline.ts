/**
 * Puts a run's media time on the wall clock: where each fragment starts, and how long it lasts.
 *
 * Rules
 * - Every chunk tells an offset between wall clock and media clock twice: by the time its producer
 *   gave (prft, from the camera's RTCP sender reports) and by its arrival here. ffmpeg fills in its
 *   own clock where the camera sends no reports, and nothing tells the two apart; so the producer's
 *   time counts while it is within 5 s of the arrival, else the arrival does.
 * - Delays on the way only ever make an offset larger: the smallest of the last 30 s of media is
 *   the one believed.
 * - The first fragment starts where its own chunks, all of them, say, within the free time of its
 *   run: after the footage before it. It ends before footage that is dated later, as all of them do;
 *   what has no room before that is for another run (`hasRoomFor`).
 * - After that fragments follow each other without a gap. The media clock is slewed towards the
 *   wall clock by at most 500 ppm of each fragment's duration, and never reset: a recording is not
 *   cut up because clocks drift.
 * - Fragments follow each other in decode time, as their samples do, whatever the delay from
 *   decoding to showing; the delay of the run's first keyframe is added to all. With B-frames over
 *   RTP, ffmpeg has to guess the first decode times of a run and gets them wrong by up to 0.4 s;
 *   the presentation times are right, and they stay so because nothing is corrected for it here.
 *
 * All times are microseconds; media times count from an arbitrary zero. A step of the wall clock
 * is not followed here: the recorder ends the run.
 */
import type { FreeTime } from '../../storage/model.ts';

/** What one chunk says about the two clocks. */
export interface ClockReading {
  /** When the chunk was here, whole. */
  readonly arrivalUs: number;
  /** Media time at which its last frame ends. */
  readonly mediaEndUs: number;
  readonly producer: { readonly mediaUs: number; readonly wallUs: number } | null;
}

export interface MediaInstant {
  readonly decodeUs: number;
  /** When the keyframe that is decoded then is shown. */
  readonly presentationUs: number;
}

export const producerDisagreementUsMax = 5_000_000;
export const slewPpmMax = 500;
const windowUs = 30_000_000;
/** Readings kept: 30 s at five chunks a second are 150, and only rising ones are kept. */
const readingsMax = 512;

interface Offset {
  readonly mediaUs: number;
  readonly offsetUs: number;
}

export class Timeline {
  #notBeforeUs = Number.MIN_SAFE_INTEGER;
  #untilUs = Number.MAX_SAFE_INTEGER;
  /** Rising offsets of the window, so that the first is the smallest. */
  #offsets: Offset[] = [];
  #beginDecodeUs: number | null = null;
  /** From decoding to showing, of the run's first keyframe. */
  #delayUs: number | null = null;
  #startUs: number | null = null;
  #first = true;

  /** Sets the time that the run may take; before its first fragment begins. */
  bound({ fromUs, untilUs }: FreeTime): void {
    this.#notBeforeUs = fromUs;
    this.#untilUs = untilUs ?? Number.MAX_SAFE_INTEGER;
  }

  /** Takes in one chunk. The first chunk of a fragment is observed before `begin`. */
  observe(reading: ClockReading): void {
    const arrivalOffsetUs = reading.arrivalUs - reading.mediaEndUs;
    const { producer } = reading;
    const producerOffsetUs = producer === null ? null : producer.wallUs - producer.mediaUs;
    const offsetUs =
      producerOffsetUs !== null &&
      Math.abs(producerOffsetUs - arrivalOffsetUs) <= producerDisagreementUsMax
        ? producerOffsetUs
        : arrivalOffsetUs;
    while ((this.#offsets.at(-1)?.offsetUs ?? -Infinity) >= offsetUs) this.#offsets.pop();
    this.#offsets.push({ mediaUs: reading.mediaEndUs, offsetUs });
    const horizonUs = reading.mediaEndUs - windowUs;
    while (this.#offsets.length > readingsMax || (this.#offsets[0]?.mediaUs ?? 0) < horizonUs) {
      this.#offsets.shift();
    }
  }

  /**
   * When the run would begin with this instant on the wall clock, whatever is there already: an
   * estimate from what was observed.
   */
  estimate({ decodeUs, presentationUs }: MediaInstant): number {
    return this.#wallOf(decodeUs, presentationUs - decodeUs);
  }

  /** Whether video that ends at this decode time still ends before the later footage. */
  hasRoomFor(endUs: number): boolean {
    if (this.#beginDecodeUs === null || this.#startUs === null) return true;
    return this.#startUs + (endUs - this.#beginDecodeUs) <= this.#untilUs;
  }

  /**
   * A fragment begins. Answers its start on the wall clock: final, except for the run's first one,
   * where it is an estimate until `finish`.
   */
  begin({ decodeUs, presentationUs }: MediaInstant): number {
    this.#beginDecodeUs = decodeUs;
    this.#delayUs ??= presentationUs - decodeUs;
    this.#startUs ??= this.#within(this.#wallOf(decodeUs), 1);
    return this.#startUs;
  }

  /**
   * The fragment ends.
   * @param endUs decode time at which the next one begins, or at which the last frame ends.
   */
  finish(endUs: number): { startUs: number; durationUs: number } {
    const beginUs = this.#beginDecodeUs;
    if (beginUs === null || this.#startUs === null) throw new Error('no fragment was begun');
    const mediaUs = Math.max(1, Math.round(endUs - beginUs));
    if (this.#first) this.#startUs = this.#within(this.#wallOf(beginUs), mediaUs);
    this.#first = false;
    const startUs = this.#startUs;
    const slewUsMax = Math.floor((mediaUs * slewPpmMax) / 1e6);
    const errorUs = this.#wallOf(endUs) - (startUs + mediaUs);
    const slewedUs = mediaUs + Math.max(-slewUsMax, Math.min(slewUsMax, errorUs));
    const durationUs = Math.min(slewedUs, this.#untilUs - startUs);
    this.#startUs = startUs + durationUs;
    this.#beginDecodeUs = null;
    return { startUs, durationUs };
  }

  /** Between two fragments: nothing is recorded for so long, and what follows begins later. */
  pause(durationUs: number): void {
    if (this.#startUs !== null) this.#startUs += durationUs;
  }

  /** How far the timeline is behind the wall clock, in microseconds, at a decode time. */
  errorUs(decodeUs: number): number {
    return this.#startUs === null ? 0 : this.#wallOf(decodeUs) - this.#startUs;
  }

  #wallOf(decodeUs: number, delayUs = this.#delayUs ?? 0): number {
    const [smallest] = this.#offsets;
    if (smallest === undefined) throw new Error('nothing was observed');
    return Math.round(smallest.offsetUs + decodeUs + delayUs);
  }

  /** The start within the free time of what is to begin at `wallUs`. */
  #within(wallUs: number, durationUs: number): number {
    return Math.max(this.#notBeforeUs, Math.min(wallUs, this.#untilUs - durationUs));
  }
}
