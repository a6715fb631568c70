/**
 * Lets what a camera sends gather in the kernel: read packet by packet as it comes, the reading
 * alone takes more time than all that is done with the packets.
 *
 * The socket must have a `highWaterMark` of 1 (`pacedSocket`): once paused it then takes one more
 * piece, and leaves the rest where it is. So every rest comes after the second piece since the last
 * one.
 */
import type { Socket } from 'node:net';
import type { CancelTimer, Clock } from '../../storage/ports.ts';

export const pacedSocket = { highWaterMark: 1 } as const;

const restMs = 200;

export class ReadingPace {
  readonly #socket: Socket;
  readonly #clock: Clock;
  #pieces = 0;
  #isEnding = false;
  #cancelRest: CancelTimer = () => undefined;

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
  }

  /** After a piece was read that nobody waits for. */
  rest(): void {
    this.#pieces += 1;
    if (this.#pieces < 2 || this.#isEnding) return;
    this.#pieces = 0;
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
