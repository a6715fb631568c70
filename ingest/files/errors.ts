/** What can go wrong with files, and what the system says of them. */

/** Options that can never be right. */
export class FilesError extends Error {
  override readonly name = 'FilesError';
  readonly code: 'invalid-options';

  constructor(code: 'invalid-options', message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** What the system says of a file: the code of an error, such as `ENOENT`. */
export function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'error';
}

/** There is nothing under the name (any more). */
export function isGone(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** The system said so: it is no mistake of ours. */
export function isOfSystem(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
