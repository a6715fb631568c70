/**
 * Functions that somebody else wrote: behind AWS Lambda's Invoke, behind an HTTP endpoint, or in a
 * JavaScript module that runs in a thread of its own. Transforms of deliveries, event sources and
 * hooks call them alike: JSON in, JSON out.
 */

const codes = {
  /** It took longer than it may; what ran was ended. */
  timeout: { retryable: true },
  /** It needed more memory than it may have; what ran was ended. */
  'out-of-memory': { retryable: true },
  /** More bytes than may be handed over, or than an answer may have. */
  'too-large': { retryable: false },
  /** No answer, or nobody to ask. */
  unreachable: { retryable: true },
  /** It asks for less. */
  throttled: { retryable: true },
  /** It threw, or says that it went wrong there. */
  failed: { retryable: true },
  /** Without the right, or no such function or module. */
  denied: { retryable: true },
  /** An answer that is no JSON, or not what was agreed on. */
  'bad-answer': { retryable: true },
} as const;

export type FunctionErrorCode = keyof typeof codes;

/** Why a call came to nothing. */
export class FunctionError extends Error {
  override readonly name = 'FunctionError';
  readonly code: FunctionErrorCode;

  /** @param options.stack that of the function, which says more than ours */
  constructor(
    code: FunctionErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly stack?: string } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    if (options.stack !== undefined) this.stack = options.stack;
  }

  /** Whether the same call may succeed later. */
  get retryable(): boolean {
    return codes[this.code].retryable;
  }
}

export interface FunctionCall {
  /** Tells one call from another in the function's own log; the same for a call that is repeated. */
  readonly id: string;
  /** JSON. */
  readonly payload: Buffer;
}

/** One function, ready to be called; calls may overlap as far as its target allows. */
export interface RemoteFunction {
  readonly kind: 'lambda' | 'http' | 'module';
  /** Which it is, for people; without secrets. */
  readonly description: string;
  /** The most bytes that a payload may have. */
  readonly payloadBytesMax: number;
  /**
   * Calls it once and returns its answer, JSON that has not been looked at.
   * @throws FunctionError; the signal's reason, once it aborts, which ends the call
   */
  call(call: FunctionCall, signal: AbortSignal): Promise<Buffer>;
  close(): Promise<void>;
}
