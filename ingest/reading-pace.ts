/**
 * Lets what a camera sends, and what its ffmpeg writes, gather in the kernel: read piece by piece as
 * it comes, the reading alone takes more time than all that is done with what was read.
 *
 * - A rest is no longer than the camera takes for `gatheredBytes`, which fit the smallest window of
 *   a connection: it is never held up. One that sends faster is read without a rest.
 * - The rests of all cameras end together, so that they wake the process once, not once each.
 * - A connection that we open (`connectPaced`) leaves what comes where it is as soon as it is paused,
 *   so a rest may come after each piece. One that is accepted must have a `highWaterMark` of 1
 *   (`pacedSocket`): once paused it takes one more piece, so a rest comes after each second one.
 */
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import type { CancelTimer, Clock } from '../storage/ports.ts';

export const pacedSocket = { highWaterMark: 1 } as const;

const gatheredBytes = 57_344;
/** What is read lies here until the next is: garbage of this size is dear. */
const memory = Buffer.allocUnsafeSlow(131_072);
/** How often those may end that rest, longest first. */
const ticksMs = [100, 50, 20] as const;

/** Milliseconds until the next of the instants, `everyMs` apart, that everybody here shares. */
export function untilTickMs(clock: Clock, everyMs: number): number {
  return everyMs - (clock.monotonicMs() % everyMs);
}

/** Connects. The pieces of its `data` events are good until the listeners return. */
export function connectPaced(place: NetConnectOpts): Socket {
  const socket: Socket = connect({
    ...place,
    onread: {
      buffer: memory,
      callback: (bytes) => {
        socket.emit('data', memory.subarray(0, bytes));
        return true;
      },
    },
  });
  return socket;
}

export class ReadingPace {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #piecesMin: number;
  #sinceMs: number | null = null;
  #pieces = 0;
  #bytes = 0;
  #isEnding = false;
  #cancelRest: CancelTimer = () => undefined;

  /** @param stopsAtOnce it is one of `connectPaced` */
  constructor(socket: Socket, clock: Clock, stopsAtOnce = false) {
    this.#socket = socket;
    this.#clock = clock;
    this.#piecesMin = stopsAtOnce ? 1 : 2;
  }

  /** After a piece was read that nobody waits for. */
  rest(bytes: number): void {
    this.#pieces += 1;
    this.#bytes += bytes;
    if (this.#pieces < this.#piecesMin || this.#isEnding) return;
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
