import { FunctionError, type FunctionErrorCode } from '../functions/function.ts';

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

const codesOfFunctions: Readonly<Record<FunctionErrorCode, HookErrorCode>> = {
  timeout: 'timeout',
  'out-of-memory': 'failed',
  'too-large': 'too-large',
  unreachable: 'unreachable',
  throttled: 'failed',
  failed: 'failed',
  denied: 'failed',
  'bad-answer': 'bad-answer',
};

/** What became of asking a function, as a hook tells it. */
export function hookErrorOf(error: FunctionError): HookError {
  return new HookError(codesOfFunctions[error.code], error.message, { cause: error });
}

/** @throws HookError in place of FunctionError */
export async function asHookErrors<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    throw error instanceof FunctionError ? hookErrorOf(error) : error;
  }
}
