/**
 * Where PutMedia connections come in: which cameras take them, and whose turn it is.
 *
 * A camera is recorded from one connection at a time. One that comes while another goes on takes its
 * place: producers open the next before they know that the last is broken. The older one has 5 s to
 * come to its end by itself, with what it has under way; then it is ended. No more than one waits: a
 * third ends both.
 */
import type { Clock } from '../../storage/ports.ts';
import type { Source } from '../source.ts';

/** Why a connection is ended that goes on. */
export type EndReason = 'replaced' | 'stopped';

/** A connection's right to record its camera. */
export interface Turn {
  /** Aborted, with an `EndReason`, when the connection has to end. */
  readonly signal: AbortSignal;
  /** Resolves when the camera is this connection's; rejects when the signal is aborted before. */
  readonly begun: Promise<void>;
  /** To be called at the end, whatever came of it. @param failure null: there was none */
  leave(failure: string | null): void;
}

export interface EntranceStatus {
  readonly isSending: boolean;
  /** Of the last connection that failed, until one comes to a good end; null: none. */
  readonly failure: string | null;
  readonly sinceMs: number;
}

interface Camera {
  current: OwnTurn | null;
  failure: string | null;
  sinceMs: number;
}

const replacedAfterMs = 5_000;

export class PutMediaEntrance {
  readonly #clock: Clock;
  readonly #cameras = new Map<string, Camera>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** null: the camera is not recorded in this way. */
  status(camera: string): EntranceStatus | null {
    const found = this.#cameras.get(camera);
    if (found === undefined) return null;
    const { current, failure, sinceMs } = found;
    return { isSending: current !== null, failure, sinceMs };
  }

  /** Takes a connection; null: the camera is not recorded in this way. */
  enter(camera: string): Turn | null {
    const found = this.#cameras.get(camera);
    if (found === undefined) return null;
    const before = found.current;
    const turn = new OwnTurn(before, this.#clock, (failure) => {
      found.failure = failure;
      if (found.current !== turn) return;
      found.current = null;
      found.sinceMs = this.#clock.nowMs();
    });
    if (before === null) found.sinceMs = this.#clock.nowMs();
    found.current = turn;
    return turn;
  }

  /** Lets connections of a camera in until the signal aborts; resolves when the last one has left. */
  async serve(camera: string, signal: AbortSignal): Promise<void> {
    const open: Camera = { current: null, failure: null, sinceMs: this.#clock.nowMs() };
    this.#cameras.set(camera, open);
    if (!signal.aborted) {
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    if (this.#cameras.get(camera) === open) this.#cameras.delete(camera);
    open.current?.end('stopped');
    await open.current?.gone;
  }
}

class OwnTurn implements Turn {
  readonly begun: Promise<void>;
  /** Resolves when it and all before it have left. */
  readonly gone: Promise<void>;
  readonly #abort = new AbortController();
  /** Whom it waits for; null: it has begun. */
  #before: OwnTurn | null;
  #leave: (failure: string | null) => void = () => undefined;

  constructor(before: OwnTurn | null, clock: Clock, left: (failure: string | null) => void) {
    this.#before = before;
    const own = new Promise<void>((resolve) => {
      this.#leave = (failure) => {
        left(failure);
        resolve();
      };
    });
    this.gone = Promise.all([before?.gone, own]).then(() => undefined);
    this.begun = before === null ? Promise.resolve() : this.#after(before, clock);
    // Whoever enters looks at it later, or never.
    this.begun.catch(() => undefined);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  leave(failure: string | null): void {
    this.#leave(failure);
  }

  /** Has it end, and whom it waits for. */
  end(reason: EndReason): void {
    this.#before?.end(reason);
    this.#abort.abort(reason);
  }

  async #after(before: OwnTurn, clock: Clock): Promise<void> {
    const graceMs = before.#before === null ? replacedAfterMs : 0;
    const cancel = clock.setTimer(graceMs, () => {
      before.end('replaced');
    });
    await Promise.race([before.gone, aborted(this.signal)]);
    cancel();
    this.#before = null;
    this.signal.throwIfAborted();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** A camera that is recorded from PutMedia, as a source: it lets its connections in. */
export function putMediaSource(camera: string, entrance: PutMediaEntrance): Source {
  return {
    name: `camera/${camera}`,
    run: async (context) => {
      context.ready();
      await entrance.serve(camera, context.signal);
    },
  };
}
