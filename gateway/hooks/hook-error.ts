export type HookErrorCode =
  /** It took longer than it may. */
  | 'timeout'
  /** More bytes than may be sent, or than an answer may have. */
  | 'too-large'
  /** No image could be made, or the footage could not be read. */
  | 'unreadable'
  /** No answer, or nobody to ask. */
  | 'unreachable'
  /** An answer that says that it went wrong there. */
  | 'failed'
  /** An answer that is not what was agreed on. */
  | 'bad-answer'
  /** The answer was good, and could not be stored. */
  | 'not-kept';

/** Why nothing came of handing something to a hook. */
export class HookError extends Error {
  override readonly name = 'HookError';
  readonly code: HookErrorCode;

  constructor(code: HookErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
