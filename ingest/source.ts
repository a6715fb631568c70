/**
 * The contract of every way in: a source is one function that runs until it ends or fails.
 *
 * A source neither restarts itself nor waits between attempts: the supervisor
 * (`gateway/supervisor.ts`) does that for all of them, so it looks the same everywhere.
 */

export interface SourceContext {
  /** Aborted when the source is to stop. `run` then resolves, promptly. */
  readonly signal: AbortSignal;
  /** Called once what the source does is really happening (data flows, the port listens). */
  ready(): void;
}

export interface Source {
  /** Unique in the gateway and fit for a log line, such as `camera/gate`. */
  readonly name: string;
  /**
   * Runs once: resolves when the source came to its end (the camera hung up, the signal was
   * aborted), rejects with a `SourceError` when it failed.
   */
  run(context: SourceContext): Promise<void>;
}

const codes = {
  /** No answer: refused, timed out, no such host. */
  unreachable: { retryable: true },
  /** The far end does not accept the credentials. Retrying fast can lock the account there. */
  unauthorized: { retryable: false },
  /** It may not be connected to: an address outside of what is allowed. */
  forbidden: { retryable: false },
  /** The far end answers, but has no such path. */
  'not-found': { retryable: false },
  /** A codec, transport or protocol version that can't be recorded. */
  unsupported: { retryable: false },
  /** What came in was not what the protocol says. */
  malformed: { retryable: true },
  /** Connected, but nothing came for too long. */
  stalled: { retryable: true },
  /** The far end went away in mid-stream. */
  ended: { retryable: true },
  /** The program that records was killed or crashed; the far end has nothing to do with it. */
  crashed: { retryable: true },
  /** The store would not take it: the disk is full or failing. */
  storage: { retryable: true },
} as const;

export type SourceErrorCode = keyof typeof codes;

/** Why a source failed. `cause` holds what was underneath. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  readonly code: SourceErrorCode;
  /** The next attempt should not be made sooner than this; null: nothing speaks against it. */
  readonly retryAfterMs: number | null;

  constructor(
    code: SourceErrorCode,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number } = {},
  ) {
    super(message, options);
    this.code = code;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }

  /** Whether the same attempt may succeed soon, with nobody changing anything. */
  get retryable(): boolean {
    return codes[this.code].retryable;
  }
}
