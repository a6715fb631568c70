/**
 * Watches whether a camera's media clock can be believed: it may drift, and packets may come late
 * or in bursts, but it may not leap, stand still or run away.
 *
 * What to do about one that lies is the business of `session.ts`.
 */
import { SourceError } from '../source.ts';

/** The media clock of a camera is of no use: as it is now (`leap`), or at all (`rate`). */
export class ClockFault extends SourceError {
  readonly kind: 'leap' | 'rate';

  constructor(kind: 'leap' | 'rate', message: string) {
    super('malformed', message);
    this.kind = kind;
  }
}

/** Media time may run ahead of the arrival by this much from one chunk to the next. */
const leapUsMax = 10_000_000;
/** How far the two clocks may come apart. A burst of what was held back is shorter. */
const apartUsMax = 15_000_000;
/** A clock that drifts is followed; this is a hundred times what the worst quartz does. */
const driftMax = 0.01;
/** Of a time in which nothing came, no more than this counts: a pause is not slowness. */
const pauseUsMax = 2_000_000;

export class ClockWatch {
  readonly #isLive: boolean;
  #first: { readonly mediaUs: number; readonly arrivalUs: number } | null = null;
  #last: { readonly mediaUs: number; readonly arrivalUs: number } | null = null;
  #behindUs = 0;

  /** @param isLive the input comes in real time; otherwise it may come faster than that */
  constructor(isLive: boolean) {
    this.#isLive = isLive;
  }

  /**
   * Takes what one chunk says: where its last frame ends, when it was here, and how long its
   * pictures wait from decoding to showing, at most: those with B-frames leap there first.
   * @throws ClockFault; the chunk is not to be used then
   */
  check(mediaUs: number, arrivalUs: number, delayUs = 0): void {
    if (delayUs > leapUsMax) throw leapOf(delayUs);
    const last = this.#last;
    if (last !== null) {
      const mediaStepUs = mediaUs - last.mediaUs;
      const arrivedUs = Math.max(0, arrivalUs - last.arrivalUs);
      if (mediaStepUs < 0 || mediaStepUs > arrivedUs + leapUsMax) {
        throw leapOf(mediaStepUs);
      }
      const behindUs = this.#behindUs + Math.min(arrivedUs, pauseUsMax) - mediaStepUs;
      this.#behindUs = Math.max(0, behindUs);
      this.#checkRate(mediaUs, arrivalUs);
    }
    this.#last = { mediaUs, arrivalUs };
    this.#first ??= this.#last;
  }

  #checkRate(mediaUs: number, arrivalUs: number): void {
    if (this.#first === null) return;
    const arrivedUs = arrivalUs - this.#first.arrivalUs;
    const aheadUs = mediaUs - this.#first.mediaUs - arrivedUs;
    if (this.#behindUs > apartUsMax) {
      throw new ClockFault('rate', 'its media clock stands still, or is too slow');
    }
    if (this.#isLive && aheadUs > apartUsMax + arrivedUs * driftMax) {
      throw new ClockFault('rate', 'its media clock is too fast');
    }
  }
}

function leapOf(us: number): ClockFault {
  return new ClockFault('leap', `its media clock jumped by ${(us / 1e6).toFixed(1)} s`);
}
