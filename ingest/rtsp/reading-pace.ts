/**
 * Lets what a camera sends gather in the kernel: read packet by packet as it comes, the reading
 * alone takes more time than all that is done with the packets.
 *
 * - A rest is as long as the camera takes for `gatheredBytes`, which fit the smallest window of a
 *   connection: it is never held up. One that sends faster is read without a rest.
 * - The socket must have a `highWaterMark` of 1 (`pacedSocket`): once paused it then takes one more
 *   piece, and leaves the rest where it is. So every rest comes after the second piece since the
 *   last one.
 */
import type { Socket } from 'node:net';
import type { CancelTimer, Clock } from '../../storage/ports.ts';

export const pacedSocket = { highWaterMark: 1 } as const;

const gatheredBytes = 49_152;
const restMsMax = 100;
/** Less than this is not worth a timer. */
const restMsMin = 10;

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
    const restMs = Math.min(restMsMax, (gatheredBytes * tookMs) / this.#bytes);
    this.#sinceMs = nowMs;
    this.#pieces = 0;
    this.#bytes = 0;
    if (restMs < restMsMin) return;
    this.#socket.pause();
    this.#cancelRest = this.#clock.setTimer(restMs, () => {
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
