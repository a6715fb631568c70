/**
 * Lets what a camera sends gather in the kernel: read packet by packet as it comes, the reading
 * alone takes more time than all that is done with the packets.
 *
 * - A rest is no longer than the camera takes for `gatheredBytes`, which fit the smallest window of
 *   a connection: it is never held up. One that sends faster is read without a rest.
 * - The rests of all cameras end together, so that they wake the process once, not once each.
 * - The socket must have a `highWaterMark` of 1 (`pacedSocket`): once paused it then takes one more
 *   piece, and leaves the rest where it is. So every rest comes after the second piece since the
 *   last one.
 */
import type { Socket } from 'node:net';
import type { CancelTimer, Clock } from '../../storage/ports.ts';

export const pacedSocket = { highWaterMark: 1 } as const;

const gatheredBytes = 57_344;
/** How often those may end that rest, longest first. */
const ticksMs = [100, 50, 20] as const;

/** Milliseconds until the next of the instants, `everyMs` apart, that everybody here shares. */
export function untilTickMs(clock: Clock, everyMs: number): number {
  return everyMs - (clock.monotonicMs() % everyMs);
}

export class ReadingPace {
  readonly #socket: Socket;
  readonly #clock: Clock;
  #sinceMs: number | null = null;
  #pieces = 0;
  #bytes = 0;
  #isEnding = false;
  #cancelRest: CancelTimer = () => undefined;

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
  }

  /** After a piece was read that nobody waits for. */
  rest(bytes: number): void {
    this.#pieces += 1;
    this.#bytes += bytes;
    if (this.#pieces < 2 || this.#isEnding) return;
    const nowMs = this.#clock.monotonicMs();
    const tookMs = Math.max(1, nowMs - (this.#sinceMs ?? nowMs));
    const restMsMax = (gatheredBytes * tookMs) / this.#bytes;
    const tickMs = ticksMs.find((ms) => ms <= restMsMax);
    this.#sinceMs = nowMs;
    this.#pieces = 0;
    this.#bytes = 0;
    if (tickMs === undefined) return;
    this.#socket.pause();
    this.#cancelRest = this.#clock.setTimer(untilTickMs(this.#clock, tickMs), () => {
      this.#socket.resume();
    });
  }

  /** Reads on without a rest: the connection is about to end. */
  end(): void {
    this.#isEnding = true;
    this.#cancelRest();
    this.#socket.resume();
  }
}
