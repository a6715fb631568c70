/** What the AWS APIs here throw: answers that are errors, and requests that no service has looked at. */

/** An answer that is an error. Each service has a class of its own, with its types and statuses. */
export abstract class ServiceError<Type extends string> extends Error {
  readonly type: Type;
  readonly status: number;

  constructor(type: Type, status: number, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.type = type;
    this.status = status;
  }

  /** Whether it is ours to mend, and so belongs in the log. */
  get ours(): boolean {
    return this.status === 500;
  }
}

export type RequestErrorType =
  'RequestEntityTooLargeException' | 'SerializationException' | 'ValidationException';

/** A request that is too long, cut off, or not what was described; each service answers it as its own. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly type: RequestErrorType;

  constructor(type: RequestErrorType, message: string) {
    super(message);
    this.type = type;
  }
}
